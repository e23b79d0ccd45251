package quarantine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

var listOptions = metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel}

// lasting an hour, a proof is repeated by what happens alone.
func (b *bench) watching() *Controller {
	return b.controller(func(o *Options) { o.Now, o.Reprove = time.Now, time.Hour })
}

func TestANetworkPolicyThatComesLaterIsNoticed(t *testing.T) {
	b := newBench(t)
	c := b.watching()
	b.run(c)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	b.until(name, "it is contained", inPhase(v1alpha1.PhaseContained))
	b.hands.proves(isolation.Report{Verdict: isolation.Residual, Residual: []isolation.Flow{{Direction: isolation.Egress, Peer: "any", Ports: "UDP 53", Policy: "NetworkPolicy shop/allow-dns"}}})
	_, err := b.kube.NetworkingV1().NetworkPolicies("shop").Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "allow-dns"},
		Spec:       networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{}}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.until(name, "the verdict follows", func(q *v1alpha1.Quarantine) bool {
		return q.Status.Verdict == "Residual" && len(q.Status.Residual) == 1 && strings.Contains(q.Status.Residual[0], "shop/allow-dns")
	})
}

func TestALabelThatIsTakenOffIsNoticedAndPutBack(t *testing.T) {
	b := newBench(t)
	b.run(b.watching())
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	b.until(name, "it is contained", inPhase(v1alpha1.PhaseContained))
	_, err := b.kube.CoreV1().Pods("shop").Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"`+v1alpha1.QuarantineLabel+`":null}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.until(name, "it was noticed", func(q *v1alpha1.Quarantine) bool { return stepOf(&q.Status, "isolate").Reapplied == 1 })
	clustertest.Until(t, "the label is back", func() bool {
		pod, err := b.kube.CoreV1().Pods("shop").Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && pod.Labels[v1alpha1.QuarantineLabel] == name
	})
}

