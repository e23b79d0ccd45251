package cosign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
)

// Destination is a registry that can be written to.
type Destination interface {
	Source
	PushBlob(ctx context.Context, repository registry.Repository, content []byte) (registry.Descriptor, error)
	PushManifest(ctx context.Context, repository registry.Repository, reference, mediaType string, raw []byte) (registry.Descriptor, error)
	PushReferrer(ctx context.Context, repository registry.Repository, subjectDigest, mediaType string, raw []byte) (registry.Descriptor, error)
	RemoveReferrer(ctx context.Context, repository registry.Repository, subjectDigest, digest string) error
}

// SignOptions are those of [Sign].
type SignOptions struct {
	// Format is [signer.FormatBundle] (default) or [signer.FormatLegacy].
	Format string
	// Annotations are covered by the signature.
	Annotations map[string]string
	// Now is the time that the manifest is marked with; time.Now where nil.
	Now func() time.Time
}

// AttestOptions are those of [Attest].
type AttestOptions struct {
	// Format is [signer.FormatBundle] (default) or [signer.FormatLegacy].
	Format string
	// Replace removes what this key has attested of the same predicate type before, once the new
	// attestation is there and was read back: a scan a day for a year leaves one.
	Replace bool
	// Now is the time that the manifest is marked with; time.Now where nil.
	Now func() time.Time
}

// Attached is what was written.
type Attached struct {
	// Manifest is the digest of the manifest that holds it.
	Manifest string
	// Removed are the digests of the predecessors that were removed.
	Removed []string
	// Leftover is why predecessors are still there, nil where none is: a registry that forbids to
	// delete. They do no harm but count towards what is read of an image.
	Leftover error
}

// Sign signs an image or index that is in a registry, and reads the signature back. A signature of the
// same key with the same annotations is replaced, so that signing twice changes nothing.
func Sign(ctx context.Context, destination Destination, target Target, key *Key, options SignOptions) (Attached, error) {
	a := &attacher{destination: destination, target: target, key: key, now: options.Now}
	return a.attach(ctx, "signing", options.Format, func(format string) (*attachment, error) {
		if format == signer.FormatLegacy {
			return a.legacySignature(options.Annotations)
		}
		payload, err := newSignStatement(target, options.Annotations)
		if err != nil {
			return nil, err
		}
		return a.bundle(payload, sameAnnotations(options.Annotations))
	})
}

// Attest signs an in-toto statement about an image or index that is in a registry, attaches it, and
// reads it back. The target must be among the statement's subjects; see [NewStatement].
func Attest(ctx context.Context, destination Destination, target Target, key *Key, statement []byte, options AttestOptions) (Attached, error) {
	a := &attacher{destination: destination, target: target, key: key, now: options.Now}
	return a.attach(ctx, "attesting", options.Format, func(format string) (*attachment, error) {
		parsed, err := statementClaim(statement, target)
		if err != nil {
			return nil, fmt.Errorf("it does not fit the image: %w", err)
		}
		if parsed.statement.predicateType == signer.SignPredicateType {
			return nil, errors.New("its predicate type is that of signatures: use sign")
		}
		predecessor := func(*claim) bool { return false }
		if options.Replace {
			predecessor = func(other *claim) bool {
				return !other.signature && other.statement.predicateType == parsed.statement.predicateType
			}
		}
		if format == signer.FormatLegacy {
			return a.legacyAttestation(statement, predecessor)
		}
		return a.bundle(statement, predecessor)
	})
}

// Attach attaches a signature or an attestation that was made elsewhere, as by [SignStatement]: a Sigstore
// bundle, or a bare DSSE envelope. It has to be about the image; whose it is, is not verified.
func Attach(ctx context.Context, destination Destination, target Target, content []byte) (Attached, error) {
	a := &attacher{destination: destination, target: target}
	at, err := a.signed(content)
	if err != nil {
		return Attached{}, fmt.Errorf("attaching to %s: %w", target, err)
	}
	written, err := a.write(ctx, at)
	if err != nil {
		return Attached{}, fmt.Errorf("attaching to %s: %w", target, err)
	}
	return written, nil
}

