package quarantine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

func TestAnEnforcedQuarantineTakesItsActionsInOrder(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", map[string]string{"app": "web"})
	name := b.propose(plan(pod, response.Snapshot, response.Annotate, response.Isolate, response.Condemn, response.Notify), wide)
	b.hands.seen = func(call string, q *v1alpha1.Quarantine) { // what is about to be done was written down before
		if action, ok := strings.CutPrefix(call, "do "); ok {
			written := b.get(name)
			if step := stepOf(&written.Status, action); step == nil || step.State != v1alpha1.StepRunning || step.Precondition != "uid "+pod.UID || written.Status.Originals.Labels["app"] != "web" {
				t.Errorf("before %s its record is %+v with the originals %+v, want it running, with its precondition and what was there before", action, step, written.Status.Originals)
			}
		}
	}
	c := b.controller()
	b.settle(c, name)
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	if got, want := b.hands.called(), []string{"do annotate", "do isolate", "do condemn"}; !slices.Equal(got, want) {
		t.Errorf("done was %q, want %q", got, want)
	}
	if got, want := slices.Sorted(slices.Values(steps(q))), []string{"annotate Done", "condemn Done", "isolate Done", "notify Done", "snapshot Done"}; !slices.Equal(got, want) {
		t.Errorf("the steps are %q, want %q", got, want)
	}
	if q.Status.Verdict != "Isolated" || q.Status.Connections != isolation.MayPersist || len(q.Status.Evidence) != 1 || len(q.Status.Incidents) != 1 || q.Status.Admitted == nil || q.Status.Contained == nil {
		t.Errorf("the status is %+v, want it isolated, with its evidence, its incident and its times", q.Status)
	}
	if got, want := b.told.kinds(), []notify.Kind{notify.KindContaining, notify.KindTold, notify.KindContained}; !slices.Equal(got, want) {
		t.Errorf("told was %q, want %q", got, want)
	}
	if got := testutil.CollectAndCount(c.o.Metrics.latency); got != 1 {
		t.Errorf("%d times from event to isolation were measured, want 1", got)
	}
	before := len(b.hands.called())
	b.settle(c, name)
	if got := b.hands.called(); len(got) != before {
		t.Errorf("settled again, it did %q, want nothing", got[before:])
	}
}

func TestAuditDoesNothingAndSaysWhatItWould(t *testing.T) {
	b := newBench(t)
	p := plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate, response.Delete)
	p.Mode = response.ModeAudit
	for n := range p.Actions {
		p.Actions[n].Mode = response.ModeAudit
	}
	name := b.propose(p, response.Settings{})
	b.settle(b.controller(), name)
	q := b.wantPhase(name, v1alpha1.PhaseAudited)
	if got := b.hands.called(); len(got) > 0 || b.kept.times > 0 || q.Status.Ended == nil {
		t.Errorf("done was %q, evidence was kept %d times: want nothing, and an end", got, b.kept.times)
	}
	if got := b.told.kinds(); !slices.Equal(got, []notify.Kind{notify.KindAudited}) {
		t.Errorf("told was %q, want that it was audited", got)
	}
}

func TestWhatContainsNothingIsDoneWithoutBeingCounted(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Annotate, response.Condemn, response.Notify), response.Settings{Limits: response.Limits{Cluster: 1}})
	c := b.controller()
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseAudited)
	if got, want := b.hands.called(), []string{"do annotate", "do condemn"}; !slices.Equal(got, want) {
		t.Errorf("done was %q, want %q", got, want)
	}
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseReleased)
	if got, want := b.hands.called()[2:], []string{"undo condemn", "undo annotate"}; !slices.Equal(got, want) {
		t.Errorf("taken back was %q, want %q", got, want)
	}
}

