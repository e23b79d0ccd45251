package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Keys are made once: making RSA keys takes a second.
var (
	keyA     = sync.OnceValue(func() string { return publicPEM(ecdsaKey(elliptic.P256()).Public()) })
	keyB     = sync.OnceValue(func() string { return publicPEM(ecdsaKey(elliptic.P384()).Public()) })
	weakRSA  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	soundRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ecdsaKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

func publicPEM(public crypto.PublicKey) string {
	return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(public)))
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// release is a sound authority with a key, keyless one with an identity.
func release() Authority {
	return Authority{Name: "release", Images: []string{"ghcr.io/acme/**"}, Keys: []Key{{PEM: keyA()}}}
}

func keyless() Authority {
	return Authority{Name: "ci", Images: []string{"ghcr.io/acme/**"}, Identities: []Identity{{
		Issuer:        "https://token.actions.githubusercontent.com",
		SubjectRegExp: `https://github\.com/acme/[^/]+/\.github/workflows/release\.yml@refs/tags/v[0-9.]+`,
	}}}
}

// with is a trust of one changed authority.
func with(authority Authority, change func(*Authority)) *Trust {
	change(&authority)
	return &Trust{Authorities: []Authority{authority}}
}

func withKey(text string) *Trust {
	return with(release(), func(a *Authority) { a.Keys = []Key{{PEM: text}} })
}

func withIdentity(change func(*Identity)) *Trust {
	return with(keyless(), func(a *Authority) { change(&a.Identities[0]) })
}

func withSubject(expression string) *Trust {
	return withIdentity(func(i *Identity) { i.SubjectRegExp = expression })
}

// requiring is a trust of three authorities and a requirement.
func requiring(change func(*Trust, *Requirement)) *Trust {
	audit := Authority{Name: "audit", Images: []string{"**"}, Keys: []Key{{PEM: keyB()}}}
	t := &Trust{Authorities: []Authority{release(), keyless(), audit}, Requirements: []Requirement{{Name: "signed", Images: []string{"ghcr.io/acme/**"}, AnyOf: []string{"release"}}}}
	change(t, &t.Requirements[0])
	return t
}

