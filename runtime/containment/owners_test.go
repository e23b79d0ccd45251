package containment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// template is that of pods with a label app.
func template(app string) string {
	return fmt.Sprintf(`
    metadata: {labels: {app: %s, tier: front}}
    spec:
      containers: [{name: app, image: "ghcr.io/acme/shop:1"}]`, app)
}

const deploymentOfTwo = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:`

const serviceOfWeb = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`

// addresses are those that the Service web sends to.
func (b *bench) addresses() []string {
	b.t.Helper()
	slices_, err := b.kube.DiscoveryV1().EndpointSlices(b.namespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	for _, slice := range slices_.Items {
		for _, endpoint := range slice.Endpoints {
			all = append(all, endpoint.Addresses...)
		}
	}
	slices.Sort(all)
	return all
}

func (b *bench) sendsTo(want ...string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the Service sends to %q", want), func() error {
		if got := b.addresses(); !slices.Equal(got, want) {
			return fmt.Errorf("it sends to %q", got)
		}
		return nil
	})
}

func TestAReplicaSetReplacesAPodThatIsDetachedAndItsServiceDropsIt(t *testing.T) {
	b := newBench(t)
	b.apply(deploymentOfTwo + template("web") + "\n---\n" + serviceOfWeb)
	found := b.scheduled("app=web", 2)
	b.run(found[0], "10.1.0.1")
	b.run(found[1], "10.1.0.2")
	b.sendsTo("10.1.0.1", "10.1.0.2")
	before := b.pod(found[0].Name)
	isolate := isolating(true)
	q := b.quarantine(before, nil, isolate)

	outcome := b.take(q, isolate)
	wantContains(t, outcome.Result, "its labels are taken off", "replaces it", "NetworkPolicy "+b.namespace+"/portcullis-q-"+q.Name)
	if outcome.Report == nil || outcome.Report.Verdict != "Isolated" {
		t.Errorf("got %+v, want it proved that it is isolated", outcome.Report)
	}
	after := b.pod(before.Name)
	if want := map[string]string{v1alpha1.QuarantineLabel: q.Name}; !maps.Equal(after.Labels, want) {
		t.Errorf("got the labels %v, want %v", after.Labels, want)
	}
	if !maps.Equal(q.Status.Originals.Labels, before.Labels) || len(q.Status.Originals.OwnerReferences) != 1 {
		t.Errorf("got %+v written down, want labels and owner as they were", q.Status.Originals)
	}
	b.sendsTo("10.1.0.2")
	b.eventually("the ReplicaSet lets it go", func() error {
		if owner := metav1.GetControllerOf(b.pod(before.Name)); owner != nil {
			return fmt.Errorf("%s still has it", owner.Name)
		}
		return nil
	})
	replacements := b.scheduled("app=web", 2)
	if slices.ContainsFunc(replacements, func(pod corev1.Pod) bool { return pod.Name == before.Name }) {
		t.Errorf("got %s among those of the ReplicaSet, want another one", before.Name)
	}

	// Released, it is deleted, since there is another one; the policy stays until it is gone.
	if _, err := b.cluster.Undo(t.Context(), q, isolate); !errors.Is(err, ErrWaiting) {
		t.Errorf("got %v, want to wait until the pod has ended", err)
	}
	if pod := b.pod(before.Name); pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 30 || pod.Labels[v1alpha1.QuarantineLabel] != q.Name {
		t.Errorf("got %+v, want it ending in its own time, still in quarantine", pod.ObjectMeta)
	}
	if len(b.networkPolicies()) != 1 {
		t.Error("got the policy removed while the pod was still there")
	}
	b.end(before.Name)
	wantContains(t, b.undo(q, isolate).Result, "gone", "1 NetworkPolicies")
	if left := b.networkPolicies(); len(left) != 0 {
		t.Errorf("got %v left", left)
	}
	if n := len(b.pods("app=web")); n != 2 {
		t.Errorf("got %d pods after the release, want 2", n)
	}
}

