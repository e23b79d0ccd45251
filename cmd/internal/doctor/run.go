package doctor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

// Bounds of a run.
const (
	// DefaultTimeout is for one check. That of permissions asks some hundred questions.
	DefaultTimeout = 30 * time.Second
	// concurrent is how many checks look at once: what they ask is asked of an API server that may be in trouble.
	concurrent = 8
)

// Report is what all checks have found.
type Report struct {
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	Time      time.Time `json:"time"`
	Results   []Result  `json:"results"`
}

// Count is how many results have a state.
func (r *Report) Count(state State) int {
	count := 0
	for n := range r.Results {
		if r.Results[n].State == state {
			count++
		}
	}
	return count
}

// Run lets checks look, each for at most timeout. The results are in the order of the checks.
func Run(ctx context.Context, of *installation.Installation, checks []Check, timeout time.Duration, options Options) (*Report, error) {
	p := &patient{Installation: of, options: options}
	report := &Report{Cluster: of.Config.Host, Namespace: of.Namespace, Time: of.Now().UTC(), Results: make([]Result, len(checks))}
	places := make(chan struct{}, concurrent)
	var all sync.WaitGroup
	for n := range checks {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			report.Results[n] = examine(ctx, p, &checks[n], timeout)
		})
	}
	all.Wait()
	return report, ctx.Err()
}

// errTimeout is why a check is given up.
var errTimeout = errors.New("it took too long")

// examine lets one check look. One that goes on after its time is left behind: it only reads, and its result is its own.
func examine(ctx context.Context, p *patient, check *Check, timeout time.Duration) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	started := time.Now()
	done := make(chan Result, 1)
	go func() {
		result := Result{Check: check.Name, Why: check.Why, Docs: check.Docs()}
		defer func() {
			if cause := recover(); cause != nil {
				result.unknown("report this, it is a mistake of the doctor", "The check failed: %v", cause)
			}
			result.finish()
			done <- result
		}()
		check.look(ctx, p, &result)
	}()
	var result Result
	select {
	case result = <-done:
	case <-ctx.Done():
		result = Result{Check: check.Name, Why: check.Why, Docs: check.Docs()}
		result.unknown("try it alone, with more time: portcullis doctor --only "+check.Name+" --timeout 2m", "The check was given up after %s: %v", timeout, context.Cause(ctx))
		result.finish()
	}
	result.Took = time.Since(started)
	return result
}

// Select are the checks with these names, in their order; all for none. It names the first that does not exist.
func Select(names []string) (checks []Check, unknown string) {
	all := Checks()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.Name == name }) {
			return nil, name
		}
	}
	if len(names) == 0 {
		return all, ""
	}
	return slices.DeleteFunc(all, func(c Check) bool { return !slices.Contains(names, c.Name) }), ""
}

// Rewrite puts other words into what is to be done next: how commands are called.
func (r *Report) Rewrite(words func(string) string) {
	for n := range r.Results {
		for m := range r.Results[n].Observations {
			next := &r.Results[n].Observations[m].Next
			*next = words(*next)
		}
	}
}
