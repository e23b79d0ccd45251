package signer

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"
)

// How much a trust configuration may hold. Each is far above what people write, and keeps the
// work for one image bounded: every signature is tried against every key and identity
// that its repository allows.
const (
	maxAuthorities  = 256
	maxRequirements = 256
	maxImages       = 256
	maxKeys         = 64
	maxIdentities   = 64
	maxAnnotations  = 64
	maxAttestations = 64
	maxName         = 128
	maxAnnotation   = 1 << 10
)

// aliases are the names that "cosign attest --type" has for predicate types: only the URI is
// ever in a statement.
var aliases = map[string]string{
	"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
	"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
	"slsaprovenance1":  "https://slsa.dev/provenance/v1",
	"link":             "https://in-toto.io/Link/v1",
	"spdx":             "https://spdx.dev/Document",
	"spdxjson":         "https://spdx.dev/Document",
	"cyclonedx":        "https://cyclonedx.org/bom",
	"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
	"openvex":          "https://openvex.dev/ns",
	"custom":           "https://cosign.sigstore.dev/attestation/v1",
}

// Compile checks a trust configuration. All mistakes are reported together, each with its
// place and what to do about it; the error unwraps to a list. nil trusts nobody.
func Compile(t *Trust) (*Configuration, error) {
	if t == nil {
		t = &Trust{}
	}
	c := compiler{trust: t, names: map[string]*CheckedAuthority{}, steps: overlapSteps, imageSteps: overlapSteps}
	c.compileAuthorities()
	c.compileRequirements()
	c.scanners = c.checkNames("scanners", t.Scanners)
	c.vex = c.checkNames("vex", t.VEX)
	c.checkUse()
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	hash, err := hashOf(t, c.authorities)
	if err != nil {
		return nil, err
	}
	return &Configuration{hash: hash, authorities: c.authorities, requirements: c.requirements, scanners: c.scanners, vex: c.vex}, nil
}

// compiler collects what is checked and what is wrong.
type compiler struct {
	trust        *Trust
	authorities  []*CheckedAuthority
	names        map[string]*CheckedAuthority
	requirements []checkedRequirement
	scanners     map[string]bool
	vex          map[string]bool
	steps        int // left for comparing expressions
	imageSteps   int // left for comparing patterns
	problems     []error
}

func (c *compiler) problem(place, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("%s: %w", place, fmt.Errorf(format, args...)))
}

// tooMany refuses a list that is over its limit, which is then not looked at further.
func (c *compiler) tooMany(place string, count, most int) bool {
	if count > most {
		c.problem(place, "there are %d: use at most %d", count, most)
	}
	return count > most
}

func (c *compiler) compileAuthorities() {
	if c.tooMany("authorities", len(c.trust.Authorities), maxAuthorities) {
		return
	}
	for i := range c.trust.Authorities {
		authority := c.trust.Authorities[i]
		place := placeOf("authorities", i, authority.Name)
		c.checkName(place, authority.Name)
		checked := c.compileAuthority(place, authority)
		c.authorities = append(c.authorities, checked)
		if _, twice := c.names[authority.Name]; twice && authority.Name != "" {
			c.problem(place, "the name is taken by another authority: choose another")
			continue
		}
		c.names[authority.Name] = checked
	}
}

func placeOf(list string, index int, name string) string {
	if name == "" {
		return fmt.Sprintf("%s[%d]", list, index)
	}
	return fmt.Sprintf("%s[%d] %q", list, index, shorten(name))
}

func (c *compiler) checkName(place, name string) {
	if name == "" {
		c.problem(place, "it has no name: give it one")
	} else if len(name) > maxName {
		c.problem(place, "the name has %d bytes: use at most %d", len(name), maxName)
	} else if err := checkPlain(name); err != nil {
		c.problem(place, "name: %w", err)
	}
}

func (c *compiler) compileAuthority(place string, authority Authority) *CheckedAuthority {
	checked := &CheckedAuthority{Authority: clone(authority)}
	checked.images = c.compileImages(place, authority.Images)
	switch {
	case len(authority.Keys) == 0 && len(authority.Identities) == 0:
		c.problem(place, "it has neither keys nor identities: say how its signatures are known")
	case len(authority.Keys) > 0 && len(authority.Identities) > 0:
		c.problem(place, "it has both keys and identities: make two authorities of it")
	}
	checked.PublicKeys = c.compileKeys(place, authority.Keys)
	checked.identities = c.compileIdentities(place, authority.Identities)
	c.checkAnnotations(place, authority.Annotations)
	c.checkAttestations(place, authority.Attestations)
	return checked
}

// clone copies what the caller might change later.
func clone(authority Authority) Authority {
	authority.Images = slices.Clone(authority.Images)
	authority.Keys = slices.Clone(authority.Keys)
	authority.Identities = slices.Clone(authority.Identities)
	for i, identity := range authority.Identities {
		if identity.GitHubWorkflow != nil {
			claims := *identity.GitHubWorkflow
			authority.Identities[i].GitHubWorkflow = &claims
		}
	}
	authority.Annotations = maps.Clone(authority.Annotations)
	authority.Attestations = slices.Clone(authority.Attestations)
	return authority
}

