package informer

import (
	"context"
	"fmt"

	"github.com/portcullis-dev/portcullis/policies"
)

// None is a source of facts without a cluster: it knows nothing and says so, and
// policies that need facts fault.
type None struct{ Reason string }

// Gather gives the reason for everything that is needed.
func (n None) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	facts := policies.Facts{Partial: map[policies.Read]string{}}
	for _, read := range needs.Reads {
		facts.Partial[read] = n.Reason
	}
	if needs.Namespace != "" {
		facts.NamespaceMissing = fmt.Sprintf("namespace %s is not known: %s", needs.Namespace, n.Reason)
	}
	return facts
}
