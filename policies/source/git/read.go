package git

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// target is what a source leads to now.
type target struct {
	commit string
	tag    string // an annotated tag's object, "" for none
	name   string // of that tag
	// within are tips whose histories may have the commit, where the server gives nothing but those.
	within []plumbing.Hash
}

func (t target) version() string {
	if t.tag == "" {
		return t.commit
	}
	return t.commit + "+" + t.tag
}

// wants are the objects to ask for: a tag brings its commit.
func (t target) wants() []plumbing.Hash {
	switch {
	case len(t.within) > 0:
		return t.within
	case t.tag != "":
		return []plumbing.Hash{plumbing.NewHash(t.tag)}
	}
	return []plumbing.Hash{plumbing.NewHash(t.commit)}
}

// choose finds what is wanted among branches and tags.
func choose(wanted v1alpha1.GitSource, advertised *packp.AdvRefs) (target, error) {
	switch {
	case wanted.Commit != "":
		return chooseCommit(wanted.Commit, advertised), nil
	case wanted.Tag != "":
		name := "refs/tags/" + wanted.Tag
		hash, ok := advertised.References[name]
		if !ok {
			return target{}, fmt.Errorf("there is no tag %s: push it, or correct git.tag", wanted.Tag)
		}
		if commit, annotated := advertised.Peeled[name]; annotated {
			return target{commit: commit.String(), tag: hash.String(), name: wanted.Tag}, nil
		}
		return target{commit: hash.String()}, nil
	case wanted.Branch != "":
		hash, ok := advertised.References["refs/heads/"+wanted.Branch]
		if !ok {
			return target{}, fmt.Errorf("there is no branch %s: push it, or correct git.branch", wanted.Branch)
		}
		return target{commit: hash.String()}, nil
	case advertised.Head == nil:
		return target{}, errors.New("the server names no branch to begin with: give branch, tag or commit")
	}
	return target{commit: advertised.Head.String()}, nil
}

// maxTips bounds how many histories are looked through for a commit.
const maxTips = 1000

// chooseCommit looks how a server will give a commit. By default git gives those that a branch or tag leads to, and the others
// only with the histories of those, which is well for a small repository; services give all that they have.
func chooseCommit(commit string, advertised *packp.AdvRefs) target {
	t := target{commit: commit}
	for _, c := range []capability.Capability{capability.AllowReachableSHA1InWant, "allow-any-sha1-in-want"} {
		if advertised.Capabilities.Supports(c) {
			return t
		}
	}
	var tips []plumbing.Hash
	for _, name := range slices.Sorted(maps.Keys(advertised.References)) {
		hash := advertised.References[name]
		if hash.String() == commit || advertised.Peeled[name].String() == commit {
			return t // git takes what a tag leads to for a tip as well
		}
		if len(tips) < maxTips && !slices.Contains(tips, hash) && (strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")) {
			tips = append(tips, hash)
		}
	}
	t.within = tips
	return t
}

// reader takes the files of a folder out of the objects, and the proof that they are those of the commit.
type reader struct {
	objects objects
	files   map[string][]byte
	proof   *gitsign.Proof
	bytes   int
	visited int
}

// maxVisited bounds the walk: trees that name the same tree often are small and have no end.
const maxVisited = 4 * archive.MaxFiles

// read gives the files of a folder and their proof.
func read(found objects, t target, folder string) (*archive.Tree, *gitsign.Proof, error) {
	r := &reader{objects: found, files: map[string][]byte{}, proof: &gitsign.Proof{Trees: map[string][]byte{}, Path: folder}}
	var err error
	if t.tag != "" {
		if r.proof.Tag, err = r.content(t.tag, plumbing.TagObject); err != nil {
			return nil, nil, err
		}
		if err := checkTagName(r.proof.Tag, t.name); err != nil {
			return nil, nil, err
		}
	}
	if _, ok := found[plumbing.NewHash(t.commit)]; !ok && len(t.within) > 0 {
		return nil, nil, fmt.Errorf("no branch or tag leads to the commit %s: correct git.commit, or push it", t.commit)
	}
	if r.proof.Commit, err = r.content(t.commit, plumbing.CommitObject); err != nil {
		return nil, nil, err
	}
	root, err := rootOf(r.proof.Commit)
	if err != nil {
		return nil, nil, err
	}
	at, err := r.descend(root, folder)
	if err != nil {
		return nil, nil, err
	}
	if err := r.take(at, ""); err != nil {
		return nil, nil, err
	}
	tree, err := archive.New(r.files)
	if err != nil {
		return nil, nil, err
	}
	return tree, r.proof, nil
}

