package revision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/portcullis-dev/portcullis/policies/conftest"
	"github.com/portcullis-dev/portcullis/policies/gatekeeper"
)

// The folders of a bundle that hold policies written for other tools. Each is a compile unit of its own.
const (
	gatekeeperFolder = "gatekeeper"
	conftestFolder   = "conftest"
)

// addForeign adds the judges of the bundle's policies for other tools.
func (r *Revision) addForeign(fsys fs.FS, o Options) error {
	for _, add := range []func(fs.FS, Options) error{r.addGatekeeper, r.addConftest} {
		if err := add(fsys, o); err != nil {
			return fmt.Errorf("loading the bundle: %w", err)
		}
	}
	if err := r.checkExceptions(); err != nil {
		return fmt.Errorf("loading the bundle: %w", err)
	}
	return nil
}

// checkExceptions refuses exceptions from policies for other tools that are not there: one with a misspelt name would be
// believed to waive something.
func (r *Revision) checkExceptions() error {
	known := map[string]bool{}
	for _, judge := range r.Judges {
		switch judge := judge.(type) {
		case *gatekeeper.Engine:
			for _, id := range judge.Policies() {
				known[id] = true
			}
		case *conftest.Engine:
			for _, id := range judge.Rules() {
				known[id] = true
			}
		}
	}
	var problems []error
	for _, exception := range r.Bundle.Exceptions {
		if r.Bundle.Policies[exception.Policy] == nil && !known[exception.Policy] {
			problems = append(problems, fmt.Errorf("exception %q: there is no policy %q in the bundle: correct its name, as findings have it", exception.Name, exception.Policy))
		}
	}
	return errors.Join(problems...)
}

func (r *Revision) addGatekeeper(fsys fs.FS, o Options) error {
	files, err := folder(fsys, gatekeeperFolder)
	if files == nil || err != nil {
		return err
	}
	engine, err := gatekeeper.Load(files, gatekeeper.Options{Tenant: len(o.Namespaces) > 0, Waive: r.Bundle.Waive})
	if err != nil {
		return fmt.Errorf("folder %s: %w", gatekeeperFolder, err)
	}
	r.Judges = append(r.Judges, engine)
	r.Policies += len(engine.Policies())
	return nil
}

func (r *Revision) addConftest(fsys fs.FS, _ Options) error {
	files, err := folder(fsys, conftestFolder)
	if files == nil || err != nil {
		return err
	}
	engine, err := conftest.Load(files, conftest.Options{Waive: r.Bundle.Waive})
	if err != nil {
		return fmt.Errorf("folder %s: %w", conftestFolder, err)
	}
	r.Judges = append(r.Judges, engine)
	r.Policies += len(engine.Rules())
	return nil
}

// foreign runs the tests of the bundle's policies for other tools.
func (t *testRun) foreign(ctx context.Context, o Options) error {
	if err := t.gatekeeper(ctx); err != nil {
		return fmt.Errorf("testing the folder %s: %w", gatekeeperFolder, err)
	}
	if err := t.conftest(ctx, o); err != nil {
		return fmt.Errorf("testing the folder %s: %w", conftestFolder, err)
	}
	return nil
}

// gatekeeper runs gator's suites.
func (t *testRun) gatekeeper(ctx context.Context) error {
	files, err := folder(t.files, gatekeeperFolder)
	if files == nil || err != nil {
		return err
	}
	suites, err := gatekeeper.Test(ctx, files)
	if err != nil {
		return err
	}
	for _, suite := range suites {
		if file := gatekeeperFolder + "/" + suite.Path; t.included(file) {
			t.report.suite(file, &suite)
		}
	}
	return nil
}

// suite adds a suite of gator. Each case is a test; what the suite skips is none.
func (r *Report) suite(file string, suite *gatekeeper.SuiteResult) {
	for _, test := range suite.Tests {
		if test.Problem != "" {
			r.Tests++
			r.Failures = append(r.Failures, Failure{File: file, Name: test.Name, Problem: test.Problem})
		}
		for _, one := range test.Cases {
			if one.Skipped {
				continue
			}
			r.Tests++
			if one.Problem != "" {
				r.Failures = append(r.Failures, Failure{File: file, Name: test.Name + "/" + one.Name, Problem: one.Problem})
			}
		}
	}
}

// TestSuites runs the gator suites of a folder that is no bundle, as "gator verify" does.
func TestSuites(ctx context.Context, fsys fs.FS) (*Report, error) {
	suites, err := gatekeeper.Test(ctx, fsys)
	if err != nil {
		return nil, err
	}
	report := &Report{}
	for n := range suites {
		report.suite(suites[n].Path, &suites[n])
	}
	return report, nil
}

// conftest runs Rego tests of Conftest's policies.
func (t *testRun) conftest(ctx context.Context, o Options) error {
	files, err := folder(t.files, conftestFolder)
	if files == nil || err != nil {
		return err
	}
	results, err := conftest.Test(ctx, files, conftest.Options{}, o.Reader)
	if err != nil {
		return err
	}
	for _, result := range results {
		file := conftestFolder + "/" + result.File
		if !t.included(file) {
			continue
		}
		t.report.Tests++
		if result.Problem != "" {
			t.fail(file, result.Line, result.Name, result.Problem)
		}
	}
	return nil
}
