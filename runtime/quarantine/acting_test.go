package quarantine

import (
	"context"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// acting is a controller with what acts in production, and a clock that stands still.
func (b *bench) acting() *Controller {
	b.t.Helper()
	cluster, keeper, err := realHands(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cluster.Setup(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return b.controller(func(o *Options) { o.Cluster, o.Capturer = cluster, keeper })
}

// owned is a pod of a Deployment with three replicas on a node of its own.
func (b *bench) owned(name string) response.Pod {
	b.t.Helper()
	ctx := b.t.Context()
	three := int32(3)
	labels := map[string]string{"app": name}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/acme/shop:1"}}}}
	deployment, err := b.kube.AppsV1().Deployments("shop").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.kube.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-of-" + name}}, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		after := context.WithoutCancel(ctx)
		_ = b.kube.AppsV1().Deployments("shop").Delete(after, name, metav1.DeleteOptions{})
		_ = b.kube.AppsV1().ReplicaSets("shop").Delete(after, name+"-1", metav1.DeleteOptions{})
		_ = b.kube.CoreV1().Nodes().Delete(after, "node-of-"+name, metav1.DeleteOptions{})
	})
	yes := true
	set, err := b.kube.AppsV1().ReplicaSets("shop").Create(ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-1", OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: deployment.UID, Controller: &yes}}},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	off := false
	pod, err := b.kube.CoreV1().Pods("shop").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: set.Name, UID: set.UID, Controller: &yes}}},
		Spec:       corev1.PodSpec{Containers: template.Spec.Containers, AutomountServiceAccountToken: &off, NodeName: "node-of-" + name},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return response.Pod{Namespace: "shop", Name: name, UID: string(pod.UID), Node: "node-of-" + name, ServiceAccount: "default"}
}

