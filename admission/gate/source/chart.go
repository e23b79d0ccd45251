package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
)

// ChartOptions are what helm template would be told. The zero value renders with
// the chart's own values.
type ChartOptions struct {
	// Values are files of values, a later one overriding an earlier; Set are
	// assignments as "image.tag=1.2", overriding them all.
	Values, Set []string
	// Namespace and ReleaseName are those of the release, "default" and "release-name" if empty.
	Namespace, ReleaseName string
	// KubeVersion is what .Capabilities.KubeVersion tells, DefaultKubeVersion if empty.
	KubeVersion string
	// APIVersions are added to .Capabilities.APIVersions: "monitoring.coreos.com/v1/ServiceMonitor".
	APIVersions []string
}

// DefaultKubeVersion is the Kubernetes version that charts are rendered for: the
// one whose Pod Security Standards the built-in library follows.
const DefaultKubeVersion = "1.37.0"

// Limits of a chart. Helm itself takes files of up to 5 MiB and archives of up to
// 100 MiB; a directory gets the same.
const (
	maxChartFiles  = 10_000
	maxChartBytes  = 100 << 20
	maxValuesBytes = 10 << 20
	// Templates can loop for very long, and rendering cannot be interrupted.
	maxRenderTime = 60 * time.Second
)

func isChart(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, chartutil.ChartfileName))
	return err == nil && info.Mode().IsRegular()
}

func isArchive(path string) bool {
	return strings.HasSuffix(path, ".tgz") || strings.HasSuffix(path, ".tar.gz")
}

// chart renders a chart, a directory or an archive, and keeps its objects: the
// custom resource definitions, then what each template yields, hooks included.
func (l *reading) chart(ctx context.Context, path string) error {
	if err := l.renderChart(ctx, path); err != nil {
		if ctx.Err() != nil {
			return err
		}
		l.problem(Location{File: filepath.ToSlash(path)}, err.Error())
	}
	return nil
}

func (l *reading) renderChart(ctx context.Context, root string) error {
	loaded, err := openChart(root)
	if err != nil {
		return err
	}
	values, err := l.options.Chart.values()
	if err != nil {
		return err
	}
	rendered, err := l.options.Chart.render(ctx, loaded, values)
	if err != nil {
		return err
	}
	for _, crd := range loaded.CRDObjects() {
		if err := l.chartFile(root, loaded, crd.Filename, crd.File.Data, nil); err != nil {
			return err
		}
	}
	templates := templatesOf(loaded)
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if path.Base(name) == "NOTES.txt" || strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		if err := l.chartFile(root, loaded, name, []byte(rendered[name]), templates[name]); err != nil {
			return err
		}
	}
	return nil
}

// chartFile keeps the objects of one file of a chart. With a template, content is
// what it rendered to; without, it is the file itself.
func (l *reading) chartFile(root string, loaded *chart.Chart, name string, content, template []byte) error {
	// Helm names files "chart/templates/x.yaml", as in its "# Source:" comments.
	file := filepath.ToSlash(filepath.Join(root, strings.TrimPrefix(name, loaded.Name()+"/")))
	lines := newLineIndex(template)
	documents, err := manifest.Read(file, bytes.NewReader(content), l.options.Limits)
	for _, problem := range separate(err) {
		var read *manifest.Error
		if errors.As(problem, &read) {
			l.problem(lines.locate(file, read.Position, content), "the rendered output cannot be read: "+read.Problem+": "+read.Next)
		} else {
			l.problem(Location{File: file}, problem.Error())
		}
	}
	for i := range documents {
		document := Document{Document: documents[i]}
		if template != nil {
			document.locate = func(path string) Location {
				return lines.locate(file, document.Position(path), content)
			}
		}
		if document.Kind == "" || document.APIVersion == "" {
			l.problem(document.Locate(""), "the rendered document has no "+missingType(document)+": every Kubernetes object has apiVersion and kind")
			continue
		}
		if err := l.keep(document); err != nil {
			return err
		}
	}
	return nil
}

// openChart loads a chart and checks that it can be rendered without fetching anything.
func openChart(root string) (*chart.Chart, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("opening the chart: %w: make it readable", cause(err))
	}
	var loaded *chart.Chart
	if info.IsDir() {
		if err := checkChartDirectory(root); err != nil {
			return nil, err
		}
		loaded, err = loader.LoadDir(root)
	} else {
		loaded, err = openArchive(root, info)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the chart: %w: see that helm lint accepts it", err)
	}
	if loaded.Metadata == nil {
		return nil, errors.New("loading the chart: it has no Chart.yaml: add one")
	}
	if err := loaded.Validate(); err != nil {
		return nil, fmt.Errorf("loading the chart: %w: see that helm lint accepts it", err)
	}
	if loaded.Metadata.Type == "library" {
		return nil, errors.New("rendering the chart: it is a library chart, which has no objects of its own: name a chart that uses it")
	}
	return loaded, checkVendored(loaded)
}

