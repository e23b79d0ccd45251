package cluster

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
)

// Times between two reports of a replica.
const (
	// reportInterval is how late the controller may learn of a new denial.
	reportInterval = 5 * time.Second
	// heartbeat is how often a replica with nothing new says that it is there: the controller waits a minute.
	heartbeat = 20 * time.Second
	// farewell bounds the deletion of the object at the end.
	farewell = 5 * time.Second
)

// maxProblem bounds why a bundle could not be loaded, in bytes: it may be all that is wrong with it.
const maxProblem = 4096

// replica writes what this process has loaded and seen. The object has no owner: it is cluster-scoped, and the garbage
// collector deletes what is owned by an object of a namespace, as a pod is. The controller deletes those that are old.
type replica struct {
	objects *objects
	name    string
	labels  map[string]string
	now     func() time.Time

	object  *unstructured.Unstructured   // as it was read or written last, nil before
	written v1alpha1.PolicyReplicaStatus // nothing before the first
}

// report writes the status if it has changed, or to show that this replica is alive.
func (r *replica) report(ctx context.Context, bundles []v1alpha1.ReplicaBundle) error {
	now := r.now()
	if reflect.DeepEqual(bundles, r.written.Bundles) && now.Sub(r.written.Heartbeat.Time) < heartbeat {
		return nil
	}
	status := v1alpha1.PolicyReplicaStatus{Heartbeat: metav1.NewTime(now), Bundles: bundles}
	if err := r.write(ctx, status); err != nil {
		return fmt.Errorf("writing the PolicyReplica %s: %w", r.name, err)
	}
	r.written = status
	return nil
}

// write replaces the status, whatever it was: nobody else writes it. The object is made if need be, and read again if
// somebody has deleted or changed it.
func (r *replica) write(ctx context.Context, status v1alpha1.PolicyReplicaStatus) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		if r.object == nil {
			if r.object, err = r.obtain(ctx); err != nil {
				return err
			}
		}
		r.object.Object["status"] = content
		updated, err := r.resource().UpdateStatus(ctx, r.object, metav1.UpdateOptions{})
		if err == nil {
			r.object = updated
			return nil
		}
		r.object = nil
		if attempt > 0 || !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
}

// obtain reads the object, or makes it.
func (r *replica) obtain(ctx context.Context) (*unstructured.Unstructured, error) {
	object, err := r.resource().Get(ctx, r.name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return object, err
	}
	object = &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("PolicyReplica"))
	object.SetName(r.name)
	object.SetLabels(r.labels)
	return r.resource().Create(ctx, object, metav1.CreateOptions{})
}

func (r *replica) resource() dynamic.ResourceInterface {
	return r.objects.client.Resource(v1alpha1.Replicas)
}

// leave deletes the object.
func (r *replica) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := r.resource().Delete(ctx, r.name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the PolicyReplica %s: %w", r.name, err)
	}
	return nil
}

// reportOf is what a member has loaded.
func (m *member) reportOf(seen func(bundle string) *v1alpha1.Comparison) v1alpha1.ReplicaBundle {
	report := v1alpha1.ReplicaBundle{Name: m.bundle.Name}
	if m.active != nil {
		report.Active = m.active.ready.Digest
	}
	if m.candidate != nil {
		report.Candidate = m.candidate.ready.Digest
		if seen != nil {
			report.Comparison = seen(m.bundle.Name)
		}
	}
	if m.problem != nil {
		report.Error = m.problem.Error()
		if len(report.Error) > maxProblem {
			report.Error = string([]rune(report.Error[:maxProblem])) + " …"
		}
	}
	return report
}
