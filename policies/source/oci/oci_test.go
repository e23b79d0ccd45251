package oci_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func TestASignedBundleIsVerifiedAgainWithoutItsRegistry(t *testing.T) {
	for _, shape := range registrytest.Shapes() {
		for _, format := range []string{signer.FormatBundle, signer.FormatLegacy} {
			t.Run(string(shape)+", as "+format, func(t *testing.T) {
				r := newRig(t, shape)
				key, tree := cosigntest.NewKey(t), sourcetest.NewTree(t, 7)
				digest := r.push("v7", tree)
				r.sign(digest, key, format)
				revision := r.fetch("v7")
				if err := r.server.Close(); err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("oci://%s@%s", r.repository, digest); revision.Origin != want {
					t.Errorf("got origin %s, want %s", revision.Origin, want)
				}
				for name, one := range map[string]*source.Revision{"fetched": revision, "stored": sourcetest.Stored(t, revision)} {
					signers, err := source.NewVerifier(source.VerifierOptions{}).Verify(t.Context(), one, trust(t, r.server.Host(), key))
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if want := []string{"release (key " + key.Fingerprint() + ")"}; !slices.Equal(signers, want) {
						t.Errorf("%s: got signers %q, want %q", name, signers, want)
					}
					if one.Tree.Digest() != tree.Digest() || one.Origin != revision.Origin || one.Version != revision.Version {
						t.Errorf("%s: got %s, %s, %s, want what was pushed", name, one.Tree.Digest(), one.Origin, one.Version)
					}
				}
			})
		}
	}
}

func TestWhatChangesMakesAnotherVersion(t *testing.T) {
	r := newRig(t, registrytest.Referrers)
	digest := r.push("stable", sourcetest.NewTree(t, 1))
	tagged := r.source("stable")
	first, err := tagged.Fetch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first.Version, digest+"+") {
		t.Errorf("got version %s, want one that begins with %s", first.Version, digest)
	}
	r.server.Forget()
	if _, err := tagged.Fetch(t.Context(), first.Version); !errors.Is(err, source.ErrUnchanged) {
		t.Errorf("got %v, want ErrUnchanged", err)
	}
	for _, request := range r.server.Requests() {
		if strings.Contains(request.Path, "/blobs/") {
			t.Errorf("got a request for %s, want no blob fetched again", request.Path)
		}
	}
	r.sign(digest, cosigntest.NewKey(t), signer.FormatBundle)
	signed, err := tagged.Fetch(t.Context(), first.Version)
	if err != nil {
		t.Fatalf("signed later: %v", err)
	}
	if signed.Tree.Digest() != first.Tree.Digest() || signed.Version == first.Version {
		t.Errorf("signed later: got version %s of %s, want another one of the same files", signed.Version, signed.Tree.Digest())
	}
	r.push("stable", sourcetest.NewTree(t, 2))
	moved, err := tagged.Fetch(t.Context(), signed.Version)
	if err != nil {
		t.Fatalf("moved tag: %v", err)
	}
	if moved.Tree.Digest() != sourcetest.NewTree(t, 2).Digest() {
		t.Errorf("moved tag: got %s, want the files of serial 2", moved.Tree.Digest())
	}
	pinned, err := oci.New(v1alpha1.OCISource{Repository: r.repository.String(), Digest: digest}, oci.Options{From: r.client})
	if err != nil {
		t.Fatal(err)
	}
	if revision, err := pinned.Fetch(t.Context(), ""); err != nil || revision.Tree.Digest() != first.Tree.Digest() {
		t.Errorf("by digest: got %v, %v, want the first one", revision, err)
	}
}

