package cosign_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// memory is a registry without network: it measures what verifying costs by itself, and fails
// where a test wants it to.
type memory struct {
	mu        sync.Mutex
	manifests map[string][]byte // by digest and by tag
	blobs     map[string][]byte
	listed    map[string][]registry.Descriptor
	requests  map[string]int
	// fault is asked before each request ("resolve sha256-….sig", "referrers sha256:…").
	fault func(request string) error
	// keeps forbids to delete.
	keeps bool
}

func newMemory() *memory {
	return &memory{manifests: map[string][]byte{}, blobs: map[string][]byte{}, listed: map[string][]registry.Descriptor{}, requests: map[string]int{}}
}

func (m *memory) ask(kind, what string) error {
	m.requests[kind]++
	if m.fault != nil {
		return m.fault(kind + " " + what)
	}
	return nil
}

func notFound(what string) error {
	return &registry.Error{Kind: registry.NotFound, Host: "registry.example.com", What: "fetching " + what}
}

func (m *memory) Resolve(_ context.Context, _ registry.Repository, tag string) (registry.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ask("resolve", tag); err != nil {
		return registry.Manifest{}, err
	}
	return m.manifest(tag)
}

func (m *memory) Manifest(_ context.Context, _ registry.Repository, digest string) (registry.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ask("manifest", digest); err != nil {
		return registry.Manifest{}, err
	}
	return m.manifest(digest)
}

func (m *memory) manifest(name string) (registry.Manifest, error) {
	raw, ok := m.manifests[name]
	if !ok {
		return registry.Manifest{}, notFound(name)
	}
	var head struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return registry.Manifest{}, err
	}
	return registry.Manifest{Raw: raw, Descriptor: registry.Descriptor{MediaType: head.MediaType, Digest: registry.DigestOf(raw), Size: int64(len(raw))}}, nil
}

func (m *memory) Blob(_ context.Context, _ registry.Repository, digest string, most int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ask("blob", digest); err != nil {
		return nil, err
	}
	content, ok := m.blobs[digest]
	if !ok {
		return nil, notFound(digest)
	}
	if int64(len(content)) > most {
		return nil, &registry.Error{Kind: registry.TooLarge, What: "fetching " + digest}
	}
	return content, nil
}

func (m *memory) Referrers(_ context.Context, _ registry.Repository, digest string) ([]registry.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ask("referrers", digest); err != nil {
		return nil, err
	}
	return append([]registry.Descriptor(nil), m.listed[digest]...), nil
}

func (m *memory) PushBlob(_ context.Context, _ registry.Repository, content []byte) (registry.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	digest := registry.DigestOf(content)
	m.blobs[digest] = content
	return registry.Descriptor{Digest: digest, Size: int64(len(content))}, nil
}

func (m *memory) PushManifest(_ context.Context, _ registry.Repository, reference, mediaType string, raw []byte) (registry.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	digest := registry.DigestOf(raw)
	m.manifests[digest], m.manifests[reference] = raw, raw
	return registry.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(raw))}, nil
}

func (m *memory) PushReferrer(ctx context.Context, repository registry.Repository, subject, mediaType string, raw []byte) (registry.Descriptor, error) {
	pushed, err := m.PushManifest(ctx, repository, registry.DigestOf(raw), mediaType, raw)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed[subject] = append(m.listed[subject], pushed)
	return pushed, err
}

func (m *memory) RemoveReferrer(_ context.Context, _ registry.Repository, subject, digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keeps {
		return fmt.Errorf("deleting %s: the registry forbids it", digest)
	}
	delete(m.manifests, digest)
	var kept []registry.Descriptor
	for _, one := range m.listed[subject] {
		if one.Digest != digest {
			kept = append(kept, one)
		}
	}
	m.listed[subject] = kept
	return nil
}
