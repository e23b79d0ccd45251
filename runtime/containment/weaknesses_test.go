package containment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// The tests of this file are about what other response engines do wrong, each named after it.

const barePod = `{apiVersion: v1, kind: Pod, metadata: {name: db-0, labels: {app: db}}, spec: {containers: [{name: app, image: a}]}}`

// Engines that act by name hit the pod that a StatefulSet has made anew under it.
func TestAPodThatWasMadeAnewUnderTheNameIsNotHit(t *testing.T) {
	b := newBench(t)
	b.apply(barePod)
	old := b.pod("db-0")
	b.end("db-0")
	b.apply(barePod)
	fresh := b.pod("db-0")
	if fresh.UID == old.UID {
		t.Fatal("got the same pod again")
	}
	q := b.quarantine(old, nil)
	actions := []response.Planned{
		planned(response.Annotate), planned(response.Label, response.Parameters{Labels: map[string]string{"a": "b"}}), isolating(true), isolating(false), planned(response.Detach),
		planned(response.Evict), planned(response.Delete), planned(response.Restrict),
	}
	for _, a := range actions {
		if _, err := b.cluster.Prepare(t.Context(), q, a); !errors.Is(err, ErrGone) {
			t.Errorf("preparing %s: got %v, want ErrGone", a.Action, err)
		}
		_, err := b.cluster.Do(t.Context(), q, a)
		if ends := a.Action == response.Evict || a.Action == response.Delete; ends && err != nil || !ends && !errors.Is(err, ErrGone) {
			t.Errorf("%s: got %v, want it gone", a.Action, err)
		}
		if left := b.networkPolicies(); len(left) != 0 {
			t.Errorf("%s: got %v left, which isolates nobody", a.Action, left)
		}
		if _, err := b.cluster.Undo(t.Context(), q, a); err != nil {
			t.Errorf("taking back %s: got %v, want nothing to do", a.Action, err)
		}
	}
	if _, err := b.cluster.Prove(t.Context(), q); !errors.Is(err, ErrGone) {
		t.Errorf("proving: got %v, want ErrGone", err)
	}
	if after := b.pod("db-0"); after.UID != fresh.UID || after.DeletionTimestamp != nil || len(after.Labels) != 1 || len(after.Annotations) != 0 {
		t.Errorf("got %+v, want the new pod as it was", after.ObjectMeta)
	}
	for _, request := range b.writtenHere() {
		if strings.Contains(request, "/pods/") {
			t.Errorf("got %q, want nothing written about a pod", request)
		}
	}
}

// The window between reading and writing is closed by the API server: what it is sent is about the object as it was read.
func TestAPodThatIsMadeAnewBetweenReadingAndWritingIsNotHit(t *testing.T) {
	b := newBench(t)
	b.apply(barePod)
	seen, err := b.cluster.get(t.Context(), pods, b.namespace, "db-0", "")
	if err != nil {
		t.Fatal(err)
	}
	q := b.quarantine(b.pod("db-0"), nil)
	b.end("db-0")
	b.apply(barePod)
	if err := b.cluster.patch(t.Context(), pods, seen, []operation{{Op: "add", Path: "/metadata/labels/hit", Value: "yes"}}); !outrun(err) {
		t.Errorf("got %v, want the patch refused as outrun", err)
	}
	if err := b.cluster.client.Resource(pods).Namespace(b.namespace).Delete(t.Context(), "db-0", deleteOptions(q, planned(response.Delete))); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want the deletion refused", err)
	}
	if after := b.pod("db-0"); after.Labels["hit"] != "" || after.DeletionTimestamp != nil {
		t.Errorf("got %+v, want the new pod as it was", after.ObjectMeta)
	}
}