func TestRefusals(t *testing.T) {
	certificate := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Unix(2e9, 0)},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, ecdsaKey(elliptic.P256()).Public(), ecdsaKey(elliptic.P256())))
	for name, test := range map[string]struct {
		trust *Trust
		want  string // in the message: the place and the next step
	}{
		"an authority without name":                 {with(release(), func(a *Authority) { a.Name = "" }), "authorities[0]: it has no name: give it one"},
		"an authority with a name that is too long": {with(release(), func(a *Authority) { a.Name = strings.Repeat("x", 129) }), "the name has 129 bytes: use at most 128"},
		"an authority with a name with a newline":   {with(release(), func(a *Authority) { a.Name = "re\nlease" }), "name: it has control characters: remove them"},
		"two authorities with one name":             {&Trust{Authorities: []Authority{release(), release()}}, `authorities[1] "release": the name is taken by another authority: choose another`},
		"an authority without images":               {with(release(), func(a *Authority) { a.Images = nil }), `authorities[0] "release": it names no images: write patterns, like images: ["ghcr.io/acme/**"]`},
		"a pattern that is listed twice":            {with(release(), func(a *Authority) { a.Images = []string{"ghcr.io/a", "ghcr.io/a"} }), `images[1] "ghcr.io/a": it is listed twice: remove one`},
		"an authority without keys and identities":  {with(release(), func(a *Authority) { a.Keys = nil }), `authorities[0] "release": it has neither keys nor identities`},
		"an authority with keys and identities":     {with(release(), func(a *Authority) { a.Identities = keyless().Identities }), `authorities[0] "release": it has both keys and identities: make two authorities of it`},
		"too many authorities":                      {&Trust{Authorities: make([]Authority, 257)}, "authorities: there are 257: use at most 256"},
		"too many images":                           {with(release(), func(a *Authority) { a.Images = make([]string, 257) }), "images: there are 257: use at most 256"},
		"too many keys":                             {with(release(), func(a *Authority) { a.Keys = make([]Key, 65) }), "keys: there are 65: use at most 64"},
		"too many identities":                       {with(keyless(), func(a *Authority) { a.Identities = make([]Identity, 65) }), "identities: there are 65: use at most 64"},
		"too many attestations":                     {with(release(), func(a *Authority) { a.Attestations = make([]AttestationRequirement, 65) }), "attestations: there are 65: use at most 64"},
		"too many requirements":                     {&Trust{Requirements: make([]Requirement, 257)}, "requirements: there are 257: use at most 256"},
		"an annotation without key":                 {with(release(), func(a *Authority) { a.Annotations = map[string]string{"": "x"} }), "the key is empty: name the annotation"},
		"an annotation that is too long":            {with(release(), func(a *Authority) { a.Annotations = map[string]string{"x": strings.Repeat("x", 1025)} }), "it is too long: use at most 1024 bytes"},
		"an empty key":                              {withKey(""), `authorities[0] "release": keys[0]: it is empty: write the public key in PEM`},
		"a key in Kubernetes":                       {withKey("k8s://ns/secret"), "keys[0]: it is a reference (k8s://…): write the public key itself in PEM"},
		"a key in the environment":                  {withKey("env://COSIGN_PUBLIC_KEY"), "it is a reference (env://…): write the public key itself"},
		"a key at Amazon":                           {withKey("awskms:///alias/x"), "it is a reference (awskms://…): write the public key itself"},
		"a key in Vault":                            {withKey("hashivault://release"), "it is a reference (hashivault://…): write the public key itself"},
		"a key behind a URL":                        {withKey("https://example.com/cosign.pub"), "it is a reference (https://…): write the public key itself"},
		"a key on a card":                           {withKey("pkcs11:token=x"), "it is a reference (pkcs11:…): write the public key itself"},
		"a key in a file":                           {withKey("/etc/cosign.pub"), "it looks like the path of a file: write the public key itself in PEM"},
		"a key in a file beside":                    {withKey("cosign.pub"), "it looks like the path of a file: write the public key itself in PEM"},
		"a key that is any text":                    {withKey("hello"), "it is no PEM: begin with -----BEGIN PUBLIC KEY-----"},
		"a key that is cut off":                     {withKey(keyA()[:60]), "it is no PEM: copy the key whole"},
		"a key behind other text":                   {withKey("x\n" + keyA()), "there is something before the key: begin with"},
		"two keys in one entry":                     {withKey(keyA() + keyB()), "there is more after the key: give each key an entry of its own"},
		"a key that is too long":                    {withKey(strings.Repeat("x", 8193)), "it has 8193 bytes: a key has at most 8192"},
		"a private key":                             {withKey(block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecdsaKey(elliptic.P256()))))), "it is a private key: take it out of the bundle"},
		"an encrypted private key":                  {withKey(block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte("x"))), "it is a private key: take it out of the bundle"},
		"a certificate":                             {withKey(block("CERTIFICATE", certificate)), "it is a certificate: write its public key"},
		"a key in the form of PKCS 1":               {withKey(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&soundRSA().PublicKey))), "it is a public key in the form of PKCS #1"},
		"a PEM block of another kind":               {withKey(block("PGP PUBLIC KEY BLOCK", []byte("x"))), `it is a PEM block "PGP PUBLIC KEY BLOCK": write one called PUBLIC KEY`},
		"a PEM block with garbage":                  {withKey(block("PUBLIC KEY", []byte("x"))), "it is no public key that could be read"},
		"a weak RSA key":                            {withKey(publicPEM(weakRSA().Public())), "it is an RSA key of 1024 bits: use 2048 to 8192"},
		"an RSA key with exponent 3":                {withKey(publicPEM(&rsa.PublicKey{N: soundRSA().N, E: 3})), "its exponent is 3: make an RSA key with at least 65537"},
		"a key on the curve P-224":                  {withKey(publicPEM(ecdsaKey(elliptic.P224()).Public())), "its curve P-224 is not supported: use P-256, P-384 or P-521"},
		"a DSA key":                                 {withKey(block("PUBLIC KEY", dsaKey())), "are not supported: use ECDSA, RSA or Ed25519"},
		"a key that is listed twice": {with(release(), func(a *Authority) {
			a.Keys = append(a.Keys, Key{PEM: "\r\n" + strings.ReplaceAll(keyA(), "\n", "\r\n"), Name: "again"})
		}), `keys[1] "again": it is listed twice: remove one`},
		"CVE-2025-29778: an empty identity":     {withIdentity(func(i *Identity) { *i = Identity{} }), `authorities[0] "ci": identities[0]: issuer: there is none, so anybody would do`},
		"an identity without issuer":            {withIdentity(func(i *Identity) { i.Issuer = "" }), "identities[0]: issuer: there is none, so anybody would do: write issuer, or issuerRegExp"},
		"an identity without subject":           {withIdentity(func(i *Identity) { i.SubjectRegExp = "" }), "identities[0]: subject: there is none, so anybody would do: write subject, or subjectRegExp"},
		"an identity with two issuers":          {withIdentity(func(i *Identity) { i.IssuerRegExp = "https://token" }), "identities[0]: issuer: there are both issuer and issuerRegExp: remove one"},
		"an identity with two subjects":         {withIdentity(func(i *Identity) { i.Subject = "x@acme.com" }), "identities[0]: subject: there are both subject and subjectRegExp: remove one"},
		"a subject with a wildcard":             {withIdentity(func(i *Identity) { i.SubjectRegExp, i.Subject = "", "https://github.com/acme/*" }), "has a *, which is compared as it stands: use subjectRegExp"},
		"an issuer with spaces":                 {withIdentity(func(i *Identity) { i.Issuer += " " }), "issuer: it has spaces around it: remove them"},
		"a subject that is too long":            {withIdentity(func(i *Identity) { i.SubjectRegExp, i.Subject = "", strings.Repeat("x", 2049) }), "subject: it has 2049 bytes: use at most 2048"},
		"an identity that is listed twice":      {with(keyless(), func(a *Authority) { a.Identities = append(a.Identities, a.Identities[0]) }), "identities[1]: it is listed twice: remove one"},
		"an expression that is none":            {withSubject("a("), "it is no regular expression"},
		"an expression that is too long":        {withSubject(strings.Repeat("x", 2049)), "subjectRegExp: \"" + strings.Repeat("x", 160) + "…\": it has 2049 bytes"},
		"an expression that is too large":       {withSubject("acme(((x{1000}){1000}){1000})"), "it is no regular expression"},
		"an expression with large counts":       {withSubject(`acme-` + strings.Repeat(`x{999}`, 11)), "it has 32974 parts once its counts are written out: use at most 10000"},
		"an expression that leaves its anchors": {withSubject("acme1)|(?:acme2"), "it is no regular expression"},
		"empty claims of a workflow":            {withIdentity(func(i *Identity) { i.GitHubWorkflow = &GitHubWorkflow{} }), "identities[0]: githubWorkflow: it is empty: name a claim, or remove it"},
		"a repository claim with a wildcard":    {withIdentity(func(i *Identity) { i.GitHubWorkflow = &GitHubWorkflow{Repository: "acme/*"} }), "githubWorkflow.repository: \"acme/*\" has a *"},
		"an attestation without type":           {attesting("", ""), "attestations[0]: predicateType: it is empty: write the type's URI"},
		"an attestation by cosign's name":       {attesting("slsaprovenance1", ""), `"slsaprovenance1" is cosign's name for it: write "https://slsa.dev/provenance/v1"`},
		"an attestation by a relative URI":      {attesting("slsa.dev/provenance/v1", ""), `"slsa.dev/provenance/v1" is no absolute URI`},
		"an attestation by a scheme alone":      {attesting("https://", ""), `"https://" is no absolute URI`},
		"an attestation that is a signature":    {attesting(SignPredicateType, ""), "it marks a signature, which a requirement demands anyway: remove it"},
		"an age in days":                        {attesting("https://a.b/c", "30d"), `attestations[0]: maxAge: "30d" is no duration: write hours, minutes or seconds, like "720h" for 30 days`},
		"an age of nothing":                     {attesting("https://a.b/c", "0s"), `"0s" is no age that anything could have`},
		"a negative age":                        {attesting("https://a.b/c", "-1h"), `"-1h" is no age that anything could have`},
		"an age with a fraction of a second":    {attesting("https://a.b/c", "1500ms"), `"1500ms" has fractions of a second`},
		"one type of attestation twice": {requiring(func(t *Trust, _ *Requirement) {
			t.Authorities[0].Attestations = []AttestationRequirement{{PredicateType: "https://a.b/c"}, {PredicateType: "https://a.b/c", MaxAge: "1h"}}
		}), "attestations[1]: the predicate type is listed twice: remove one"},
		"attestations that nothing demands": {with(release(), func(a *Authority) { a.Attestations = []AttestationRequirement{{PredicateType: "https://a.b/c"}} }), "attestations: no requirement names this authority, so that nothing would demand them"},
		"annotations of an authority that attests": {requiring(func(t *Trust, _ *Requirement) {
			t.Scanners, t.Authorities[2].Annotations = []string{"audit"}, map[string]string{"a": "b"}
		}), `authorities[2] "audit": annotations: this authority is believed for its attestations`},
		"an unknown scanner":               {requiring(func(t *Trust, _ *Requirement) { t.Scanners = []string{"scanner"} }), `scanners[0]: there is no authority "scanner": correct the name, or add the authority`},
		"a scanner that is listed twice":   {requiring(func(t *Trust, _ *Requirement) { t.Scanners = []string{"audit", "audit"} }), `scanners[1]: "audit" is listed twice`},
		"an unknown author of VEX":         {requiring(func(t *Trust, _ *Requirement) { t.VEX = []string{"x"} }), `vex[0]: there is no authority "x"`},
		"a requirement without name":       {requiring(func(_ *Trust, r *Requirement) { r.Name = "" }), "requirements[0]: it has no name: give it one"},
		"two requirements with one name":   {requiring(func(t *Trust, r *Requirement) { t.Requirements = append(t.Requirements, *r) }), `requirements[1] "signed": the name is taken by another requirement`},
		"a requirement without images":     {requiring(func(_ *Trust, r *Requirement) { r.Images = nil }), `requirements[0] "signed": it names no images`},
		"a requirement with a bad pattern": {requiring(func(_ *Trust, r *Requirement) { r.Images = []string{"nginx"} }), `requirements[0] "signed": images[0] "nginx": it names no registry`},
		"a requirement of other images": {requiring(func(t *Trust, r *Requirement) {
			t.Authorities[0].Images = []string{"ghcr.io/acme-evil/**", "docker.io/acme/*"}
		}), `requirements[0] "signed": authority "release" may sign none of these images: correct the images of either`},
		"a requirement of nobody":                 {requiring(func(_ *Trust, r *Requirement) { r.AnyOf = nil }), `requirements[0] "signed": it has 0 of anyOf, allOf and atLeast: write exactly one`},
		"a requirement with two forms":            {requiring(func(_ *Trust, r *Requirement) { r.AllOf = []string{"ci"} }), "it has 2 of anyOf, allOf and atLeast: write exactly one"},
		"a requirement with an empty list":        {requiring(func(_ *Trust, r *Requirement) { r.AnyOf = []string{} }), `requirements[0] "signed": anyOf: it names no authority: name some`},
		"a requirement of somebody unknown":       {requiring(func(_ *Trust, r *Requirement) { r.AnyOf = []string{"relase"} }), `requirements[0] "signed": anyOf[0]: there is no authority "relase": correct the name`},
		"a requirement that names somebody twice": {requiring(func(_ *Trust, r *Requirement) { r.AnyOf, r.AtLeast = nil, &AtLeast{2, []string{"ci", "ci"}} }), `atLeast.of[1]: "ci" is listed twice, which counts once: remove one`},
		"more authorities than there are":         {requiring(func(_ *Trust, r *Requirement) { r.AnyOf, r.AtLeast = nil, &AtLeast{3, []string{"ci", "release"}} }), "atLeast.of: count is 3 of 2 authorities: write 1 to 2"},
		"no authority at all":                     {requiring(func(_ *Trust, r *Requirement) { r.AnyOf, r.AtLeast = nil, &AtLeast{0, []string{"ci", "release"}} }), "atLeast.of: count is 0 of 2 authorities: write 1 to 2"},
		"two authorities with one key": {requiring(func(t *Trust, r *Requirement) {
			t.Authorities[2].Keys = release().Keys
			r.AnyOf, r.AllOf = nil, []string{"release", "audit"}
		}), `allOf: "release" and "audit" both accept the key sha256:`},
		"two authorities with one identity": {requiring(twins(func(*Identity) {})), `atLeast.of: "ci" and "audit" both accept the subject "https://github.com/acme/a/.github/workflows/release.yml@refs/tags/v0" of the issuer "https://token.actions.githubusercontent.com"`},
		"an exact identity within another's pattern": {requiring(twins(func(i *Identity) {
			i.SubjectRegExp, i.Subject = "", "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1"
		})), "so that one signature would count for two: give each its own"},
		"expressions that are too large to compare": {requiring(twins(func(i *Identity) { i.SubjectRegExp = `https://github\.com/acme/(aa?){900}b` }, `https://github\.com/acme/(aa?){900}c`)), `the expressions of "ci" and "audit" are too large to be compared: write shorter ones`},
	} {
		t.Run(name, func(t *testing.T) {
			configuration, err := Compile(test.trust)
			if err == nil || configuration != nil {
				t.Fatalf("Compile gave %v and the error %v, want no configuration and an error with %q", configuration, err, test.want)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error\n%v\nwant one with\n%s", err, test.want)
			}
		})
	}
}