func TestAPodOfAStatefulSetIsIsolatedInItsPlace(t *testing.T) {
	b := newBench(t)
	b.apply(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:` + template("db"))
	before := b.scheduled("app=db", 1)[0]
	for name, isolate := range map[string]response.Planned{"as planned": isolating(false), "though somebody planned to detach it": isolating(true)} {
		t.Run(name, func(t *testing.T) {
			q := b.quarantine(&before, nil, isolate)
			b.take(q, isolate)
			after := b.pod(before.Name)
			want := maps.Clone(before.Labels)
			want[v1alpha1.QuarantineLabel] = q.Name
			if !maps.Equal(after.Labels, want) || metav1.GetControllerOf(after) == nil {
				t.Errorf("got %v under %v, want its labels and ours, and its owner", after.Labels, after.OwnerReferences)
			}
			b.undo(q, isolate)
			if after = b.pod(before.Name); !maps.Equal(after.Labels, before.Labels) || after.DeletionTimestamp != nil || len(b.networkPolicies()) != 0 {
				t.Errorf("got %v, want %v and no policy left", after.Labels, before.Labels)
			}
		})
	}
	if skip := b.prepare(b.quarantine(&before, nil), planned(response.Detach)).Skip; skip == "" {
		t.Error("got it detached, want to be told that it cannot be")
	}

	// Its StatefulSet may be deleted while its pods go on: nothing has replaced it then, and at release it is not deleted.
	isolate := isolating(false)
	q := b.quarantine(&before, nil, isolate)
	b.take(q, isolate)
	orphan := metav1.DeletePropagationOrphan
	if err := b.kube.AppsV1().StatefulSets(b.namespace).Delete(t.Context(), "db", metav1.DeleteOptions{PropagationPolicy: &orphan}); err != nil {
		t.Fatal(err)
	}
	b.eventually("the pod is orphaned", func() error {
		if owner := metav1.GetControllerOf(b.pod(before.Name)); owner != nil {
			return errors.New("not yet")
		}
		return nil
	})
	b.undo(q, isolate)
	if after := b.pod(before.Name); after.DeletionTimestamp != nil || !maps.Equal(after.Labels, before.Labels) {
		t.Errorf("got %+v, want the pod as it was", after.ObjectMeta)
	}
}

func TestAPodOfADaemonSetIsDetachedOnlyWhereThatIsAllowed(t *testing.T) {
	b := newBench(t)
	b.apply(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:` + template("agent"))
	found := b.scheduled("app=agent", len(nodeNames))
	isolate := isolating(true)
	q := b.quarantine(&found[0], nil, isolate)
	b.take(q, isolate)
	if after := b.pod(found[0].Name); after.Labels["app"] != "agent" {
		t.Errorf("got %v, want its labels kept", after.Labels)
	}
	b.undo(q, isolate)

	q = b.quarantine(&found[0], nil, isolate)
	q.Spec.Settings.DetachDaemonSets = true
	b.take(q, isolate)
	b.eventually("another one on the same node", func() error {
		for _, pod := range b.pods("app=agent") {
			if pod.Name != found[0].Name && pod.Spec.NodeName == found[0].Spec.NodeName {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func TestABarePodGetsItsLabelsBack(t *testing.T) {
	b := newBench(t)
	b.apply(`{apiVersion: v1, kind: Pod, metadata: {name: bare, labels: {app: bare, empty: ""}}, spec: {containers: [{name: app, image: a}]}}`)
	before := b.pod("bare")
	isolate, detach := isolating(true), planned(response.Detach)
	q := b.quarantine(before, nil, isolate)
	b.take(q, isolate)
	b.take(q, detach) // done with isolate already
	if after := b.pod("bare"); len(after.Labels) != 1 {
		t.Errorf("got %v, want our label alone", after.Labels)
	}
	b.undo(q, detach)
	if after := b.pod("bare"); after.Labels["app"] != "bare" || after.Labels[v1alpha1.QuarantineLabel] != q.Name || len(b.networkPolicies()) != 1 {
		t.Errorf("got %v, want its labels back, and still to be isolated", after.Labels)
	}
	b.undo(q, isolate)
	if after := b.pod("bare"); !maps.Equal(after.Labels, before.Labels) {
		t.Errorf("got %v, want %v", after.Labels, before.Labels)
	}
}

func TestAPodWithoutLabelsIsIsolatedAndHasNoneAfterwards(t *testing.T) {
	b := newBench(t)
	b.apply(`{apiVersion: v1, kind: Pod, metadata: {name: bare}, spec: {containers: [{name: app, image: a}]}}`)
	isolate := isolating(true)
	q := b.quarantine(b.pod("bare"), nil, isolate)
	b.take(q, isolate)
	b.undo(q, isolate)
	if after := b.pod("bare"); len(after.Labels) != 0 {
		t.Errorf("got %v, want none", after.Labels)
	}
}

func TestAPodOfAnUnknownControllerKeepsItsLabels(t *testing.T) {
	b := newBench(t)
	b.apply(`
apiVersion: v1
kind: Pod
metadata:
  name: custom
  labels: {app: custom}
  ownerReferences: [{apiVersion: example.org/v1, kind: Database, name: db, uid: 00000000-0000-0000-0000-000000000001, controller: true}]
spec: {containers: [{name: app, image: a}]}`)
	isolate := isolating(true)
	q := b.quarantine(b.pod("custom"), nil, isolate)
	wantContains(t, b.take(q, isolate).Result, "detachKinds")
	if after := b.pod("custom"); after.Labels["app"] != "custom" {
		t.Errorf("got %v, want its labels kept", after.Labels)
	}
}

func TestAJobIsSuspendedOnlyAfterItHasLetThePodGo(t *testing.T) {
	b := newBench(t)
	b.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: report}
spec:
  parallelism: 2
  completions: 2
  template:
    metadata: {labels: {app: report}}
    spec: {restartPolicy: Never, containers: [{name: app, image: a}]}`)
	found := b.scheduled("app=report", 2)
	job, err := b.kube.BatchV1().Jobs(b.namespace).Get(t.Context(), "report", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	isolate, suspend := isolating(true), planned(response.Suspend)
	q := b.quarantine(&found[0], &v1alpha1.OwnerReference{Group: "batch", Version: "v1", Kind: "Job", Name: "report", UID: string(job.UID)}, isolate, suspend)

	b.prepare(q, suspend)
	if _, err := b.cluster.Do(t.Context(), q, suspend); !errors.Is(err, ErrWaiting) {
		t.Fatalf("got %v, want to wait: the Job would delete the pod", err)
	}
	b.take(q, isolate)
	b.eventually("the Job lets it go, without its finalizer", func() error {
		pod := b.pod(found[0].Name)
		if metav1.GetControllerOf(pod) != nil || len(pod.Finalizers) > 0 {
			return fmt.Errorf("it has the owners %v and the finalizers %v", pod.OwnerReferences, pod.Finalizers)
		}
		return nil
	})
	b.take(q, suspend)
	b.eventually("the Job deletes the others", func() error {
		if left := b.pods("app=report"); len(left) > 0 {
			return fmt.Errorf("%d are left", len(left))
		}
		return nil
	})
	if pod := b.pod(found[0].Name); pod.DeletionTimestamp != nil {
		t.Error("got the pod in quarantine deleted, want it kept")
	}
	b.undo(q, suspend)
	if job, err = b.kube.BatchV1().Jobs(b.namespace).Get(t.Context(), "report", metav1.GetOptions{}); err != nil || *job.Spec.Suspend {
		t.Errorf("got %v, %v, want it to run again", job.Spec.Suspend, err)
	}
}

func TestACronJobIsSuspendedAndWhatRunsIsNotTouched(t *testing.T) {
	b := newBench(t)
	const cronJob = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: %s}
spec:
  schedule: "0 0 1 1 *"
  suspend: %v
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: a}]}}}}
---
`
	b.apply(fmt.Sprintf(cronJob, "nightly", false) + fmt.Sprintf(cronJob, "paused", true) +
		`{apiVersion: v1, kind: Pod, metadata: {name: of-nightly}, spec: {containers: [{name: app, image: a}]}}`)
	for name, before := range map[string]bool{"nightly": false, "paused": true} {
		suspend := planned(response.Suspend)
		q := b.quarantine(b.pod("of-nightly"), &v1alpha1.OwnerReference{Group: "batch", Version: "v1", Kind: "CronJob", Name: name, Direct: &v1alpha1.OwnerReference{Group: "batch", Version: "v1", Kind: "Job", Name: "x"}}, suspend)
		suspended := func() bool {
			job, err := b.kube.BatchV1().CronJobs(b.namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return *job.Spec.Suspend
		}
		b.take(q, suspend)
		if !suspended() {
			t.Errorf("got %s not suspended", name)
		}
		b.undo(q, suspend)
		if suspended() != before {
			t.Errorf("got %s suspended: %v after the release, want %v", name, suspended(), before)
		}
	}
}
