package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Limits of one kustomization, bases included.
const (
	maxKustomizeFiles = 10_000
	maxKustomizeBytes = 100 << 20
)

// kustomizationNames are the names kustomize looks for.
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

func isKustomizationFile(path string) bool {
	return slices.Contains(kustomizationNames, filepath.Base(path))
}

// kustomizationIn is the path of the kustomization file of a directory, "" if it has none.
func kustomizationIn(dir string) string {
	for _, name := range kustomizationNames {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	return ""
}

// tops are the kustomizations that no other one builds upon. A component is never
// built alone.
func (l *reading) tops(dirs []string) []string {
	uses := map[string][]string{}
	usedBy := map[string]string{}
	components := map[string]bool{}
	for _, dir := range dirs {
		var file struct {
			Kind       string   `json:"kind"`
			Resources  []string `json:"resources"`
			Bases      []string `json:"bases"`
			Components []string `json:"components"`
		}
		content, err := readLimited(kustomizationIn(dir), maxValuesBytes)
		if err != nil || yaml.Unmarshal(content, &file) != nil {
			continue // building it says what is wrong
		}
		components[dir] = file.Kind == "Component"
		for _, entry := range slices.Concat(file.Resources, file.Bases, file.Components) {
			used := filepath.Join(dir, entry)
			uses[dir] = append(uses[dir], used)
			usedBy[used] = dir
		}
	}
	reached := map[string]bool{}
	var reach func(dir string)
	reach = func(dir string) {
		if !reached[dir] {
			reached[dir] = true
			for _, used := range uses[dir] {
				reach(used)
			}
		}
	}
	var tops []string
	for _, dir := range dirs {
		switch user, used := usedBy[dir]; {
		case used:
			l.skip(dir, "rendered as a part of the kustomization "+filepath.ToSlash(user))
		case components[dir]:
			l.skip(dir, "a kustomize component that nothing here uses: name the kustomization that does")
		default:
			tops = append(tops, dir)
			reach(dir)
		}
	}
	// What only a cycle or an unused component leads to must not go unjudged.
	for _, dir := range dirs {
		if !reached[dir] && !components[dir] {
			tops = append(tops, dir)
			reach(dir)
		}
	}
	return tops
}

// kustomization builds a kustomization and keeps its objects.
func (l *reading) kustomization(ctx context.Context, dir string) error {
	disk := &guardedDisk{FileSystem: filesys.MakeFsOnDisk(), root: absolute(dir)}
	objects, err := disk.build(ctx)
	for _, file := range disk.read {
		l.used[file] = true
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		l.problem(Location{File: filepath.ToSlash(filepath.Join(dir, filepath.Base(kustomizationIn(dir))))}, disk.explain(err))
		return nil
	}
	origins := &originIndex{dir: dir, limits: l.options.Limits, files: map[string][]manifest.Document{}}
	for _, object := range objects {
		if err := l.built(dir, object, origins); err != nil {
			return err
		}
	}
	return nil
}

// built keeps one object of a kustomization.
func (l *reading) built(dir string, object *resource.Resource, origins *originIndex) error {
	origin, err := object.GetOrigin()
	if err != nil {
		return fmt.Errorf("reading where %s came from: %w", object.CurId(), err)
	}
	if err := object.SetOrigin(nil); err != nil {
		return fmt.Errorf("reading %s: %w", object.CurId(), err)
	}
	content, err := object.AsYAML()
	if err != nil {
		return fmt.Errorf("reading %s: %w", object.CurId(), err)
	}
	file := filepath.ToSlash(filepath.Join(dir, filepath.Base(kustomizationIn(dir))))
	documents, err := manifest.Read(file, bytes.NewReader(content), l.options.Limits)
	for _, problem := range separate(err) {
		l.problem(Location{File: file}, "the object "+object.CurId().String()+" as built cannot be read: "+problem.Error())
	}
	for i := range documents {
		document := Document{Document: documents[i]}
		document.locate = func(path string) Location {
			return origins.locate(file, origin, object, path, document.Position(path))
		}
		if err := l.keep(document); err != nil {
			return err
		}
	}
	return nil
}

// originIndex finds objects of a kustomization in the files they came from.
type originIndex struct {
	dir    string
	limits manifest.Limits
	files  map[string][]manifest.Document
}

// locate is the place of a field in the file the object came from; a field that a
// patch or a transformer added is placed at the deepest parent in that file. A
// generated object is placed at the kustomization that generates it.
func (x *originIndex) locate(kustomization string, origin *resource.Origin, object *resource.Resource, path string, rendered manifest.Position) Location {
	fallback := Location{File: kustomization, RenderedLine: rendered.Line}
	if origin == nil {
		return fallback
	}
	if origin.Path == "" {
		if origin.ConfiguredIn != "" {
			fallback.File = filepath.ToSlash(filepath.Join(x.dir, origin.ConfiguredIn))
		}
		return fallback
	}
	file := filepath.ToSlash(filepath.Join(x.dir, origin.Path))
	fallback.File = file
	if document := original(x.documents(file), object.GetKind(), object.GetName()); document != nil {
		return located(document.Position(path), file)
	}
	return fallback
}

// original finds the document that a built object was. Kustomize forgets the name
// it had; prefixes and suffixes added to it leave the name in the middle.
func original(documents []manifest.Document, kind, name string) *manifest.Document {
	var found *manifest.Document
	for i := range documents {
		candidate := &documents[i]
		if candidate.Kind == kind && strings.Contains(name, candidate.Name) && (found == nil || len(candidate.Name) > len(found.Name)) {
			found = candidate
		}
	}
	return found
}

// documents reads a file once. What cannot be read has no positions.
func (x *originIndex) documents(file string) []manifest.Document {
	documents, ok := x.files[file]
	if !ok {
		if f, err := os.Open(filepath.FromSlash(file)); err == nil {
			defer f.Close()
			documents, _ = manifest.Read(file, f, x.limits)
		}
		x.files[file] = documents
	}
	return documents
}

// guardedDisk is the disk as kustomize may see it: only for reading, bounded, and
// without kustomizations that would fetch something. Kustomize fetches by itself
// whatever looks like a URL or a Git repository, so a file that names one is
// refused when it is read, before kustomize understands it.
type guardedDisk struct {
	filesys.FileSystem
	root    string // absolute
	read    []string
	bytes   int64
	refused error
}

// errReadOnly is for what kustomize build never does.
var errReadOnly = errors.New("rendering only reads files")

// Create is refused.
func (d *guardedDisk) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir is refused.
func (d *guardedDisk) Mkdir(string) error { return errReadOnly }

// MkdirAll is refused.
func (d *guardedDisk) MkdirAll(string) error { return errReadOnly }

// RemoveAll is refused.
func (d *guardedDisk) RemoveAll(string) error { return errReadOnly }

// WriteFile is refused.
func (d *guardedDisk) WriteFile(string, []byte) error { return errReadOnly }

// build runs kustomize with its strictest options: files from below each
// kustomization only, no plugins, no functions, no Helm.
func (d *guardedDisk) build(ctx context.Context) (objects []*resource.Resource, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kustomize failed: %v", r)
		}
	}()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(d, d.root)
	if err != nil {
		return nil, err
	}
	return built.Resources(), nil
}

