package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// small stands in for the console, so that a build takes a moment.
const small = "portcullis-console"

func smallOptions(output string) options {
	return options{
		programs: []string{small}, platforms: []string{"linux/amd64", "linux/arm64"}, output: output, version: "v1.2.3",
		sources: map[string]string{small: "./test/images/program"},
	}
}

// state is that of the sources, asked for once: whoever works on them meanwhile changes it.
var state = func() func(*testing.T) checkout {
	ask := sync.OnceValues(func() (checkout, error) { return readCheckout(context.Background()) })
	return func(t *testing.T) checkout {
		t.Helper()
		from, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		return from
	}
}()

func buildSmall(t *testing.T, o options) []built {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := o.buildFrom(t.Context(), state(t), &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	content, err := os.ReadFile(filepath.Join(o.output, "images.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []built
	if err := json.Unmarshal(content, &all); err != nil || len(all) != 1 {
		t.Fatalf("got %s, %v, want one image", content, err)
	}
	if want := small + " "; !strings.HasPrefix(stdout.String(), want) {
		t.Errorf("got %q printed, want it to begin with %q", stdout.String(), want)
	}
	return all
}

func TestTheSameSourcesGiveTheSameImages(t *testing.T) {
	first := buildSmall(t, smallOptions(t.TempDir()))
	t.Setenv("GOFLAGS", "-ldflags=-X=main.other=1") // what a machine may have set
	t.Setenv("GOAMD64", "v3")
	second := buildSmall(t, smallOptions(t.TempDir()))
	if first[0].Digest != second[0].Digest {
		t.Errorf("got %s and %s, want one digest", first[0].Digest, second[0].Digest)
	}
	other := smallOptions(t.TempDir())
	other.version = "v1.2.4"
	if got := buildSmall(t, other); got[0].Digest == first[0].Digest {
		t.Errorf("got digest %s for another version, too", got[0].Digest)
	}
}

func TestImagesHoldOneProgramAndAreNotRoots(t *testing.T) {
	dir := t.TempDir()
	all := buildSmall(t, smallOptions(dir))
	root, err := layout.ImageIndexFromPath(filepath.Join(dir, small, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(all[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := root.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 || manifest.Annotations["org.opencontainers.image.version"] != "v1.2.3" {
		t.Errorf("got %d images and annotations %v, want 2 and a version", len(manifest.Manifests), manifest.Annotations)
	}
	for _, one := range manifest.Manifests {
		image, err := index.Image(one.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, *one.Platform, image)
	}
}

func checkImage(t *testing.T, platform v1.Platform, image v1.Image) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != platform.Architecture || config.Config.User != "65532:65532" || strings.Join(config.Config.Entrypoint, " ") != "/"+small {
		t.Errorf("got %+v for %s, want the program as its entrypoint and no root", config.Config, platform)
	}
	files := map[string][]byte{}
	flat := mutate.Extract(image)
	defer flat.Close()
	for reader := tar.NewReader(flat); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files["/"+header.Name] = content
		if header.Mode&0o6000 != 0 || header.Uid != 0 || header.Gid != 0 {
			t.Errorf("got %s with mode %o of %d:%d", header.Name, header.Mode, header.Uid, header.Gid)
		}
	}
	if program := files["/"+small]; len(program) < 100<<10 || !bytes.HasPrefix(program, []byte("\x7fELF")) {
		t.Errorf("got a program of %d bytes, want one for Linux", len(program))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files["/"+rootsFile]) || bytes.Count(files["/"+rootsFile], []byte("BEGIN CERTIFICATE")) < 100 {
		t.Errorf("got %d bytes of certificate authorities, want Mozilla's", len(files["/"+rootsFile]))
	}
}

func TestTheSBOMNamesWhatTheLinkerPutIn(t *testing.T) {
	file, err := os.Executable() // this very test, which has modules
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := newBOM("portcullis-webhook", "v1.2.3", file, program, checkout{time: time.Unix(1_700_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(content), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	named := map[string]cyclonedx.Component{}
	for _, component := range *bom.Components {
		named[component.Name] = component
	}
	wanted, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(strings.Fields(string(wanted)), "stdlib") {
		if named[path].Version == "" || !strings.HasPrefix(named[path].PackageURL, "pkg:golang/") {
			t.Errorf("got %+v, want %s with a version and a package URL", named[path], path)
		}
	}
	if bom.Metadata.Component.Version != "v1.2.3" || bom.SpecVersion != cyclonedx.SpecVersion1_6 {
		t.Errorf("got %+v, version %s", bom.Metadata.Component, bom.SpecVersion)
	}
	if again, err := newBOM("portcullis-webhook", "v1.2.3", file, program, checkout{time: time.Unix(1_700_000_000, 0)}); err != nil || !bytes.Equal(again, content) {
		t.Errorf("got another SBOM of the same program, %v", err)
	}
}

func TestImagesAreSignedAndAttestedWhereTheyArePushed(t *testing.T) {
	host := registrytest.StartDebian(t)
	dir := t.TempDir()
	t.Setenv("COSIGN_PASSWORD", "secret")
	private, public, err := cosign.GenerateKeyPair([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	key, publicFile := filepath.Join(dir, "cosign.key"), filepath.Join(dir, "cosign.pub")
	for file, content := range map[string][]byte{key: private, publicFile: public} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := smallOptions(filepath.Join(dir, "out"))
	if err := programs.Build(t.Context(), dir, "portcullis"); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(dir, "portcullis")
	o.tool = tool
	o.platforms, o.push, o.key, o.plainHTTP = []string{"linux/amd64"}, host+"/acme", key, []string{host}
	all := buildSmall(t, o)
	if want := host + "/acme/" + small + "@" + all[0].Digest; all[0].Reference != want {
		t.Fatalf("got reference %s, want %s", all[0].Reference, want)
	}
	verify := func(reference string, flags ...string) (string, error) {
		arguments := append([]string{"image", "verify", reference, "--key", publicFile, "--plain-http-registry", host, "--allow-registry", host}, flags...)
		out, err := exec.CommandContext(t.Context(), tool, arguments...).CombinedOutput()
		return string(out), err
	}
	single := host + "/acme/" + small + "@" + all[0].Platforms["linux/amd64"]
	for name, c := range map[string]struct {
		reference string
		flags     []string
	}{
		"the index is signed":        {all[0].Reference, nil},
		"its image is signed":        {single, nil},
		"the index has a provenance": {all[0].Reference, []string{"--type", "slsaprovenance1"}},
		"the image has an SBOM":      {single, []string{"--type", "cyclonedx"}},
	} {
		if out, err := verify(c.reference, c.flags...); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if out, err := verify(all[0].Reference, "--type", "cyclonedx"); err == nil {
		t.Errorf("an index has no SBOM of its own, got\n%s", out)
	}
}

func TestFlagsThatCannotBeMeantAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"an argument":             {[]string{"x"}, `"x" is no flag`},
		"an unknown flag":         {[]string{"--nope"}, "unknown flag"},
		"an unknown program":      {[]string{"--program", "nope"}, "there is no such program"},
		"no program":              {[]string{"--program", ""}, "there is nothing to build"},
		"another system":          {[]string{"--platform", "windows/amd64"}, "images are built for linux/amd64 and linux/arm64"},
		"a key and no registry":   {[]string{"--key", "k"}, "give --push, too"},
		"a registry that is none": {[]string{"--push", "a b"}, "is no registry with a prefix"},
		"a tag that is none":      {[]string{"--version", "a/b"}, "cannot be a tag"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), append([]string{"--output", t.TempDir()}, c.args...), &stdout, &stderr); code != 64 || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("got %d and %q, want 64 and %q", code, stderr.String(), c.want)
			}
		})
	}
	t.Run("a time that is none", func(t *testing.T) {
		t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"--output", t.TempDir()}, &stdout, &stderr); code != 64 || !strings.Contains(stderr.String(), "SOURCE_DATE_EPOCH") {
			t.Errorf("got %d and %q", code, stderr.String())
		}
	})
}
