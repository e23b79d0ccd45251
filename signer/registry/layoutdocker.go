package registry

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerImage is an entry of manifest.json in an archive of "docker save".
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// loadDocker makes manifests for the images of an archive of "docker save", which has
// none: of its configuration and its layers as they lie there. Their digests are those of
// the archive and not of a registry, so signatures never match; scans do not need them to.
func (l *Layout) loadDocker() error {
	raw, err := l.read("manifest.json", l.limits.manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is neither an OCI image layout (oci-layout) nor an archive of docker save (manifest.json)")
	}
	if err != nil {
		return err
	}
	var images []dockerImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return fmt.Errorf("manifest.json is not as docker writes it: %w", err)
	}
	if len(images) > maxRoots {
		return fmt.Errorf("manifest.json lists %d images, and the limit is %d", len(images), maxRoots)
	}
	l.manifests, l.names = map[string][]byte{}, map[string]string{}
	hashed := map[string]v1.Descriptor{}
	for _, image := range images {
		if err := l.addDocker(image, hashed); err != nil {
			return err
		}
	}
	return l.checkRoots()
}

func (l *Layout) addDocker(image dockerImage, hashed map[string]v1.Descriptor) error {
	if len(image.Layers) > l.limits.layers {
		return &Error{Kind: TooMany, Host: l.path, What: l.opening(), Err: fmt.Errorf("the image has %d layers, and the limit is %d", len(image.Layers), l.limits.layers)}
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2}
	var err error
	if manifest.Config, err = l.hash(image.Config, l.limits.manifest, hashed); err != nil {
		return err
	}
	manifest.Config.MediaType = types.DockerConfigJSON
	for _, name := range image.Layers {
		layer, err := l.hash(name, l.limits.layer, hashed)
		if err != nil {
			return err
		}
		manifest.Layers = append(manifest.Layers, layer)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	root, err := newManifest(DigestOf(raw), raw)
	if err != nil {
		return err
	}
	l.manifests[root.Digest] = raw
	for _, tag := range append(image.RepoTags, "")[:max(1, len(image.RepoTags))] {
		named := root.Descriptor
		if tag != "" {
			named.Annotations = map[string]string{refName: tag}
		}
		l.roots = append(l.roots, named)
	}
	return nil
}

// hash describes a file of the archive by its content, once.
func (l *Layout) hash(name string, limit int64, hashed map[string]v1.Descriptor) (v1.Descriptor, error) {
	if known, ok := hashed[name]; ok {
		return known, nil
	}
	file, size, err := l.files.open(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer file.Close()
	if size > limit {
		return v1.Descriptor{}, &tooLarge{name: printable(name), limit: limit}
	}
	content := bufio.NewReaderSize(file, 64<<10)
	media := types.DockerUncompressedLayer
	if head, err := content.Peek(2); err == nil && head[0] == 0x1f && head[1] == 0x8b {
		media = types.DockerLayer
	}
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		return v1.Descriptor{}, err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	l.names["sha256:"+sum] = name
	descriptor := v1.Descriptor{MediaType: media, Size: size, Digest: v1.Hash{Algorithm: "sha256", Hex: sum}}
	hashed[name] = descriptor
	return descriptor, nil
}
