package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies/conftest"
	"github.com/portcullis-dev/portcullis/policies/conftest/parse"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxConftestFile bounds a file that is checked, in bytes. Formats have lower limits of their own.
const maxConftestFile = 16 << 20

// conftestPolicies say where the policies are, and which of them are asked. Flags are those of Conftest.
type conftestPolicies struct {
	policy        string
	data          []string
	namespaces    []string
	allNamespaces bool
}

func (f *conftestPolicies) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.policy, "policy", "p", "", "`directory` with the policies (default: what conftest.toml says, or policy)")
	flags.StringArrayVarP(&f.data, "data", "d", nil, "`directory` with data files (YAML or JSON); may be repeated")
	flags.StringSliceVarP(&f.namespaces, "namespace", "n", nil, "`package` whose rules are asked, or a pattern of such (default main)")
	flags.BoolVar(&f.allNamespaces, "all-namespaces", false, "ask the rules of every package")
}

// folder is where the policies are. Conftest looks for conftest.toml in the working directory, and it names the rest.
func (f *conftestPolicies) folder() (fs.FS, conftest.Options, error) {
	o := conftest.Options{Namespaces: f.namespaces, AllNamespaces: f.allNamespaces, Files: true}
	root := f.policy
	if root == "" {
		root, o.Policy = ".", []string{"policy"}
		if _, err := os.Stat("conftest.toml"); errors.Is(err, fs.ErrNotExist) {
			root, o.Policy = "policy", nil
		}
	}
	for _, directory := range append([]string{root}, f.data...) {
		if info, err := os.Stat(directory); err != nil || !info.IsDir() {
			return nil, o, usagef("%s is no directory: name that of the policies with --policy, and those of data with --data", directory)
		}
	}
	for _, directory := range f.data {
		o.Data = append(o.Data, os.DirFS(directory))
	}
	return os.DirFS(root), o, nil
}

func (p *program) conftestCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "conftest",
		Short: "Run Conftest's policies over configuration files, and their tests",
		Args:  knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("conftest needs to know what to do: use conftest test or conftest verify")
		},
	}
	command.AddCommand(p.conftestTestCommand(), p.conftestVerifyCommand())
	return command
}

// conftestTest are the flags of conftest test.
type conftestTest struct {
	policies   conftestPolicies
	parser     string
	ignore     string
	output     string
	combine    bool
	failOnWarn bool
}

func (p *program) conftestTestCommand() *cobra.Command {
	var f conftestTest
	command := &cobra.Command{
		Use:   "test FILE|DIR…",
		Short: "Check configuration files by Conftest's policies",
		Long: `test checks configuration files by the rules deny, warn and violation of Conftest's policies, as
they are: no bundle is needed. Formats are told by a file's name: ` + strings.Join(parse.Names(), ", ") + `.
Of a directory all files of these formats are checked; "-" is standard input, YAML by default.

Policies run in the sandbox of a bundle's own: without network, files and environment.
See docs/conftest.md.`,
		Example: `  portcullis conftest test deployment.yaml
  portcullis conftest test Dockerfile terraform/ --policy policies/ --all-namespaces
  terraform show -json plan | portcullis conftest test - --parser json -o json`,
		Args: arguments(cobra.MinimumNArgs(1), "name the files to check, or - for standard input"),
		RunE: func(command *cobra.Command, args []string) error { return p.conftestTest(command.Context(), &f, args) },
	}
	flags := command.Flags()
	f.policies.register(flags)
	flags.StringVar(&f.parser, "parser", "", "`format` of all files, whatever their names: "+strings.Join(parse.Names(), ", "))
	flags.StringVar(&f.ignore, "ignore", "", "regular `expression` of paths that are left out")
	flags.StringVarP(&f.output, "output", "o", "text", "`format` of the results: text or json")
	flags.BoolVar(&f.combine, "combine", false, "check all files as one input: a list of {path, contents}")
	flags.BoolVar(&f.failOnWarn, "fail-on-warn", false, "exit with 5 where there are warnings only")
	complete(command, "output", "text", "json")
	complete(command, "parser", parse.Names()...)
	return command
}