func TestBundlesOfOtherToolsAreRead(t *testing.T) {
	tree := sourcetest.NewTree(t, 3)
	packed := sourcetest.Pack(t, tree)
	var plain bytes.Buffer
	writer := tar.NewWriter(&plain)
	for _, name := range []string{"/.manifest", "/bundle.yaml", "/pods/policy.rego"} {
		content, _ := tree.Content(strings.TrimPrefix(name, "/"))
		if err := errors.Join(writer.WriteHeader(&tar.Header{Name: name, Size: int64(len(content))}), second(writer.Write(content))); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	manifestOf := func(name string) []byte { content, _ := tree.Content(name); return content }
	for name, push := range map[string]func(r *rig) string{
		"of OPA": func(r *rig) string {
			return r.raw("v3", manifest(layer("application/vnd.oci.image.layer.v1.tar+gzip", packed, "")), packed)
		},
		"of OPA, not compressed": func(r *rig) string {
			return r.raw("v3", manifest(layer("application/vnd.oci.image.layer.v1.tar", plain.Bytes(), "")), plain.Bytes())
		},
		"of Conftest": func(r *rig) string {
			return r.raw("v3", manifest(
				layer("application/vnd.cncf.openpolicyagent.policy.layer.v1+rego", manifestOf("pods/policy.rego"), "pods/policy.rego"),
				layer("application/vnd.cncf.openpolicyagent.data.layer.v1+json", manifestOf("bundle.yaml"), "./bundle.yaml"),
				layer("application/vnd.cncf.openpolicyagent.data.layer.v1+json", []byte("x"), ".hidden/x.json"),
			), manifestOf("pods/policy.rego"), manifestOf("bundle.yaml"), []byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, key := newRig(t, registrytest.Referrers), cosigntest.NewKey(t)
			r.sign(push(r), key, signer.FormatBundle)
			revision := sourcetest.Stored(t, r.fetch("v3"))
			if revision.Tree.Digest() != tree.Digest() {
				t.Errorf("got %s with %q, want %s", revision.Tree.Digest(), revision.Tree.Names(), tree.Digest())
			}
			if _, err := source.NewVerifier(source.VerifierOptions{}).Verify(t.Context(), revision, trust(t, r.server.Host(), key)); err != nil {
				t.Error(err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestArtifactsThatAreNoBundleAreRefused(t *testing.T) {
	slip := func() []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: "../x"}), w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}()
	file := []byte("package a\n")
	const rego = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego"
	large := layer(source.LayerMediaType, []byte("x"), "")
	large["size"] = source.MaxEncoded + 1
	for name, c := range map[string]struct {
		manifest map[string]any
		blobs    [][]byte
		want     string
	}{
		"an index":                     {map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{}}, nil, "no bundle but an index: name an artifact that was pushed as a bundle"},
		"a manifest of Docker":         {map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []any{}, "config": map[string]any{}}, nil, `of the media type "application/vnd.docker.distribution.manifest.v2+json"`},
		"no layers":                    {manifest(), nil, "no layer with files"},
		"an image of several layers":   {manifest(layer("application/vnd.oci.image.layer.v1.tar+gzip", file, ""), layer("application/vnd.oci.image.layer.v1.tar+gzip", slip, "")), [][]byte{file, slip}, "among 2, and a bundle is one archive"},
		"a chart of Helm":              {manifest(layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip", file, "")), [][]byte{file}, `a layer of the media type "application/vnd.cncf.helm.chart.content.v1.tar+gzip"`},
		"a layer that is no archive":   {manifest(layer(source.LayerMediaType, []byte("no archive"), "")), [][]byte{[]byte("no archive")}, "unpacking the bundle: "},
		"a layer that leads out":       {manifest(layer(source.LayerMediaType, slip, "")), [][]byte{slip}, `"../x" leads elsewhere`},
		"a layer that says it is huge": {manifest(large), [][]byte{[]byte("x")}, "has 22937601 bytes, and the limit is 22937600"},
		"a file without a name":        {manifest(layer(rego, file, "")), [][]byte{file}, "a file has no name"},
		"a file that leads out":        {manifest(layer(rego, file, "../a.rego")), [][]byte{file}, `"../a.rego" leads elsewhere`},
		"a file that is there twice":   {manifest(layer(rego, file, "a.rego"), layer(rego, slip, "./a.rego")), [][]byte{file, slip}, "a.rego is there twice"},
		"a file and an archive":        {manifest(layer(rego, file, "a.rego"), layer(source.LayerMediaType, slip, "")), [][]byte{file, slip}, "and a bundle is one archive"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, registrytest.Referrers)
			r.raw("v1", c.manifest, c.blobs...)
			_, err := r.source("v1").Fetch(t.Context(), "")
			wantError(t, err, c.want)
			if err != nil && !strings.HasPrefix(err.Error(), "fetching the bundle "+r.repository.String()+":v1: ") {
				t.Errorf("got %v, want the name of the bundle in front", err)
			}
		})
	}
}

func TestRegistriesThatFailAreNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		fault registrytest.Fault
		want  string
	}{
		"a pull that is cut short":      {registrytest.On("/blobs/", registrytest.Truncated()), "the connection broke off"},
		"a layer that was changed":      {registrytest.On("/blobs/", registrytest.Flipped()), "the bytes received have the digest"},
		"a manifest that is none":       {registrytest.On("/manifests/v1", registrytest.Content(source.ManifestMediaType, []byte("no JSON"))), "it is not JSON"},
		"a layer without end":           {registrytest.On("/blobs/", registrytest.Endless("application/octet-stream")), "than the limit"},
		"a list of referrers that lies": {registrytest.On("/referrers/", registrytest.ManyReferrers(1000)), "there are more than 50 referrers"},
		"a registry that is broken":     {registrytest.Status(500, ""), "answered 500"},
		"a registry that has enough":    {registrytest.Status(429, "3600"), "retry in 3600 s"},
		"a registry that hangs up":      {registrytest.Reset(), "the connection broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, registrytest.Referrers)
			r.push("v1", sourcetest.NewTree(t, 1))
			options := r.server.Options()
			options.Attempts, options.RequestTimeout = 1, 5*time.Second
			tagged, err := oci.New(v1alpha1.OCISource{Repository: r.repository.String(), Tag: "v1"}, oci.Options{Registry: options})
			if err != nil {
				t.Fatal(err)
			}
			r.server.Inject(c.fault)
			_, err = tagged.Fetch(t.Context(), "")
			wantError(t, err, c.want)
			r.server.Inject()
			if registry.KindOf(err) == registry.RateLimited {
				return // it is left alone for as long as it has asked
			}
			if _, err := tagged.Fetch(t.Context(), ""); err != nil {
				t.Errorf("well again: got %v", err)
			}
		})
	}
}