// everything asks for all that can be done about a pod of a Deployment, short of ending it.
func (b *bench) everything(pod response.Pod) *response.Plan {
	p := plan(pod, response.Snapshot, response.Annotate, response.Label, response.Isolate, response.Detach, response.Condemn, response.Revoke, response.Notify, response.Cordon, response.Scale)
	deployment, err := b.kube.AppsV1().Deployments("shop").Get(b.t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	set, err := b.kube.AppsV1().ReplicaSets("shop").Get(b.t.Context(), pod.Name+"-1", metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	p.Event.Owner = &response.Owner{
		Group: "apps", Version: "v1", Kind: "Deployment", Name: pod.Name, UID: string(deployment.UID), Desired: 3, Ready: 3,
		Direct: &response.Owner{Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: set.Name, UID: string(set.UID)},
	}
	yes := true
	parameters(p, response.Label, func(a *response.Planned) { a.Parameters.Labels = map[string]string{"seen": "yes"} })
	parameters(p, response.Isolate, func(a *response.Planned) { a.Parameters.Detach = &yes })
	return parameters(p, response.Condemn, func(a *response.Planned) { a.Parameters.Scope = response.ScopeOwner })
}

// live settles a quarantine some times, while the ReplicaSet lets the pod go as its controller would.
func (b *bench) live(c *Controller, name string, pod response.Pod) {
	b.t.Helper()
	for range 6 {
		b.settle(c, name)
		found, err := b.kube.CoreV1().Pods(pod.Namespace).Get(b.t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
		if found.Labels["app"] == "" && len(found.OwnerReferences) > 0 {
			if err := b.patchPod(pod.Name, `{"metadata":{"ownerReferences":null}}`); err != nil {
				b.t.Fatal(err)
			}
		}
		b.pass(DefaultReprove)
	}
}

const mergePatch = types.MergePatchType

func (b *bench) patchPod(name, patch string) error {
	_, err := b.kube.CoreV1().Pods("shop").Patch(b.t.Context(), name, mergePatch, []byte(patch), metav1.PatchOptions{})
	return err
}

// The responder must not fight itself: what it did is no revert, however often it looks.
func TestWhatTheResponderDidIsNoRevert(t *testing.T) {
	b := newBench(t)
	pod := b.owned("still")
	name := b.propose(b.everything(pod), wide)
	c := b.acting()
	b.live(c, name, pod)
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	for _, step := range q.Status.Steps {
		if step.State != v1alpha1.StepDone && step.Name != "revoke" || step.Reapplied > 0 { // it holds no secrets
			t.Errorf("the step %s is %s after it was done again %d times (%s), want it done once", step.Name, step.State, step.Reapplied, step.Result)
		}
	}
	if q.Status.Verdict != "Isolated" {
		t.Errorf("the verdict is %s with %q, want Isolated", q.Status.Verdict, q.Status.Residual)
	}
	before := q.ResourceVersion
	b.pass(DefaultReprove)
	b.settle(c, name)
	if got := b.get(name).ResourceVersion; got != before {
		t.Error("looking at it once more has written something, want nothing written where nothing has changed")
	}
}

// As after a restore from a backup: the pod is not there, and a node of its node's name is another one.
func TestNothingIsDoneAgainForAPodThatIsGone(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	pod := b.owned("restored")
	name := b.propose(plan(pod, response.Cordon), wide)
	c := b.acting()
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseContained)
	now := int64(0)
	if err := b.kube.CoreV1().Pods("shop").Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if err := b.kube.CoreV1().Nodes().Delete(ctx, pod.Node, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.kube.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: pod.Node}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.pass(DefaultReprove)
	b.settle(c, name)
	node, err := b.kube.CoreV1().Nodes().Get(ctx, pod.Node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	q := b.get(name)
	if node.Spec.Unschedulable || !q.Status.PodGone || stepOf(&q.Status, "cordon").Reapplied > 0 {
		t.Errorf("the other node is cordoned: %t, the pod is said to be gone: %t, and cordon was done again %d times; want the node to be left alone", node.Spec.Unschedulable, q.Status.PodGone, stepOf(&q.Status, "cordon").Reapplied)
	}
}

// Each of what somebody may undo is noticed, and done again.
func TestEachStepThatIsUndoneIsDoneAgain(t *testing.T) {
	for step, undo := range map[response.Action]func(b *bench, name string) error{
		response.Isolate: func(b *bench, name string) error {
			return b.kube.NetworkingV1().NetworkPolicies("shop").Delete(b.t.Context(), v1alpha1.NetworkPolicyName(name), metav1.DeleteOptions{})
		},
		response.Detach: func(b *bench, _ string) error {
			return b.patchPod("undone", `{"metadata":{"labels":{"app":"undone"}}}`)
		},
		response.Cordon: func(b *bench, _ string) error {
			_, err := b.kube.CoreV1().Nodes().Patch(b.t.Context(), "node-of-undone", mergePatch, []byte(`{"spec":{"unschedulable":null}}`), metav1.PatchOptions{})
			return err
		},
		response.Scale: func(b *bench, _ string) error {
			_, err := b.kube.AppsV1().Deployments("shop").Patch(b.t.Context(), "undone", mergePatch, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
			return err
		},
		response.Condemn: func(b *bench, name string) error {
			return b.admin.Resource(v1alpha1.Incidents).Delete(b.t.Context(), b.get(name).Status.Incidents[0], metav1.DeleteOptions{})
		},
	} {
		t.Run(string(step), func(t *testing.T) {
			b := newBench(t)
			pod := b.owned("undone")
			p := b.everything(pod)
			if step == response.Detach { // isolation without it, so that one step is about the labels
				no := false
				parameters(p, response.Isolate, func(a *response.Planned) { a.Parameters.Detach = &no })
			}
			name := b.propose(p, wide)
			c := b.acting()
			b.live(c, name, pod)
			b.wantPhase(name, v1alpha1.PhaseContained)
			if err := undo(b, name); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				b.settle(c, name)
				b.pass(DefaultReprove)
			}
			q := b.wantPhase(name, v1alpha1.PhaseContained)
			for _, record := range q.Status.Steps {
				want := int64(0)
				if record.Name == string(step) {
					want = 1
				}
				if record.Reapplied != want {
					t.Errorf("%s was done again %d times, want %d", record.Name, record.Reapplied, want)
				}
			}
		})
	}
}

func TestAReleasePutsBackWhatWasThere(t *testing.T) {
	b := newBench(t)
	pod := b.owned("back")
	name := b.propose(b.everything(pod), wide)
	c := b.acting()
	b.live(c, name, pod)
	b.wantPhase(name, v1alpha1.PhaseContained)
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		b.settle(c, name)
		b.pass(longestPause)
		if b.get(name).Status.Phase == v1alpha1.PhaseReleasing {
			b.kubeletEnds(pod)
		}
	}
	b.wantPhase(name, v1alpha1.PhaseReleased)
	ctx := t.Context()
	deployment, err := b.kube.AppsV1().Deployments("shop").Get(ctx, "back", metav1.GetOptions{})
	if err != nil || *deployment.Spec.Replicas != 3 {
		t.Errorf("the Deployment is %v with %v replicas, want 3", err, deployment.Spec.Replicas)
	}
	node, err := b.kube.CoreV1().Nodes().Get(ctx, "node-of-back", metav1.GetOptions{})
	if err != nil || node.Spec.Unschedulable {
		t.Errorf("the node is %v, unschedulable %v: want it to take pods", err, node.Spec.Unschedulable)
	}
	if _, err := b.kube.NetworkingV1().NetworkPolicies("shop").Get(ctx, v1alpha1.NetworkPolicyName(name), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading the policy gives %v, want it gone", err)
	}
	b.wantNames(t, "incidents", nil)
}

// kubeletEnds removes a pod that is being deleted, as a kubelet does when its containers have ended.
func (b *bench) kubeletEnds(pod response.Pod) {
	now := int64(0)
	found, err := b.kube.CoreV1().Pods(pod.Namespace).Get(b.t.Context(), pod.Name, metav1.GetOptions{})
	if err == nil && found.DeletionTimestamp != nil {
		err = b.kube.CoreV1().Pods(pod.Namespace).Delete(b.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		b.t.Fatal(err)
	}
}

// What another policy allows in the namespace is narrowed where that was asked for, and is as before afterwards.
func TestWhatOthersAllowIsNarrowedAndPutBack(t *testing.T) {
	b := newBench(t)
	c := b.acting()
	_, err := b.kube.NetworkingV1().NetworkPolicies("shop").Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "allow-all"},
		Spec:       networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{}}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := parameters(plan(b.pod("shop", "web", nil), response.Isolate), response.Isolate, func(a *response.Planned) { a.Parameters.Residual = response.ResidualRestrict })
	name := b.propose(p, wide)
	b.settle(c, name)
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	if got := steps(q); q.Status.Verdict != "Isolated" || !slices.Contains(got, "escalate/restrict Done") {
		t.Errorf("the verdict is %s after the steps %q, want it isolated by narrowing what allows", q.Status.Verdict, got)
	}
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
		t.Fatal(err)
	}
	b.pass(time.Second)
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseReleased)
	policy, err := b.kube.NetworkingV1().NetworkPolicies("shop").Get(t.Context(), "allow-all", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(policy.Spec.PodSelector.MatchExpressions) > 0 {
		t.Errorf("the policy selects %+v, want all pods as before", policy.Spec.PodSelector)
	}
}

// In audit the verdict is that of what isolation would give, and nothing is changed for it.
func TestAuditForeseesTheVerdict(t *testing.T) {
	b := newBench(t)
	c := b.acting()
	p := plan(b.pod("shop", "web", map[string]string{"app": "web"}), response.Isolate)
	p.Mode, p.Actions[0].Mode = response.ModeAudit, response.ModeAudit
	name := b.propose(p, wide)
	b.settle(c, name)
	if q := b.wantPhase(name, v1alpha1.PhaseAudited); q.Status.Verdict != "Isolated" {
		t.Errorf("the verdict is %q (%s), want what isolation would give", q.Status.Verdict, q.Status.Reason)
	}
	list, err := b.admin.Resource(networkPolicies).Namespace("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("there are %d policies (%v), want none", len(list.Items), err)
	}
}