func attesting(predicateType, age string) *Trust {
	return requiring(func(t *Trust, _ *Requirement) {
		t.Authorities[0].Attestations = []AttestationRequirement{{PredicateType: predicateType, MaxAge: age}}
	})
}

// twins makes audit an authority with the identity of ci, changed, and requires both. ci may
// get another subject first.
func twins(change func(*Identity), subject ...string) func(*Trust, *Requirement) {
	return func(t *Trust, r *Requirement) {
		for _, expression := range subject {
			t.Authorities[1].Identities[0].SubjectRegExp = expression
		}
		t.Authorities[2].Keys = nil
		t.Authorities[2].Identities = keyless().Identities
		change(&t.Authorities[2].Identities[0])
		r.AnyOf, r.AtLeast = nil, &AtLeast{2, []string{"ci", "audit", "release"}}
	}
}

// dsaKey is a key of a kind that is refused (RFC 3279, section 2.3.2), in small numbers.
func dsaKey() []byte {
	type parameters struct{ P, Q, G *big.Int }
	type algorithm struct {
		Algorithm  asn1.ObjectIdentifier
		Parameters parameters
	}
	public := must(asn1.Marshal(big.NewInt(8)))
	return must(asn1.Marshal(struct {
		Algorithm algorithm
		PublicKey asn1.BitString
	}{
		algorithm{asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, parameters{big.NewInt(23), big.NewInt(11), big.NewInt(4)}},
		asn1.BitString{Bytes: public, BitLength: len(public) * 8},
	}))
}

