// Package oci brings bundles from registries and puts them there.
//
// A bundle is an artifact with an image manifest (OCI image specification 1.1, "Guidelines for Artifact Usage") of the type
// application/vnd.portcullis.bundle.v1: the empty configuration, and one layer with the files. Artifacts of OPA, whose one
// layer is an archive as in any image, and of Conftest, with a layer for each file, are read as well. What is attached to the artifact is fetched with it, so that
// its signatures can be verified without the registry; they are made as those of images are.
package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Reader is where artifacts are read: a [registry.Client] or a [registry.Layout].
type Reader interface {
	cosign.Source
	OpenBlob(ctx context.Context, repository registry.Repository, digest string, limit int64) (io.ReadCloser, error)
}

// Options are those of a [Source].
type Options struct {
	// From is read in place of the registry, nil for the registry.
	From Reader
	// Registry are the options of the registry's client. Authorities and proxy of the source are put to them.
	Registry registry.Options
	// Credentials are what to sign in with, nil for those of Registry.
	Credentials registry.Credentials
	// Timeout is how long a fetch may take with all its requests, DefaultTimeout where it is 0. A registry that asks to be left alone
	// for longer is not waited for.
	Timeout time.Duration
}

// DefaultTimeout is for what a slow line brings of the largest bundle in that time.
const DefaultTimeout = 2 * time.Minute

// Source is an artifact in a registry.
type Source struct {
	from        Reader
	repository  registry.Repository
	tag, digest string
	timeout     time.Duration
}

// New checks where the artifact is. It connects to nothing.
func New(s v1alpha1.OCISource, o Options) (*Source, error) {
	found, err := parse(s)
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	if found.timeout = o.Timeout; found.timeout <= 0 {
		found.timeout = DefaultTimeout
	}
	if found.from = o.From; found.from != nil {
		return found, nil
	}
	client, err := newClient(s, o)
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	found.from = client
	return found, nil
}

func parse(s v1alpha1.OCISource) (*Source, error) {
	if (s.Tag == "") == (s.Digest == "") {
		return nil, errors.New("oci: name either a tag or a digest")
	}
	reference := s.Repository + ":" + s.Tag
	if s.Digest != "" {
		reference = s.Repository + "@" + s.Digest
	}
	image, err := workload.ParseImage(reference)
	if err != nil {
		return nil, fmt.Errorf("oci.repository: %w", err)
	}
	if image.Tag != s.Tag || image.Digest != s.Digest {
		return nil, fmt.Errorf("oci.repository %q: it has a tag or a digest of its own: write that in its own field", s.Repository)
	}
	return &Source{repository: registry.Repository{Registry: image.Registry, Path: image.Repository}, tag: image.Tag, digest: image.Digest}, nil
}

// newClient trusts the source's authorities in place of the system's, of its token server and its storage, too.
func newClient(s v1alpha1.OCISource, o Options) (*registry.Client, error) {
	options := o.Registry
	if o.Credentials != nil {
		options.Credentials = o.Credentials
	}
	if s.CABundle != "" {
		options.Authorities = append(options.Authorities[:len(options.Authorities):len(options.Authorities)],
			registry.Authority{PEM: []byte(s.CABundle), Only: true})
	}
	proxy, err := source.Proxy(s.ProxyURL)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		options.Proxy = func(*http.Request) (*url.URL, error) { return proxy, nil }
	}
	return registry.New(options)
}

// Fetch implements [source.Source]. The version is the manifest's digest and a hash of what is attached: a tag may move,
// and a signature may come later.
func (s *Source) Fetch(ctx context.Context, last string) (*source.Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	manifest, err := s.manifest(ctx)
	if err != nil {
		return nil, err
	}
	digest := registry.DigestOf(manifest.Raw)
	attached, err := source.Collect(ctx, s.from, cosign.Target{Repository: s.repository, Digest: digest})
	if err != nil {
		return nil, err
	}
	version, err := versionOf(digest, attached)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", s, err)
	}
	if version == last {
		return nil, source.ErrUnchanged
	}
	layer, tree, err := s.files(ctx, manifest.Raw)
	if err != nil {
		return nil, fmt.Errorf("fetching the bundle %s: %w", s, err)
	}
	proof := &source.OCIProof{Registry: s.repository.Registry, Repository: s.repository.Path, Manifest: manifest.Raw, Attached: attached, Layer: layer}
	return &source.Revision{Tree: tree, Origin: fmt.Sprintf("oci://%s@%s", s.repository, digest), Version: version, Proof: source.Proof{OCI: proof}}, nil
}

// String is the reference.
func (s *Source) String() string {
	if s.digest != "" {
		return s.repository.String() + "@" + s.digest
	}
	return s.repository.String() + ":" + s.tag
}

func (s *Source) manifest(ctx context.Context) (registry.Manifest, error) {
	if s.digest != "" {
		return s.from.Manifest(ctx, s.repository, s.digest)
	}
	return s.from.Resolve(ctx, s.repository, s.tag)
}

// files fetches the layers, and gives that with the archive as it is.
func (s *Source) files(ctx context.Context, manifest []byte) (layer []byte, tree *archive.Tree, err error) {
	contents, err := source.ReadManifest(manifest)
	if err != nil {
		return nil, nil, err
	}
	if contents.Archive == nil {
		tree, err := s.single(ctx, contents.Files)
		return nil, tree, err
	}
	if layer, err = s.blob(ctx, *contents.Archive, source.MaxEncoded); err != nil {
		return nil, nil, err
	}
	tree, err = archive.Unpack(bytes.NewReader(layer))
	return layer, tree, err
}

// single fetches files that are a layer each.
func (s *Source) single(ctx context.Context, layers map[string]registry.Descriptor) (*archive.Tree, error) {
	files, total := map[string][]byte{}, int64(0)
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		content, err := s.blob(ctx, layers[name], archive.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if total += int64(len(content)); total > archive.MaxBytes {
			return nil, fmt.Errorf("its files have more than %d bytes, which is the limit: make two bundles of it", archive.MaxBytes)
		}
		files[name] = content
	}
	return archive.New(files)
}

// blob streams a layer: a large one may take longer than one request for something small.
func (s *Source) blob(ctx context.Context, layer registry.Descriptor, most int64) ([]byte, error) {
	if layer.Size > most {
		return nil, fmt.Errorf("a layer has %d bytes, and the limit is %d: make it smaller", layer.Size, most)
	}
	stream, err := s.from.OpenBlob(ctx, s.repository, layer.Digest, most)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return io.ReadAll(stream)
}

func versionOf(digest string, attached source.Attached) (string, error) {
	written, err := json.Marshal(attached)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(written)
	return digest + "+" + hex.EncodeToString(sum[:8]), nil
}