func TestSourcesThatCannotBeReachedSayWhy(t *testing.T) {
	r := newRig(t, registrytest.TLS)
	r.push("v1", sourcetest.NewTree(t, 1))
	authority, err := os.ReadFile(r.server.AuthorityFile())
	if err != nil {
		t.Fatal(err)
	}
	allowed := registry.Options{Allow: []string{r.server.Host()}, Attempts: 1}
	basic := newRig(t, registrytest.Basic)
	basic.push("v1", sourcetest.NewTree(t, 1))
	for name, c := range map[string]struct {
		source  v1alpha1.OCISource
		options oci.Options
		want    string // "" for none
	}{
		"the right certificate":   {v1alpha1.OCISource{Repository: r.repository.String(), Tag: "v1", Connection: v1alpha1.Connection{CABundle: string(authority)}}, oci.Options{Registry: allowed}, ""},
		"no certificate":          {v1alpha1.OCISource{Repository: r.repository.String(), Tag: "v1"}, oci.Options{Registry: allowed}, "private certificate authority"},
		"no such tag":             {v1alpha1.OCISource{Repository: r.repository.String(), Tag: "v2", Connection: v1alpha1.Connection{CABundle: string(authority)}}, oci.Options{Registry: allowed}, "check the name, or push it first"},
		"an address of one's own": {v1alpha1.OCISource{Repository: r.repository.String(), Tag: "v1"}, oci.Options{}, "give --allow-registry " + r.server.Host()},
		"no password": {v1alpha1.OCISource{Repository: basic.repository.String(), Tag: "v1"}, oci.Options{Registry: registry.Options{
			Allow: []string{basic.server.Host()}, PlainHTTP: []string{basic.server.Host()}, Attempts: 1}}, "give credentials for " + basic.server.Host()},
		"the right password": {v1alpha1.OCISource{Repository: basic.repository.String(), Tag: "v1"}, oci.Options{Registry: registry.Options{
			Allow: []string{basic.server.Host()}, PlainHTTP: []string{basic.server.Host()}, Attempts: 1},
			Credentials: registry.Static{basic.server.Host(): {Username: registrytest.Username, Password: registrytest.Password}}}, ""},
		"a proxy that is not there": {v1alpha1.OCISource{Repository: r.repository.String(), Tag: "v1", Connection: v1alpha1.Connection{ProxyURL: "http://127.0.0.1:1"}}, oci.Options{Registry: allowed}, "proxyconnect"},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := oci.New(c.source, c.options)
			if err != nil {
				t.Fatal(err)
			}
			_, err = made.Fetch(t.Context(), "")
			if c.want == "" && err != nil {
				t.Errorf("got %v, want none", err)
			}
			if c.want != "" {
				wantError(t, err, c.want)
			}
		})
	}
}

