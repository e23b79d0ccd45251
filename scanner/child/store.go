package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

// Source is where images are read: a registry or a layout.
type Source interface {
	// Manifest refuses bytes of another digest.
	Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error)
	// OpenBlob fails at the end if the bytes are of another digest.
	OpenBlob(ctx context.Context, repository registry.Repository, digest string, most int64) (io.ReadCloser, error)
}

// DefaultKept holds the layers of some hundred images, of which many are shared.
const DefaultKept = 20 << 30

// Limits of what is pulled for one image, and of what is kept.
type Limits struct {
	Layers int   // 512 by default, far above the 127 that container runtimes mount
	Layer  int64 // compressed size of one; 4 GiB by default
	Image  int64 // of all together; 8 GiB by default
	// Kept is how much of layers stays on disk for other images that share them; 20 GiB by default.
	Kept int64
}

// Store keeps pulled layers by digest, so that images that share one pull it once. It is for use by several goroutines;
// several processes may share the folder.
type Store struct {
	directory string
	limits    Limits
	pulls     singleflight.Group
	mu        sync.Mutex // held while old layers are removed
}

// pullers is how many layers of one image are pulled at once, as container runtimes do.
const pullers = 3

// maxConfig is the largest configuration of an image that is read.
const maxConfig = 8 << 20

// RefusedError says what about an image keeps it from being scanned. It lies in the image, so that trying again does not help.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refusef(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// NewStore uses a folder, which it makes.
func NewStore(directory string, limits Limits) (*Store, error) {
	setDefault(&limits.Layers, 512)
	setDefault(&limits.Layer, 4<<30)
	setDefault(&limits.Image, 8<<30)
	setDefault(&limits.Kept, DefaultKept)
	s := &Store{directory: directory, limits: limits}
	for _, dir := range []string{s.blobs(), s.images()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the store of layers: %w", err)
		}
	}
	removeLeftovers(filepath.Join(s.blobs(), ".pull-*"))
	removeLeftovers(filepath.Join(s.images(), "*"))
	return s, nil
}

// leftoverAge is after what time a temporary file is of a process that was killed: no scan takes as long.
const leftoverAge = 24 * time.Hour

// removeLeftovers removes what processes that were killed have left. Others may be at work in the same folder.
func removeLeftovers(pattern string) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = os.RemoveAll(path)
		}
	}
}

func (s *Store) blobs() string  { return filepath.Join(s.directory, "blobs", "sha256") }
func (s *Store) images() string { return filepath.Join(s.directory, "images") }

// descriptor is what is needed of one (image-spec v1.1, "descriptor").
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type manifest struct {
	Config descriptor   `json:"config"`
	Layers []descriptor `json:"layers"`
}

// Pull makes an OCI image layout of one image manifest and says where. release removes it; the layers stay for
// others. The errors are those of the source, and [*RefusedError].
func (s *Store) Pull(ctx context.Context, source Source, repository registry.Repository, m registry.Manifest) (layout string, release func(), err error) {
	parsed, err := s.check(m)
	if err != nil {
		return "", nil, err
	}
	blobs := append([]descriptor{parsed.Config}, parsed.Layers...)
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(pullers)
	for _, blob := range blobs {
		group.Go(func() error { return s.pullOnce(groupContext, source, repository, blob) })
	}
	if err := group.Wait(); err != nil {
		return "", nil, err
	}
	layout, err = s.lay(m, blobs)
	if err != nil {
		return "", nil, fmt.Errorf("laying out the image %s: %w", m.Digest, err)
	}
	s.forget()
	return layout, func() { _ = os.RemoveAll(layout) }, nil
}

