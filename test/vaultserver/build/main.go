// Command build builds the Vault of the tests, unless it is built already, and prints where it lies:
//
//	go run ./test/vaultserver/build
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	path, err := vaultserver.Binary(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(path)
}