func TestAPodThatSomebodyDeletesIsNoticed(t *testing.T) {
	b := newBench(t)
	b.run(b.watching())
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	b.until(name, "it is contained", inPhase(v1alpha1.PhaseContained))
	now := int64(0)
	if err := b.kube.CoreV1().Pods("shop").Delete(t.Context(), "web", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	b.until(name, "the pod is gone", func(q *v1alpha1.Quarantine) bool { return q.Status.PodGone })
}

func TestWhatIsOldIsDeletedWithItsEvidence(t *testing.T) {
	b := newBench(t)
	c := b.controller(func(o *Options) { o.Kept = 2 })
	stop := c.watchOnly(t)
	defer stop()
	var names []string
	for n := range 4 {
		p := plan(b.pod("shop", fmt.Sprintf("web-%d", n), nil), response.Isolate)
		p.Mode, p.Actions[0].Mode = response.ModeAudit, response.ModeAudit
		name := b.propose(p, wide)
		b.settle(c, name)
		names = append(names, name)
		b.create(t, evidenceOf(name))
		b.pass(time.Minute)
	}
	b.create(t, incidentOf("lasting", b.now().Add(-30*time.Minute)))
	b.create(t, incidentOf("expired", b.now().Add(-2*time.Hour)))
	clustertest.Until(t, "all are seen", func() bool { return len(c.informer.GetStore().List()) == 4 && overAll(c) })
	if err := c.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := names[2:]
	b.wantNames(t, "quarantines", want)
	var evidence []string
	for _, name := range want {
		evidence = append(evidence, name+"-pod")
	}
	b.wantNames(t, "quarantineevidences", evidence)
	b.wantNames(t, "incidents", []string{"lasting"})

	b.pass(31 * 24 * time.Hour)
	clustertest.Until(t, "all are swept", func() bool {
		if err := c.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := b.store.List(t.Context())
		return err == nil && len(list) == 0
	})
}

// TestWhatWasContainedIsNotPushedOutByWhatWasOnlyRecorded: whoever may create pods can have as many reported as they like, and must not be rid of
// evidence by that.
func TestWhatWasContainedIsNotPushedOutByWhatWasOnlyRecorded(t *testing.T) {
	b := newBench(t)
	c := b.controller(func(o *Options) { o.Kept = 2 })
	stop := c.watchOnly(t)
	defer stop()
	contained := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	b.settle(c, contained)
	b.wantPhase(contained, v1alpha1.PhaseContained)
	if err := b.store.Release(t.Context(), contained, v1alpha1.Statement{By: "ann", Reason: "all is known"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, contained)
	b.wantPhase(contained, v1alpha1.PhaseReleased)
	last := ""
	for n := range 3 {
		b.pass(time.Minute)
		p := plan(b.pod("shop", fmt.Sprintf("noise-%d", n), nil), response.Isolate)
		p.Mode, p.Actions[0].Mode = response.ModeAudit, response.ModeAudit
		last = b.propose(p, wide)
		b.settle(c, last)
	}
	clustertest.Until(t, "all are seen", func() bool { return len(c.informer.GetStore().List()) == 4 && overAll(c) })
	if err := c.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantNames(t, "quarantines", []string{contained, last})
}

// overAll says that the informer has seen all ends.
func overAll(c *Controller) bool {
	for _, object := range c.informer.GetStore().List() {
		q, err := decode(object.(*unstructured.Unstructured))
		if err != nil || q.Status.Ended == nil {
			return false
		}
	}
	return true
}

// watchOnly has a controller see quarantines and settle none.
func (c *Controller) watchOnly(t *testing.T) (stop func()) {
	t.Helper()
	c.queue = workqueue.NewTypedDelayingQueue[string]()
	ctx, cancel := context.WithCancel(t.Context())
	wait := c.watchQuarantines(ctx)
	return func() { cancel(); wait() }
}

func evidenceOf(quarantine string) any {
	return &v1alpha1.QuarantineEvidence{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "QuarantineEvidence"},
		ObjectMeta: metav1.ObjectMeta{Name: quarantine + "-pod"}, Quarantine: quarantine, Piece: "pod", Data: []byte("x"), Size: 1, Digest: "sha256:" + strings.Repeat("0", 64), Captured: metav1.NowMicro(),
	}
}

func incidentOf(name string, expires time.Time) any {
	return &v1alpha1.Incident{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Incident"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.IncidentSpec{Scope: "digest", Digest: "sha256:" + strings.Repeat("0", 64), Effect: "deny", Reason: "a miner", Expires: metav1.NewTime(expires)},
	}
}

func (b *bench) create(t *testing.T, object any) {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	resource := v1alpha1.Incidents
	if u.GetKind() == "QuarantineEvidence" {
		resource = v1alpha1.Evidences
	}
	if _, err := b.admin.Resource(resource).Create(t.Context(), &u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// wantNames holds what there is of a resource to names.
func (b *bench) wantNames(t *testing.T, resource string, want []string) {
	t.Helper()
	list, err := b.admin.Resource(v1alpha1.GroupVersion.WithResource(resource)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, one := range list.Items {
		got = append(got, one.GetName())
	}
	if !sameNames(got, want) {
		t.Errorf("%s: there are %q, want %q", resource, got, want)
	}
}

func sameNames(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// What a proof reads and a watch follows, the responder may list and watch: a right that lacks makes a proof fail where it matters.
func TestTheResponderMayReadAllThatAProofReads(t *testing.T) {
	may := map[string]bool{}
	for document := range strings.SplitSeq(string(v1alpha1.Roles("guard")), "\n---\n") {
		var role struct {
			Metadata struct{ Name string }
			Rules    []rbacv1.PolicyRule
		}
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					if role.Metadata.Name == "portcullis-responder" && slices.Contains(rule.Verbs, "list") && slices.Contains(rule.Verbs, "watch") {
						may[group+"/"+resource] = true
					}
				}
			}
		}
	}
	for _, r := range isolation.Resources() {
		if !may[r.Group+"/"+r.Resource] {
			t.Errorf("the responder may not list and watch %s of %q", r.Resource, r.Group)
		}
	}
}