func TestAPersonApproves(t *testing.T) {
	b := newBench(t)
	p := plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate)
	p.Mode, p.Actions[1].Mode = response.ModeApprove, response.ModeApprove
	name := b.propose(p, wide)
	c := b.controller()
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseAwaitingApproval)
	if b.settle(c, name) == 0 {
		t.Error("it is not looked at again, though it waits no longer than it would have lasted")
	}
	if got := b.hands.called(); len(got) > 0 || b.kept.times != 1 {
		t.Errorf("done was %q, and evidence kept %d times: want nothing, and evidence once", got, b.kept.times)
	}
	if err := b.store.Approve(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "it is real"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseContained)
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate"}) || b.kept.times != 1 {
		t.Errorf("done was %q, and evidence kept %d times: want it isolated", got, b.kept.times)
	}
}

func TestNobodyApproves(t *testing.T) {
	for name, end := range map[string]func(*bench, string){
		"a person releases it": func(b *bench, name string) {
			if err := b.store.Release(b.t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
				b.t.Fatal(err)
			}
		},
		"nobody answers": func(b *bench, _ string) { b.pass(2 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			p := plan(b.pod("shop", "web", nil), response.Isolate)
			p.Mode, p.Actions[0].Mode = response.ModeApprove, response.ModeApprove
			name := b.propose(p, wide)
			c := b.controller()
			b.settle(c, name)
			end(b, name)
			b.settle(c, name)
			b.wantPhase(name, v1alpha1.PhaseReleased)
			if got := b.hands.called(); len(got) > 0 {
				t.Errorf("done was %q, want nothing", got)
			}
		})
	}
}

func TestOneActionWaitsForAPersonAndOthersDoNot(t *testing.T) {
	b := newBench(t)
	p := parameters(plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate, response.Delete), response.Delete, func(a *response.Planned) { a.Parameters.Approval = true })
	name := b.propose(p, wide)
	c := b.controller()
	b.settle(c, name)
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate"}) {
		t.Errorf("done was %q, want it isolated only", got)
	}
	if n := slices.IndexFunc(q.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionComplete }); n < 0 || q.Status.Conditions[n].Reason != "AwaitingApproval" {
		t.Errorf("the conditions are %+v, want one that says who waits", q.Status.Conditions)
	}
	if err := b.store.Approve(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "it is real"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, name)
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate", "do delete"}) {
		t.Errorf("done was %q, want it deleted, too", got)
	}
}

func TestWhatIsOverALimitIsRefused(t *testing.T) {
	b := newBench(t)
	limited := response.Settings{Mode: response.ModeEnforce, Limits: response.Limits{Cluster: 1}}
	c := b.controller()
	first := b.propose(plan(b.pod("shop", "web-1", nil), response.Isolate), limited)
	b.settle(c, first)
	b.wantPhase(first, v1alpha1.PhaseContained)
	second := b.propose(plan(b.pod("desk", "web-2", nil), response.Isolate), limited)
	b.settle(c, second)
	q := b.wantPhase(second, v1alpha1.PhaseRefused)
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate"}) || !strings.Contains(q.Status.Reason, "limits.cluster") {
		t.Errorf("done was %q, with the reason %q: want one isolated, and the limit named", got, q.Status.Reason)
	}
	if got := testutil.ToFloat64(c.o.Metrics.refusals.WithLabelValues("cluster")); got != 1 {
		t.Errorf("%v refusals by the limit of the cluster are counted, want 1", got)
	}
	// A limit that was reached once must not make the pod safe for ever.
	b.pass(11 * time.Minute)
	again := plan(response.Pod{Namespace: q.Spec.Pod.Namespace, Name: q.Spec.Pod.Name, UID: q.Spec.Pod.UID}, response.Isolate)
	again.Event.ID = "sha256:" + strings.Repeat("3", 64)
	b.propose(again, limited)
	b.settle(c, second)
	if q := b.wantPhase(second, v1alpha1.PhaseContained); len(q.Status.Earlier) != 1 || q.Status.Earlier[0].Phase != v1alpha1.PhaseRefused {
		t.Errorf("its earlier lives are %+v, want the refusal", q.Status.Earlier)
	}
}

