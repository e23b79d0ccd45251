package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// maxRoots is how many manifests an index.json may list.
	maxRoots = 1000
	// refName is the annotation with a tag or a whole reference
	// (image specification, "Pre-Defined Annotation Keys").
	refName = "org.opencontainers.image.ref.name"
	// containerdName is where Docker and containerd put the whole reference.
	containerdName = "io.containerd.image.name"
	// cosignKind is what "cosign save" marks signatures and attestations with.
	cosignKind = "kind"
	cosignSigs = "dev.cosignproject.cosign/sigs"
	cosignAtts = "dev.cosignproject.cosign/atts"
)

// Layout is an image and its evidence in a directory or an archive, with the methods of
// a [Client] that read. Repositories are not looked at: a layout has only one.
type Layout struct {
	path   string
	files  files
	limits imageLimits
	most   int
	// roots are what index.json lists, or the images of a docker archive.
	roots []Descriptor
	// manifests and names are those of a docker archive, which has none by digest: raw
	// manifests, and files of blobs.
	manifests map[string][]byte
	names     map[string]string

	referrers sync.Once
	subjects  map[string][]Descriptor
	fault     error
}

// files are the regular files of a directory or archive, by slash-separated name.
type files interface {
	// open returns an error of [fs.ErrNotExist] for what is not there.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// NewLayout opens an OCI image layout (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md)
// as a directory or tar archive, or an archive of "docker save", either compressed with
// gzip or not. Content is found by digest and checked as it is read; nothing outside the
// directory is, and no link is followed out of it.
func NewLayout(path string) (*Layout, error) { return OpenLayout(path, Options{}) }

// OpenLayout is [NewLayout] with the limits of some options.
func OpenLayout(path string, options Options) (*Layout, error) {
	fill(&options)
	l := &Layout{path: path, most: options.MaxReferrers, limits: imageLimits{layers: options.MaxLayers, manifest: options.MaxManifest, layer: options.MaxLayer, image: options.MaxImage, uncompressed: options.MaxUncompressed}}
	var err error
	if l.files, err = openFiles(path, options.MaxUncompressed); err != nil {
		return nil, l.wrong(l.opening(), err)
	}
	if err := l.load(); err != nil {
		l.files.Close()
		return nil, l.wrong(l.opening(), err)
	}
	return l, nil
}

func (l *Layout) opening() string { return "opening the image layout " + l.path }

// Close closes the directory or archive.
func (l *Layout) Close() error { return l.files.Close() }

// wrong is a fault of a layout.
func (l *Layout) wrong(what string, err error) error {
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault
	}
	fault := &Error{Kind: Malformed, Host: l.path, What: what, Err: err, hint: "make the layout anew"}
	var other *differs
	var large *tooLarge
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fault.Kind, fault.hint = NotFound, "check the path, and that the layout is complete"
	case errors.As(err, &other):
		fault.Kind, fault.hint = Mismatch, "do not use it: its content was changed"
	case errors.As(err, &large):
		fault.Kind, fault.hint = TooLarge, ""
	case errors.Is(err, errElements):
		fault.Kind, fault.hint = TooMany, ""
	}
	return fault
}

// tooLarge is a file with more bytes than the limit.
type tooLarge struct {
	name  string
	limit int64
}

func (t *tooLarge) Error() string {
	return fmt.Sprintf("%s has more than %d bytes, which is the limit", t.name, t.limit)
}

// load reads the list of what there is.
func (l *Layout) load() error {
	marker, err := l.read("oci-layout", 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return l.loadDocker()
	}
	if err != nil {
		return err
	}
	var layout struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(marker, &layout); err != nil || layout.Version != "1.0.0" {
		return fmt.Errorf("the file oci-layout does not say version 1.0.0")
	}
	raw, err := l.read("index.json", l.limits.manifest)
	if err != nil {
		return err
	}
	if l.roots, err = parseIndex(raw); err != nil {
		return err
	}
	return l.checkRoots()
}

func (l *Layout) checkRoots() error {
	if len(l.roots) > maxRoots {
		return &Error{Kind: TooMany, Host: l.path, What: l.opening(), Err: fmt.Errorf("it lists %d manifests, and the limit is %d", len(l.roots), maxRoots)}
	}
	return nil
}