// explain is what went wrong, with the next step.
func (d *guardedDisk) explain(err error) string {
	if d.refused != nil {
		return "building the kustomization: " + d.refused.Error()
	}
	if strings.Contains(err.Error(), "is not in or below") {
		return "building the kustomization: " + err.Error() + ": a kustomization reads files from below its own directory only: move the file there, or give it a kustomization of its own and refer to that"
	}
	message := strings.ReplaceAll(err.Error(), d.root+string(filepath.Separator), "")
	return "building the kustomization: " + strings.ReplaceAll(message, d.root, ".") + ": see that kustomize build accepts it"
}

// ReadFile reads a file, within the limits; a kustomization is checked and asked
// to keep track of where its objects come from.
func (d *guardedDisk) ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	d.bytes += info.Size()
	if len(d.read) >= maxKustomizeFiles || d.bytes > maxKustomizeBytes {
		return nil, d.refuse(fmt.Errorf("it reads more than %d files or %d MiB: build smaller parts", maxKustomizeFiles, maxKustomizeBytes>>20))
	}
	content, err := readLimited(path, maxKustomizeBytes)
	if err != nil {
		return nil, err
	}
	d.read = append(d.read, absolute(path))
	if isKustomizationFile(path) {
		return d.checked(path, content)
	}
	if bytes.Contains(content, []byte("builtin")) {
		if err := d.checkBuiltin(path, content); err != nil {
			return nil, d.refuse(err)
		}
	}
	return content, nil
}

