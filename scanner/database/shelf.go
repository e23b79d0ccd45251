package database

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// version is a database on disk, and the record of where it came from.
type version struct {
	// Digest is that of the artifact, or of the file where it came from a folder.
	Digest    string    `json:"digest"`
	URI       string    `json:"uri"`
	UpdatedAt time.Time `json:"updatedAt"`
	// Origin tells a folder that has not changed: size and time of its file.
	Origin string `json:"origin"`

	root   string // versions/db-HEX
	folder string // versions/db-HEX/db
	leases int
}

// shelf has the versions of one kind of database.
type shelf struct {
	options  *Options
	kind     *kind
	location Location
	mu       sync.Mutex
	current  *version
}

func openShelf(o *Options, k *kind, location Location) (*shelf, error) {
	s := &shelf{options: o, kind: k, location: location}
	if err := os.MkdirAll(s.versions(), 0o700); err != nil {
		return nil, fmt.Errorf("keeping the database %s: %w", k.name, err)
	}
	current, err := s.load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("the database that was in use cannot be used any more", "database", k.name, "error", err)
	}
	s.current = current
	return s, nil
}

func (s *shelf) versions() string { return filepath.Join(s.options.Directory, "versions") }
func (s *shelf) pointer() string  { return filepath.Join(s.options.Directory, s.kind.name+".current") }

// load is the version that the pointer names. One of another location is not used: who configures another
// one does not want it.
func (s *shelf) load() (*version, error) {
	name, err := os.ReadFile(s.pointer())
	if err != nil {
		return nil, err
	}
	v, err := s.read(filepath.Join(s.versions(), filepath.Base(strings.TrimSpace(string(name)))))
	if err != nil {
		return nil, err
	}
	if v.URI != s.location.URI() {
		return nil, fmt.Errorf("it is from %s, and %s is configured", v.URI, s.location.URI())
	}
	return v, nil
}

func (s *shelf) read(root string) (*version, error) {
	record, err := os.ReadFile(filepath.Join(root, "origin.json"))
	if err != nil {
		return nil, err
	}
	v := &version{root: root, folder: filepath.Join(root, s.kind.name)}
	if err := json.Unmarshal(record, v); err != nil {
		return nil, fmt.Errorf("reading its record: %w", err)
	}
	about, err := s.kind.check(v.folder, s.options.Now())
	if err != nil {
		return nil, err
	}
	v.UpdatedAt = about.UpdatedAt
	return v, nil
}

// acquire takes the current version into use, in this process by a count and for others by a lock.
func (s *shelf) acquire() (*version, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, nil, ErrNone
	}
	v := s.current
	unlock, err := lockShared(filepath.Join(v.root, "lock"))
	if err != nil { // another process has taken a newer one into use, and removes ours
		if v, err = s.load(); err == nil {
			s.current = v
			unlock, err = lockShared(filepath.Join(v.root, "lock"))
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("using the database %s: %w", s.kind.name, err)
	}
	v.leases++
	var once sync.Once
	return v, func() {
		once.Do(func() {
			unlock()
			s.mu.Lock()
			defer s.mu.Unlock()
			v.leases--
			if v.leases == 0 && v != s.current {
				s.remove(v.root)
			}
		})
	}, nil
}

// update takes over what is at the location if it is another version.
func (s *shelf) update(ctx context.Context) (bool, error) {
	// Another process may have been faster.
	s.mu.Lock()
	if found, err := s.load(); err == nil && (s.current == nil || found.root != s.current.root) {
		s.current = found
	}
	current := s.current
	s.mu.Unlock()

	work, err := os.MkdirTemp(s.versions(), ".new-")
	if err != nil {
		return false, err
	}
	defer removeAll(work)
	folder := filepath.Join(work, s.kind.name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return false, err
	}
	var next *version
	if s.location.Folder != "" {
		next, err = s.copyFolder(folder, current)
	} else {
		next, err = s.pull(ctx, folder, current)
	}
	if err != nil || next == nil {
		return false, err
	}
	about, err := s.kind.check(folder, s.options.Now())
	if err != nil {
		return false, err
	}
	// A registry that answers with an old database would hide all that was found since.
	if current != nil && s.location.Digest == "" && about.UpdatedAt.Before(current.UpdatedAt) {
		return false, fmt.Errorf("it was made at %s, before the one in use of %s: pin its digest if that is meant", about.UpdatedAt.UTC().Format(time.RFC3339), current.UpdatedAt.UTC().Format(time.RFC3339))
	}
	next.URI, next.UpdatedAt = s.location.URI(), about.UpdatedAt
	return true, s.swap(work, next)
}

