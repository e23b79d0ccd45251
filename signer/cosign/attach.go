package cosign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
)

// attachment is something signed that is ready to be written.
type attachment struct {
	// suffix is that of the legacy tag, "" for a referrer.
	suffix      string
	kind        kind
	content     []byte
	mediaType   string
	annotations map[string]string // of the layer
	// predicateType is written beside a bundle, for people.
	predicateType string
	// replaces says which others are predecessors, if this key made them; nil for none.
	replaces func(*claim) bool
}

// candidate is the attachment as it is read.
func (at *attachment) candidate() candidate {
	return candidate{kind: at.kind, content: at.content, annotations: at.annotations}
}

// attacher writes to one image.
type attacher struct {
	destination Destination
	target      Target
	key         *Key
	now         func() time.Time
}

// attach makes an attachment, checks it as a stranger's would be, and writes it.
func (a *attacher) attach(ctx context.Context, doing, format string, prepare func(format string) (*attachment, error)) (Attached, error) {
	if format == "" {
		format = signer.FormatBundle
	}
	if format != signer.FormatBundle && format != signer.FormatLegacy {
		return Attached{}, fmt.Errorf("%s %s: there is no format %q: use %s or %s", doing, a.target, format, signer.FormatBundle, signer.FormatLegacy)
	}
	if _, err := a.target.hash(); err != nil {
		return Attached{}, err
	}
	prepared, err := prepare(format)
	if err != nil {
		return Attached{}, fmt.Errorf("%s %s: %w", doing, a.target, err)
	}
	if _, err := a.own(prepared.candidate()); err != nil {
		return Attached{}, fmt.Errorf("%s %s: verifying what was just signed: %w", doing, a.target, err)
	}
	written, err := a.write(ctx, prepared)
	if err != nil {
		return Attached{}, fmt.Errorf("%s %s: %w", doing, a.target, err)
	}
	return written, nil
}

func (a *attacher) write(ctx context.Context, at *attachment) (Attached, error) {
	if a.now == nil {
		a.now = time.Now
	}
	if at.suffix != "" {
		return a.writeLegacy(ctx, at)
	}
	return a.writeReferrer(ctx, at)
}

// signed makes an attachment of what somebody has signed elsewhere. It has to be about the target.
func (a *attacher) signed(content []byte) (*attachment, error) {
	at := &attachment{kind: kindOf(content), content: content, mediaType: bundleVersionMediaType}
	if at.kind == kindEnvelope {
		at.suffix, at.mediaType = ".att", envelopeMediaType
	}
	err := guarded(func() error {
		judge, err := newJudge(a.target, nil, nil)
		if err != nil {
			return err
		}
		c, err := judge.read(at.candidate())
		if err == nil {
			at.predicateType = c.statement.predicateType
		}
		return err
	})
	if at.kind == kindEnvelope {
		at.annotations = map[string]string{static.SignatureAnnotationKey: "", "predicateType": at.predicateType}
	}
	return at, err
}

// own reads a candidate and verifies that it is by this key.
func (a *attacher) own(one candidate) (*claim, error) {
	var c *claim
	err := guarded(func() (err error) {
		judge, err := newJudge(a.target, nil, nil)
		if err != nil {
			return err
		}
		if c, err = judge.read(one); err != nil {
			return err
		}
		if c.byKey == nil {
			return errors.New("it is not signed by a key")
		}
		_, err = c.byKey(nil, a.key.public(), false)
		return err
	})
	return c, err
}

func (a *attacher) bundle(payload []byte, replaces func(*claim) bool) (*attachment, error) {
	content, err := a.key.newBundle(payload)
	if err != nil {
		return nil, err
	}
	parsed, err := parseStatement(payload)
	if err != nil {
		return nil, err
	}
	return &attachment{kind: kindBundle, content: content, mediaType: bundleVersionMediaType, predicateType: parsed.predicateType, replaces: replaces}, nil
}

// legacySignature signs the payload that cosign v1 and v2 sign.
func (a *attacher) legacySignature(annotations map[string]string) (*attachment, error) {
	var optional any // cosign writes null where there are none
	if len(annotations) > 0 {
		optional = annotations
	}
	payload, err := marshal(map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": a.target.Repository.String()},
			"image":    map[string]string{"docker-manifest-digest": a.target.Digest},
			"type":     simpleSigningType,
		},
		"optional": optional,
	})
	if err != nil {
		return nil, err
	}
	signed, err := a.key.sign(payload)
	if err != nil {
		return nil, err
	}
	return &attachment{
		suffix: ".sig", kind: kindSignature, content: payload, mediaType: simpleSigningMediaType,
		annotations: map[string]string{static.SignatureAnnotationKey: base64.StdEncoding.EncodeToString(signed)},
		replaces:    sameAnnotations(annotations),
	}, nil
}

