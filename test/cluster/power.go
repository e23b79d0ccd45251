package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// PowerOff does to a node what a loss of power does: containers, kubelet and containerd end at once, and what was mounted or in memory is
// gone. The API server keeps the last status of its pods.
func (n *Node) PowerOff(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nodeStopTimeout)
	defer cancel()
	if err := n.powerOff(ctx); err != nil {
		return fmt.Errorf("ending a node: %w", err)
	}
	return nil
}

// PowerOn starts a node again, with its disk. It returns when the kubelet runs, which then starts the pods that the API server has for it.
func (n *Node) PowerOn(ctx context.Context, c *Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := n.startContainerd(ctx); err != nil {
		return fmt.Errorf("starting a node again: %w", err)
	}
	if err := n.startKubelet(ctx, c); err != nil {
		return fmt.Errorf("starting a node again: %w", err)
	}
	return nil
}

func (n *Node) powerOff(ctx context.Context) error {
	var err error
	if n.networks, err = n.podNetworks(ctx); err != nil {
		return err
	}
	n.kubelet.Kill()
	n.kubelet = nil
	err = n.containerd.WaitUntil(ctx, func(ctx context.Context) error {
		running, err := n.ctrOutput(ctx, "tasks", "ls", "--quiet")
		if err != nil || strings.TrimSpace(running) == "" {
			return err
		}
		for _, task := range strings.Fields(running) { // with it goes the shim, which would outlive containerd
			err = errors.Join(err, n.ctr(ctx, "tasks", "delete", "--force", task)) // containerd may be about to do it
		}
		return errors.Join(fmt.Errorf("containers still run: %s", running), err)
	})
	if err != nil {
		return err
	}
	n.containerd.Kill()
	n.containerd = nil
	return errors.Join(n.unmount(ctx), n.removeNetworks(ctx), os.RemoveAll(filepath.Join(n.options.Dir, "state")), n.forgetPrograms())
}

// programBytes is the size of the smallest program that matters for what containers are charged.
const programBytes = 1 << 20

// forgetPrograms takes the programs of images out of the page cache, where they are charged to nobody: after a loss of power
// whoever starts them first is charged for what is read.
func (n *Node) forgetPrograms() error {
	snapshots := filepath.Join(n.options.Dir, "root", "io.containerd.snapshotter.v1."+n.snapshotter)
	return filepath.WalkDir(snapshots, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if info, err := entry.Info(); err != nil || info.Size() < programBytes {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := file.Sync(); err != nil { // what is not on the disk stays
			return err
		}
		return forget(file)
	})
}