func openArchive(name string, info fs.FileInfo) (*chart.Chart, error) {
	if info.Size() > maxChartBytes {
		return nil, fmt.Errorf("the archive has %d bytes, more than %d", info.Size(), maxChartBytes)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	return loader.LoadArchive(f)
}

// checkChartDirectory bounds what Helm is going to read, and refuses symbolic links
// that lead out of the chart: .Files.Get would print what they lead to.
func checkChartDirectory(root string) error {
	files, size := 0, int64(0)
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading the chart: %w: make it readable", err)
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			return checkChartLink(root, path)
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("reading the chart: %w: make it readable", err)
		}
		files++
		if info.Mode().IsRegular() {
			size += info.Size()
		}
		if files > maxChartFiles || size > maxChartBytes {
			return fmt.Errorf("reading the chart: it has more than %d files or %d MiB: remove what is no part of it", maxChartFiles, maxChartBytes>>20)
		}
		return nil
	})
}

func checkChartLink(root, path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("reading the chart: following the symbolic link %s: %w: mend or remove it", path, cause(err))
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return fmt.Errorf("reading the chart: following the symbolic link %s: %w: mend or remove it", path, cause(err))
	case info.IsDir():
		return fmt.Errorf("reading the chart: the symbolic link %s leads to a directory: put a copy in its place (helm dependency update vendors charts)", path)
	case !within(root, target):
		return fmt.Errorf("reading the chart: the symbolic link %s leads out of the chart: put a copy in its place", path)
	}
	return nil
}

// checkVendored refuses a chart that lacks a dependency: it would render to fewer
// objects than are installed.
func checkVendored(loaded *chart.Chart) error {
	for _, dependency := range loaded.Metadata.Dependencies {
		if !slices.ContainsFunc(loaded.Dependencies(), func(c *chart.Chart) bool { return c.Name() == dependency.Name }) {
			return fmt.Errorf("rendering the chart: its dependency %q is not in charts/, and nothing is fetched here: run helm dependency build first", dependency.Name)
		}
	}
	for _, dependency := range loaded.Dependencies() {
		if err := checkVendored(dependency); err != nil {
			return err
		}
	}
	return nil
}

// check finds mistakes that do not depend on any chart.
func (o ChartOptions) check() error {
	if _, err := o.values(); err != nil {
		return err
	}
	_, err := o.capabilities()
	return err
}

// values merges the files and assignments in the order in which Helm does.
func (o ChartOptions) values() (map[string]any, error) {
	merged := map[string]any{}
	for _, file := range o.Values {
		content, err := readLimited(file, maxValuesBytes)
		if err != nil {
			return nil, fmt.Errorf("reading the values file %s: %w: check --values", file, cause(err))
		}
		values, err := chartutil.ReadValues(content)
		if err != nil {
			return nil, fmt.Errorf("reading the values file %s: %w: it must hold one YAML object", file, err)
		}
		merged = chartutil.MergeTables(values, merged)
	}
	for _, assignment := range o.Set {
		if err := strvals.ParseInto(assignment, merged); err != nil {
			return nil, fmt.Errorf("reading --set %s: %w: write it as key.key=value", assignment, err)
		}
	}
	return merged, nil
}

func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it has more than %d MiB", limit>>20)
	}
	return content, err
}

// render does what helm template --include-crds does, without a client: lookup
// finds nothing and no name is resolved.
func (o ChartOptions) render(ctx context.Context, loaded *chart.Chart, values map[string]any) (map[string]string, error) {
	capabilities, err := o.capabilities()
	if err != nil {
		return nil, err
	}
	if required := loaded.Metadata.KubeVersion; required != "" && !chartutil.IsCompatibleRange(required, capabilities.KubeVersion.String()) {
		return nil, fmt.Errorf("rendering the chart: it requires Kubernetes %s and is rendered for %s: pass --kube-version", required, capabilities.KubeVersion.String())
	}
	if err := chartutil.ProcessDependenciesWithMerge(loaded, values); err != nil {
		return nil, fmt.Errorf("rendering the chart: resolving its dependencies: %w: see that helm template accepts it", err)
	}
	release := chartutil.ReleaseOptions{Name: orElse(o.ReleaseName, "release-name"), Namespace: orElse(o.Namespace, "default"), Revision: 1, IsInstall: true}
	// The schemas are checked below, since Helm would fetch what they refer to.
	input, err := chartutil.ToRenderValuesWithSchemaValidation(loaded, values, release, capabilities, true)
	if err != nil {
		return nil, fmt.Errorf("rendering the chart: merging its values: %w: check --values and --set", err)
	}
	if merged, ok := input["Values"].(chartutil.Values); ok {
		if err := checkSchemas(loaded, merged); err != nil {
			return nil, err
		}
	}
	return execute(ctx, loaded, input)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (o ChartOptions) capabilities() (*chartutil.Capabilities, error) {
	capabilities := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(orElse(o.KubeVersion, DefaultKubeVersion))
	if err != nil {
		return nil, fmt.Errorf("reading --kube-version %s: %w: write it as %s", o.KubeVersion, err, DefaultKubeVersion)
	}
	capabilities.KubeVersion = *version
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), o.APIVersions...)
	return capabilities, nil
}

