// Package regotest runs the Rego unit tests of a bundle: the rules test_* of files
// named *_test.rego, as opa test would.
package regotest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// timeout is for one test. Tests are small; one that runs longer loops.
const timeout = 10 * time.Second

// Result is what became of one test.
type Result struct {
	// Name is package and rule: data.portcullis.pods.privileged_test.test_denies.
	Name string
	// File is where it stands in the bundle, Line its first line.
	File string
	Line int
	// Problem is why it did not pass, "" if it did.
	Problem string
}

// Run runs the tests of all files below a directory of a bundle ("." for all of
// it). Policies and libraries of the whole bundle are loaded with them.
func Run(ctx context.Context, bundle fs.FS, below string) ([]Result, error) {
	modules, err := load(bundle)
	if err != nil {
		return nil, err
	}
	runner := tester.NewRunner().
		SetDefaultRegoVersion(ast.RegoV1).
		SetModules(modules).
		SetTimeout(timeout).
		CapturePrintOutput(true).
		EnableTracing(true). // without it a failure has no line
		RaiseBuiltinErrors(true)
	outcomes, err := runner.RunTests(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("running the Rego tests: %w", err)
	}
	var results []Result
	for outcome := range outcomes {
		if outcome.Location == nil || !isBelow(outcome.Location.File, below) {
			continue
		}
		results = append(results, Result{
			Name: outcome.Package + "." + outcome.Name, File: outcome.Location.File, Line: outcome.Location.Row,
			Problem: problem(outcome),
		})
	}
	slices.SortFunc(results, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return results, ctx.Err()
}

func load(bundle fs.FS) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	err := fs.WalkDir(bundle, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".rego" {
			return err
		}
		content, err := fs.ReadFile(bundle, name)
		if err != nil {
			return err
		}
		module, err := ast.ParseModuleWithOpts(name, string(content), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			return err
		}
		if module != nil {
			modules[name] = module
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the Rego of the bundle: %w", err)
	}
	return modules, nil
}

func isBelow(file, dir string) bool {
	return dir == "." || strings.HasPrefix(file, strings.TrimSuffix(dir, "/")+"/")
}

func problem(outcome *tester.Result) string {
	switch {
	case outcome.Error != nil:
		return outcome.Error.Error()
	case outcome.Fail:
		return "failed" + failedAt(outcome)
	}
	return ""
}

// failedAt names the last line of the test's own file that did not hold.
func failedAt(outcome *tester.Result) string {
	for _, event := range slices.Backward(outcome.Trace) {
		if at := event.Location; event.Op == topdown.FailOp && at != nil && at.File == outcome.Location.File {
			return fmt.Sprintf(" at line %d: %s", at.Row, at.Text)
		}
	}
	return ""
}
