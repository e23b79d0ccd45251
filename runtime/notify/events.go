package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	eventsclient "k8s.io/client-go/kubernetes/typed/events/v1"
)

// reportingController is how Events name who reports.
const reportingController = "runtime.portcullis.dev/responder"

// Limits of events.k8s.io/v1 (k8s.io/kubernetes/pkg/apis/core/validation/events.go), in bytes.
const (
	maxNote     = 1024
	maxInstance = 128
	maxBaseName = 200 // of an Event's name, with a hash behind it
)

// Events is a receiver that makes Events of Kubernetes: about the pod, its owner and the Quarantine; and, of what is about
// none of these, about the responder's namespace. Each is named after what it says, so that it is made once, whoever makes it.
type Events struct {
	name      string
	client    eventsclient.EventsGetter
	namespace string
	instance  string
}

// NewEvents makes one. namespace is the responder's own, instance tells replicas apart.
func NewEvents(name string, client eventsclient.EventsGetter, namespace, instance string) *Events {
	return &Events{name: name, client: client, namespace: namespace, instance: instance[:min(len(instance), maxInstance)]}
}

// Name implements [Receiver].
func (e *Events) Name() string { return e.name }

// Send implements [Receiver]. An Event that is there already, or whose namespace is going, is told.
func (e *Events) Send(ctx context.Context, m Message) error {
	var failures []error
	for _, about := range e.regarding(m) {
		event := e.event(m, about)
		_, err := e.client.Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
		switch {
		case err == nil, apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			failures = append(failures, fmt.Errorf("making an Event about the %s %s: %w: %w", about.Kind, about.Name, err, ErrRefused))
		default:
			failures = append(failures, later(fmt.Errorf("making an Event about the %s %s: %w", about.Kind, about.Name, err), err))
		}
	}
	return errors.Join(failures...)
}

// later notes when the API server wants to be asked again.
func later(err, cause error) error {
	if seconds, ok := apierrors.SuggestsClientDelay(cause); ok && seconds > 0 {
		return &RetryError{After: time.Duration(seconds) * time.Second, Err: err}
	}
	return err
}

// regarding is what an Event each is made about.
func (e *Events) regarding(m Message) []corev1.ObjectReference {
	d := m.details
	var all []corev1.ObjectReference
	if d.Pod != nil && d.Pod.Name != "" {
		all = append(all, corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: d.Pod.Namespace, Name: d.Pod.Name, UID: types.UID(d.Pod.UID)})
	}
	for _, object := range []*Object{d.Owner, d.Quarantine} {
		if object != nil && object.Name != "" {
			all = append(all, corev1.ObjectReference{APIVersion: object.APIVersion, Kind: object.Kind, Namespace: object.Namespace, Name: object.Name, UID: types.UID(object.UID)})
		}
	}
	if len(all) == 0 {
		all = append(all, corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: e.namespace})
	}
	return all
}

func (e *Events) event(m Message, about corev1.ObjectReference) *eventsv1.Event {
	d := m.details
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where Events about what has no namespace live
	}
	sum := sha256.Sum256([]byte(m.id + "\n" + about.Kind + "\n" + about.Name + "\n" + string(about.UID)))
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: strings.TrimRight(about.Name[:min(len(about.Name), maxBaseName)], ".-") + "." + hex.EncodeToString(sum[:8])},
		EventTime:  metav1.NewMicroTime(d.Time), Regarding: about, Type: m.eventType(), Reason: string(d.Kind), Action: "Respond", Note: note(m),
		ReportingController: reportingController, ReportingInstance: e.instance,
	}
	if d.Quarantine != nil && about.Kind != "Quarantine" {
		event.Related = &corev1.ObjectReference{APIVersion: d.Quarantine.APIVersion, Kind: d.Quarantine.Kind, Name: d.Quarantine.Name, UID: types.UID(d.Quarantine.UID)}
	}
	return event
}

// note is a message in the length of an Event.
func note(m Message) string {
	d, text := m.details, m.Title()
	for _, part := range []string{d.Reason, strings.Join(d.Residual, "; "), d.Next} {
		if part != "" {
			text += ". " + strings.TrimSuffix(part, ".")
		}
	}
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote-len(ellipsis)], "") + ellipsis
	}
	return text
}