// Engines that name a policy after the workload overwrite the user's own of that name.
func TestAPolicyOfSomebodyElseIsNeverOverwritten(t *testing.T) {
	b := newBench(t)
	b.apply(barePod)
	isolate := isolating(true)
	q := b.quarantine(b.pod("db-0"), nil, isolate)
	theirs := v1alpha1.NetworkPolicyName(q.Name)
	b.apply(fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: %s}
spec: {podSelector: {}, ingress: [{}], policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: %s-2, labels: {%s: q-another}}
spec: {podSelector: {}, policyTypes: [Ingress]}`, theirs, theirs, v1alpha1.QuarantineLabel))
	before := b.networkPolicies()
	wantContains(t, b.take(q, isolate).Result, theirs+"-3")
	after := b.networkPolicies()
	for name, policy := range before {
		if after[name].ResourceVersion != policy.ResourceVersion {
			t.Errorf("got %s changed", name)
		}
	}
	own := after[theirs+"-3"]
	if own.Spec.PodSelector.MatchLabels[v1alpha1.QuarantineLabel] != q.Name || len(own.Spec.Ingress)+len(own.Spec.Egress) > 0 || len(own.Spec.PolicyTypes) != 2 {
		t.Errorf("got %+v, want both directions denied, for pods of the quarantine alone", own.Spec)
	}
	b.undo(q, isolate)
	if after = b.networkPolicies(); len(after) != 2 || after[theirs].UID != before[theirs].UID {
		t.Errorf("got %v left, want those of others alone", after)
	}
	for n := 3; n <= otherNames; n++ {
		b.apply(fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %s-%d}, spec: {podSelector: {}}}`, theirs, n))
	}
	if _, err := b.cluster.Do(t.Context(), q, isolate); err == nil || !strings.Contains(err.Error(), "remove them") {
		t.Errorf("got %v, want to be told what is in the way", err)
	}
}

// A policy that selects by the workload's labels isolates all of its pods.
func TestOnlyTheOnePodIsIsolated(t *testing.T) {
	b := newBench(t)
	b.apply(barePod + "\n---\n" + strings.Replace(barePod, "db-0", "db-1", 1))
	isolate := isolating(false)
	q, other := b.quarantine(b.pod("db-0"), nil, isolate), b.quarantine(b.pod("db-1"), nil)
	if got := b.take(q, isolate).Report; got == nil || got.Verdict != "Isolated" {
		t.Errorf("got %+v, want the pod isolated", got)
	}
	report, err := b.cluster.Prove(t.Context(), other)
	if err != nil || report.Verdict != "Residual" {
		t.Errorf("got %+v, %v, want the other one of the same labels to be reached as before", report, err)
	}
}

// What is damaged is repaired, and what is taken off is put on again, when the action is done again.
func TestWhatSomebodyUndoesIsDoneAgain(t *testing.T) {
	b := newBench(t)
	b.apply(barePod)
	isolate := isolating(true)
	q := b.quarantine(b.pod("db-0"), nil, isolate)
	b.take(q, isolate)
	name := v1alpha1.NetworkPolicyName(q.Name)
	for what, damage := range map[string]func(){
		"the policy is opened": func() {
			if _, err := b.kube.NetworkingV1().NetworkPolicies(b.namespace).Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"egress":[{}]}}`), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"the policy is removed": func() {
			if err := b.kube.NetworkingV1().NetworkPolicies(b.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"the pod gets other labels": func() {
			if _, err := b.kube.CoreV1().Pods(b.namespace).Patch(t.Context(), "db-0", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"db","runtime.portcullis.dev/quarantine":null}}}`), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		damage()
		if got := b.take(q, isolate).Report; got == nil || got.Verdict != "Isolated" {
			t.Errorf("%s: got %+v, want it isolated again", what, got)
		}
		if pod := b.pod("db-0"); pod.Labels["app"] != "" {
			t.Errorf("%s: got %v", what, pod.Labels)
		}
	}
	if got := q.Status.Originals.Labels; len(got) != 1 || got["app"] != "db" {
		t.Errorf("got %v written down, want what was there at first", got)
	}
}

