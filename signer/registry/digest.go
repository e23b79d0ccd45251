package registry

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// DigestOf is "sha256:" and the hash of some bytes.
func DigestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// hashFor is the hash of a digest's algorithm and what it has to come to. Only the
// registered algorithms of the image specification are known, at their full length and in
// lower case, so that one digest is written in one way
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests).
func hashFor(digest string) (hash.Hash, string, error) {
	algorithm, sum, _ := strings.Cut(digest, ":")
	var h hash.Hash
	switch algorithm {
	case "sha256":
		h = sha256.New()
	case "sha512":
		h = sha512.New()
	default:
		return nil, "", fmt.Errorf("%s is no digest: use sha256:… or sha512:…", printable(digest))
	}
	if len(sum) != 2*h.Size() || strings.Trim(sum, "0123456789abcdef") != "" {
		return nil, "", fmt.Errorf("%s is no digest: %s has %d characters of 0-9 and a-f", printable(digest), algorithm, 2*h.Size())
	}
	return h, sum, nil
}

func checkDigest(digest string) error {
	_, _, err := hashFor(digest)
	return err
}

// verify says whether content has the digest.
func verify(digest string, content []byte) error {
	h, want, err := hashFor(digest)
	if err != nil {
		return err
	}
	h.Write(content)
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return &differs{want: digest, got: strings.TrimSuffix(digest, want) + got}
	}
	return nil
}

// differs says that bytes have another digest.
type differs struct{ want, got string }

func (d *differs) Error() string {
	return fmt.Sprintf("the bytes received have the digest %s and not %s", d.got, d.want)
}

// FallbackTag is the tag under which referrers of a digest are listed where the registry
// has no referrers API (distribution specification, "Referrers Tag Schema").
func FallbackTag(digest string) string {
	algorithm, sum, _ := strings.Cut(digest, ":")
	return algorithm[:min(len(algorithm), 32)] + "-" + sum[:min(len(sum), 64)]
}
