package audit

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
)

// Source has objects that exist.
type Source interface {
	// Objects gives all objects to yield, one after the other, and ends with the first error of it. What it could not
	// look at is an *[IncompleteError], after everything else was given. The order is the same for the same objects, and
	// owners come before what they own.
	Objects(ctx context.Context, yield func(Object) error) error
}

// Handler is given the results, in the order of the source, by one goroutine at a time. An error ends the audit.
type Handler interface {
	Result(Result) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(Result) error

// Result implements [Handler].
func (f HandlerFunc) Result(r Result) error { return f(r) }

// judgeTimeout bounds the judging of one object: nobody waits for the answer, but what never ends would end the audit.
const judgeTimeout = 30 * time.Second

// Options of [New].
type Options struct {
	Reviewer *admission.Reviewer
	// Workers is how many objects are judged at once; as many as there are processors for 0.
	Workers int
	// Now is the clock, time.Now by default. It is for Result.At: exceptions end by the Reviewer's own.
	Now func() time.Time
	// Unfolded reports the findings of what is owned, too, where the owner has them: see [Fold].
	Unfolded bool
	// Running has results of pods say what they run.
	Running bool
}

// Auditor judges objects that exist. It may be used by any number of goroutines.
type Auditor struct{ options Options }

// New makes an Auditor.
func New(options Options) *Auditor {
	if options.Workers <= 0 {
		options.Workers = runtime.GOMAXPROCS(0)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Auditor{options}
}

// Judge judges one object. Findings that its owner has, too, are among what it gives.
func (a *Auditor) Judge(ctx context.Context, object Object) Result {
	result, _, _ := a.Examine(ctx, object)
	return result
}

// Examine is Judge with what was asked and answered, for a journal.
func (a *Auditor) Examine(ctx context.Context, object Object) (Result, admission.Request, admission.Verdict) {
	request := requestFor(object)
	metadata := metadataOf(object.Raw)
	result := Result{Object: object.Reference, Owner: metadata.controller(), Dormant: metadata.dormant(object.Reference), At: a.options.Now().UTC().Truncate(time.Second)}
	if result.Object.UID == "" {
		result.Object.UID = metadata.UID
	}
	if a.options.Running {
		result.Running = runningOf(object.Reference, object.Raw)
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	verdict := a.options.Reviewer.Review(ctx, request)
	result.Findings, result.Faults, result.Undecided = verdict.Findings, verdict.Faults, verdict.Undecided
	result.Matched, result.Profile, result.Revision = verdict.Matched, verdict.Profile, verdict.Bundle
	return result, request, verdict
}

// requestFor is the request that would create an object today.
func requestFor(object Object) admission.Request {
	return admission.Request{
		Door:      admission.DoorAudit,
		Operation: string(admissionv1.Create),
		Resource:  metav1.GroupVersionResource{Group: object.Group, Version: object.Version, Resource: object.Resource},
		Kind:      metav1.GroupVersionKind{Group: object.Group, Version: object.Version, Kind: object.Kind},
		Namespace: object.Namespace, Name: object.Name,
		Object: object.Raw,
	}
}

// Audit judges all objects of a source. The error is the first of the handler, of the context or of the source; an
// *[IncompleteError] says what the source could not look at, and that all else was judged.
func (a *Auditor) Audit(ctx context.Context, source Source, handler Handler) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Results leave in the order in which objects came: each has its place in the queue from the beginning. The queue is
	// what bounds the memory, since a source that is faster waits for it.
	type place struct {
		object Object
		result chan Result
	}
	waiting := make(chan place, a.options.Workers)
	queue := make(chan place, 4*a.options.Workers)
	var workers, handling sync.WaitGroup
	for range a.options.Workers {
		workers.Go(func() {
			for p := range waiting {
				p.result <- a.Judge(ctx, p.object)
			}
		})
	}
	handling.Go(func() {
		fold := NewFold()
		for p := range queue {
			result := <-p.result
			if ctx.Err() != nil {
				continue // what was judged after the end is not worth telling
			}
			if !a.options.Unfolded {
				result = fold.Add(result)
			}
			if err := handler.Result(result); err != nil {
				stop(err)
			}
		}
	})
	err := source.Objects(ctx, func(object Object) error {
		p := place{object: object, result: make(chan Result, 1)}
		select {
		case queue <- p:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		waiting <- p // its worker comes
		return nil
	})
	close(waiting)
	close(queue)
	workers.Wait()
	handling.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// Objects are a source of what is in memory.
type Objects []Object

// Objects implements [Source].
func (o Objects) Objects(ctx context.Context, yield func(Object) error) error {
	for _, object := range o {
		if err := errors.Join(context.Cause(ctx), yield(object)); err != nil {
			return err
		}
	}
	return nil
}

// Sort puts owners before what they own, and everything in the same order whatever order it came in.
func (o Objects) Sort() {
	slices.SortStableFunc(o, func(a, b Object) int { return CompareOrder(a.Reference, b.Reference) })
}
