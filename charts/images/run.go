package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/pflag"
)

// programNames are those that the chart runs, and the command line.
var programNames = []string{
	"portcullis", "portcullis-console", "portcullis-controller", "portcullis-responder", "portcullis-scanner", "portcullis-secrets", "portcullis-webhook",
}

// options are what the flags say.
type options struct {
	programs, platforms []string
	output, push        string
	version             string
	key                 string
	plainHTTP           []string
	// sources are packages of programs that are not those of cmd, and tool is a command line that was built before: for tests.
	sources map[string]string
	tool    string
}

// versionPattern is what a tag of an image may be (OCI distribution specification 1.1, "Pulling manifests").
var versionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

var errUsage = errors.New("see --help")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := pflag.NewFlagSet("images", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.SortFlags = false
	flags.Usage = func() {
		fmt.Fprintf(stderr, "images builds the container images of Portcullis.\n\nUsage: go run ./charts/images [flags]\n\n%s", flags.FlagUsages())
	}
	flags.StringSliceVar(&o.programs, "program", programNames, "`names` of the programs to build images of")
	flags.StringSliceVar(&o.platforms, "platform", []string{"linux/amd64", "linux/arm64"}, "`platforms` of each image, OS/ARCHITECTURE")
	flags.StringVarP(&o.output, "output", "o", "bin/images", "`folder` for an OCI image layout of each image, its SBOMs and provenance")
	flags.StringVar(&o.push, "push", "", "`REGISTRY/PREFIX` to push to as well: ghcr.io/acme gives ghcr.io/acme/portcullis-webhook:VERSION")
	flags.StringVar(&o.version, "version", "", "`tag` of the images and version of the programs; by default what git describe makes of the commit")
	flags.StringVar(&o.key, "key", "", "private key `file` that signs images and attests SBOM and provenance, with --push; its password comes from COSIGN_PASSWORD")
	flags.StringArrayVar(&o.plainHTTP, "plain-http-registry", nil, "`host` that is spoken to without TLS; may be repeated")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		return fail(stderr, fmt.Errorf("%w: %w", err, errUsage))
	}
	if flags.NArg() > 0 {
		return fail(stderr, fmt.Errorf("%q is no flag: images takes flags only: %w", flags.Arg(0), errUsage))
	}
	if err := o.build(ctx, stdout, stderr); err != nil {
		return fail(stderr, err)
	}
	return 0
}

// fail says why, and gives the exit code of all programs of Portcullis: 64 for usage, 4 for the rest.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "images: %v\n", err)
	if errors.Is(err, errUsage) {
		return 64
	}
	return 4
}

// check finds flags that cannot be meant, before anything is built.
func (o *options) check() error {
	for _, one := range o.programs {
		if !slices.Contains(programNames, one) {
			return fmt.Errorf("--program %s: there is no such program, give some of %s: %w", one, strings.Join(programNames, ", "), errUsage)
		}
	}
	if len(o.programs) == 0 || len(o.platforms) == 0 {
		return fmt.Errorf("there is nothing to build: give --program and --platform, or leave them out for all: %w", errUsage)
	}
	for _, one := range o.platforms {
		if _, err := parsePlatform(one); err != nil {
			return err
		}
	}
	if o.key != "" && o.push == "" {
		return fmt.Errorf("--key signs what is in a registry: give --push, too: %w", errUsage)
	}
	if o.push != "" {
		if _, err := name.NewRepository(o.push + "/portcullis"); err != nil || strings.Contains(o.push, "@") {
			return fmt.Errorf("--push %s is no registry with a prefix: give one such as ghcr.io/acme: %w", o.push, errUsage)
		}
	}
	if o.version != "" && !versionPattern.MatchString(o.version) {
		return fmt.Errorf("--version %s cannot be a tag: give letters, digits, dots, dashes and underscores, 128 at most: %w", o.version, errUsage)
	}
	return nil
}

func parsePlatform(text string) (v1.Platform, error) {
	system, architecture, ok := strings.Cut(text, "/")
	if !ok || system != "linux" || !slices.Contains([]string{"amd64", "arm64"}, architecture) {
		return v1.Platform{}, fmt.Errorf("--platform %s: images are built for linux/amd64 and linux/arm64: %w", text, errUsage)
	}
	return v1.Platform{OS: system, Architecture: architecture}, nil
}

// built is what is recorded of each image in images.json.
type built struct {
	Program string `json:"program"`
	// Digest is that of the index, which clusters pull by; Platforms are those of its images.
	Digest    string            `json:"digest"`
	Platforms map[string]string `json:"platforms"`
	// Reference is where it was pushed to, with the digest.
	Reference string `json:"reference,omitempty"`
}

func (o *options) build(ctx context.Context, stdout, stderr io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	checkout, err := readCheckout(ctx)
	if err != nil {
		return err
	}
	return o.buildFrom(ctx, checkout, stdout, stderr)
}

// buildFrom builds from sources in a known state.
func (o *options) buildFrom(ctx context.Context, checkout checkout, stdout, stderr io.Writer) (err error) {
	checkout.sources = o.sources
	if o.version == "" {
		o.version = checkout.version
	}
	if checkout.dirty {
		fmt.Fprintln(stderr, "the tree differs from its commit: these images cannot be built again from it")
	}
	if o.output, err = filepath.Abs(o.output); err != nil {
		return fmt.Errorf("finding --output: %w", err)
	}
	var publisher *publisher
	if o.push != "" {
		if publisher, err = o.newPublisher(ctx, checkout, stderr); err != nil {
			return err
		}
		defer publisher.close()
	}
	all := make([]built, 0, len(o.programs))
	for _, program := range o.programs {
		one, err := o.buildOne(ctx, checkout, program, publisher, stderr)
		if err != nil {
			return err
		}
		all = append(all, one)
		fmt.Fprintf(stdout, "%s %s\n", program, cmp.Or(one.Reference, one.Digest))
	}
	content, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.output, "images.json"), append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing what was built: %w", err)
	}
	return nil
}

// buildOne builds the image of one program, writes it, and pushes it where that is wanted.
func (o *options) buildOne(ctx context.Context, from checkout, program string, to *publisher, stderr io.Writer) (built, error) {
	began := time.Now()
	folder := filepath.Join(o.output, program)
	if err := os.RemoveAll(folder); err != nil {
		return built{}, fmt.Errorf("removing what was built before: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return built{}, fmt.Errorf("making the folder of %s: %w: correct --output", program, err)
	}
	image := multi{program: program, version: o.version, from: from}
	for _, text := range o.platforms {
		platform, err := parsePlatform(text)
		if err != nil {
			return built{}, err
		}
		file, err := from.compile(ctx, filepath.Join(o.output, "programs"), program, o.version, platform)
		if err != nil {
			return built{}, err
		}
		if err := image.add(platform, file, folder); err != nil {
			return built{}, err
		}
	}
	index, result, err := image.write(folder)
	if err != nil {
		return built{}, err
	}
	if to != nil {
		if result.Reference, err = to.publish(ctx, program, index, result, folder); err != nil {
			return built{}, err
		}
	}
	fmt.Fprintf(stderr, "%s for %s in %s\n", program, strings.Join(o.platforms, " and "), time.Since(began).Round(time.Second))
	return result, nil
}
