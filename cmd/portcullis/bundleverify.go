package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/spf13/cobra"
)

// bundleVerifyFlags are those of portcullis bundle verify.
type bundleVerifyFlags struct {
	bundle      bundleFlags
	namespaces  []string
	minCoverage float64
}

func (p *program) bundleVerifyCommand() *cobra.Command {
	var f bundleVerifyFlags
	command := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Fetch a bundle, and say whether a cluster would activate it",
		Long: `verify does what the controller does before it activates a revision: it fetches the bundle, verifies
who has signed it, holds it to name and serial, compiles it, and runs its own tests.

BUNDLE is ` + bundlesource.SourceForms + `.
A directory is signed by nobody: of it everything else is checked.

Exit codes, where several apply the first one listed:
  64  usage      wrong flags, arguments or files
  1   denied     a cluster would reject it
  4   fault      it cannot be fetched
  0   admitted   a cluster would activate it`,
		Example: `  portcullis bundle verify oci://ghcr.io/acme/policies:7 --bundle-verification verification.yaml
  portcullis bundle verify git+https://git.example.com/policies//prod@main --bundle-verification verification.yaml
  portcullis bundle verify policies/ --min-coverage 80`,
		Args: arguments(cobra.ExactArgs(1), "name one bundle as "+bundlesource.SourceForms),
		RunE: func(command *cobra.Command, args []string) error {
			return p.bundleVerify(command.Context(), &f, args[0])
		},
	}
	f.bundle.registerElsewhere(command.Flags(), nil)
	command.Flags().StringArrayVar(&f.namespaces, "tenant-namespaces", nil, "hold it to what the bundle of a tenant may do, whose namespaces match this `glob`; may be repeated")
	command.Flags().Float64Var(&f.minCoverage, "min-coverage", 0, "reject it where its own tests reach fewer than this many `percent` of the lines of its policies")
	return command
}

func (p *program) bundleVerify(ctx context.Context, f *bundleVerifyFlags, ref string) error {
	if err := checkCoverage(f.minCoverage); err != nil {
		return err
	}
	var report strings.Builder
	err := f.verify(ctx, &report, ref)
	if report.Len() > 0 {
		if _, err := fmt.Fprint(p.stdout, report.String()); err != nil {
			return err
		}
	}
	var rejected *rejection
	if errors.As(err, &rejected) {
		p.code = gate.ExitDenied
		_, err = fmt.Fprintf(p.stdout, "A cluster would reject it: %s\n", output.Plain(rejected.Error()))
		return err
	}
	if err == nil {
		_, err = fmt.Fprintln(p.stdout, "A cluster would activate it.")
	}
	return err
}

// rejection is why a cluster would not activate a revision.
type rejection struct{ error }

func (r *rejection) Unwrap() error { return r.error }

// verify writes what there is to know, as far as it comes.
func (f *bundleVerifyFlags) verify(ctx context.Context, report *strings.Builder, ref string) error {
	if _, cluster := bundlesource.InCluster(ref); cluster {
		return usagef("a cluster has verified its bundles, and kubectl get policybundles shows how: name the source of one")
	}
	table := tabwriter.NewWriter(report, 0, 0, 2, ' ', 0)
	defer table.Flush() //nolint:errcheck // into a strings.Builder
	line := func(name, format string, arguments ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, output.Plain(fmt.Sprintf(format, arguments...)))
	}
	tree, err := f.fetch(ctx, ref, line)
	if err != nil {
		return err
	}
	line("digest", "%s", tree.Digest())
	options := revisionOptions()
	options.Name, options.Namespaces = f.bundle.elsewhere.Name(), f.namespaces
	loaded, err := revision.Load(tree, options)
	if err != nil {
		return &rejection{err}
	}
	line("bundle", "%s@%d", loaded.Bundle.Manifest.Name, loaded.Bundle.Manifest.Serial)
	line("policies", "%d", loaded.Policies)
	tests, err := revision.Test(ctx, tree, options)
	if err != nil {
		return &rejection{err}
	}
	line("tests", "%d Rego tests and %d samples, %d failed", tests.Tests, tests.Samples, len(tests.Failures))
	line("coverage", "%s", percent(tests.Percent()))
	if err := tests.Err(); err != nil {
		return &rejection{err}
	}
	if tests.Percent() < f.minCoverage {
		return &rejection{fmt.Errorf("its own tests reach %s of the lines of its policies, and %v %% are demanded: portcullis policy test --coverage says which are missing", percent(tests.Percent()), f.minCoverage)}
	}
	return nil
}

// fetch gets the files of a bundle and says where they are from and who has signed them.
func (f *bundleVerifyFlags) fetch(ctx context.Context, ref string, line func(string, string, ...any)) (*archive.Tree, error) {
	if !bundlesource.Remote(ref) {
		if _, err := openDirectory(ref); err != nil {
			return nil, err
		}
		line("origin", "%s", ref)
		line("signed", "by nobody: a directory is not")
		tree, err := archive.Read(os.DirFS(ref))
		if err != nil {
			return nil, &rejection{err}
		}
		return tree, nil
	}
	fetched, err := f.bundle.elsewhere.Fetch(ctx, ref)
	if err != nil {
		var refused *source.VerificationError
		var other *bundlesource.OtherBundleError
		if errors.As(err, &refused) || errors.As(err, &other) {
			return nil, &rejection{err}
		}
		return nil, err
	}
	line("origin", "%s", fetched.Origin)
	line("version", "%s", fetched.Version)
	if len(fetched.Signers) == 0 {
		line("signed", "by nobody who was asked for: it is taken whoever wrote it")
	} else {
		line("signed", "by %s", strings.Join(fetched.Signers, ", "))
	}
	return fetched.Tree, nil
}
