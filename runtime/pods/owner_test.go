package pods

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

func scheme() *k8sruntime.Scheme { return k8sruntime.NewScheme() }

// object is one of the namespace shop whose UID is its name, with its controller as "version kind name".
func object(version, kind, name, owner string, fields map[string]any) *unstructured.Unstructured {
	metadata := map[string]any{"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1"}
	if owner != "" {
		parts := strings.Fields(owner)
		metadata["ownerReferences"] = []any{map[string]any{"apiVersion": parts[0], "kind": parts[1], "name": parts[2], "uid": parts[2], "controller": true}}
	}
	all := map[string]any{"apiVersion": version, "kind": kind, "metadata": metadata}
	for key, value := range fields {
		all[key] = value
	}
	return &unstructured.Unstructured{Object: all}
}

func counted(desired, ready int64) map[string]any {
	return map[string]any{"spec": map[string]any{"replicas": desired, "parallelism": desired}, "status": map[string]any{"readyReplicas": ready, "ready": ready, "desiredNumberScheduled": desired, "numberReady": ready}}
}

func describe(o *response.Owner) string {
	if o == nil {
		return "none"
	}
	text := fmt.Sprintf("%s/%s %s %d/%d", o.Group, o.Kind, o.Name, o.Ready, o.Desired)
	if o.Direct != nil {
		text += " by way of " + describe(o.Direct)
	}
	return text
}

func TestTheOwnerIsWhatStandsAboveAPodAtLast(t *testing.T) {
	objects := []k8sruntime.Object{
		object("apps/v1", "Deployment", "web", "", counted(5, 4)),
		object("apps/v1", "ReplicaSet", "web-1", "apps/v1 Deployment web", counted(5, 4)),
		object("apps/v1", "ReplicaSet", "alone", "", counted(2, 1)),
		object("apps/v1", "ReplicaSet", "rolled-1", "argoproj.io/v1alpha1 Rollout rolled", counted(3, 3)),
		object("apps/v1", "StatefulSet", "db", "", counted(3, 2)),
		object("apps/v1", "DaemonSet", "agent", "", counted(7, 6)),
		object("batch/v1", "CronJob", "nightly", "", nil),
		object("batch/v1", "Job", "nightly-1", "batch/v1 CronJob nightly", counted(1, 1)),
		object("v1", "ReplicationController", "rc", "", counted(2, 2)),
	}
	for name, test := range map[string]struct{ owner, want string }{
		"a Deployment, by its ReplicaSet":     {"apps/v1 ReplicaSet web-1", "apps/Deployment web 4/5 by way of apps/ReplicaSet web-1 4/5"},
		"a ReplicaSet":                        {"apps/v1 ReplicaSet alone", "apps/ReplicaSet alone 1/2"},
		"what is above a ReplicaSet, by name": {"apps/v1 ReplicaSet rolled-1", "argoproj.io/Rollout rolled 3/3 by way of apps/ReplicaSet rolled-1 3/3"},
		"a StatefulSet":                       {"apps/v1 StatefulSet db", "apps/StatefulSet db 2/3"},
		"a DaemonSet":                         {"apps/v1 DaemonSet agent", "apps/DaemonSet agent 6/7"},
		"a CronJob, by its Job":               {"batch/v1 Job nightly-1", "batch/CronJob nightly 1/1 by way of batch/Job nightly-1 1/1"},
		"a ReplicationController":             {"v1 ReplicationController rc", "/ReplicationController rc 2/2"},
		"one that is gone":                    {"apps/v1 ReplicaSet gone", "apps/ReplicaSet gone 0/0"},
		"one of a kind of somebody's":         {"db.example.com/v1 Postgres main", "db.example.com/Postgres main 0/0"},
		"none":                                {"", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			index := newTestIndex(t, &clock{now: start}, append(objects, object("v1", "Pod", "web", "", nil))...)
			one := pod("web", "web", 0, "111111111111")
			if test.owner != "" {
				parts, yes := strings.Fields(test.owner), true
				one.OwnerReferences = []metav1.OwnerReference{{APIVersion: parts[0], Kind: parts[1], Name: parts[2], UID: types.UID(parts[2]), Controller: &yes}}
			}
			put(t, index, one)
			e := event(10, "k8s.pod.uid=web")
			resolution, err := index.Resolve(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(e.Owner); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if !strings.Contains(string(resolution.Object), `"uid":"web"`) || resolution.Gone {
				t.Errorf("got %s, gone: %v, want the pod", resolution.Object, resolution.Gone)
			}
		})
	}
}

