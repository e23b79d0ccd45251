package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/spf13/pflag"
)

// sourceFlags say what is judged and what is known beside it.
type sourceFlags struct {
	namespace, context string
	exclude            []string
	chart              source.ChartOptions
}

func (f *sourceFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.namespace, "namespace", "n", "", "`namespace` of objects that do not say, and of chart releases (default: default)")
	flags.StringArrayVarP(&f.chart.Values, "values", "f", nil, "`file` of values for charts; may be repeated, later ones override")
	flags.StringArrayVar(&f.chart.Set, "set", nil, "set a chart's value, as `key.key=value`; may be repeated")
	flags.StringVar(&f.chart.ReleaseName, "release-name", "", "`name` of chart releases (default: release-name)")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "below directories pass over what this `glob` names: a path relative to the directory, as web/*.json, or a name at any depth, as node_modules; may be repeated")
	flags.StringVar(&f.chart.KubeVersion, "kube-version", "", "Kubernetes `version` that charts are rendered for (default: "+source.DefaultKubeVersion+")")
	flags.StringArrayVar(&f.chart.APIVersions, "api-versions", nil, "API `version` that charts find in the cluster, as example.com/v1/Kind; may be repeated")
	f.registerContext(flags)
}

func (f *sourceFlags) registerContext(flags *pflag.FlagSet) {
	flags.StringVar(&f.context, "context", "", "what else is in the cluster: a `directory` of manifests, taken to be all there is, or a kubeconfig file, whose current cluster is read")
}

// load reads the paths.
func (f *sourceFlags) load(ctx context.Context, p *program, paths []string) (source.Loaded, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	chart := f.chart
	chart.Namespace = f.namespace
	return source.Load(ctx, paths, source.Options{Stdin: p.stdin, Chart: chart, Exclude: f.exclude})
}

// cluster opens the context; nil where none is given.
func (f *sourceFlags) cluster(ctx context.Context) (gate.Cluster, error) {
	if f.context == "" {
		return nil, nil
	}
	info, err := os.Stat(f.context)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("opening the context: there is no %[1]s: --context takes a directory of manifests or a kubeconfig file, not the name of a context: kubectl config view --minify --flatten --context=%[1]s writes such a file", f.context)
	case err != nil:
		return nil, fmt.Errorf("opening the context: %w: make it readable", err)
	case !info.IsDir():
		return gate.Connect(f.context)
	}
	loaded, err := source.Load(ctx, []string{f.context}, source.Options{Chart: source.ChartOptions{Namespace: f.namespace}})
	if err != nil {
		return nil, err
	}
	if len(loaded.Problems) > 0 {
		problem := loaded.Problems[0]
		return nil, fmt.Errorf("reading the context %s: it cannot be taken for all there is: %s: %s", f.context, problem.Location, problem.Message)
	}
	return gate.NewDirectory(f.context, loaded.Documents, f.namespace), nil
}
