package admission

import (
	"context"

	"github.com/portcullis-dev/portcullis/policies"
)

// Prepare has a lineup judge requests before it is installed, so that the first that count find ready what is made when
// it is first asked for: queries for just the policies that match, and evidence about images. What it finds is thrown away. They
// are judged as dry runs, after which nobody is asked to scan anything. It stops when ctx ends.
func (r *Reviewer) Prepare(ctx context.Context, lineup *Lineup, requests []Request) {
	for n := range requests {
		request := requests[n]
		request.DryRun = true
		r.choose(&request)
		for _, phase := range []policies.Phase{policies.PhaseMutate, policies.PhaseValidate} {
			if ctx.Err() != nil {
				return
			}
			r.evaluate(ctx, lineup, &request, phase)
		}
	}
}