func TestExpressionsThatTrustEverybodyAreRefused(t *testing.T) {
	for _, expression := range []string{
		`.*`, `.+`, `^.*$`, `^.+$`, `(.*)`, `(?s).*`, `(?s:.+)`, `.*.*`, `.{1,}`, `[\s\S]*`, `[^/].*`, `\S+`, `\S*`, `(a|.*)`, `(?i).*`, `^`, `$`, `()`, `a?`, `a*`,
		`https?://.*`, `https://.+`, `https://[^/]+/.*`, `.+@.+`, `[^@]+@[^@]+`, `.*\.invalid.*`, `https.*|acme`, `.*/\.github/workflows/.*`, `spiffe://.*`,
		`.{12,}`, `[^9].{20,}`, `.*com`, `x|acme-release`, `...`, `\w+@\w+`, `.*\.yml@.*`, `.*\x2egserviceaccount\.com`,
		`https://github.com/.*`, `https://github.com/[^/]+/[^/]+/.github/workflows/release.yml@.*`, `https://gitlab\.com/.*`, `.*@gmail\.com`, `.*@users.noreply.github.com`, `\Q\E.*`,
	} {
		for side, trust := range map[string]*Trust{
			"subject": withSubject(expression),
			"issuer":  withIdentity(func(i *Identity) { i.Issuer, i.IssuerRegExp = "", expression }),
		} {
			if configuration, err := Compile(trust); err == nil {
				t.Errorf("the %s %q was taken: %+v", side, expression, configuration.authorities[0].identities)
			} else if !strings.Contains(err.Error(), side+"RegExp") {
				t.Errorf("the %s %q: got the error %v, want one that names the place", side, expression, err)
			}
		}
	}
}

