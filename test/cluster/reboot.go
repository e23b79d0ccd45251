package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Reboot does to a node what a loss of power does: containers, kubelet and containerd end at once, and what was mounted or in memory is
// gone. Then it starts again with its disk, and runs the pods that the API server has for it. It returns when the kubelet has been
// started; pods take their time, and until then the API server has their last status.
func (n *Node) Reboot(ctx context.Context, c *Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := n.powerOff(ctx); err != nil {
		return fmt.Errorf("ending a node: %w", err)
	}
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
	running, err := n.ctrOutput(ctx, "tasks", "ls", "--quiet")
	if err != nil {
		return err
	}
	for _, task := range strings.Fields(running) { // with it goes the shim, which would outlive containerd
		if err := n.ctr(ctx, "tasks", "delete", "--force", task); err != nil {
			return err
		}
	}
	n.containerd.Kill()
	return errors.Join(n.unmount(ctx), n.removeNetworks(ctx), os.RemoveAll(filepath.Join(n.options.Dir, "state")))
}
