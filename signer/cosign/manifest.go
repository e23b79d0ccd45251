package cosign

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// manifest is what is read of an OCI image manifest or index
// (https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md).
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests,omitempty"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *platform         `json:"platform,omitempty"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

func (p *platform) String() string {
	switch {
	case p == nil:
		return "no platform"
	case p.Variant != "":
		return p.OS + "/" + p.Architecture + "/" + p.Variant
	}
	return p.OS + "/" + p.Architecture
}

// Media types of manifests.
const (
	ociManifestMediaType   = "application/vnd.oci.image.manifest.v1+json"
	ociIndexMediaType      = "application/vnd.oci.image.index.v1+json"
	dockerIndexMediaType   = "application/vnd.docker.distribution.manifest.list.v2+json"
	ociConfigMediaType     = "application/vnd.oci.image.config.v1+json"
	ociEmptyMediaType      = "application/vnd.oci.empty.v1+json"
	bundleVersionMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

func parseManifest(raw []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return manifest{}, err
	}
	if m.SchemaVersion != 2 {
		return manifest{}, errors.New("it is no manifest of the OCI image specification")
	}
	return m, nil
}

// abbreviate cuts what comes from elsewhere down to what fits a message, in one line.
func abbreviate(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
