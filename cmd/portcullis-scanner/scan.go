package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/cmd/internal/scanreport"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/child"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// The outputs of scan.
const (
	outputTable     = "table"
	outputJSON      = "json"
	outputPredicate = "predicate"
)

// scanFlags are those of scan alone.
type scanFlags struct {
	flags
	output string
	attach bool
}

func (p *program) scanCommand() *cobra.Command {
	var f scanFlags
	command := &cobra.Command{
		Use:   "scan IMAGE...",
		Short: "Scan images, print what is in them, and attach it signed",
		Long: `portcullis-scanner scan pulls images and says what is in them: an image is a reference,
oci:DIR for an OCI image layout, or tar:FILE for an archive of docker save or of a layout.
Of an index all images for Linux are scanned, and what is in any of them counts.

With --attach the scan is signed with --key and attached to the image, in place of the
one before. It counts for all platforms, so --platform must leave none of them out.`,
		Example: `  # What is in an image
  portcullis-scanner scan ghcr.io/acme/shop:1.2

  # As CI: scan what was built, attach the scan and the SBOMs
  portcullis-scanner scan --attach --key=scanner.key --sbom ghcr.io/acme/shop@sha256:…

  # Without network
  portcullis-scanner scan --database=/var/lib/trivy/db --java-database= oci:build/image`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("there is nothing to scan: name images")
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			return p.scan(command.Context(), &f, args)
		},
	}
	command.Flags().StringVarP(&f.output, "output", "o", outputTable, "`form` of the output: table, json (one report a line) or predicate (the attestation's, one a line)")
	command.Flags().BoolVar(&f.attach, "attach", false, "sign the scan with --key and attach it to the image")
	command.Flags().StringSliceVar(&f.platforms, "platform", nil, "`platforms` of an index to scan, as linux/amd64; all for Linux by default")
	f.register(command.Flags(), child.DefaultMaxImages)
	return command
}

// image is one that is to be scanned.
type image struct {
	name   string // as it was given
	source child.Source
	target cosign.Target
	layout bool
}

func (p *program) scan(ctx context.Context, f *scanFlags, names []string) error {
	switch {
	case f.output != outputTable && f.output != outputJSON && f.output != outputPredicate:
		return usagef("--output is %q: use table, json or predicate", f.output)
	case f.attach && f.key == "":
		return usagef("--attach signs the scan: give --key")
	case !f.attach && f.key != "":
		return usagef("--key signs what --attach attaches: give --attach")
	}
	w, err := f.open(ctx, slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer w.close()
	images, err := p.find(ctx, w, f, names)
	if err != nil {
		return err
	}
	results := make([]scanned, len(images))
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(f.children + 1) // one more, which is pulled meanwhile
	for i := range images {
		group.Go(func() (err error) {
			if results[i], err = w.scan(groupContext, images[i].source, images[i].target); err != nil {
				return err
			}
			if f.attach {
				return w.attach(groupContext, results[i])
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range results {
		if results[i].Report.State != scanner.StateComplete {
			p.code = exitUndecided
		}
		if err := p.print(f.output, images[i].name, &results[i]); err != nil {
			return err
		}
	}
	return nil
}

// find resolves the arguments. Those that are one image are scanned once.
func (p *program) find(ctx context.Context, w *works, f *scanFlags, names []string) ([]image, error) {
	var images []image
	for _, name := range names {
		found, err := w.resolve(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			if f.attach && one.layout {
				return nil, usagef("%s is in no registry, where a scan could be attached: leave --attach out", name)
			}
			if err := f.checkPlatforms(ctx, one); err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(images, func(other image) bool { return other.target == one.target }) {
				images = append(images, one)
			}
		}
	}
	return images, nil
}

// checkPlatforms refuses a --platform that an index does not have, and one that leaves out others of an index where the
// scan would be evidence of its digest, which stands for all of them.
func (f *scanFlags) checkPlatforms(ctx context.Context, one image) error {
	if len(f.platforms) == 0 {
		return nil
	}
	m, err := one.source.Manifest(ctx, one.target.Repository, one.target.Digest)
	if err != nil {
		return err
	}
	leftOut, err := child.LeftOut(m, f.platforms)
	if none := (*child.PlatformError)(nil); errors.As(err, &none) {
		return usagef("%s: --platform %w", one.name, none)
	}
	if err != nil || len(leftOut) == 0 {
		return nil // what cannot be scanned is in the report
	}
	switch missing := strings.Join(leftOut, ", "); {
	case f.attach:
		return usagef("%s: --platform leaves out %s, and what is attached counts for all platforms: leave --platform out", one.name, missing)
	case f.output == outputPredicate:
		return usagef("%s: --platform leaves out %s, and a predicate counts for all platforms: leave --platform out", one.name, missing)
	}
	return nil
}

// resolve finds the images of an argument: one of a registry, all of a layout.
func (w *works) resolve(ctx context.Context, name string) ([]image, error) {
	for _, scheme := range []string{"oci:", "tar:"} {
		if path, ok := strings.CutPrefix(name, scheme); ok {
			return resolveLayout(name, path)
		}
	}
	parsed, err := workload.ParseImage(name)
	if err != nil {
		return nil, usageError{err}
	}
	repository := registry.Repository{Registry: parsed.Registry, Path: parsed.Repository}
	digest := parsed.Digest
	if digest == "" {
		m, err := w.registry.Resolve(ctx, repository, parsed.Tag)
		if err != nil {
			return nil, err
		}
		digest = m.Digest
	}
	return []image{{name: name, source: w.registry, target: cosign.Target{Repository: repository, Digest: digest}}}, nil
}

func resolveLayout(name, path string) ([]image, error) {
	layout, err := registry.NewLayout(path)
	if err != nil {
		return nil, usageError{err}
	}
	listed, err := layout.Images()
	if err != nil {
		return nil, usageError{err}
	}
	if len(listed) == 0 {
		return nil, usagef("%s has no image in it: name the layout or archive that was built", name)
	}
	var images []image
	for _, d := range listed {
		images = append(images, image{name: name + "@" + d.Digest, source: layout, layout: true, target: cosign.Target{Repository: registry.Repository{Registry: "localhost", Path: "layout"}, Digest: d.Digest}})
	}
	return images, nil
}

// print writes one result.
func (p *program) print(output, name string, s *scanned) error {
	switch output {
	case outputPredicate:
		_, err := fmt.Fprintf(p.stdout, "%s\n", s.predicate)
		return err
	case outputJSON:
		line, err := scanreport.JSON(name, s.target.Digest, &s.Report)
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(line)
		return err
	}
	_, err := p.stdout.Write(scanreport.Table(name, s.target.Digest, &s.Report))
	return err
}
