package registry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"`,
		`Basic realm="Registry Realm"`, `Negotiate, Basic realm=x, Bearer realm="a\"b", service=s`, `Bearer`, `Bearer realm`, `Bearer realm=`, `=`, `,,,`, `Bearer realm="`, "Bearer realm=\"a\\", `Negotiate abc==, Basic`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		bearer, realm, service, ok := registry.ParseChallenge(header)
		again, sameRealm, sameService, _ := registry.ParseChallenge(header)
		if bearer != again || realm != sameRealm || service != sameService {
			t.Errorf("%q is read in two ways", header)
		}
		if ok && bearer && realm == "" {
			t.Errorf("%q: a token server without an address", header)
		}
		if lower := strings.ToLower(header); !strings.Contains(lower, "bearer") && bearer || ok && !strings.Contains(lower, "b") {
			t.Errorf("%q is taken for a challenge", header)
		}
	})
}

func FuzzProviders(f *testing.F) {
	f.Add([]byte(providerConfig))
	f.Add([]byte("{}"))
	f.Add([]byte("providers: [{name: ../x}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		names, err := registry.ParseProviders(raw)
		if err != nil {
			return
		}
		for _, name := range names {
			if filepath.Base(name) != name || name == "." || name == ".." || strings.ContainsRune(name, 0) {
				t.Errorf("the program %q lies outside of its directory", name)
			}
		}
	})
}

func FuzzLayoutIndex(f *testing.F) {
	for _, seed := range []string{`{"manifests":[]}`, `{"manifests":[{"digest":"sha256:../../x"}]}`, `{"manifests":null}`, `[]`, `{"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","platform":{"os":"linux"}}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, index []byte) {
		directory := t.TempDir()
		for name, content := range map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": index} {
			if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := registry.NewLayout(directory)
		if err != nil {
			return
		}
		defer l.Close()
		for _, tag := range []string{"", "v1"} {
			if _, err := l.Resolve(t.Context(), nowhere, tag); err == nil {
				t.Errorf("%q: something was found in a layout without blobs", index)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = server.Close() })
	client, err := server.Client()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"schemaVersion":2,"layers":[]}`))
	f.Add([]byte(`{"manifests":[{"digest":"x"}]}`))
	f.Add([]byte(`{"annotations":{"a":1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		server.Inject(registrytest.Content(manifestType, raw))
		server.Forget()
		manifest, err := client.Resolve(t.Context(), server.Repository("acme/app"), "v1")
		if err != nil {
			wantKind(t, err, registry.Malformed)
			return
		}
		if got, want := manifest.Digest, registry.DigestOf(raw); got != want {
			t.Errorf("got the digest %s, want %s", got, want)
		}
		if _, err := manifest.Children(); err != nil && manifest.MediaType == manifestType {
			t.Error(err)
		}
	})
}
