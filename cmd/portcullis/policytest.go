package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/spf13/cobra"
)

// policyTest are the flags of policy test.
type policyTest struct {
	coverage    bool
	minCoverage float64
	format      string
}

func (p *program) policyTestCommand() *cobra.Command {
	var o policyTest
	command := &cobra.Command{
		Use:   "test PATH",
		Short: "Run the Rego tests and the samples of a bundle, or of a part of it",
		Long: `test runs the Rego unit tests (*_test.rego) and the samples (testdata/allow, deny, patch,
keep, respond and ignore) of all policies below PATH: a directory with bundle.yaml, or one inside it. The
fixes of every deny sample are applied, and the result must pass. Gator's suites and Conftest's
tests in the folders gatekeeper and conftest are run, too; PATH may be a directory with
nothing but suites.

With --coverage it says which lines of each policy no test and no sample reaches, and with
--min-coverage it fails where that is too few.

It exits with 0 when everything passes, with 1 when something fails, with 4 when policies or samples
cannot be loaded, and with 64 for wrong usage.`,
		Example: `  portcullis policy test policies/
  portcullis policy test policies/pods/privileged
  portcullis policy test policies/ --coverage --min-coverage 80`,
		Args: arguments(cobra.ExactArgs(1), "name a bundle's directory, or one inside it"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.policyTest(command.Context(), args[0], o)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&o.coverage, "coverage", false, "say which lines of the policies are reached by no test and no sample")
	flags.Float64Var(&o.minCoverage, "min-coverage", 0, "exit with 1 where fewer than this many `percent` of the lines of all policies are reached")
	flags.StringVar(&o.format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

func (p *program) policyTest(ctx context.Context, dir string, o policyTest) error {
	if err := checkFormat(o.format); err != nil {
		return err
	}
	if err := checkCoverage(o.minCoverage); err != nil {
		return err
	}
	report, root, err := runTests(ctx, dir)
	if err != nil {
		return err
	}
	enough := report.Percent() >= o.minCoverage
	if !report.Passed() || !enough {
		p.code = gate.ExitDenied
	}
	if o.format == "json" {
		return p.writeTestJSON(report, o)
	}
	return p.writeTestText(report, o, root, enough)
}

// checkCoverage refuses a share of lines that there is not.
func checkCoverage(percent float64) error {
	if percent >= 0 && percent <= 100 {
		return nil
	}
	return usagef("--min-coverage %v: give a number of percent from 0 to 100", percent)
}

// runTests runs the tests of a bundle or of a part of it, or gator's suites where there is no bundle.
func runTests(ctx context.Context, dir string) (report *revision.Report, root string, err error) {
	root, below, err := bundleAround(dir)
	if err != nil {
		if info, missing := os.Stat(dir); missing == nil && info.IsDir() {
			if report, broken := revision.TestSuites(ctx, os.DirFS(dir)); broken == nil && report.Tests > 0 {
				return report, dir, nil
			}
		}
		return nil, "", err
	}
	options := revisionOptions()
	options.Below = below
	if report, err = revision.TestFiles(ctx, os.DirFS(root), options); err != nil {
		return nil, "", fmt.Errorf("%w: mend it; docs/policies.md says what a bundle may hold, and how tests are laid out", err)
	}
	if report.Tests+report.Samples == 0 {
		return nil, "", usagef("there is nothing to test below %s: no *_test.rego, no testdata of a policy and no suite of gator", dir)
	}
	return report, root, nil
}

// writeTestText writes the failures, the coverage if asked for, and a line that adds up.
func (p *program) writeTestText(report *revision.Report, o policyTest, root string, enough bool) error {
	var b strings.Builder
	for _, f := range report.Failures {
		if f.Line > 0 {
			fmt.Fprintf(&b, "FAIL %s:%d: %s: %s\n", output.Plain(path.Join(root, f.File)), f.Line, output.Plain(f.Name), output.Plain(f.Problem))
		} else {
			fmt.Fprintf(&b, "FAIL %s: %s\n", output.Plain(f.Name), output.Plain(f.File+": "+f.Problem))
		}
	}
	if o.coverage || !enough {
		writeCoverage(&b, report, root)
	}
	fmt.Fprintf(&b, "%d Rego tests and %d samples, %d failed\n", report.Tests, report.Samples, len(report.Failures))
	if !enough {
		fmt.Fprintf(&b, "Coverage is %s, and --min-coverage demands %v %%: add a test or a sample that reaches the lines above\n", percent(report.Percent()), o.minCoverage)
	}
	_, err := io.WriteString(p.stdout, b.String())
	return err
}

// writeCoverage lists the policies with the lines that nothing reaches.
func writeCoverage(w io.Writer, report *revision.Report, root string) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POLICY\tCOVERAGE\tLINES\tNOT REACHED")
	row := func(name string, c revision.PolicyCoverage) {
		missing := "-"
		if len(c.NotCovered) > 0 {
			missing = path.Join(root, c.File) + ":" + lineRanges(c.NotCovered)
		}
		fmt.Fprintf(table, "%s\t%s\t%d/%d\t%s\n", output.Plain(name), percent(c.Percent()), c.Covered, c.Lines, output.Plain(missing))
	}
	for _, c := range report.Coverage {
		row(c.Policy, c)
	}
	for _, c := range report.Shared {
		row(c.File, c)
	}
	table.Flush() //nolint:errcheck // into a strings.Builder
	fmt.Fprintf(w, "\n%s of the lines of %s reached\n", percent(report.Percent()), countPolicies(len(report.Coverage)))
}

func percent(value float64) string { return fmt.Sprintf("%.1f %%", value) }

// lineRanges writes lines as editors and people do: 3,7-9.
func lineRanges(ranges []revision.LineRange) string {
	var parts []string
	for _, r := range ranges {
		if r.From == r.To {
			parts = append(parts, strconv.Itoa(r.From))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To))
		}
	}
	return strings.Join(parts, ",")
}

// testReport is the report as JSON.
type testReport struct {
	Tests       int                       `json:"tests"`
	Samples     int                       `json:"samples"`
	Failures    []revision.Failure        `json:"failures"`
	Coverage    *float64                  `json:"coverage,omitempty"` // percent of the lines of all policies
	MinCoverage float64                   `json:"minCoverage,omitempty"`
	Policies    []revision.PolicyCoverage `json:"policies,omitempty"`
	Shared      []revision.PolicyCoverage `json:"shared,omitempty"`
	Passed      bool                      `json:"passed"`
}

func (p *program) writeTestJSON(report *revision.Report, o policyTest) error {
	out := testReport{
		Tests: report.Tests, Samples: report.Samples, Failures: report.Failures,
		MinCoverage: o.minCoverage, Passed: p.code == gate.ExitAdmitted,
	}
	if out.Failures == nil {
		out.Failures = []revision.Failure{}
	}
	if o.coverage || o.minCoverage > 0 {
		total := report.Percent()
		out.Coverage, out.Policies, out.Shared = &total, report.Coverage, report.Shared
	}
	encoder := json.NewEncoder(p.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
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