// NewStatement is an in-toto statement about an image, for [Attest]. The predicate is JSON.
func NewStatement(target Target, predicateType string, predicate []byte) ([]byte, error) {
	hash, err := target.hash()
	if err != nil {
		return nil, err
	}
	if predicateType == "" || predicateType == signer.SignPredicateType {
		return nil, fmt.Errorf("making a statement: the predicate type %q is none of an attestation: name another, as https://slsa.dev/provenance/v1", predicateType)
	}
	if _, err := parseObject(predicate); err != nil {
		return nil, fmt.Errorf("making a statement: reading the predicate: %w: give one JSON object", err)
	}
	return marshal(map[string]any{
		"_type":         statementTypes[0],
		"subject":       []any{map[string]any{"name": target.Repository.String(), "digest": map[string]string{"sha256": fmt.Sprintf("%x", hash)}}},
		"predicateType": predicateType,
		"predicate":     json.RawMessage(predicate),
	})
}

// newSignStatement is what cosign v3 signs of an image: a statement without content, whose
// subject carries the annotations.
func newSignStatement(target Target, annotations map[string]string) ([]byte, error) {
	hash, err := target.hash()
	if err != nil {
		return nil, err
	}
	about := map[string]any{"digest": map[string]string{"sha256": fmt.Sprintf("%x", hash)}}
	if len(annotations) > 0 {
		about["annotations"] = annotations
	}
	return marshal(map[string]any{"_type": statementTypes[0], "subject": []any{about}, "predicateType": signer.SignPredicateType, "predicate": map[string]any{}})
}

// marshal writes JSON without escaping for HTML.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func sameAnnotations(annotations map[string]string) func(*claim) bool {
	return func(other *claim) bool {
		covered := make(map[string]string, len(other.annotations))
		for _, annotation := range other.annotations {
			covered[annotation.Key] = annotation.Value
		}
		return other.signature && maps.Equal(covered, annotations)
	}
}

// sign signs bytes with the algorithm that cosign takes for the key.
func (k *Key) sign(message []byte) ([]byte, error) {
	loaded, err := signature.LoadDefaultSigner(k.signer)
	if _, ok := k.signer.Public().(*rsa.PublicKey); ok { // sizes without a default, too
		loaded, err = signature.LoadSigner(k.signer, crypto.SHA256)
	}
	if err != nil {
		return nil, err
	}
	return loaded.SignMessage(bytes.NewReader(message))
}

// newBundle signs a statement as a Sigstore bundle without log entry or time stamp. The hint is
// what cosign writes: nobody needs it to find the key.
func (k *Key) newBundle(payload []byte) ([]byte, error) {
	signed, err := k.sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, err
	}
	material, err := k.material()
	if err != nil {
		return nil, err
	}
	return marshalBundle(&protobundle.Bundle{
		MediaType:            bundleVersionMediaType,
		VerificationMaterial: material,
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: signed}},
		}},
	})
}

// material names the key in a bundle.
func (k *Key) material() (*protobundle.VerificationMaterial, error) {
	der, err := k.publicDER()
	if err != nil {
		return nil, err
	}
	hint := sha256.Sum256(der)
	return &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
		PublicKey: &protocommon.PublicKeyIdentifier{Hint: base64.StdEncoding.EncodeToString(hint[:])},
	}}, nil
}

func marshalBundle(b *protobundle.Bundle) ([]byte, error) {
	written, err := protojson.Marshal(b)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson sprinkles spaces at random
	if err := json.Compact(&compact, written); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// newEnvelope signs a statement as a bare DSSE envelope.
func (k *Key) newEnvelope(payload []byte) ([]byte, error) {
	signed, err := k.sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, err
	}
	return marshal(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(signed)}},
	})
}

// SignStatement signs a statement about an image that is kept outside a registry, for
// [Verifier.VerifyEnvelope]: a Sigstore bundle, or in the legacy format a bare DSSE envelope.
func SignStatement(target Target, key *Key, statement []byte, format string) ([]byte, error) {
	if _, err := statementClaim(statement, target); err != nil {
		return nil, fmt.Errorf("signing a statement about %s: it does not fit the image: %w", target, err)
	}
	if format == signer.FormatLegacy {
		return key.newEnvelope(statement)
	}
	return key.newBundle(statement)
}
