//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
)

// entryVersion changes when an entry of an older program means something else.
const entryVersion = 1

// entry is what is kept of a layer. It has nothing of the vulnerability database.
type entry struct {
	Version int             `json:"version"`
	Key     string          `json:"key"`
	Seen    seen            `json:"seen"`
	Blob    ftypes.BlobInfo `json:"blob"`
}

// layerCache is Trivy's cache for one analysis of one image: everything in memory, and what is sound on disk in the
// end. It implements both interfaces of Trivy's cache.
//
// A layer is kept only if all of it was read and matched the digests by which it is looked up, and if no file in the
// image failed to be parsed: such a failure is known of the image, not of the layer, and has to be met again.
type layerCache struct {
	image     *image
	directory string
	salt      string
	size      int64

	mu       sync.Mutex
	blobs    map[string]ftypes.BlobInfo
	artifact ftypes.ArtifactInfo
	fresh    map[string]string // key of Trivy to file
}

func newLayerCache(i *image, options Options, javaDatabase string) *layerCache {
	return &layerCache{
		image: i, directory: options.Cache, size: options.CacheSize,
		// The names of Java archives come from the Java database, licences from a setting that Trivy leaves out.
		salt:  fmt.Sprintf("%d %s %s %t", entryVersion, Version, javaDatabase, options.LicenseFiles),
		blobs: map[string]ftypes.BlobInfo{}, fresh: map[string]string{},
	}
}

// MissingBlobs are the layers that have to be read. Trivy names them in the order of the configuration.
func (c *layerCache) MissingBlobs(_ context.Context, _ string, keys []string) (bool, []string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(keys) != len(c.image.layers) {
		return true, nil, fmt.Errorf("the scanner asks for %d layers of %d", len(keys), len(c.image.layers))
	}
	var missing []string
	for n, key := range keys {
		l := c.image.layers[n]
		identity := digestOf([]byte(strings.Join([]string{c.salt, key, l.descriptor.Digest.String(), l.diffID.String()}, "\n")))
		if kept, ok := c.load(identity); ok {
			l.recall(kept.Seen)
			c.blobs[key] = kept.Blob
			continue
		}
		if !slices.Contains(missing, key) {
			c.fresh[key] = identity
			missing = append(missing, key)
		}
	}
	return true, missing, nil
}

// PutBlob takes the analysis of a layer.
func (c *layerCache) PutBlob(_ context.Context, key string, blob ftypes.BlobInfo) error {
	// The credential itself stays where it was found.
	for n := range blob.Secrets {
		for m := range blob.Secrets[n].Findings {
			blob.Secrets[n].Findings[m].Code = ftypes.Code{}
			blob.Secrets[n].Findings[m].Match = ""
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs[key] = blob
	return nil
}

// GetBlob is the analysis of a layer.
func (c *layerCache) GetBlob(_ context.Context, key string) (ftypes.BlobInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	blob, ok := c.blobs[key]
	if !ok {
		return ftypes.BlobInfo{}, fmt.Errorf("the layer %s was not analysed", key)
	}
	return blob, nil
}

// PutArtifact takes the analysis of the image's configuration.
func (c *layerCache) PutArtifact(_ context.Context, _ string, info ftypes.ArtifactInfo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.artifact = info
	return nil
}

// GetArtifact is the analysis of the image's configuration.
func (c *layerCache) GetArtifact(context.Context, string) (ftypes.ArtifactInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.artifact, nil
}

// DeleteBlobs does nothing: an analysis lasts for one image.
func (c *layerCache) DeleteBlobs(context.Context, []string) error { return nil }

// Close does nothing.
func (c *layerCache) Close() error { return nil }

// Clear does nothing.
func (c *layerCache) Clear(context.Context) error { return nil }

// keep writes the layers that were read to disk. To fail is no harm: they will be read again.
func (c *layerCache) keep() error {
	if c.directory == "" || len(c.fresh) == 0 {
		return nil
	}
	if err := os.MkdirAll(c.directory, 0o700); err != nil {
		return fmt.Errorf("making the cache of layers: %w", err)
	}
	for key, identity := range c.fresh {
		blob, ok := c.blobs[key]
		if !ok {
			continue
		}
		l := c.image.layer(blob.DiffID)
		if l == nil {
			continue
		}
		if found, verified := l.known(); verified {
			if err := c.store(identity, entry{Version: entryVersion, Key: identity, Seen: found, Blob: blob}); err != nil {
				return fmt.Errorf("writing the cache of layers: %w", err)
			}
		}
	}
	return c.prune()
}

func (c *layerCache) file(identity string) string {
	return filepath.Join(c.directory, strings.TrimPrefix(identity, "sha256:")+".json")
}

// load is silent about what cannot be read: it is then missing.
func (c *layerCache) load(identity string) (entry, bool) {
	if c.directory == "" {
		return entry{}, false
	}
	content, err := os.ReadFile(c.file(identity))
	if err != nil {
		return entry{}, false
	}
	var e entry
	if err := json.Unmarshal(content, &e); err != nil || e.Version != entryVersion || e.Key != identity {
		return entry{}, false
	}
	if e.Blob.SchemaVersion != ftypes.BlobJSONSchemaVersion {
		return entry{}, false
	}
	now := time.Now()
	_ = os.Chtimes(c.file(identity), now, now) // only for what is pruned first
	return e, true
}

// store replaces an entry in one step: other processes read meanwhile.
func (c *layerCache) store(identity string, e entry) error {
	content, err := json.Marshal(e)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(c.directory, ".layer")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails after the rename, as it should
	_, err = temporary.Write(content)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), c.file(identity))
}

// prune removes what was used longest ago, until the rest fits.
func (c *layerCache) prune() error {
	files, err := os.ReadDir(c.directory)
	if err != nil {
		return fmt.Errorf("reading the cache of layers: %w", err)
	}
	var kept []fs.FileInfo
	var size int64
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
			kept, size = append(kept, info), size+info.Size()
		}
	}
	slices.SortFunc(kept, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range kept {
		if size <= c.size {
			break
		}
		if err := os.Remove(filepath.Join(c.directory, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("pruning the cache of layers: %w", err)
		}
		size -= info.Size()
	}
	return nil
}
