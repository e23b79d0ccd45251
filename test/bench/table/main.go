// Command table prints the figures of Portcullis beside their budgets.
//
//	table [-short] [PART...]
//
// Parts are those that it says it is measuring; without any it measures all.
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
	size, only := bench.Full, os.Args[1:]
	if len(only) > 0 && only[0] == "-short" {
		size, only = bench.Short, only[1:]
	}
	rows, err := bench.Table(ctx, size, os.Stderr, only...)
	if err != nil {
		fmt.Fprintf(os.Stderr, "table: %v\n", err)
		os.Exit(1)
	}
	bench.Write(os.Stdout, rows)
}
