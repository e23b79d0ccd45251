package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a tree. They are those of a bundle and keep a hostile one from exhausting whoever reads it.
const (
	MaxFile  = 4 << 20  // bytes of a file
	MaxBytes = 64 << 20 // bytes of all files
	MaxFiles = 20_000
	MaxName  = 1024 // bytes of a name
	MaxDepth = 32   // folders and file of a name
)

// digestVersion begins what a digest is computed of, so that it never is that of anything else.
const digestVersion = "portcullis.dev/tree/v1\n"

// Tree is the files of a bundle. It is immutable.
type Tree struct {
	names    []string // sorted
	contents map[string][]byte
	folders  map[string][]entry // by name, "." for the root; entries sorted
	digest   string
}

// New makes a tree of files by slash-separated name. It keeps the contents, which the caller must not change any more.
// Hidden files are left out. Names that are no names and what is over the limits are an error, and so are no files at all.
func New(files map[string][]byte) (*Tree, error) {
	t := &Tree{contents: make(map[string][]byte, len(files))}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := CheckName(name); err != nil {
			return nil, err
		}
		if Hidden(name) {
			continue
		}
		size := len(files[name])
		if size > MaxFile {
			return nil, tooLarge(name)
		}
		if total += size; total > MaxBytes || len(t.names) == MaxFiles {
			return nil, errTooMuch
		}
		t.names = append(t.names, name)
		t.contents[name] = files[name]
	}
	if len(t.names) == 0 {
		return nil, errors.New("there are no files: name the folder that has bundle.yaml")
	}
	if err := t.arrange(); err != nil {
		return nil, err
	}
	t.digest = t.hash()
	return t, nil
}

func tooLarge(name string) error {
	return fmt.Errorf("%s has more than %d bytes, which is the limit: leave it out of the bundle", name, MaxFile)
}

var errTooMuch = fmt.Errorf("there are more than %d files or %d bytes, which is the limit: make two bundles of it", MaxFiles, MaxBytes)

// Hidden says whether a file is no part of a tree: its name or that of a folder above starts with a dot.
func Hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
}

// CheckName refuses what is no name of a file in a tree: one that is absolute or leads out, or that two readers could take
// for two places.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a file has no name: make the archive anew")
	case len(name) > MaxName:
		return fmt.Errorf("a name has %d bytes, and the limit is %d: %.60q…: shorten it", len(name), MaxName, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not UTF-8: rename the file", name)
	case strings.ContainsRune(name, '\\') || strings.ContainsFunc(name, unprintable):
		return fmt.Errorf("the name %q has a backslash or a character that cannot be seen: rename the file", name)
	case strings.HasPrefix(name, "/"):
		return fmt.Errorf("the name %q is absolute: make the archive from within the folder of the bundle", name)
	case strings.Count(name, "/") >= MaxDepth:
		return fmt.Errorf("the name %.60q… is more than %d folders deep: use fewer", name, MaxDepth)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("the name %q leads elsewhere than it says: make the archive from within the folder of the bundle", name)
		}
	}
	return nil
}

// unprintable are control characters and those that change how others are shown (CVE-2021-42574).
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// arrange lists the folders.
func (t *Tree) arrange() error {
	t.folders = map[string][]entry{".": nil}
	for _, name := range t.names {
		folder := path.Dir(name)
		if err := t.addFolder(folder); err != nil {
			return err
		}
		t.folders[folder] = append(t.folders[folder], entry{name: path.Base(name), size: int64(len(t.contents[name]))})
	}
	for _, entries := range t.folders {
		slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	}
	return nil
}

// addFolder enters a folder in the one above, unless it is there. A name that is a file and a folder at once is refused: no file
// system has it.
func (t *Tree) addFolder(name string) error {
	if _, known := t.folders[name]; known {
		return nil
	}
	if _, file := t.contents[name]; file {
		return fmt.Errorf("%s is a file and a folder at once: make the archive anew", name)
	}
	t.folders[name] = nil
	above := path.Dir(name)
	if err := t.addFolder(above); err != nil {
		return err
	}
	t.folders[above] = append(t.folders[above], entry{name: path.Base(name), folder: true})
	return nil
}

// hash is over names and contents, each with its length in front so that no two trees give the same stream.
func (t *Tree) hash() string {
	hash := sha256.New()
	hash.Write([]byte(digestVersion))
	var length [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(length[:], uint64(len(b)))
		hash.Write(length[:])
		hash.Write(b)
	}
	for _, name := range t.names {
		write([]byte(name))
		write(t.contents[name])
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// Digest is "sha256:" and the hash of names and contents. How the tree was packed has no part in it.
func (t *Tree) Digest() string { return t.digest }

// Names are those of all files, sorted.
func (t *Tree) Names() []string { return slices.Clone(t.names) }

// Content is that of a file. The caller must not change it.
func (t *Tree) Content(name string) ([]byte, bool) {
	content, ok := t.contents[name]
	return content, ok
}

// All are the files in the order of their names. The caller must not change their contents.
func (t *Tree) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, name := range t.names {
			if !yield(name, t.contents[name]) {
				return
			}
		}
	}
}
