package report

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/audit"
)

// detectInterval is the time between two looks at which formats the cluster has.
const detectInterval = time.Minute

// attempts of a write that somebody else's got in the way of.
const attempts = 3

// Options of [New].
type Options struct {
	// Formats are those that are written where the cluster has them; nil for all.
	Formats []Format
	Now     func() time.Time
	Log     *slog.Logger
}

// Writer writes reports. It may be used by any number of goroutines.
type Writer struct {
	client    dynamic.Interface
	discovery discovery.DiscoveryInterface
	options   Options

	mu      sync.Mutex
	asked   time.Time
	present []Format
	// mild are formats whose definition in this cluster knows no critical results: older ones of PolicyReport.
	mild map[string]bool
}

// New makes a Writer. Nothing is asked yet.
func New(config *rest.Config, options Options) (*Writer, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for reports: %w", err)
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for reports: %w", err)
	}
	if options.Formats == nil {
		options.Formats = Formats
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Writer{client: client, discovery: discoverer, options: options, mild: map[string]bool{}}, nil
}

// Present are the formats that are written and that the cluster has. That is asked anew after a while.
func (w *Writer) Present() ([]Format, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.options.Now(); w.asked.IsZero() || now.Sub(w.asked) >= detectInterval || now.Before(w.asked) {
		var present []Format
		for _, format := range w.options.Formats {
			served, err := w.serves(format)
			if err != nil {
				return nil, err
			}
			if served {
				present = append(present, format)
			}
		}
		if w.asked.IsZero() || !slices.Equal(names(present), names(w.present)) {
			w.options.Log.Info("reports of the audit", "formats", strings.Join(names(present), ", "))
			clear(w.mild)
		}
		w.asked, w.present = now, present
	}
	return w.present, nil
}

func (w *Writer) serves(format Format) (bool, error) {
	list, err := w.discovery.ServerResourcesForGroupVersion(format.version.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking the API server for %s: %w", format.version, err)
	}
	has := func(resource schema.GroupVersionResource) bool {
		return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource.Resource })
	}
	return has(format.resource("")) && has(format.resource("some")), nil
}

func names(formats []Format) []string {
	var all []string
	for _, format := range formats {
		all = append(all, format.Name)
	}
	return all
}

// Write writes what was found of a scope, in each format that the cluster has. What says the same already is not written.
// Nothing deletes the report.
func (w *Writer) Write(ctx context.Context, scope string, results []audit.Result) error {
	formats, err := w.Present()
	if err != nil {
		return err
	}
	for _, format := range formats {
		if err := w.write(ctx, format, scope, results); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) write(ctx context.Context, format Format, scope string, results []audit.Result) error {
	wanted := format.build(scope, results)
	client := w.client.Resource(format.resource(wanted.Metadata.Namespace)).Namespace(wanted.Metadata.Namespace)
	name := wanted.Metadata.Name
	if len(results) == 0 {
		if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting the %s %s: %w", wanted.Kind, name, err)
		}
		return nil
	}
	var err error
	for range attempts {
		if err = w.put(ctx, client, format, wanted); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			break
		}
	}
	switch {
	case err == nil, goes(err):
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("writing the %s of %s: %w: grant get, list, create, update and delete on %s", wanted.Kind, scope, err, format.resource(wanted.Metadata.Namespace).GroupResource())
	}
	return fmt.Errorf("writing the %s of %s: %w", wanted.Kind, scope, err)
}

// goes says that a namespace is being deleted, or is gone: its report goes with it.
func goes(err error) bool {
	return apierrors.HasStatusCause(err, "NamespaceTerminating") || apierrors.IsNotFound(err)
}

// put creates or updates a report, unless it says the same.
func (w *Writer) put(ctx context.Context, client dynamic.ResourceInterface, format Format, wanted *report) error {
	existing, err := client.Get(ctx, wanted.Metadata.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	next := *wanted
	next.Results = slices.Clone(wanted.Results)
	if w.isMild(format) {
		soften(next.Results)
	}
	if err == nil {
		var before report
		if readErr := convert(existing.Object, &before); readErr == nil {
			next.carry(&before)
			if next.same(&before) {
				return nil
			}
			// What others have put on it stays.
			next.Metadata.Labels, next.Metadata.Annotations = joined(before.Metadata.Labels, next.Metadata.Labels), joined(without(before.Metadata.Annotations), next.Metadata.Annotations)
		}
		next.Metadata.ResourceVersion = existing.GetResourceVersion()
	}
	var object map[string]any
	if err := convert(next, &object); err != nil {
		return err
	}
	if next.Metadata.ResourceVersion != "" {
		_, err = client.Update(ctx, &unstructured.Unstructured{Object: object}, metav1.UpdateOptions{})
	} else {
		_, err = client.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	}
	if apierrors.IsInvalid(err) && !w.isMild(format) && strings.Contains(err.Error(), "severity") {
		w.mu.Lock()
		w.mild[format.Name] = true
		w.mu.Unlock()
		return w.put(ctx, client, format, wanted)
	}
	return err
}

func (w *Writer) isMild(format Format) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mild[format.Name]
}

// soften says high where a definition knows nothing worse. The properties say what it is.
func soften(results []result) {
	for n := range results {
		if results[n].Severity == "critical" {
			results[n].Severity = "high"
			results[n].Details = joined(results[n].Details, map[string]string{"severity": "critical"})
		}
	}
}

// joined is a map with what is in either; the second counts.
func joined(a, b map[string]string) map[string]string {
	both := map[string]string{}
	for _, values := range []map[string]string{a, b} {
		for name, value := range values {
			both[name] = value
		}
	}
	return both
}

// without leaves out what only this package writes.
func without(annotations map[string]string) map[string]string {
	rest := joined(annotations, nil)
	for _, name := range []string{annotationRevision, annotationObjects, annotationTruncated} {
		delete(rest, name)
	}
	return rest
}

func convert(from, to any) error {
	content, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, to)
}

// Sweep deletes the reports of scopes that are this replica's and that nothing is known of any more: of a kind that is served
// no more, or of one that policies are not about.
func (w *Writer) Sweep(ctx context.Context, owns func(scope string) bool, scopes []string) error {
	formats, err := w.Present()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, scope := range scopes {
		known[scope] = true
	}
	for _, format := range formats {
		for _, namespace := range []string{"", "some"} { // both kinds of reports
			resource := format.resource(namespace)
			list, err := w.client.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: managedBy + "=" + Source})
			if err != nil {
				return fmt.Errorf("listing %s: %w", resource.Resource, err)
			}
			for n := range list.Items {
				one := &list.Items[n]
				scope := scopeOf(one.GetNamespace(), one.GetName())
				if scope == "" || known[scope] || !owns(scope) {
					continue
				}
				uid := one.GetUID()
				err := w.client.Resource(resource).Namespace(one.GetNamespace()).Delete(ctx, one.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
				if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
					return fmt.Errorf("deleting %s %s: %w", resource.Resource, one.GetName(), err)
				}
			}
		}
	}
	return nil
}
