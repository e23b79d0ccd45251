package cosign

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"golang.org/x/sync/errgroup"
)

// Media types of layers that hold something signed.
const (
	// bundleMediaType begins those of all versions of the Sigstore bundle
	// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto).
	bundleMediaType = "application/vnd.dev.sigstore.bundle"
	// simpleSigningMediaType is that of a legacy signature's payload.
	simpleSigningMediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	// envelopeMediaType is that of a legacy attestation (https://github.com/secure-systems-lab/dsse).
	envelopeMediaType = "application/vnd.dsse.envelope.v1+json"
	// notaryMediaType is that of the configuration of a Notary Project signature.
	notaryMediaType = "application/vnd.cncf.notary.signature"
)

// kind is what a candidate claims to be.
type kind int

const (
	kindBundle kind = iota
	kindSignature
	kindEnvelope
	kindForeign // nothing that can be verified; reason says why
)

// candidate is something attached to an image. Nothing of it is verified.
type candidate struct {
	kind    kind
	content []byte
	// annotations are those of the layer: a legacy signature has all but its payload there.
	annotations map[string]string
	// manifest is the digest of the manifest that holds it, layer its own.
	manifest, layer string
	// what and reason are for those that cannot be looked at.
	what, reason string
}

func foreign(manifest, what, format string, arguments ...any) candidate {
	return candidate{kind: kindForeign, manifest: manifest, what: what, reason: fmt.Sprintf(format, arguments...)}
}

// collector reads what is attached to one digest.
type collector struct {
	source Source
	target Target
	limits Limits
	// read is how many bytes were asked for, blobs how many times; slots bounds requests at once.
	read  *atomic.Int64
	blobs *atomic.Int64
	slots chan struct{}
}

func newCollector(source Source, target Target, limits Limits) *collector {
	return &collector{source: source, target: target, limits: limits, read: new(atomic.Int64), blobs: new(atomic.Int64), slots: make(chan struct{}, limits.Parallel)}
}

// about reads what is attached to another digest of the same image. Bytes and requests at once are
// counted together.
func (c *collector) about(digest string) *collector {
	other := *c
	other.target.Digest, other.blobs = digest, new(atomic.Int64)
	return &other
}

// maxBlobs is how many blobs are read for a digest: two legacy manifests, and one for each referrer. A
// referrer may hold more than one, but not each as many as a legacy manifest.
func (l Limits) maxBlobs() int64 { return int64(2*l.Layers + l.Referrers) }

