package registration

import (
	"context"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// Place says which installation is meant. The zero value is the default one.
type Place struct {
	// Name is that of both configurations, "portcullis" where empty.
	Name string
	// Namespace is that of webhook and controller, with their Secrets and Lease; "portcullis-system" where empty.
	Namespace string
}

// State is what is registered with an API server.
type State struct {
	// Validating and Mutating are nil where there is no such configuration.
	Validating, Mutating *Registered
	// Since is when the controller first registered, zero for never.
	Since time.Time
	// Uninstalled is when portcullis-controller uninstall ran, after which the controller registers nothing; zero for never.
	Uninstalled time.Time
	// BreakGlass are the openings that count now, by whatever way.
	BreakGlass []Opening
	// Authority and Leaf are the controller's certificates, nil where they cannot be read: by what is missing in Unread.
	Authority, Leaf *Certificate
	// Unread says what could not be read, and why.
	Unread []error
}

// Registered is one of the two configurations.
type Registered struct {
	Name string
	// Controlled says that the controller keeps it, not somebody by hand.
	Controlled bool
	// Service is NAMESPACE/NAME:PORT, "" where URL is called.
	Service, URL string
	// Entries are the names of its webhooks, FailOpen those of them that should fail closed and do not.
	Entries, FailOpen []string
	// CA are the authorities in the caBundle, of all entries together.
	CA []Certificate
	// SameCA says that all entries have the same caBundle.
	SameCA bool
	// ChangedBy is the manager of the last change (such as kubectl-edit), ChangedAt its time.
	ChangedBy string
	ChangedAt time.Time
}

// Certificate is one that is in use.
type Certificate struct {
	Subject             string
	NotBefore, NotAfter time.Time
}

// Opening is a way in which the glass is broken.
type Opening struct {
	// Name is that of the BreakGlass, or [AnnotationOpening].
	Name string                  `json:"name"`
	Mode v1alpha1.BreakGlassMode `json:"mode"`
	// By is who created the BreakGlass, or by which manager (such as kubectl-annotate) the annotation was written: the API server's
	// audit log knows who that was.
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Inspect says what is registered with an API server, by whom, and whether the glass is broken. It only reads. What the caller may not
// read is in [State.Unread]; the error is for an API server that does not answer.
func Inspect(ctx context.Context, client dynamic.Interface, place Place, now time.Time) (*State, error) {
	return inspect(ctx, client, place, now)
}
