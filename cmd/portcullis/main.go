// Command portcullis judges Kubernetes manifests with a policy bundle: in CI, on a
// recorded admission review, and with reasons for people who ask why.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// tidyUp is how long a run that is interrupted may take to drop what it has begun.
const tidyUp = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(runInterruptibly(ctx, tidyUp, invoked(os.Args), os.Stdin, os.Stdout, os.Stderr))
}
