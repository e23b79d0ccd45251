package cosign_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/cosign"
)

func TestRootsFollowTheirFile(t *testing.T) {
	first, _ := newPKI(t)
	second, _ := newPKI(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "trusted_root.json")
	writeFile(t, file, first.TrustedRoot())
	roots, err := cosign.NewRoots(file)
	if err != nil {
		t.Fatal(err)
	}
	_, before := roots.Current()
	v := cosign.NewVerifier(cosign.Options{Roots: roots})
	store := newMemory()
	form{format: "bundle"}.attach(t, second, nil, store, realDigest)
	trust := compile(t, form{}.authority(nil))
	if got := counted(verify(t, v, store, realDigest, trust)); got != 0 {
		t.Fatalf("got %d that count before the root is there, want none", got)
	}

	replace(t, file, second.TrustedRoot())
	if _, after := roots.Current(); after == before || !strings.HasPrefix(after, "sha256:") {
		t.Errorf("got hash %s after %s, want another", after, before)
	}
	if got := counted(verify(t, v, store, realDigest, trust)); got != 1 {
		t.Errorf("got %d that count with the new root, want 1", got)
	}

	replace(t, file, []byte("{"))
	if err := roots.Check(); err == nil || !strings.Contains(err.Error(), "it is no trusted_root.json") {
		t.Errorf("got %v for a broken file, want the reason", err)
	}
	if got := counted(verify(t, v, store, realDigest, trust)); got != 1 {
		t.Errorf("got %d that count with a broken file, want 1: the last good one stays", got)
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := roots.Check(); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("got %v without the file, want the next step", err)
	}
	replace(t, file, second.TrustedRoot())
	if err := roots.Check(); err != nil {
		t.Errorf("got %v after the file was restored, want nothing", err)
	}
}

// replace writes a file in one step, as the kubelet does with a ConfigMap's link, with a time of its own.
func replace(t *testing.T, file string, content []byte) {
	t.Helper()
	writeFile(t, file+".new", content)
	at := time.Date(2026, 1, 1, 0, 0, len(content)%60, len(content), time.UTC)
	if err := os.Chtimes(file+".new", at, at); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestRootsAreRefused(t *testing.T) {
	for name, content := range map[string]string{
		"nothing":                    "",
		"an empty object":            "{}",
		"a bundle":                   `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`,
		"one without parts":          `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`,
		"one with half a log":        `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"hashAlgorithm":"SHA2_256"}]}`,
		"one with half an authority": `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","certificateAuthorities":[{}],"timestampAuthorities":[{"certChain":{}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if roots, err := cosign.ParseRoots([]byte(content)); err == nil {
				t.Errorf("got %+v, want an error", roots)
			}
		})
	}
	if _, err := cosign.NewRoots(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("got no error for a file that is not there")
	}
}