func (c *compiler) compileImages(place string, images []string) []pattern {
	if len(images) == 0 {
		c.problem(place, "it names no images: write patterns, like images: [%q]", "ghcr.io/acme/**")
	}
	if c.tooMany(place+": images", len(images), maxImages) {
		return nil
	}
	patterns := make([]pattern, 0, len(images))
	for i, text := range images {
		at := fmt.Sprintf("%s: images[%d] %q", place, i, shorten(text))
		p, err := parsePattern(text)
		if err != nil {
			c.problem(at, "%w", err)
			continue
		}
		if slices.Contains(images[:i], text) {
			c.problem(at, "it is listed twice: remove one")
		}
		patterns = append(patterns, p)
	}
	return patterns
}

func (c *compiler) compileKeys(place string, keys []Key) []PublicKey {
	if c.tooMany(place+": keys", len(keys), maxKeys) {
		return nil
	}
	public := make([]PublicKey, 0, len(keys))
	for i, key := range keys {
		at := fmt.Sprintf("%s: %s", place, placeOf("keys", i, key.Name))
		if err := checkPlain(key.Name); err != nil {
			c.problem(at, "name: %w", err)
		}
		parsed, err := parseKey(key)
		if err != nil {
			c.problem(at, "%w", err)
			continue
		}
		if slices.ContainsFunc(public, func(other PublicKey) bool { return other.Fingerprint == parsed.Fingerprint }) {
			c.problem(at, "it is listed twice: remove one")
		}
		public = append(public, parsed)
	}
	return public
}

func (c *compiler) compileIdentities(place string, identities []Identity) []checkedIdentity {
	if c.tooMany(place+": identities", len(identities), maxIdentities) {
		return nil
	}
	checked := make([]checkedIdentity, 0, len(identities))
	for i, identity := range identities {
		at := fmt.Sprintf("%s: identities[%d]", place, i)
		one := checkIdentity(identity, func(what, format string, args ...any) { c.problem(at+": "+what, format, args...) })
		if slices.ContainsFunc(identities[:i], identity.equal) {
			c.problem(at, "it is listed twice: remove one")
		}
		checked = append(checked, one)
	}
	return checked
}

func (i Identity) equal(other Identity) bool {
	var claims, others GitHubWorkflow
	if i.GitHubWorkflow != nil {
		claims = *i.GitHubWorkflow
	}
	if other.GitHubWorkflow != nil {
		others = *other.GitHubWorkflow
	}
	i.GitHubWorkflow, other.GitHubWorkflow = nil, nil
	return i == other && claims == others
}

func (c *compiler) checkAnnotations(place string, annotations map[string]string) {
	if c.tooMany(place+": annotations", len(annotations), maxAnnotations) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		at := fmt.Sprintf("%s: annotations %q", place, shorten(key))
		if key == "" {
			c.problem(at, "the key is empty: name the annotation")
		}
		if len(key) > maxAnnotation || len(annotations[key]) > maxAnnotation {
			c.problem(at, "it is too long: use at most %d bytes for the key and the value each", maxAnnotation)
		}
	}
}

func (c *compiler) checkAttestations(place string, attestations []AttestationRequirement) {
	if c.tooMany(place+": attestations", len(attestations), maxAttestations) {
		return
	}
	for i, attestation := range attestations {
		at := fmt.Sprintf("%s: attestations[%d]", place, i)
		if err := checkPredicateType(attestation.PredicateType); err != nil {
			c.problem(at+": predicateType", "%w", err)
		}
		if slices.ContainsFunc(attestations[:i], func(other AttestationRequirement) bool { return other.PredicateType == attestation.PredicateType }) {
			c.problem(at, "the predicate type is listed twice: remove one")
		}
		if _, err := parseAge(attestation.MaxAge); err != nil {
			c.problem(at+": maxAge", "%w", err)
		}
	}
}

// checkPredicateType wants a URI (in-toto attestation framework, "Predicate": TypeURI).
func checkPredicateType(text string) error {
	if text == "" {
		return fmt.Errorf("it is empty: write the type's URI, like %q", "https://slsa.dev/provenance/v1")
	}
	if uri, known := aliases[text]; known {
		return fmt.Errorf("%q is cosign's name for it: write %q", text, uri)
	}
	if text == SignPredicateType {
		return errors.New("it marks a signature, which a requirement demands anyway: remove it")
	}
	if err := checkPlain(text); err != nil {
		return err
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme == "" || (parsed.Host == "" && parsed.Opaque == "") {
		return fmt.Errorf("%q is no absolute URI: write one like %q", shorten(text), "https://slsa.dev/provenance/v1")
	}
	return nil
}

// parseAge gives whole seconds, 0 for "".
func parseAge(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	age, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no duration: write hours, minutes or seconds, like %q for 30 days", shorten(text), "720h")
	case age < time.Second:
		return 0, fmt.Errorf("%q is no age that anything could have: write at least %q, or remove it for any age", shorten(text), "1s")
	case age%time.Second != 0:
		return 0, fmt.Errorf("%q has fractions of a second: write whole seconds", shorten(text))
	}
	return int64(age / time.Second), nil
}