// Engines that leave out the grace period kill at once; those that ignore disruption budgets make an outage of one pod.
func TestAnEvictionKeepsToBudgetsAndToTheTimeThatThePodAsksFor(t *testing.T) {
	b := newBench(t)
	b.apply(`
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
---` + deploymentOfTwo + template("web"))
	found := b.scheduled("app=web", 2)
	b.run(found[0], "10.2.0.1")
	b.run(found[1], "10.2.0.2")
	b.eventually("the budget knows both", func() error {
		budget, err := b.kube.PolicyV1().PodDisruptionBudgets(b.namespace).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || budget.Status.CurrentHealthy != 2 {
			return fmt.Errorf("it knows %d, %w", budget.Status.CurrentHealthy, err)
		}
		return nil
	})
	evict, isolate := planned(response.Evict), isolating(true)
	q := b.quarantine(&found[0], nil, isolate, evict)
	b.prepare(q, evict)
	if _, err := b.cluster.Do(t.Context(), q, evict); !errors.Is(err, ErrBudget) {
		t.Fatalf("got %v, want ErrBudget", err)
	}
	if pod := b.pod(found[0].Name); pod.DeletionTimestamp != nil {
		t.Fatal("got it evicted all the same")
	}
	// Detached it counts no more: its replacement does.
	b.take(q, isolate)
	b.take(q, evict)
	if pod := b.pod(found[0].Name); pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 30 {
		t.Errorf("got %+v, want it ending in its own time", pod.ObjectMeta)
	}
	grace := int64(7)
	deletion := planned(response.Delete, response.Parameters{GracePeriodSeconds: &grace})
	q = b.quarantine(&found[1], nil, deletion)
	b.take(q, deletion)
	if pod := b.pod(found[1].Name); pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 7 {
		t.Errorf("got %+v, want it ending within 7 s", pod.ObjectMeta)
	}
	zero := int64(0)
	if skip := b.prepare(q, planned(response.Delete, response.Parameters{GracePeriodSeconds: &zero})).Skip; !strings.Contains(skip, "no evidence") {
		t.Errorf("got %q, want it refused to kill at once", skip)
	}
	if options := deleteOptions(q, planned(response.Delete, response.Parameters{GracePeriodSeconds: &zero})); *options.GracePeriodSeconds != 1 {
		t.Errorf("got %d s, want never less than 1", *options.GracePeriodSeconds)
	}
}

// Pods whose containment would be a lie are not called contained.
func TestWhatNetworkPoliciesDoNotReachIsNotCalledIsolated(t *testing.T) {
	b := newBench(t)
	b.apply(`
{apiVersion: v1, kind: Pod, metadata: {name: host}, spec: {hostNetwork: true, containers: [{name: app, image: a}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: static, annotations: {kubernetes.io/config.mirror: "x"}}, spec: {nodeName: node-1, containers: [{name: app, image: a}]}}`)
	for name, want := range map[string]string{"host": "network of its node", "static": "static"} {
		q := b.quarantine(b.pod(name), nil)
		if skip := b.prepare(q, isolating(true)).Skip; !strings.Contains(skip, want) {
			t.Errorf("%s: got %q, want %q", name, skip, want)
		}
		if _, err := b.cluster.Do(t.Context(), q, isolating(true)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it not done", name, err)
		}
		report, err := b.cluster.Prove(t.Context(), q)
		if err != nil || report.Verdict != "Unenforceable" {
			t.Errorf("%s: got %+v, %v, want Unenforceable", name, report, err)
		}
	}
	if skip := b.prepare(b.quarantine(b.pod("static"), nil), planned(response.Evict)).Skip; !strings.Contains(skip, "static") {
		t.Errorf("got %q, want a static pod not evicted", skip)
	}
}

