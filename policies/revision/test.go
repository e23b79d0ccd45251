package revision

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/regotest"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

// Report is what became of a bundle's own tests.
type Report struct {
	// Tests are Rego unit tests and the cases of suites for other tools, Samples the samples of policies.
	Tests, Samples int
	// Failures are sorted by file and line.
	Failures []Failure
	// Coverage is that of the bundle's own policies, sorted; Shared that of the Rego that they share, by file.
	Coverage []PolicyCoverage
	Shared   []PolicyCoverage
}

// Failure is a test that did not pass, or a sample that was judged otherwise than it says.
type Failure struct {
	// File is where it stands in the bundle, Line its first line or 0 for the file as a whole.
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Name is that of the test, for a sample the id of its policy.
	Name    string `json:"name"`
	Problem string `json:"problem"`
}

// String says it in one line.
func (f Failure) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.File, f.Name, f.Problem)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Name, f.Problem)
}

// Passed says whether everything did.
func (r *Report) Passed() bool { return len(r.Failures) == 0 }

// Err is nil where everything passed, and else names the failures: the first few of them.
func (r *Report) Err() error {
	if r.Passed() {
		return nil
	}
	const most = 3
	var lines []string
	for _, failure := range r.Failures[:min(most, len(r.Failures))] {
		lines = append(lines, failure.String())
	}
	if more := len(r.Failures) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("testing the bundle: %d of its %d own tests and samples fail: %s: run portcullis policy test, and mend them",
		len(r.Failures), r.Tests+r.Samples, strings.Join(lines, "; "))
}

// Test runs the Rego tests and the samples of a bundle. That some fail is in the report; an error is that they cannot be run.
func Test(ctx context.Context, tree *archive.Tree, o Options) (*Report, error) {
	return TestFiles(ctx, tree.FS(), o)
}

// TestFiles is Test for files that are no tree.
func TestFiles(ctx context.Context, fsys fs.FS, o Options) (*Report, error) {
	bundle, err := policies.Load(fsys, o.Included...)
	if err != nil {
		return nil, err
	}
	if err := o.check(bundle); err != nil {
		return nil, err
	}
	if _, err := policies.NewEngine(bundle); err != nil { // profiles that nothing is assigned to are compiled by nobody else
		return nil, err
	}
	if err := (&Revision{Bundle: bundle}).addForeign(fsys, o); err != nil {
		return nil, err
	}
	run := &testRun{bundle: bundle, files: fsys, below: path.Clean(o.Below), tracer: cover.New(), report: &Report{}}
	for _, step := range []func(context.Context, Options) error{run.rego, run.samples, run.foreign} {
		if err := step(ctx, o); err != nil {
			return nil, err
		}
	}
	run.cover()
	slices.SortStableFunc(run.report.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return run.report, nil
}

// testRun is a run of a bundle's tests.
type testRun struct {
	bundle *policies.Bundle
	files  fs.FS
	below  string // "." for all
	tracer *cover.Cover
	report *Report
}

// included says whether a file is among those whose tests are run.
func (t *testRun) included(file string) bool {
	return t.below == "." || strings.HasPrefix(file, t.below+"/")
}

func (t *testRun) fail(file string, line int, name, problem string) {
	t.report.Failures = append(t.report.Failures, Failure{File: file, Line: line, Name: name, Problem: problem})
}

// rego runs the rules test_*.
func (t *testRun) rego(ctx context.Context, o Options) error {
	results, err := regotest.Run(ctx, t.files, regotest.Options{Below: t.below, Tracer: t.tracer, Included: t.bundle.IncludedModules()})
	if err != nil {
		return err
	}
	t.report.Tests += len(results)
	for _, result := range results {
		if result.Problem != "" {
			t.fail(result.File, result.Line, result.Name, result.Problem)
		}
	}
	return nil
}

// samples judges the samples of each policy with the policy alone.
func (t *testRun) samples(ctx context.Context, _ Options) error {
	for _, id := range slices.Sorted(maps.Keys(t.bundle.Policies)) {
		policy := t.bundle.Policies[id]
		if !t.included(path.Dir(policy.File) + "/") {
			continue
		}
		suite, err := sample.Load(t.files, policy)
		if err != nil {
			return fmt.Errorf("loading the samples of %s: %w: docs/policies.md says how they are laid out", id, err)
		}
		if len(suite.Samples) == 0 {
			continue
		}
		if err := t.suite(ctx, suite); err != nil {
			return err
		}
	}
	return nil
}

func (t *testRun) suite(ctx context.Context, suite *sample.Suite) error {
	only, err := suite.Only(t.bundle)
	if err != nil {
		return fmt.Errorf("preparing the samples of %s: %w", suite.Policy.ID, err)
	}
	engine, err := policies.NewEngine(only)
	if err != nil {
		return fmt.Errorf("compiling %s with the parameters of its samples: %w", suite.Policy.ID, err)
	}
	for i := range suite.Samples {
		s := &suite.Samples[i]
		t.report.Samples++
		err := s.Run(ctx, engine)
		if err == nil && s.Kind == sample.Deny && suite.Policy.Fix == "" {
			err = s.RunFixed(ctx, engine)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("running the samples of %s: %w", suite.Policy.ID, context.Cause(ctx))
		}
		if err != nil {
			t.fail(s.File, 0, suite.Policy.ID, strings.TrimPrefix(err.Error(), s.File+": "))
			continue
		}
		if err := t.reach(ctx, engine, s); err != nil {
			t.fail(s.File, 0, suite.Policy.ID, err.Error())
		}
	}
	return nil
}

// reach notes the lines that a sample reaches.
func (t *testRun) reach(ctx context.Context, engine *policies.Engine, s *sample.Sample) error {
	phase := policies.PhaseValidate
	switch s.Kind {
	case sample.Patch, sample.Keep:
		phase = policies.PhaseMutate
	case sample.Respond, sample.Ignore:
		phase = policies.PhaseRespond
	case sample.Permit, sample.Refuse:
		phase = policies.PhaseSync
	}
	for _, request := range s.Requests() {
		facts := s.Gather(ctx, engine.Needs(&request, phase))
		if err := engine.Cover(ctx, &request, &facts, sample.Now, phase, t.tracer); err != nil {
			return err
		}
	}
	return nil
}
