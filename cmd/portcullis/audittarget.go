package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// defaultNamespaceOfDumps is where kubectl puts objects that do not say.
const defaultNamespaceOfDumps = "default"

// dumpLimits are those of one file of a dump, which whoever runs the audit has made: kubectl get -A -o yaml of a large namespace.
// It takes some 20 times its size in memory.
var dumpLimits = manifest.Limits{Bytes: 64 << 20, Nodes: 6_000_000}

// auditTargetFlags say what is judged.
type auditTargetFlags struct {
	kubeconfig, context string
	namespaces, kinds   []string
	exclude             []string
}

func (f *auditTargetFlags) register(flags *pflag.FlagSet) {
	registerCluster(flags, &f.kubeconfig, &f.context)
	flags.StringArrayVarP(&f.namespaces, "namespace", "n", nil, "judge only what is in this `namespace`; may be repeated (default: everything, and what is in none)")
	flags.StringArrayVar(&f.kinds, "kind", nil, "judge only objects of this `kind`: Deployment, deployments or deployments.apps; may be repeated")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "below DIR pass over what this `glob` names; may be repeated")
}

func (f *auditTargetFlags) check(paths []string) error {
	switch {
	case len(paths) > 0 && f.kubeconfig != "":
		return usagef("a dump and --kubeconfig contradict each other: leave one out")
	case len(paths) > 0 && f.context != "":
		return usagef("a dump and --context contradict each other: leave one out; here --context names a context of the kubeconfig")
	case len(paths) == 0 && len(f.exclude) > 0:
		return usagef("--exclude is about files: name a DIR, or leave it out")
	}
	for _, namespace := range f.namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return usagef("reading --namespace %q: it is no name of a namespace: give one, and repeat the flag for more", namespace)
		}
	}
	for _, kind := range f.kinds {
		if strings.Trim(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" || kind == "" {
			return usagef("reading --kind %q: write a kind, as Deployment, or a resource, as deployments.apps, and repeat the flag for more", kind)
		}
	}
	return nil
}

// wants says whether a kind is one of those that --kind names.
func (f *auditTargetFlags) wants(r audit.Reference) bool {
	return len(f.kinds) == 0 || slices.ContainsFunc(f.kinds, func(kind string) bool {
		return strings.EqualFold(kind, r.Kind) || strings.EqualFold(kind, r.Resource) || strings.EqualFold(kind, r.GroupResource())
	})
}

// auditTarget is a cluster or a dump of one.
type auditTarget struct {
	flags *auditTargetFlags
	// name is what it is called in reports.
	name string
	// cluster are the facts.
	cluster gate.Cluster
	// exceptions are those that it grants, beside those of the lineup.
	exceptions []policies.Exception
	problems   []gate.Problem
	skipped    []gate.Skip
	// client reads a cluster, nil for a dump, whose documents are in the order of its objects.
	client    *stored.Client
	objects   audit.Objects
	documents []*source.Document
}

func (f *auditTargetFlags) open(ctx context.Context, p *program, all *auditFlags, paths []string) (*auditTarget, error) {
	if len(paths) > 0 {
		return f.openDump(ctx, p, paths)
	}
	return f.openCluster(ctx, all)
}

// openCluster opens the cluster of the kubeconfig. Exceptions are read unless the bundle brings those of the cluster.
func (f *auditTargetFlags) openCluster(ctx context.Context, all *auditFlags) (*auditTarget, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	deferred := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context})
	config, err := deferred.ClientConfig()
	if err != nil {
		return nil, usagef("reaching the cluster: %w: give --kubeconfig FILE and --context NAME, or a DIR with a dump", err)
	}
	config.UserAgent = "portcullis-audit"
	// Deprecations of what is in the cluster are no part of the report.
	config.WarningHandler, config.WarningHandlerWithContext = rest.NoWarnings{}, nil
	name := f.context
	if raw, err := deferred.RawConfig(); err == nil && name == "" {
		name = raw.CurrentContext
	}
	t := &auditTarget{flags: f, name: cmp.Or(name, config.Host)}
	live, err := gate.ConnectTo(cmp.Or(f.kubeconfig, "kubectl"), config)
	if err != nil {
		return nil, err
	}
	t.cluster = live
	if t.client, err = stored.New(config, stored.Options{}); err != nil {
		return nil, err
	}
	if _, own := bundlesource.InCluster(all.bundle.ref); own {
		return t, nil
	}
	kind := stored.Kind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: "PolicyException", Resource: "policyexceptions", Namespaced: true}
	_, err = t.client.List(ctx, kind, "", func(object audit.Object) error { return t.grant(object.Raw) })
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		err = nil // none are served, or none are seen, which waives nothing: findings stand
	}
	return t, err
}

