package patrol

import (
	"fmt"
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
)

// Scans that end one after the other, of an image that many pods run, must not line up a pass each.
func TestTooMuchToRushIsOnePassOverItsKinds(t *testing.T) {
	many := func(resource string) (objects []audit.Reference) {
		for n := range maxSingle + 1 {
			objects = append(objects, audit.Reference{Version: "v1", Resource: resource, Namespace: "shop", Name: fmt.Sprint(n)})
		}
		return objects
	}
	p := New(Options{Reviewer: &admission.Reviewer{}})
	p.add(area{resources: map[string]bool{"secrets": true}})
	p.add(area{resources: map[string]bool{"pods": true}, namespaces: map[string]bool{"shop": true}})
	for range 3 {
		p.rush(many("pods"))
	}
	if len(p.pending) != 2 || !p.pending[0].resources["pods"] || p.pending[0].namespaces != nil {
		t.Errorf("what waits is %+v, want all pods first, once, and secrets", p.pending)
	}
	for n := range maxPending {
		p.rush(many(fmt.Sprint("kind", n)))
	}
	if len(p.pending) > maxPending || !p.pending[0].everything() {
		t.Errorf("%d areas wait, want so many to be everything", len(p.pending))
	}
	p.rush(many("pods"))
	if len(p.pending) != 1 {
		t.Errorf("what waits is %+v, want everything, which does for pods", p.pending)
	}
}

func TestTheAuditIsNotCompleteWithoutTheQueueOfScans(t *testing.T) {
	p := New(Options{Reviewer: &admission.Reviewer{}})
	p.passed = true
	p.Scans("it may not be read")
	p.forget(nil, nil) // what a pass knows of kinds says nothing of it
	if got, want := p.Gaps(), []audit.Gap{{What: "scans", Reason: "it may not be read"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if p.Scans(""); len(p.Gaps()) > 0 {
		t.Errorf("got %v once it is read again, want none", p.Gaps())
	}
}
