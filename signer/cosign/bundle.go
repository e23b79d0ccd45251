package cosign

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// artifact makes the option that binds a bundle to what it must be about, anew for each
// verification since a reader is read only once.
type artifact func() verify.ArtifactPolicyOption

func digestArtifact(hash []byte) artifact {
	return func() verify.ArtifactPolicyOption { return verify.WithArtifactDigest("sha256", hash) }
}

// readBundle reads an attached Sigstore bundle. It is a signature if it says so by its predicate
// type, and an attestation otherwise: an identity that attests an SBOM has not signed the image
// (CVE-2022-35930 is the same mistake the other way round).
func readBundle(content []byte, target Target, hash []byte) (*claim, error) {
	parsed, err := parseBundle(content)
	if err != nil {
		return nil, err
	}
	envelope, err := parsed.Envelope()
	if err != nil {
		return nil, errors.New("it holds no statement: only statements about an image's digest count")
	}
	if envelope.PayloadType != payloadType {
		return nil, fmt.Errorf("its payload is a %s, and only in-toto statements count", abbreviate(envelope.PayloadType))
	}
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		return nil, fmt.Errorf("its payload cannot be decoded: %w", err)
	}
	c, err := statementClaim(payload, target)
	if err != nil {
		return c, err
	}
	c.format = signer.FormatBundle
	if c.statement.predicateType == signer.SignPredicateType {
		subject, _ := c.statement.about(target.Digest)
		c.signature, c.annotations = true, textAnnotations(subject.Annotations)
	}
	c.prove(parsed, digestArtifact(hash))
	return c, nil
}

// statementClaim reads a statement, which must be about the target. The claim is there for its
// predicate type even where the statement is about something else.
func statementClaim(payload []byte, target Target) (*claim, error) {
	parsed, err := parseStatement(payload)
	if err != nil {
		return nil, err
	}
	c := &claim{statement: parsed}
	if _, ok := parsed.about(target.Digest); !ok {
		return c, fmt.Errorf("%w%s", ErrOtherImage, parsed.whose())
	}
	return c, nil
}

func parseBundle(content []byte) (*bundle.Bundle, error) {
	parsed := new(bundle.Bundle)
	if err := parsed.UnmarshalJSON(content); err != nil {
		return nil, fmt.Errorf("it is no Sigstore bundle of version 0.1 to 0.3: %w", err)
	}
	return parsed, nil
}

// prove fills in how the bundle is verified: by its certificate, or by keys if it names one.
func (c *claim) prove(parsed *bundle.Bundle, about artifact) {
	content, err := parsed.VerificationContent()
	if err == nil && content.Certificate() == nil {
		c.byKey = func(material root.TrustedMaterial, key signer.PublicKey, log bool) (proof, error) {
			return proveBundleByKey(parsed, about, material, key, log)
		}
		return
	}
	if err == nil {
		c.leaf = content.Certificate()
	}
	c.byCertificate = func(material root.TrustedMaterial) (proof, error) {
		return proveBundleByCertificate(parsed, about, material)
	}
}

// proveBundleByCertificate follows the Sigstore client specification
// (https://github.com/sigstore/architecture-docs/blob/main/client-spec.md): an entry in a
// transparency log, a time from the log or a time stamp authority, a certificate that was valid
// then and is in a certificate transparency log, and a signature by it over the artifact. Whose
// certificate it is, is for the authorities to judge.
func proveBundleByCertificate(parsed *bundle.Bundle, about artifact, material root.TrustedMaterial) (proof, error) {
	verifier, err := verify.NewVerifier(material, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
	if err != nil {
		return proof{}, err
	}
	result, err := verifier.Verify(parsed, verify.NewPolicy(about(), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return proof{}, err
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return proof{}, errors.New("it has no certificate")
	}
	content, err := parsed.VerificationContent()
	if err != nil {
		return proof{}, err
	}
	return proofOf(content.Certificate(), earliest(result.VerifiedTimestamps))
}

// proveBundleByKey verifies with a key. A log entry and a time are demanded only where log is
// true; where they are there and verify, they say when it was signed.
func proveBundleByKey(parsed *bundle.Bundle, about artifact, material root.TrustedMaterial, key signer.PublicKey, log bool) (proof, error) {
	var first error
	for _, verifier := range keyVerifiers(key.Key) {
		trusted := root.TrustedMaterialCollection{root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
			return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
		})}
		if material != nil {
			trusted = append(trusted, material)
		}
		result, err := verifyByKey(parsed, about, trusted, log)
		if err == nil {
			return proof{key: key.Fingerprint, time: earliest(result.VerifiedTimestamps)}, nil
		}
		if first == nil {
			first = err
		}
	}
	return proof{}, first
}

// verifyByKey asks for a trusted time first, and goes without if there is none: a key, unlike a
// certificate of Fulcio, does not expire.
func verifyByKey(parsed *bundle.Bundle, about artifact, trusted root.TrustedMaterial, log bool) (*verify.VerificationResult, error) {
	entries, err := parsed.TlogEntries()
	if err != nil {
		return nil, err
	}
	stamps, err := parsed.Timestamps()
	if err != nil {
		return nil, err
	}
	policy := func() verify.PolicyBuilder { return verify.NewPolicy(about(), verify.WithKey()) }
	if len(trusted.RekorLogs())+len(trusted.TimestampingAuthorities()) > 0 && len(entries)+len(stamps) > 0 {
		timed := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
		if log || len(entries) > 0 {
			timed = append(timed, verify.WithTransparencyLog(1))
		}
		if result, err := verifyWith(parsed, policy(), trusted, timed); err == nil {
			return result, nil
		}
	}
	untimed := []verify.VerifierOption{verify.WithNoObserverTimestamps()}
	if log {
		untimed = append(untimed, verify.WithTransparencyLog(1))
	}
	return verifyWith(parsed, policy(), trusted, untimed)
}

func verifyWith(parsed *bundle.Bundle, policy verify.PolicyBuilder, trusted root.TrustedMaterial, options []verify.VerifierOption) (*verify.VerificationResult, error) {
	verifier, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return nil, err
	}
	return verifier.Verify(parsed, policy)
}

// earliest is the first of several trusted times, so that stamping an old signature again does
// not make it younger.
func earliest(stamps []verify.TimestampVerificationResult) time.Time {
	var first time.Time
	for _, stamp := range stamps {
		if first.IsZero() || stamp.Timestamp.Before(first) {
			first = stamp.Timestamp
		}
	}
	return first
}