func (a *attacher) legacyAttestation(payload []byte, replaces func(*claim) bool) (*attachment, error) {
	content, err := a.key.newEnvelope(payload)
	if err != nil {
		return nil, err
	}
	parsed, err := parseStatement(payload)
	if err != nil {
		return nil, err
	}
	return &attachment{
		suffix: ".att", kind: kindEnvelope, content: content, mediaType: envelopeMediaType,
		// An attestation's signature is in its envelope; cosign wants the annotation all the same.
		annotations: map[string]string{static.SignatureAnnotationKey: "", "predicateType": parsed.predicateType},
		replaces:    replaces,
	}, nil
}

// writeReferrer attaches a bundle as cosign v3 does: an OCI 1.1 manifest with one layer, an empty
// configuration and the image as its subject
// (https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md).
func (a *attacher) writeReferrer(ctx context.Context, at *attachment) (Attached, error) {
	image, err := a.destination.Manifest(ctx, a.target.Repository, a.target.Digest)
	if err != nil {
		return Attached{}, err
	}
	config, err := a.destination.PushBlob(ctx, a.target.Repository, []byte("{}"))
	if err != nil {
		return Attached{}, err
	}
	layer, err := a.destination.PushBlob(ctx, a.target.Repository, at.content)
	if err != nil {
		return Attached{}, err
	}
	raw, err := marshal(manifest{
		SchemaVersion: 2,
		MediaType:     ociManifestMediaType,
		ArtifactType:  at.mediaType,
		Config:        descriptor{MediaType: ociEmptyMediaType, Digest: config.Digest, Size: config.Size},
		Layers:        []descriptor{{MediaType: at.mediaType, Digest: layer.Digest, Size: layer.Size}},
		Subject:       &descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: int64(len(image.Raw))},
		Annotations: map[string]string{
			"dev.sigstore.bundle.content":       "dsse-envelope",
			"dev.sigstore.bundle.predicateType": at.predicateType,
			"org.opencontainers.image.created":  a.now().UTC().Format(time.RFC3339),
		},
	})
	if err != nil {
		return Attached{}, err
	}
	pushed, err := a.destination.PushReferrer(ctx, a.target.Repository, a.target.Digest, ociManifestMediaType, raw)
	if err != nil {
		return Attached{}, err
	}
	listed, err := a.destination.Referrers(ctx, a.target.Repository, a.target.Digest)
	if err != nil {
		return Attached{}, fmt.Errorf("reading back what was written: %w", err)
	}
	if err := a.readBack(ctx, at, pushed.Digest, listed); err != nil {
		return Attached{}, fmt.Errorf("reading back what was written: %w", err)
	}
	written := Attached{Manifest: pushed.Digest}
	a.removePredecessors(ctx, at, listed, &written)
	return written, nil
}

// readBack makes sure that others will find and read what was pushed.
func (a *attacher) readBack(ctx context.Context, at *attachment, digest string, listed []registry.Descriptor) error {
	if !slices.ContainsFunc(listed, func(d registry.Descriptor) bool { return d.Digest == digest }) {
		return fmt.Errorf("the registry took %s and does not list it: sign again, in the legacy format if that does not help", digest)
	}
	collector := newCollector(a.destination, a.target, Limits{}.withDefaults())
	found, err := collector.referrer(ctx, registry.Descriptor{Digest: digest})
	if err != nil {
		return err
	}
	if len(found) != 1 || !bytes.Equal(found[0].content, at.content) {
		return fmt.Errorf("the registry returned something else for %s", digest)
	}
	return nil
}

// removePredecessors removes what this key wrote before and the attachment replaces. It is done last, so
// that there is never a moment without.
func (a *attacher) removePredecessors(ctx context.Context, at *attachment, listed []registry.Descriptor, written *Attached) {
	if at.replaces == nil {
		return
	}
	collector := newCollector(a.destination, a.target, Limits{}.withDefaults())
	var faults []error
	for _, other := range listed {
		if other.Digest == written.Manifest {
			continue
		}
		candidates, err := collector.referrer(ctx, other)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if len(candidates) != 1 {
			continue
		}
		if c, err := a.own(candidates[0]); err != nil || !at.replaces(c) {
			continue
		}
		if err := a.destination.RemoveReferrer(ctx, a.target.Repository, a.target.Digest, other.Digest); err != nil {
			faults = append(faults, fmt.Errorf("removing the predecessor %s: %w", other.Digest, err))
			continue
		}
		written.Removed = append(written.Removed, other.Digest)
	}
	written.Leftover = errors.Join(faults...)
}

