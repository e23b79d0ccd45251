package cosign

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Source is where an image and what is attached to it are read: a registry, or a layout on disk.
// Its errors are [registry.Error]; content that it returns has the digest that was asked for.
type Source interface {
	Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error)
	Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error)
	Blob(ctx context.Context, repository registry.Repository, digest string, max int64) ([]byte, error)
	Referrers(ctx context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error)
}

// Target is the image or index that evidence is about.
type Target struct {
	Repository registry.Repository
	// Digest is "sha256:" and 64 hexadecimal digits.
	Digest string
}

func (t Target) String() string { return t.Repository.String() + "@" + t.Digest }

// hash is the digest's value. Both signature formats bind by SHA-256 only.
func (t Target) hash() ([]byte, error) {
	text, ok := strings.CutPrefix(t.Digest, "sha256:")
	value, err := hex.DecodeString(text)
	if !ok || err != nil || len(value) != 32 || strings.ToLower(text) != text {
		return nil, fmt.Errorf("judging %s: signatures are about SHA-256 digests: name the image by sha256: and 64 hexadecimal digits", t)
	}
	return value, nil
}

// legacyTag is where cosign v1 and v2 keep signatures (".sig") and attestations (".att")
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery).
func (t Target) legacyTag(suffix string) string {
	return strings.Replace(t.Digest, ":", "-", 1) + suffix
}

// Limits bound what is read of one image: whoever may push can attach anything
// (CVE-2023-46737, CVE-2024-45395). Zero fields have the defaults.
type Limits struct {
	// Referrers is how many may be attached; more is an error. Default 50.
	Referrers int
	// Layers is how many signatures or attestations one legacy manifest may have; more is an
	// error. Default 100.
	Layers int
	// Signature is the size of a signature's payload, in bytes. Default 4 MiB.
	Signature int64
	// Statement is the size of a bundle or an attestation, which may hold an SBOM, in bytes.
	// Default 16 MiB.
	Statement int64
	// Total is the size of all that is read for one image, in bytes; more is an error.
	// Default 64 MiB.
	Total int64
	// Platforms is how many manifests an index may have where all must be signed; more is an
	// error. Default 64.
	Platforms int
	// Parallel is how many requests are made at once. Default 8.
	Parallel int
}

func (l Limits) withDefaults() Limits {
	l.Referrers = orDefault(l.Referrers, 50)
	l.Layers = orDefault(l.Layers, 100)
	l.Signature = orDefault(l.Signature, 4<<20)
	l.Statement = orDefault(l.Statement, 16<<20)
	l.Total = orDefault(l.Total, 64<<20)
	l.Platforms = orDefault(l.Platforms, 64)
	l.Parallel = orDefault(l.Parallel, 8)
	return l
}

func orDefault[T int | int64](value, otherwise T) T {
	if value <= 0 {
		return otherwise
	}
	return value
}
