package admission

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

// Judge is one compile unit: policies that share nothing with those of another. The engine of a bundle is one,
// those that run policies written for other tools are others.
//
// A Judge may be used by any number of goroutines. It never panics, and what it cannot judge it says in the
// result: a fault, never silence.
type Judge interface {
	// Matches says, without looking at the object, whether any policy is about a request's resource and operation.
	Matches(request *Request) bool
	// Needs says which facts the policies that match can read.
	Needs(request *Request, phase policies.Phase) policies.Needs
	// Evaluate judges. It reads nothing but its arguments.
	Evaluate(ctx context.Context, request *Request, facts *policies.Facts, now time.Time, phase policies.Phase) policies.Result
	// Interests are the pairs of resource and operation that policies of a profile match, of all profiles for "".
	Interests(profile string) []policies.Interest
}

var _ Judge = (*policies.Engine)(nil)

// Ready is one revision of a bundle, compiled. It is immutable.
type Ready struct {
	// Bundle is the bundle's name, Revision its name, serial and digest for people, Digest that of its files.
	Bundle, Revision, Digest string
	Judges                   []Judge
}

// ReadyEngine is a revision that is nothing but one engine.
func ReadyEngine(engine *policies.Engine) Ready {
	bundle := engine.Bundle()
	return Ready{Bundle: bundle.Manifest.Name, Revision: bundle.Revision(), Digest: bundle.Digest, Judges: []Judge{engine}}
}

// matches says whether any of the revision's judges wants a request.
func (r *Ready) matches(request *Request) bool {
	for _, judge := range r.Judges {
		if judge.Matches(request) {
			return true
		}
	}
	return false
}
