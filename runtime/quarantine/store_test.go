package quarantine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

func TestReplicasThatProposeAtOnceMakeOneQuarantine(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", nil)
	const replicas = 8
	var made sync.Map
	var proposing sync.WaitGroup
	for n := range replicas {
		proposing.Go(func() {
			p := plan(pod, response.Snapshot, response.Isolate)
			p.Event.ID = fmt.Sprintf("sha256:%064d", n+10)
			name, created, err := b.store.Propose(b.t.Context(), p, Proposal{Settings: map[string]response.Settings{"library": wide}})
			if err != nil {
				t.Error(err)
			}
			if created {
				made.Store(n, name)
			}
		})
	}
	proposing.Wait()
	created := 0
	made.Range(func(any, any) bool { created++; return true })
	all, err := b.store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if created != 1 || len(all) != 1 || all[0].Spec.Triggers[0].Count != replicas {
		t.Errorf("%d replicas say that they made it, there are %d, and its first trigger counts %d: want 1, 1 and %d", created, len(all), all[0].Spec.Triggers[0].Count, replicas)
	}
}

func TestAQuarantineSaysNothingThatLooksLikeACredential(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	if got := b.get(name).Spec.Triggers[0].Output; strings.Contains(got, "hunter2") || !strings.Contains(got, "bash -i") {
		t.Errorf("the output is %q, want the command without its password", got)
	}
}

// TestAnAnnotationSaysNothingThatLooksLikeACredential, since everybody who sees the pod reads what a policy has annotated it with.
func TestAnAnnotationSaysNothingThatLooksLikeACredential(t *testing.T) {
	p := plan(response.Pod{Namespace: "shop", Name: "web", UID: "u1"}, response.Annotate)
	asked := map[string]string{"acme.example/command": "mysql --password=hunter2 -h db"}
	parameters(p, response.Annotate, func(a *response.Planned) { a.Parameters.Annotations = asked })
	got := fromPlan(p, Proposal{}).Spec.Actions[0].Parameters.Annotations["acme.example/command"]
	if strings.Contains(got, "hunter2") || !strings.Contains(got, "-h db") {
		t.Errorf("the annotation is %q, want the command without its password", got)
	}
	if !strings.Contains(asked["acme.example/command"], "hunter2") {
		t.Errorf("what was asked for has become %q, want it left alone", asked)
	}
}

func TestWhatIsAskedForAgainAddsToAQuarantine(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", nil)
	name := b.propose(plan(pod, response.Snapshot, response.Isolate), wide)
	again := plan(pod, response.Isolate, response.Condemn, response.Delete)
	again.Event.ID = "sha256:" + strings.Repeat("9", 64)
	for n := range again.Actions {
		again.Actions[n].Policy = "runtime/miner"
	}
	if got := b.propose(again, wide); got != name {
		t.Fatalf("it is written into %s, want %s", got, name)
	}
	q := b.get(name)
	var actions, policies []string
	for _, a := range q.Spec.Actions {
		actions = append(actions, string(a.Action))
	}
	for _, trigger := range q.Spec.Triggers {
		policies = append(policies, trigger.Policy)
	}
	if got, want := strings.Join(actions, " "), "snapshot isolate condemn delete"; got != want {
		t.Errorf("the actions are %q, want %q", got, want)
	}
	if got, want := strings.Join(policies, " "), "runtime/reverse-shell runtime/miner"; got != want {
		t.Errorf("the triggers are of %q, want %q", got, want)
	}
	before := q.ResourceVersion
	b.propose(again, wide)
	if got := b.get(name).ResourceVersion; got != before {
		t.Error("the same event, sent again, was written again")
	}
}

func TestAModeThatGoesFurtherCounts(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", nil)
	mild := plan(pod, response.Isolate)
	mild.Mode, mild.Actions[0].Mode = response.ModeApprove, response.ModeApprove
	name := b.propose(mild, wide)
	b.propose(plan(pod, response.Isolate), wide)
	if q := b.get(name); q.Spec.Mode != response.ModeEnforce || q.Spec.Actions[0].Mode != response.ModeEnforce {
		t.Errorf("the modes are %s and %s, want enforce", q.Spec.Mode, q.Spec.Actions[0].Mode)
	}
	b.propose(mild, wide)
	if q := b.get(name); q.Spec.Mode != response.ModeEnforce || q.Spec.Actions[0].Mode != response.ModeEnforce {
		t.Errorf("a milder plan has made the modes %s and %s, want enforce", q.Spec.Mode, q.Spec.Actions[0].Mode)
	}
}

// Whoever may create Quarantines could otherwise take the names of pods that they want to be left alone.
func TestAQuarantineOfAnotherPodUnderTheNameIsAnError(t *testing.T) {
	b := newBench(t)
	pod := b.pod("shop", "web", nil)
	squatter := fromPlan(plan(response.Pod{Namespace: "shop", Name: "decoy", UID: "u-1"}, response.Isolate), Proposal{})
	squatter.Name = response.QuarantineName(pod.UID)
	if err := b.store.objects.create(t.Context(), squatter); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.store.Propose(t.Context(), plan(pod, response.Isolate), Proposal{})
	if err == nil || !strings.Contains(err.Error(), "about another pod") {
		t.Errorf("got %v, want an error that says whom it is about", err)
	}
}