func TestAnOwnerIsReadOnceInAWhile(t *testing.T) {
	clock := &clock{now: start}
	client := fake.NewSimpleDynamicClient(scheme(), object("apps/v1", "StatefulSet", "db", "", counted(3, 2)))
	reads, failure := 0, error(nil)
	client.PrependReactor("get", "statefulsets", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		reads++
		return failure != nil, nil, failure
	})
	o := newOwners(client, clock.Now)
	reference := &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "db"}
	for range 3 {
		if owner, err := o.get(t.Context(), "shop", reference); err != nil || owner.Desired != 3 {
			t.Fatalf("got %s, %v, want 3 desired", describe(owner), err)
		}
	}
	if reads != 1 {
		t.Errorf("it was read %d times, want once", reads)
	}
	clock.now, failure = clock.now.Add(ownerAge+time.Second), errors.New("etcd is slow")
	if owner, err := o.get(t.Context(), "shop", reference); err == nil || !strings.Contains(err.Error(), "etcd is slow") {
		t.Errorf("got %s, %v, want the API server's failure", describe(owner), err)
	}
}

// TestAnOwnerOfTheSameNameIsAnother: its numbers are not those of the pod's.
// TestAForgedReferenceSaysNothingOfTheOwnerThatIsThere: a pod that names what does not exist by the UID of what does changes nothing for the pods of that.
func TestAForgedReferenceSaysNothingOfTheOwnerThatIsThere(t *testing.T) {
	client := fake.NewSimpleDynamicClient(scheme(), object("apps/v1", "ReplicaSet", "web-1", "apps/v1 Deployment web", counted(5, 4)), object("apps/v1", "Deployment", "web", "", counted(5, 4)))
	owners := newOwners(client, time.Now)
	for name, forged := range map[string]metav1.OwnerReference{
		"another namespace": {APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "web-1"},
		"another kind":      {APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web-1", UID: "web-1"},
		"another name":      {APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "other", UID: "web-1"},
	} {
		namespace := "shop"
		if name == "another namespace" {
			namespace = "evil"
		}
		if _, err := owners.get(t.Context(), namespace, &forged); err != nil {
			t.Fatal(err)
		}
		real := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "web-1"}
		owner, err := owners.get(t.Context(), "shop", &real)
		if got, want := describe(owner), "apps/Deployment web 4/5 by way of apps/ReplicaSet web-1 4/5"; err != nil || got != want {
			t.Errorf("after %s: got %s and error %v, want %s", name, got, err, want)
		}
		clear(owners.known)
	}
}

func TestAnOwnerOfTheSameNameIsAnother(t *testing.T) {
	o := newOwners(fake.NewSimpleDynamicClient(scheme(), object("apps/v1", "StatefulSet", "db", "", counted(3, 2))), time.Now)
	owner, err := o.get(t.Context(), "shop", &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "before"})
	if err != nil || owner.UID != "before" || owner.Desired != 0 {
		t.Errorf("got %s (%s), %v, want the one that the pod names, without numbers", describe(owner), owner.UID, err)
	}
}

func TestTheObjectIsReadAgainWhenThePodHasChanged(t *testing.T) {
	client := fake.NewSimpleDynamicClient(scheme(), object("v1", "Pod", "web", "", nil))
	reads := 0
	client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		reads++
		return false, nil, nil
	})
	o := newObjects(client, 1<<20)
	get := func(uid, version string, deleted time.Time) string {
		t.Helper()
		r := project(pod(uid, "web", 0, "111111111111"))
		r.version, r.deleted = version, deleted
		raw, err := o.get(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if first, second := get("web", "1", time.Time{}), get("web", "1", time.Time{}); first == "" || second == "" || reads != 1 {
		t.Errorf("an unchanged pod was read %d times, want once", reads)
	}
	if get("web", "2", time.Time{}) == "" || reads != 2 {
		t.Errorf("a changed pod was read %d times in all, want twice", reads)
	}
	if get("web", "3", start) == "" || reads != 2 {
		t.Errorf("one that is gone was asked for (%d reads), want what was kept of it", reads)
	}
	if got := get("before", "1", time.Time{}); got != "" {
		t.Errorf("the pod that had the name before is %s, want none", got)
	}
}

func TestObjectsAreKeptWithinTheirBytes(t *testing.T) {
	o := newObjects(nil, 1000)
	for n := range 100 {
		o.keep(kept{uid: fmt.Sprint(n), version: "1", raw: make([]byte, 300)})
	}
	if o.bytes > 1000 || o.order.Len() != 3 || len(o.byUID) != 3 {
		t.Errorf("%d bytes of %d objects are kept, want at most 1000", o.bytes, o.order.Len())
	}
	o.keep(kept{uid: "large", version: "1", raw: make([]byte, 5000)})
	if o.order.Len() != 1 {
		t.Errorf("%d objects are kept beside one that takes all, want none", o.order.Len()-1)
	}
}

func TestAReadThatIsGivenUpSaysSo(t *testing.T) {
	client := fake.NewSimpleDynamicClient(scheme())
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		<-held
		return true, nil, errors.New("late")
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newObjects(client, 1000).get(ctx, project(pod("web", "web", 0, "111111111111"))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context has ended", err)
	}
}