// swap takes a version into use.
func (s *shelf) swap(work string, next *version) error {
	record, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "origin.json"), record, 0o600); err != nil {
		return err
	}
	// The number tells versions apart that have the same content and different metadata.
	name := fmt.Sprintf("%s-%.16s%s", s.kind.name, hexOf(next.Digest), strings.TrimPrefix(filepath.Base(work), ".new"))
	next.root = filepath.Join(s.versions(), name)
	next.folder = filepath.Join(next.root, s.kind.name)
	if err := os.Rename(work, next.root); err != nil {
		return err
	}
	if err := replaceFile(s.pointer(), []byte(name+"\n")); err != nil {
		return err
	}
	s.mu.Lock()
	s.current = next
	s.mu.Unlock()
	s.options.Log.Info("a new version of the database is in use", "database", s.kind.name, "updatedAt", next.UpdatedAt, "digest", next.Digest, "from", next.URI)
	old, _ := filepath.Glob(filepath.Join(s.versions(), s.kind.name+"-*"))
	for _, root := range old {
		if root != next.root && s.belongs(root) {
			s.remove(root)
		}
	}
	return nil
}

// belongs says whether a folder is a version of this kind: "db-…" and "java-db-…" begin differently.
func (s *shelf) belongs(root string) bool {
	_, err := os.Stat(filepath.Join(root, s.kind.name))
	return err == nil
}

// remove removes a version that nobody uses.
func (s *shelf) remove(root string) {
	unlock, ok := tryLock(filepath.Join(root, "lock"))
	if !ok {
		return
	}
	defer unlock()
	removeAll(root)
}

// copyFolder copies a database that somebody else looks after: it may be written anew at any time. It is nil
// where the folder has not changed.
func (s *shelf) copyFolder(to string, current *version) (*version, error) {
	info, err := os.Stat(filepath.Join(s.location.Folder, s.kind.file))
	if err != nil {
		return nil, err
	}
	about, err := os.ReadFile(filepath.Join(s.location.Folder, metadataFile))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(about)
	origin := fmt.Sprintf("%d bytes of %s, metadata %x", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano), sum)
	if current != nil && current.Origin == origin {
		return nil, nil
	}
	if info.Size() > s.options.MaxUnpacked {
		return nil, fmt.Errorf("it has %d bytes where %d are allowed", info.Size(), s.options.MaxUnpacked)
	}
	file, err := os.Open(filepath.Join(s.location.Folder, s.kind.file))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	if err := write(filepath.Join(to, s.kind.file), io.TeeReader(file, hash)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(to, metadataFile), about, 0o600); err != nil {
		return nil, err
	}
	if after, err := os.Stat(filepath.Join(s.location.Folder, s.kind.file)); err != nil || after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime()) {
		return nil, errors.New("it was being written while it was copied: try again")
	}
	return &version{Digest: "sha256:" + hex.EncodeToString(hash.Sum(nil)), Origin: origin}, nil
}

// pull pulls and unpacks the artifact. It is nil where that is the one in use.
func (s *shelf) pull(ctx context.Context, to string, current *version) (*version, error) {
	m, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	// The signature is asked for each time: trust may have changed since.
	if s.options.Verify != nil {
		if err := s.options.Verify(ctx, s.location.Repository, m.Digest); err != nil {
			return nil, fmt.Errorf("verifying the signature of %s: %w", m.Digest, err)
		}
	}
	if current != nil && current.Digest == m.Digest {
		return nil, nil
	}
	var artifact struct {
		Layers []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(m.Raw, &artifact); err != nil {
		return nil, fmt.Errorf("reading the manifest %s: %w", m.Digest, err)
	}
	if len(artifact.Layers) != 1 || artifact.Layers[0].MediaType != s.kind.mediaType {
		return nil, fmt.Errorf("%s is no such database: one layer of type %s is expected", m.Digest, s.kind.mediaType)
	}
	layer := artifact.Layers[0]
	if layer.Size <= 0 || layer.Size > s.options.MaxPacked {
		return nil, fmt.Errorf("it has %d bytes where %d are allowed", layer.Size, s.options.MaxPacked)
	}
	blob, err := s.options.Source.OpenBlob(ctx, s.location.Repository, layer.Digest, layer.Size)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	if err := s.kind.unpack(blob, to, s.options.MaxUnpacked); err != nil {
		return nil, err
	}
	return &version{Digest: m.Digest}, nil
}

func (s *shelf) find(ctx context.Context) (registry.Manifest, error) {
	if s.options.Source == nil {
		return registry.Manifest{}, errors.New("no registry is configured")
	}
	if s.location.Digest != "" {
		return s.options.Source.Manifest(ctx, s.location.Repository, s.location.Digest)
	}
	return s.options.Source.Resolve(ctx, s.location.Repository, s.location.Tag)
}

// replaceFile writes a small file as a whole.
func replaceFile(path string, content []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