// openDump reads files.
func (f *auditTargetFlags) openDump(ctx context.Context, p *program, paths []string) (*auditTarget, error) {
	loaded, err := source.Load(ctx, paths, source.Options{Stdin: p.stdin, Exclude: f.exclude, Limits: dumpLimits})
	if err != nil {
		return nil, err
	}
	t := &auditTarget{flags: f, name: strings.Join(paths, ", "), problems: loaded.Problems, skipped: loaded.Skipped}
	t.cluster = gate.NewDirectory(t.name, loaded.Documents, defaultNamespaceOfDumps)
	order := map[audit.Reference]*source.Document{}
	for n := range loaded.Documents {
		document := &loaded.Documents[n]
		object := audit.FromDocument(&document.Document, defaultNamespaceOfDumps)
		if object.Group == v1alpha1.GroupVersion.Group && object.Kind == "PolicyException" {
			if err := t.grant(object.Raw); err != nil {
				t.problems = append(t.problems, gate.Problem{Location: document.Locate(""), Message: err.Error()})
			}
		}
		if order[object.Reference] != nil {
			t.problems = append(t.problems, gate.Problem{Location: document.Locate(""), Message: fmt.Sprintf("%s is in the dump twice, and is judged as it is at %s: leave one out", object.Reference, order[object.Reference].Locate(""))})
			continue
		}
		order[object.Reference] = document
		t.objects = append(t.objects, object)
	}
	t.objects.Sort()
	for n := range t.objects {
		t.documents = append(t.documents, order[t.objects[n].Reference])
	}
	return t, nil
}

// grant takes a PolicyException. One that no API server has stored yet counts as if it were applied now.
func (t *auditTarget) grant(raw json.RawMessage) error {
	var object v1alpha1.PolicyException
	if err := json.Unmarshal(raw, &object); err != nil {
		return fmt.Errorf("reading a PolicyException: %w: correct it", err)
	}
	if object.CreationTimestamp.IsZero() {
		object.CreationTimestamp = metav1.NewTime(time.Now())
	}
	if object.Namespace == "" {
		object.Namespace = defaultNamespaceOfDumps
	}
	exception, err := cluster.Exception(&object)
	if err != nil {
		return fmt.Errorf("%w: correct it", err)
	}
	if len(t.exceptions) < cluster.MaxExceptions {
		t.exceptions = append(t.exceptions, exception)
	}
	return nil
}

// excepting is a lineup with the exceptions that the target grants.
func (t *auditTarget) excepting(lineup *admission.Lineup) *admission.Lineup {
	if len(t.exceptions) == 0 {
		return lineup
	}
	return &admission.Lineup{Members: lineup.Members, Exceptions: append(slices.Clone(lineup.Exceptions), t.exceptions...)}
}

// source is what is to be judged, and what cannot be looked at.
func (t *auditTarget) source(ctx context.Context, reviewer *admission.Reviewer) (audit.Source, []audit.Gap, error) {
	if t.client == nil {
		var chosen audit.Objects
		for n := range t.objects {
			if t.chooses(t.objects[n].Reference) {
				chosen = append(chosen, t.objects[n])
			}
		}
		return chosen, nil, nil
	}
	kinds, gaps, err := t.client.Kinds(ctx, reviewer.Interests())
	if err != nil {
		return nil, nil, err
	}
	var chosen []stored.Kind
	for _, kind := range kinds {
		if t.flags.wants(audit.Reference{Group: kind.Group, Kind: kind.Kind, Resource: kind.Resource}) {
			chosen = append(chosen, kind)
		}
	}
	if len(chosen) == 0 && len(gaps) == 0 {
		return nil, nil, usagef("no policy is about a kind that --kind names and the cluster serves: name another one, or leave it out")
	}
	return t.client.Source(chosen, t.flags.namespaces...), gaps, nil
}

// nothing says that there was no object to judge.
func (t *auditTarget) nothing() error {
	if len(t.flags.namespaces)+len(t.flags.kinds) > 0 {
		return usagef("auditing %s: no object is in the namespaces and of the kinds that are asked for: name others with --namespace and --kind, or leave them out", t.name)
	}
	return usagef("auditing %s: there is no object to judge: name a DIR with what kubectl get -A -o yaml has written, or another cluster", t.name)
}

// chooses says whether an object of a dump is to be judged.
func (t *auditTarget) chooses(r audit.Reference) bool {
	return t.flags.wants(r) && (len(t.flags.namespaces) == 0 || r.Namespace != "" && slices.Contains(t.flags.namespaces, r.Namespace))
}

// location is where an object of a cluster is, for formats that are made for files: "cluster/shop/deployments.apps/web".
func (t *auditTarget) location(r audit.Reference) gate.Location {
	parts := []string{"cluster", r.Namespace, r.GroupResource(), r.Name}
	return gate.Location{File: strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "/")}
}

// progress tells people how far it is: nil where nobody looks.
func (t *auditTarget) progress(w io.Writer) func(judged int) {
	if t.client != nil {
		return counter(w, "judged %d objects")
	}
	total := 0
	for n := range t.objects {
		if t.chooses(t.objects[n].Reference) {
			total++
		}
	}
	bar := progress(w, "judged %d of %d objects")
	if bar == nil {
		return nil
	}
	return func(judged int) { bar(judged, total) }
}

// counter shows on a terminal how many there are so far, from a second after the beginning on.
func counter(w io.Writer, words string) func(n int) {
	if _, ok := terminal(w); !ok {
		return nil
	}
	return countingLine(w, words, time.Now)
}

func countingLine(w io.Writer, words string, now func() time.Time) func(n int) {
	shown := now().Add(time.Second)
	return func(n int) {
		if at := now(); at.After(shown) {
			shown = at.Add(100 * time.Millisecond)
			fmt.Fprintf(w, "\r\x1b[K"+words+"\r", n)
		}
	}
}

func compareGaps(a, b audit.Gap) int {
	return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Reason, b.Reason))
}

// errNotListed says that a kind could not be looked at.
var errNotListed = errors.New("it could not be listed")
