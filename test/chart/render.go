package chart

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

// Options of a render.
type Options struct {
	// Chart is the folder of the chart, [Dir] if empty.
	Chart string
	// Revision of the release: above 1 it is an upgrade.
	Revision int
	// Files are values files, a later one before an earlier; Values are before them all.
	Files  []string
	Values map[string]any
	// Namespace is that of the release, portcullis-system if empty.
	Namespace string
	// APIVersions are what the cluster serves besides Kubernetes' own.
	APIVersions []string
}

// kubeVersion is what renders are for.
const kubeVersion = "v1.37.2"

// Rendered is what a release consists of.
type Rendered struct {
	// Manifest are the objects that are installed, in the order in which Helm does. Hooks are those that run beside them.
	Manifest, Hooks string
	// Notes are what the user is told.
	Notes string
}

// Render does what helm install does, up to telling the cluster: values are checked by the schema, templates rendered,
// objects sorted.
func Render(options Options) (*Rendered, error) {
	loaded, err := loader.Load(cmp.Or(options.Chart, Dir))
	if err != nil {
		return nil, fmt.Errorf("loading the chart: %w", err)
	}
	values, err := options.values()
	if err != nil {
		return nil, err
	}
	if options.Namespace == "" {
		options.Namespace = "portcullis-system"
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: kubeVersion, Major: "1", Minor: "37"}
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), options.APIVersions...)
	release := chartutil.ReleaseOptions{Name: "portcullis", Namespace: options.Namespace, Revision: max(options.Revision, 1), IsInstall: options.Revision <= 1, IsUpgrade: options.Revision > 1}
	input, err := chartutil.ToRenderValues(loaded, values, release, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(loaded, input)
	if err != nil {
		return nil, err
	}
	return sorted(files)
}

func sorted(files map[string]string) (*Rendered, error) {
	var rendered Rendered
	for name, text := range files {
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			rendered.Notes = text
			delete(files, name)
		case strings.TrimSpace(text) == "":
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("sorting what the chart renders to: %w", err)
	}
	var manifest, hook strings.Builder
	for _, m := range manifests {
		fmt.Fprintf(&manifest, "---\n# Source: %s\n%s\n", m.Name, strings.TrimSpace(m.Content))
	}
	for _, h := range hooks {
		fmt.Fprintf(&hook, "---\n# Source: %s\n%s\n", h.Path, strings.TrimSpace(h.Manifest))
	}
	rendered.Manifest, rendered.Hooks = manifest.String(), hook.String()
	return &rendered, nil
}

func (o Options) values() (map[string]any, error) {
	values := map[string]any{}
	for _, name := range o.Files {
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			return nil, fmt.Errorf("reading values: %w", err)
		}
		var one map[string]any
		if err := yaml.UnmarshalStrict(text, &one); err != nil {
			return nil, fmt.Errorf("reading values of %s: %w", name, err)
		}
		values = chartutil.CoalesceTables(one, values)
	}
	return chartutil.CoalesceTables(o.Values, values), nil
}
