// Package source finds the objects a user means: in files, directories, standard
// input, Helm charts and kustomizations, each rendered by its own Go library,
// without network, cluster, plugins or commands.
//
// Every object keeps a place in a file the user can edit. A manifest's is exact. A
// kustomization's is that of the file the object came from. A chart's is the line
// of the template that reads as the rendered line does, where there is just one;
// otherwise the template and, said as such, the line of its rendered output.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// Location is where in the user's files something is.
type Location struct {
	// File is slash-separated and as the user named it: "deploy/web.yaml", "-" for
	// standard input.
	File string `json:"file"`
	// Line and Column count from 1; 0 where the place within File is not known.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// RenderedLine is the line in the rendered output of File, where File is a
	// template or a kustomization; 0 for files that are read as they are.
	RenderedLine int `json:"renderedLine,omitempty"`
}

// String is "file:line:column" as far as known; a place known only in rendered
// output says so.
func (l Location) String() string {
	switch {
	case l.Line > 0 && l.Column > 0:
		return fmt.Sprintf("%s:%d:%d", l.File, l.Line, l.Column)
	case l.Line > 0:
		return fmt.Sprintf("%s:%d", l.File, l.Line)
	case l.RenderedLine > 0:
		return fmt.Sprintf("%s (line %d as rendered)", l.File, l.RenderedLine)
	}
	return l.File
}

// Document is one object and where its fields stand in the user's files.
type Document struct {
	manifest.Document
	// Image is the image that the document stands for, nil for what somebody wrote.
	Image  *Image
	locate func(path string) Location
}

// Locate finds the place of a field, or of the deepest parent that exists; the
// empty path is the object itself.
func (d *Document) Locate(path string) Location {
	if d.locate != nil {
		return d.locate(path)
	}
	return located(d.Position(path), d.File)
}

// located is a position of package manifest in the file the user named.
func located(position manifest.Position, file string) Location {
	return Location{File: filepath.ToSlash(file), Line: position.Line, Column: position.Column}
}

// Problem is input that could not be read.
type Problem struct {
	Location Location `json:"location"`
	// Message says what is wrong and what to do next.
	Message string `json:"message"`
}

// Skip is a file that was passed over, and why.
type Skip struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
	// Manifest says that it looks like something a cluster would be given: nothing was
	// decided about that.
	Manifest bool `json:"manifest,omitempty"`
}

// Loaded is what was found. Documents are in order of the paths given and, below a
// directory, of the files' names.
type Loaded struct {
	Documents []Document
	Problems  []Problem
	Skipped   []Skip
}

// Options say how to read.
type Options struct {
	// Stdin is what the path "-" reads.
	Stdin io.Reader
	Chart ChartOptions
	// Exclude are globs of [path.Match] for what is passed over below a directory: with a
	// slash they match paths relative to the directory, without one a name at any depth.
	Exclude []string
	// Limits are those of one file or stream. A zero field means the default.
	Limits manifest.Limits
}

// Limits of one run over all its sources.
const (
	// A monorepo of the largest kind; beyond it a wrong directory is more likely.
	maxFiles = 100_000
	// All documents are kept until the run ends, since each is context to the others.
	maxTotal = 1 << 30
	// More directories below each other are a loop or an attack.
	maxDepth = 64
	// A message for every one of thousands of unreadable files helps nobody.
	maxProblems = 1000
)

// ArgumentError is a mistake in what the user asked for: a path that does not
// exist, values that cannot be read.
type ArgumentError struct{ err error }

func (e *ArgumentError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *ArgumentError) Unwrap() error { return e.err }

// reading gathers what is found.
type reading struct {
	Loaded
	options Options
	files   int
	bytes   int64
	// used are the files that kustomizations read, by absolute path: they are not
	// manifests of their own.
	used map[string]bool
	// read are the manifests that were read, by path without symbolic links.
	read map[string]bool
}

// Load reads all paths. An error means that nothing can be judged: an
// *ArgumentError, or the limits of a run are exceeded, or the context is done. What
// is wrong with single files is in Problems.
func Load(ctx context.Context, paths []string, options Options) (Loaded, error) {
	if err := options.Chart.check(); err != nil {
		return Loaded{}, &ArgumentError{err}
	}
	if err := checkGlobs(options.Exclude); err != nil {
		return Loaded{}, &ArgumentError{err}
	}
	l := &reading{options: options, used: map[string]bool{}, read: map[string]bool{}}
	for _, path := range paths {
		if err := l.load(ctx, path); err != nil {
			return Loaded{}, err
		}
	}
	return l.Loaded, nil
}