// collect asks for the three places at once: two tags and the referrers. Their order, and that
// within each, is kept.
func (c *collector) collect(ctx context.Context) ([]candidate, error) {
	places := [3][]candidate{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { places[0], err = c.tagged(ctx, ".sig", "signature"); return err })
	group.Go(func() (err error) { places[1], err = c.tagged(ctx, ".att", "attestation"); return err })
	group.Go(func() (err error) { places[2], err = c.referring(ctx); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(places[:]...), nil
}

// tagged reads the layers under a legacy tag.
func (c *collector) tagged(ctx context.Context, suffix, what string) ([]candidate, error) {
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := c.source.Resolve(ctx, c.target.Repository, c.target.legacyTag(suffix))
	release()
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %ss of %s: %w", what, c.target, err)
	}
	parsed, err := parseManifest(raw.Raw)
	if err != nil {
		return []candidate{foreign(raw.Digest, what, "the manifest under the tag %s cannot be read: %v", c.target.legacyTag(suffix), err)}, nil
	}
	if len(parsed.Layers) > c.limits.Layers {
		return nil, c.tooMany(fmt.Sprintf("%s has %d layers, and at most %d are read", c.target.legacyTag(suffix), len(parsed.Layers), c.limits.Layers))
	}
	return c.layers(ctx, raw.Digest, what, parsed.Layers)
}

// referring reads the referrers. What they are is decided by the media types of their layers:
// the artifact type in a fallback tag may be that of the empty configuration.
func (c *collector) referring(ctx context.Context) ([]candidate, error) {
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	descriptors, err := c.source.Referrers(ctx, c.target.Repository, c.target.Digest)
	release()
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing what is attached to %s: %w", c.target, err)
	}
	if len(descriptors) > c.limits.Referrers {
		return nil, c.tooMany(fmt.Sprintf("%d things are attached to it, and at most %d are read", len(descriptors), c.limits.Referrers))
	}
	found := make([][]candidate, len(descriptors))
	group, ctx := errgroup.WithContext(ctx)
	for i, descriptor := range descriptors {
		group.Go(func() (err error) { found[i], err = c.referrer(ctx, descriptor); return err })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

func (c *collector) referrer(ctx context.Context, descriptor registry.Descriptor) ([]candidate, error) {
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := c.source.Manifest(ctx, c.target.Repository, descriptor.Digest)
	release()
	if absent(err) || unreadable(err) {
		return []candidate{foreign(descriptor.Digest, "attestation", "%s is listed as attached, but cannot be read: %v", descriptor.Digest, err)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is attached to %s: %w", c.target, err)
	}
	parsed, err := parseManifest(raw.Raw)
	if err != nil {
		return []candidate{foreign(descriptor.Digest, "attestation", "%s is attached, but its manifest cannot be read: %v", descriptor.Digest, err)}, nil
	}
	if parsed.Config.MediaType == notaryMediaType || parsed.ArtifactType == notaryMediaType {
		return []candidate{foreign(descriptor.Digest, "signature", "it is a signature of the Notary Project, which is not supported: sign with cosign or portcullis image sign")}, nil
	}
	if len(parsed.Layers) > c.limits.Layers {
		return nil, c.tooMany(fmt.Sprintf("the attached manifest %s has %d layers, and at most %d are read", descriptor.Digest, len(parsed.Layers), c.limits.Layers))
	}
	return c.layers(ctx, descriptor.Digest, "attestation", parsed.Layers)
}

// layers reads those layers of a manifest that hold something signed.
func (c *collector) layers(ctx context.Context, manifest, what string, layers []descriptor) ([]candidate, error) {
	found := make([]candidate, len(layers))
	group, ctx := errgroup.WithContext(ctx)
	for i, layer := range layers {
		group.Go(func() (err error) { found[i], err = c.layer(ctx, manifest, what, layer); return err })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(one candidate) bool { return one.kind == kindForeign && one.reason == "" }), nil
}

func (c *collector) layer(ctx context.Context, manifest, what string, layer descriptor) (candidate, error) {
	one := candidate{manifest: manifest, layer: layer.Digest, annotations: layer.Annotations, what: what}
	limit := c.limits.Statement
	switch {
	case strings.HasPrefix(layer.MediaType, bundleMediaType):
		one.kind = kindBundle
	case layer.MediaType == simpleSigningMediaType:
		one.kind, limit = kindSignature, c.limits.Signature
	case layer.MediaType == envelopeMediaType:
		one.kind = kindEnvelope
	case strings.Contains(layer.MediaType, "in-toto"):
		return foreign(manifest, "attestation", "it is a statement that nobody signed (media type %s): only signed statements count", abbreviate(layer.MediaType)), nil
	default:
		return candidate{kind: kindForeign}, nil // an SBOM, a Helm chart: none of our business
	}
	if layer.Size < 0 || layer.Size > limit {
		return foreign(manifest, what, "it has %d bytes, and at most %d are read", layer.Size, limit), nil
	}
	if c.read.Add(layer.Size) > c.limits.Total {
		return candidate{}, c.tooMany(fmt.Sprintf("what is attached to it has more than %d bytes", c.limits.Total))
	}
	if c.blobs.Add(1) > c.limits.maxBlobs() {
		return candidate{}, c.tooMany(fmt.Sprintf("more than %d signatures and attestations are attached to it, and no more are read", c.limits.maxBlobs()))
	}
	release, err := c.slot(ctx)
	if err != nil {
		return candidate{}, err
	}
	defer release()
	one.content, err = c.source.Blob(ctx, c.target.Repository, layer.Digest, layer.Size)
	if absent(err) || unreadable(err) {
		return foreign(manifest, what, "it is attached, but its content cannot be read: %v", err), nil
	}
	if err != nil {
		return candidate{}, fmt.Errorf("reading what is attached to %s: %w", c.target, err)
	}
	return one, nil
}

// absent says that the registry knows nothing by that name. That is an answer, not a fault.
func absent(err error) bool { return err != nil && registry.KindOf(err) == registry.NotFound }

// unreadable says that what was attached is of no use to anybody. It does not count, and the
// rest still does: otherwise whoever can push one malformed referrer could unsign an image.
func unreadable(err error) bool {
	return err != nil && (registry.KindOf(err) == registry.TooLarge || registry.KindOf(err) == registry.Malformed)
}

// slot waits until another request may be made; release gives it back.
func (c *collector) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *collector) tooMany(what string) error {
	return fmt.Errorf("reading what is attached to %s: %w", c.target, &registry.Error{Kind: registry.TooMany, Host: c.target.Repository.Registry, What: what})
}