// check refuses manifests of what is no image, or too much of one.
func (s *Store) check(m registry.Manifest) (manifest, error) {
	var parsed manifest
	if err := json.Unmarshal(m.Raw, &parsed); err != nil {
		return parsed, refusef("the manifest %s is no JSON of an image", m.Digest)
	}
	switch parsed.Config.MediaType {
	case "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json":
	case "":
		return parsed, refusef("the manifest %s is of the old form (schema 1), which has no configuration: push the image again with a current builder", m.Digest)
	default:
		return parsed, refusef("%s is no image: its configuration is of type %.100q", m.Digest, parsed.Config.MediaType)
	}
	if len(parsed.Layers) > s.limits.Layers {
		return parsed, refusef("the image has %d layers where %d are allowed", len(parsed.Layers), s.limits.Layers)
	}
	if parsed.Config.Size < 0 || parsed.Config.Size > maxConfig {
		return parsed, refusef("the image's configuration has %d bytes where %d are allowed", parsed.Config.Size, int64(maxConfig))
	}
	var total int64
	for _, layer := range append([]descriptor{parsed.Config}, parsed.Layers...) {
		if hex, ok := strings.CutPrefix(layer.Digest, "sha256:"); !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
			return parsed, refusef("the image names something by %.100q, which is no SHA-256 digest", layer.Digest)
		}
		if layer.Size < 0 || layer.Size > s.limits.Layer {
			return parsed, refusef("a layer of the image has %d bytes where %d are allowed", layer.Size, s.limits.Layer)
		}
		if total += layer.Size; total > s.limits.Image {
			return parsed, refusef("the image has more than the %d bytes that are allowed", s.limits.Image)
		}
	}
	return parsed, nil
}

// pullOnce pulls a blob that is not there, however many images wait for it.
func (s *Store) pullOnce(ctx context.Context, source Source, repository registry.Repository, blob descriptor) error {
	for {
		_, err, shared := s.pulls.Do(blob.Digest, func() (any, error) { return nil, s.pull(ctx, source, repository, blob) })
		// Somebody else's pull that was given up says nothing about ours.
		if shared && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			continue
		}
		return err
	}
}

func (s *Store) path(digest string) string {
	return filepath.Join(s.blobs(), strings.TrimPrefix(digest, "sha256:"))
}

func (s *Store) pull(ctx context.Context, source Source, repository registry.Repository, blob descriptor) error {
	path := s.path(blob.Digest)
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == blob.Size {
		now := time.Now()
		return os.Chtimes(path, now, now) // the oldest are removed first
	}
	reader, err := source.OpenBlob(ctx, repository, blob.Digest, blob.Size)
	if err != nil {
		if registry.KindOf(err) == registry.NotFound {
			return refusef("the registry has not the layer %s of the image", blob.Digest)
		}
		return err
	}
	defer reader.Close()
	file, err := os.CreateTemp(s.blobs(), ".pull-")
	if err != nil {
		return fmt.Errorf("keeping the layer %s: %w", blob.Digest, err)
	}
	defer os.Remove(file.Name())
	written, err := io.Copy(file, reader)
	err = errors.Join(err, file.Close())
	switch {
	case err != nil:
		return fmt.Errorf("pulling %s of %s: %w", blob.Digest, repository, err)
	case written != blob.Size:
		return refusef("the layer %s has %d bytes, and the manifest says %d", blob.Digest, written, blob.Size)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("keeping the layer %s: %w", blob.Digest, err)
	}
	return nil
}

// lay makes the layout. Its blobs are hard links, so that removing old layers never disturbs a scan.
func (s *Store) lay(m registry.Manifest, blobs []descriptor) (layout string, err error) {
	layout, err = os.MkdirTemp(s.images(), strings.TrimPrefix(m.Digest, "sha256:")[:12]+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(layout))
		}
	}()
	folder := filepath.Join(layout, "blobs", "sha256")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	for _, blob := range blobs {
		name := filepath.Base(s.path(blob.Digest))
		if err := os.Link(s.path(blob.Digest), filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
		"manifests": []descriptor{{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))}},
	})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": index,
		filepath.Join("blobs", "sha256", strings.TrimPrefix(m.Digest, "sha256:")): m.Raw,
	} {
		if err := os.WriteFile(filepath.Join(layout, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return layout, nil
}

// forget removes the layers that were used longest ago, beyond what may be kept.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.blobs())
	if err != nil {
		return
	}
	var all []fs.FileInfo
	var total int64
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && !strings.HasPrefix(entry.Name(), ".") {
			all = append(all, info)
			total += info.Size()
		}
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range all {
		if total <= s.limits.Kept {
			return
		}
		if os.Remove(filepath.Join(s.blobs(), info.Name())) == nil {
			total -= info.Size()
		}
	}
}
