//go:build goexperiment.jsonv2

package trivy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/portcullis-dev/portcullis/scanner/trivy"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

// store writes an image into a layout.
func store(t testing.TB, i v1.Image) (directory, digest string) {
	t.Helper()
	hash, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	directory = t.TempDir()
	path, err := layout.Write(directory, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(i); err != nil {
		t.Fatal(err)
	}
	return directory, hash.String()
}

// stored is the image with its layers packed, in files.
func stored(t testing.TB, i v1.Image) v1.Image {
	t.Helper()
	opened, err := trivy.OpenLayout(store(t, i))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestAnImageOfALayoutIsChecked(t *testing.T) {
	i := image(t, trivytest.Debian("12.5", badPackage))
	directory, named := store(t, i)
	o := options(t, badAdvisory)
	o.Digest = named
	opened, err := trivy.OpenLayout(directory, named)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "vulnerabilities", found(analyse(t, opened, o).Report), []string{badFinding})

	layers, err := i.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(directory, "blobs", "sha256", digest.Hex)
	content, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-3] ^= 1 // in the size at the end of gzip's stream
	if err := os.WriteFile(blob, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := trivy.Analyse(context.Background(), opened, o); err == nil || !strings.Contains(err.Error(), "reading the layer "+digest.String()) {
		t.Errorf("a layer with another byte: got %v, want an error that names it", err)
	}
	for what, digest := range map[string]string{"no digest": "latest", "a digest that is not there": "sha256:" + strings.Repeat("0", 64), "a name that leads out": "sha256:../../../../etc/passwd"} {
		if _, err := trivy.OpenLayout(directory, digest); err == nil {
			t.Errorf("%s: got no error", what)
		}
	}
}

func TestAnSBOMIsTheSameForTheSameImage(t *testing.T) {
	i := image(t, append(trivytest.Debian("12.5", badPackage, trivytest.Package{Name: "zlib1g", Version: "1:1.2", Source: "zlib"}),
		trivytest.NPM("lodash", "4.17.20"), trivytest.NPM("minimist", "1.2.5"),
		trivytest.Text("usr/share/doc/libssl3/copyright", "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nFiles: *\nLicense: Apache-2.0\n")))
	o := options(t, badAdvisory, npmAdvisory)
	o.Name = "ghcr.io/acme/app@sha256:ignored"
	first := analyse(t, i, o)
	for range 5 {
		again := analyse(t, i, o)
		if !bytes.Equal(first.CycloneDX, again.CycloneDX) || !bytes.Equal(first.SPDX, again.SPDX) {
			t.Fatal("a second analysis makes another SBOM")
		}
	}
	var cyclone struct {
		BOMFormat string
		Metadata  struct {
			Timestamp string
			Component struct{ Name string }
		}
		Components []struct {
			Name, Version, PURL string
			Licenses            []struct{ License struct{ ID string } }
		}
		Vulnerabilities []any
	}
	if err := json.Unmarshal(first.CycloneDX, &cyclone); err != nil {
		t.Fatal(err)
	}
	digest, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if cyclone.BOMFormat != "CycloneDX" || cyclone.Metadata.Component.Name != "ghcr.io/acme/app@"+digest.String() || !strings.HasPrefix(cyclone.Metadata.Timestamp, "2026-08-02T10:00:00") {
		t.Errorf("CycloneDX: got %s of %+v, want CycloneDX of the image at the time of the scan", cyclone.BOMFormat, cyclone.Metadata)
	}
	var got []string
	for _, c := range cyclone.Components {
		line := c.Name + " " + c.Version
		if len(c.Licenses) > 0 {
			line += " " + c.Licenses[0].License.ID
		}
		got = append(got, line)
	}
	equal(t, "components", got, []string{"debian 12.5", "libssl3 3.0.17-1 Apache-2.0", "zlib1g 1:1.2", "lodash 4.17.20 MIT", "minimist 1.2.5 MIT"})
	if len(cyclone.Vulnerabilities) > 0 {
		t.Error("the SBOM has vulnerabilities")
	}
	var spdx struct {
		SPDXVersion string
		Packages    []struct{ Name string }
	}
	if err := json.Unmarshal(first.SPDX, &spdx); err != nil {
		t.Fatal(err)
	}
	if spdx.SPDXVersion != "SPDX-2.3" || len(spdx.Packages) != 6 {
		t.Errorf("SPDX: got %s with %d packages, want SPDX-2.3 with 6", spdx.SPDXVersion, len(spdx.Packages))
	}
	o.NoSBOM = true
	if none := analyse(t, i, o); none.CycloneDX != nil || none.SPDX != nil {
		t.Error("an SBOM that nobody wants was written")
	}
}