func TestExpressionsThatNameSomebodyAreTaken(t *testing.T) {
	for expression, subject := range map[string]string{
		`https://github\.com/acme/.*`:                      "https://github.com/acme/app/.github/workflows/a.yml@refs/heads/main",
		`^https://github\.com/acme/.*$`:                    "https://github.com/acme/app",
		`.*@acme\.com`:                                     "jane@acme.com",
		`(jane|joe)@acme\.com`:                             "joe@acme.com",
		`(?i)https://GITHUB\.com/acme/app`:                 "https://github.com/acme/app",
		`\Qhttps://github.com/acme/app`:                    "https://github.com/acme/app",
		`(?m)https://github\.com/acme/app$`:                "https://github.com/acme/app",
		`https://gitlab\.com/acme/.*//\.gitlab-ci\.yml@.*`: "https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main",
		`.+@x\.io`: "a@x.io",
	} {
		configuration, err := Compile(withSubject(expression))
		if err != nil {
			t.Errorf("%q: got the error %v, want none", expression, err)
			continue
		}
		if ok, why := configuration.authorities[0].Accepts(CertificateClaims{Issuer: keyless().Identities[0].Issuer, Subject: subject}); !ok {
			t.Errorf("%q does not accept %q: %s", expression, subject, why)
		}
	}
}

func TestAnExpressionMayLeaveTheOwnerToTheRepositoryClaim(t *testing.T) {
	trust := withIdentity(func(i *Identity) {
		i.SubjectRegExp = `https://github\.com/[^/]+/[^/]+/\.github/workflows/build\.yaml@refs/tags/v.*`
		i.GitHubWorkflow = &GitHubWorkflow{Repository: "acme/app"}
	})
	if _, err := Compile(trust); err != nil {
		t.Errorf("got the error %v, want none", err)
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	trust := requiring(func(t *Trust, r *Requirement) {
		t.Authorities[0].Images = []string{"nginx", "GHCR.io/x"}
		t.Authorities[1].Identities[0].Issuer = ""
		r.AnyOf = []string{"nobody"}
		t.VEX = []string{"nobody"}
	})
	_, err := Compile(trust)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got the error %v, want a list", err)
	}
	if got := len(joined.Unwrap()); got != 5 {
		t.Errorf("got %d mistakes, want 5:\n%v", got, err)
	}
}

