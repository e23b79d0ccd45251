package main

import (
	"context"
	"sync"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/gate"
)

// seenObject is what a report needs of an object beside its result.
type seenObject struct {
	object audit.Object
	// locate says where a field of it is.
	locate func(path string) gate.Location
}

// seenObjects are those that are being judged, in the order in which they came, which is that of the results. They are as many as
// the auditor judges at once, and those that wait for it.
type seenObjects struct {
	mu    sync.Mutex
	queue []seenObject
}

// watch is a source that notes each object on its way.
func (s *seenObjects) watch(from audit.Source, target *auditTarget, survey *auditSurvey) audit.Source {
	return watchedSource{s, from, target, survey}
}

type watchedSource struct {
	seen   *seenObjects
	from   audit.Source
	target *auditTarget
	survey *auditSurvey
}

// Objects implements [audit.Source].
func (w watchedSource) Objects(ctx context.Context, yield func(audit.Object) error) error {
	locate := w.target.locator()
	return w.from.Objects(ctx, func(object audit.Object) error {
		w.survey.see(object)
		w.seen.put(seenObject{object, locate(object.Reference)})
		return yield(object)
	})
}

func (s *seenObjects) put(o seenObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, o)
}

// take is the next one. There is one for each result.
func (s *seenObjects) take() seenObject {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.queue[0]
	s.queue[0] = seenObject{}
	s.queue = s.queue[1:]
	return first
}

// locator makes what says where the objects of a target are.
func (t *auditTarget) locator() func(audit.Reference) func(path string) gate.Location {
	if t.client != nil {
		return func(r audit.Reference) func(string) gate.Location {
			at := t.location(r)
			return func(string) gate.Location { return at }
		}
	}
	places := make(map[audit.Reference]func(string) gate.Location, len(t.objects))
	for n := range t.objects {
		places[t.objects[n].Reference] = t.documents[n].Locate
	}
	return func(r audit.Reference) func(string) gate.Location { return places[r] }
}