// read is a whole file of at most so many bytes.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	file, size, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > limit {
		return nil, &tooLarge{name: name, limit: limit}
	}
	raw, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, &tooLarge{name: name, limit: limit}
	}
	return raw, nil
}

// Images are the images and indexes of the layout, without signatures, attestations and
// other referrers, each once. Their names are in the annotation org.opencontainers.image.ref.name.
func (l *Layout) Images() ([]Descriptor, error) {
	if err := l.findReferrers(); err != nil {
		return nil, err
	}
	attached := map[string]bool{}
	for _, list := range l.subjects {
		for _, d := range list {
			attached[d.Digest] = true
		}
	}
	var images []Descriptor
	for _, d := range l.roots {
		if attached[d.Digest] || isEvidence(d) || slices.ContainsFunc(images, func(other Descriptor) bool { return other.Digest == d.Digest }) {
			continue
		}
		images = append(images, d)
	}
	return images, nil
}

// evidenceTag are the tags of cosign's signatures, attestations and SBOMs, and of
// lists of referrers.
var evidenceTag = regexp.MustCompile(`(^|:)sha(256|512)-[0-9a-f]{64,128}(\.sig|\.att|\.sbom)?$`)

func isEvidence(d Descriptor) bool {
	kind := d.Annotations[cosignKind]
	return kind == cosignSigs || kind == cosignAtts || evidenceTag.MatchString(d.Annotations[refName])
}

// Resolve finds a tag. "" is the only image of a layout that has one. A tag that
// several manifests have is refused.
func (l *Layout) Resolve(ctx context.Context, repository Repository, tag string) (Manifest, error) {
	what := fmt.Sprintf("finding the tag %q in %s", tag, l.path)
	candidates := l.roots
	if tag == "" {
		images, err := l.Images()
		if err != nil {
			return Manifest{}, err
		}
		candidates = images
	}
	var found []string
	for _, d := range candidates {
		if (tag == "" || l.named(d, tag)) && !slices.Contains(found, d.Digest) {
			found = append(found, d.Digest)
		}
	}
	switch len(found) {
	case 0:
		return Manifest{}, &Error{Kind: NotFound, Host: l.path, What: what, Err: errors.New("it is not there")}
	case 1:
		return l.Manifest(ctx, repository, found[0])
	}
	return Manifest{}, &Error{Kind: Malformed, Host: l.path, What: what, Err: fmt.Errorf("there are %d manifests that it could be", len(found)), hint: "name one by its digest or its tag"}
}

// named says whether a root has a tag, alone or at the end of a reference. "cosign save"
// writes no tags: the signatures and attestations there are those of the only image.
func (l *Layout) named(d Descriptor, tag string) bool {
	for _, key := range []string{refName, containerdName} {
		if name := d.Annotations[key]; name == tag || strings.HasSuffix(name, ":"+tag) {
			return true
		}
	}
	switch d.Annotations[cosignKind] {
	case cosignSigs:
		return strings.HasSuffix(tag, ".sig") && evidenceTag.MatchString(tag)
	case cosignAtts:
		return strings.HasSuffix(tag, ".att") && evidenceTag.MatchString(tag)
	}
	return false
}

// Manifest reads a manifest by digest.
func (l *Layout) Manifest(_ context.Context, _ Repository, digest string) (Manifest, error) {
	what := fmt.Sprintf("reading the manifest %s of %s", digest, l.path)
	raw, err := l.blob(digest, l.limits.manifest)
	if err != nil {
		return Manifest{}, l.wrong(what, err)
	}
	manifest, err := newManifest(digest, raw)
	if err != nil {
		return Manifest{}, l.wrong(what, err)
	}
	return manifest, nil
}

// Blob reads a blob of at most limit bytes, as it is stored.
func (l *Layout) Blob(_ context.Context, _ Repository, digest string, limit int64) ([]byte, error) {
	raw, err := l.blob(digest, limit)
	if err != nil {
		return nil, l.wrong(fmt.Sprintf("reading the blob %s of %s", digest, l.path), err)
	}
	return raw, nil
}

func (l *Layout) blob(digest string, limit int64) ([]byte, error) {
	if raw, ok := l.manifests[digest]; ok {
		return raw, nil
	}
	name, err := l.file(digest)
	if err != nil {
		return nil, err
	}
	raw, err := l.read(name, limit)
	if err != nil {
		return nil, err
	}
	return raw, verify(digest, raw)
}

