package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/gatekeeper"
	"github.com/portcullis-dev/portcullis/test/bench/constraints"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// elsewhere is what Gatekeeper measures of itself: its own benchmark of August 2026, engine Rego, one worker, compute only, 31
// templates of its library with one constraint each, on a pod of 5.8 KB and a machine like those of continuous integration. It is
// not measured here, and the templates are not the same: take it for the order of magnitude.
const elsewhere = "Gatekeeper's own benchmark, elsewhere on a machine like this, 31 templates of its library and a pod of as many bytes: 17.5 ms, p99 28 ms, 5.9 MB, 125,613 allocs"

// copies of each template make a set of the size that Gatekeeper measures.
const copies = 3

// newConstraints is the set of Gatekeeper's policies in this checkout.
func newConstraints(ctx context.Context) (*constraints.Set, error) {
	checkout, err := programs.Checkout(ctx)
	if err != nil {
		return nil, err
	}
	return constraints.New(os.DirFS(filepath.Join(checkout, filepath.FromSlash(constraints.Originals))), copies)
}

// foreignRows compare the engine for Gatekeeper's policies with plain OPA: compute only, on one processor, one review after
// the other.
func foreignRows(ctx context.Context, size Size, _ string) ([]Row, error) {
	set, err := newConstraints(ctx)
	if err != nil {
		return nil, err
	}
	request, err := constraints.Pod()
	if err != nil {
		return nil, err
	}
	engine, err := gatekeeper.Load(set.Files, gatekeeper.Options{})
	if err != nil {
		return nil, err
	}
	plain, err := set.Plain(ctx)
	if err != nil {
		return nil, err
	}
	const ours, theirs = "engine", "plain OPA"
	var failed failing
	f := Compare(size.Rounds, max(1, size.Calls/5),
		Contender{ours, func() { failed.note(judged(ctx, engine, request, set.Size())) }},
		Contender{theirs, func() { failed.note(plain.Review(ctx, request)) }})
	row := ratioRow(fmt.Sprintf("%d of Gatekeeper's templates, a pod of %.1f KB, compute only", set.Size(), float64(len(request.Object))/1000), f[ours].Ratio(f[theirs]), 1, theirs)
	row.Got += fmt.Sprintf(", %.0f µs, p99 %.0f µs, CPU %.0f µs, %.0f KB, %.0f allocs", micros(f[ours].Mean), micros(f[ours].P99), micros(f[ours].CPU), f[ours].Bytes/1000, f[ours].Allocs)
	row.Note = fmt.Sprintf("each %d times: %s", set.Copies, strings.Join(set.Kinds, ", "))
	if row.Of > 1 {
		row.Note += fmt.Sprintf("; the processor time is %.2f x: what is beyond is waiting for other programs", float64(f[ours].CPU)/float64(f[theirs].CPU))
	}
	stick := Row{What: "  " + theirs + ": prepared queries, the review converted once", Got: fmt.Sprintf("%5.0f µs, p99 %.0f µs, CPU %.0f µs, %.0f KB, %.0f allocs",
		micros(f[theirs].Mean), micros(f[theirs].P99), micros(f[theirs].CPU), f[theirs].Bytes/1000, f[theirs].Allocs), Note: elsewhere}
	return []Row{row, stick}, failed.err
}

// judged wants all constraints asked and nothing found.
func judged(ctx context.Context, engine *gatekeeper.Engine, request *policies.Request, want int) error {
	result := engine.Evaluate(ctx, request, &policies.Facts{}, time.Now(), policies.PhaseValidate)
	if result.Matched != want || len(result.Findings)+len(result.Faults)+len(result.Undecided) > 0 {
		return fmt.Errorf("got %d constraints, %v, %v and %v, want %d and nothing", result.Matched, result.Findings, result.Faults, result.Undecided, want)
	}
	return nil
}
