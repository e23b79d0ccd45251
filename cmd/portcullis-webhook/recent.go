package main

import (
	"context"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
)

// Bounds of what is remembered of requests: a cluster has some dozen kinds that policies are about.
const (
	maxRecent     = 64
	maxRecentSize = 64 << 10 // bytes of one request's objects
	// recentAge is how old one may become before another takes its place.
	recentAge = time.Minute
	// prepareTime bounds how long a new lineup is prepared with them.
	prepareTime = 2 * time.Second
)

// recent remembers one request of each kind and operation, so that a new lineup can be prepared for what will come.
type recent struct {
	*admission.Reviewer

	mu       sync.Mutex
	requests map[recentKey]seen
}

type recentKey struct{ group, resource, subresource, operation string }

type seen struct {
	request admission.Request
	at      time.Time
}

func newRecent(reviewer *admission.Reviewer) *recent {
	return &recent{Reviewer: reviewer, requests: map[recentKey]seen{}}
}

// Review implements [webhook.Reviewer].
func (r *recent) Review(ctx context.Context, request admission.Request) admission.Verdict {
	r.see(&request)
	return r.Reviewer.Review(ctx, request)
}

// Mutate implements [webhook.Reviewer].
func (r *recent) Mutate(ctx context.Context, request admission.Request) admission.Verdict {
	r.see(&request)
	return r.Reviewer.Mutate(ctx, request)
}

func (r *recent) see(request *admission.Request) {
	if len(request.Object)+len(request.OldObject)+len(request.Options) > maxRecentSize {
		return
	}
	key := recentKey{request.Resource.Group, request.Resource.Resource, request.SubResource, request.Operation}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.requests[key]
	if known && now.Sub(last.at) < recentAge || !known && len(r.requests) >= maxRecent {
		return
	}
	r.requests[key] = seen{request: *request, at: now}
}

// prepare has a lineup judge what came of late.
func (r *recent) prepare(lineup *admission.Lineup) {
	r.mu.Lock()
	requests := make([]admission.Request, 0, len(r.requests))
	for _, one := range r.requests {
		requests = append(requests, one.request)
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), prepareTime)
	defer cancel()
	r.Prepare(ctx, lineup, requests)
}
