package pods

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const namespaces = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
`

// run begins an index of a cluster and waits until it knows the pods.
func run(t *testing.T, control *cluster.Cluster, user string) *Index {
	t.Helper()
	config, err := control.Config(user)
	if err != nil {
		t.Fatal(err)
	}
	index, err := New(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { index.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return index
}

// runs creates a pod and reports of it what a kubelet would: that its container runs.
func runs(t *testing.T, client kubernetes.Interface, name, digits string) *corev1.Pod {
	t.Helper()
	no := false
	made, err := client.CoreV1().Pods("shop").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{NodeName: "node-a", ServiceAccountName: "web", AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/acme/app:1"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://" + id(digits), ImageID: "ghcr.io/acme/app@sha256:" + strings.Repeat("a", 64)}}
	if made, err = client.CoreV1().Pods("shop").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return made
}

// TestPodsOfARealAPIServer are followed as they come and go; one that is created again under a name is another one.
func TestPodsOfARealAPIServer(t *testing.T) {
	control, _, _ := clustertest.Start(t, []cluster.User{{Name: "nobody"}}, []byte(namespaces))
	client, err := control.Client(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	index := run(t, control, cluster.Admin)
	clustertest.Eventually(t, "listing pods", index.Check)
	named := func(at time.Time) *response.Event {
		return &response.Event{Source: "syscall", Rule: "r", Time: at, Fields: map[string]any{"k8s.ns.name": "shop", "k8s.pod.name": "web"}}
	}

	first := runs(t, client, "web", "111111111111")
	byContainer := &response.Event{Source: "syscall", Rule: "r", Time: time.Now(), Fields: map[string]any{"container.id": "111111111111"}}
	var resolution Resolution
	clustertest.Eventually(t, "finding the pod by its container", func() (err error) {
		resolution, err = index.Resolve(t.Context(), byContainer)
		return err
	})
	if byContainer.Pod.UID != string(first.UID) || resolution.Labels["app"] != "web" || len(resolution.Images) != 1 || !strings.Contains(string(resolution.Object), string(first.UID)) {
		t.Errorf("got %+v and %s, want pod %s", byContainer.Pod, resolution.Object, first.UID)
	}
	if strings.Contains(string(resolution.Object), "managedFields") {
		t.Errorf("the object is %s, want it without managed fields", resolution.Object)
	}
	// Creation times are whole seconds, and nobody knows who had the name before the index began.
	clustertest.Until(t, "the pod's first second to pass", func() bool { return time.Since(first.CreationTimestamp.Time) > time.Second })
	during := time.Now()

	now := int64(0)
	if err := client.CoreV1().Pods("shop").Delete(t.Context(), "web", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "noticing that it is gone", func() error {
		if found, err := index.Find(named(during)); err != nil || !found.Gone() {
			return fmt.Errorf("got %+v, %w", found, err)
		}
		return nil
	})
	clustertest.Until(t, "the second of the event to pass", func() bool { return time.Now().Unix() > during.Unix() })
	second := runs(t, client, "web", "222222222222")
	clustertest.Eventually(t, "knowing the second pod", func() error {
		_, err := index.Find(&response.Event{Time: time.Now(), Fields: map[string]any{"k8s.pod.uid": string(second.UID)}})
		return err
	})
	late := named(during)
	if resolution, err = index.Resolve(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if late.Pod.UID != string(first.UID) || !resolution.Gone || strings.Contains(string(resolution.Object), string(second.UID)) {
		t.Errorf("an event of before is about %s, gone: %v, %s; want the first pod, which is gone", late.Pod.UID, resolution.Gone, resolution.Object)
	}
	after := named(second.CreationTimestamp.Add(2 * time.Second))
	if _, err := index.Find(after); err != nil || after.Pod.UID != string(second.UID) {
		t.Errorf("an event of after is about %+v, %v, want the second pod", after.Pod, err)
	}

	index = run(t, control, "nobody")
	clustertest.Eventually(t, "saying what rights it lacks", func() error {
		if err := index.Check(); err == nil || !strings.Contains(err.Error(), "grant the responder's service account") {
			return fmt.Errorf("readiness says %w", err)
		}
		return nil
	})
}

// BenchmarkFind is with the pods of a large cluster.
func BenchmarkFind(b *testing.B) {
	const pods = 100_000
	index := newTestIndex(b, &clock{now: start})
	for n := range pods {
		put(b, index, pod(fmt.Sprint("uid-", n), fmt.Sprint("web-", n), 0, fmt.Sprintf("%012d", n)))
	}
	e := event(100, "container.id=000000000042", "k8s.ns.name=shop", "k8s.pod.name=web-42")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		e.ID = fmt.Sprint(n)
		if _, err := index.Find(e); err != nil {
			b.Fatal(err)
		}
	}
}
