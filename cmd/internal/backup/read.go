package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Archive is an archive that was read to its end and found whole.
type Archive struct {
	Manifest Manifest
	// Digest is that of the manifest, "sha256:…".
	Digest string

	open func() (io.ReadCloser, error)
}

// errTruncated is what a copy that was interrupted looks like.
var errTruncated = errors.New("it ends in the middle: it is truncated; copy it again from where it is whole")

// Open reads an archive to its end: all of it is there, is what its manifest says, and holds objects of kinds that are state and nothing
// else. open opens it from its beginning, and is called again for each [Archive.Objects]. Whoever wrote it is not trusted: it is bounded
// by the limits of this package, and nothing of it is written to a disk.
func Open(open func() (io.ReadCloser, error)) (*Archive, error) {
	a := &Archive{open: open}
	seen := map[string]Page{}
	var total int64
	err := a.walk(func(name string, size int64, content io.Reader) error {
		if a.Digest != "" {
			return fmt.Errorf("%q lies behind the manifest: it was not written by portcullis backup", name)
		}
		if name == manifestName {
			return a.readManifest(size, content)
		}
		kind, err := pageOf(name)
		if err != nil {
			return err
		}
		if total += size; size > MaxPage || total > MaxTotal || len(seen) >= MaxPages {
			return fmt.Errorf("%s: an archive has at most %d pages of %d MiB, and %d GiB in all", name, MaxPages, MaxPage>>20, MaxTotal>>30)
		}
		page, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		objects, err := decodePage(kind, page, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sum := sha256.Sum256(page)
		seen[name] = Page{Name: name, Objects: objects, Size: size, SHA256: hex.EncodeToString(sum[:])}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	if a.Digest == "" {
		return nil, fmt.Errorf("reading the backup: %w", errTruncated)
	}
	if err := a.compare(seen); err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	return a, nil
}

// walk visits the entries behind the version.
func (a *Archive) walk(visit func(name string, size int64, content io.Reader) error) error {
	file, err := a.open()
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	buffered := bufio.NewReader(file)
	packed, err := gzip.NewReader(buffered)
	if err != nil {
		return fmt.Errorf("it is no archive of portcullis backup (%w): give the file that it wrote", err)
	}
	packed.Multistream(false)
	archive := tar.NewReader(packed)
	if err := checkVersion(archive); err != nil {
		return err
	}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return truncated(err)
		}
		if header.Typeflag != tar.TypeReg || header.Size < 0 {
			return fmt.Errorf("%q is no plain file: it was not written by portcullis backup", header.Name)
		}
		if err := visit(header.Name, header.Size, archive); err != nil {
			return truncated(err)
		}
	}
	// The checksum of gzip is behind the last byte, and nothing is behind that.
	rest, err := io.Copy(io.Discard, io.LimitReader(packed, 1))
	if err != nil {
		return truncated(err)
	}
	if _, err := buffered.ReadByte(); rest > 0 || !errors.Is(err, io.EOF) {
		return errors.New("something lies behind its end: it was not written by portcullis backup, or was damaged")
	}
	return nil
}

// truncated says what an early end means.
func truncated(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("it is damaged (%w): copy it again from where it is whole", err)
	}
	return err
}

// checkVersion reads the first entry.
func checkVersion(archive *tar.Reader) error {
	header, err := archive.Next()
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errTruncated
	}
	if err != nil || header.Name != versionName || header.Size > 100 {
		return errors.New("it is no archive of portcullis backup: give the file that it wrote")
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		return truncated(err)
	}
	number, ours := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), versionText)
	version, err := strconv.Atoi(number)
	switch {
	case !ours || err != nil || version < 1:
		return errors.New("it is no archive of portcullis backup: give the file that it wrote")
	case version > Version:
		return fmt.Errorf("it is of format %d, and this program reads up to %d: restore it with the version of portcullis that wrote it, or a newer one", version, Version)
	}
	return nil
}

// pageOf says of which kind a page is.
func pageOf(name string) (*Kind, error) {
	rest, below := strings.CutPrefix(name, pagesFolder)
	resource, number, _ := strings.Cut(rest, "/")
	digits, isPage := strings.CutSuffix(number, ".jsonl")
	if !below || !isPage || len(digits) != 6 || strings.Trim(digits, "0123456789") != "" {
		return nil, fmt.Errorf("it holds %.100q, which no backup has: it was not written by portcullis backup", name)
	}
	for n := range kinds {
		if kinds[n].Name() == resource {
			return &kinds[n], nil
		}
	}
	return nil, fmt.Errorf("it holds objects of %.100q, which are not restored from a backup", resource)
}

func (a *Archive) readManifest(size int64, content io.Reader) error {
	if size > MaxManifest {
		return fmt.Errorf("%s has %d MiB, and at most %d are read", manifestName, size>>20, MaxManifest>>20)
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&a.Manifest); err != nil {
		return fmt.Errorf("%s cannot be read: %w", manifestName, err)
	}
	a.Digest = digestOf(text)
	return nil
}

