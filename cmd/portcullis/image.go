package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (p *program) imageCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "image",
		Short: "Sign, attest, verify and scan images, and see what is attached to them",
		Args:  knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("image needs to know what to do: use image verify REF, image evidence REF, image sign REF, image attest REF, image attach REF, image scan REF or image generate-key-pair")
		},
	}
	command.AddCommand(p.imageVerifyCommand(), p.imageEvidenceCommand(), p.imageSignCommand(), p.imageAttestCommand(), p.imageAttachCommand(), p.imageScanCommand(), p.imageKeyPairCommand())
	return command
}

// placeFlags say where images are and how they are reached.
type placeFlags struct{ registries registryflags.Flags }

func (f *placeFlags) register(flags *pflag.FlagSet) {
	f.registries.DockerConfig = registryflags.UserDockerConfig()
	f.registries.Register(flags)
}

// client reaches private networks, too: who runs this program names the images himself, other than in
// admission, where whoever creates a pod does.
func (f *placeFlags) client() (*registry.Client, error) {
	options, err := f.registries.Options()
	if err != nil {
		return nil, usageError{err}
	}
	options.Allow = append(slices.Clone(options.Allow), registry.PrivateNetworks()...)
	client, err := registry.New(options)
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

// namedImage is an image that an argument names.
type namedImage struct {
	source cosign.Source
	target cosign.Target
	close  func() error
}

const nextReference = "name an image as ghcr.io/acme/app:1 or ghcr.io/acme/app@sha256:…, or one on disk as oci:DIR, tar:FILE or ghcr.io/acme/app:1=oci:DIR"

// nextPushed is for what writes to registries only.
const nextPushed = "name an image in a registry as ghcr.io/acme/app:1 or ghcr.io/acme/app@sha256:…"

// open finds the digest that an argument stands for: a reference, or an image on disk as the gate takes it.
func (f *placeFlags) open(ctx context.Context, argument string) (*namedImage, error) {
	named, err := parseImageArgument(ctx, argument)
	if err != nil {
		return nil, err
	}
	opened := &namedImage{close: func() error { return nil }, target: cosign.Target{
		Repository: registry.Repository{Registry: named.parsed.Registry, Path: named.parsed.Repository}, Digest: named.parsed.Digest,
	}}
	if named.layout != nil {
		opened.source, opened.close = named.layout, named.layout.Close
		return opened, nil
	}
	if opened.source, err = f.client(); err != nil {
		return nil, err
	}
	if opened.target.Digest == "" {
		resolved, err := opened.source.Resolve(ctx, opened.target.Repository, named.parsed.Tag)
		if err != nil {
			return nil, err
		}
		opened.target.Digest = resolved.Digest
	}
	return opened, nil
}

// eachImage runs something for each argument, and ends with the worst of the codes. One that fails is
// reported and does not keep the others from their turn.
func (p *program) eachImage(ctx context.Context, arguments []string, do func(context.Context, string) (gate.ExitCode, error)) error {
	codes := []gate.ExitCode{gate.ExitAdmitted}
	for _, argument := range arguments {
		code, err := do(ctx, argument)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("interrupted at %s: it was not finished", output.Plain(argument))
		}
		if misused(err) {
			return err
		}
		if err != nil {
			fmt.Fprintf(p.stderr, "portcullis: %s\n", output.Plain(err.Error()))
			code = gate.ExitFault
		}
		codes = append(codes, code)
	}
	p.code = gate.Worst(codes...)
	return nil
}

// images wants at least one argument.
func images() cobra.PositionalArgs { return arguments(cobra.MinimumNArgs(1), nextReference) }

// pushedImages wants at least one argument, which no layout can be.
func pushedImages() cobra.PositionalArgs { return arguments(cobra.MinimumNArgs(1), nextPushed) }

// The exit codes of the commands that write, list and verify; those of the gate say more than they do.
const (
	writingExits = `Exit codes, where several apply the first one listed:
  64  usage      wrong flags, arguments or files
  4   fault      a registry or an image cannot be read or written
  0   admitted   everything was done`
	listingExits = `Exit codes, where several apply the first one listed:
  64  usage      wrong flags, arguments or files
  4   fault      a registry or an image cannot be read
  0   admitted   everything was listed, whatever it is worth`
	verifyingExits = `Exit codes, where several apply the first one listed:
  64  usage      wrong flags, arguments or files
  1   denied     an image is not signed or attested as demanded
  4   fault      a registry or an image cannot be read
  3   undecided  what was found cannot be verified
  0   admitted   all images are verified`
)
