package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// runInterruptibly is run for a context that a signal ends. A run that reads from a
// pipe where nothing comes, or a file that takes long, does not see the end of its
// context: it is left behind when it does not return in the time given to tidy up.
func runInterruptibly(ctx context.Context, tidyUp time.Duration, called invocation, stdin io.Reader, stdout, stderr io.Writer) int {
	ended := make(chan int, 1)
	go func() { ended <- runAs(ctx, called, stdin, stdout, stderr) }()
	select {
	case code := <-ended:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-ended:
		return code
	case <-time.After(tidyUp):
		fmt.Fprintln(stderr, called.name()+": interrupted: nothing was decided")
		return int(gate.ExitFault)
	}
}
