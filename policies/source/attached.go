package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// limits bound what is read of what is attached to a bundle. It is kept with every stored revision, and a signature has
// a few KiB.
func limits() cosign.Limits {
	return cosign.Limits{Referrers: 50, Layers: 50, Signature: 64 << 10, Statement: 256 << 10, Total: 4 << 20}
}

// Attached is what was attached to an artifact: what [cosign.Verifier] asks a registry for, so that it can be asked again
// without one.
type Attached struct {
	// Tags are the digests of manifests under cosign's legacy tags.
	Tags map[string]string `json:"tags,omitempty"`
	// Referrers are digests of manifests, sorted.
	Referrers []string `json:"referrers,omitempty"`
	// Contents are manifests and blobs, sorted by digest.
	Contents [][]byte `json:"contents,omitempty"`
}

// Collect reads what is attached to an artifact, within limits. Nothing of it is verified.
func Collect(ctx context.Context, from cosign.Source, target cosign.Target) (Attached, error) {
	r := &recorder{from: from, tags: map[string]string{}, contents: map[string][]byte{}}
	if _, err := cosign.NewVerifier(cosign.Options{Limits: limits()}).Inspect(ctx, r, target); err != nil {
		return Attached{}, err
	}
	return r.attached(), nil
}

// recorder is a source that remembers its answers.
type recorder struct {
	from cosign.Source

	mu        sync.Mutex
	tags      map[string]string
	referrers []string
	contents  map[string][]byte
}

func (r *recorder) attached() Attached {
	slices.Sort(r.referrers)
	a := Attached{Tags: r.tags, Referrers: r.referrers}
	for _, digest := range sortedKeys(r.contents) {
		a.Contents = append(a.Contents, r.contents[digest])
	}
	return a
}

// keep remembers content by SHA-256, as which it is found again.
func (r *recorder) keep(content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contents[registry.DigestOf(content)] = content
}

// Resolve implements [cosign.Source].
func (r *recorder) Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error) {
	manifest, err := r.from.Resolve(ctx, repository, tag)
	if err == nil {
		r.keep(manifest.Raw)
		r.mu.Lock()
		r.tags[tag] = registry.DigestOf(manifest.Raw)
		r.mu.Unlock()
	}
	return manifest, err
}

// Manifest implements [cosign.Source].
func (r *recorder) Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error) {
	if err := recordable(repository, digest); err != nil {
		return registry.Manifest{}, err
	}
	manifest, err := r.from.Manifest(ctx, repository, digest)
	if err == nil {
		r.keep(manifest.Raw)
	}
	return manifest, err
}

// Blob implements [cosign.Source].
func (r *recorder) Blob(ctx context.Context, repository registry.Repository, digest string, most int64) ([]byte, error) {
	if err := recordable(repository, digest); err != nil {
		return nil, err
	}
	content, err := r.from.Blob(ctx, repository, digest, most)
	if err == nil {
		r.keep(content)
	}
	return content, err
}

// Referrers implements [cosign.Source].
func (r *recorder) Referrers(ctx context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error) {
	list, err := r.from.Referrers(ctx, repository, digest)
	for _, d := range list {
		r.referrers = append(r.referrers, d.Digest)
	}
	return list, err
}

// recordable refuses what would not be found again. It does not count then, as anything that cannot be read.
func recordable(repository registry.Repository, digest string) error {
	if strings.HasPrefix(digest, "sha256:") {
		return nil
	}
	return &registry.Error{Kind: registry.Malformed, Host: repository.Registry, What: "reading " + digest, Err: errors.New("signatures of bundles are found by SHA-256")}
}

// player is a source that answers from what was remembered. Content is found by the digest that it has, whatever was
// said of it.
type player struct {
	tags      map[string]string
	referrers []string
	contents  map[string][]byte
}

func newPlayer(a Attached) *player {
	p := &player{tags: a.Tags, referrers: a.Referrers, contents: map[string][]byte{}}
	for _, content := range a.Contents {
		p.contents[registry.DigestOf(content)] = content
	}
	return p
}

// Resolve implements [cosign.Source].
func (p *player) Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error) {
	digest, ok := p.tags[tag]
	if !ok {
		return registry.Manifest{}, p.missing("the tag " + tag)
	}
	return p.Manifest(ctx, repository, digest)
}

// Manifest implements [cosign.Source].
func (p *player) Manifest(_ context.Context, _ registry.Repository, digest string) (registry.Manifest, error) {
	raw, ok := p.contents[digest]
	if !ok {
		return registry.Manifest{}, p.missing("the manifest " + digest)
	}
	return registry.Manifest{Raw: raw, Descriptor: registry.Descriptor{Digest: digest, Size: int64(len(raw))}}, nil
}

// Blob implements [cosign.Source].
func (p *player) Blob(_ context.Context, _ registry.Repository, digest string, most int64) ([]byte, error) {
	content, ok := p.contents[digest]
	if !ok {
		return nil, p.missing("the blob " + digest)
	}
	if int64(len(content)) > most {
		return nil, &registry.Error{Kind: registry.TooLarge, What: "reading the blob " + digest, Err: fmt.Errorf("it has more than %d bytes", most)}
	}
	return content, nil
}

// Referrers implements [cosign.Source].
func (p *player) Referrers(context.Context, registry.Repository, string) ([]registry.Descriptor, error) {
	list := make([]registry.Descriptor, len(p.referrers))
	for i, digest := range p.referrers {
		list[i] = registry.Descriptor{Digest: digest}
	}
	return list, nil
}

func (p *player) missing(what string) error {
	return &registry.Error{Kind: registry.NotFound, What: "reading " + what + " of what was stored with the bundle", Err: errors.New("it is not there")}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