func TestExpressionsThatMeet(t *testing.T) {
	for name, test := range map[string]struct{ a, b, want string }{
		"the same":                         {`https://github\.com/acme/.*`, `https://github\.com/acme/.*`, "https://github.com/acme/"},
		"one within the other":             {`https://github\.com/acme/.*`, `https://github\.com/acme/app/.*@refs/tags/v.*`, "https://github.com/acme/app/@refs/tags/v"},
		"two that cross":                   {`https://github\.com/acme/.*@refs/heads/main`, `https://github\.com/acme/app/.*`, "https://github.com/acme/app/@refs/heads/main"},
		"two repositories":                 {`https://github\.com/acme/app/.*`, `https://github\.com/acme/web/.*`, ""},
		"two ends":                         {`https://github\.com/acme/.*@refs/heads/main`, `https://github\.com/acme/.*@refs/tags/v[0-9]+`, ""},
		"two lengths":                      {`acme-[a-z]{3}`, `acme-[a-z]{4}`, ""},
		"two lengths that meet":            {`acme-([a-z]{2})+`, `acme-([a-z]{3})+`, "acme-aaaaaa"},
		"classes that meet in a character": {`acme-[a-m]`, `acme-[m-z]`, "acme-m"},
		"classes that do not meet":         {`acme-[a-m]`, `acme-[n-z]`, ""},
		"another case":                     {`(?i)acme-app`, `ACME-APP`, "ACME-APP"},
		"an alternative":                   {`jane@acme\.com|joe@acme\.com`, `joe@acme\.com|jim@acme\.com`, "joe@acme.com"},
		"no line break":                    {`acme.x`, `acme\nx`, ""},
		"any character":                    {`(?s)acme.x`, `acme\nx`, "acme\nx"},
		"anchors inside":                   {`^acme-a$`, `acme-[ab]`, "acme-a"},
	} {
		a, b := matcher{expression: must(compileAnchored(test.a)), text: test.a}, matcher{expression: must(compileAnchored(test.b)), text: test.b}
		for _, pair := range [][2]matcher{{a, b}, {b, a}} {
			steps := overlapSteps
			got, known := pair[0].meets(&pair[1], &steps)
			if !known || got != test.want {
				t.Errorf("%s: got %q, known %v, want %q", name, got, known, test.want)
			}
			if got != "" && (!pair[0].matches(got) || !pair[1].matches(got)) {
				t.Errorf("%s: %q is not matched by both", name, got)
			}
		}
	}
}

func TestClaimsTellIdentitiesApart(t *testing.T) {
	trust := requiring(twins(func(i *Identity) { i.GitHubWorkflow = &GitHubWorkflow{Ref: "refs/tags/v1"} }))
	trust.Authorities[1].Identities[0].GitHubWorkflow = &GitHubWorkflow{Ref: "refs/tags/v2"}
	if _, err := Compile(trust); err != nil {
		t.Errorf("got the error %v, want none: no certificate has both refs", err)
	}
}

func TestPatternsThatMeet(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"ghcr.io/acme/**", "ghcr.io/acme/app"}:      true,
		{"ghcr.io/acme/**", "ghcr.io/**/app"}:        true,
		{"ghcr.io/acme/*", "ghcr.io/acme/a/*"}:       false,
		{"ghcr.io/acme/app-*", "ghcr.io/acme/*-b"}:   true,
		{"ghcr.io/acme/a-*", "ghcr.io/acme/b-*"}:     false,
		{"**", "localhost:5000/app"}:                 true,
		{"*.example.com/**", "a.example.com/x"}:      true,
		{"*.example.com/**", "a.b.example.com/x"}:    false,
		{"*.example.com/**", "a.example.com:5000/x"}: false,
		{"ghcr.io/**", "ghcr.io/*"}:                  true,
		{"[::1]:5000/**", "[::1]:5000/a"}:            true,
	} {
		a, b := must(parsePattern(pair[0])), must(parsePattern(pair[1]))
		for _, sides := range [][2]*pattern{{&a, &b}, {&b, &a}} {
			steps := overlapSteps
			got, known := intersect(sides[0].expression(), sides[1].expression(), &steps)
			if !known || (got != "") != want {
				t.Errorf("%s and %s: got %q, known %v, want them to meet: %v", sides[0].text, sides[1].text, got, known, want)
			}
		}
	}
}

