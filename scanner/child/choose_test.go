package child

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// TestWhatNodesRunIsScanned: whoever writes an index must not be able to keep an image that nodes take from the scanner.
func TestWhatNodesRunIsScanned(t *testing.T) {
	type entry struct {
		system, processor, variant, annotation string
	}
	for name, test := range map[string]struct {
		entry     entry
		platforms []string
		want      bool
	}{
		"linux":                                  {entry{"linux", "amd64", "", ""}, nil, true},
		"called an attestation":                  {entry{"linux", "amd64", "", "attestation-manifest"}, nil, true},
		"called one, with the platform asked":    {entry{"linux", "amd64", "", "attestation-manifest"}, []string{"linux/amd64"}, true},
		"BuildKit's attestation":                 {entry{"unknown", "unknown", "", "attestation-manifest"}, nil, false},
		"BuildKit's, with a platform asked":      {entry{"unknown", "unknown", "", "attestation-manifest"}, []string{"linux/amd64"}, false},
		"Linux in another case":                  {entry{"Linux", "amd64", "", ""}, nil, true},
		"Linux without processor":                {entry{"linux", "", "", ""}, nil, true},
		"no operating system":                    {entry{"", "amd64", "", ""}, nil, true},
		"no operating system, one asked":         {entry{"", "amd64", "", ""}, []string{"linux/arm64"}, true},
		"Windows":                                {entry{"windows", "amd64", "", ""}, nil, false},
		"another processor than asked":           {entry{"linux", "arm64", "", ""}, []string{"linux/amd64"}, false},
		"the processor by another name":          {entry{"linux", "x86_64", "", ""}, []string{"linux/amd64"}, true},
		"the processor in another case":          {entry{"LINUX", "AMD64", "", ""}, []string{"linux/amd64"}, true},
		"a variant of the processor":             {entry{"linux", "amd64", "v2", ""}, []string{"linux/amd64"}, true},
		"asked by the other name":                {entry{"linux", "arm64", "v8", ""}, []string{"linux/aarch64"}, true},
		"a variant that the asked for runs, too": {entry{"linux", "arm", "v6", ""}, []string{"linux/arm/v7"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			digest := "sha256:" + strings.Repeat("1", 64)
			child := map[string]any{
				"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
				"platform": map[string]any{"os": test.entry.system, "architecture": test.entry.processor, "variant": test.entry.variant},
			}
			if test.entry.annotation != "" {
				child["annotations"] = map[string]string{"vnd.docker.reference.type": test.entry.annotation}
			}
			raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{child}})
			if err != nil {
				t.Fatal(err)
			}
			m, err := registry.ParseManifest(raw)
			if err != nil {
				t.Fatal(err)
			}
			images, err := choose(m, test.platforms)
			got := slices.ContainsFunc(images, func(i Image) bool { return i.Digest == digest })
			if got != test.want || got != (err == nil) {
				t.Errorf("scanned %t and error %v, want %t", got, err, test.want)
			}
		})
	}
}
