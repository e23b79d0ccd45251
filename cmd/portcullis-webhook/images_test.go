package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// signedBundle demands a signature of one key for the images of a registry.
func signedBundle(host, publicKey string) map[string]string {
	return map[string]string{
		"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\npolicies: [{policy: images/signed}]\ntrust:\n  authorities:\n  - name: release\n    images: [\"" + host + "/**\"]\n    keys:\n    - pem: |\n" + indent(publicKey, "        ") + "\n",
		"signed.rego": `# METADATA
# title: Signed
# description: Only signed images run.
# custom:
#   severity: high
#   match: {workload: any}
#   remediation: Sign the image.
package portcullis.images.signed

deny contains {"msg": sprintf("%s is not signed", [image.ref]), "path": image.path} if {
	some image in input.images
	count(image.signatures) == 0
}
`,
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by)
}

func podOf(image string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"CREATE","namespace":"shop",
"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"userInfo":{"username":"alice"},
"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[{"name":"a","image":"` + image + `"}]}}}}`
}

// TestImagesAreJudgedByTheirSignatures over HTTPS, from a real registry, and after a restart without it.
func TestImagesAreJudgedByTheirSignatures(t *testing.T) {
	server, err := registrytest.Start(registrytest.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // closed below
	registryClient, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	key := cosigntest.NewKey(t)
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	repository := server.Repository("acme/app")
	push := func(tag string) (digest string) {
		image, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := registryClient.PushImage(t.Context(), repository, tag, image)
		if err != nil {
			t.Fatal(err)
		}
		return pushed.Digest
	}
	signed := push("signed")
	push("unsigned")
	if _, err := cosign.Sign(t.Context(), registryClient, cosign.Target{Repository: repository, Digest: signed}, key, cosign.SignOptions{}); err != nil {
		t.Fatal(err)
	}
	bundle, certificates, cache := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, bundle, signedBundle(server.Host(), public))
	arguments := []string{"--caller=open", "--no-cluster", "--certificate-dir=" + certificates, "--bundle=" + bundle,
		"--registry-ca=" + server.AuthorityFile(), "--allow-registry=" + server.Host(), "--evidence-cache-dir=" + cache}

	p := start(t, arguments...)
	reviews := client(t, certificates)
	for image, want := range map[string]string{
		repository.String() + ":signed":    "",
		repository.String() + "@" + signed: "",
		repository.String() + ":unsigned":  ":unsigned is not signed",
		repository.String() + ":gone":      "cannot know the digest of " + repository.String() + ":gone (not found, " + server.Host() + ")",
		"169.254.169.254/latest:meta-data": "forbidden, 169.254.169.254",
		"127.0.0.1:1/not/allowed:1":        "forbidden, 127.0.0.1:1",
	} {
		_, answer := send(t, reviews, p.url+"/validate?timeout=10s", podOf(image))
		if answer.Response.Allowed != (want == "") || want != "" && !strings.Contains(answer.Response.Result.Message, want) {
			t.Errorf("%s: allowed %v, %+v, want %q", image, answer.Response.Allowed, answer.Response.Result, want)
		}
	}
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_evidence_lookups_total{outcome="miss",part="evidence"} 2`, `portcullis_evidence_lookups_total{outcome="hit",part="evidence"} 1`)
	p.stop()
	p.wait(t)

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	// The certificate of the registry is gone with it; nothing is asked of it either.
	p = start(t, "--caller=open", "--no-cluster", "--certificate-dir="+certificates, "--bundle="+bundle, "--allow-registry="+server.Host(), "--evidence-cache-dir="+cache)
	reviews = client(t, certificates)
	_, answer := send(t, reviews, p.url+"/validate?timeout=10s", podOf(repository.String()+"@"+signed))
	if !answer.Response.Allowed {
		t.Errorf("after a restart without the registry the signed image gets %+v, want it admitted", answer.Response.Result)
	}
	_, answer = send(t, reviews, p.url+"/validate?timeout=2s", podOf(repository.String()+":signed"))
	if answer.Response.Allowed || !strings.Contains(answer.Response.Result.Message, "cannot know the digest of") {
		t.Errorf("its tag gets %+v, want it denied since nobody can say what it stands for", answer.Response)
	}
}

// TestIdentitiesTakeATrustedRoot at the start and when the bundle changes.
func TestIdentitiesTakeATrustedRoot(t *testing.T) {
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(root, pki.TrustedRoot(), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := t.TempDir()
	keyless := signedBundle("ghcr.io", "")
	trust, _, _ := strings.Cut(keyless["bundle.yaml"], "    keys:")
	keyless["bundle.yaml"] = trust + "    identities: [{issuer: https://issuer.example.com, subject: https://github.com/acme/app}]\n"
	write(t, bundle, keyless)
	open := []string{"--caller=open", "--no-cluster", "--bundle=" + bundle}
	var stderr bytes.Buffer
	if code := run(t.Context(), append(open, "--listen=127.0.0.1:0", "--probes=127.0.0.1:0"), nil, io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "give --trusted-root") {
		t.Errorf("without a root: exit code %d, %q, want %d and --trusted-root", code, stderr.String(), exitUsage)
	}
	p := start(t, append(open, "--trusted-root="+root)...)
	waitForProbe(t, p.probes+"/readyz", 200, "[+] trusted root ok")
	if err := os.WriteFile(root, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitForProbe(t, p.probes+"/readyz", 200, "[+] trusted root ok", "[!] trusted root: reading the trusted root", "the last good one is used")
}

func TestMistakesInFlagsAboutImages(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := []string{"--caller=open", "--no-cluster", "--listen=127.0.0.1:0", "--probes=127.0.0.1:0"}
	for name, test := range map[string]struct {
		flag string
		code int
		says string
	}{
		"a root that is not there":          {"--trusted-root=/none", exitInternal, "correct --trusted-root"},
		"a root that is none":               {"--trusted-root=" + garbage, exitInternal, "correct --trusted-root"},
		"pull secrets without a cluster":    {"--use-pull-secrets", exitUsage, "leave one out"},
		"a queue without a cluster":         {"--queue-scans", exitUsage, "leave one out"},
		"no age":                            {"--evidence-cache-age=0s", exitUsage, "above 0"},
		"no memory":                         {"--evidence-cache-bytes=0", exitUsage, "above 0"},
		"a mirror of nothing":               {"--registry-mirror=mirror.example.com", exitUsage, "REGISTRY=HOST"},
		"a docker config that is not there": {"--registry-config=/none", exitInternal, "correct --registry-config"},
		"a folder that cannot be made":      {"--evidence-cache-dir=" + filepath.Join(garbage, "below"), exitInternal, "choose another --evidence-cache-dir"},
		"providers without their programs":  {"--credential-provider-config=" + garbage, exitUsage, "belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(t.Context(), append([]string{test.flag}, open...), nil, io.Discard, &stderr)
			if code != test.code || !strings.Contains(stderr.String(), test.says) {
				t.Errorf("exit code %d, %q, want %d and %q", code, stderr.String(), test.code, test.says)
			}
		})
	}
}

// TestABundleThatThisProcessCannotJudgeByIsNotActivated: its identities have no root.
func TestABundleThatThisProcessCannotJudgeByIsNotActivated(t *testing.T) {
	i := &images{flags: &imageFlags{}}
	dir := t.TempDir()
	write(t, dir, signedBundle("ghcr.io", testPublicKey(t)))
	loaded, err := (&flags{bundle: dir}).load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.accepts(loaded.Bundle); err != nil {
		t.Errorf("keys alone: %v, want no error", err)
	}
	manifest := signedBundle("ghcr.io", testPublicKey(t))["bundle.yaml"] + "    transparencyLog: true\n"
	write(t, dir, map[string]string{"bundle.yaml": manifest})
	loaded, err = (&flags{bundle: dir}).load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.accepts(loaded.Bundle); err == nil || !strings.Contains(err.Error(), "--trusted-root") {
		t.Errorf("with a transparency log: %v, want --trusted-root", err)
	}
}

func testPublicKey(t *testing.T) string {
	t.Helper()
	key, err := signertest.NewKey()
	if err != nil {
		t.Fatal(fmt.Errorf("making a key: %w", err))
	}
	return key.PEM()
}

type objectFunc func(digest string) ([]byte, error)

func (f objectFunc) Statement(_ context.Context, digest string) ([]byte, error) { return f(digest) }

// TestAScanInAnObjectCountsByItsSignatureOnly: anybody may have written the object.
func TestAScanInAnObjectCountsByItsSignatureOnly(t *testing.T) {
	release, other := cosigntest.NewKey(t), cosigntest.NewKey(t)
	repository := registry.Repository{Registry: "ghcr.io", Path: "acme/app"}
	image := cosign.Target{Repository: repository, Digest: registry.DigestOf([]byte("app"))}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{cosigntest.Authority(t, "scanner", "ghcr.io/acme/**", release)}, Scanners: []string{"scanner"}})
	if err != nil {
		t.Fatal(err)
	}
	statement := func(target cosign.Target, key *cosign.Key) ([]byte, error) {
		content, err := cosign.NewStatement(target, scanner.PredicateType, []byte(`{"scanner":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		return cosign.SignStatement(target, key, content, signer.FormatBundle)
	}
	for name, test := range map[string]struct {
		object func() ([]byte, error)
		want   int
		fault  bool
	}{
		"signed by who is trusted": {func() ([]byte, error) { return statement(image, release) }, 1, false},
		"signed by somebody else":  {func() ([]byte, error) { return statement(image, other) }, 0, false},
		"signed about another image": {func() ([]byte, error) {
			return statement(cosign.Target{Repository: repository, Digest: registry.DigestOf([]byte("other"))}, release)
		}, 0, false},
		"not signed":                 {func() ([]byte, error) { return []byte(`{"predicate":{}}`), nil }, 0, false},
		"none":                       {func() ([]byte, error) { return nil, nil }, 0, false},
		"an API server that is slow": {func() ([]byte, error) { return nil, errors.New("etcd is slow") }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			kept := &statements{objects: objectFunc(func(string) ([]byte, error) { return test.object() }), verifier: cosign.NewVerifier(cosign.Options{})}
			got, err := kept.Statements(t.Context(), repository, image.Digest, trust)
			if (err != nil) != test.fault || len(got) != test.want {
				t.Errorf("%d attestations, error %v, want %d, a fault: %v", len(got), err, test.want, test.fault)
			}
		})
	}
}

// TestAWebhookThatAsksForScansOrWritesEventsSaysThatItWrites, or the API server would not tell it of dry runs apart.
func TestAWebhookThatAsksForScansOrWritesEventsSaysThatItWrites(t *testing.T) {
	for flag, want := range map[string]string{"--queue-scans": "sideEffects: NoneOnDryRun", "--events": "sideEffects: NoneOnDryRun", "--queue-scans=false": "sideEffects: None\n"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"--print-config", "--service=a/b", flag}, nil, &stdout, &stderr); code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: no %q in\n%s", flag, want, stdout.String())
		}
	}
}
