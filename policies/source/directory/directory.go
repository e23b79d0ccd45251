// Package directory reads bundles from a folder of the own file system, and watches it.
//
// A folder can be read while somebody writes it. So it is read twice, with some time between, until both give the same
// files; what has been written half and then left is for the bundle's own tests to notice. Nobody signs a folder: whoever can write
// to it decides.
package directory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// Defaults of [Options].
const (
	// DefaultSettle is longer than an editor or a Git checkout pauses between two files.
	DefaultSettle = 250 * time.Millisecond
	// DefaultInterval is for file systems that tell of no changes, as those of a network.
	DefaultInterval = 30 * time.Second
)

// maxReads is how often a folder is read that keeps changing.
const maxReads = 8

// ErrUnsettled says that a folder changed all the time while it was read.
var ErrUnsettled = errors.New("it keeps changing while it is read: write the bundle elsewhere, and rename its folder to this one")

// Options are those of a [Source].
type Options struct {
	// Settle is how long files must stay as they are.
	Settle time.Duration
	// Interval is how often [Source.Watch] looks, whatever the file system tells.
	Interval time.Duration
	// After is the clock; [time.After] where nil.
	After func(time.Duration) <-chan time.Time
}

// Source is a folder with a bundle.
type Source struct {
	path    string
	options Options
}

// New takes a folder, which need not be there yet.
func New(s v1alpha1.DirectorySource, o Options) (*Source, error) {
	if s.Path == "" {
		return nil, errors.New("reading the source: directory.path is empty: name the folder that has bundle.yaml")
	}
	if o.Settle <= 0 {
		o.Settle = DefaultSettle
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.After == nil {
		o.After = time.After
	}
	return &Source{path: filepath.Clean(s.Path), options: o}, nil
}

// Fetch implements [source.Source]. The version is the digest of the files. A link, other than the folder itself, is an
// error, and so is a folder that does not come to rest ([ErrUnsettled]).
func (s *Source) Fetch(ctx context.Context, last string) (*source.Revision, error) {
	before, err := s.read()
	if err == nil && before.Digest() == last {
		return nil, source.ErrUnchanged
	}
	for range maxReads {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("reading %s: %w", s.path, context.Cause(ctx))
		case <-s.options.After(s.options.Settle):
		}
		var now *archive.Tree
		previous := err
		now, err = s.read()
		switch {
		case err != nil && previous != nil:
			return nil, fmt.Errorf("reading %s: %w", s.path, err)
		case err == nil && before != nil && now.Digest() == before.Digest():
			return &source.Revision{Tree: now, Origin: s.path, Version: now.Digest()}, nil
		}
		before = now
	}
	return nil, fmt.Errorf("reading %s: %w", s.path, ErrUnsettled)
}

// read stays within the folder, whatever links are put into it meanwhile ([os.Root]).
func (s *Source) read() (*archive.Tree, error) {
	root, err := os.OpenRoot(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: name a folder that is there", err)
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return archive.Read(root.FS())
}
