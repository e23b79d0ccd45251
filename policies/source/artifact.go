package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Media types of an artifact that holds a bundle.
const (
	// ArtifactType is that of the manifest.
	ArtifactType = "application/vnd.portcullis.bundle.v1"
	// LayerMediaType is that of its only layer: the tree as [archive.Tree.Pack] writes it.
	LayerMediaType = "application/vnd.portcullis.bundle.v1.tar+gzip"
	// ManifestMediaType is that of the manifest's format, in the OCI image specification.
	ManifestMediaType = "application/vnd.oci.image.manifest.v1+json"
)

// archiveMediaTypes are those of a layer with all files: ours, and that of OPA's bundles, an archive as in any image
// (https://www.openpolicyagent.org/docs/management-bundles#oci-registry).
var archiveMediaTypes = []string{LayerMediaType, "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar"}

// fileMediaTypes are those of layers with one file each, as "conftest push" makes them
// (https://github.com/open-policy-agent/conftest/blob/master/internal/commands/push.go).
var fileMediaTypes = []string{
	"application/vnd.cncf.openpolicyagent.policy.layer.v1+rego",
	"application/vnd.cncf.openpolicyagent.data.layer.v1+json",
}

// conftestManifestMediaType is that of Conftest's layer about the others, which is no file.
const conftestManifestMediaType = "application/vnd.cncf.openpolicyagent.manifest.layer.v1+json"

// titleAnnotation is the name of the file that a layer holds (OCI image specification, "Pre-Defined Annotation Keys").
const titleAnnotation = "org.opencontainers.image.title"

// Contents is where the files of an artifact are: in one layer, or in one layer each.
type Contents struct {
	// Archive is the layer with all of them, nil where each has its own.
	Archive *registry.Descriptor
	// Files are layers by the name of the file.
	Files map[string]registry.Descriptor
}

// manifestFields are those of an image manifest that matter here.
type manifestFields struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Layers        []layerFields   `json:"layers"`
}

type layerFields struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

func (l layerFields) descriptor() registry.Descriptor {
	return registry.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
}

// ReadManifest finds the files of an artifact by its manifest. One with several archives is refused: they could be laid over each
// other in more than one way.
func ReadManifest(raw []byte) (Contents, error) {
	var manifest manifestFields
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return Contents{}, fmt.Errorf("the manifest is not JSON: %w: push the bundle again", err)
	}
	if manifest.SchemaVersion != 2 || len(manifest.Manifests) > 0 || manifest.MediaType != "" && manifest.MediaType != ManifestMediaType {
		return Contents{}, fmt.Errorf("it is no bundle but %s: name an artifact that was pushed as a bundle", kindOf(manifest))
	}
	if len(manifest.Layers) == 1 && slices.Contains(archiveMediaTypes, manifest.Layers[0].MediaType) {
		layer := manifest.Layers[0].descriptor()
		return Contents{Archive: &layer}, nil
	}
	files, err := fileLayers(manifest.Layers)
	if err != nil {
		return Contents{}, err
	}
	return Contents{Files: files}, nil
}

func kindOf(manifest manifestFields) string {
	switch {
	case len(manifest.Manifests) > 0:
		return "an index"
	case manifest.MediaType == "":
		return "a manifest of another kind"
	}
	return fmt.Sprintf("of the media type %.100q", manifest.MediaType)
}

func fileLayers(layers []layerFields) (map[string]registry.Descriptor, error) {
	files := map[string]registry.Descriptor{}
	for _, layer := range layers {
		switch {
		case layer.MediaType == conftestManifestMediaType:
			continue
		case !slices.Contains(fileMediaTypes, layer.MediaType):
			return nil, fmt.Errorf("it has a layer of the media type %.100q among %d, and a bundle is one archive: name an artifact that was pushed as a bundle", layer.MediaType, len(layers))
		case len(files) == archive.MaxFiles:
			return nil, fmt.Errorf("it has more than %d files, which is the limit: make two bundles of it", archive.MaxFiles)
		}
		name := strings.TrimPrefix(layer.Annotations[titleAnnotation], "./")
		if err := archive.CheckName(name); err != nil {
			return nil, err
		}
		if archive.Hidden(name) {
			continue
		}
		if _, twice := files[name]; twice {
			return nil, fmt.Errorf("%s is there twice: push the bundle again", name)
		}
		files[name] = layer.descriptor()
	}
	if len(files) == 0 {
		return nil, errors.New("it has no layer with files: name an artifact that was pushed as a bundle")
	}
	return files, nil
}

// has says whether the files of an artifact are these: packed is the archive, if there is one.
func (c Contents) has(tree *archive.Tree, packed []byte) error {
	if c.Archive != nil {
		if got := registry.DigestOf(packed); got != c.Archive.Digest {
			return refuse(Mismatched, "its layer has the digest %s, and the manifest names %s: fetch it again", got, c.Archive.Digest)
		}
		return unpacksTo(packed, tree)
	}
	if packed != nil {
		return refuse(Mismatched, "it was stored with an archive, and the manifest names none: fetch it again")
	}
	for name, content := range tree.All() {
		if got := registry.DigestOf(content); got != c.Files[name].Digest {
			return refuse(Mismatched, "%s has the digest %s, and the manifest names %q: fetch it again", name, got, c.Files[name].Digest)
		}
	}
	if names := len(tree.Names()); names != len(c.Files) {
		return refuse(Mismatched, "it has %d files, and the manifest names %d: fetch it again", names, len(c.Files))
	}
	return nil
}
