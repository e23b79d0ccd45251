package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Source is a registry, or a layout, that databases are pulled from.
type Source interface {
	Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error)
	Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error)
	OpenBlob(ctx context.Context, repository registry.Repository, digest string, most int64) (io.ReadCloser, error)
}

// Location is where a database comes from: a folder, or a repository with a digest or a tag. The zero value is nowhere.
type Location struct {
	// Folder holds the database's file and metadata.json.
	Folder string
	// Repository holds the artifact, or a copy of it as mirrors make.
	Repository registry.Repository
	// Digest pins the artifact; otherwise Tag is looked up at every update.
	Digest, Tag string
}

// IsZero says whether there is no such database.
func (l Location) IsZero() bool { return l == Location{} }

// URI names the location in attestations: "oci://mirror.example.com/trivy-db:2", "file:///var/lib/trivy/db".
func (l Location) URI() string {
	switch {
	case l.IsZero():
		return ""
	case l.Folder != "":
		return "file://" + filepath.ToSlash(l.Folder)
	case l.Digest != "":
		return "oci://" + l.Repository.String() + "@" + l.Digest
	}
	return "oci://" + l.Repository.String() + ":" + l.Tag
}

// Limits of an artifact. The real databases unpack to about 1 GB.
const (
	DefaultMaxPacked   = 2 << 30
	DefaultMaxUnpacked = 8 << 30
)

// Options of a [Keeper]. Directory and Vulnerabilities are required.
type Options struct {
	// Directory is where versions are kept. Several processes may share it.
	Directory string
	// Vulnerabilities and Java are the two databases. Without the second, images with Java archives are unscannable.
	Vulnerabilities, Java Location
	// Source is where repositories are read.
	Source Source
	// Verify checks the signature of an artifact before it is pulled, nil for no check.
	Verify func(ctx context.Context, repository registry.Repository, digest string) error
	// MaxPacked and MaxUnpacked are bytes; see the Default constants.
	MaxPacked, MaxUnpacked int64
	// Now is the clock, [time.Now] by default.
	Now func() time.Time
	Log *slog.Logger
}

// Keeper keeps the newest good version of each database. It is for use by several goroutines.
type Keeper struct {
	options Options
	main    *shelf
	java    *shelf // nil for none
	update  sync.Mutex
}

// New uses the versions that are in the folder already; there may be none yet.
func New(options Options) (*Keeper, error) {
	if options.Directory == "" || options.Vulnerabilities.IsZero() {
		return nil, errors.New("keeping the vulnerability database: it needs a directory and a location")
	}
	if options.MaxPacked <= 0 {
		options.MaxPacked = DefaultMaxPacked
	}
	if options.MaxUnpacked <= 0 {
		options.MaxUnpacked = DefaultMaxUnpacked
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{options: options}
	var err error
	if k.main, err = openShelf(&k.options, &vulnerabilities, options.Vulnerabilities); err != nil {
		return nil, err
	}
	if !options.Java.IsZero() {
		if k.java, err = openShelf(&k.options, &java, options.Java); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Update looks for newer versions and takes them into use. Scans under way keep theirs. What cannot be fetched, is
// damaged, older than what is in use or not signed as it should be is an error, and changes nothing.
func (k *Keeper) Update(ctx context.Context) (changed bool, err error) {
	k.update.Lock()
	defer k.update.Unlock()
	unlock, err := lockFile(ctx, filepath.Join(k.options.Directory, "update.lock"))
	if err != nil {
		return false, fmt.Errorf("updating the vulnerability database: %w", err)
	}
	defer unlock()
	var problems []error
	for _, s := range []*shelf{k.main, k.java} {
		if s == nil {
			continue
		}
		new, err := s.update(ctx)
		if err != nil {
			problems = append(problems, fmt.Errorf("updating the database %s from %s: %w", s.kind.name, s.location.URI(), err))
		}
		changed = changed || new
	}
	return changed, errors.Join(problems...)
}

// Lease is a version in use. It stays until it is released.
type Lease struct {
	// Vulnerabilities is the folder with trivy.db and metadata.json, Java that with trivy-java.db and its
	// metadata.json, "" for none.
	Vulnerabilities, Java string
	// Digest is that of the artifact, or of the file where it came from a folder.
	Digest string
	URI    string
	// UpdatedAt is when the database was made.
	UpdatedAt time.Time
	release   []func()
}

// Release lets the version go. It may be called more than once.
func (l *Lease) Release() {
	for _, release := range l.release {
		release()
	}
	l.release = nil
}

// ErrNone says that there has been no good version yet.
var ErrNone = errors.New("there is no vulnerability database yet: fetch one")

// Acquire gives the current version, [ErrNone] where there is none. Where a Java database is configured
// and there is none yet, images with Java archives are unscannable.
func (k *Keeper) Acquire() (*Lease, error) {
	version, release, err := k.main.acquire()
	if err != nil {
		return nil, err
	}
	lease := &Lease{Vulnerabilities: version.folder, Digest: version.Digest, URI: version.URI, UpdatedAt: version.UpdatedAt, release: []func(){release}}
	if k.java != nil {
		if version, release, err := k.java.acquire(); err == nil {
			lease.Java = version.folder
			lease.release = append(lease.release, release)
		}
	}
	return lease, nil
}

// Versions is the folder in which all versions lie: what children must be able to read.
func (k *Keeper) Versions() string { return filepath.Join(k.options.Directory, "versions") }

// removeAll removes a folder of ours.
func removeAll(path string) { _ = os.RemoveAll(path) }
