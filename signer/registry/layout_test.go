package registry_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// layout is a layout under construction.
type layout struct {
	files map[string][]byte
	roots []map[string]any
}

func newLayout() *layout {
	return &layout{files: map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

func (l *layout) blob(content []byte) string {
	sum := sha256.Sum256(content)
	l.files["blobs/sha256/"+hex.EncodeToString(sum[:])] = content
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (l *layout) root(mediaType string, raw []byte, annotations map[string]string) string {
	digest := l.blob(raw)
	l.roots = append(l.roots, map[string]any{"mediaType": mediaType, "digest": digest, "size": len(raw), "annotations": annotations})
	return digest
}

func (l *layout) image(t *testing.T, image v1.Image, tag string) string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		stream, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		l.blob(content)
	}
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	l.blob(config)
	raw, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return l.root(manifestType, raw, map[string]string{"org.opencontainers.image.ref.name": tag})
}

func (l *layout) index() {
	if _, ok := l.files["index.json"]; ok {
		return
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": l.roots})
	if err != nil {
		panic(err)
	}
	l.files["index.json"] = raw
}

func (l *layout) directory(t *testing.T) string {
	t.Helper()
	l.index()
	directory := t.TempDir()
	for name, content := range l.files {
		path := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func (l *layout) archive(t *testing.T, more ...tar.Header) string {
	t.Helper()
	l.index()
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for name, content := range l.files {
		if err := writer.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, header := range more {
		if err := writer.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, out.Bytes())
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func packed(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(content)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, out.Bytes())
}

func open(t *testing.T, path string) *registry.Layout {
	t.Helper()
	l, err := registry.NewLayout(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

var nowhere registry.Repository

func TestALayoutIsReadLikeARegistry(t *testing.T) {
	image, err := random.Image(512, 2)
	if err != nil {
		t.Fatal(err)
	}
	made := newLayout()
	digest := made.image(t, image, "ghcr.io/acme/app:v1")
	hash := strings.TrimPrefix(digest, "sha256:")
	evidence := made.blob([]byte("evidence"))
	attached := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"subject":{"digest":%q}}`, manifestType, made.blob([]byte("{}")), digest)
	referrer := made.root(manifestType, attached, nil)
	legacy := made.root(manifestType, []byte(`{"schemaVersion":2,"mediaType":"`+manifestType+`","layers":[],"config":{"digest":"`+evidence+`"}}`), map[string]string{"org.opencontainers.image.ref.name": "sha256-" + hash + ".sig"})
	listed := registry.DigestOf([]byte("listed elsewhere"))
	made.root(indexType, []byte(`{"schemaVersion":2,"mediaType":"`+indexType+`","manifests":[{"mediaType":"`+manifestType+`","digest":"`+listed+`","size":1}]}`), map[string]string{"org.opencontainers.image.ref.name": "sha256-" + hash})
	for name, path := range map[string]string{"directory": made.directory(t), "archive": made.archive(t), "compressed archive": packed(t, made.archive(t))} {
		t.Run(name, func(t *testing.T) {
			l := open(t, path)
			for _, tag := range []string{"v1", "ghcr.io/acme/app:v1", ""} {
				if got, err := l.Resolve(t.Context(), nowhere, tag); err != nil || got.Digest != digest {
					t.Errorf("the tag %q: got %s, %v, want %s", tag, got.Digest, err, digest)
				}
			}
			if got, err := l.Resolve(t.Context(), nowhere, "sha256-"+hash+".sig"); err != nil || got.Digest != legacy {
				t.Errorf("got %s, %v, want the legacy signature %s", got.Digest, err, legacy)
			}
			_, err := l.Resolve(t.Context(), nowhere, "v2")
			wantKind(t, err, registry.NotFound)
			list, err := l.Referrers(t.Context(), nowhere, digest)
			var got []string
			for _, d := range list {
				got = append(got, d.Digest)
			}
			if want := []string{referrer, listed}; err != nil || !slices.Equal(got, want) {
				t.Errorf("got the referrers %q, %v, want %q", got, err, want)
			}
			if content, err := l.Blob(t.Context(), nowhere, evidence, limit); err != nil || string(content) != "evidence" {
				t.Errorf("got %q, %v", content, err)
			}
			_, err = l.Blob(t.Context(), nowhere, evidence, 3)
			wantKind(t, err, registry.TooLarge)
			opened, err := l.Image(t.Context(), nowhere, digest)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(opened); err != nil {
				t.Error(err)
			}
			if images, err := l.Images(); err != nil || len(images) != 1 || images[0].Digest != digest {
				t.Errorf("got the images %v, %v, want %s", images, err, digest)
			}
		})
	}
}

func TestWhatCosignSavesHasItsSignaturesUnderTheirTags(t *testing.T) {
	made := newLayout()
	image := made.root(manifestType, []byte(`{"schemaVersion":2,"layers":[]}`), map[string]string{"kind": "dev.cosignproject.cosign/image"})
	signature := made.root(manifestType, []byte(`{"schemaVersion":2,"layers":[],"annotations":{"n":"sig"}}`), map[string]string{"kind": "dev.cosignproject.cosign/sigs"})
	attestation := made.root(manifestType, []byte(`{"schemaVersion":2,"layers":[],"annotations":{"n":"att"}}`), map[string]string{"kind": "dev.cosignproject.cosign/atts"})
	l := open(t, made.directory(t))
	tag := registry.FallbackTag(image)
	for name, want := range map[string]string{"": image, tag + ".sig": signature, tag + ".att": attestation} {
		if got, err := l.Resolve(t.Context(), nowhere, name); err != nil || got.Digest != want {
			t.Errorf("%q: got %s, %v, want %s", name, got.Digest, err, want)
		}
	}
}

func TestHostileLayoutsAreRefused(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"schemaVersion":2,"layers":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	outside, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	digest := registry.DigestOf(outside)
	name := "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
	linked := func(target string, make func(path string) error) string {
		made := newLayout()
		made.blob([]byte("x"))
		made.roots = append(made.roots, map[string]any{"mediaType": manifestType, "digest": digest, "size": 1})
		directory := made.directory(t)
		if err := make(filepath.Join(directory, target)); err != nil {
			t.Fatal(err)
		}
		return directory
	}
	one := func(index string) *layout {
		made := newLayout()
		made.files["index.json"] = []byte(index)
		return made
	}
	entry := `{"mediaType":"` + manifestType + `","digest":"` + digest + `","size":1}`
	changed := newLayout()
	changed.files[name] = []byte("something else")
	changed.roots = append(changed.roots, map[string]any{"mediaType": manifestType, "digest": digest, "size": 1})
	pipe := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	link := func(path string) error { return os.Symlink(secret, path) }
	for name, test := range map[string]struct {
		path string
		want registry.Kind
	}{
		"a digest that is a path":          {one(`{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`).directory(t), registry.Malformed},
		"a link out of the directory":      {linked(name, link), registry.Malformed},
		"a pipe, which would block":        {linked(name, pipe), registry.Malformed},
		"a blob of another digest":         {changed.directory(t), registry.Mismatch},
		"a blob of another digest, in tar": {changed.archive(t), registry.Mismatch},
		"an index with too many entries":   {one(`{"manifests":[` + strings.Repeat(entry+",", 1000) + entry + `]}`).directory(t), registry.TooMany},
		"an index that is too large":       {one(`{"manifests":[` + strings.Repeat(" ", 4<<20) + `]}`).directory(t), registry.TooLarge},
		"an index that is no JSON":         {one("foobar").directory(t), registry.Malformed},
		"another version": {func() string {
			m := one(`{}`)
			m.files["oci-layout"] = []byte(`{"imageLayoutVersion":"9"}`)
			return m.directory(t)
		}(), registry.Malformed},
		"a blob that is not there":          {one(`{"manifests":[` + entry + `]}`).directory(t), registry.NotFound},
		"no layout at all":                  {t.TempDir(), registry.Malformed},
		"nothing":                           {"/does/not/exist", registry.NotFound},
		"a file that is no archive":         {secret, registry.Malformed},
		"a file outside, in tar":            {newLayout().archive(t, tar.Header{Name: "../x", Mode: 0o600}), registry.Malformed},
		"an absolute file, in tar":          {newLayout().archive(t, tar.Header{Name: "/etc/passwd", Mode: 0o600}), registry.Malformed},
		"a file twice, in tar":              {newLayout().archive(t, tar.Header{Name: "index.json", Mode: 0o600}), registry.Malformed},
		"a device, in tar":                  {newLayout().archive(t, tar.Header{Name: "d", Typeflag: tar.TypeBlock}), registry.Malformed},
		"a link in circles, in tar":         {circle(t), registry.NotFound},
		"a link out of the archive, in tar": {escaping(t, secret), registry.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := registry.NewLayout(test.path)
			if err == nil {
				defer l.Close()
				_, err = l.Resolve(t.Context(), nowhere, "")
			}
			wantKind(t, err, test.want)
		})
	}
}

// What one reader takes from the first and another from the second is not judged.
func TestAnArchiveWithAFileTwiceIsRefused(t *testing.T) {
	made := newLayout()
	made.root(manifestType, []byte(`{"schemaVersion":2,"layers":[]}`), nil)
	made.files["unused"] = nil
	l := open(t, made.archive(t))
	if _, err := l.Resolve(t.Context(), nowhere, ""); err != nil {
		t.Fatal(err)
	}
	for _, header := range []tar.Header{{Name: "./unused", Mode: 0o600}, {Name: "unused", Typeflag: tar.TypeSymlink, Linkname: "index.json"}} {
		_, err := registry.NewLayout(made.archive(t, header))
		wantKind(t, err, registry.Malformed)
	}
}

// circle is an archive of docker whose configuration is a link to itself.
func circle(t *testing.T) string {
	made := newLayout()
	delete(made.files, "oci-layout")
	made.files["manifest.json"] = []byte(`[{"Config":"a","Layers":[]}]`)
	return made.archive(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b"}, tar.Header{Name: "b", Typeflag: tar.TypeSymlink, Linkname: "a"})
}

func escaping(t *testing.T, target string) string {
	made := newLayout()
	delete(made.files, "oci-layout")
	made.files["manifest.json"] = []byte(`[{"Config":"a","Layers":[]}]`)
	return made.archive(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: target})
}

func TestACompressedArchiveIsUnpackedWithinItsLimit(t *testing.T) {
	made := newLayout()
	made.blob(make([]byte, 1<<20))
	file := packed(t, made.archive(t))
	_, err := registry.OpenLayout(file, registry.Options{MaxUncompressed: 1 << 19})
	wantKind(t, err, registry.TooLarge)
	l, err := registry.OpenLayout(file, registry.Options{MaxUncompressed: 1 << 22})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnArchiveOfDockerSaveIsAnImage(t *testing.T) {
	image, err := random.Image(2048, 3)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("ghcr.io/acme/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tarball.Write(tag, image, &out); err != nil {
		t.Fatal(err)
	}
	l := open(t, write(t, out.Bytes()))
	manifest, err := l.Resolve(t.Context(), nowhere, "v1")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := l.Image(t.Context(), nowhere, manifest.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(opened); err != nil {
		t.Error(err)
	}
	want, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := opened.ConfigName(); err != nil || got != want {
		t.Errorf("got the configuration %s, %v, want %s", got, err, want)
	}
}

// Real images: those that Trivy's module has for its own tests.
func TestRealLayoutsAndArchivesAreRead(t *testing.T) {
	directory, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aquasecurity/trivy").Output()
	if err != nil || len(bytes.TrimSpace(directory)) == 0 {
		t.Fatalf("finding Trivy's module: %v", err)
	}
	testdata := filepath.Join(strings.TrimSpace(string(directory)), "pkg/fanal/test/testdata")
	for name, layers := range map[string]int{"alpine-310.tar.gz": 1, "vuln-image.tar.gz": 4, "distroless.tar.gz": 2, "image1.tar": 3, "test.oci": 1, "test_image_tag.oci": 1} {
		t.Run(name, func(t *testing.T) {
			l := open(t, filepath.Join(testdata, name))
			manifest, err := l.Resolve(t.Context(), nowhere, "")
			if err != nil {
				t.Fatal(err)
			}
			image, err := l.Image(t.Context(), nowhere, manifest.Digest)
			if err != nil {
				t.Fatal(err)
			}
			all, err := image.Layers()
			if err != nil || len(all) != layers {
				t.Fatalf("got %d layers, %v, want %d", len(all), err, layers)
			}
			for _, layer := range all {
				stream, err := layer.Uncompressed()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, stream); err != nil {
					t.Error(err)
				}
				stream.Close()
			}
		})
	}
	for name, want := range map[string]registry.Kind{"test_bad_index_json.oci": registry.Malformed, "test_index_json_dir.oci": registry.Malformed, "test_no_valid_manifests.oci": registry.NotFound, "test_invalid_oci_image.oci": registry.NotFound} {
		t.Run(name, func(t *testing.T) {
			l, err := registry.NewLayout(filepath.Join(testdata, name))
			if err == nil {
				defer l.Close()
				_, err = l.Resolve(t.Context(), nowhere, "")
			}
			wantKind(t, err, want)
		})
	}
}
