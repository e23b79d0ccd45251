// Command table prints the figures of Portcullis beside their budgets.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/portcullis-dev/portcullis/test/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	size := bench.Full
	if len(os.Args) > 1 && os.Args[1] == "-short" {
		size = bench.Short
	}
	rows, err := bench.Table(ctx, size, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "table: %v\n", err)
		os.Exit(1)
	}
	bench.Write(os.Stdout, rows)
}