func (d *guardedDisk) refuse(err error) error {
	if d.refused == nil {
		d.refused = err
	}
	return err
}

// checked refuses a kustomization that refers to anything remote, and adds
// buildMetadata: [originAnnotations] to the one that is built; the annotations are
// taken away again from what it yields.
func (d *guardedDisk) checked(path string, content []byte) ([]byte, error) {
	var file map[string]any
	if err := yaml.Unmarshal(content, &file); err != nil {
		return content, nil // kustomize says it better
	}
	if file["helmCharts"] != nil || file["helmChartInflationGenerator"] != nil {
		return nil, d.refuse(fmt.Errorf("%s inflates Helm charts, which runs the helm command: render the chart and name it beside the kustomization", d.relative(path)))
	}
	for _, key := range referring {
		if err := d.checkReferences(path, key, file[key]); err != nil {
			return nil, d.refuse(err)
		}
	}
	if filepath.Dir(absolute(path)) != d.root {
		return content, nil
	}
	metadata, _ := file["buildMetadata"].([]any)
	if !slices.Contains(metadata, any("originAnnotations")) {
		file["buildMetadata"] = append(metadata, "originAnnotations")
	}
	return yaml.Marshal(file)
}

// referring are the keys of a kustomization below which strings are read as paths.
var referring = []string{
	"resources", "bases", "components", "crds", "configurations", "generators", "transformers", "validators",
	"patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "configMapGenerator", "secretGenerator", "openapi",
}

// checkReferences looks at every string below a key: a path, or an inline patch or
// configuration.
func (d *guardedDisk) checkReferences(path, key string, value any) error {
	switch value := value.(type) {
	case string:
		if remote(value) {
			return fmt.Errorf("%s refers to %q under %s, and nothing is fetched here: vendor it into the repository and refer to the copy", d.relative(path), value, key)
		}
		return d.checkBuiltin(path, []byte(value))
	case []any:
		for _, item := range value {
			if err := d.checkReferences(path, key, item); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, item := range value {
			if name == "literals" || name == "target" || name == "options" {
				continue // data and selectors, never paths
			}
			if err := d.checkReferences(path, key, item); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBuiltin looks at configurations of kustomize's own generators and
// transformers, whose paths are loaded as those of the kustomization.
func (d *guardedDisk) checkBuiltin(path string, content []byte) error {
	for _, part := range bytes.Split(content, []byte("\n---")) {
		var object map[string]any
		if yaml.Unmarshal(part, &object) != nil || object["apiVersion"] != "builtin" {
			continue
		}
		delete(object, "metadata")
		if object["kind"] == "HelmChartInflationGenerator" {
			return fmt.Errorf("%s inflates Helm charts, which runs the helm command: render the chart and name it beside the kustomization", d.relative(path))
		}
		if err := d.checkReferences(path, fmt.Sprint(object["kind"]), object); err != nil {
			return err
		}
	}
	return nil
}

func (d *guardedDisk) relative(path string) string {
	if relative, err := filepath.Rel(d.root, absolute(path)); err == nil {
		return filepath.ToSlash(relative)
	}
	return path
}

// userAtHost begins what Git takes for the address of a repository: git@host.
var userAtHost = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)

// remote says that kustomize would fetch s. It is wider than kustomize's own test
// (api/internal/git, NewRepoSpecFromURL), which is not exported: a scheme, a user,
// a forced protocol or the host github.com.
func remote(s string) bool {
	lower, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "\n")
	if strings.HasPrefix(lower, "{") || strings.HasPrefix(lower, "[") || strings.HasPrefix(lower, "#") {
		return false // an inline patch or its comment: no address begins so
	}
	return strings.Contains(lower, "://") || strings.Contains(lower, "git::") || userAtHost.MatchString(lower) ||
		strings.HasPrefix(lower, "github.com/") || strings.HasPrefix(lower, "github.com:")
}
