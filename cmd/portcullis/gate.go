package main

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/spf13/cobra"
)

// gateFlags are those of portcullis gate.
type gateFlags struct {
	bundle     bundleFlags
	source     sourceFlags
	report     reportFlags
	images     imageFlags
	failOnWarn bool
	failOnSkip bool
}

func (p *program) gateCommand() *cobra.Command {
	var f gateFlags
	command := &cobra.Command{
		Use:   "gate [PATH…]",
		Short: "Judge manifests as the cluster would",
		Long: `gate judges each object as if it were created: patch rules first, then validation.

PATH is a file, a directory (all *.yaml, *.yml and *.json below it), a Helm chart (a
directory or .tgz), a kustomization, or - for standard input; the working directory by
default. Charts and kustomizations are rendered without network, cluster or plugins.

What policies read of the cluster is taken from the other objects of the run and from
--context; what they read of images from registries, each image once, and from scans that
the gate makes where no signed one is trusted. What cannot be known is listed as undecided.

--image judges images without manifests: a reference, oci:DIR or tar:FILE.

` + exitHelp(),
		Example: `  # Everything in the repository
  portcullis gate

  # A chart, as it goes to production, beside what runs there
  portcullis gate charts/web --values prod.yaml --namespace shop --context ~/.kube/config

  # What was built, before and after it is pushed
  portcullis gate --image ghcr.io/acme/app:1=oci:build/image --offline
  portcullis gate --image ghcr.io/acme/app:1 --summary summary.jsonl --summary-key cosign.key

  # Only what is new
  portcullis gate deploy/ --baseline baseline.json

  # What another tool renders
  helm template web charts/web | portcullis gate - --profile restricted

  # In GitHub Actions: annotations on the pull request, and a file for code scanning
  portcullis gate deploy/ --format github
  portcullis gate deploy/ --format sarif --output portcullis.sarif`,
		RunE: func(command *cobra.Command, args []string) error { return p.gate(command.Context(), &f, args) },
	}
	f.bundle.register(command, &f.images.registries)
	f.source.register(command.Flags())
	f.report.register(command.Flags())
	f.images.register(command.Flags())
	command.Flags().StringArrayVar(&f.images.images, "image", nil, "judge this `image` by the policies that judge images as such: a reference, oci:DIR, tar:FILE, or REF=oci:DIR; may be repeated")
	command.Flags().BoolVar(&f.failOnWarn, "fail-on-warn", false, "exit with 5 when there are warnings and nothing worse")
	command.Flags().BoolVar(&f.failOnSkip, "fail-on-skip", false, "exit with 4 when something that looks like a manifest was passed over: in a hidden directory, or beside a kustomization that does not use it")
	complete(command, "format", output.Formats()...)
	complete(command, "profile", "baseline", "restricted", "hardened")
	complete(command, "scan", scanMissing, scanAlways, scanNever)
	return command
}

// complete offers values of a flag to the shell.
func complete(command *cobra.Command, flag string, values ...string) {
	// The only error is a flag that does not exist, which any test of the command shows.
	if err := command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

func (p *program) gate(ctx context.Context, f *gateFlags, paths []string) error {
	baseline, err := f.report.check()
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return err
	}
	lineup, err := f.bundle.lineup(ctx)
	if err != nil {
		return err
	}
	images, err := f.images.open(ctx, lineup, p.stderr)
	if err != nil {
		return err
	}
	defer images.close()
	loaded, err := f.load(ctx, p, paths, images.documents)
	if err != nil {
		return err
	}
	cluster, err := f.source.cluster(ctx)
	if err != nil {
		return err
	}
	g := &gate.Gate{
		Lineup: lineup, Profile: f.bundle.profile, Namespace: f.source.namespace, Cluster: cluster, Images: images.facts, Fresh: images.fresh, Baseline: baseline,
		FailOnWarn: f.failOnWarn, FailOnSkip: f.failOnSkip, Version: version.String(), Now: time.Now,
		Progress: progress(p.stderr, "judged %d of %d objects"), ImageProgress: progress(p.stderr, "looked at %d of %d images"),
	}
	return p.report(&f.report, func(handler gate.Handler) error {
		p.code, err = g.Run(ctx, loaded, handler)
		return err
	})
}

// check finds flags that contradict each other.
func (f *gateFlags) check() error {
	if f.report.summary != "" && len(f.images.images) == 0 {
		return usagef("--summary sums up what --image names: name an image, or leave it out")
	}
	return f.images.check()
}

// load reads the paths, and adds the images that were named. With images and no paths there is
// nothing to read.
func (f *gateFlags) load(ctx context.Context, p *program, paths []string, images []source.Document) (source.Loaded, error) {
	if len(images) > 0 && len(paths) == 0 {
		return source.Loaded{Documents: images}, nil
	}
	loaded, err := f.source.load(ctx, p, paths)
	loaded.Documents = append(loaded.Documents, images...)
	return loaded, err
}
