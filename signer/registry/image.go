package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// source is what an image is read from.
type source interface {
	Manifest(ctx context.Context, repository Repository, digest string) (Manifest, error)
	Blob(ctx context.Context, repository Repository, digest string, limit int64) ([]byte, error)
	OpenBlob(ctx context.Context, repository Repository, digest string, limit int64) (io.ReadCloser, error)
}

// imageLimits are those of [Options].
type imageLimits struct {
	layers                               int
	manifest, layer, image, uncompressed int64
}

// Image is the image of a digest, to be scanned. Its layers are fetched when they are
// read, within the limits of [Options], each checked against its digest. Images of layers that lie elsewhere
// ("foreign") are refused, since they would be judged by what is not all of them; so are
// indexes, of which [Manifest.Children] are the images. The context is that of all later reads.
func (c *Client) Image(ctx context.Context, repository Repository, digest string) (v1.Image, error) {
	o := c.options
	return openImage(ctx, c, repository, digest, imageLimits{layers: o.MaxLayers, manifest: o.MaxManifest, layer: o.MaxLayer, image: o.MaxImage, uncompressed: o.MaxUncompressed})
}

func openImage(ctx context.Context, from source, repository Repository, digest string, limits imageLimits) (v1.Image, error) {
	what := fmt.Sprintf("opening the image %s@%s", repository, digest)
	manifest, err := from.Manifest(ctx, repository, digest)
	if err != nil {
		return nil, err
	}
	if manifest.IsIndex() {
		fault := invalid(repository, what, errors.New("it is an index of images"))
		fault.hint = "choose one of them"
		return nil, fault
	}
	var lists manifestFields
	if err := json.Unmarshal(manifest.Raw, &lists); err != nil {
		return nil, invalid(repository, what, err)
	}
	if err := countElements(lists.Layers, limits.layers); err != nil {
		fault := invalid(repository, what, fmt.Errorf("its layers: %w", err))
		fault.Kind, fault.hint = listKind(err), "build it with fewer layers"
		return nil, fault
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(manifest.Raw))
	if err != nil {
		return nil, invalid(repository, what, err)
	}
	if err := limits.check(parsed); err != nil {
		err.Host, err.What = repository.Registry, what
		return nil, err
	}
	config, err := from.Blob(ctx, repository, parsed.Config.Digest.String(), limits.manifest)
	if err != nil {
		return nil, err
	}
	var configured struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &configured); err != nil || len(configured.RootFS.DiffIDs) != len(parsed.Layers) {
		fault := invalid(repository, what, fmt.Errorf("its configuration speaks of %d layers, and it has %d", len(configured.RootFS.DiffIDs), len(parsed.Layers)))
		fault.hint = "it is no container image that could be run"
		return nil, fault
	}
	i := &image{ctx: ctx, from: from, repository: repository, manifest: manifest, parsed: parsed, config: config, limits: limits, what: what}
	lazy, err := partial.CompressedToImage(i)
	if err != nil {
		return nil, invalid(repository, what, err)
	}
	return &bounded{Image: lazy, unpacked: &unpacked{limit: limits.uncompressed, most: map[string]int64{}}, fault: i.fault}, nil
}

// check looks at what the manifest says, which is what the layers are then held to.
func (l imageLimits) check(m *v1.Manifest) *Error {
	var sum int64
	for n, layer := range m.Layers {
		if !layer.MediaType.IsDistributable() || len(layer.URLs) > 0 {
			return &Error{Kind: Forbidden, Err: fmt.Errorf("layer %d lies outside the registry", n+1), hint: "push the image with all its layers"}
		}
		if layer.Size < 0 || layer.Size > l.layer {
			return &Error{Kind: TooLarge, Err: fmt.Errorf("layer %d has %d bytes, and the limit is %d", n+1, layer.Size, l.layer)}
		}
		if sum += layer.Size; sum > l.image {
			return &Error{Kind: TooLarge, Err: fmt.Errorf("its layers have more than %d bytes, which is the limit", l.image)}
		}
	}
	return nil
}

// image implements partial.CompressedImageCore.
type image struct {
	ctx        context.Context
	from       source
	repository Repository
	manifest   Manifest
	parsed     *v1.Manifest
	config     []byte
	limits     imageLimits
	what       string
}

