package registration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The annotations of the Lease.
const (
	sinceAnnotation       = "policy.portcullis.dev/registered-since"
	serviceAnnotation     = "policy.portcullis.dev/registered-service"
	uninstalledAnnotation = "policy.portcullis.dev/uninstalled"
	goneServiceAnnotation = "policy.portcullis.dev/uninstalled-service"
	openingsAnnotation    = "policy.portcullis.dev/break-glass"
	windowAnnotation      = "policy.portcullis.dev/break-glass-window"
)

// memory is what was decided and cannot be read from the objects: it is in a Lease, since no webhook is ever asked about those.
type memory struct {
	// since is when the configurations were first made for the Service with the UID service; zero for never.
	since   time.Time
	service types.UID
	// uninstalled is when they were taken away for good, as long as the Service with the UID gone is there.
	uninstalled time.Time
	gone        types.UID
	// openings are the ways in which the glass was broken when last looked.
	openings []Opening
	// window is that of the annotation; nil for none.
	window *window

	lease *coordinationv1.Lease // as it was read, nil where there is none
}

// window is when the annotation was first seen. It stays until the annotation is gone, so that none counts twice.
type window struct {
	Since time.Time `json:"since"`
	Value string    `json:"value"`
}

func (r *Registration) leaseName() string { return leaseName(r.options.Name) }

// leaseName is "portcullis-webhook" for configurations called portcullis.
func leaseName(name string) string { return name + "-webhook" }

// decodeMemory reads the Lease. What cannot be read counts as not said: the worst is that a window is closed early, or that the
// configurations are waited with until an endpoint is ready.
func decodeMemory(lease *coordinationv1.Lease) *memory {
	m := &memory{lease: lease}
	if lease == nil {
		return m
	}
	said := lease.Annotations
	m.since, _ = time.Parse(time.RFC3339, said[sinceAnnotation])
	m.uninstalled, _ = time.Parse(time.RFC3339, said[uninstalledAnnotation])
	m.service, m.gone = types.UID(said[serviceAnnotation]), types.UID(said[goneServiceAnnotation])
	_ = json.Unmarshal([]byte(said[openingsAnnotation]), &m.openings)
	var w window
	if json.Unmarshal([]byte(said[windowAnnotation]), &w) == nil && !w.Since.IsZero() {
		m.window = &w
	}
	return m
}

func (m *memory) annotations() (map[string]string, error) {
	said := map[string]string{}
	if !m.since.IsZero() {
		said[sinceAnnotation], said[serviceAnnotation] = m.since.UTC().Format(time.RFC3339), string(m.service)
	}
	if !m.uninstalled.IsZero() {
		said[uninstalledAnnotation], said[goneServiceAnnotation] = m.uninstalled.UTC().Format(time.RFC3339), string(m.gone)
	}
	if len(m.openings) > 0 {
		text, err := json.Marshal(m.openings)
		if err != nil {
			return nil, err
		}
		said[openingsAnnotation] = string(text)
	}
	if m.window != nil {
		text, err := json.Marshal(m.window)
		if err != nil {
			return nil, err
		}
		said[windowAnnotation] = string(text)
	}
	return said, nil
}

// ofUs are our annotations of a Lease.
func ofUs(said map[string]string) map[string]string {
	kept := map[string]string{}
	for _, key := range []string{sinceAnnotation, serviceAnnotation, uninstalledAnnotation, goneServiceAnnotation, openingsAnnotation, windowAnnotation} {
		if value, ok := said[key]; ok {
			kept[key] = value
		}
	}
	return kept
}

// save writes the Lease if it says something else.
func (r *Registration) save(ctx context.Context, m *memory) error {
	saved, err := saveMemory(ctx, r.kube.CoordinationV1().Leases(r.options.Service.Namespace), r.leaseName(), m)
	if err == nil {
		m.lease = saved
	}
	return err
}

// leases are those of a namespace, as far as they are needed.
type leases interface {
	Create(context.Context, *coordinationv1.Lease, metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(context.Context, *coordinationv1.Lease, metav1.UpdateOptions) (*coordinationv1.Lease, error)
	Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error)
}

func saveMemory(ctx context.Context, in leases, name string, m *memory) (*coordinationv1.Lease, error) {
	said, err := m.annotations()
	if err != nil {
		return nil, err
	}
	if m.lease == nil {
		if len(said) == 0 {
			return nil, nil
		}
		made, err := in.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels(), Annotations: said}}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("writing down what is registered, in the Lease %s: %w", name, err)
		}
		return made, nil
	}
	if maps.Equal(ofUs(m.lease.Annotations), said) {
		return m.lease, nil
	}
	changed := m.lease.DeepCopy()
	for key := range ofUs(changed.Annotations) {
		delete(changed.Annotations, key)
	}
	if changed.Annotations == nil {
		changed.Annotations = map[string]string{}
	}
	maps.Copy(changed.Annotations, said)
	written, err := in.Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("writing down what is registered, in the Lease %s: %w", name, err)
	}
	return written, nil
}

func readMemory(ctx context.Context, in leases, name string) (*memory, error) {
	lease, err := in.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return decodeMemory(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is registered, in the Lease %s: %w", name, err)
	}
	return decodeMemory(lease), nil
}

// labels are those of all objects that are kept.
func labels() map[string]string {
	return map[string]string{
		"app.kubernetes.io/part-of":    "portcullis",
		"app.kubernetes.io/component":  "webhook",
		"app.kubernetes.io/managed-by": ManagedBy,
	}
}
