package signer

// Trust is what a bundle says of who may sign what: section trust of bundle.yaml. The
// zero value trusts nobody.
type Trust struct {
	// Authorities are who may sign, by name.
	Authorities []Authority `json:"authorities"`
	// Requirements say which authorities must have signed which images. An image for
	// which several match needs all of them.
	Requirements []Requirement `json:"requirements,omitempty"`
	// Scanners are the names of authorities whose vulnerability attestations
	// (https://cosign.sigstore.dev/attestation/vuln/v1) are believed as scans.
	Scanners []string `json:"scanners,omitempty"`
	// VEX are the names of authorities whose OpenVEX attestations change the status of
	// findings.
	VEX []string `json:"vex,omitempty"`
}

// Authority is a signer, known by keys or by keyless identities: either one or the
// other, any of which will do.
type Authority struct {
	Name string `json:"name"`
	// Images are patterns of the images it may sign, by path segment: "*" stands for one
	// segment, or a part of one, and "**" for any number of whole segments, none included.
	// "ghcr.io/acme/**" matches ghcr.io/acme/a/b and not ghcr.io/acme-evil/a. The registry is the first
	// segment, always written, as canonical references have it: "docker.io/library/*". In a
	// registry "*" stands for one label of the host, or a part of one, left of the last two:
	// "*.example.com/**". "**" alone is every image of every registry. Required.
	Images []string `json:"images"`
	// Keys are public keys.
	Keys []Key `json:"keys,omitempty"`
	// Identities are keyless identities.
	Identities []Identity `json:"identities,omitempty"`
	// Annotations must all be among those that a signature covers. Attestations have none.
	Annotations map[string]string `json:"annotations,omitempty"`
	// TransparencyLog demands an entry in a transparency log of the trusted root for
	// signatures by key, too. For identities it is always demanded.
	TransparencyLog bool `json:"transparencyLog,omitempty"`
	// Attestations are statements that this authority must have made about an image,
	// besides signing it, where a requirement names it.
	Attestations []AttestationRequirement `json:"attestations,omitempty"`
	// AllPlatforms demands that each manifest of an index is signed, too, and not only
	// the index that the pod names.
	AllPlatforms bool `json:"allPlatforms,omitempty"`
}

// Key is a public key in PEM (SubjectPublicKeyInfo, RFC 7468). Keys that Vault's
// transit engine holds are given in the same way, as it publishes them. A URL, a path or a
// reference to a key manager is refused: the bundle is all that trust depends on.
type Key struct {
	PEM string `json:"pem"`
	// Name is for people, "vault transit release v3"; may be empty.
	Name string `json:"name,omitempty"`
}

// Identity is a keyless identity: what a certificate of Fulcio must say. Issuer and
// subject are both required, each either exact or as a regular expression (RE2), which
// always has to match the whole text, and must spell out who it is.
type Identity struct {
	Issuer        string `json:"issuer,omitempty"`
	IssuerRegExp  string `json:"issuerRegExp,omitempty"`
	Subject       string `json:"subject,omitempty"`
	SubjectRegExp string `json:"subjectRegExp,omitempty"`
	// GitHubWorkflow are claims of GitHub's workflows that the certificate must carry;
	// empty fields are not looked at.
	GitHubWorkflow *GitHubWorkflow `json:"githubWorkflow,omitempty"`
}

// GitHubWorkflow are the certificate extensions 1.3.6.1.4.1.57264.1.2 to .6
// (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).
type GitHubWorkflow struct {
	Trigger    string `json:"trigger,omitempty"`
	SHA        string `json:"sha,omitempty"`
	Name       string `json:"name,omitempty"`
	Repository string `json:"repository,omitempty"`
	Ref        string `json:"ref,omitempty"`
}

// AttestationRequirement is one kind of statement.
type AttestationRequirement struct {
	PredicateType string `json:"predicateType"`
	// MaxAge is how old it may be by its trusted time, as Go writes durations: "720h"; "" for any age.
	// What neither a transparency log nor a timestamp authority gives a time is too old: a
	// signature by key has one only if it was made with either.
	// That time shows that the statement existed then, and a certificate of Fulcio that it was made then. One by key can be
	// logged or stamped anew by whoever can attach it: where its age matters, use identities, or a policy about a time in its predicate.
	MaxAge string `json:"maxAge,omitempty"`
}

// Requirement says who must have signed some images: exactly one of AnyOf, AllOf and
// AtLeast. Where more than one authority has to, no two of those that are named may accept
// the same signer.
type Requirement struct {
	Name string `json:"name"`
	// Images are patterns as in [Authority].
	Images  []string `json:"images"`
	AnyOf   []string `json:"anyOf,omitempty"`
	AllOf   []string `json:"allOf,omitempty"`
	AtLeast *AtLeast `json:"atLeast,omitempty"`
}

// AtLeast is N of M authorities.
type AtLeast struct {
	Count int      `json:"count"`
	Of    []string `json:"of"`
}
