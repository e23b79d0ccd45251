package evidence

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies/tracing"
)

// part is a kind of thing that is found out.
type part string

const (
	partResolved   part = "digest"
	partEvidence   part = "evidence"
	partStatements part = "statements"
	partConfigs    part = "configs"
	partQueue      part = "queue"
	partOwner      part = "owner"
)

// memory finds things out, each once at a time, and remembers the answers.
type memory[V any] struct {
	part         part
	flights      *flights
	metrics      *Metrics
	now          func() time.Time
	refreshRetry time.Duration

	mu      sync.Mutex
	cache   *cache[V]
	running map[key]*flight[V]
}

// flight is an answer to come. value and err are set before done is closed.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// answer is a value, of when it is, and what it takes in bytes. One that is not to be remembered has no time.
type answer[V any] struct {
	value   V
	fetched time.Time
	size    int
	// after runs when nobody waits any more, nil for nothing.
	after func()
}

// fetch finds something out. refresh says that what is known of it is to be replaced.
type fetch[V any] func(ctx context.Context, refresh bool) (answer[V], error)

// lifetime says until when an answer is used and from when on it is found out anew in the background.
type lifetime struct {
	age, refresh time.Duration
	// negative says that something is missing, which may be there for somebody else or at any moment.
	negative bool
}

func newMemory[V any](f *Facts, p part, maxEntries, maxBytes int) *memory[V] {
	return &memory[V]{
		part: p, flights: f.flights, metrics: f.options.Metrics, now: f.options.Now,
		refreshRetry: f.options.RefreshAge / 10,
		cache:        newCache[V](maxEntries, maxBytes), running: map[key]*flight[V]{},
	}
}

// recall gives what is remembered, if it is not too old. One that is due is found out anew meanwhile.
func (m *memory[V]) recall(k key, of func(V) lifetime, anew fetch[V]) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recallLocked(k, of, anew)
}

func (m *memory[V]) recallLocked(k key, of func(V) lifetime, anew fetch[V]) (V, bool) {
	var nothing V
	known, ok := m.cache.get(k)
	if !ok {
		return nothing, false
	}
	now := m.now()
	life, age := of(known.value), now.Sub(known.fetched)
	if age >= life.age {
		return nothing, false
	}
	if anew != nil && age >= life.refresh && !now.Before(known.retryAt) {
		known.retryAt = now.Add(m.refreshRetry)
		m.metrics.looked(m.part, lookRefresh)
		_, _ = m.begin(context.Background(), k, true, anew) // where there is no room now, the next use tries again
	}
	m.metrics.looked(m.part, lookHit)
	return known.value, true
}

// find gives what is remembered, or waits until it is found out or the context ends.
func (m *memory[V]) find(ctx context.Context, k key, of func(V) lifetime, anew fetch[V]) (V, error) {
	var nothing V
	m.mu.Lock()
	// Looked at under the same lock as flights land under: an answer is either remembered or under way.
	if value, ok := m.recallLocked(k, of, anew); ok {
		m.mu.Unlock()
		return value, nil
	}
	flying, ok := m.running[k]
	if ok {
		m.metrics.looked(m.part, lookJoined)
	} else {
		m.metrics.looked(m.part, lookMiss)
		var err error
		if flying, err = m.begin(ctx, k, false, anew); err != nil {
			m.mu.Unlock()
			return nothing, err
		}
	}
	m.mu.Unlock()
	select {
	case <-flying.done:
		return flying.value, flying.err
	case <-ctx.Done():
		return nothing, errOutOfTime
	}
}

// begin starts finding something out, in the trace of asker. The lock is held.
func (m *memory[V]) begin(asker context.Context, k key, refresh bool, anew fetch[V]) (*flight[V], error) {
	if flying, ok := m.running[k]; ok {
		return flying, nil
	}
	flying := &flight[V]{done: make(chan struct{})}
	var found answer[V]
	started := m.now()
	task := func(ctx context.Context) (err error) {
		ctx, span := tracing.Start(tracing.Carry(ctx, asker), "find out")
		if span.IsRecording() {
			span.SetAttributes(tracing.Text("part", string(m.part)), tracing.Text("repository", k.repository.String()), tracing.Text("subject", k.subject))
		}
		defer func() { tracing.End(span, err) }()
		found, err = anew(ctx, refresh)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = errors.Join(err, context.DeadlineExceeded)
		}
		return err
	}
	land := func(err error) {
		m.metrics.landed(m.part, m.now().Sub(started), err)
		m.mu.Lock()
		current := m.running[k] == flying // else it was forgotten meanwhile
		if current {
			delete(m.running, k)
		}
		if current && err == nil && !found.fetched.IsZero() {
			m.cache.put(k, item[V]{value: found.value, fetched: found.fetched, size: found.size})
		}
		m.mu.Unlock()
		flying.value, flying.err = found.value, err
		close(flying.done)
		if current && err == nil && found.after != nil {
			found.after()
		}
	}
	m.running[k] = flying
	if err := m.flights.begin(k.repository.Registry, task, land); err != nil {
		delete(m.running, k)
		return nil, err
	}
	return flying, nil
}

func (m *memory[V]) held() (entries, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.cache.entries), m.cache.bytes
}
