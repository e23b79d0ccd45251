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

	"github.com/portcullis-dev/portcullis/policies"
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

// Options say which tests are run, and with what.
type Options struct {
	// Below is the folder of the bundle whose tests are run, "." or "" for all of it.
	Below string
	// Included are the Rego files of a bundle that this one builds on, by file. Their own tests are not run.
	Included map[string]*ast.Module
	// Tracer sees each step of the tests, nil for nobody: for coverage.
	Tracer topdown.QueryTracer
}

// foreignFolders hold Rego for other tools, which is no part of the bundle's own.
var foreignFolders = []string{"gatekeeper", "conftest"}

// Run runs the tests of a bundle. All of its policies and shared Rego are loaded with them.
func Run(ctx context.Context, bundle fs.FS, o Options) ([]Result, error) {
	modules, err := load(bundle)
	if err != nil {
		return nil, err
	}
	for file, module := range o.Included {
		if _, own := modules[file]; !own {
			modules[file] = module
		}
	}
	below := cmp.Or(o.Below, ".")
	if o.Tracer != nil {
		results, err := run(ctx, modules, below, o.Tracer)
		failed := slices.ContainsFunc(results, func(r Result) bool { return r.Problem != "" })
		if err != nil || !failed {
			return results, err
		}
	}
	return run(ctx, modules, below, nil)
}

// run runs the tests with a tracer for coverage or, for nil, with one that finds the line of a failure: OPA takes one.
func run(ctx context.Context, modules map[string]*ast.Module, below string, tracer topdown.QueryTracer) ([]Result, error) {
	runner := tester.NewRunner().
		SetCompiler(compiler()).
		SetDefaultRegoVersion(ast.RegoV1).
		SetModules(modules).
		SetTimeout(timeout).
		CapturePrintOutput(true).
		EnableTracing(tracer == nil).
		SetCoverageRuns(nil). // why a line is not reached is for its author
		RaiseBuiltinErrors(true)
	if tracer != nil {
		runner.SetCoverageQueryTracer(tracer)
	}
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

// compiler holds tests to the sandbox of policies: a controller runs those of every bundle that it is given, and
// http.send in one would be its hand on the network. Tests may print, and say the cases they go through.
func compiler() *ast.Compiler {
	sandbox := policies.Sandbox()
	for _, builtin := range ast.CapabilitiesForThisVersion().Builtins {
		if slices.Contains([]string{"print", "internal.print", "internal.test_case"}, builtin.Name) &&
			!slices.ContainsFunc(sandbox.Builtins, func(other *ast.Builtin) bool { return other.Name == builtin.Name }) {
			sandbox.Builtins = append(sandbox.Builtins, builtin)
		}
	}
	return ast.NewCompiler().WithCapabilities(sandbox).WithEnablePrintStatements(true).WithDefaultRegoVersion(ast.RegoV1)
}

func load(bundle fs.FS) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	err := fs.WalkDir(bundle, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (slices.Contains(foreignFolders, name) || strings.HasPrefix(path.Base(name), ".") && name != ".") {
			return fs.SkipDir
		}
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
