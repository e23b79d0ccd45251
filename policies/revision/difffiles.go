package revision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// otherFolders hold what judges beside the bundle's own policies, as far as it is told by its files only.
var otherFolders = []string{"data", "vex", "ignores", gatekeeperFolder, conftestFolder}

// diffFiles compares data, VEX and the policies for other tools.
func diffFiles(before, after *Revision) ([]Entry, error) {
	old, err := otherFiles(before.files)
	if err != nil {
		return nil, err
	}
	current, err := otherFiles(after.files)
	if err != nil {
		return nil, err
	}
	return diffTexts(old, current), nil
}

// otherFiles are the digests of such files by name.
func otherFiles(fsys fs.FS) (map[string]string, error) {
	found := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			top, _, _ := strings.Cut(name, "/")
			if name != "." && (strings.HasPrefix(path.Base(name), ".") || !slices.Contains(otherFolders, top)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.Contains(name, "/") || !entry.Type().IsRegular() {
			return nil
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		found[name] = hex.EncodeToString(sum[:])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("comparing the files of the bundles: %w", err)
	}
	return found, nil
}