// compare holds what is there against the manifest.
func (a *Archive) compare(seen map[string]Page) error {
	listed := map[string]bool{}
	for n := range a.Manifest.Kinds {
		of := &a.Manifest.Kinds[n]
		kind := Find(of.Resource)
		if kind == nil || kind.Name() != of.Resource || kind.Kind != of.Kind || kind.Resource.GroupVersion().String() != of.APIVersion {
			return fmt.Errorf("its manifest names %.100q as %.100q %.100q, which are not restored from a backup", of.Resource, of.APIVersion, of.Kind)
		}
		if a.Manifest.Of(kind) != of {
			return fmt.Errorf("its manifest names %s twice", of.Resource)
		}
		objects := 0
		for number, page := range of.Pages {
			if want := fmt.Sprintf("%s%s/%06d.jsonl", pagesFolder, of.Resource, number); page.Name != want {
				return fmt.Errorf("its manifest names %.100q where %s belongs", page.Name, want)
			}
			if seen[page.Name] != page {
				return fmt.Errorf("%s is not what the manifest says of it: the archive was changed or is damaged; copy it again from where it is whole", page.Name)
			}
			listed[page.Name] = true
			objects += page.Objects
		}
		if objects != of.Objects {
			return fmt.Errorf("its manifest counts %d objects of %s, and their pages hold %d", of.Objects, of.Resource, objects)
		}
	}
	for name := range seen {
		if !listed[name] {
			return fmt.Errorf("%s is not in the manifest: the archive was changed", name)
		}
	}
	return nil
}

// Objects reads the objects of a kind, in order. What was changed since [Open] is an error before anything of that page is seen.
func (a *Archive) Objects(kind *Kind, visit func(*unstructured.Unstructured) error) error {
	of := a.Manifest.Of(kind)
	if of == nil || of.Objects == 0 {
		return nil
	}
	wanted := map[string]Page{}
	for _, page := range of.Pages {
		wanted[page.Name] = page
	}
	read := 0
	err := a.walk(func(name string, size int64, content io.Reader) error {
		page, ours := wanted[name]
		if !ours {
			return nil
		}
		if size != page.Size {
			return errChanged
		}
		text, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != page.SHA256 {
			return errChanged
		}
		read++
		_, err = decodePage(kind, text, visit)
		return err
	})
	if err == nil && read != len(of.Pages) {
		err = errChanged
	}
	return err
}

var errChanged = errors.New("the backup was changed while it was read: keep others from writing to it")

// decodePage reads the lines of a page, and counts them.
func decodePage(kind *Kind, page []byte, visit func(*unstructured.Unstructured) error) (int, error) {
	if len(page) == 0 || page[len(page)-1] != '\n' {
		return 0, errors.New("it does not end with a line")
	}
	objects := 0
	before := ""
	for line := range bytes.Lines(page) {
		objects++
		object, err := decodeObject(kind, line)
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", objects, err)
		}
		key := object.GetNamespace() + "/" + object.GetName()
		if objects > 1 && !sorted(before, key) {
			return 0, fmt.Errorf("line %d: %s is there twice, or not in order", objects, key)
		}
		before = key
		if visit != nil {
			if err := visit(object); err != nil {
				return 0, err
			}
		}
	}
	return objects, nil
}

// sorted compares as etcd does, where a namespace is a folder.
func sorted(before, after string) bool { return slices.Compare([]byte(before), []byte(after)) < 0 }

// decodeObject reads one object, which has to be of the kind that it is found with.
func decodeObject(kind *Kind, line []byte) (*unstructured.Unstructured, error) {
	if len(line) > MaxObject {
		return nil, fmt.Errorf("an object has %d bytes, and at most %d are read", len(line), MaxObject)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(line); err != nil {
		return nil, fmt.Errorf("it holds no object: %w", err)
	}
	switch {
	case object.GroupVersionKind() != kind.Resource.GroupVersion().WithKind(kind.Kind):
		return nil, fmt.Errorf("it holds a %.100q, and should hold a %s", object.GroupVersionKind().String(), kind.Kind)
	case len(validation.IsDNS1123Subdomain(object.GetName())) > 0:
		return nil, fmt.Errorf("the name %.100q is none", object.GetName())
	case kind.Namespaced && len(validation.IsDNS1123Label(object.GetNamespace())) > 0, !kind.Namespaced && object.GetNamespace() != "":
		return nil, fmt.Errorf("%s: the namespace %.100q is none of a %s", object.GetName(), object.GetNamespace(), kind.Kind)
	case object.GetUID() == "":
		return nil, fmt.Errorf("%s has no UID", object.GetName())
	}
	if status, there := object.Object["status"]; there {
		if _, is := status.(map[string]any); !is {
			return nil, fmt.Errorf("%s: its status is no object", object.GetName())
		}
	}
	return object, nil
}
