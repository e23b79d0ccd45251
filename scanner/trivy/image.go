//go:build goexperiment.jsonv2

package trivy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image is what Trivy is given: the caller's image, each part of it checked against the digest that names it. It
// implements Trivy's Image.
//
// Trivy keeps what it knows of a layer under the diff_id that the image's configuration names. Nobody checks that the
// layer is what the configuration says before a container runtime unpacks it. Without a check an image of an attacker
// could name a layer of somebody else's, bring another, and decide what the scanner believes of both.
type image struct {
	v1.Image // only what is overridden below is called
	name     string
	digest   string
	manifest *v1.Manifest
	raw      []byte
	config   *v1.ConfigFile
	layers   []*layer
	budget   *budget
}

// budget is what the layers of an image may still cost together.
type budget struct {
	limits   Limits
	unpacked atomic.Int64
	entries  atomic.Int64
}

// openImage checks that the image is one for containers and that its parts belong together. No layer is read.
func openImage(source v1.Image, options Options) (*image, error) {
	raw, err := source.RawManifest()
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	digest := digestOf(raw)
	if options.Digest != "" && options.Digest != digest {
		return nil, fmt.Errorf("the manifest has the digest %s, not %s: fetch it again", digest, options.Digest)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, unscannable("its manifest cannot be read: %v", err)
	}
	if !manifest.Config.MediaType.IsConfig() {
		return nil, unscannable("it is no container image: its configuration has the media type %q", manifest.Config.MediaType)
	}
	if len(manifest.Layers) > options.Limits.Layers {
		return nil, unscannable("it has %d layers, more than the limit of %d", len(manifest.Layers), options.Limits.Layers)
	}
	rawConfig, err := source.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if got := digestOf(rawConfig); got != manifest.Config.Digest.String() {
		return nil, fmt.Errorf("the configuration has the digest %s, the manifest names %s: fetch it again", got, manifest.Config.Digest)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(rawConfig))
	if err != nil {
		return nil, unscannable("its configuration cannot be read: %v", err)
	}
	if config.OS == "windows" {
		return nil, unscannable("it is an image for Windows, which the scanner does not know")
	}
	// From the history Trivy guesses which layers belong to a base image, and searches those for no secrets. The
	// history is the builder's word, and what is kept of a layer would depend on who used it first. Without an entry
	// that made no layer there is nothing to guess from; the commands stay, since they are searched, too.
	for n := range config.History {
		config.History[n].EmptyLayer = false
	}

	i := &image{Image: source, name: options.Name, digest: digest, manifest: manifest, raw: raw, config: config, budget: &budget{limits: options.Limits}}
	if err := i.openLayers(source); err != nil {
		return nil, err
	}
	return i, nil
}

func (i *image) openLayers(source v1.Image) error {
	ids := i.config.RootFS.DiffIDs
	if len(ids) != len(i.manifest.Layers) {
		return unscannable("its configuration names %d layers, its manifest %d", len(ids), len(i.manifest.Layers))
	}
	for n, descriptor := range i.manifest.Layers {
		switch {
		case !descriptor.MediaType.IsDistributable():
			return unscannable("its layer %s is not kept in registries (%s), so nobody knows what is in it", descriptor.Digest, descriptor.MediaType)
		case !isLayer(descriptor.MediaType):
			return unscannable("its layer %s has the media type %q, which is no layer of a container image", descriptor.Digest, descriptor.MediaType)
		}
		if twin := i.layer(ids[n].String()); twin != nil && twin.descriptor.Digest != descriptor.Digest {
			return unscannable("its configuration says that the layers %s and %s are the same, which they are not", twin.descriptor.Digest, descriptor.Digest)
		}
		// Not by diff_id: two layers of an image may be named the same there by mistake or with intent.
		inner, err := source.LayerByDigest(descriptor.Digest)
		if err != nil {
			return fmt.Errorf("opening the layer %s: %w", descriptor.Digest, err)
		}
		i.layers = append(i.layers, newLayer(inner, descriptor, ids[n], i.budget))
	}
	return nil
}

// isLayer knows the layers that [layer.unpack] can read.
func isLayer(mediaType types.MediaType) bool {
	switch mediaType {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer:
		return true
	}
	return mediaType == "application/vnd.docker.image.rootfs.diff.tar.zstd" // as buildkit has named it
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Name is what reports call the image.
func (i *image) Name() string {
	if i.name == "" {
		return i.digest
	}
	return i.name + "@" + i.digest
}

// ID is the digest of the configuration.
func (i *image) ID() (string, error) { return i.manifest.Config.Digest.String(), nil }

// RepoTags is empty: a tag says nothing about an image.
func (i *image) RepoTags() []string { return nil }

// RepoDigests is the image's reference, if its repository is known.
func (i *image) RepoDigests() []string {
	if i.name == "" {
		return nil
	}
	return []string{i.Name()}
}

// ConfigFile is the checked configuration.
func (i *image) ConfigFile() (*v1.ConfigFile, error) { return i.config, nil }

// Manifest is the checked manifest.
func (i *image) Manifest() (*v1.Manifest, error) { return i.manifest, nil }

// RawManifest is the checked manifest.
func (i *image) RawManifest() ([]byte, error) { return i.raw, nil }

// Layers are the layers, lowest first.
func (i *image) Layers() ([]v1.Layer, error) {
	layers := make([]v1.Layer, len(i.layers))
	for n, l := range i.layers {
		layers[n] = l
	}
	return layers, nil
}

// LayerByDiffID is how Trivy asks for layers.
func (i *image) LayerByDiffID(id v1.Hash) (v1.Layer, error) {
	if l := i.layer(id.String()); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("the image has no layer %s", id)
}

func (i *image) layer(id string) *layer {
	for _, l := range i.layers {
		if l.diffID.String() == id {
			return l
		}
	}
	return nil
}

// failure is what went wrong in reading the layers. Trivy says it in other words, or not at all when it happens
// behind the last file.
func (i *image) failure() error {
	var all []error
	for _, l := range i.layers {
		all = append(all, l.failure())
	}
	return errors.Join(all...)
}
