package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"sigs.k8s.io/yaml"
)

// verification writes a file that trusts a key for what is in a registry.
func verification(t *testing.T, host string, key *cosign.Key) string {
	t.Helper()
	content, err := yaml.Marshal(v1alpha1.Verification{Authorities: []signer.Authority{cosigntest.Authority(t, "release", host+"/acme/**", key)}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "verification.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestABundleOfARegistryJudgesWhenItIsSigned by whom the verification trusts.
func TestABundleOfARegistryJudgesWhenItIsSigned(t *testing.T) {
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	pushes, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	tree := newTree(t, bundleText("1", "red"))
	repository := server.Repository("acme/policies")
	digest, err := oci.Push(t.Context(), pushes, repository, "v1", tree)
	if err != nil {
		t.Fatal(err)
	}
	release, other := cosigntest.NewKey(t), cosigntest.NewKey(t)
	directory := t.TempDir()
	arguments := func(key *cosign.Key) []string {
		return []string{
			"--caller=open", "--no-cluster", "--certificate-dir=" + directory, "--listen=127.0.0.1:0", "--probes=127.0.0.1:0",
			"--allow-registry=" + server.Host(), "--plain-http-registry=" + server.Host(),
			"--bundle=oci://" + server.Host() + "/acme/policies@" + digest, "--bundle-verification=" + verification(t, server.Host(), key),
		}
	}
	refused := func(when string, key *cosign.Key, says string) {
		t.Helper()
		var stderr bytes.Buffer
		if code := run(t.Context(), arguments(key), nil, io.Discard, &stderr); code != exitInternal || !strings.Contains(stderr.String(), says) {
			t.Errorf("%s: exit code %d, %s, want %d and %q", when, code, &stderr, exitInternal, says)
		}
	}
	refused("before it is signed", release, "nobody has signed it")
	target := cosign.Target{Repository: repository, Digest: digest}
	if _, err := cosign.Sign(t.Context(), pushes, target, release, cosign.SignOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("signed by somebody else", other, "have it signed by an authority")

	p := start(t, arguments(release)...)
	https := client(t, directory)
	for node, allowed := range map[string]bool{"red": false, "blue": true} {
		if _, answer := send(t, https, p.url+"/validate?timeout=10s", onNode("u", "shop", node)); answer.Response.Allowed != allowed {
			t.Errorf("a pod on %s: allowed is %v, want %v", node, answer.Response.Allowed, allowed)
		}
	}
	if want := `"bundle":"test@1 (` + tree.Digest()[:19]; !strings.Contains(p.log.String(), want) {
		t.Errorf("the log is %s, want %s in it", p.log, want)
	}
}
