package cosign

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/portcullis-dev/portcullis/signer"
	upstream "github.com/sigstore/cosign/v2/pkg/cosign"
	rekorbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// simpleSigningType is the type in the payload of a legacy signature.
const simpleSigningType = "cosign container image signature"

// legacy is a layer of a legacy manifest: a payload, and annotations with all that belongs to
// its signature (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
type legacy struct {
	payload   []byte
	signature string // base64; "" for an attestation, whose payload is an envelope
	chain     []byte // PEM of the certificate and of its issuers
	leaf      *x509.Certificate
	entry     *rekorbundle.RekorBundle
	stamp     *rekorbundle.RFC3161Timestamp
	hash      v1.Hash
}

// readSignature reads a legacy signature. Its payload must name the target's digest.
func readSignature(one candidate, target Target, hash []byte) (*claim, error) {
	l, err := readLegacy(one, hash)
	if err != nil {
		return nil, err
	}
	if l.signature = one.annotations[static.SignatureAnnotationKey]; l.signature == "" {
		return nil, fmt.Errorf("it lacks the annotation %s", static.SignatureAnnotationKey)
	}
	var payload simpleSigning
	if err := json.Unmarshal(one.content, &payload); err != nil {
		return nil, fmt.Errorf("its payload cannot be read: %w", err)
	}
	if payload.Critical.Type != simpleSigningType {
		return nil, fmt.Errorf("its payload has the type %q instead of %q", abbreviate(payload.Critical.Type), simpleSigningType)
	}
	if payload.Critical.Image.Digest != target.Digest {
		return nil, fmt.Errorf("%w, %s", ErrOtherImage, abbreviate(payload.Critical.Image.Digest))
	}
	c := &claim{format: signer.FormatLegacy, signature: true, annotations: textAnnotations(payload.Optional)}
	l.prove(c)
	return c, nil
}

// readEnvelope reads a legacy attestation: a DSSE envelope around a statement about the target.
func readEnvelope(one candidate, target Target, hash []byte) (*claim, error) {
	l, err := readLegacy(one, hash)
	if err != nil {
		return nil, err
	}
	fields, err := parseObject(one.content)
	if err != nil {
		return nil, fmt.Errorf("it is no DSSE envelope: %w", err)
	}
	for _, name := range []string{"payload", "payloadType"} {
		if len(fields[name]) == 0 {
			return nil, fmt.Errorf("it is no DSSE envelope: it has no %s", name)
		}
	}
	var inner, innerType string
	if err := errors.Join(json.Unmarshal(fields["payload"], &inner), json.Unmarshal(fields["payloadType"], &innerType)); err != nil {
		return nil, fmt.Errorf("it is no DSSE envelope: %w", err)
	}
	if innerType != payloadType {
		return nil, fmt.Errorf("its payload is a %s, and only in-toto statements count", abbreviate(innerType))
	}
	payload, err := base64.StdEncoding.DecodeString(inner)
	if err != nil {
		return nil, fmt.Errorf("its payload cannot be decoded: %w", err)
	}
	c, err := statementClaim(payload, target)
	if err != nil {
		return c, err
	}
	c.format = signer.FormatLegacy
	l.prove(c)
	return c, nil
}

func readLegacy(one candidate, hash []byte) (*legacy, error) {
	l := &legacy{payload: one.content, hash: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(hash)}}
	if text := one.annotations[static.BundleAnnotationKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &l.entry); err != nil {
			return nil, fmt.Errorf("its transparency log entry cannot be read: %w", err)
		}
	}
	if text := one.annotations[static.RFC3161TimestampAnnotationKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &l.stamp); err != nil {
			return nil, fmt.Errorf("its time stamp cannot be read: %w", err)
		}
	}
	if text := one.annotations[static.CertificateAnnotationKey]; text != "" {
		leaf, err := parseCertificate([]byte(text))
		if err != nil {
			return nil, err
		}
		l.leaf, l.chain = leaf, []byte(text)
	}
	return l, nil
}

// parseCertificate takes exactly one certificate: where a certificate is expected, a bare key
// would have no identity to check (GHSA-fx35-mq7g-6g98).
func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it has something else where its certificate should be")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("it has more than one certificate where one should be")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("its certificate cannot be read: %w", err)
	}
	return leaf, nil
}

// prove fills in how the layer is verified.
func (l *legacy) prove(c *claim) {
	c.byKey = l.proveByKey
	if l.leaf != nil {
		c.leaf = l.leaf
		c.byCertificate = l.proveByCertificate
	}
}

// proveByCertificate demands the same as for a bundle: log entry, time, certificate transparency.
func (l *legacy) proveByCertificate(material root.TrustedMaterial) (proof, error) {
	if l.entry == nil {
		return proof{}, errors.New("it has no entry of a transparency log")
	}
	sealed, err := l.sealed(true)
	if err != nil {
		return proof{}, err
	}
	options := l.options()
	options.TrustedMaterial = material
	logged, err := l.verify(sealed, options)
	if err != nil {
		return proof{}, err
	}
	if !logged {
		return proof{}, errors.New("it has no entry of a transparency log")
	}
	// cosign v2 looks at the issuers when the certificate was issued, not when it was used
	// (CVE-2026-24122).
	times := append(l.stamped(material), time.Unix(l.entry.Payload.IntegratedTime, 0))
	for _, at := range times {
		if _, err := verify.VerifyLeafCertificate(at, withoutUnhandledName(l.leaf), material); err != nil {
			return proof{}, fmt.Errorf("its certificate or one of its issuers was not valid at the time of signing, %s: %w", at.UTC().Format(time.RFC3339), err)
		}
	}
	return proofOf(l.leaf, slices.MinFunc(times, time.Time.Compare))
}

