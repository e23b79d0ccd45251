package responder

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Source has the events. The queue of package falco is one.
type Source interface {
	// Take waits for an event. It returns the context's error when that ends; any other one ends the responder.
	Take(ctx context.Context) (Item, error)
}

// Item is an event that is to be dealt with. Done or Again is called once; neither when the process ends before.
type Item struct {
	// Event is what came. It is not changed.
	Event *response.Event
	// Received is when.
	Received time.Time
	// Replayed says that an earlier process may have begun to deal with it.
	Replayed bool
	// Trace is the traceparent that it came with, "" for none.
	Trace string
	// Done says that it has been dealt with, Again has it taken once more after a while.
	Done  func()
	Again func(after time.Duration)
}
