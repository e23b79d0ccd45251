package cosign

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Blob is a file that a bundle is about: its content, or only its digest, "sha256:…" or "sha512:…".
type Blob struct {
	Content []byte
	Digest  string
}

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
