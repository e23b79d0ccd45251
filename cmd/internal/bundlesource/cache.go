package bundlesource

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// maxKept is how many revisions are kept. The one that was stored first goes first.
const maxKept = 32

// keptSuffix ends the names of files that this package owns.
const keptSuffix = ".bundle"

// kept is the place of a revision on disk. The zero value keeps nothing, for one whose name can come to mean another.
type kept struct {
	folder, file string
	named        v1alpha1.Source
}

// keep is the place of a revision. A folder that cannot be found out keeps nothing; one that was asked for must be there.
func (f *Flags) keep(named v1alpha1.Source) (kept, error) {
	var key string
	switch {
	case named.OCI != nil && named.OCI.Digest != "":
		key = "oci\n" + named.OCI.Repository + "\n" + named.OCI.Digest
	case named.Git != nil && named.Git.Commit != "":
		key = "git\n" + named.Git.URL + "\n" + named.Git.Path + "\n" + named.Git.Commit
	default:
		return kept{}, nil
	}
	folder := f.cache
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return kept{}, nil
		}
		folder = filepath.Join(cache, "portcullis", "bundles")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		if f.cache != "" {
			return kept{}, wrong("--bundle-cache %s: %w: name a directory that can be written to", f.cache, err)
		}
		return kept{}, nil
	}
	sum := sha256.Sum256([]byte(key))
	return kept{folder: folder, file: filepath.Join(folder, hex.EncodeToString(sum[:])+keptSuffix), named: named}, nil
}

// load is the revision that is kept, nil for none: what cannot be read, or is another one, is fetched again.
func (k kept) load() *source.Revision {
	if k.file == "" {
		return nil
	}
	file, err := os.Open(k.file)
	if err != nil {
		return nil
	}
	defer file.Close()
	encoded, err := io.ReadAll(io.LimitReader(file, source.MaxEncoded+1))
	if err != nil || len(encoded) > source.MaxEncoded {
		return nil
	}
	revision, err := source.Decode(encoded)
	if err != nil || !k.is(revision) {
		return nil
	}
	return revision
}

// is says whether a revision is the one that was named. What it holds is for the verifier to say.
func (k kept) is(r *source.Revision) bool {
	switch {
	case k.named.OCI != nil:
		return r.Proof.OCI != nil && registry.DigestOf(r.Proof.OCI.Manifest) == k.named.OCI.Digest
	case k.named.Git != nil && r.Proof.Git != nil:
		commit, _, err := r.Proof.Git.Hashes() // what the file says of its version, anybody could write
		return err == nil && commit == k.named.Git.Commit && r.Proof.Git.Path == strings.Trim(k.named.Git.Path, "/")
	}
	return false
}

// store keeps a revision. That it cannot is no reason to fail: it is fetched again.
func (k kept) store(r *source.Revision) {
	if k.file == "" || !k.is(r) {
		return
	}
	encoded, err := source.Encode(r)
	if err != nil {
		return
	}
	file, err := os.CreateTemp(k.folder, ".new-*")
	if err != nil {
		return
	}
	_, err = file.Write(encoded)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), k.file)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return
	}
	k.prune()
}

// prune removes what is more than is kept.
func (k kept) prune() {
	entries, err := os.ReadDir(k.folder)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(info.Name(), keptSuffix) {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, old := range files[min(len(files), maxKept):] {
		_ = os.Remove(filepath.Join(k.folder, old.Name()))
	}
}
