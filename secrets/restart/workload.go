package restart

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// The kinds, in the order in which workloads that nobody named are restarted.
const (
	deployment  = "Deployment"
	statefulSet = "StatefulSet"
	daemonSet   = "DaemonSet"
)

var kinds = []string{deployment, statefulSet, daemonSet}

// workload is a Deployment, StatefulSet or DaemonSet, and how it stands.
type workload struct {
	kind                             string
	namespace, name, resourceVersion string
	created                          time.Time
	deleting, named                  bool // named in rotation.workloads
	template                         *corev1.PodTemplateSpec
	health                           health
}

func (w *workload) ref() v1alpha1.WorkloadRef {
	return v1alpha1.WorkloadRef{Kind: w.kind, Name: w.name}
}

// health is how far a workload is.
type health struct {
	// desired pods, and how many of them are available. rolled: the controller has seen the last change, and all pods that it changes are of it.
	desired, available int32
	rolled             bool
	// enough: as many are available as its strategy asks for.
	enough bool
	// failed: its controller has given up.
	failed bool
	// manual says why a change of the template does not reach pods by itself, "" where it does.
	manual string
	// paused: the Deployment is.
	paused bool
}

// complete says that all pods are of the last change and available.
func (h health) complete() bool { return h.rolled && h.available >= h.desired }

// steady says that nothing is going on, and that as much is available as should be.
func (h health) steady() bool { return h.rolled && h.enough }

func (h health) String() string {
	text := fmt.Sprintf("%d of %d pods are available", h.available, h.desired)
	if !h.rolled {
		text += ", and a rollout is not complete"
	}
	return text
}

func fromDeployment(d *appsv1.Deployment) *workload {
	w := &workload{kind: deployment, template: &d.Spec.Template}
	w.identify(&d.ObjectMeta)
	s := &d.Status
	w.health = health{desired: orOne(d.Spec.Replicas), available: s.AvailableReplicas, paused: d.Spec.Paused}
	w.health.rolled = s.ObservedGeneration >= d.Generation && s.UpdatedReplicas >= w.health.desired && s.Replicas <= s.UpdatedReplicas
	w.health.enough = w.health.available >= w.health.desired
	for _, condition := range s.Conditions {
		switch condition.Type {
		case appsv1.DeploymentAvailable:
			w.health.enough = w.health.enough || condition.Status == corev1.ConditionTrue && w.health.available > 0
		case appsv1.DeploymentProgressing:
			w.health.failed = s.ObservedGeneration >= d.Generation && condition.Status == corev1.ConditionFalse && condition.Reason == "ProgressDeadlineExceeded"
		}
	}
	return w
}

func fromStatefulSet(s *appsv1.StatefulSet) *workload {
	w := &workload{kind: statefulSet, template: &s.Spec.Template}
	w.identify(&s.ObjectMeta)
	h := health{desired: orOne(s.Spec.Replicas), available: s.Status.AvailableReplicas}
	update := h.desired // pods that are of the last change when it is through
	if rolling := s.Spec.UpdateStrategy.RollingUpdate; rolling != nil && rolling.Partition != nil {
		update = max(0, h.desired-*rolling.Partition)
	}
	same := s.Status.UpdateRevision == s.Status.CurrentRevision // then updatedReplicas counts all
	h.rolled = s.Status.ObservedGeneration >= s.Generation && (s.Status.UpdatedReplicas >= update || same && s.Status.CurrentReplicas >= h.desired)
	if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		h.manual = "its update strategy is OnDelete"
	}
	h.enough = h.available >= h.desired
	w.health = h
	return w
}

func fromDaemonSet(d *appsv1.DaemonSet) *workload {
	w := &workload{kind: daemonSet, template: &d.Spec.Template}
	w.identify(&d.ObjectMeta)
	h := health{desired: d.Status.DesiredNumberScheduled, available: d.Status.NumberAvailable}
	h.rolled = d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedNumberScheduled >= h.desired
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		h.manual = "its update strategy is OnDelete"
	}
	h.enough = h.available >= h.desired
	w.health = h
	return w
}

func (w *workload) identify(meta *metav1.ObjectMeta) {
	w.namespace, w.name, w.resourceVersion, w.created, w.deleting = meta.Namespace, meta.Name, meta.ResourceVersion, meta.CreationTimestamp.Time, meta.DeletionTimestamp != nil
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// workloads reads and patches them.
type workloads struct{ client kubernetes.Interface }

func (c workloads) get(ctx context.Context, namespace string, ref v1alpha1.WorkloadRef) (*workload, error) {
	apps, options := c.client.AppsV1(), metav1.GetOptions{}
	switch ref.Kind {
	case deployment:
		d, err := apps.Deployments(namespace).Get(ctx, ref.Name, options)
		if err != nil {
			return nil, err
		}
		return fromDeployment(d), nil
	case statefulSet:
		s, err := apps.StatefulSets(namespace).Get(ctx, ref.Name, options)
		if err != nil {
			return nil, err
		}
		return fromStatefulSet(s), nil
	case daemonSet:
		d, err := apps.DaemonSets(namespace).Get(ctx, ref.Name, options)
		if err != nil {
			return nil, err
		}
		return fromDaemonSet(d), nil
	}
	return nil, fmt.Errorf("a %s cannot be restarted: name a Deployment, StatefulSet or DaemonSet", ref.Kind)
}

// page is how many are listed at a time.
const page = 200

// each visits all workloads of one kind of a namespace, in order of names.
func (c workloads) each(ctx context.Context, namespace, kind string, visit func(*workload)) error {
	apps, options := c.client.AppsV1(), metav1.ListOptions{Limit: page}
	for {
		switch kind {
		case deployment:
			list, err := apps.Deployments(namespace).List(ctx, options)
			if err != nil {
				return err
			}
			for i := range list.Items {
				visit(fromDeployment(&list.Items[i]))
			}
			options.Continue = list.Continue
		case statefulSet:
			list, err := apps.StatefulSets(namespace).List(ctx, options)
			if err != nil {
				return err
			}
			for i := range list.Items {
				visit(fromStatefulSet(&list.Items[i]))
			}
			options.Continue = list.Continue
		case daemonSet:
			list, err := apps.DaemonSets(namespace).List(ctx, options)
			if err != nil {
				return err
			}
			for i := range list.Items {
				visit(fromDaemonSet(&list.Items[i]))
			}
			options.Continue = list.Continue
		}
		if options.Continue == "" {
			return nil
		}
	}
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch changes just what operations name, in just the state that was read: fields that others apply stay theirs.
func (c workloads) patch(ctx context.Context, w *workload, operations []operation) error {
	body, err := json.Marshal(append([]operation{{Op: "replace", Path: "/metadata/resourceVersion", Value: w.resourceVersion}}, operations...))
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	apps, options := c.client.AppsV1(), metav1.PatchOptions{FieldManager: v1alpha1.FieldManager}
	switch w.kind {
	case deployment:
		_, err = apps.Deployments(w.namespace).Patch(ctx, w.name, types.JSONPatchType, body, options)
	case statefulSet:
		_, err = apps.StatefulSets(w.namespace).Patch(ctx, w.name, types.JSONPatchType, body, options)
	case daemonSet:
		_, err = apps.DaemonSets(w.namespace).Patch(ctx, w.name, types.JSONPatchType, body, options)
	}
	return err
}
