package containment

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// annotate says on the pod what happened.
type annotate struct{}

// incidentNote is the value of the annotation.
type incidentNote struct {
	Quarantine string    `json:"quarantine"`
	Policy     string    `json:"policy"`
	Rule       string    `json:"rule"`
	Priority   string    `json:"priority"`
	Time       time.Time `json:"time"`
	By         string    `json:"by"`
}

// wanted are the annotations that the action sets.
func (annotate) wanted(c *Cluster, q *v1alpha1.Quarantine, a response.Planned) map[string]string {
	note := incidentNote{Quarantine: q.Name, Policy: a.Policy, By: c.options.Actor}
	if len(q.Spec.Triggers) > 0 {
		first := q.Spec.Triggers[0]
		note.Rule, note.Priority, note.Time = first.Rule, first.Priority.String(), first.Time.UTC()
	}
	written, _ := json.Marshal(note) // strings and a time
	all := maps.Clone(a.Parameters.Annotations)
	if all == nil {
		all = map[string]string{}
	}
	all[v1alpha1.IncidentAnnotation] = string(written)
	return all
}

func (t annotate) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	pod, err := c.pod(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	originals := map[string]string{}
	for key, value := range t.wanted(c, q, a) {
		if have, ok := pod.Annotations[key]; ok && have != value && key != v1alpha1.IncidentAnnotation {
			originals[key] = have
		}
	}
	return Preparation{Precondition: precondition(pod), Originals: v1alpha1.Originals{Annotations: originals}}, nil
}

func (t annotate) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	wanted := t.wanted(c, q, a)
	_, err := c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		all := maps.Clone(pod.Annotations)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, wanted)
		return setMap("annotations", pod.Annotations, all), nil
	})
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: fmt.Sprintf("the pod says what happened in its annotation %s", v1alpha1.IncidentAnnotation)}, nil
}

// undo puts back what was there. A value that somebody else has set meanwhile stays.
func (t annotate) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	wanted := t.wanted(c, q, a)
	_, err := c.changePod(ctx, q, func(pod *corev1.Pod) ([]operation, error) {
		return setMap("annotations", pod.Annotations, restored(pod.Annotations, wanted, originals(q).Annotations)), nil
	})
	if gone(err) {
		return Outcome{Result: "the pod is gone"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Result: "annotations are as they were"}, nil
}

// restored are labels or annotations with what was set taken back: to what it was, or away. The note of the incident goes in any case.
func restored(is, set, was map[string]string) map[string]string {
	all := maps.Clone(is)
	for key, value := range set {
		if is[key] != value && key != v1alpha1.IncidentAnnotation {
			continue
		}
		if before, ok := was[key]; ok {
			all[key] = before
		} else {
			delete(all, key)
		}
	}
	return all
}

// originals are those of a quarantine, never nil.
func originals(q *v1alpha1.Quarantine) v1alpha1.Originals {
	if q.Status.Originals == nil {
		return v1alpha1.Originals{}
	}
	return *q.Status.Originals
}
