package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

const (
	sigstoreJS     = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
	githubActions  = "https://token.actions.githubusercontent.com"
	sigstoreGo     = "github.com/sigstore/sigstore-go"
	cosignModule   = "github.com/sigstore/cosign/v2"
	provenanceHash = "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"
	olderHash      = "sha512:76176ffa33808b54602c7c35de5c6e9a4deb96066dba6533f50ac234f4f1f4c6b3527515dc17c06fbe2860030f410eee69ea20079bd3a2c6f3dcf3b329b10751"
	emptyImage     = "sha256:732112270d7e59418a8c080b134b24cabd67d250d0d0147a97ed95ba5c280aa4"
)

func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("locating module %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

// TestRealBundles judges what the public-good instance and npm have signed, and what differs from it
// by one thing.
func TestRealBundles(t *testing.T) {
	sgo, cosign, dir := moduleDir(t, sigstoreGo), moduleDir(t, cosignModule), t.TempDir()
	publicGood := filepath.Join(sgo, "pkg/testing/data/trusted-roots/public-good.json")
	provenance := filepath.Join(sgo, "pkg/testing/data/bundles/sigstore.js@2.0.0-provenance.sigstore.json")
	publish := filepath.Join(sgo, "examples/bundle-publish.json")
	image := filepath.Join(cosign, "pkg/cosign/testdata/oci-attestation.sigstore.json")
	imageRoot := filepath.Join(cosign, "pkg/cosign/testdata/trusted_root_pgi.json")
	key := filepath.Join(sgo, "examples/publish_key.pub")
	tampered := filepath.Join(dir, "tampered.json")
	tamper(t, provenance, tampered)
	write(t, filepath.Join(dir, "other.pub"), []byte(otherKey(t)))
	identity := func(bundle, subject, issuer, root, artifact string) []string {
		return []string{"verify-bundle", "--bundle", bundle, "--certificate-identity", subject, "--certificate-oidc-issuer", issuer, "--trusted-root", root, artifact}
	}
	for name, test := range map[string]struct {
		args []string
		good bool
	}{
		"provenance of npm":                 {identity(provenance, sigstoreJS, githubActions, publicGood, provenanceHash), true},
		"provenance of an older release":    {identity(filepath.Join(sgo, "examples/bundle-provenance.json"), sigstoreJS, githubActions, publicGood, olderHash), true},
		"an attestation about an image":     {identity(image, "cody@soyland.com", "https://github.com/login/oauth", imageRoot, emptyImage), true},
		"signed by npm's key":               {[]string{"verify-bundle", "--bundle", publish, "--key", key, "--trusted-root", publicGood, olderHash}, true},
		"signed by npm's key, without root": {[]string{"verify-bundle", "--bundle", publish, "--key", key, olderHash}, true},

		"another artifact":           {identity(provenance, sigstoreJS, githubActions, publicGood, olderHash), false},
		"another identity":           {identity(provenance, strings.Replace(sigstoreJS, "main", "evil", 1), githubActions, publicGood, provenanceHash), false},
		"part of the identity":       {identity(provenance, strings.TrimSuffix(sigstoreJS, "main"), githubActions, publicGood, provenanceHash), false},
		"another issuer":             {identity(provenance, sigstoreJS, "https://accounts.google.com", publicGood, provenanceHash), false},
		"another root":               {identity(provenance, sigstoreJS, githubActions, filepath.Join(sgo, "pkg/testing/data/trusted-roots/scaffolding.json"), provenanceHash), false},
		"a tampered bundle":          {identity(tampered, sigstoreJS, githubActions, publicGood, provenanceHash), false},
		"two signatures":             {identity(filepath.Join(sgo, "pkg/testing/data/bundles/dsse-2sigs.sigstore.json"), sigstoreJS, githubActions, publicGood, provenanceHash), false},
		"a key for an identity":      {identity(publish, sigstoreJS, githubActions, publicGood, olderHash), false},
		"an identity for a key":      {[]string{"verify-bundle", "--bundle", provenance, "--key", key, "--trusted-root", publicGood, provenanceHash}, false},
		"another key":                {[]string{"verify-bundle", "--bundle", publish, "--key", filepath.Join(dir, "other.pub"), "--trusted-root", publicGood, olderHash}, false},
		"another artifact for a key": {[]string{"verify-bundle", "--bundle", publish, "--key", key, "--trusted-root", publicGood, provenanceHash}, false},
		"a bundle that is not there": {identity(filepath.Join(dir, "none"), sigstoreJS, githubActions, publicGood, provenanceHash), false},
		"no root":                    {slices.DeleteFunc(identity(provenance, sigstoreJS, githubActions, publicGood, provenanceHash), func(s string) bool { return s == "--trusted-root" || s == publicGood }), false},
		"no command":                 {nil, false},
		"no identity":                {[]string{"verify-bundle", "--bundle", provenance, "--trusted-root", publicGood, provenanceHash}, false},
		"an issuer without identity": {[]string{"verify-bundle", "--bundle", provenance, "--certificate-oidc-issuer", githubActions, "--trusted-root", publicGood, provenanceHash}, false},
		"an empty root":              {identity(provenance, sigstoreJS, githubActions, filepath.Join(dir, "other.pub"), provenanceHash), false},
	} {
		t.Run(name, func(t *testing.T) { judge(t, test.args, test.good) })
	}
}

func judge(t *testing.T, args []string, good bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	want := map[bool]int{true: 0, false: 1}[good]
	if got := run(args, &stdout, &stderr); got != want {
		t.Errorf("got exit code %d, want %d\n%s%s", got, want, stdout.String(), stderr.String())
	}
	if !good && stderr.Len() == 0 {
		t.Error("got no reason")
	}
}

// TestFaults is what the conformance tests are made of: a file signed in a Sigstore of one's own, with one
// thing wrong.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	root, file := filepath.Join(dir, "root.json"), filepath.Join(dir, "file")
	write(t, root, pki.TrustedRoot())
	statement, err := signertest.Statement(emptyImage, "https://example.com/p", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, []byte("content"))
	identity := signertest.Identity{Issuer: githubActions, Subject: sigstoreJS, GitHubWorkflow: signer.GitHubWorkflow{Repository: "sigstore/sigstore-js"}}
	for name, test := range map[string]struct {
		fault signertest.Fault
		good  bool
	}{
		"nothing":                           {0, true},
		"no timestamp, but a log's":         {signertest.NoTimestamp, true},
		"no SCT":                            {signertest.NoSCT, false},
		"a wrong SCT":                       {signertest.WrongSCT, false},
		"an expired certificate":            {signertest.ExpiredCertificate, false},
		"an expired intermediate":           {signertest.ExpiredIntermediate, false},
		"an unknown authority":              {signertest.ForeignAuthority, false},
		"no log entry":                      {signertest.NoLogEntry, false},
		"another artifact's log entry":      {signertest.OtherLogEntry, false},
		"an unknown log":                    {signertest.ForeignLogEntry, false},
		"a wrong promise":                   {signertest.WrongPromise, false},
		"a wrong inclusion proof":           {signertest.WrongInclusion, false},
		"a wrong checkpoint":                {signertest.WrongCheckpoint, false},
		"a tampered signature":              {signertest.TamperedSignature, false},
		"a bare key instead of certificate": {signertest.KeyForCertificate, false},
	} {
		t.Run(name, func(t *testing.T) {
			var options []signertest.Option
			if test.fault != 0 {
				options = append(options, test.fault)
			}
			bundle, err := pki.SignStatement(identity, statement, options...)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "bundle.json")
			write(t, path, bundle)
			args := []string{"verify-bundle", "--bundle", path, "--certificate-identity", sigstoreJS, "--certificate-oidc-issuer", githubActions, "--trusted-root", root}
			judge(t, append(slices.Clone(args), emptyImage), test.good)
			judge(t, append(slices.Clone(args), file), false) // the statement is about something else
		})
	}
}

// tamper changes one bit of the payload.
func tamper(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var bundle map[string]any
	if err := json.Unmarshal(raw, &bundle); err != nil {
		t.Fatal(err)
	}
	envelope := bundle["dsseEnvelope"].(map[string]any)
	payload, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	payload[len(payload)/2] ^= 1
	envelope["payload"] = base64.StdEncoding.EncodeToString(payload)
	if raw, err = json.Marshal(bundle); err != nil {
		t.Fatal(err)
	}
	write(t, to, raw)
}

func otherKey(t *testing.T) string {
	t.Helper()
	key, err := signertest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key.PEM()
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
