package registry

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxNesting of indexes in indexes, as much as anybody makes.
const maxNesting = 4

// PushImage uploads an image with its layers under a tag.
func (c *Client) PushImage(ctx context.Context, repository Repository, tag string, image v1.Image) (Descriptor, error) {
	what := fmt.Sprintf("pushing the image %s:%s", repository, tag)
	layers, err := image.Layers()
	if err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	for _, layer := range layers {
		if err := c.pushLayer(ctx, repository, what, layer); err != nil {
			return Descriptor{}, err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	if _, err := c.PushBlob(ctx, repository, config); err != nil {
		return Descriptor{}, err
	}
	return c.pushRaw(ctx, repository, tag, what, image)
}

func (c *Client) pushLayer(ctx context.Context, repository Repository, what string, layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return invalid(repository, what, err)
	}
	size, err := layer.Size()
	if err != nil {
		return invalid(repository, what, err)
	}
	return c.upload(ctx, repository, digest.String(), size, layer.Compressed)
}

// PushIndex uploads an index with all that it lists under a tag.
func (c *Client) PushIndex(ctx context.Context, repository Repository, tag string, index v1.ImageIndex) (Descriptor, error) {
	return c.pushIndex(ctx, repository, tag, index, maxNesting)
}

func (c *Client) pushIndex(ctx context.Context, repository Repository, reference string, index v1.ImageIndex, depth int) (Descriptor, error) {
	what := fmt.Sprintf("pushing the index %s to %s", reference, repository)
	if depth == 0 {
		return Descriptor{}, invalid(repository, what, fmt.Errorf("indexes are nested more than %d deep", maxNesting))
	}
	list, err := index.IndexManifest()
	if err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	for _, child := range list.Manifests {
		var err error
		switch {
		case child.MediaType.IsIndex():
			var inner v1.ImageIndex
			if inner, err = index.ImageIndex(child.Digest); err == nil {
				_, err = c.pushIndex(ctx, repository, child.Digest.String(), inner, depth-1)
			}
		case child.MediaType.IsImage():
			var image v1.Image
			if image, err = index.Image(child.Digest); err == nil {
				_, err = c.PushImage(ctx, repository, child.Digest.String(), image)
			}
		default:
			err = invalid(repository, what, fmt.Errorf("%s is a %s, neither image nor index", child.Digest, child.MediaType))
		}
		if err != nil {
			return Descriptor{}, err
		}
	}
	return c.pushRaw(ctx, repository, reference, what, index)
}

// pushRaw uploads the manifest of an image or index.
func (c *Client) pushRaw(ctx context.Context, repository Repository, reference, what string, of interface {
	RawManifest() ([]byte, error)
}) (Descriptor, error) {
	raw, err := of.RawManifest()
	if err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	manifest, err := newManifest(DigestOf(raw), raw)
	if err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	return c.PushManifest(ctx, repository, reference, manifest.MediaType, raw)
}
