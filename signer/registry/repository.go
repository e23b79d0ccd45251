package registry

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Repository is where manifests and blobs lie. Both parts are canonical, as in
// workload.Image: "docker.io", "library/nginx".
type Repository struct{ Registry, Path string }

// String is "ghcr.io/acme/app".
func (r Repository) String() string { return r.Registry + "/" + r.Path }

// Descriptor says what some content is.
type Descriptor struct {
	MediaType    string
	ArtifactType string
	Digest       string
	Size         int64
	Annotations  map[string]string
	// Platform is "linux/arm64/v8" where an index names one.
	Platform string
}

// Manifest is a manifest or an index as it was received.
type Manifest struct {
	// Descriptor has the digest and the size of Raw. The media type is the manifest's own.
	Descriptor
	Raw []byte
}

// IsIndex says whether the manifest is a list of manifests.
func (m Manifest) IsIndex() bool { return isIndex(m.MediaType) }

// Children are the manifests that an index lists, none for another manifest.
func (m Manifest) Children() ([]Descriptor, error) {
	if !m.IsIndex() {
		return nil, nil
	}
	return parseIndex(m.Raw)
}

// Media types of the image specification and their Docker predecessors.
const (
	mediaTypeIndex          = "application/vnd.oci.image.index.v1+json"
	mediaTypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeArtifact       = "application/vnd.oci.artifact.manifest.v1+json"
)

func isIndex(mediaType string) bool {
	return mediaType == mediaTypeIndex || mediaType == mediaTypeDockerList
}

// manifestFields are those of manifests and indexes that matter here.
type manifestFields struct {
	SchemaVersion int    `json:"schemaVersion"`
	MediaType     string `json:"mediaType"`
	ArtifactType  string `json:"artifactType"`
	Config        *struct {
		MediaType string `json:"mediaType"`
	} `json:"config"`
	Manifests   json.RawMessage `json:"manifests"`
	Layers      json.RawMessage `json:"layers"`
	Subject     *subject        `json:"subject"`
	Annotations annotations     `json:"annotations"`
}

type subject struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// newManifest describes the bytes of a manifest, whose digest is known to be right. The
// media type is what the manifest says of itself and not the server's header, which
// nobody signs; where it says nothing, its fields decide. A manifest that says one thing
// and has the fields of another, for two readers to see two things, is refused
// (CVE-2021-41190).
func newManifest(digest string, raw []byte) (Manifest, error) {
	var fields manifestFields
	if err := json.Unmarshal(raw, &fields); err != nil {
		return Manifest{}, fmt.Errorf("it is not JSON: %w", err)
	}
	list := len(fields.Manifests) > 0 && string(fields.Manifests) != "null"
	image := len(fields.Layers) > 0 && string(fields.Layers) != "null" || fields.Config != nil
	if list && image || list && fields.MediaType != "" && !isIndex(fields.MediaType) || image && isIndex(fields.MediaType) {
		return Manifest{}, fmt.Errorf("it is a manifest and an index at once")
	}
	if fields.MediaType == "" {
		fields.MediaType = mediaTypeManifest
		if list {
			fields.MediaType = mediaTypeIndex
		}
	}
	if fields.ArtifactType == "" && fields.Config != nil {
		fields.ArtifactType = fields.Config.MediaType
	}
	return Manifest{Raw: raw, Descriptor: Descriptor{
		MediaType: fields.MediaType, ArtifactType: fields.ArtifactType, Digest: digest,
		Size: int64(len(raw)), Annotations: fields.Annotations,
	}}, nil
}

// parseIndex reads the descriptors of an index.
func parseIndex(raw []byte) ([]Descriptor, error) {
	var index struct {
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("the index is not JSON: %w", err)
	}
	if len(index.Manifests) == 0 {
		return nil, nil
	}
	var all []Descriptor
	err := elements(index.Manifests, maxElements, func(decoder *json.Decoder) error {
		var d descriptorFields
		if err := decoder.Decode(&d); err != nil {
			return fmt.Errorf("manifests[%d] of the index: %w", len(all), err)
		}
		if err := checkDigest(d.Digest); err != nil {
			return fmt.Errorf("manifests[%d] of the index: %w", len(all), err)
		}
		all = append(all, d.descriptor())
		return nil
	})
	return all, err
}

type descriptorFields struct {
	MediaType    string       `json:"mediaType"`
	ArtifactType string       `json:"artifactType,omitempty"`
	Digest       string       `json:"digest"`
	Size         int64        `json:"size"`
	Annotations  annotations  `json:"annotations,omitempty"`
	Platform     *v1.Platform `json:"platform,omitempty"`
}

func (d descriptorFields) descriptor() Descriptor {
	out := Descriptor{MediaType: d.MediaType, ArtifactType: d.ArtifactType, Digest: d.Digest, Size: d.Size, Annotations: d.Annotations}
	if d.Platform != nil {
		out.Platform = d.Platform.String()
	}
	return out
}

// checkPath refuses what is no repository path: it becomes part of a URL.
func checkPath(path string) error {
	if path == "" || len(path) > 255 {
		return fmt.Errorf("%s is no repository", printable(path))
	}
	for segment := range strings.SplitSeq(path, "/") {
		if strings.Trim(segment, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" || segment == "" || strings.Trim(segment, "._-") == "" {
			return fmt.Errorf("%s is no repository", printable(path))
		}
	}
	return nil
}

// checkTag refuses what is no tag (distribution specification, "Pulling manifests").
func checkTag(tag string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	if tag == "" || len(tag) > 128 || strings.Trim(tag, letters+".-") != "" || !strings.Contains(letters, tag[:1]) {
		return fmt.Errorf("%s is no tag", printable(tag))
	}
	return nil
}
