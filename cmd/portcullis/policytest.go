package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/regotest"
	"github.com/portcullis-dev/portcullis/policies/sample"
	"github.com/spf13/cobra"
)

func (p *program) policyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test PATH",
		Short: "Run the Rego tests and the samples of a bundle, or of a part of it",
		Long: `test runs the Rego unit tests (*_test.rego) and the samples (testdata/allow, deny, patch
and keep) of all policies below PATH: a directory with bundle.yaml, or one inside it. The
fixes of every deny sample are applied, and the result must pass.

It exits with 0 when everything passes and with 1 otherwise.`,
		Example: `  portcullis policy test policies/
  portcullis policy test policies/pods/privileged`,
		Args: arguments(cobra.ExactArgs(1), "name a bundle's directory, or one inside it"),
		RunE: func(command *cobra.Command, args []string) error { return p.policyTest(command.Context(), args[0]) },
	}
}

func (p *program) policyTest(ctx context.Context, dir string) error {
	root, below, err := bundleAround(dir)
	if err != nil {
		return err
	}
	flags := bundleFlags{dir: root}
	bundle, err := flags.load()
	if err != nil {
		return err
	}
	files := os.DirFS(root)
	tests, err := regotest.Run(ctx, files, below)
	if err != nil {
		return fmt.Errorf("%w: mend it; docs/policies.md says how tests are laid out", err)
	}
	failed := 0
	for _, test := range tests {
		if test.Problem != "" {
			failed++
			fmt.Fprintf(p.stdout, "FAIL %s:%d: %s: %s\n", output.Plain(path.Join(root, test.File)), test.Line, output.Plain(test.Name), output.Plain(test.Problem))
		}
	}
	samples, bad, err := p.runSamples(ctx, bundle, files, below)
	if err != nil {
		return err
	}
	failed += bad
	if len(tests)+samples == 0 {
		return usagef("there is nothing to test below %s: no *_test.rego and no testdata of a policy", dir)
	}
	if failed > 0 {
		p.code = gate.ExitDenied
	}
	_, err = fmt.Fprintf(p.stdout, "%d Rego tests and %d samples, %d failed\n", len(tests), samples, failed)
	return err
}

// bundleAround finds the bundle a directory lies in, and where in it.
func bundleAround(dir string) (root, below string, err error) {
	if _, err := os.Stat(dir); err != nil {
		return "", "", usagef("opening %s: no such directory: check the path", dir)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	for at := abs; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "bundle.yaml")); err == nil {
			below, err := filepath.Rel(at, abs)
			return relative(at), filepath.ToSlash(below), err
		}
		if at == filepath.Dir(at) {
			return "", "", usagef("there is no bundle.yaml in %s or above it: a bundle needs one that names it and configures its policies", dir)
		}
	}
}

// relative is a path as the user would write it, if that is shorter.
func relative(abs string) string {
	dir, err := os.Getwd()
	if err != nil {
		return abs
	}
	if short, err := filepath.Rel(dir, abs); err == nil && len(short) < len(abs) {
		return short
	}
	return abs
}

// runSamples runs the samples of all policies below a directory of the bundle.
func (p *program) runSamples(ctx context.Context, bundle *policies.Bundle, files fs.FS, below string) (run, failed int, err error) {
	for _, id := range slices.Sorted(maps.Keys(bundle.Policies)) {
		policy := bundle.Policies[id]
		if below != "." && !strings.HasPrefix(path.Dir(policy.File)+"/", below+"/") {
			continue
		}
		suite, err := sample.Load(files, policy)
		if err != nil {
			return run, failed, fmt.Errorf("loading the samples of %s: %w: docs/policies.md says how they are laid out", id, err)
		}
		if len(suite.Samples) == 0 {
			continue
		}
		problems, err := runSuite(ctx, bundle, suite)
		if err != nil {
			return run, failed, err
		}
		for _, problem := range problems {
			fmt.Fprintf(p.stdout, "FAIL %s: %s\n", output.Plain(id), output.Plain(problem.Error()))
		}
		run += len(suite.Samples)
		failed += len(problems)
	}
	return run, failed, nil
}

func runSuite(ctx context.Context, bundle *policies.Bundle, suite *sample.Suite) (problems []error, err error) {
	only, err := suite.Only(bundle)
	if err != nil {
		return nil, err
	}
	engine, err := policies.NewEngine(only)
	if err != nil {
		return nil, fmt.Errorf("compiling %s with the parameters of its samples: %w", suite.Policy.ID, err)
	}
	for i := range suite.Samples {
		s := &suite.Samples[i]
		err := s.Run(ctx, engine)
		if err == nil && s.Kind == sample.Deny && suite.Policy.Fix == "" {
			err = s.RunFixed(ctx, engine)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return problems, errors.Join(ctx.Err())
}
