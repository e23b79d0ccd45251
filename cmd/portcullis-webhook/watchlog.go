package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// watchLogInterval is how often client-go may complain about one kind. It tries a watch
// that fails every few seconds; the facts say themselves that it fails, and why.
const watchLogInterval = time.Minute

// watchLog passes on what client-go logs, but of the failures of one watch only one an interval.
type watchLog struct {
	slog.Handler
	*watchLogState
}

type watchLogState struct {
	now func() time.Time

	mu   sync.Mutex
	said map[string]time.Time // by kind: as many as are watched
}

func newWatchLog(next slog.Handler, now func() time.Time) watchLog {
	return watchLog{next, &watchLogState{now: now, said: map[string]time.Time{}}}
}

// Handle drops a failure of a kind that has been complained about a moment ago.
func (w watchLog) Handle(ctx context.Context, record slog.Record) error {
	if kind, ok := watchedKind(record); ok && !w.due(kind) {
		return nil
	}
	return w.Handler.Handle(ctx, record)
}

// WithAttrs keeps what has been said, as WithGroup does: client-go names its loggers anew
// for each line.
func (w watchLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watchLog{w.Handler.WithAttrs(attrs), w.watchLogState}
}

// WithGroup keeps what has been said.
func (w watchLog) WithGroup(name string) slog.Handler {
	return watchLog{w.Handler.WithGroup(name), w.watchLogState}
}

// watchedKind is what a reflector says it fails to watch.
func watchedKind(record slog.Record) (kind string, ok bool) {
	reflector := false
	record.Attrs(func(attr slog.Attr) bool {
		switch attr.Key {
		case "reflector":
			reflector = true
		case "type":
			kind = attr.Value.String()
		}
		return true
	})
	return kind, reflector && kind != ""
}

func (s *watchLogState) due(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if last, known := s.said[kind]; known && now.Sub(last) < watchLogInterval {
		return false
	}
	s.said[kind] = now
	return true
}
