package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// cache keeps in a folder what judged last, so that a process that starts while the API server does not answer has it. Its
// content is verified as that of the cluster is. A nil cache keeps nothing.
type cache struct {
	directory string
	logger    *slog.Logger
}

// bundlesFile lists the bundles that judged last; revisions are beside it, named by their digest.
const bundlesFile = "bundles.json"

// openCache makes the folder; "" gives no cache.
func openCache(directory string, logger *slog.Logger) (*cache, error) {
	if directory == "" {
		return nil, nil
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for bundles: %w", err)
	}
	return &cache{directory: directory, logger: logger}, nil
}

// path is where a revision is, "" for a digest that would be somewhere else.
func (c *cache) path(digest string) string {
	name, err := v1alpha1.RevisionName(digest, 0)
	if err != nil {
		return ""
	}
	return filepath.Join(c.directory, name+".bundle")
}

// get is a revision as it was stored and when, nil where it is not there.
func (c *cache) get(digest string) (content []byte, at time.Time) {
	if c == nil {
		return nil, at
	}
	path := c.path(digest)
	info, err := os.Lstat(path)
	if path == "" || err != nil || !info.Mode().IsRegular() || info.Size() > source.MaxEncoded {
		return nil, at
	}
	if content, err = os.ReadFile(path); err != nil {
		c.logger.Warn("reading a kept bundle failed; it is fetched again", "error", err)
		return nil, at
	}
	return content, info.ModTime()
}

// put keeps a revision. When the cluster stored it is the time of the file.
func (c *cache) put(digest string, content []byte, at time.Time) {
	if c == nil {
		return
	}
	err := c.write(c.path(digest), content)
	if err == nil {
		err = os.Chtimes(c.path(digest), at, at)
	}
	if err != nil {
		c.logger.Warn("keeping a bundle failed: without the API server it will not be there when the webhook starts", "error", err)
	}
}

// write replaces a file, so that it is there whole or not at all.
func (c *cache) write(path string, content []byte) error {
	file, err := os.CreateTemp(c.directory, "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(content); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// remember notes which bundles judge now, and removes the revisions of others.
func (c *cache) remember(bundles []v1alpha1.PolicyBundle) {
	if c == nil {
		return
	}
	content, err := json.Marshal(bundles)
	if err == nil {
		err = c.write(filepath.Join(c.directory, bundlesFile), content)
	}
	if err != nil {
		c.logger.Warn("noting which bundles judge failed: without the API server they will not be there when the webhook starts", "error", err)
		return
	}
	c.sweep(bundles)
}

func (c *cache) sweep(bundles []v1alpha1.PolicyBundle) {
	wanted := map[string]bool{}
	for n := range bundles {
		for _, digest := range digestsOf(&bundles[n]) {
			wanted[filepath.Base(c.path(digest))] = true
		}
	}
	entries, err := os.ReadDir(c.directory)
	if err != nil {
		c.logger.Warn("looking for bundles to remove failed", "error", err)
		return
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".bundle") && !wanted[entry.Name()] {
			if err := os.Remove(filepath.Join(c.directory, entry.Name())); err != nil {
				c.logger.Warn("removing a kept bundle failed", "error", err)
			}
		}
	}
}

// digestsOf are those of all revisions that a bundle refers to.
func digestsOf(b *v1alpha1.PolicyBundle) []string {
	var digests []string
	for _, revision := range []*v1alpha1.RevisionStatus{b.Status.Active, b.Status.Candidate, b.Status.Previous} {
		if revision != nil {
			digests = append(digests, revision.Digest)
		}
	}
	return digests
}

// last are the bundles that judged last, nil where that is not known.
func (c *cache) last() []v1alpha1.PolicyBundle {
	if c == nil {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(c.directory, bundlesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var bundles []v1alpha1.PolicyBundle
	if err == nil {
		err = json.Unmarshal(content, &bundles)
	}
	if err != nil {
		c.logger.Warn("reading which bundles judged last failed: the API server has to be waited for", "error", err)
		return nil
	}
	return bundles
}