func (i *image) fault(kind Kind, err error) *Error {
	return &Error{Kind: kind, Host: i.repository.Registry, What: i.what, Err: err}
}

func (i *image) RawConfigFile() ([]byte, error)      { return i.config, nil }
func (i *image) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(i) }
func (i *image) Manifest() (*v1.Manifest, error)     { return i.parsed, nil }
func (i *image) RawManifest() ([]byte, error)        { return i.manifest.Raw, nil }
func (i *image) MediaType() (types.MediaType, error) {
	return types.MediaType(i.manifest.MediaType), nil
}

// LayerByDigest is a layer or, as go-containerregistry wants it, the configuration.
func (i *image) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	if digest == i.parsed.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for _, descriptor := range i.parsed.Layers {
		if descriptor.Digest == digest {
			return &layer{image: i, descriptor: descriptor}, nil
		}
	}
	return nil, invalid(i.repository, i.what, fmt.Errorf("it has no layer %s", digest))
}

// layer implements partial.CompressedLayer.
type layer struct {
	image      *image
	descriptor v1.Descriptor
}

func (l *layer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }
func (l *layer) Descriptor() (*v1.Descriptor, error) { return &l.descriptor, nil }

// DiffID is what the configuration says; [boundedLayer.Uncompressed] holds the layer to it.
func (l *layer) DiffID() (v1.Hash, error) {
	return partial.BlobToDiffID(l.image, l.descriptor.Digest)
}

func (l *layer) Compressed() (io.ReadCloser, error) {
	return l.image.from.OpenBlob(l.image.ctx, l.image.repository, l.descriptor.Digest.String(), l.descriptor.Size)
}

// bounded is an image whose layers unpack to what its configuration says, within a limit.
type bounded struct {
	v1.Image
	unpacked *unpacked
	fault    func(Kind, error) *Error
}

// Layers implements v1.Image.
func (b *bounded) Layers() ([]v1.Layer, error) {
	layers, err := b.Image.Layers()
	for i, layer := range layers {
		layers[i] = &boundedLayer{Layer: layer, image: b}
	}
	return layers, err
}

// LayerByDigest implements v1.Image.
func (b *bounded) LayerByDigest(digest v1.Hash) (v1.Layer, error) {
	layer, err := b.Image.LayerByDigest(digest)
	if err != nil {
		return nil, err
	}
	return &boundedLayer{Layer: layer, image: b}, nil
}

// LayerByDiffID implements v1.Image.
func (b *bounded) LayerByDiffID(digest v1.Hash) (v1.Layer, error) {
	layer, err := b.Image.LayerByDiffID(digest)
	if err != nil {
		return nil, err
	}
	return &boundedLayer{Layer: layer, image: b}, nil
}

type boundedLayer struct {
	v1.Layer
	image *bounded
}

// Uncompressed unpacks the layer. The last Read is a fault if what was unpacked is not
// what the configuration says: scanners remember layers by that digest, and container
// runtimes refuse such an image, too.
func (l *boundedLayer) Uncompressed() (io.ReadCloser, error) {
	id, err := l.DiffID()
	if err != nil {
		return nil, err
	}
	stream, err := l.Layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	counted := &countedStream{ReadCloser: stream, layer: id.String(), image: l.image}
	return newChecked(counted, id.String(), l.image.unpacked.limit, l.image.fault)
}

// unpacked counts the bytes of all layers, those that are read again once.
type unpacked struct {
	limit int64
	mu    sync.Mutex
	sum   int64
	most  map[string]int64
}

// reach says whether so many bytes of a layer are still within the limit.
func (u *unpacked) reach(layer string, n int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if more := n - u.most[layer]; more > 0 {
		u.most[layer] = n
		u.sum += more
	}
	return u.sum <= u.limit
}

type countedStream struct {
	io.ReadCloser
	layer string
	image *bounded
	n     int64
}

func (s *countedStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.n += int64(n)
	if !s.image.unpacked.reach(s.layer, s.n) {
		return 0, s.image.fault(TooLarge, fmt.Errorf("its layers unpack to more than %d bytes, which is the limit", s.image.unpacked.limit))
	}
	return n, err
}