// Two replicas that act at once, while others write to the pod, come to the same.
func TestManyThatActAtOnceDoItOnce(t *testing.T) {
	b := newBench(t)
	b.apply(barePod)
	isolate := isolating(true)
	q := b.quarantine(b.pod("db-0"), nil, isolate)
	b.prepare(q, isolate)
	writing, stop := context.WithCancel(t.Context())
	var others, actors sync.WaitGroup
	others.Go(func() {
		for n := 0; writing.Err() == nil; n++ {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, n)
			_, _ = b.kube.CoreV1().Pods(b.namespace).Patch(writing, "db-0", types.MergePatchType, patch, metav1.PatchOptions{})
		}
	})
	problems := make(chan error, 4)
	for range 4 {
		actors.Go(func() {
			_, err := b.cluster.Do(t.Context(), q, isolate)
			for outrun(errors.Unwrap(errors.Unwrap(err))) {
				_, err = b.cluster.Do(t.Context(), q, isolate)
			}
			problems <- err
		})
	}
	actors.Wait()
	stop()
	others.Wait()
	close(problems)
	for err := range problems {
		if err != nil {
			t.Error(err)
		}
	}
	var patches, policies int
	for _, request := range b.writtenHere() {
		if strings.HasPrefix(request, "patch /api/v1/namespaces/"+b.namespace+"/pods/db-0") {
			patches++
		}
		if strings.HasPrefix(request, "create") && strings.Contains(request, "networkpolicies") {
			policies++
		}
	}
	if patches != 1 || policies != 1 {
		t.Errorf("got %d patches and %d policies, want one of each: %q", patches, policies, b.writtenHere())
	}
	if pod := b.pod("db-0"); len(pod.Labels) != 1 {
		t.Errorf("got %v", pod.Labels)
	}
}

// A cluster whose network enforces nothing gets the policy, and no promise.
func TestANetworkThatEnforcesNothingIsNotCalledIsolating(t *testing.T) {
	b := newBench(t, func(o *Options) { o.CNI = isolation.None })
	b.apply(barePod)
	isolate := isolating(true)
	outcome := b.take(b.quarantine(b.pod("db-0"), nil, isolate), isolate)
	if outcome.Report == nil || outcome.Report.Verdict != isolation.Unenforceable {
		t.Errorf("got %+v, want Unenforceable", outcome.Report)
	}
	wantContains(t, outcome.Result, "Unenforceable")
}

// Engines have one role that may do anything that any action of any policy could need.
func TestTheResponderMayDoNoMoreThanItsActions(t *testing.T) {
	b := newBench(t)
	client, err := kubernetes.NewForConfig(b.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, forbidden := range []authorizationv1.ResourceAttributes{
		{Verb: "get", Resource: "secrets"}, {Verb: "list", Resource: "configmaps"}, {Verb: "create", Resource: "pods"}, {Verb: "create", Resource: "pods", Subresource: "exec"},
		{Verb: "get", Resource: "nodes", Subresource: "proxy"}, {Verb: "delete", Resource: "nodes"}, {Verb: "delete", Resource: "namespaces"},
		{Verb: "delete", Group: "apps", Resource: "deployments"}, {Verb: "create", Group: "apps", Resource: "daemonsets"}, {Verb: "delete", Group: "batch", Resource: "jobs"},
		{Verb: "delete", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}, {Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
		{Verb: "delete", Group: "policy.networking.k8s.io", Resource: "clusternetworkpolicies"}, {Verb: "delete", Group: "cilium.io", Resource: "ciliumclusterwidenetworkpolicies"},
		{Verb: "create", Resource: "serviceaccounts", Subresource: "token"}, {Verb: "update", Group: "runtime.portcullis.dev", Resource: "quarantineevidences"},
	} {
		forbidden.Namespace = b.namespace
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &forbidden}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed {
			t.Errorf("got %s of %s/%s/%s allowed", forbidden.Verb, forbidden.Group, forbidden.Resource, forbidden.Subresource)
		}
	}
}