// content is that of an object that must be there and of a kind.
func (r *reader) content(hash string, kind plumbing.ObjectType) ([]byte, error) {
	o, ok := r.objects[plumbing.NewHash(hash)]
	if !ok {
		return nil, fmt.Errorf("the server has left out the %s %.12s: retry, or look at the server", kind, hash)
	}
	if o.kind != kind {
		return nil, fmt.Errorf("%.12s is a %s and not a %s: name a commit, or a branch or tag of one", hash, o.kind, kind)
	}
	return o.content, nil
}

// checkTagName compares the name within a tag, which is signed, with the one that the server gives it: it could give the name
// of the newest to an old one.
func checkTagName(tag []byte, want string) error {
	for line := range strings.Lines(string(tag)) {
		if name, ok := strings.CutPrefix(line, "tag "); ok {
			if name = strings.TrimSuffix(name, "\n"); name != want {
				return fmt.Errorf("what the server gives as the tag %s says that it is %.80q: make a tag of that name", want, name)
			}
			return nil
		}
	}
	return errors.New("the tag has no name: make it anew with git tag -s")
}

// rootOf is the tree that a commit begins with. All of a commit is read by whoever verifies it.
func rootOf(commit []byte) (string, error) {
	line, _, _ := strings.Cut(string(commit[:min(len(commit), 64)]), "\n")
	tree, ok := strings.CutPrefix(line, "tree ")
	if !ok || !isCommit(tree) {
		return "", errors.New("the commit does not begin with a tree: write it anew with git")
	}
	return tree, nil
}

// entries are those of a tree, which is kept for the proof.
func (r *reader) entries(hash string) ([]gitsign.Entry, error) {
	raw, err := r.content(hash, plumbing.TreeObject)
	if err != nil {
		return nil, err
	}
	entries, err := gitsign.ParseTree(raw, len(hash))
	if err != nil {
		return nil, fmt.Errorf("reading the tree %.12s: %w: write the commit anew with git", hash, err)
	}
	if r.visited += 1 + len(entries); r.visited > maxVisited {
		return nil, fmt.Errorf("there are more than %d files and folders, hidden ones counted: keep the bundle in a folder of its own", maxVisited)
	}
	r.proof.Trees[hash] = raw
	return entries, nil
}

// descend follows the path to a folder.
func (r *reader) descend(tree, folder string) (string, error) {
	if folder == "" {
		return tree, nil
	}
	done := ""
	for segment := range strings.SplitSeq(folder, "/") {
		entries, err := r.entries(tree)
		if err != nil {
			return "", err
		}
		done = path.Join(done, segment)
		tree = ""
		for _, e := range entries {
			if e.Name == segment && e.Mode != gitsign.ModeTree {
				return "", fmt.Errorf("%s is no folder: name the one that has bundle.yaml as git.path", done)
			}
			if e.Name == segment {
				tree = e.Hash
			}
		}
		if tree == "" {
			return "", fmt.Errorf("there is no folder %s in the commit: correct git.path", done)
		}
	}
	return tree, nil
}

// take reads the files of a tree and of those below it.
func (r *reader) take(tree, folder string) error {
	if strings.Count(folder, "/") >= archive.MaxDepth {
		return fmt.Errorf("%.60s… is more than %d folders deep: use fewer", folder, archive.MaxDepth)
	}
	entries, err := r.entries(tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Hidden() {
			continue
		}
		name := path.Join(folder, e.Name)
		if err := e.Refused(name); err != nil {
			return err
		}
		if e.Mode == gitsign.ModeTree {
			err = r.take(e.Hash, name)
		} else {
			err = r.takeFile(e.Hash, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) takeFile(hash, name string) error {
	content, err := r.content(hash, plumbing.BlobObject)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if r.bytes += len(content); r.bytes > archive.MaxBytes || len(r.files) == archive.MaxFiles {
		return &tooMuch{what: "the bundle", limit: fmt.Sprintf("%d files or %d bytes", archive.MaxFiles, archive.MaxBytes)}
	}
	r.files[name] = content
	return nil
}
