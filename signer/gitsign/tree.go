package gitsign

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Limits of what is walked. A tree that names the same subtree often is small and has no end ("git bomb").
const (
	maxDepth   = 64
	maxEntries = 200_000
)

// Mode is what an entry of a tree is, as Git writes it.
type Mode string

// The modes (fsck.c, fsck_tree).
const (
	ModeTree       Mode = "40000"
	ModeFile       Mode = "100644"
	ModeExecutable Mode = "100755"
	// ModeGroupWritable was written by early versions of Git.
	ModeGroupWritable Mode = "100664"
	ModeLink          Mode = "120000"
	ModeSubmodule     Mode = "160000"
)

// Entry is one of a tree.
type Entry struct {
	Mode Mode
	Name string
	Hash string // hexadecimal
}

// ParseTree reads a raw tree object of a repository whose hashes have so many hexadecimal digits, 40 or 64. Entries that
// Git would not write are an error: unknown modes, names that lead elsewhere, twice the same name, and another order than
// the one that makes the hash of a tree unique.
func ParseTree(raw []byte, digits int) ([]Entry, error) {
	if digits != sha1Digits && digits != sha256Digits {
		return nil, fmt.Errorf("hashes of %d digits are none of Git's", digits)
	}
	var entries []Entry
	names := map[string]bool{}
	for len(raw) > 0 {
		head, rest, ok := bytes.Cut(raw, []byte{0})
		if !ok || len(rest) < digits/2 {
			return nil, errors.New("it is cut short")
		}
		mode, name, ok := strings.Cut(string(head), " ")
		if !ok {
			return nil, errors.New("an entry has no name")
		}
		entry := Entry{Mode: Mode(mode), Name: name, Hash: hex.EncodeToString(rest[:digits/2])}
		if err := entry.check(); err != nil {
			return nil, err
		}
		if names[name] {
			return nil, fmt.Errorf("the name %q is there twice", name)
		}
		if len(entries) > 0 && entries[len(entries)-1].sortKey() >= entry.sortKey() {
			return nil, fmt.Errorf("the name %q is out of order", name)
		}
		if len(entries) == maxEntries {
			return nil, fmt.Errorf("it has more than %d entries", maxEntries)
		}
		names[name] = true
		entries = append(entries, entry)
		raw = rest[digits/2:]
	}
	return entries, nil
}

func (e Entry) check() error {
	switch e.Mode {
	case ModeTree, ModeFile, ModeExecutable, ModeGroupWritable, ModeLink, ModeSubmodule:
	default:
		return fmt.Errorf("%q has the mode %.12q, which Git does not write", e.Name, string(e.Mode))
	}
	if e.Name == "" || e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") {
		return fmt.Errorf("the name %q leads elsewhere than it says", e.Name)
	}
	return nil
}

// sortKey orders entries as Git does: a folder as if its name ended with a slash.
func (e Entry) sortKey() string {
	if e.Mode == ModeTree {
		return e.Name + "/"
	}
	return e.Name
}

// Hidden says that an entry is no part of a bundle: its name starts with a dot.
func (e Entry) Hidden() bool { return strings.HasPrefix(e.Name, ".") }

// Refused says why an entry cannot be part of a bundle, nil for files and folders. name is its own, from the bundle's folder.
func (e Entry) Refused(name string) error {
	switch e.Mode {
	case ModeLink:
		return fmt.Errorf("%s is a symbolic link, which a bundle does not hold: replace it by a file", name)
	case ModeSubmodule:
		return fmt.Errorf("%s is a submodule, and its files are signed by nobody here: copy them into the repository", name)
	}
	return nil
}

// walker compares the trees of a commit with files.
type walker struct {
	trees   map[string][]byte
	digits  int
	files   map[string][]byte
	matched map[string]bool
	entries int
}

// bind says whether the files are exactly those below a folder of a commit.
func bind(p *Proof, commit *object, files map[string][]byte) error {
	w := &walker{trees: p.Trees, digits: len(commit.tree), files: files, matched: map[string]bool{}}
	tree, err := w.descend(commit.tree, p.Path)
	if err != nil {
		return refuse(Mismatched, "following %s to its files: %w", commit.name(), err)
	}
	if err := w.compare(tree, "", 0); err != nil {
		return refuse(Mismatched, "comparing the files with %s: %w", commit.name(), err)
	}
	if name := w.unmatched(); name != "" {
		return refuse(Mismatched, "comparing the files with %s: %s is not in it: fetch it again", commit.name(), name)
	}
	return nil
}

// tree gives the entries of a tree after having computed its hash.
func (w *walker) tree(hash string) ([]Entry, error) {
	raw, ok := w.trees[hash]
	if !ok {
		return nil, fmt.Errorf("the tree %s is not at hand: fetch it again", short(hash))
	}
	got, err := hashObject(kindTree, raw, w.digits)
	if err != nil {
		return nil, err
	}
	if got != hash {
		return nil, fmt.Errorf("what is said to be the tree %s is %s: fetch it again", short(hash), short(got))
	}
	entries, err := ParseTree(raw, w.digits)
	if err != nil {
		return nil, fmt.Errorf("reading the tree %s: %w: write the commit anew with git", short(hash), err)
	}
	if w.entries += 1 + len(entries); w.entries > maxEntries {
		return nil, fmt.Errorf("there are more than %d entries: keep the bundle in a folder of its own", maxEntries)
	}
	return entries, nil
}

// descend follows a path to the tree of a folder.
func (w *walker) descend(tree, folder string) (string, error) {
	if folder == "" {
		return tree, nil
	}
	for segment := range strings.SplitSeq(folder, "/") {
		entries, err := w.tree(tree)
		if err != nil {
			return "", err
		}
		found, err := folderIn(entries, segment)
		if err != nil {
			return "", fmt.Errorf("the path %s: %w", folder, err)
		}
		tree = found.Hash
	}
	return tree, nil
}

// folderIn finds one among entries.
func folderIn(entries []Entry, name string) (Entry, error) {
	for _, entry := range entries {
		if entry.Name == name && entry.Mode == ModeTree {
			return entry, nil
		}
		if entry.Name == name {
			return entry, fmt.Errorf("%s is no folder: name the folder that has bundle.yaml", name)
		}
	}
	return Entry{}, fmt.Errorf("there is no folder %s: correct the path", name)
}

// compare demands each file of a tree among the files, with the content whose hash the tree names.
func (w *walker) compare(tree, folder string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%.60s… is more than %d folders deep: use fewer", folder, maxDepth)
	}
	entries, err := w.tree(tree)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Hidden() {
			continue
		}
		name := path.Join(folder, entry.Name)
		if err := entry.Refused(name); err != nil {
			return err
		}
		if entry.Mode == ModeTree {
			err = w.compare(entry.Hash, name, depth+1)
		} else {
			err = w.match(entry, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// match compares one file.
func (w *walker) match(entry Entry, name string) error {
	content, ok := w.files[name]
	if !ok {
		return fmt.Errorf("%s is missing: fetch it again", name)
	}
	got, err := hashObject(kindBlob, content, w.digits)
	if err != nil {
		return err
	}
	if got != entry.Hash {
		return fmt.Errorf("%s is not the file of the commit: fetch it again", name)
	}
	w.matched[name] = true
	return nil
}

// unmatched is the first name of a file that no tree has, "" for none.
func (w *walker) unmatched() string {
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		if !hidden(name) && !w.matched[name] {
			return name
		}
	}
	return ""
}

// hidden says whether a file is no part of a bundle: its name or that of a folder above starts with a dot.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }
