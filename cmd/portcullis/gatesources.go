package main

import (
	"context"
	"fmt"
	"io"
	"regexp"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// imageReader is where images and what is attached to them are read.
type imageReader interface {
	Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error)
	Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error)
	Blob(ctx context.Context, repository registry.Repository, digest string, most int64) ([]byte, error)
	OpenBlob(ctx context.Context, repository registry.Repository, digest string, most int64) (io.ReadCloser, error)
	Referrers(ctx context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error)
}

// imageSources reads images where they are: in layouts on disk, else in registries. Of an
// image that a layout holds nothing is asked of a registry: what is judged is what was named.
type imageSources struct {
	remote  imageReader
	layouts []heldLayout
}

// heldLayout is a layout and whose images it holds; of everybody for the zero repository.
type heldLayout struct {
	layout     *registry.Layout
	repository registry.Repository
}

// evidenceTag is a tag under which evidence about a digest lies: cosign's .sig, .att and .sbom, and
// the fallback tag of the referrers API.
var evidenceTag = regexp.MustCompile(`^(sha256)-([0-9a-f]{64})(\.[a-z]+)?$`)

// of finds where a digest of a repository is.
func (s *imageSources) of(ctx context.Context, repository registry.Repository, digest string) imageReader {
	for _, held := range s.layoutsOf(repository) {
		if _, err := held.Manifest(ctx, repository, digest); err == nil {
			return held
		}
	}
	return s.remote
}

// layoutsOf are the layouts that may hold images of a repository.
func (s *imageSources) layoutsOf(repository registry.Repository) []*registry.Layout {
	var layouts []*registry.Layout
	for _, held := range s.layouts {
		if held.repository == repository || held.repository == (registry.Repository{}) {
			layouts = append(layouts, held.layout)
		}
	}
	return layouts
}

// Resolve finds a tag. Only tags of evidence are looked for in layouts, which hold images by digest.
func (s *imageSources) Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error) {
	if parts := evidenceTag.FindStringSubmatch(tag); parts != nil {
		return s.of(ctx, repository, parts[1]+":"+parts[2]).Resolve(ctx, repository, tag)
	}
	return s.remote.Resolve(ctx, repository, tag)
}

// Manifest reads a manifest by digest.
func (s *imageSources) Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error) {
	return s.of(ctx, repository, digest).Manifest(ctx, repository, digest)
}

// Referrers lists what refers to a digest.
func (s *imageSources) Referrers(ctx context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error) {
	return s.of(ctx, repository, digest).Referrers(ctx, repository, digest)
}

// Blob reads a blob, from whichever layout has it.
func (s *imageSources) Blob(ctx context.Context, repository registry.Repository, digest string, most int64) ([]byte, error) {
	for _, layout := range s.layoutsOf(repository) {
		content, err := layout.Blob(ctx, repository, digest, most)
		if registry.KindOf(err) != registry.NotFound {
			return content, err
		}
	}
	return s.remote.Blob(ctx, repository, digest, most)
}

// OpenBlob reads a blob as a stream, from whichever layout has it.
func (s *imageSources) OpenBlob(ctx context.Context, repository registry.Repository, digest string, most int64) (io.ReadCloser, error) {
	for _, layout := range s.layoutsOf(repository) {
		content, err := layout.OpenBlob(ctx, repository, digest, most)
		if registry.KindOf(err) != registry.NotFound {
			return content, err
		}
	}
	return s.remote.OpenBlob(ctx, repository, digest, most)
}

// noNetwork stands in for registries when there is to be no network.
type noNetwork struct{}

func (noNetwork) refuse(what string, repository registry.Repository, name string) error {
	return fmt.Errorf("%s %s%s: --offline allows no network: leave it out, or name the image as oci:DIR or tar:FILE; --evidence takes what is attached to it from a directory", what, repository, name)
}

func (n noNetwork) Resolve(_ context.Context, repository registry.Repository, tag string) (registry.Manifest, error) {
	return registry.Manifest{}, n.refuse("resolving", repository, ":"+tag)
}

func (n noNetwork) Manifest(_ context.Context, repository registry.Repository, digest string) (registry.Manifest, error) {
	return registry.Manifest{}, n.refuse("fetching the manifest of", repository, "@"+digest)
}

func (n noNetwork) Blob(_ context.Context, repository registry.Repository, digest string, _ int64) ([]byte, error) {
	return nil, n.refuse("fetching the blob", repository, "@"+digest)
}

func (n noNetwork) OpenBlob(_ context.Context, repository registry.Repository, digest string, _ int64) (io.ReadCloser, error) {
	return nil, n.refuse("fetching the blob", repository, "@"+digest)
}

func (n noNetwork) Referrers(_ context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error) {
	return nil, n.refuse("listing what is attached to", repository, "@"+digest)
}
