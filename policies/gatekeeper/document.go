package gatekeeper

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	kjson "sigs.k8s.io/json"
)

// Limits of a folder, as of a bundle, and of what it may hold.
const (
	maxFile      = 4 << 20
	maxBytes     = 64 << 20
	maxFiles     = 20_000
	maxTemplates = 1_000
	maxInstances = 10_000 // constraints, and mutators
)

// API groups of Gatekeeper.
const (
	templateGroup   = "templates.gatekeeper.sh"
	constraintGroup = "constraints.gatekeeper.sh"
	configGroup     = "config.gatekeeper.sh"
	syncSetGroup    = "syncset.gatekeeper.sh"
	mutationGroup   = "mutations.gatekeeper.sh"
	expansionGroup  = "expansion.gatekeeper.sh"
	externalGroup   = "externaldata.gatekeeper.sh"
	statusGroup     = "status.gatekeeper.sh"
	suiteGroup      = "test.gatekeeper.sh"
)

// sampleFolders hold objects to test policies with, and constraints that are examples: nothing in them is in force. Both
// are so in Gatekeeper's own library.
var sampleFolders = []string{"samples", "testdata", "tests"}

// document is one object of a file.
type document struct {
	file                   string
	group, version, kind   string
	name, namespace, title string // title is for messages: "Kind name (file)"
	raw                    []byte
}

func newDocument(d manifest.Document) document {
	group, version, ok := strings.Cut(d.APIVersion, "/")
	if !ok {
		group, version = "", d.APIVersion
	}
	return document{
		file: d.File, group: group, version: version, kind: d.Kind, name: d.Name, namespace: d.Namespace, raw: d.JSON,
		title: fmt.Sprintf("%s %s (%s)", d.Kind, d.Name, d.File),
	}
}

// decode reads a document; strictly, a field that is not known is an error.
func (d *document) decode(into any, strict bool) error {
	if !strict {
		return kjson.UnmarshalCaseSensitivePreserveInts(d.raw, into)
	}
	problems, err := kjson.UnmarshalStrict(d.raw, into)
	return errors.Join(append(problems, err)...)
}

// readFile reads all documents of a file.
func readFile(fsys fs.FS, name string) ([]document, error) {
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s has %d bytes: at most %d", name, len(content), maxFile)
	}
	found, err := manifest.Read(name, bytes.NewReader(content), manifest.Limits{})
	if err != nil {
		return nil, err
	}
	documents := make([]document, 0, len(found))
	for _, one := range found {
		documents = append(documents, newDocument(one))
	}
	return documents, nil
}

// readFolder reads all documents of a folder but those of hidden files and of folders with samples (which samples asks
// for), in the order of their names.
func readFolder(fsys fs.FS, samples bool) ([]document, error) {
	var documents []document
	var problems []error
	files, total := 0, int64(0)
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			return skip(entry)
		case entry.IsDir():
			if name != "." && !samples && slices.Contains(sampleFolders, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		case !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)):
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file: put a copy there", name)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if files, total = files+1, total+info.Size(); files > maxFiles || total > maxBytes {
			return fmt.Errorf("the folder has more than %d files or %d bytes: split it", maxFiles, maxBytes)
		}
		found, err := readFile(fsys, name)
		if err != nil {
			problems = append(problems, err)
		}
		documents = append(documents, found...)
		return nil
	})
	return documents, errors.Join(append(problems, err)...)
}

// skip passes over an entry.
func skip(entry fs.DirEntry) error {
	if entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}