// proveByKey verifies with a key. A log entry is demanded only where log is true; where one is
// there and verifies, it says when it was signed.
func (l *legacy) proveByKey(material root.TrustedMaterial, key signer.PublicKey, log bool) (proof, error) {
	var first error
	for _, verifier := range keyVerifiers(key.Key) {
		options := func() *upstream.CheckOpts {
			o := l.options()
			o.SigVerifier = verifier
			return o
		}
		if material != nil && l.entry != nil {
			if at, err := l.proveLogged(material, options()); err == nil {
				return proof{key: key.Fingerprint, time: at}, nil
			} else if log && first == nil {
				first = err
			}
		}
		if log {
			continue
		}
		sealed, err := l.sealed(false) // a key needs no certificate, and an expired one beside it does no harm
		if err != nil {
			return proof{}, err
		}
		o := options()
		o.IgnoreTlog = true
		if _, err := l.verify(sealed, o); err == nil {
			return proof{key: key.Fingerprint}, nil
		} else if first == nil {
			first = err
		}
	}
	if first == nil {
		first = errors.New("it has no entry of a transparency log")
	}
	return proof{}, first
}

func (l *legacy) proveLogged(material root.TrustedMaterial, options *upstream.CheckOpts) (time.Time, error) {
	sealed, err := l.sealed(true)
	if err != nil {
		return time.Time{}, err
	}
	options.TrustedMaterial = material
	logged, err := l.verify(sealed, options)
	if err == nil && !logged {
		err = errors.New("it has no entry of a transparency log")
	}
	return time.Unix(l.entry.Payload.IntegratedTime, 0), err
}

// options are new for each call, since cosign changes them. Without a claim verifier it would
// not look at the digest, and online it would search the log.
func (l *legacy) options() *upstream.CheckOpts {
	options := &upstream.CheckOpts{Offline: true, ClaimVerifier: upstream.SimpleClaimVerifier}
	if l.signature == "" {
		options.ClaimVerifier = upstream.IntotoSubjectClaimVerifier
	}
	return options
}

// verify calls those functions of cosign that verify one signature in the caller's goroutine.
func (l *legacy) verify(sealed oci.Signature, options *upstream.CheckOpts) (logged bool, err error) {
	if l.signature == "" {
		return upstream.VerifyBlobAttestation(context.Background(), sealed, l.hash, options)
	}
	return upstream.VerifyImageSignature(context.Background(), sealed, l.hash, options)
}

// sealed is the layer as cosign takes it.
func (l *legacy) sealed(withCertificate bool) (oci.Signature, error) {
	var options []static.Option
	if l.entry != nil {
		options = append(options, static.WithBundle(l.entry))
	}
	if l.stamp != nil {
		options = append(options, static.WithRFC3161Timestamp(l.stamp))
	}
	if withCertificate && l.leaf != nil {
		options = append(options, static.WithCertChain(l.chain, nil))
	}
	return static.NewSignature(l.payload, l.signature, options...)
}

// stamped is the time of the time stamp, if one is there by an authority of the trusted root. One by an
// authority that nobody trusts is passed over, as it is for bundles.
func (l *legacy) stamped(material root.TrustedMaterial) []time.Time {
	if l.stamp == nil {
		return nil
	}
	over := l.payload // cosign stamps an attestation's envelope as a whole
	if l.signature != "" {
		var err error
		if over, err = base64.StdEncoding.DecodeString(l.signature); err != nil {
			return nil
		}
	}
	verified, _, err := verify.VerifySignedTimestamp(&stampedEntity{stamp: l.stamp.SignedRFC3161Timestamp, over: over}, material)
	if err != nil || len(verified) == 0 {
		return nil
	}
	return []time.Time{verified[0].Time}
}

// stampedEntity is a time stamp and what it is over, as sigstore-go takes them.
type stampedEntity struct {
	verify.BaseSignedEntity
	stamp, over []byte
}

func (e *stampedEntity) Timestamps() ([][]byte, error) { return [][]byte{e.stamp}, nil }

func (e *stampedEntity) SignatureContent() (verify.SignatureContent, error) {
	return stampedContent(e.over), nil
}

type stampedContent []byte

func (c stampedContent) Signature() []byte                                       { return c }
func (c stampedContent) EnvelopeContent() verify.EnvelopeContent                 { return nil }
func (c stampedContent) MessageSignatureContent() verify.MessageSignatureContent { return nil }

// withoutUnhandledName drops the subject alternative name from the critical extensions that Go
// does not know: Fulcio issues names of a kind (otherName) that is read elsewhere.
func withoutUnhandledName(leaf *x509.Certificate) *x509.Certificate {
	clone := *leaf
	subjectAlternativeName := asn1.ObjectIdentifier{2, 5, 29, 17} // RFC 5280, section 4.2.1.6
	clone.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), subjectAlternativeName.Equal)
	return &clone
}
