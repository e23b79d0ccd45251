package soak

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

const (
	// longest is how many times a bound may pass while the API server does not always answer.
	longest = 2
	// readyTimeout bounds one question to the API server.
	readyTimeout = 5 * time.Second
)

// within is a context that ends when a bound has passed in which the API server answered: nothing can recover while it does not, and how long it
// takes to come back on a busy machine is not what is soaked. It ends at the latest after twice the bound.
func within(ctx context.Context, bound time.Duration, ready func(context.Context) error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, longest*bound)
	ctx, end := context.WithCancelCause(ctx)
	go func() {
		for left := bound; left > 0; {
			began := time.Now()
			asking, stop := context.WithTimeout(ctx, readyTimeout)
			err := ready(asking)
			stop()
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(pollEvery, left)):
			}
			if err == nil {
				left -= time.Since(began)
			}
		}
		end(context.DeadlineExceeded)
	}()
	return ctx, func() { end(context.Canceled); cancel() }
}

// bounded is a context for the time that anything may take.
func (s *soak) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return within(ctx, s.options.Bound, func(ctx context.Context) error { return cluster.Healthy(ctx, s.Client, "/readyz") })
}
