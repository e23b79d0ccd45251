package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/cmd/internal/scanreport"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/cobra"
)

// imageScanFlags are those of image scan.
type imageScanFlags struct {
	places placeFlags
	scan   scanFlags
	cache  string
	output string
}

const (
	scanTable = "table"
	scanJSON  = "json"
)

func (p *program) imageScanCommand() *cobra.Command {
	var f imageScanFlags
	command := &cobra.Command{
		Use:   "scan IMAGE...",
		Short: "Find out what is in images",
		Long: `image scan analyses images with portcullis-scanner and prints what is in them:
vulnerabilities, credentials, and whether all of an image could be looked at. An image is
a reference, oci:DIR for an OCI image layout, or tar:FILE for an archive.

What was found decides nothing: portcullis gate does, by policy. To attach a signed scan to
an image use portcullis-scanner scan --attach.

Exit codes: 0 all images were scanned completely; 3 of some image it is not known what is
in it; 4 something failed; 64 wrong usage.`,
		Example: `  portcullis image scan ghcr.io/acme/shop:1.2
  portcullis image scan --scan-database /var/lib/trivy/db --scan-java-database= oci:build/image`,
		Args: arguments(cobra.MinimumNArgs(1), "name an image as ghcr.io/acme/app:1, oci:DIR or tar:FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.imageScan(command.Context(), &f, args)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&f.output, "output", "o", scanTable, "`form` of the output: table, or json (one report a line)")
	flags.StringVar(&f.cache, "cache-dir", "", "`directory` for databases, layers and analyses; by default portcullis in the user's cache folder")
	f.scan.registerScanner(flags)
	f.places.register(flags)
	return command
}

func (p *program) imageScan(ctx context.Context, f *imageScanFlags, names []string) error {
	if f.output != scanTable && f.output != scanJSON {
		return usagef("--output is %q: use table or json", f.output)
	}
	client, err := f.places.client()
	if err != nil {
		return err
	}
	sources := &imageSources{remote: client}
	cache, err := f.cacheDir()
	if err != nil {
		return err
	}
	s := &gateScanner{flags: f.scan, sources: sources, cache: cache, log: warnings(p.stderr)}
	defer s.close()
	return p.eachImage(ctx, names, func(ctx context.Context, name string) (gate.ExitCode, error) {
		repository, digest, err := findToScan(ctx, sources, name)
		if err != nil {
			return gate.ExitFault, err
		}
		report, err := s.Scan(ctx, repository.String(), digest)
		if err != nil {
			return gate.ExitFault, err
		}
		if err := p.printScan(f.output, name, digest, &report); err != nil {
			return gate.ExitFault, err
		}
		if report.State != scanner.StateComplete {
			return gate.ExitUndecided, nil
		}
		return gate.ExitAdmitted, nil
	})
}

func (f *imageScanFlags) cacheDir() (string, error) {
	if f.cache != "" {
		return filepath.Abs(f.cache)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for databases and layers: %w: give --cache-dir", err)
	}
	return filepath.Join(cache, "portcullis"), nil
}

// findToScan finds the digest of an image, and opens the layout that holds it.
func findToScan(ctx context.Context, sources *imageSources, name string) (registry.Repository, string, error) {
	argument, err := parseImageArgument(ctx, name)
	if err != nil {
		return registry.Repository{}, "", err
	}
	repository := registry.Repository{Registry: argument.parsed.Registry, Path: argument.parsed.Repository}
	if argument.layout != nil {
		sources.layouts = append(sources.layouts, heldLayout{layout: argument.layout, repository: repository})
	}
	if argument.parsed.Digest != "" {
		return repository, argument.parsed.Digest, nil
	}
	m, err := sources.remote.Resolve(ctx, repository, argument.parsed.Tag)
	return repository, m.Digest, err
}

func (p *program) printScan(form, name, digest string, r *scanner.Report) error {
	text := scanreport.Table(name, digest, r)
	if form == scanJSON {
		var err error
		if text, err = scanreport.JSON(name, digest, r); err != nil {
			return err
		}
	}
	_, err := p.stdout.Write(text)
	return err
}
