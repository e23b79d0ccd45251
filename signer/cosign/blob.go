package cosign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Blob is a file that a bundle is about: its content, or only its digest, "sha256:…" or "sha512:…".
type Blob struct {
	Content []byte
	Digest  string
	// Signature accepts a bare signature only, as "cosign sign-blob" makes it: who attests something about a file has
	// not signed the file. What is no such signature is [ErrNoSignature].
	Signature bool
}

// ErrNoSignature says that a bundle holds a statement about a file, and a signature is wanted.
var ErrNoSignature = errors.New("it is an attestation, and a signature of the file is wanted")

// ErrOtherFile says that a signature names the digest of another file than the one at hand.
var ErrOtherFile = errors.New("it is about another file")

// VerifyBlob verifies a Sigstore bundle about a file, in the way in which those about images are
// verified, and says which of the authorities have signed it. Unlike an image's, the bundle may hold a
// bare signature instead of a statement.
func (v *Verifier) VerifyBlob(content []byte, blob Blob, authorities []*signer.CheckedAuthority) ([]signer.Signer, error) {
	about := artifact(func() verify.ArtifactPolicyOption { return verify.WithArtifact(bytes.NewReader(blob.Content)) })
	judge := &judge{authorities: authorities, material: v.material()}
	if blob.Digest != "" {
		algorithm, text, _ := strings.Cut(blob.Digest, ":")
		hash, err := hex.DecodeString(text)
		if err != nil || len(hash) != map[string]int{"sha256": 32, "sha512": 64}[algorithm] || len(hash) == 0 {
			return nil, fmt.Errorf("verifying the bundle: %q is no digest: write sha256: or sha512: and hexadecimal digits", blob.Digest)
		}
		about = func() verify.ArtifactPolicyOption { return verify.WithArtifactDigest(algorithm, hash) }
	}
	var signers []signer.Signer
	var reason string
	err := guarded(func() error {
		parsed, err := parseBundle(content)
		if err == nil && blob.Signature {
			err = checkSignatureOf(parsed, blob)
		}
		if err != nil {
			return err
		}
		c := &claim{format: signer.FormatBundle}
		c.prove(parsed, about)
		signers, reason, err = judge.weigh(c)
		return err
	})
	if err == nil && len(signers) == 0 {
		err = errors.New(reason)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying the bundle: %w", err)
	}
	return signers, nil
}

// checkSignatureOf tells a bundle that is no signature of the file before it is verified.
func checkSignatureOf(parsed *bundle.Bundle, blob Blob) error {
	signature := parsed.GetMessageSignature()
	if signature == nil {
		return ErrNoSignature
	}
	named := signature.GetMessageDigest()
	if named.GetAlgorithm() != protocommon.HashAlgorithm_SHA2_256 || blob.Digest != "" {
		return nil
	}
	if sum := sha256.Sum256(blob.Content); !bytes.Equal(named.GetDigest(), sum[:]) {
		return fmt.Errorf("%w, sha256:%x", ErrOtherFile, named.GetDigest()[:min(len(named.GetDigest()), len(sum))])
	}
	return nil
}

// SignBlob signs a file as "cosign sign-blob --bundle" does with a key: a Sigstore bundle without log entry or
// time stamp.
func SignBlob(content []byte, key *Key) ([]byte, error) {
	signed, err := key.sign(content)
	if err != nil {
		return nil, fmt.Errorf("signing a file: %w", err)
	}
	material, err := key.material()
	if err != nil {
		return nil, fmt.Errorf("signing a file: %w", err)
	}
	sum := sha256.Sum256(content)
	written, err := marshalBundle(&protobundle.Bundle{
		MediaType:            bundleVersionMediaType,
		VerificationMaterial: material,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     signed,
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("signing a file: %w", err)
	}
	return written, nil
}