func TestSourcesThatAreNoneAreRefused(t *testing.T) {
	digest := registry.DigestOf(nil)
	for name, c := range map[string]struct {
		source v1alpha1.OCISource
		want   string
	}{
		"neither tag nor digest":     {v1alpha1.OCISource{Repository: "ghcr.io/acme/policies"}, "name either a tag or a digest"},
		"a tag and a digest":         {v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Tag: "v1", Digest: digest}, "name either a tag or a digest"},
		"no repository":              {v1alpha1.OCISource{Tag: "v1"}, "oci.repository: "},
		"a repository in upper case": {v1alpha1.OCISource{Repository: "ghcr.io/Acme", Tag: "v1"}, "oci.repository: "},
		"a tag in the repository":    {v1alpha1.OCISource{Repository: "ghcr.io/acme/policies:v1", Tag: "v2"}, "oci.repository"},
		"a digest that is none":      {v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Digest: "sha256:12"}, "oci.repository: "},
		"a URL":                      {v1alpha1.OCISource{Repository: "oci://ghcr.io/acme/policies", Tag: "v1"}, "oci.repository: "},
		"certificates that are none": {v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Tag: "v1", Connection: v1alpha1.Connection{CABundle: "x"}}, "there is no certificate in PEM: correct the caBundle"},
		"a proxy that is none":       {v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Tag: "v1", Connection: v1alpha1.Connection{ProxyURL: "ftp://x"}}, "proxyURL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oci.New(c.source, oci.Options{})
			wantError(t, err, c.want)
			if err != nil && !strings.HasPrefix(err.Error(), "reading the source: ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What is signed and pinned is the manifest's digest: it must not change with the day, nor with the program that was built for the
// same toolchain. A new version of Go may compress otherwise; then this changes, and the digest of the files does not.
func TestTheSameTreeIsTheSameArtifact(t *testing.T) {
	const want = "sha256:d840bda9b598bb7bfbfd82e579514ac0f155bbc16d6576727d8817db8e1cc776"
	r := newRig(t, registrytest.Referrers)
	first, second := r.push("a", sourcetest.NewTree(t, 1)), r.push("b", sourcetest.NewTree(t, 1))
	if first != second || first != want {
		t.Errorf("got %s and %s, want %s", first, second, want)
	}
	if other := r.push("a", sourcetest.NewTree(t, 2)); other == first {
		t.Errorf("got %s for other files, too", other)
	}
	if untagged := r.push("", sourcetest.NewTree(t, 3)); untagged == "" {
		t.Error("got no digest without a tag")
	}
}

func TestTreesThatAreNoBundleAreNotPushed(t *testing.T) {
	random := make([]byte, archive.MaxFile)
	for i, state := 0, uint32(1); i < len(random); i++ {
		state = state*1664525 + 1013904223
		random[i] = byte(state >> 24)
	}
	incompressible := map[string][]byte{"bundle.yaml": []byte("name: a\n")}
	for i := range 6 {
		incompressible[fmt.Sprint(i)] = append([]byte{byte(i)}, random[1:]...)
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"no bundle.yaml":      {map[string][]byte{"a.rego": nil}, "bundle.yaml is missing"},
		"no name":             {map[string][]byte{"bundle.yaml": []byte("serial: 1\n")}, "has no name"},
		"no YAML":             {map[string][]byte{"bundle.yaml": []byte("\t")}, "bundle.yaml: "},
		"too large, packed":   {incompressible, "the limit is 22937600: leave out what is no policy"},
		"a serial that is no": {map[string][]byte{"bundle.yaml": []byte("name: a\nserial: x\n")}, "bundle.yaml: "},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := archive.New(c.files)
			if err != nil {
				t.Fatal(err)
			}
			_, err = oci.NewArtifact(tree)
			wantError(t, err, c.want)
		})
	}
}

func TestALayoutIsADestinationAndASource(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "layout")
	writer, err := oci.NewLayoutWriter(folder)
	if err != nil {
		t.Fatal(err)
	}
	repository := registry.Repository{Registry: "ghcr.io", Path: "acme/policies"}
	for _, serial := range []int{1, 2, 2} {
		if _, err := oci.Push(t.Context(), writer, repository, "stable", sourcetest.NewTree(t, serial)); err != nil {
			t.Fatal(err)
		}
	}
	if writer, err = oci.NewLayoutWriter(folder); err != nil {
		t.Fatal(err)
	}
	if _, err := oci.Push(t.Context(), writer, repository, "", sourcetest.NewTree(t, 3)); err != nil {
		t.Fatal(err)
	}
	layout, err := registry.NewLayout(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Close()
	images, err := layout.Images()
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 {
		t.Errorf("got %d entries, want the tag once and the one without", len(images))
	}
	tagged, err := oci.New(v1alpha1.OCISource{Repository: repository.String(), Tag: "stable"}, oci.Options{From: layout})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := tagged.Fetch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if revision.Tree.Digest() != sourcetest.NewTree(t, 2).Digest() {
		t.Errorf("got %s, want the files of serial 2", revision.Tree.Digest())
	}
	if err := os.WriteFile(filepath.Join(folder, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = oci.NewLayoutWriter(other)
	wantError(t, err, "there is something else in it")
}
