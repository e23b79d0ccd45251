package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// bundlePushFlags are those of portcullis bundle push.
type bundlePushFlags struct {
	place  placeFlags
	key    keyFlags
	format string
	force  bool
}

func (p *program) bundlePushCommand() *cobra.Command {
	var f bundlePushFlags
	command := &cobra.Command{
		Use:   "push DIR oci://REPOSITORY:TAG",
		Short: "Publish a bundle in a registry, and sign it",
		Long: `push compiles and tests the bundle, puts it into a registry as an artifact under a tag, and prints its
digest. With --key it is signed, as image sign does, and the signature is read back. The same files give the same digest.

Where the tag has a bundle, push refuses another name, a lower serial, and the same serial with other
content: clusters would refuse them, too.

` + writingExits,
		Example: `  portcullis bundle push policies/ oci://ghcr.io/acme/policies:7 --key cosign.key`,
		Args:    arguments(cobra.ExactArgs(2), "name the directory that holds bundle.yaml, and where it goes, as oci://ghcr.io/acme/policies:7"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.bundlePush(command.Context(), &f, args[0], args[1])
		},
	}
	f.place.register(command.Flags())
	f.key.register(command)
	registerFormat(command, &f.format)
	command.Flags().BoolVar(&f.force, "force", false, "replace what the tag has, whatever its name and serial")
	return command
}

func (p *program) bundlePush(ctx context.Context, f *bundlePushFlags, dir, ref string) error {
	to, err := destination(ref)
	if err != nil {
		return err
	}
	if err := checkSignatureFormat(f.format); err != nil {
		return err
	}
	var key *cosign.Key
	if f.key.file != "" {
		if key, err = f.key.load(p); err != nil {
			return err
		}
	}
	loaded, err := readBundle(dir)
	if err != nil {
		return err
	}
	tests, err := bundleTests(ctx, loaded.Tree)
	if err == nil {
		err = tests.Err()
	}
	if err != nil {
		return err
	}
	client, err := f.place.client()
	if err != nil {
		return err
	}
	if !f.force {
		if err := p.checkReplaced(ctx, client, to, loaded); err != nil {
			return err
		}
	}
	repository := registry.Repository{}
	repository.Registry, repository.Path, _ = strings.Cut(to.Repository, "/")
	digest, err := oci.Push(ctx, client, repository, to.Tag, loaded.Tree)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "pushed oci://%s@%s\n", to.Repository, digest)
	if key == nil {
		_, err := fmt.Fprintf(p.stderr, "It is not signed, and clusters take it from nobody: sign it with portcullis image sign %s@%s\n", to.Repository, digest)
		return err
	}
	target := cosign.Target{Repository: repository, Digest: digest}
	attached, err := cosign.Sign(ctx, client, target, key, cosign.SignOptions{Format: f.format})
	if err != nil {
		return err
	}
	p.wrote("signed", target, attached)
	return nil
}

// destination is where a bundle is pushed to.
func destination(ref string) (v1alpha1.OCISource, error) {
	if !strings.HasPrefix(ref, "oci://") {
		return v1alpha1.OCISource{}, usagef("pushing to %s: bundles are pushed to registries: write oci://ghcr.io/acme/policies:7; one in Git is pushed with git", ref)
	}
	named, err := bundlesource.Parse(ref)
	if err != nil {
		return v1alpha1.OCISource{}, err
	}
	if named.OCI.Digest != "" {
		return v1alpha1.OCISource{}, usagef("pushing to %s: the digest follows from the files: name a tag instead", ref)
	}
	return *named.OCI, nil
}

// checkReplaced refuses to replace what the tag has by something that clusters would refuse after it.
func (p *program) checkReplaced(ctx context.Context, client *registry.Client, to v1alpha1.OCISource, with *revision.Revision) error {
	from, err := oci.New(to, oci.Options{From: client})
	if err != nil {
		return err
	}
	there, err := from.Fetch(ctx, "")
	if registry.KindOf(err) == registry.NotFound {
		return nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: nothing was pushed: %w", context.Cause(ctx))
		}
		fmt.Fprintf(p.stderr, "What %s:%s has cannot be read, so that its serial is not compared: %s\n", to.Repository, to.Tag, output.Plain(err.Error()))
		return nil
	}
	if there.Tree.Digest() == with.Digest {
		return nil
	}
	name, serial, err := identityOf(there.Tree)
	if err != nil {
		fmt.Fprintf(p.stderr, "What %s:%s has is no bundle that can be compared: %s\n", to.Repository, to.Tag, output.Plain(err.Error()))
		return nil
	}
	manifest := with.Bundle.Manifest
	const next = "; --force replaces it all the same"
	switch {
	case name != manifest.Name:
		return usagef("%s:%s has the bundle %q, and this one is %q: name another repository%s", to.Repository, to.Tag, name, manifest.Name, next)
	case serial == manifest.Serial:
		return usagef("%s:%s has the serial %d with other content: raise serial in bundle.yaml%s", to.Repository, to.Tag, serial, next)
	case serial > manifest.Serial:
		return usagef("%s:%s has the serial %d, and this one has %d: raise serial in bundle.yaml above it%s", to.Repository, to.Tag, serial, manifest.Serial, next)
	}
	return nil
}

// identityOf is what bundle.yaml of some files says it is.
func identityOf(tree *archive.Tree) (name string, serial int64, err error) {
	content, ok := tree.Content("bundle.yaml")
	if !ok {
		return "", 0, errors.New("it has no bundle.yaml")
	}
	var manifest struct {
		Name   string `json:"name"`
		Serial int64  `json:"serial"`
	}
	err = yaml.Unmarshal(content, &manifest)
	return manifest.Name, manifest.Serial, err
}
