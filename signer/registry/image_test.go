package registry_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// built is an image made by hand: what its layers are, and what it says of them.
type built struct {
	layers    [][]byte
	mediaType string
	diffIDs   []string
	urls      []string
}

func (b built) push(t *testing.T, client *registry.Client, repository registry.Repository) string {
	t.Helper()
	var layers []map[string]any
	for _, content := range b.layers {
		d, err := client.PushBlob(t.Context(), repository, content)
		if err != nil {
			t.Fatal(err)
		}
		layer := map[string]any{"mediaType": b.mediaType, "digest": d.Digest, "size": d.Size}
		if b.urls != nil {
			layer["urls"] = b.urls
		}
		layers = append(layers, layer)
	}
	config, err := json.Marshal(map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": b.diffIDs}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := client.PushBlob(t.Context(), repository, config)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "layers": layers,
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": d.Digest, "size": d.Size}})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := client.PushManifest(t.Context(), repository, "built", manifestType, raw)
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Digest
}

func gzipped(t *testing.T, content []byte) []byte {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(content)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, content []byte) []byte {
	writer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	return writer.EncodeAll(content, nil)
}

func TestImagesAreReadWithinLimits(t *testing.T) {
	const (
		plain = "application/vnd.oci.image.layer.v1.tar"
		gz    = plain + "+gzip"
		zst   = plain + "+zstd"
	)
	content := bytes.Repeat([]byte("layer"), 1000)
	id := registry.DigestOf(content)
	big := make([]byte, 1<<20)
	tests := []struct {
		name    string
		image   built
		options registry.Options
		want    registry.Kind
	}{
		{"a plain layer", built{layers: [][]byte{content}, mediaType: plain, diffIDs: []string{id}}, registry.Options{}, ""},
		{"a layer in gzip", built{layers: [][]byte{gzipped(t, content)}, mediaType: gz, diffIDs: []string{id}}, registry.Options{}, ""},
		{"a layer in zstd", built{layers: [][]byte{zstandard(t, content)}, mediaType: zst, diffIDs: []string{id}}, registry.Options{}, ""},
		{"a layer that is another when unpacked", built{layers: [][]byte{gzipped(t, big)}, mediaType: gz, diffIDs: []string{id}}, registry.Options{}, registry.Mismatch},
		{"a bomb in gzip", built{layers: [][]byte{gzipped(t, big)}, mediaType: gz, diffIDs: []string{registry.DigestOf(big)}}, registry.Options{MaxUncompressed: 1 << 19}, registry.TooLarge},
		{"a bomb in zstd", built{layers: [][]byte{zstandard(t, big)}, mediaType: zst, diffIDs: []string{registry.DigestOf(big)}}, registry.Options{MaxUncompressed: 1 << 19}, registry.TooLarge},
		{"a bomb of several layers", built{layers: [][]byte{gzipped(t, big), gzipped(t, big[1:])}, mediaType: gz, diffIDs: []string{registry.DigestOf(big), registry.DigestOf(big[1:])}}, registry.Options{MaxUncompressed: 3 << 19}, registry.TooLarge},
		{"a layer above the limit", built{layers: [][]byte{content}, mediaType: plain, diffIDs: []string{id}}, registry.Options{MaxLayer: 4999}, registry.TooLarge},
		{"layers above the limit together", built{layers: [][]byte{content, content[1:]}, mediaType: plain, diffIDs: []string{id, id}}, registry.Options{MaxImage: 9998}, registry.TooLarge},
		{"more layers than the limit", built{layers: [][]byte{content, content[1:]}, mediaType: plain, diffIDs: []string{id, id}}, registry.Options{MaxLayers: 1}, registry.TooMany},
		{"a foreign layer", built{layers: [][]byte{content}, mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", diffIDs: []string{id}}, registry.Options{}, registry.Forbidden},
		{"a layer with addresses", built{layers: [][]byte{content}, mediaType: plain, diffIDs: []string{id}, urls: []string{"https://example.com/layer"}}, registry.Options{}, registry.Forbidden},
		{"fewer layers than the configuration says", built{layers: [][]byte{content}, mediaType: plain, diffIDs: []string{id, id}}, registry.Options{}, registry.Malformed},
		{"more layers than the configuration says", built{layers: [][]byte{content}, mediaType: plain}, registry.Options{}, registry.Malformed},
	}
	server := start(t, registrytest.Referrers)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			digest := test.image.push(t, newClient(t, server.Options()), server.Repository("acme/app"))
			options := server.Options()
			options.MaxLayers, options.MaxLayer, options.MaxImage, options.MaxUncompressed = test.options.MaxLayers, test.options.MaxLayer, test.options.MaxImage, test.options.MaxUncompressed
			err := unpack(t, newClient(t, options), server.Repository("acme/app"), digest)
			if registry.KindOf(err) != test.want || (err != nil) != (test.want != "") {
				t.Errorf("got %v, want kind %q", err, test.want)
			}
		})
	}
}

// unpack reads all layers, twice, as scanners may.
func unpack(t *testing.T, client *registry.Client, repository registry.Repository, digest string) error {
	t.Helper()
	image, err := client.Image(t.Context(), repository, digest)
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range append(layers, layers...) {
		stream, err := layer.Uncompressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, stream)
		stream.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func TestALayerThatIsChangedOnTheWayIsAMismatch(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		client := newClient(t, server.Options())
		p := push(t, client, server.Repository("acme/app"))
		image, err := client.Image(t.Context(), p.repository, p.image.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		server.Inject(registrytest.On("/blobs/", registrytest.Flipped()))
		stream, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		_, err = io.Copy(io.Discard, stream)
		wantKind(t, err, registry.Mismatch)
	})
}

func TestAMessageEndsWithTheNextStep(t *testing.T) {
	for kind, want := range map[registry.Kind]string{
		registry.NotFound: "push it first", registry.Unauthorized: "give credentials for ghcr.io", registry.Forbidden: "give --allow-registry ghcr.io",
		registry.RateLimited: "retry in 2 s", registry.Timeout: "allow more time", registry.TooLarge: "make it smaller", registry.TooMany: "remove what is no longer needed",
		registry.Malformed: "is a registry", registry.Mismatch: "do not use it", registry.Unreachable: "check that ghcr.io runs",
	} {
		err := &registry.Error{Kind: kind, Host: "ghcr.io", What: "fetching x", RetryAfter: 1500 * 1e6, Err: fmt.Errorf("cause")}
		if got := err.Error(); !strings.HasPrefix(got, "fetching x: cause; ") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want it to end with %q", kind, got, want)
		}
	}
	if got := registry.KindOf(fmt.Errorf("x")); got != "" {
		t.Errorf("the kind of another error is %q, want none", got)
	}
}