func TestNothingTrustsNobody(t *testing.T) {
	compiled, err := Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Configuration{"compiled of nil": compiled, "the zero value": {}, "nil": nil} {
		if got := c.For("ghcr.io", "acme/app"); len(got) != 0 {
			t.Errorf("%s: For gave %v, want nobody", name, got)
		}
		if got := c.Required("ghcr.io", "acme/app"); len(got) != 0 {
			t.Errorf("%s: Required gave %v, want nothing", name, got)
		}
		if c.Scanner("") || c.VEX("") || c.NeedsTrustedRoot() || c.Authority("") != nil {
			t.Errorf("%s trusts somebody", name)
		}
	}
	if ok, _ := new(CheckedAuthority).Accepts(CertificateClaims{}); ok {
		t.Error("the zero authority accepts empty claims")
	}
	if new(CheckedAuthority).MaySign("ghcr.io", "acme/app") {
		t.Error("the zero authority may sign")
	}
	if (&checkedIdentity{}).accepts(&CertificateClaims{}) == "" {
		t.Error("the zero identity accepts empty claims")
	}
}

func TestRequirementsAreFlattened(t *testing.T) {
	trust := requiring(func(t *Trust, _ *Requirement) {
		t.Authorities[0].Attestations = []AttestationRequirement{{PredicateType: "https://slsa.dev/provenance/v1", MaxAge: "720h"}, {PredicateType: "https://spdx.dev/Document"}}
		t.Requirements = []Requirement{
			{Name: "any", Images: []string{"ghcr.io/acme/**"}, AnyOf: []string{"release", "ci"}},
			{Name: "all", Images: []string{"**"}, AllOf: []string{"ci", "audit"}},
			{Name: "two", Images: []string{"ghcr.io/acme/app"}, AtLeast: &AtLeast{2, []string{"release", "ci", "audit"}}},
			{Name: "elsewhere", Images: []string{"docker.io/library/*"}, AnyOf: []string{"audit"}},
		}
	})
	configuration, err := Compile(trust)
	if err != nil {
		t.Fatal(err)
	}
	attestations := `[{"predicateType":"https://slsa.dev/provenance/v1","maxAge":2592000},{"predicateType":"https://spdx.dev/Document","maxAge":0}]`
	want := `[{"name":"any","count":1,"authorities":[{"name":"release","attestations":` + attestations + `},{"name":"ci","attestations":[]}]},` +
		`{"name":"all","count":2,"authorities":[{"name":"ci","attestations":[]},{"name":"audit","attestations":[]}]},` +
		`{"name":"two","count":2,"authorities":[{"name":"release","attestations":` + attestations + `},{"name":"ci","attestations":[]},{"name":"audit","attestations":[]}]}]`
	got := must(json.Marshal(configuration.Required("ghcr.io", "acme/app")))
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAuthoritiesAreThoseOfTheImageInTheOrderOfTheBundle(t *testing.T) {
	configuration, err := Compile(requiring(func(*Trust, *Requirement) {}))
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string][]string{"ghcr.io/acme/app": {"release", "ci", "audit"}, "ghcr.io/acme-evil/app": {"audit"}} {
		registry, repository, _ := strings.Cut(image, "/")
		var got []string
		for _, authority := range configuration.For(registry, repository) {
			got = append(got, authority.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", image, got, want)
		}
	}
}

func TestKeysHaveTheFingerprintOfTheirKey(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]crypto.PublicKey{
		"ECDSA P-256": ecdsaKey(elliptic.P256()).Public(), "ECDSA P-384": ecdsaKey(elliptic.P384()).Public(), "ECDSA P-521": ecdsaKey(elliptic.P521()).Public(),
		"RSA": soundRSA().Public(), "Ed25519": private.Public(),
	} {
		configuration, err := Compile(withKey(publicPEM(public)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		key := configuration.Authority("release").PublicKeys[0]
		if equal, ok := key.Key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !equal.Equal(public) {
			t.Errorf("%s: got the key %v, want %v", name, key.Key, public)
		}
		if len(key.Fingerprint) != len("sha256:")+64 {
			t.Errorf("%s: got the fingerprint %q", name, key.Fingerprint)
		}
	}
}

func TestTheHashIsOfWhatIsSaid(t *testing.T) {
	full := func(change func(*Trust)) *Trust {
		return requiring(func(t *Trust, r *Requirement) {
			t.Scanners, t.VEX = []string{"audit", "ci"}, []string{"audit", "ci"}
			t.Authorities[0].Images = []string{"ghcr.io/acme/**", "docker.io/acme/*"}
			t.Authorities[0].Attestations = []AttestationRequirement{{PredicateType: "https://a.b/c", MaxAge: "60m"}, {PredicateType: "https://a.b/d"}}
			r.AnyOf = []string{"release", "ci"}
			change(t)
		})
	}
	hash := func(trust *Trust) string {
		configuration, err := Compile(trust)
		if err != nil {
			t.Fatal(err)
		}
		return configuration.Hash()
	}
	base := hash(full(func(*Trust) {}))
	for name, change := range map[string]func(*Trust){
		"the order of authorities":   func(t *Trust) { slices.Reverse(t.Authorities) },
		"the order of images":        func(t *Trust) { slices.Reverse(t.Authorities[0].Images) },
		"the order of attestations":  func(t *Trust) { slices.Reverse(t.Authorities[0].Attestations) },
		"the order of scanners":      func(t *Trust) { slices.Reverse(t.Scanners) },
		"the order of a requirement": func(t *Trust) { slices.Reverse(t.Requirements[0].AnyOf) },
		"line ends in a key":         func(t *Trust) { t.Authorities[0].Keys[0].PEM = strings.ReplaceAll(keyA(), "\n", "\r\n") + "\n" },
		"another word for an age":    func(t *Trust) { t.Authorities[0].Attestations[0].MaxAge = "1h" },
	} {
		if got := hash(full(change)); got != base {
			t.Errorf("%s changes the hash", name)
		}
	}
	counted := func(of ...string) *Trust {
		return full(func(t *Trust) { r := &t.Requirements[0]; r.AtLeast, r.AnyOf = &AtLeast{1, of}, nil })
	}
	if hash(counted("release", "ci")) != hash(counted("ci", "release")) {
		t.Error("the order of N of M changes the hash")
	}
	seen := map[string]string{base: "the base"}
	for name, change := range map[string]func(*Trust){
		"another key":           func(t *Trust) { t.Authorities[0].Keys[0].PEM = publicPEM(ecdsaKey(elliptic.P256()).Public()) },
		"another name of a key": func(t *Trust) { t.Authorities[0].Keys[0].Name = "x" },
		"another pattern":       func(t *Trust) { t.Authorities[0].Images[0] = "ghcr.io/acme/*" },
		"another subject":       func(t *Trust) { t.Authorities[1].Identities[0].SubjectRegExp = "https://github.com/acme/app" },
		"an exact subject": func(t *Trust) {
			i := &t.Authorities[1].Identities[0]
			i.SubjectRegExp, i.Subject = "", "https://github.com/acme/app"
		},
		"a claim": func(t *Trust) {
			t.Authorities[1].Identities[0].GitHubWorkflow = &GitHubWorkflow{Ref: "refs/heads/main"}
		},
		"another age":    func(t *Trust) { t.Authorities[0].Attestations[0].MaxAge = "2h" },
		"an annotation":  func(t *Trust) { t.Authorities[0].Annotations = map[string]string{"a": "b"} },
		"the log":        func(t *Trust) { t.Authorities[0].TransparencyLog = true },
		"all platforms":  func(t *Trust) { t.Authorities[0].AllPlatforms = true },
		"fewer scanners": func(t *Trust) { t.Scanners = t.Scanners[:1] },
		"fewer of VEX":   func(t *Trust) { t.VEX = t.VEX[:1] },
		"another form":   func(t *Trust) { r := &t.Requirements[0]; r.AllOf, r.AnyOf = r.AnyOf, nil },
		"another count":  func(t *Trust) { r := &t.Requirements[0]; r.AtLeast, r.AnyOf = &AtLeast{1, r.AnyOf}, nil },
		"no requirement": func(t *Trust) { t.Requirements, t.Authorities[0].Attestations = nil, nil },
	} {
		got := hash(full(change))
		if other, taken := seen[got]; taken {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[got] = name
	}
}

func TestAChangeAfterCompilingChangesNothing(t *testing.T) {
	trust := &Trust{Authorities: []Authority{keyless()}}
	trust.Authorities[0].Identities[0].GitHubWorkflow = &GitHubWorkflow{Ref: "refs/heads/main"}
	configuration, err := Compile(trust)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("%+v", *configuration.Authority("ci").Identities[0].GitHubWorkflow)
	trust.Authorities[0].Images[0] = "**"
	trust.Authorities[0].Identities[0].GitHubWorkflow.Ref = "x"
	if got := configuration.Authority("ci").Images[0]; got != "ghcr.io/acme/**" {
		t.Errorf("got the pattern %q after a change, want the old one", got)
	}
	if got := fmt.Sprintf("%+v", *configuration.Authority("ci").Identities[0].GitHubWorkflow); got != before {
		t.Errorf("got the claims %s, want %s", got, before)
	}
}

func TestATrustedRootIsNeededForIdentitiesAndTheLog(t *testing.T) {
	for name, test := range map[string]struct {
		trust *Trust
		want  bool
	}{
		"a key":                         {&Trust{Authorities: []Authority{release()}}, false},
		"a key with a transparency log": {with(release(), func(a *Authority) { a.TransparencyLog = true }), true},
		"a keyless identity":            {&Trust{Authorities: []Authority{keyless()}}, true},
		"a key, and a keyless identity": {&Trust{Authorities: []Authority{release(), keyless()}}, true},
	} {
		configuration, err := Compile(test.trust)
		if err != nil {
			t.Fatal(err)
		}
		if got := configuration.NeedsTrustedRoot(); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