// file is where a blob lies.
func (l *Layout) file(digest string) (string, error) {
	if err := checkDigest(digest); err != nil {
		return "", err
	}
	if l.names == nil {
		return "blobs/" + strings.Replace(digest, ":", "/", 1), nil
	}
	name, ok := l.names[digest]
	if !ok {
		return "", fmt.Errorf("the archive has no blob %s: %w", digest, fs.ErrNotExist)
	}
	return name, nil
}

// OpenBlob streams a blob; see [Client.OpenBlob].
func (l *Layout) OpenBlob(_ context.Context, _ Repository, digest string, limit int64) (io.ReadCloser, error) {
	what := fmt.Sprintf("reading the blob %s of %s", digest, l.path)
	name, err := l.file(digest)
	if err != nil {
		return nil, l.wrong(what, err)
	}
	file, size, err := l.files.open(name)
	if err != nil {
		return nil, l.wrong(what, err)
	}
	if size > limit {
		file.Close()
		return nil, l.wrong(what, &tooLarge{name: name, limit: limit})
	}
	stream, err := newChecked(file, digest, limit, func(kind Kind, err error) *Error {
		return &Error{Kind: kind, Host: l.path, What: what, Err: err}
	})
	if err != nil {
		return nil, l.wrong(what, err)
	}
	return stream, nil
}

// Referrers lists what refers to a digest: manifests of the layout with that subject, and
// those that a list under the fallback tag names.
func (l *Layout) Referrers(_ context.Context, _ Repository, digest string) ([]Descriptor, error) {
	what := fmt.Sprintf("listing the referrers of %s in %s", digest, l.path)
	if err := checkDigest(digest); err != nil {
		return nil, l.wrong(what, err)
	}
	if err := l.findReferrers(); err != nil {
		return nil, err
	}
	list := slices.Clone(l.subjects[digest])
	if len(list) > l.most {
		return nil, &Error{Kind: TooMany, Host: l.path, What: what, Err: fmt.Errorf("there are %d referrers, and the limit is %d", len(list), l.most)}
	}
	return list, nil
}

// findReferrers reads all manifests that index.json lists, once, for their subjects. One
// that is not there (a layout may be partial) refers to nothing.
func (l *Layout) findReferrers() error {
	l.referrers.Do(func() {
		l.subjects = map[string][]Descriptor{}
		for _, root := range l.roots {
			if l.fault = l.findReferrer(root); l.fault != nil {
				return
			}
		}
	})
	return l.fault
}

func (l *Layout) findReferrer(root Descriptor) error {
	what := fmt.Sprintf("reading the manifest %s of %s", root.Digest, l.path)
	raw, err := l.blob(root.Digest, l.limits.manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return l.wrong(what, err)
	}
	var fields manifestFields
	if err := json.Unmarshal(raw, &fields); err != nil {
		return l.wrong(what, errors.New("it is no manifest"))
	}
	if fields.Subject != nil {
		manifest, err := newManifest(root.Digest, raw)
		if err != nil {
			return l.wrong(what, err)
		}
		l.refers(fields.Subject.Digest, manifest.Descriptor)
	}
	subject, ok := fallbackSubject(root.Annotations[refName])
	if !ok {
		return nil
	}
	listed, err := parseIndex(raw)
	if err != nil {
		return l.wrong(what, err)
	}
	for _, d := range listed {
		l.refers(subject, d)
	}
	return nil
}

func (l *Layout) refers(subject string, d Descriptor) {
	if !slices.ContainsFunc(l.subjects[subject], func(other Descriptor) bool { return other.Digest == d.Digest }) {
		l.subjects[subject] = append(l.subjects[subject], d)
	}
}

// fallbackSubject is the digest that a fallback tag is for.
func fallbackSubject(name string) (string, bool) {
	tag := name[strings.LastIndexByte(name, ':')+1:]
	digest := strings.Replace(tag, "-", ":", 1)
	return digest, checkDigest(digest) == nil
}

// Image is an image of the layout; see [Client.Image].
func (l *Layout) Image(ctx context.Context, repository Repository, digest string) (v1.Image, error) {
	return openImage(ctx, l, repository, digest, l.limits)
}
