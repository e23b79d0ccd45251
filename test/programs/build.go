// Package programs builds the programs of Portcullis and runs them for tests and for
// the demo: the very binaries that are shipped, with the flags that users give.
package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Build builds programs of cmd into a folder. It may be called anywhere in a checkout.
func Build(ctx context.Context, dir string, names ...string) error {
	root, err := Checkout(ctx)
	if err != nil {
		return err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	if slices.Contains(names, "portcullis-scanner") { // Trivy needs it; see the Makefile
		command.Env = append(os.Environ(), "GOEXPERIMENT=jsonv2")
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", strings.Join(names, ", "), err, output)
	}
	return nil
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
