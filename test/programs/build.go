// Package programs builds the programs of Portcullis and runs them for tests and for
// the demo: the very binaries that are shipped, with the flags that users give.
package programs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/portcullis-dev/portcullis/test/binary"
)

// Build builds programs of cmd into a folder. It may be called anywhere in a checkout. Each is linked once for each state of its
// sources: binaries stay in the user's cache folder, where go build sees that they are up to date, and whoever else builds
// meanwhile waits.
func Build(ctx context.Context, dir string, names ...string) error {
	root, err := Checkout(ctx)
	if err != nil {
		return err
	}
	cache, err := binary.CacheDir()
	if err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(cache, "programs.lock")).Lock()
	if err != nil {
		return fmt.Errorf("waiting for another build of programs: %w", err)
	}
	defer unlock()
	kept := filepath.Join(cache, "programs") + string(filepath.Separator)
	// A stamp of the commit would link all of them again after each.
	args := []string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", kept}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	// On the disk of the cache a binary is put in its place by renaming it: one that was copied in part has the right build ID, too.
	work := filepath.Join(cache, "building")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	command.Env = append(os.Environ(), "GOTMPDIR="+work)
	if slices.Contains(names, "portcullis-scanner") { // Trivy needs it; see the Makefile
		command.Env = append(command.Env, "GOEXPERIMENT=jsonv2")
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", strings.Join(names, ", "), err, output)
	}
	for _, name := range names {
		if err := place(kept+name, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("taking %s from %s: %w", name, kept, err)
		}
	}
	return nil
}

// place puts a file where it is wanted: the same one, where both are on one disk. The go command never writes into a binary that
// there is, it makes another.
func place(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// Checkout is the folder of the main module's go.mod.
func Checkout(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "go", "env", "GOMOD")
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("looking for the checkout: %w", err)
	}
	file := strings.TrimSpace(string(output))
	if file == "" || file == os.DevNull {
		return "", fmt.Errorf("looking for the checkout: not in one; change into a checkout of Portcullis")
	}
	return filepath.Dir(file), nil
}