// execute runs the templates. They cannot be interrupted: when time is up the run
// ends, and the program with it.
func execute(ctx context.Context, loaded *chart.Chart, input chartutil.Values) (map[string]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxRenderTime, fmt.Errorf("it takes longer than %s: look for a template that loops", maxRenderTime))
	defer cancel()
	type outcome struct {
		files map[string]string
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- outcome{nil, fmt.Errorf("the template engine failed: %v: see that helm template accepts it", r)}
			}
		}()
		files, err := engine.Render(loaded, input)
		if err != nil {
			err = fmt.Errorf("%w: mend the template, or give what it needs with --values or --set", err)
		}
		done <- outcome{files, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("rendering the chart: %w", context.Cause(ctx))
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("rendering the chart: %w", o.err)
		}
		return o.files, nil
	}
}

// noSchemaLoader refuses references to other files and to the network: a chart
// could have any of them read.
type noSchemaLoader struct{}

func (noSchemaLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("values.schema.json refers to %s, and nothing is fetched here: put the definitions into the schema itself", url)
}

// checkSchemas checks the values against the values.schema.json of the chart and
// of its dependencies.
func checkSchemas(loaded *chart.Chart, values map[string]any) error {
	if loaded.Schema != nil {
		if err := checkSchema(loaded.Schema, values); err != nil {
			return fmt.Errorf("checking the values of the chart %s: %w: check --values and --set", loaded.Name(), err)
		}
	}
	for _, dependency := range loaded.Dependencies() {
		if below, ok := values[dependency.Name()].(map[string]any); ok {
			if err := checkSchemas(dependency, below); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkSchema(content []byte, values map[string]any) error {
	const name = "file:///values.schema.json"
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("reading values.schema.json: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noSchemaLoader{})
	if err := compiler.AddResource(name, parsed); err != nil {
		return fmt.Errorf("reading values.schema.json: %w", err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return fmt.Errorf("reading values.schema.json: %w", err)
	}
	if err := schema.Validate(values); err != nil {
		// The first line only repeats the name made up above.
		_, reasons, _ := strings.Cut(err.Error(), "\n")
		return errors.New(reasons)
	}
	return nil
}

// templatesOf are the source texts of all templates by the names that rendering
// gives their output.
func templatesOf(loaded *chart.Chart) map[string][]byte {
	templates := map[string][]byte{}
	var add func(c *chart.Chart)
	add = func(c *chart.Chart) {
		for _, template := range c.Templates {
			templates[path.Join(c.ChartFullPath(), template.Name)] = append([]byte{}, template.Data...)
		}
		for _, dependency := range c.Dependencies() {
			add(dependency)
		}
	}
	add(loaded)
	return templates
}

// lineIndex finds the line of a template that a rendered line came from.
type lineIndex struct {
	// lines are the numbers of the lines by their text, indentation left out; 0 for
	// a text that stands on several lines.
	lines map[string]int
	exact bool // there is no template: rendered lines are the lines of the file
}

func newLineIndex(template []byte) *lineIndex {
	if template == nil {
		return &lineIndex{exact: true}
	}
	index := &lineIndex{lines: map[string]int{}}
	for i, line := range strings.Split(string(template), "\n") {
		text := strings.TrimSpace(line)
		if _, repeated := index.lines[text]; repeated {
			index.lines[text] = 0
		} else {
			index.lines[text] = i + 1
		}
	}
	return index
}

// locate maps a position in rendered content to the template: to the one line that
// reads the same, else to none of its lines.
func (x *lineIndex) locate(file string, position manifest.Position, content []byte) Location {
	if x.exact {
		return Location{File: file, Line: position.Line, Column: position.Column}
	}
	location := Location{File: file, RenderedLine: position.Line}
	if text := strings.TrimSpace(lineOf(content, position.Line)); text != "" {
		location.Line = x.lines[text]
	}
	return location
}

// lineOf is a line of content, counted from 1.
func lineOf(content []byte, number int) string {
	for i := 1; number > 0; i++ {
		line, rest, more := bytes.Cut(content, []byte("\n"))
		if i == number {
			return string(line)
		}
		if !more {
			break
		}
		content = rest
	}
	return ""
}
