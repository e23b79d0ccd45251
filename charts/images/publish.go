package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// publisher pushes images, signs them and attests what is known of them.
type publisher struct {
	prefix, version, key string
	plainHTTP            []string
	// tool is the portcullis command line of this build, which signs.
	tool   string
	stderr io.Writer
	close  func()
}

// newPublisher builds the command line for this machine, where there is something to sign.
func (o *options) newPublisher(ctx context.Context, from checkout, stderr io.Writer) (*publisher, error) {
	p := &publisher{prefix: o.push, version: o.version, key: o.key, plainHTTP: o.plainHTTP, stderr: stderr, close: func() {}}
	if o.key == "" || o.tool != "" {
		p.tool = o.tool
		return p, nil
	}
	dir, err := os.MkdirTemp("", "portcullis-images-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the tool that signs: %w", err)
	}
	p.close = func() { _ = os.RemoveAll(dir) }
	if p.tool, err = from.compile(ctx, dir, "portcullis", o.version, v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// publish pushes an index under its version and returns its reference by digest. With a key the index and each of its images is signed, each
// image has its SBOM attested, and all have the provenance.
func (p *publisher) publish(ctx context.Context, program string, index v1.ImageIndex, result built, folder string) (string, error) {
	var options []name.Option
	repository, err := name.NewRepository(p.prefix + "/" + program)
	if err != nil {
		return "", fmt.Errorf("--push %s: %w: %w", p.prefix, err, errUsage)
	}
	if slices.Contains(p.plainHTTP, repository.RegistryStr()) {
		options = append(options, name.Insecure)
	}
	tag, err := name.NewTag(p.prefix+"/"+program+":"+p.version, options...)
	if err != nil {
		return "", fmt.Errorf("naming the image %s:%s: %w: %w", program, p.version, err, errUsage)
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", tag, err)
	}
	reference := tag.Context().Name() + "@" + result.Digest
	if p.key == "" {
		return reference, nil
	}
	digests := append([]string{result.Digest}, slices.Sorted(maps.Values(result.Platforms))...)
	for _, digest := range digests {
		if err := p.run(ctx, "sign", tag.Context().Name()+"@"+digest); err != nil {
			return "", err
		}
		if err := p.run(ctx, "attest", tag.Context().Name()+"@"+digest, "--type", "slsaprovenance1", "--predicate", filepath.Join(folder, provenanceName)); err != nil {
			return "", err
		}
	}
	for _, platform := range slices.Sorted(maps.Keys(result.Platforms)) {
		digest := result.Platforms[platform]
		if err := p.run(ctx, "attest", tag.Context().Name()+"@"+digest, "--type", "cyclonedx", "--predicate", filepath.Join(folder, bomName(platform))); err != nil {
			return "", err
		}
	}
	return reference, nil
}

// run has the command line do something with an image.
func (p *publisher) run(ctx context.Context, arguments ...string) error {
	arguments = append([]string{"image"}, append(arguments, "--key", p.key)...)
	for _, host := range p.plainHTTP {
		arguments = append(arguments, "--plain-http-registry", host, "--allow-registry", host)
	}
	command := exec.CommandContext(ctx, p.tool, arguments...)
	command.Stdout, command.Stderr = p.stderr, p.stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("running portcullis %s: %w", strings.Join(arguments, " "), err)
	}
	return nil
}
