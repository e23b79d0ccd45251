package containment

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// Whoever acts has the roles that are shipped, and no others.
const responderUser = "portcullis-responder"

// nodeNames are those of nodes that only exist as objects: no kubelet runs what is scheduled to them.
var nodeNames = []string{"node-1", "node-2"}

// shared is one control plane, with controllers, for all tests of the package.
var shared = clustertest.Shared{
	Options: cluster.Options{Users: []cluster.User{{Name: responderUser}}},
	Manifests: [][]byte{
		clustertest.Namespaces(v1alpha1.DefaultNamespace), v1alpha1.Manifest, v1alpha1.Roles(v1alpha1.DefaultNamespace), clustertest.Binding(responderUser, "portcullis-responder"),
	},
	Prepare: startNodes,
}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// bench is a namespace of its own in the cluster, and the actions as the responder takes them.
type bench struct {
	t         *testing.T
	namespace string
	kube      *kubernetes.Clientset // the administrator's
	creator   *cluster.Creator
	config    *rest.Config // the responder's
	cluster   *Cluster
}

func newBench(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	server := shared.Cluster(t)
	admin, err := server.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, namespace: fmt.Sprintf("t-%x", time.Now().UnixNano())}
	if b.kube, err = kubernetes.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	if b.creator, err = cluster.NewCreator(admin); err != nil {
		t.Fatal(err)
	}
	if b.config, err = server.Config(responderUser); err != nil {
		t.Fatal(err)
	}
	o := Options{Namespace: v1alpha1.DefaultNamespace, CNI: isolation.OVNKubernetes}
	for _, c := range change {
		c(&o)
	}
	if b.cluster, err = New(b.config, o); err != nil {
		t.Fatal(err)
	}
	if err := cluster.CreateNamespace(t.Context(), b.kube, b.namespace, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// startNodes makes nodes that count as ready until the tests are over.
func startNodes(ctx context.Context, server *cluster.Cluster) error {
	kube, err := server.Client(cluster.Admin)
	if err != nil {
		return err
	}
	for _, name := range nodeNames {
		if err := clustertest.Node(ctx, kube, name, clustertest.Ready); err != nil {
			return err
		}
	}
	go func() {
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for {
			for _, name := range nodeNames {
				beat(ctx, kube, name)
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

// beat renews the Lease of a node, as its kubelet would.
func beat(ctx context.Context, kube kubernetes.Interface, name string) {
	leases, seconds, now := kube.CoordinationV1().Leases("kube-node-lease"), int32(40), metav1.NowMicro()
	lease, err := leases.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		_, _ = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}}, metav1.CreateOptions{})
		return
	}
	lease.Spec.RenewTime = &now
	_, _ = leases.Update(ctx, lease, metav1.UpdateOptions{})
}

// apply creates objects in the namespace.
func (b *bench) apply(manifests string) {
	b.t.Helper()
	objects, err := cluster.Parse([]byte(manifests))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetNamespace() == "" {
			object.SetNamespace(b.namespace)
		}
		written, err := json.Marshal(object.Object)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.creator.Create(b.t.Context(), written, metav1.CreateOptions{}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// eventually waits until a condition holds.
func (b *bench) eventually(what string, condition func() error) {
	b.t.Helper()
	clustertest.Eventually(b.t, what, condition)
}

// pods are those of the namespace that match a selector and are not ending, in order of names.
func (b *bench) pods(selector string) []corev1.Pod {
	b.t.Helper()
	list, err := b.kube.CoreV1().Pods(b.namespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		b.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
}

// scheduled waits for a number of pods on nodes, and gives them.
func (b *bench) scheduled(selector string, n int) (found []corev1.Pod) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%d pods %s on nodes", n, selector), func() error {
		found = b.pods(selector)
		if len(found) != n || slices.ContainsFunc(found, func(pod corev1.Pod) bool { return pod.Spec.NodeName == "" }) {
			return fmt.Errorf("there are %d", len(found))
		}
		return nil
	})
	return found
}

func (b *bench) pod(name string) *corev1.Pod {
	b.t.Helper()
	pod, err := b.kube.CoreV1().Pods(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return pod
}

// run marks a pod as running at an address, as its kubelet would.
func (b *bench) run(pod corev1.Pod, address string) {
	b.t.Helper()
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, address, []corev1.PodIP{{IP: address}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
	if _, err := b.kube.CoreV1().Pods(b.namespace).UpdateStatus(b.t.Context(), &pod, metav1.UpdateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// end removes a pod that is ending, as its kubelet would.
func (b *bench) end(name string) {
	b.t.Helper()
	now := int64(0)
	if err := b.kube.CoreV1().Pods(b.namespace).Delete(b.t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		b.t.Fatal(err)
	}
}

// quarantine is one about a pod, with actions.
func (b *bench) quarantine(pod *corev1.Pod, owner *v1alpha1.OwnerReference, actions ...response.Planned) *v1alpha1.Quarantine {
	return &v1alpha1.Quarantine{
		ObjectMeta: metav1.ObjectMeta{Name: response.QuarantineName(string(pod.UID))},
		Spec: v1alpha1.QuarantineSpec{
			Pod:   v1alpha1.PodReference{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Node: pod.Spec.NodeName, ServiceAccount: pod.Spec.ServiceAccountName},
			Owner: owner, Mode: response.ModeEnforce, Actions: actions,
			Triggers: []v1alpha1.Trigger{{Policy: "runtime/shell", Rule: "Terminal shell in container", Priority: response.Critical, Event: "sha256:1", Message: "a shell", Time: metav1.NowMicro()}},
		},
	}
}

// planned is an action of a plan.
func planned(action response.Action, parameters ...response.Parameters) response.Planned {
	a := response.Planned{Ask: response.Ask{Policy: "runtime/shell", Severity: "high", Message: "a shell", Mode: response.ModeEnforce, Action: action}}
	for _, p := range parameters {
		a.Parameters = p
	}
	return a
}

func isolating(detach bool) response.Planned {
	return planned(response.Isolate, response.Parameters{Detach: &detach})
}

// prepare writes down what an action will change, as the controller does.
func (b *bench) prepare(q *v1alpha1.Quarantine, a response.Planned) Preparation {
	b.t.Helper()
	prepared, err := b.cluster.Prepare(b.t.Context(), q, a)
	if err != nil {
		b.t.Fatal(err)
	}
	if q.Status.Originals == nil {
		q.Status.Originals = &v1alpha1.Originals{}
	}
	kept, more := q.Status.Originals, prepared.Originals
	if kept.Labels == nil {
		kept.Labels = more.Labels
	}
	if kept.OwnerReferences == nil {
		kept.OwnerReferences = more.OwnerReferences
	}
	if kept.Annotations == nil {
		kept.Annotations = more.Annotations
	}
	if kept.Policies == nil {
		kept.Policies = more.Policies
	}
	if kept.Replicas == nil {
		kept.Replicas = more.Replicas
	}
	if kept.Suspended == nil {
		kept.Suspended = more.Suspended
	}
	if kept.Unschedulable == nil {
		kept.Unschedulable = more.Unschedulable
	}
	return prepared
}

// take prepares and takes an action, then does it all again: the second time nothing may be written.
func (b *bench) take(q *v1alpha1.Quarantine, a response.Planned) Outcome {
	b.t.Helper()
	if prepared := b.prepare(q, a); prepared.Skip != "" || prepared.Precondition == "" {
		b.t.Fatalf("got %+v, want %s to be taken, with a precondition", prepared, a.Action)
	}
	outcome, err := b.cluster.Do(b.t.Context(), q, a)
	if err != nil {
		b.t.Fatal(err)
	}
	written := b.written()
	before, _ := json.Marshal(q.Status.Originals)
	b.prepare(q, a)
	if after, _ := json.Marshal(q.Status.Originals); string(after) != string(before) {
		b.t.Errorf("got %s prepared again, want %s still", after, before)
	}
	again, err := b.cluster.Do(b.t.Context(), q, a)
	if err != nil {
		b.t.Errorf("%s again: got %v", a.Action, err)
	}
	if more := b.written(); len(more) != len(written) {
		b.t.Errorf("%s again: got %q written, want nothing", a.Action, more[len(written):])
	}
	if !slices.Equal(again.Incidents, outcome.Incidents) {
		b.t.Errorf("%s again: got %q, want %q", a.Action, again.Incidents, outcome.Incidents)
	}
	return outcome
}

// undo takes an action back, twice.
func (b *bench) undo(q *v1alpha1.Quarantine, a response.Planned) Outcome {
	b.t.Helper()
	outcome, err := b.cluster.Undo(b.t.Context(), q, a)
	if err != nil {
		b.t.Fatal(err)
	}
	written := b.written()
	if _, err := b.cluster.Undo(b.t.Context(), q, a); err != nil {
		b.t.Errorf("taking back %s again: got %v", a.Action, err)
	}
	if more := b.written(); len(more) != len(written) {
		b.t.Errorf("taking back %s again: got %q written, want nothing", a.Action, more[len(written):])
	}
	return outcome
}

// written are the requests of the responder that changed something in the namespace of the bench, or outside of all.
func (b *bench) written() []string {
	b.t.Helper()
	file, err := os.Open(filepath.Clean(shared.Cluster(b.t).AuditLog))
	if err != nil {
		b.t.Fatal(err)
	}
	defer file.Close()
	var found []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ResponseStatus   struct{ Code int }
			ObjectRef        struct{ Namespace string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			b.t.Fatal(err)
		}
		if line.User.Username != responderUser || line.ResponseStatus.Code >= 300 || !slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, line.Verb) {
			continue
		}
		if ns := line.ObjectRef.Namespace; ns == b.namespace || ns == "" {
			found = append(found, line.Verb+" "+line.RequestURI)
		}
	}
	if err := lines.Err(); err != nil {
		b.t.Fatal(err)
	}
	return found
}

// writtenHere are those of the namespace alone.
func (b *bench) writtenHere() []string {
	return slices.DeleteFunc(b.written(), func(request string) bool { return !strings.Contains(request, "/namespaces/"+b.namespace+"/") })
}

// networkPolicies are those of the namespace, by name.
func (b *bench) networkPolicies() map[string]networkingv1.NetworkPolicy {
	b.t.Helper()
	list, err := b.kube.NetworkingV1().NetworkPolicies(b.namespace).List(b.t.Context(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]networkingv1.NetworkPolicy{}
	for _, policy := range list.Items {
		found[policy.Name] = policy
	}
	return found
}

func wantContains(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("got %q, want %q in it", got, part)
		}
	}
}
