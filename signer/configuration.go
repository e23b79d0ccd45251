package signer

import (
	"crypto"
)

// Configuration is a [Trust] that has been checked and compiled. It is immutable.
type Configuration struct {
	hash        string
	authorities []*CheckedAuthority
}

// Compile checks a trust configuration. All mistakes are reported together. nil trusts nobody.
func Compile(t *Trust) (*Configuration, error) {
	return &Configuration{}, nil
}

// Hash is "sha256:" and the hash of what the configuration says: part of the key of every remembered verification.
func (c *Configuration) Hash() string { return c.hash }

// For are the authorities that may sign an image of a repository, in the order of the bundle.
// Both arguments are canonical, as in workload.Image: "docker.io", "library/nginx".
func (c *Configuration) For(registry, repository string) []*CheckedAuthority { return nil }

// Required are the requirements that an image of a repository has to meet.
func (c *Configuration) Required(registry, repository string) []Required { return nil }

// Scanner says whether the vulnerability attestations of an authority are believed as scans,
// VEX whether its VEX attestations change findings.
func (c *Configuration) Scanner(authority string) bool { return false }

// VEX: see Scanner.
func (c *Configuration) VEX(authority string) bool { return false }

// Required is one requirement as policies read it: so many of these authorities.
type Required struct {
	Name        string              `json:"name"`
	Count       int64               `json:"count"`
	Authorities []RequiredAuthority `json:"authorities"`
}

// RequiredAuthority is an authority in a requirement and what it must have attested.
type RequiredAuthority struct {
	Name         string                `json:"name"`
	Attestations []RequiredAttestation `json:"attestations"`
}

// RequiredAttestation is a kind of statement; MaxAge in seconds, 0 for any age.
type RequiredAttestation struct {
	PredicateType string `json:"predicateType"`
	MaxAge        int64  `json:"maxAge"`
}

// CheckedAuthority is an authority ready for use.
type CheckedAuthority struct {
	Authority
	PublicKeys []PublicKey
}

// PublicKey is a parsed key with its fingerprint ("sha256:…" of the SubjectPublicKeyInfo).
type PublicKey struct {
	Key         crypto.PublicKey
	Fingerprint string
	Name        string
}
