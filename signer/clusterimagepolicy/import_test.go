package clusterimagepolicy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/clusterimagepolicy"
)

const pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOc6HkISHzVdUbtUsdjYtPuyPYBeg\n4FCemyVurIM4KEORQk4OAu8ZNwxvGSoY3eAabYaFIPPQ8ROAjrbdPwNdJw==\n-----END PUBLIC KEY-----\n"

// policy is a ClusterImagePolicy with a spec in JSON.
func policy(version, name, spec string) string {
	return fmt.Sprintf("apiVersion: policy.sigstore.dev/%s\nkind: ClusterImagePolicy\nmetadata: {name: %s}\nspec: %s\n", version, name, spec)
}

// quoted is a text in JSON.
func quoted(text string) string {
	raw, _ := json.Marshal(text)
	return string(raw)
}

// byKey is the spec of a policy with one key, and whatever more its authority says.
func byKey(more string) string {
	return `{"images": [{"glob": "ghcr.io/acme/**"}], "authorities": [{"name": "release", "key": {"data": ` + quoted(pem) + `}` + more + `}]}`
}

// byIdentity is the spec of a policy with one identity.
func byIdentity(identity, more string) string {
	return `{"images": [{"glob": "ghcr.io/acme/**"}], "authorities": [{"keyless": {"identities": [` + identity + `]}` + more + `}]}`
}

const github = `{"issuer": "https://token.actions.githubusercontent.com", "subject": "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"}`

func notesOf(notes []clusterimagepolicy.Note) string {
	var lines []string
	for _, note := range notes {
		lines = append(lines, note.String())
	}
	return strings.Join(lines, "\n")
}