func TestMoreThanCanBeTrueIsOnlyRecorded(t *testing.T) {
	b := newBench(t)
	settings := wide
	settings.Breaker.Plans = 2
	c := b.controller()
	for n, want := range []v1alpha1.Phase{v1alpha1.PhaseContained, v1alpha1.PhaseAudited, v1alpha1.PhaseAudited} {
		name := b.propose(plan(b.pod("shop", fmt.Sprintf("web-%d", n), nil), response.Isolate), settings)
		b.settle(c, name)
		b.wantPhase(name, want)
	}
	if got := b.hands.called(); len(got) != 1 {
		t.Errorf("done was %q, want only the first isolated", got)
	}
	pages := slices.DeleteFunc(b.told.kinds(), func(k notify.Kind) bool { return k != notify.KindBreakerOpened })
	if len(pages) != 1 || testutil.ToFloat64(c.o.Metrics.breakerOpen) != 1 {
		t.Errorf("the open breaker was told of %d times, and its metric is %v: want once and 1", len(pages), testutil.ToFloat64(c.o.Metrics.breakerOpen))
	}
	b.pass(14 * time.Minute)
	c.closeBreaker()
	if got := b.told.kinds(); slices.Contains(got, notify.KindBreakerClosed) {
		t.Errorf("told was %q before the breaker closes", got)
	}
	b.pass(2 * time.Minute)
	c.closeBreaker()
	if got := b.told.kinds(); !slices.Contains(got, notify.KindBreakerClosed) || testutil.ToFloat64(c.o.Metrics.breakerOpen) != 0 {
		t.Errorf("told was %q, and the metric is %v: want the breaker closed", got, testutil.ToFloat64(c.o.Metrics.breakerOpen))
	}
	name := b.propose(plan(b.pod("shop", "later", nil), response.Isolate), settings)
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseContained)
}