func (l *reading) load(ctx context.Context, path string) error {
	if path == "-" {
		return l.stdin()
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &ArgumentError{fmt.Errorf("opening %s: %w: check the path; it is relative to the working directory", path, cause(err))}
	case err != nil:
		l.problem(Location{File: filepath.ToSlash(path)}, fmt.Sprintf("opening it: %v: make it readable", cause(err)))
		return nil
	case info.IsDir():
		return l.directory(ctx, path)
	case isArchive(path):
		return l.chart(ctx, path)
	case isKustomizationFile(path):
		return l.kustomization(ctx, filepath.Dir(path))
	case !info.Mode().IsRegular() && info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0:
		l.problem(Location{File: filepath.ToSlash(path)}, "it is neither a file nor a directory: name a manifest")
		return nil
	}
	return l.file(path, false)
}

func (l *reading) stdin() error {
	if l.options.Stdin == nil {
		l.problem(Location{File: "-"}, "there is no standard input: pipe manifests in, or name a file")
		return nil
	}
	documents, err := manifest.Read("-", l.options.Stdin, l.options.Limits)
	return l.take("-", documents, err, false)
}

// file reads one manifest file. In a directory, documents that are no Kubernetes
// objects at all are passed over; a file named by the user must hold objects only.
func (l *reading) file(path string, inDirectory bool) error {
	l.files++
	if l.files > maxFiles {
		return fmt.Errorf("reading %s: more than %d files: name a smaller directory", path, maxFiles)
	}
	f, err := os.Open(path)
	if err != nil {
		l.problem(Location{File: filepath.ToSlash(path)}, fmt.Sprintf("opening it: %v: make it readable", cause(err)))
		return nil
	}
	defer f.Close()
	l.read[real(path)] = true
	documents, err := manifest.Read(path, f, l.options.Limits)
	return l.take(path, documents, err, inDirectory)
}

// take keeps the objects among documents and says what became of the rest.
func (l *reading) take(file string, documents []manifest.Document, err error, inDirectory bool) error {
	l.readProblems(file, err, inDirectory)
	foreign := 0
	for i := range documents {
		document := Document{Document: documents[i]}
		switch {
		case document.Kind == "" && document.APIVersion == "" && inDirectory:
			foreign++
		case document.Kind == "" || document.APIVersion == "":
			l.problem(document.Locate(""), "the document has no "+missingType(document)+": every Kubernetes object has apiVersion and kind")
		case clientSide(document.Document):
			l.skip(file, fmt.Sprintf("a %s is read by kustomize and never sent to a cluster", document.Kind))
		default:
			if err := l.keep(document); err != nil {
				return err
			}
		}
	}
	if foreign > 0 {
		l.skip(file, foreignFile)
	}
	return nil
}

func missingType(document Document) string {
	switch {
	case document.APIVersion != "":
		return "kind"
	case document.Kind != "":
		return "apiVersion"
	}
	return "apiVersion and kind"
}

// clientSide says that a document configures kustomize; no API server knows it.
func clientSide(document manifest.Document) bool {
	group, _, _ := strings.Cut(document.APIVersion, "/")
	return group == "kustomize.config.k8s.io" || document.APIVersion == "builtin"
}

func (l *reading) keep(document Document) error {
	l.bytes += int64(len(document.JSON))
	if l.bytes > maxTotal {
		return fmt.Errorf("reading %s: more than %d MiB of objects in one run: judge them in several runs", document.File, maxTotal>>20)
	}
	l.Documents = append(l.Documents, document)
	return nil
}

// notObject begins the problem that package manifest reports for a list or a
// scalar where an object should be.
const notObject = "the document is a"

// readProblems reports what manifest.Read could not read.
func (l *reading) readProblems(file string, err error, inDirectory bool) {
	for _, problem := range separate(err) {
		if read := new(manifest.Error); errors.As(problem, &read) && isTemplate(file) && !(inDirectory && isForeign(file)) {
			l.problem(located(read.Position, file), "this looks like a Helm template: name the folder of its chart, which is then rendered")
			return // what else is wrong is so for the same reason
		}
		var read *manifest.Error
		switch {
		case !errors.As(problem, &read):
			l.problem(Location{File: filepath.ToSlash(file)}, fmt.Sprintf("reading it: %v: make it readable", cause(problem)))
		case inDirectory && strings.HasPrefix(read.Problem, notObject):
			l.skip(file, "not a Kubernetes manifest: "+read.Problem)
		case inDirectory && isForeign(file):
			l.skip(file, foreignFile)
		default:
			l.problem(located(read.Position, file), read.Problem+": "+read.Next)
		}
	}
}

// separate undoes errors.Join.
func separate(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// cause is an error without the operation and path that os puts before it.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func (l *reading) problem(location Location, message string) {
	if len(l.Problems) < maxProblems {
		l.Problems = append(l.Problems, Problem{Location: location, Message: message})
	}
}

func (l *reading) skip(file, reason string) {
	skip := Skip{File: filepath.ToSlash(file), Reason: reason}
	if !slices.Contains(l.Skipped[max(0, len(l.Skipped)-1):], skip) {
		l.Skipped = append(l.Skipped, skip)
	}
}
