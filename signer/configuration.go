package signer

import (
	"crypto"
	"fmt"
	"strings"
)

// Configuration is a [Trust] that has been checked and compiled. It is immutable. The zero value
// and nil trust nobody.
type Configuration struct {
	hash         string
	authorities  []*CheckedAuthority
	requirements []checkedRequirement
	scanners     map[string]bool
	vex          map[string]bool
}

type checkedRequirement struct {
	images   []pattern
	required Required
}

// Hash is "sha256:" and the hash of what the configuration says: part of the key of every
// remembered verification. The order of lists, spaces in keys and the like do not change it.
func (c *Configuration) Hash() string {
	if c == nil {
		return ""
	}
	return c.hash
}

// For are the authorities that may sign an image of a repository, in the order of the bundle.
// Both arguments are canonical, as in workload.Image: "docker.io", "library/nginx".
func (c *Configuration) For(registry, repository string) []*CheckedAuthority {
	if c == nil {
		return nil
	}
	var buffer [maxSegments]string
	image := splitImage(buffer[:], registry, repository)
	var found []*CheckedAuthority
	for _, authority := range c.authorities {
		if anyMatches(authority.images, image) {
			found = append(found, authority)
		}
	}
	return found
}

// Required are the requirements that an image of a repository has to meet, all of them, in the
// order of the bundle; the arguments are those of For. The caller must not change what
// it gets.
func (c *Configuration) Required(registry, repository string) []Required {
	if c == nil {
		return nil
	}
	var buffer [maxSegments]string
	image := splitImage(buffer[:], registry, repository)
	var found []Required
	for i := range c.requirements {
		if anyMatches(c.requirements[i].images, image) {
			found = append(found, c.requirements[i].required)
		}
	}
	return found
}

// Authority is an authority by its name, nil if there is none.
func (c *Configuration) Authority(name string) *CheckedAuthority {
	if c == nil {
		return nil
	}
	for _, authority := range c.authorities {
		if authority.Name == name {
			return authority
		}
	}
	return nil
}

// Scanner says whether the vulnerability attestations of an authority are believed as scans.
func (c *Configuration) Scanner(authority string) bool { return c != nil && c.scanners[authority] }

// VEX says whether the VEX attestations of an authority change findings.
func (c *Configuration) VEX(authority string) bool { return c != nil && c.vex[authority] }

// NeedsTrustedRoot says whether anything can only be verified with a trusted root: a
// keyless identity, or a key whose signatures have to be in a transparency log.
func (c *Configuration) NeedsTrustedRoot() bool {
	if c == nil {
		return false
	}
	for _, authority := range c.authorities {
		if authority.NeedsTrustedRoot() {
			return true
		}
	}
	return false
}

// Required is one requirement as policies read it: so many of these authorities must have signed
// the image, and have made the attestations. Two of the authorities never share a key,
// or an identity, where Count is more than 1.
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

// RequiredAttestation is a kind of statement; MaxAge in seconds, 0 for any age. What has an
// age limit and no trusted time is too old.
type RequiredAttestation struct {
	PredicateType string `json:"predicateType"`
	MaxAge        int64  `json:"maxAge"`
}

// CheckedAuthority is an authority ready for use. It is immutable. The zero value accepts nobody.
type CheckedAuthority struct {
	Authority
	// PublicKeys are those of Keys, in the same order.
	PublicKeys []PublicKey

	images     []pattern
	identities []checkedIdentity
}

// PublicKey is a parsed key with its fingerprint ("sha256:…" of the SubjectPublicKeyInfo).
type PublicKey struct {
	// Key is an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey.
	Key         crypto.PublicKey
	Fingerprint string
	Name        string
}

// String names the key for people.
func (k PublicKey) String() string {
	if k.Name == "" {
		return k.Fingerprint
	}
	return fmt.Sprintf("%s (%s)", shorten(k.Name), k.Fingerprint)
}

// Keyless says whether the authority is known by identities, else it is by keys.
func (a *CheckedAuthority) Keyless() bool { return len(a.identities) > 0 }

// NeedsTrustedRoot says whether its signatures can only be verified with a trusted root.
func (a *CheckedAuthority) NeedsTrustedRoot() bool { return a.Keyless() || a.TransparencyLog }

// MaySign says whether the authority may sign images of a repository; the arguments are
// those of [Configuration.For].
func (a *CheckedAuthority) MaySign(registry, repository string) bool {
	var buffer [maxSegments]string
	return anyMatches(a.images, splitImage(buffer[:], registry, repository))
}

// Accepts says whether the holder of a certificate is the authority: one of its identities
// has the issuer, the subject and each claim that it names. If not, why says so for
// people. The certificate itself must have been verified.
func (a *CheckedAuthority) Accepts(claims CertificateClaims) (ok bool, why string) {
	if len(a.identities) == 0 {
		return false, fmt.Sprintf("authority %s knows no keyless identities", shorten(a.Name))
	}
	reasons := make([]string, 0, len(a.identities))
	for i := range a.identities {
		reason := a.identities[i].accepts(&claims)
		if reason == "" {
			return true, ""
		}
		reasons = append(reasons, reason)
	}
	return false, fmt.Sprintf("signed by %s (issuer %s), which authority %s does not accept: %s",
		orNobody(claims.Subject), orNobody(claims.Issuer), shorten(a.Name), fewOf(reasons))
}

func orNobody(text string) string {
	if text == "" {
		return "nobody"
	}
	return shorten(text)
}

// fewOf keeps a message readable where an authority has many identities.
func fewOf(reasons []string) string {
	const most = 3
	if len(reasons) <= most {
		return strings.Join(reasons, ", or ")
	}
	return fmt.Sprintf("%s, or one of %d more identities", strings.Join(reasons[:most], ", or "), len(reasons)-most)
}