func TestPoliciesBecomeTrust(t *testing.T) {
	content := policy("v1beta1", "ours", byKey(`, "ctlog": {}, "attestations": [{"name": "sbom", "predicateType": "spdxjson"}]`)) + "---\n" +
		policy("v1alpha1", "theirs", byIdentity(github, `, "ctlog": {"url": "https://rekor.sigstore.dev"}`))
	got, notes, err := clusterimagepolicy.Import([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	want := &signer.Trust{
		Authorities: []signer.Authority{
			{
				Name: "ours/release", Images: []string{"ghcr.io/acme/**"}, Keys: []signer.Key{{PEM: pem, Name: "ours/release"}},
				Attestations: []signer.AttestationRequirement{{PredicateType: "https://spdx.dev/Document"}},
			},
			{
				Name: "theirs/authority-0", Images: []string{"ghcr.io/acme/**"},
				Identities: []signer.Identity{{
					Issuer:  "https://token.actions.githubusercontent.com",
					Subject: "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main",
				}},
			},
		},
		Requirements: []signer.Requirement{
			{Name: "ours", Images: []string{"ghcr.io/acme/**"}, AnyOf: []string{"ours/release"}},
			{Name: "theirs", Images: []string{"ghcr.io/acme/**"}, AnyOf: []string{"theirs/authority-0"}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if said := notesOf(notes); len(notes) != 2 || !strings.Contains(said, `"sbom" is left out`) || !strings.Contains(said, "has to be signed by the authority, too") {
		t.Errorf("got notes %s, want one of the name and one of the signature", said)
	}
}

func TestExamplesOfPolicyController(t *testing.T) {
	read := func(name string) []byte {
		content, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	trust, notes, err := clusterimagepolicy.Import(read("release-signed-by-github-actions.yaml"))
	if err != nil || len(trust.Requirements) != 1 || trust.Requirements[0].Images[0] != "gcr.io/projectsigstore/policy-webhook" {
		t.Errorf("got %+v, %v, want a requirement about the repository", trust, err)
	}
	if said := notesOf(notes); !strings.Contains(said, "all tags and digests") {
		t.Errorf("got notes %q, want one of the digest", said)
	}
	_, _, err = clusterimagepolicy.Import(read("custom-key-attestation-sbom-spdxjson.yaml"))
	if err == nil || !strings.Contains(err.Error(), "spec.authorities[0].attestations[0].policy: its CUE policy is not run here") {
		t.Errorf("got %v, want an error about the CUE policy", err)
	}
}

// TestNothingIsDroppedSilently has each field that is not carried over, with what is said of it.
func TestNothingIsDroppedSilently(t *testing.T) {
	cases := map[string]struct{ content, note string }{
		"the mode warn":                {policy("v1beta1", "p", strings.Replace(byKey(""), `{"images"`, `{"mode": "warn", "images"`, 1)), "give the instance of images/signed the enforcement warn"},
		"a match of resources":         {policy("v1beta1", "p", strings.Replace(byKey(""), `{"images"`, `{"match": [{"group": "apps", "version": "v1", "resource": "deployments"}], "images"`, 1)), "wherever they run"},
		"no word of a log":             {policy("v1beta1", "p", byKey("")), "remove transparencyLog"},
		"a log of one's own":           {policy("v1beta1", "p", byKey(`, "ctlog": {"url": "https://rekor.acme.example"}`)), "the log of rekor.acme.example and no others"},
		"a log of a trust root":        {policy("v1beta1", "p", byKey(`, "ctlog": {"trustRootRef": "mine"}`)), "TrustRoot mine"},
		"a Fulcio of one's own":        {policy("v1beta1", "p", strings.Replace(byIdentity(github, ""), `"keyless": {`, `"keyless": {"url": "https://fulcio.acme.example", `, 1)), "that of fulcio.acme.example"},
		"a trust root":                 {policy("v1beta1", "p", strings.Replace(byIdentity(github, ""), `"keyless": {`, `"keyless": {"trustRootRef": "mine", `, 1)), "those of TrustRoot mine"},
		"certificates without an SCT":  {policy("v1beta1", "p", strings.Replace(byIdentity(github, ""), `"keyless": {`, `"keyless": {"insecureIgnoreSCT": true, `, 1)), "not turned off"},
		"another place of signatures":  {policy("v1beta1", "p", byKey(`, "source": [{"oci": "ghcr.io/acme/signatures"}]`)), "not in ghcr.io/acme/signatures"},
		"credentials":                  {policy("v1beta1", "p", byKey(`, "source": [{"signaturePullSecrets": [{"name": "x"}]}]`)), "credentials that the webhook has"},
		"a prefix of tags":             {policy("v1beta1", "p", byKey(`, "source": [{"tagPrefix": "x"}]`)), "tags of another name"},
		"a timestamp":                  {policy("v1beta1", "p", byIdentity(github, `, "rfc3161timestamp": {"trustRootRef": "mine"}`)), "a timestamp alone is not enough"},
		"a format":                     {policy("v1beta1", "p", byKey(`, "signatureFormat": "bundle"`)), "either format"},
		"an object without a kind":     {policy("v1beta1", "p", byKey("")) + "---\nfoo: bar\n", "a document: it is no ClusterImagePolicy"},
		"another object":               {policy("v1beta1", "p", byKey("")) + "---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n", "ConfigMap x: it is no ClusterImagePolicy"},
		"a TrustRoot":                  {policy("v1beta1", "p", byKey("")) + "---\nkind: TrustRoot\napiVersion: policy.sigstore.dev/v1alpha1\nmetadata: {name: x}\n", "TrustRoot x: trusted roots are no part"},
		"an authority that passes":     {policy("v1beta1", "p", strings.Replace(byKey(""), `"authorities": [`, `"authorities": [{"static": {"action": "pass"}}, `, 1)), "no requirement is made"},
		"one that fails among others":  {policy("v1beta1", "p", strings.Replace(byKey(""), `"authorities": [`, `"authorities": [{"static": {"action": "fail", "message": "no"}}, `, 1)), "adds nothing to the others"},
		"an expression without an end": {policy("v1beta1", "p", byIdentity(`{"issuer": "https://token.actions.githubusercontent.com", "subjectRegExp": "^https://github\\.com/acme/"}`, "")), "is open at its end"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, notes, err := clusterimagepolicy.Import([]byte(c.content))
			if err != nil {
				t.Fatal(err)
			}
			if said := notesOf(notes); !strings.Contains(said, c.note) {
				t.Errorf("got notes\n%s\nwant one with %q", said, c.note)
			}
		})
	}
}

// TestWhatWouldBeWeakerIsAnError has what would admit an image that policy-controller refuses.
func TestWhatWouldBeWeakerIsAnError(t *testing.T) {
	replace := func(old, new string) string { return policy("v1beta1", "p", strings.Replace(byKey(""), old, new, 1)) }
	identity := func(text string) string { return policy("v1beta1", "p", byIdentity(text, "")) }
	cases := map[string]struct{ content, want string }{
		"a Rego policy of all":                  {replace(`{"images"`, `{"policy": {"type": "rego", "data": "x"}, "images"`), "spec.policy: its Rego policy"},
		"a CUE policy of an attestation":        {policy("v1beta1", "p", byKey(`, "attestations": [{"name": "x", "predicateType": "vuln", "policy": {"type": "cue", "data": "x"}}]`)), "its CUE policy"},
		"a key in a Secret":                     {replace(`"data": `+quoted(pem), `"secretRef": {"name": "cosign"}`), "kubectl get secret -n cosign-system cosign"},
		"a key of a key manager":                {replace(`"data": `+quoted(pem), `"kms": "awskms:///x"`), "cosign public-key --key awskms:///x"},
		"a hash that is not verified":           {replace(`"key": {`, `"key": {"hashAlgorithm": "sha512", `), "sign with sha256"},
		"a certificate authority":               {policy("v1beta1", "p", strings.Replace(byIdentity(github, ""), `"keyless": {`, `"keyless": {"ca-cert": {"data": "x"}, `, 1)), "trusted root of its own"},
		"a timestamp of a key":                  {policy("v1beta1", "p", byKey(`, "rfc3161timestamp": {}`)), "demand a transparency log"},
		"only an authority that fails":          {policy("v1beta1", "p", `{"images": [{"glob": "**"}], "authorities": [{"static": {"action": "fail"}}]}`), "all images are refused"},
		"no authorities":                        {policy("v1beta1", "p", `{"images": [{"glob": "**"}]}`), "name who may sign"},
		"no identities":                         {identity(""), "anybody could sign"},
		"an identity without a subject":         {identity(`{"issuer": "https://accounts.google.com"}`), "there is none, so anybody would do"},
		"an expression in the middle":           {identity(`{"issuer": "https://accounts.google.com", "subjectRegExp": "github.com/acme/"}`), "begin it with ^"},
		"alternatives without brackets":         {identity(`{"issuer": "https://accounts.google.com", "subjectRegExp": "^https://a.example/x|https://b.example/y$"}`), "begin it with ^"},
		"an expression of everybody":            {identity(`{"issuerRegExp": ".*", "subject": "a@acme.example"}`), "everybody would be trusted"},
		"an expression of all users of a host":  {identity(`{"issuer": "https://token.actions.githubusercontent.com", "subjectRegExp": "^https://github\\.com/"}`), "spell out the owner"},
		"a field that is not known":             {replace(`{"images"`, `{"exclude": [], "images"`), "unknown field"},
		"a version that is not known":           {strings.Replace(replace("", ""), "v1beta1", "v2", 1), "is not known"},
		"a policy that is there twice":          {replace("", "") + "---\n" + replace("", ""), "is there twice"},
		"a policy behind a marker with a space": {replace("", "") + "--- \n" + replace("", ""), "is there twice"},
		"no policy at all":                      {"kind: ConfigMap\napiVersion: v1\n", "there is no ClusterImagePolicy"},
		"no images":                             {policy("v1beta1", "p", `{"images": [], "authorities": []}`), "spec.images: there are none"},
		"a mode that is not known":              {replace(`{"images"`, `{"mode": "off", "images"`), "neither enforce nor warn"},
		"a key and identities at once":          {replace(`"key": {`, `"keyless": {"identities": [`+github+`]}, "key": {`), "exactly one of"},
		"a predicate type that is no URI":       {policy("v1beta1", "p", byKey(`, "attestations": [{"name": "x", "predicateType": "sbom"}]`)), "no absolute URI"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			trust, _, err := clusterimagepolicy.Import([]byte(c.content))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", trust, err, c.want)
			}
		})
	}
}

func TestGlobsBecomePatternsThatCoverThem(t *testing.T) {
	cases := map[string]struct{ glob, want string }{
		"everything":                         {"**", "**"},
		"a folder and all below":             {"ghcr.io/acme/**", "ghcr.io/acme/**"},
		"a folder":                           {"ghcr.io/acme/*", "ghcr.io/acme/*"},
		"a repository with every tag":        {"ghcr.io/acme/app:*", "ghcr.io/acme/app"},
		"one tag":                            {"ghcr.io/acme/app:1.0", "ghcr.io/acme/app"},
		"a registry with a port":             {"registry.acme.example:5000/app:*", "registry.acme.example:5000/app"},
		"a prefix and all below":             {"ghcr.io/acme/app**", "ghcr.io/acme/app*/**"},
		"the hub's own name":                 {"index.docker.io/library/nginx*", "docker.io/library/nginx*"},
		"the hub's images, in short":         {"*", "docker.io/library/*"},
		"the hub's users, in short":          {"*/*", "docker.io/*/*"},
		"an image of the hub, in short":      {"nginx", "docker.io/library/nginx"},
		"a user's image of the hub":          {"acme/app*", "docker.io/acme/app*"},
		"folders in between":                 {"ghcr.io/acme/**/app*", "ghcr.io/acme/**/app*"},
		"text in between is refused":         {"ghcr.io/acme/a**b", ""},
		"any registry is refused":            {"**/app", ""},
		"a registry's beginning is refused":  {"ghcr**", ""},
		"capitals are refused":               {"ghcr.io/Acme/app", ""},
		"an expression is refused":           {"ghcr.io/(a|b)", ""},
		"another domain's labels is refused": {"*.io/acme/app*", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			trust, notes, err := clusterimagepolicy.Import([]byte(policy("v1beta1", "p", strings.Replace(byKey(`, "ctlog": {}`), "ghcr.io/acme/**", c.glob, 1))))
			if c.want == "" {
				if err == nil {
					t.Errorf("got %v, want an error", trust.Requirements[0].Images)
				}
				return
			}
			if err != nil || trust.Requirements[0].Images[0] != c.want {
				t.Fatalf("got %+v, %v, want %q", trust, err, c.want)
			}
			covers(t, c.glob, c.want, len(notes) > 0)
		})
	}
}

// references are images as policy-controller compares them, and as Portcullis names them.
var references = []struct{ full, registry, repository string }{
	{"index.docker.io/library/nginx:latest", "docker.io", "library/nginx"},
	{"index.docker.io/library/nginx-more:1", "docker.io", "library/nginx-more"},
	{"index.docker.io/acme/app:1", "docker.io", "acme/app"},
	{"ghcr.io/acme/app:1.0", "ghcr.io", "acme/app"},
	{"ghcr.io/acme/app:2.0", "ghcr.io", "acme/app"},
	{"ghcr.io/acme/app@sha256:" + strings.Repeat("a", 64), "ghcr.io", "acme/app"},
	{"ghcr.io/acme/app-more/web:1", "ghcr.io", "acme/app-more/web"},
	{"ghcr.io/acme/team/app:1", "ghcr.io", "acme/team/app"},
	{"ghcr.io/acme-evil/app:1", "ghcr.io", "acme-evil/app"},
	{"registry.acme.example:5000/app:1", "registry.acme.example:5000", "app"},
	{"evil.example/ghcr.io/acme/app:1", "evil.example", "ghcr.io/acme/app"},
}

// covers compares with what policy-controller makes of a glob (pkg/apis/glob/glob.go): the pattern has every image
// of the glob and, unless there is a note of it, no other.
func covers(t *testing.T, glob, pattern string, noted bool) {
	t.Helper()
	switch glob {
	case "*":
		glob = "index.docker.io/library/*"
	case "*/*":
		glob = "index.docker.io/*/*"
	}
	text := strings.ReplaceAll(strings.ReplaceAll(glob, ".", `\.`), "**", "#")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "*", "[^/]*"), "#", ".*")
	theirs := regexp.MustCompile("^" + text + "$")
	ours, err := signer.ParseImages([]string{pattern})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range references {
		want, got := theirs.MatchString(r.full), ours.Match(r.registry, r.repository)
		if want && !got || got && !want && !noted {
			t.Errorf("%q and %q: got %v of %s, policy-controller says %v", glob, pattern, got, r.full, want)
		}
	}
}

func TestListsAreRead(t *testing.T) {
	item := `{"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "%s"}, "spec": ` + byKey("") + `}`
	list := `{"apiVersion": "v1", "kind": "List", "items": [` + fmt.Sprintf(item, "a") + "," + fmt.Sprintf(item, "b") + `]}`
	trust, _, err := clusterimagepolicy.Import([]byte(list))
	if err != nil || len(trust.Requirements) != 2 {
		t.Errorf("got %+v, %v, want two requirements", trust, err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(policy("v1beta1", "p", byKey(`, "ctlog": {}`))))
	f.Add([]byte(policy("v1alpha1", "p", byIdentity(github, ""))))
	f.Add([]byte("kind: List\nitems: [{kind: List, items: []}]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		trust, _, err := clusterimagepolicy.Import(content)
		if err != nil {
			return
		}
		if _, err := signer.Compile(trust); err != nil {
			t.Errorf("got a trust configuration that is refused: %v", err)
		}
	})
}
