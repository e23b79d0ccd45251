// Command tour walks through the life of a bundle, for real and on this machine only: it is begun in a Git repository,
// signed, served to a webhook at a Kubernetes API server, changed on a branch, tried on what was decided before,
// rolled out as a canary, broken on purpose, and rolled back by itself.
//
//	go run ./test/tour
//
// It prints every command that it runs, as a user would type it, and what that says. It ends with exit code 0 only if
// every step went as told. KEEP=1 leaves everything running to play with.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("KEEP") != "", os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, keep bool, stdout, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "portcullis-tour-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(progress, "Building the programs, and starting a Kubernetes control plane and a Git server on loopback …")
	t, err := start(ctx, dir, stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	for n, step := range steps {
		fmt.Fprintf(stdout, "\n%d. %s\n\n", n+1, step.title)
		if err := step.run(t, ctx); err != nil {
			return fmt.Errorf("step %d, %s: %w", n+1, step.title, err)
		}
	}
	fmt.Fprintf(stdout, "\nAll %d steps went as told.\n", len(steps))
	if keep {
		fmt.Fprintf(stdout, "\n%s", t.goOn())
		<-ctx.Done()
	}
	return nil
}
