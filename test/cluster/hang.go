package cluster

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// HangAPIServer stops the API server's process for a while, as a machine that swaps does: connections stay and nobody answers.
func (c *Cluster) HangAPIServer(ctx context.Context, during time.Duration) error {
	if err := c.apiServer.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(during):
	}
	return errors.Join(ctx.Err(), c.apiServer.Signal(syscall.SIGCONT))
}