// legacyAttempts is how often a legacy manifest is written, since registries have no way to write a
// tag only if nobody else did in the meantime.
const legacyAttempts = 3

// writeLegacy adds a layer to the manifest under a legacy tag, in place of those that it replaces.
func (a *attacher) writeLegacy(ctx context.Context, at *attachment) (Attached, error) {
	if _, err := a.destination.Manifest(ctx, a.target.Repository, a.target.Digest); err != nil {
		return Attached{}, err
	}
	layer, err := a.destination.PushBlob(ctx, a.target.Repository, at.content)
	if err != nil {
		return Attached{}, err
	}
	added := descriptor{MediaType: at.mediaType, Digest: layer.Digest, Size: layer.Size, Annotations: at.annotations}
	for range legacyAttempts {
		written, err := a.writeTag(ctx, at, added)
		if err != nil {
			return Attached{}, err
		}
		found, err := a.tagHas(ctx, at, added)
		if err != nil {
			return Attached{}, fmt.Errorf("reading back what was written: %w", err)
		}
		if found {
			return written, nil
		}
	}
	return Attached{}, fmt.Errorf("somebody else writes the tag %s at the same time: try again", a.target.legacyTag(at.suffix))
}

func (a *attacher) writeTag(ctx context.Context, at *attachment, added descriptor) (Attached, error) {
	written := Attached{}
	layers, err := a.keptLayers(ctx, at, &written)
	if err != nil {
		return Attached{}, err
	}
	layers = append(layers, added)
	config, err := legacyConfig(layers)
	if err != nil {
		return Attached{}, err
	}
	pushed, err := a.destination.PushBlob(ctx, a.target.Repository, config)
	if err != nil {
		return Attached{}, err
	}
	raw, err := marshal(manifest{
		SchemaVersion: 2,
		MediaType:     ociManifestMediaType,
		Config:        descriptor{MediaType: ociConfigMediaType, Digest: pushed.Digest, Size: pushed.Size},
		Layers:        layers,
	})
	if err != nil {
		return Attached{}, err
	}
	tagged, err := a.destination.PushManifest(ctx, a.target.Repository, a.target.legacyTag(at.suffix), ociManifestMediaType, raw)
	written.Manifest = tagged.Digest
	return written, err
}

// keptLayers are the layers that are there already and that the attachment does not replace.
func (a *attacher) keptLayers(ctx context.Context, at *attachment, written *Attached) ([]descriptor, error) {
	existing, err := a.destination.Resolve(ctx, a.target.Repository, a.target.legacyTag(at.suffix))
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed, err := parseManifest(existing.Raw)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest under the tag %s: %w: delete the tag", a.target.legacyTag(at.suffix), err)
	}
	if at.replaces == nil {
		return parsed.Layers, nil
	}
	collector := newCollector(a.destination, a.target, Limits{}.withDefaults())
	var kept []descriptor
	for _, layer := range parsed.Layers {
		one, err := collector.layer(ctx, existing.Digest, "", layer)
		if err != nil {
			return nil, err
		}
		if c, err := a.own(one); err == nil && at.replaces(c) {
			written.Removed = append(written.Removed, layer.Digest)
			continue
		}
		kept = append(kept, layer)
	}
	return kept, nil
}

// tagHas says whether the tag has the layer, with the content and annotations that were written.
func (a *attacher) tagHas(ctx context.Context, at *attachment, added descriptor) (bool, error) {
	existing, err := a.destination.Resolve(ctx, a.target.Repository, a.target.legacyTag(at.suffix))
	if err != nil {
		return false, err
	}
	parsed, err := parseManifest(existing.Raw)
	if err != nil {
		return false, err
	}
	for _, layer := range parsed.Layers {
		if layer.Digest != added.Digest || layer.Annotations[static.SignatureAnnotationKey] != added.Annotations[static.SignatureAnnotationKey] {
			continue
		}
		content, err := a.destination.Blob(ctx, a.target.Repository, layer.Digest, layer.Size)
		if err != nil {
			return false, err
		}
		return bytes.Equal(content, at.content), nil
	}
	return false, nil
}

// legacyConfig is the image configuration of a legacy manifest: only its list of layers means anything.
func legacyConfig(layers []descriptor) ([]byte, error) {
	digests := make([]string, len(layers))
	for i, layer := range layers {
		digests[i] = layer.Digest
	}
	return json.Marshal(map[string]any{
		"architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": digests},
	})
}
