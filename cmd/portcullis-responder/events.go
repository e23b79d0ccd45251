package main

import (
	"context"

	"github.com/portcullis-dev/portcullis/runtime/falco"
	"github.com/portcullis-dev/portcullis/runtime/responder"
)

// queueSource gives the events of the queue to the responder.
type queueSource struct{ queue *falco.Queue }

// Take implements [responder.Source].
func (s queueSource) Take(ctx context.Context) (responder.Item, error) {
	for {
		item, err := s.queue.Take(ctx)
		if err != nil {
			return responder.Item{}, err
		}
		if item.Message.Event == nil { // health is counted when it comes; it is never judged
			item.Done()
			continue
		}
		return responder.Item{
			Event: item.Message.Event, Received: item.Received, Replayed: item.Replayed, Trace: item.Message.Trace, Done: item.Done, Again: item.Again,
		}, nil
	}
}