func (p *program) conftestTest(ctx context.Context, f *conftestTest, args []string) error {
	if err := checkFormat(f.output); err != nil {
		return err
	}
	policies, o, err := f.policies.folder()
	if err != nil {
		return err
	}
	engine, err := conftest.Load(policies, o)
	if err != nil {
		return err
	}
	ignore, err := regexp.Compile(cmp.Or(f.ignore, engine.Ignore()))
	if err != nil {
		return usagef("--ignore: %w", err)
	}
	names, err := conftestFiles(args, cmp.Or(f.ignore, engine.Ignore()) != "", ignore)
	if err != nil {
		return err
	}
	report := &conftestReport{}
	var documents []conftest.Document
	for _, name := range names {
		document, err := p.conftestDocument(name, cmp.Or(f.parser, engine.Parser()))
		if err != nil {
			report.unread(name, err)
			continue
		}
		documents = append(documents, document)
	}
	// What is combined of some files only would be judged by half of what it says.
	if f.combine = f.combine || engine.Combines(); !f.combine || !report.failed() {
		checked, err := engine.Check(ctx, documents, f.combine, time.Now())
		if err != nil {
			return err
		}
		report.add(checked)
	}
	p.code = report.code(f.failOnWarn)
	if f.output == "json" {
		return report.writeJSON(p.stdout)
	}
	return report.writeText(p.stdout)
}

func (p *program) conftestDocument(name, format string) (conftest.Document, error) {
	content, err := p.readArgument(name, maxConftestFile)
	if err != nil {
		return conftest.Document{}, err
	}
	return parse.File(name, format, content)
}

// conftestFiles are the files that arguments name, and of directories those whose format is known.
func conftestFiles(args []string, ignoring bool, ignore *regexp.Regexp) ([]string, error) {
	var names []string
	for _, argument := range args {
		info, err := os.Stat(argument)
		switch {
		case argument == "-":
			names = append(names, argument)
			continue
		case err != nil:
			return nil, usagef("%w: name files or directories, or - for standard input", err)
		case !info.IsDir():
			if !ignoring || !ignore.MatchString(argument) {
				names = append(names, argument)
			}
			continue
		}
		err = filepath.WalkDir(argument, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && entry.Name() == ".git":
				return fs.SkipDir
			case entry.IsDir(), !parse.Supported(name), ignoring && ignore.MatchString(name):
				return nil
			}
			names = append(names, name)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("looking for files in %s: %w", argument, err)
		}
	}
	if len(names) == 0 {
		return nil, usagef("there is nothing to check: no file of a format that is known (%s)", strings.Join(parse.Names(), ", "))
	}
	return names, nil
}

func (p *program) conftestVerifyCommand() *cobra.Command {
	var f conftestPolicies
	command := &cobra.Command{
		Use:   "verify",
		Short: "Run the Rego tests of Conftest's policies",
		Long: `verify runs the rules test_* of the policies, as "conftest verify" does: in the sandbox, and with the
built-ins parse_config, parse_config_file and parse_combined_config_files.

It exits with 0 when all of them pass and with 1 otherwise.`,
		Example: "  portcullis conftest verify --policy policies/",
		Args:    arguments(cobra.NoArgs, "conftest verify takes no arguments: name the directory of the policies with --policy"),
		RunE:    func(command *cobra.Command, _ []string) error { return p.conftestVerify(command.Context(), &f) },
	}
	f.register(command.Flags())
	return command
}

func (p *program) conftestVerify(ctx context.Context, f *conftestPolicies) error {
	policies, o, err := f.folder()
	if err != nil {
		return err
	}
	results, err := conftest.Test(ctx, policies, o, parse.File)
	if err != nil {
		return err
	}
	if len(results) == 0 {
		return usagef("there is nothing to test: no rule test_* in the policies")
	}
	failed := 0
	for _, result := range results {
		if result.Problem != "" {
			failed++
			fmt.Fprintf(p.stdout, "%s:%d: %s: %s\n", output.Plain(result.File), result.Line, output.Plain(result.Name), output.Plain(result.Problem))
		}
	}
	if failed > 0 {
		p.code = gate.ExitDenied
	}
	_, err = fmt.Fprintf(p.stdout, "%s, %s\n", counted(len(results), "Rego test"), counted(failed, "failure"))
	return err
}