func TestAPersonsApprovalCountsWhileTheBreakerIsOpen(t *testing.T) {
	b := newBench(t)
	settings := wide
	settings.Breaker.Plans = 2
	c := b.controller()
	p := plan(b.pod("shop", "web", nil), response.Isolate)
	p.Mode, p.Actions[0].Mode = response.ModeApprove, response.ModeApprove
	waiting := b.propose(p, settings)
	b.settle(c, waiting)
	b.wantPhase(waiting, v1alpha1.PhaseAwaitingApproval)
	b.settle(c, b.propose(plan(b.pod("shop", "other", nil), response.Isolate), settings)) // opens it
	if err := b.store.Approve(t.Context(), waiting, v1alpha1.Statement{By: "ann", Reason: "it is real"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, waiting)
	b.wantPhase(waiting, v1alpha1.PhaseContained)
}

func TestACordonThatIsAskedForLaterIsCounted(t *testing.T) {
	b := newBench(t)
	c := b.controller()
	on := func(name, node string) response.Pod {
		pod := b.pod("shop", name, nil)
		pod.Node = node
		return pod
	}
	first := b.propose(plan(on("web-1", "node-1"), response.Isolate, response.Cordon), wide)
	b.settle(c, first)
	b.pass(time.Second) // it cools down for a moment
	pod := on("web-2", "node-2")
	second := b.propose(plan(pod, response.Isolate), wide)
	b.settle(c, second)
	b.wantPhase(second, v1alpha1.PhaseContained)
	b.propose(plan(pod, response.Isolate, response.Cordon), wide)
	b.settle(c, second)
	q := b.wantPhase(second, v1alpha1.PhaseContained)
	if step := stepOf(&q.Status, "cordon"); step == nil || step.State != v1alpha1.StepSkipped || !strings.Contains(step.Result, "limits.nodes") {
		t.Errorf("the step is %+v, want it skipped, and the limit named", step)
	}
	cordons := slices.DeleteFunc(b.hands.called(), func(call string) bool { return call != "do cordon" })
	if len(cordons) != 1 {
		t.Errorf("%d nodes were cordoned, want 1", len(cordons))
	}
}

func TestALedgerThatCannotBeReadAdmitsNothing(t *testing.T) {
	b := newBench(t)
	c := b.controller()
	if err := c.ledger.change(t.Context(), func(l *response.Ledger) { l.Plans = []time.Time{b.now()} }); err != nil {
		t.Fatal(err)
	}
	_, err := b.kube.CoordinationV1().Leases(v1alpha1.DefaultNamespace).Patch(t.Context(), c.ledger.name, types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+ledgerAnnotation+`":"{"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	if _, err := c.settle(t.Context(), name); err == nil || !strings.Contains(err.Error(), "delete the Lease") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
	if got := b.hands.called(); len(got) > 0 {
		t.Errorf("done was %q, want nothing", got)
	}
}

func TestAStepThatFailsIsTriedAgainAndKeepsNothingBack(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Annotate, response.Isolate, response.Condemn), wide)
	b.hands.fails("do annotate", errors.New("the API server is unwell"))
	c := b.controller()
	again := b.settle(c, name)
	q := b.wantPhase(name, v1alpha1.PhaseContaining)
	if got, want := steps(q), []string{"annotate Failed", "isolate Done", "condemn Done"}; !slices.Equal(got, want) {
		t.Fatalf("the steps are %q, want %q", got, want)
	}
	if again <= 0 || again > firstPause {
		t.Errorf("it is looked at again after %s, want %s", again, firstPause)
	}
	for range 20 {
		b.pass(longestPause)
		b.settle(c, name)
	}
	q = b.wantPhase(name, v1alpha1.PhaseContained)
	if step := stepOf(&q.Status, "annotate"); step.Attempts != maxAttempts || !givenUp(step) || !strings.Contains(step.Result, "given up after 10 attempts: the API server is unwell") {
		t.Errorf("the step is %+v, want it given up after %d attempts, with the reason", step, maxAttempts)
	}
	if n := slices.IndexFunc(q.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionComplete }); q.Status.Conditions[n].Reason != "Failed" || !strings.Contains(q.Status.Conditions[n].Message, "unwell") {
		t.Errorf("the condition is %+v, want one that says what failed", q.Status.Conditions[n])
	}
	if got := b.told.kinds(); !slices.Contains(got, notify.KindStepFailed) {
		t.Errorf("told was %q, want that a step failed", got)
	}
}

func TestEvidenceComesBeforeWhatDestroysAndKeepsContainmentBackForAMomentOnly(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	b.kept.hold = hold
	name := b.propose(plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate, response.Delete), wide)
	isolated := make(chan struct{})
	b.hands.seen = func(call string, _ *v1alpha1.Quarantine) {
		switch call {
		case "do isolate":
			close(isolated)
		case "do delete":
			if q := b.get(name); !done(&q.Status, "snapshot") || len(q.Status.Evidence) == 0 {
				t.Errorf("the pod is deleted while the evidence is %+v", stepOf(&q.Status, "snapshot"))
			}
		}
	}
	c := b.controller(func(o *Options) { o.SnapshotHead = time.Millisecond })
	var settling sync.WaitGroup
	settling.Go(func() {
		if _, err := c.settle(t.Context(), name); err != nil {
			t.Error(err)
		}
	})
	<-isolated // though the evidence is not there
	if got := b.hands.called(); slices.Contains(got, "do delete") {
		t.Errorf("done was %q before there was evidence", got)
	}
	close(hold)
	settling.Wait()
	if got, want := b.hands.called(), []string{"do isolate", "do delete"}; !slices.Equal(got, want) {
		t.Errorf("done was %q, want %q", got, want)
	}
}

func TestEvidenceThatCannotBeKeptHoldsNothingUpForEver(t *testing.T) {
	b := newBench(t)
	b.kept.err = errors.New("the node is gone")
	name := b.propose(plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate, response.Delete), wide)
	c := b.controller()
	b.settle(c, name)
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate"}) {
		t.Fatalf("done was %q, want it isolated and not deleted", got)
	}
	for range maxCaptures {
		b.pass(longestPause)
		b.settle(c, name)
	}
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate", "do delete"}) || b.kept.times != maxCaptures {
		t.Errorf("done was %q after %d attempts at evidence, want it deleted after %d", got, b.kept.times, maxCaptures)
	}
}

func TestAPodThatCouldNotBeDetachedIsNotScaledAway(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Snapshot, response.Detach, response.Scale), wide)
	b.hands.fails("do detach", errors.New("refused"))
	c := b.controller()
	for range 15 {
		b.settle(c, name)
		b.pass(longestPause)
	}
	q := b.get(name)
	if step := stepOf(&q.Status, "scale"); step == nil || step.State != v1alpha1.StepSkipped || slices.Contains(b.hands.called(), "do scale") {
		t.Errorf("the step is %+v and done was %q, want it skipped", step, b.hands.called())
	}
}

// What one pod brings about, with a policy that nobody has thought of, must not end the quarantines of all others.
func TestAPanicIsAFailureOfItsStep(t *testing.T) {
	b := newBench(t)
	b.hands.seen = func(call string, _ *v1alpha1.Quarantine) {
		if call == "do annotate" || call == "prove " || call == "prepare label" {
			panic("index out of range")
		}
	}
	name := b.propose(plan(b.pod("shop", "web", nil), response.Annotate, response.Label, response.Isolate), wide)
	c := b.controller()
	for range maxAttempts + 1 {
		b.settle(c, name)
		b.pass(longestPause)
	}
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	if got, want := steps(q), []string{"annotate Failed", "label Failed", "isolate Done"}; !slices.Equal(got, want) || q.Status.Verdict != "Unverified" {
		t.Errorf("the steps are %q with the verdict %s, want %q and Unverified", got, q.Status.Verdict, want)
	}
}

// A step that ends the process each time, by its memory say, is given up as any other.
func TestAStepThatNeverComesToAnEndIsGivenUp(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate, response.Condemn), wide)
	c := b.controller()
	b.hands.fails("do isolate", errors.New("the process ends"))
	b.settle(c, name)
	q := b.get(name)
	step := stepOf(&q.Status, "isolate")
	step.State, step.Next, step.Attempts = v1alpha1.StepRunning, nil, maxAttempts
	if err := c.objects.updateStatus(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	tried := len(b.hands.called())
	b.settle(c, name)
	q = b.wantPhase(name, v1alpha1.PhaseContained)
	if step := stepOf(&q.Status, "isolate"); !givenUp(step) || slices.Contains(b.hands.called()[tried:], "do isolate") {
		t.Errorf("the step is %+v, want it given up without another attempt", step)
	}
}

func TestWhatRemainsPossibleEscalatesAsAskedFor(t *testing.T) {
	residual := isolation.Report{Verdict: isolation.Residual, Residual: []isolation.Flow{{Direction: isolation.Egress, Peer: "any", Ports: "UDP 53", Policy: "NetworkPolicy shop/allow-dns"}}}
	for name, test := range map[string]struct {
		report isolation.Report
		how    string
		want   []string
	}{
		"alert only":               {residual, response.ResidualAlert, []string{"do isolate"}},
		"nothing said":             {residual, "", []string{"do isolate"}},
		"evict":                    {residual, response.ResidualEvict, []string{"do isolate", "do evict"}},
		"delete":                   {residual, response.ResidualDelete, []string{"do isolate", "do delete"}},
		"restrict":                 {residual, response.ResidualRestrict, []string{"do isolate", "do restrict"}},
		"nothing enforces":         {isolation.Report{Verdict: isolation.Unenforceable}, response.ResidualEvict, []string{"do isolate", "do evict"}},
		"nobody knows":             {isolation.Report{Verdict: isolation.Unverified}, response.ResidualEvict, []string{"do isolate"}},
		"it is isolated after all": {isolation.Report{Verdict: isolation.Isolated}, response.ResidualEvict, []string{"do isolate"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.hands.proves(test.report)
			p := parameters(plan(b.pod("shop", "web", nil), response.Isolate), response.Isolate, func(a *response.Planned) { a.Parameters.Residual = test.how })
			name := b.propose(p, wide)
			c := b.controller()
			b.settle(c, name)
			q := b.wantPhase(name, v1alpha1.PhaseContained)
			if got := b.hands.called(); !slices.Equal(got, test.want) || q.Status.Verdict != string(test.report.Verdict) {
				t.Errorf("done was %q with the verdict %s, want %q", got, q.Status.Verdict, test.want)
			}
			if len(test.want) > 1 && test.want[1] != "do restrict" && (b.kept.times != 1 || len(q.Status.Evidence) != 1) {
				t.Errorf("evidence was kept %d times before the pod was ended, want once, though nobody asked for it", b.kept.times)
			}
			b.hands.proves(isolation.Report{Verdict: isolation.Isolated})
			b.pass(time.Minute)
			b.settle(c, name)
			if got := b.hands.called(); len(got) != len(test.want) {
				t.Errorf("later it did %q, want no more than %q", got, test.want)
			}
		})
	}
}

func TestAPolicyThatIsWidenedAgainIsNarrowedAgainWithinBounds(t *testing.T) {
	b := newBench(t)
	b.hands.proves(isolation.Report{Verdict: isolation.Residual, Residual: []isolation.Flow{{Direction: isolation.Egress, Peer: "any", Ports: "UDP 53", Policy: "NetworkPolicy shop/allow-dns"}}})
	p := parameters(plan(b.pod("shop", "web", nil), response.Isolate), response.Isolate, func(a *response.Planned) { a.Parameters.Residual = response.ResidualRestrict })
	name := b.propose(p, wide)
	c := b.controller()
	b.settle(c, name)
	for range maxReapplied + 5 {
		b.pass(DefaultReprove)
		b.settle(c, name)
	}
	times := slices.DeleteFunc(b.hands.called(), func(call string) bool { return call != "do restrict" })
	if got, want := len(times), maxReapplied+1; got != want {
		t.Errorf("policies were narrowed %d times, want %d", got, want)
	}
	if got := b.told.kinds(); !slices.Contains(got, notify.KindReverted) {
		t.Errorf("told was %q, want that somebody undoes it", got)
	}
}

// A disruption budget may hold an eviction up for long; meanwhile the proof is repeated all the same.
func TestWhatIsTriedAgainKeepsNoProofBack(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate, response.Evict), wide)
	b.hands.fails("do evict", containment.ErrBudget)
	c := b.controller()
	b.settle(c, name)
	b.hands.proves(isolation.Report{Verdict: isolation.Residual, Residual: []isolation.Flow{{Direction: isolation.Egress, Peer: "any", Ports: "any port"}}})
	for range maxAttempts + 2 {
		b.pass(longestPause)
		b.settle(c, name)
	}
	if q := b.wantPhase(name, v1alpha1.PhaseContaining); q.Status.Verdict != "Residual" {
		t.Errorf("the verdict is %s, want Residual", q.Status.Verdict)
	}
	b.hands.fails("do evict", nil)
	b.pass(longestPause)
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseContained)
}

func TestAProofIsRepeatedAndWhatChangesIsToldAndEscalated(t *testing.T) {
	b := newBench(t)
	p := parameters(plan(b.pod("shop", "web", nil), response.Isolate), response.Isolate, func(a *response.Planned) { a.Parameters.Residual = response.ResidualEvict })
	name := b.propose(p, wide)
	c := b.controller()
	if again := b.settle(c, name); again <= 0 || again > DefaultReprove {
		t.Errorf("it is looked at again after %s, want at most %s", again, DefaultReprove)
	}
	b.hands.proves(isolation.Report{Verdict: isolation.Residual, Residual: []isolation.Flow{{Direction: isolation.Egress, Peer: "any", Ports: "any port", Policy: "NetworkPolicy shop/new"}}})
	b.pass(DefaultReprove)
	b.settle(c, name)
	q := b.get(name)
	if got := b.hands.called(); !slices.Equal(got, []string{"do isolate", "do evict"}) || q.Status.Verdict != "Residual" || len(q.Status.Residual) != 1 {
		t.Errorf("done was %q, and the verdict is %s with %q: want the flow named, and the pod evicted", got, q.Status.Verdict, q.Status.Residual)
	}
	if got := b.told.kinds(); !slices.Contains(got, notify.KindVerdictChanged) {
		t.Errorf("told was %q, want that the verdict has changed", got)
	}
}

// What was proved once must not be said of what cannot be proved now.
func TestAProofThatFailsProvesNothing(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	c := b.controller()
	b.settle(c, name)
	b.hands.fails("prove ", errors.New("listing policies: forbidden"))
	b.pass(DefaultReprove)
	b.settle(c, name)
	q := b.get(name)
	if q.Status.Verdict != "Unverified" {
		t.Errorf("the verdict is %s, want Unverified", q.Status.Verdict)
	}
	if n := slices.IndexFunc(q.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionIsolated }); n < 0 || q.Status.Conditions[n].Status != metav1.ConditionUnknown || !strings.Contains(q.Status.Conditions[n].Message, "forbidden") {
		t.Errorf("the conditions are %+v, want one that says why", q.Status.Conditions)
	}
}

func TestReleaseTakesBackWhatWasDoneAndThePolicyLast(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Snapshot, response.Annotate, response.Isolate, response.Detach, response.Condemn, response.Cordon, response.Suspend), wide)
	c := b.controller()
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseContained)
	done := len(b.hands.called())
	b.hands.fails("undo detach", errors.New("the API server is unwell"))
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseReleasing)
	if got, want := b.hands.called()[done:], []string{"undo suspend", "undo cordon", "undo condemn", "undo annotate", "undo detach"}; !slices.Equal(got, want) {
		t.Errorf("taken back was %q, want %q, and the pod cut off until it is back in its place", got, want)
	}
	for range 30 { // for as long as it takes
		b.pass(longestPause)
		b.settle(c, name)
	}
	b.wantPhase(name, v1alpha1.PhaseReleasing)
	b.hands.fails("undo detach", nil)
	b.pass(longestPause)
	b.settle(c, name)
	q := b.wantPhase(name, v1alpha1.PhaseReleased)
	if got, want := b.hands.called()[len(b.hands.called())-2:], []string{"undo detach", "undo isolate"}; !slices.Equal(got, want) {
		t.Errorf("taken back last was %q, want %q", got, want)
	}
	if len(q.Status.Incidents) > 0 || !strings.Contains(q.Status.Reason, "released by ann: false alarm") {
		t.Errorf("it has the incidents %q and the reason %q, want none and who released it", q.Status.Incidents, q.Status.Reason)
	}
}

func TestItsTimeEndsAQuarantineButNotWhatAdmissionRemembers(t *testing.T) {
	for name, test := range map[string]struct {
		how  string
		want []string
	}{
		"released": {response.OnExpiryRelease, []string{"undo isolate"}},
		"deleted":  {response.OnExpiryDelete, []string{"do delete", "undo isolate"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			p := plan(b.pod("shop", "web", nil), response.Snapshot, response.Isolate, response.Condemn)
			p.OnExpiry = test.how
			name := b.propose(p, wide)
			c := b.controller()
			b.settle(c, name)
			b.pass(59 * time.Minute)
			if again := b.settle(c, name); again > DefaultReprove {
				t.Errorf("it is looked at again after %s, want its end not missed", again)
			}
			b.wantPhase(name, v1alpha1.PhaseContained)
			done := len(b.hands.called())
			b.pass(2 * time.Minute)
			b.settle(c, name)
			q := b.wantPhase(name, v1alpha1.PhaseReleased)
			if got := b.hands.called()[done:]; !slices.Equal(got, test.want) || len(q.Status.Incidents) != 1 {
				t.Errorf("done was %q and the incidents are %q, want %q, and the incident kept", got, q.Status.Incidents, test.want)
			}
		})
	}
}

func TestAReleasedPodIsLeftAloneForWhatAPersonHasSeen(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", nil)
	name := b.propose(plan(pod, response.Isolate), wide)
	c := b.controller()
	b.settle(c, name)
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
		t.Fatal(err)
	}
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseReleased)
	again := plan(pod, response.Isolate)
	again.Event.ID = "sha256:" + strings.Repeat("5", 64)
	b.pass(time.Hour)
	b.propose(again, wide)
	b.settle(c, name)
	b.wantPhase(name, v1alpha1.PhaseReleased)
	again.Actions[0].Policy = "runtime/miner"
	b.propose(again, wide)
	b.settle(c, name)
	if q := b.wantPhase(name, v1alpha1.PhaseContained); q.Spec.Release != nil || q.Status.Reopened != 1 || len(q.Status.Earlier) != 1 {
		t.Errorf("it was reopened %d times, with the release %+v: want once and none", q.Status.Reopened, q.Spec.Release)
	}
}

func TestAPodThatIsGoneIsNoneOfItsName(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", nil)
	name := b.propose(plan(pod, response.Isolate), wide)
	c := b.controller()
	b.settle(c, name)
	now := int64(0)
	if err := b.kube.CoreV1().Pods("shop").Delete(context.Background(), "web", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	b.pod("shop", "web", map[string]string{"app": "web"}) // as a StatefulSet does
	b.pass(DefaultReprove)
	b.settle(c, name)
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	if !q.Status.PodGone {
		t.Error("the pod counts as there, want it gone")
	}
	successor, err := b.kube.CoreV1().Pods("shop").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := successor.Labels; got["app"] != "web" || got[v1alpha1.QuarantineLabel] != "" {
		t.Errorf("the labels of its successor are %v, want them as they were", got)
	}
	// Nothing of the sort either where the pod is gone before anything was done.
	late := b.propose(plan(response.Pod{Namespace: "shop", Name: "web", UID: "another"}, response.Isolate, response.Notify), wide)
	b.settle(c, late)
	if q := b.wantPhase(late, v1alpha1.PhaseContained); !q.Status.PodGone || stepOf(&q.Status, "isolate").State != v1alpha1.StepSkipped || stepOf(&q.Status, "notify").State != v1alpha1.StepDone {
		t.Errorf("the steps are %q, want people told and nothing isolated", steps(q))
	}
}

func TestWhatSomebodyUndoesIsDoneAgainWithinBounds(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", map[string]string{"app": "web"}), response.Isolate), wide)
	c := b.controller()
	b.settle(c, name)
	for n := range maxReapplied + 3 {
		_, err := b.kube.CoreV1().Pods("shop").Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"`+v1alpha1.QuarantineLabel+`":null,"app":"web"}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b.pass(DefaultReprove)
		b.settle(c, name)
		pod, err := b.kube.CoreV1().Pods("shop").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := pod.Labels[v1alpha1.QuarantineLabel] == name, n < maxReapplied; got != want {
			t.Fatalf("after %d times the pod is labelled: %v, want %v", n+1, got, want)
		}
	}
	q := b.get(name)
	if step := stepOf(&q.Status, "isolate"); step.Reapplied != maxReapplied+1 {
		t.Errorf("it was done again %d times by the record, want %d counted", step.Reapplied, maxReapplied+1)
	}
	if n := slices.IndexFunc(q.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionStable }); n < 0 || q.Status.Conditions[n].Reason != "GivenUp" {
		t.Errorf("the conditions are %+v, want one that says that it was given up", q.Status.Conditions)
	}
	reverts := slices.DeleteFunc(b.told.kinds(), func(k notify.Kind) bool { return k != notify.KindReverted })
	if len(reverts) != 2 || testutil.ToFloat64(c.o.Metrics.reverts.WithLabelValues("isolate")) != maxReapplied+1 {
		t.Errorf("people were told %d times, want at the first and at the end", len(reverts))
	}
}

func TestOriginalsThatAreKeptAreNotOverwritten(t *testing.T) {
	one, two := int32(3), int32(0)
	kept := keepOriginals(nil, v1alpha1.Originals{Labels: map[string]string{"app": "web"}, Replicas: &one, Policies: map[string]string{"shop/a": "1"}})
	kept = keepOriginals(kept, v1alpha1.Originals{Labels: map[string]string{}, Replicas: &two, Policies: map[string]string{"shop/a": "2", "shop/b": "3"}, Annotations: map[string]string{"k": "v"}})
	if kept.Labels["app"] != "web" || *kept.Replicas != 3 || kept.Policies["shop/a"] != "1" || kept.Policies["shop/b"] != "3" || kept.Annotations["k"] != "v" {
		t.Errorf("got %+v, want what was kept first, and what is new", kept)
	}
}
