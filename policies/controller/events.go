package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/rollout"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// controllerName is how Events name who reports.
const controllerName = "policy.portcullis.dev/controller"

// eventsNamespace is that of Events about what has no namespace.
const eventsNamespace = metav1.NamespaceDefault

// maxNote is the limit of events.k8s.io/v1.
const maxNote = 1024

// retold is how old a transition may be that is told of again after a restart, in case nobody was told: Events are named after
// what they say, and the API server keeps them for an hour.
const retold = time.Hour

// Journal keeps a line of each transition.
type Journal interface {
	// Transition is called once for each, after it was written into the status.
	Transition(ctx context.Context, bundle string, t v1alpha1.Transition)
}

// announce tells of transitions and rejections, each once: by an Event, a line of the log and one of the journal.
func (k *keeper) announce(ctx context.Context, bundle *v1alpha1.PolicyBundle, steps []v1alpha1.Transition, rejections []v1alpha1.Rejection) {
	if !k.retold {
		k.retold = true
		k.retell(ctx, bundle, steps)
	}
	for _, t := range steps {
		k.c.log.Info("a bundle has made a step", "bundle", k.name, "step", t.Step, "from", t.From, "to", t.To, "reason", t.Reason)
		k.c.metrics.transition(k.name, t.Step)
		if k.c.journal != nil {
			k.c.journal.Transition(ctx, k.name, t)
		}
		k.c.event(ctx, eventOf(bundle, t))
	}
	for _, r := range rejections {
		k.c.log.Warn("a revision is not activated", "bundle", k.name, "digest", r.Digest, "origin", r.Origin, "reason", r.Reason)
		k.c.event(ctx, newEvent(regarding(bundle), corev1.EventTypeWarning, "Rejected", "Reject", fmt.Sprintf("%s: %s", short(r.Digest), r.Reason), r.Digest+r.Time.String()))
	}
}

// retell makes the Events of steps that were written, and perhaps not told of, by a controller that then died.
func (k *keeper) retell(ctx context.Context, bundle *v1alpha1.PolicyBundle, steps []v1alpha1.Transition) {
	told := len(steps)
	for _, t := range bundle.Status.History[min(told, len(bundle.Status.History)):] {
		if k.c.now().Sub(t.Time.Time) < retold {
			k.c.event(ctx, eventOf(bundle, t))
		}
	}
}

// newRejections are those that were not there before.
func newRejections(before, after []v1alpha1.Rejection) []v1alpha1.Rejection {
	known := map[string]bool{}
	for _, r := range before {
		known[r.Digest+"\n"+r.Reason] = true
	}
	var fresh []v1alpha1.Rejection
	for _, r := range after {
		if !known[r.Digest+"\n"+r.Reason] {
			fresh = append(fresh, r)
		}
	}
	return fresh
}

// eventReason are the reasons of Events by step.
func eventReason(step string) string {
	switch step {
	case rollout.StepActivated:
		return "Activated"
	case rollout.StepShadowing:
		return "ShadowStarted"
	case rollout.StepCanary:
		return "CanaryStarted"
	case rollout.StepStandby:
		return "StandbyLoaded"
	case rollout.StepPromoted:
		return "Promoted"
	case rollout.StepSwitched:
		return "SwitchedBack"
	case rollout.StepRolledBack:
		return "RolledBack"
	case rollout.StepAborted:
		return "Aborted"
	case rollout.StepPinned:
		return "Pinned"
	}
	return "Changed"
}

func eventOf(bundle *v1alpha1.PolicyBundle, t v1alpha1.Transition) *eventsv1.Event {
	kind := corev1.EventTypeNormal
	if t.Step == rollout.StepRolledBack || t.Step == rollout.StepAborted {
		kind = corev1.EventTypeWarning
	}
	note := fmt.Sprintf("%s: %s -> %s: %s", t.Step, short(t.From), short(t.To), t.Reason)
	return newEvent(regarding(bundle), kind, eventReason(t.Step), "Rollout", note, t.Step+t.From+t.To+t.Time.String())
}

// short is a digest for people.
func short(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest[:min(len(digest), len("sha256:")+12)]
}

func regarding(bundle *v1alpha1.PolicyBundle) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyBundle", Name: bundle.Name, UID: bundle.UID, ResourceVersion: bundle.ResourceVersion,
	}
}

// newEvent names an Event after what it says, so that it is made once, whoever makes it.
func newEvent(about corev1.ObjectReference, kind, reason, action, note, identity string) *eventsv1.Event {
	sum := sha256.Sum256([]byte(string(about.UID) + reason + identity))
	namespace := about.Namespace
	if namespace == "" {
		namespace = eventsNamespace
	}
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-len("…")], "") + "…"
	}
	const longest = 200 // of a name, with the hash behind it
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: strings.TrimRight(about.Name[:min(len(about.Name), longest)], ".-") + "." + hex.EncodeToString(sum[:8])},
		Regarding:  about, Type: kind, Reason: reason, Action: action, Note: note, ReportingController: controllerName,
	}
}

// event creates an Event. Nothing depends on it: what cannot be told is in status and log.
func (c *Controller) event(ctx context.Context, e *eventsv1.Event) {
	e.EventTime, e.ReportingInstance = metav1.NewMicroTime(c.now()), c.identity[:min(len(c.identity), 128)]
	_, err := c.kube.EventsV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.log.Warn("an Event could not be made", "regarding", e.Regarding.Name, "reason", e.Reason, "error", err)
	}
}