func TestAPlanWithoutAPodIsNoQuarantine(t *testing.T) {
	host := plan(response.Pod{UID: "u-1"}, response.Notify)
	host.Event.Pod = nil
	if _, _, err := (&Store{now: time.Now}).Propose(t.Context(), host, Proposal{}); !errors.Is(err, ErrNoPod) {
		t.Errorf("got %v, want %v", err, ErrNoPod)
	}
}

// What the API server must refuse, whoever asks.
func TestWhatCannotBeChanged(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	said := &v1alpha1.Statement{By: "ann", Reason: "false alarm", Time: metav1.Now()}
	for name, test := range map[string]struct {
		change func(*v1alpha1.Quarantine)
		says   string // "" where it is allowed
	}{
		"the pod":                {func(q *v1alpha1.Quarantine) { q.Spec.Pod.UID = "other" }, "spec.pod cannot change"},
		"the owner":              {func(q *v1alpha1.Quarantine) { q.Spec.Owner = nil }, "spec.owner cannot change"},
		"a trigger taken out":    {func(q *v1alpha1.Quarantine) { q.Spec.Triggers[0].Policy = "other" }, "may only grow"},
		"a count":                {func(q *v1alpha1.Quarantine) { q.Spec.Triggers[0].Count = 7 }, ""},
		"an action taken out":    {func(q *v1alpha1.Quarantine) { q.Spec.Actions = q.Spec.Actions[1:] }, "may only grow"},
		"an action that is none": {func(q *v1alpha1.Quarantine) { q.Spec.Actions[0].Action = "explode" }, "Unsupported value"},
		"the release":            {func(q *v1alpha1.Quarantine) { q.Spec.Release = nil }, "cannot be taken back"},
		"the release's reason":   {func(q *v1alpha1.Quarantine) { q.Spec.Release.Reason = "other" }, "cannot be taken back"},
		"the approval":           {func(q *v1alpha1.Quarantine) { q.Spec.Approval = nil }, "cannot be taken back"},
		"the release, anew":      {func(q *v1alpha1.Quarantine) { q.Spec.Release, q.Spec.Approval = nil, nil; q.Spec.Reopened++ }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := b.pod("shop", strings.ReplaceAll(strings.NewReplacer(",", "", "'", "").Replace(name), " ", "-"), nil)
			q := fromPlan(plan(pod, response.Snapshot, response.Isolate), Proposal{})
			q.Spec.Release, q.Spec.Approval = said, said
			if err := b.store.objects.create(ctx, q); err != nil {
				t.Fatal(err)
			}
			q = b.get(q.Name)
			release, approval := *q.Spec.Release, *q.Spec.Approval
			q.Spec.Release, q.Spec.Approval = &release, &approval
			test.change(q)
			err := b.store.objects.update(ctx, q)
			if (err == nil) != (test.says == "") || err != nil && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
	t.Run("a name that is none", func(t *testing.T) {
		q := fromPlan(plan(b.pod("shop", "unnamed", nil), response.Isolate), Proposal{})
		q.Name = "anything"
		if err := b.store.objects.create(ctx, q); !apierrors.IsInvalid(err) {
			t.Errorf("got %v, want it refused", err)
		}
	})
}

func TestAStatementNeedsAReasonAndSomebody(t *testing.T) {
	b := newBench(t)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Isolate), wide)
	for _, said := range []v1alpha1.Statement{{By: "ann"}, {Reason: "false alarm"}, {By: "ann", Reason: "  "}} {
		if err := b.store.Release(t.Context(), name, said); err == nil {
			t.Errorf("%+v was taken, want an error", said)
		}
	}
	if err := b.store.Approve(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "go on"}); !errors.Is(err, ErrNothingWaits) {
		t.Errorf("approving what waits for nobody: got %v, want %v", err, ErrNothingWaits)
	}
	if err := b.store.Release(t.Context(), "q-"+strings.Repeat("0", 20), v1alpha1.Statement{By: "ann", Reason: "false alarm"}); !apierrors.IsNotFound(err) {
		t.Errorf("releasing what is not there: got %v, want not found", err)
	}
	first := v1alpha1.Statement{By: "ann", Reason: "false alarm"}
	for _, said := range []v1alpha1.Statement{first, {By: "bob", Reason: "me, too"}} {
		if err := b.store.Release(t.Context(), name, said); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.get(name).Spec.Release; got.By != first.By || got.Reason != first.Reason || got.Time.IsZero() {
		t.Errorf("the release is %+v, want the first statement with its time", got)
	}
}

func TestSettingsOfSeveralBundlesAddUpToTheStrictest(t *testing.T) {
	p := plan(response.Pod{UID: "u-1"}, response.Isolate, response.Delete)
	p.Actions[1].Bundle = "acme"
	got := strictest(p, map[string]response.Settings{
		"library": {Mode: response.ModeEnforce, Limits: response.Limits{Cluster: 20, Window: "5m"}, Cooldown: "10s", DetachKinds: []string{"a/B", "c/D"}, DetachDaemonSets: true},
		"acme":    {Mode: response.ModeApprove, Limits: response.Limits{Owner: 1}, DetachKinds: []string{"c/D"}},
		"other":   {Limits: response.Limits{Cluster: 1}},
	})
	if got.Mode != response.ModeApprove || got.Limits.Cluster != 10 || got.Limits.Owner != 1 || got.Limits.Window != "10m" || got.Cooldown != "1m" || got.DetachDaemonSets || len(got.DetachKinds) != 1 {
		t.Errorf("got %+v, want the lower limits (the default of 10 in the cluster among them), the longer times, and what both let be detached", got)
	}
}
