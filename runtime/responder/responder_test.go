package responder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/pods"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const patience = 20 * time.Second

// site is a responder with real policies and plans, and everything around it in the hands of a test.
type site struct {
	t        *testing.T
	source   chan Item
	ticks    chan time.Time // each one is the end of a wait
	notified []notify.Message
	recorded []*admission.Decision
	metrics  *Metrics
	resolver *fakeResolver
	proposer *fakeProposer
	stop     func()
	ended    chan error

	mu       sync.Mutex
	now      time.Time
	outcomes map[string]string // by the event's id: "done" or "again" and after what time
	changed  chan struct{}
}

func (s *site) Take(ctx context.Context) (Item, error) {
	select {
	case item, ok := <-s.source:
		if !ok {
			return Item{}, errors.New("the disk is gone")
		}
		return item, nil
	case <-ctx.Done():
		return Item{}, ctx.Err()
	}
}

func (s *site) Record(_ context.Context, decision *admission.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded = append(s.recorded, decision)
}

func (s *site) Notify(m notify.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notified = append(s.notified, m)
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// fakeResolver knows pods as its function does.
type fakeResolver struct {
	find     func(e *response.Event) error
	complete func(ctx context.Context, e *response.Event) error
}

func (f *fakeResolver) Find(e *response.Event) (pods.Found, error) {
	if f.find != nil {
		if err := f.find(e); err != nil {
			return pods.Found{}, err
		}
	}
	if !e.Host && e.Pod == nil {
		uid := e.Text("k8s.pod.uid")
		e.Pod = &response.Pod{Namespace: "shop", Name: "pod-" + uid, UID: uid, Node: "node-a"}
	}
	return pods.Found{}, nil
}

func (f *fakeResolver) Complete(ctx context.Context, e *response.Event, _ pods.Found) (pods.Resolution, error) {
	if f.complete != nil {
		if err := f.complete(ctx, e); err != nil {
			return pods.Resolution{}, err
		}
	}
	if e.Host {
		return pods.Resolution{}, nil
	}
	raw := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":%q,"uid":%q},"spec":{"containers":[{"name":"app","image":"ghcr.io/acme/app:1"}]}}`, e.Pod.Name, e.Pod.UID)
	return pods.Resolution{Object: []byte(raw), Images: []string{"sha256:" + strings.Repeat("a", 64)}}, nil
}

// fakeProposer keeps what is proposed.
type fakeProposer struct {
	mu       sync.Mutex
	plans    []*response.Plan
	with     []quarantine.Proposal
	before   func(plan *response.Plan) // may wait
	failures []error                   // of the next calls
}

func (f *fakeProposer) Propose(_ context.Context, plan *response.Plan, p quarantine.Proposal) (string, bool, error) {
	if f.before != nil {
		f.before(plan)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) > 0 {
		err := f.failures[0]
		f.failures = f.failures[1:]
		if err != nil {
			return "", false, err
		}
	}
	f.plans, f.with = append(f.plans, plan), append(f.with, p)
	return plan.Name, true, nil
}

// proposed are the plans, as "pod: actions".
func (f *fakeProposer) proposed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, plan := range f.plans {
		all = append(all, plan.Event.Pod.Name+": "+strings.Join(actionsOf(plan), " "))
	}
	return all
}

const bundle = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: acme
serial: 7
response: {mode: enforce}
policies:
- policy: runtime/shell
- policy: runtime/node
`

func policy(name, match, rules string) string {
	return `# METADATA
# title: ` + name + `
# description: ` + name + `
# custom:
#   severity: high
#   match: {events: ` + match + `}
#   remediation: Look.
package portcullis.runtime.` + name + "\n\n" + rules + "\n"
}

// start runs a responder. Its bundle has an exception, "" for none.
func start(t *testing.T, exception string, change ...func(*site, *Options)) *site {
	t.Helper()
	files := fstest.MapFS{
		"bundle.yaml": {Data: []byte(bundle)},
		"shell/policy.rego": {Data: []byte(policy("shell", `{rules: ["*shell*", "*secret*"]}`, `respond contains {"action": action, "msg": msg} if {
	some action in ["isolate", "notify"]
	input.event.fields["proc.name"] == "sh"
	msg := sprintf("a shell in %s: %v", [input.event.pod.name, input.event.fields["proc.pid"]])
}`))},
		"node/policy.rego": {Data: []byte(policy("node", `{rules: ["*node*"]}`, `respond contains {"action": "notify", "msg": "look at the node"} if input.event.host`))},
	}
	if exception != "" {
		files["exceptions/known.yaml"] = &fstest.MapFile{Data: []byte(exception)}
	}
	loaded, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		t: t, source: make(chan Item), ticks: make(chan time.Time), metrics: NewMetrics(), resolver: &fakeResolver{}, proposer: &fakeProposer{},
		now: noon, outcomes: map[string]string{}, changed: make(chan struct{}, 1), ended: make(chan error, 1),
	}
	options := Options{
		Source: s, Resolver: s.resolver, Proposer: s.proposer, Recorder: s, Notifier: s, Namespace: "portcullis-system", Metrics: s.metrics,
		Now: s.clock, After: func(time.Duration) <-chan time.Time { return s.ticks },
	}
	options.Reviewer = admission.NewReviewer(engine, facts{}, s.clock)
	for _, change := range change {
		change(s, &options)
	}
	responder, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() { s.ended <- responder.Run(ctx) }()
	t.Cleanup(cancel)
	return s
}

// facts knows the namespace.
type facts struct{}

func (facts) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace}}
}

// send hands the responder an event about a pod.
func (s *site) send(id, uid, rule, process string, change ...func(*response.Event)) {
	s.t.Helper()
	e := &response.Event{ID: id, Source: "syscall", Rule: rule, Priority: response.Warning, Time: s.clock(), Fields: map[string]any{"k8s.pod.uid": uid, "proc.name": process, "proc.pid": id}}
	for _, change := range change {
		change(e)
	}
	became := func(what string) {
		s.mu.Lock()
		s.outcomes[id] = what
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	select {
	case s.source <- Item{Event: e, Received: s.clock(), Done: func() { became("done") }, Again: func(d time.Duration) { became("again " + d.String()) }}:
	case <-time.After(patience):
		s.t.Fatalf("event %s is not taken", id)
	}
}

// became waits until it is known what becomes of an event.
func (s *site) became(id, want string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		got := s.outcomes[id]
		s.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-s.changed:
		case <-time.After(10 * time.Millisecond): // another wait may have had the word
		case <-deadline:
			s.t.Fatalf("event %s became %q, want %q", id, got, want)
		}
	}
}

// tick ends the wait before pods that are not known are looked for again.
func (s *site) tick() {
	s.t.Helper()
	select {
	case s.ticks <- s.clock():
	case <-time.After(patience):
		s.t.Fatal("nobody waits")
	}
}

func (s *site) wantProposed(want ...string) {
	s.t.Helper()
	if got := s.proposer.proposed(); !slices.Equal(got, want) {
		s.t.Errorf("got the plans %q, want %q", got, want)
	}
}

// wantRecorded are decisions as "outcome reason", of which the reason has to hold what is given.
func (s *site) wantRecorded(want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recorded) != len(want) {
		s.t.Fatalf("%d decisions are recorded, want %d", len(s.recorded), len(want))
	}
	for n, decision := range s.recorded {
		outcome, reason, _ := strings.Cut(want[n], " ")
		if decision.Outcome != outcome || !strings.Contains(decision.Reason, reason) {
			s.t.Errorf("decision %d is %q, %q, want %q", n, decision.Outcome, decision.Reason, want[n])
		}
	}
}

func TestWhatPoliciesAskForIsProposed(t *testing.T) {
	s := start(t, "")
	s.send("1", "a", "Terminal shell", "sh")
	s.became("1", "done")
	s.wantProposed("pod-a: snapshot isolate notify")
	s.wantRecorded("responded")
	plan, with := s.proposer.plans[0], s.proposer.with[0]
	if plan.Mode != response.ModeEnforce || plan.Name != response.QuarantineName("a") || plan.Event.ID != "1" {
		t.Errorf("the plan is %+v, want one that acts on pod a", plan)
	}
	if with.Settings[""].Mode != response.ModeEnforce || !strings.HasPrefix(with.Revisions[""], "acme@7") || len(with.Images) != 1 || !with.Received.Equal(noon) || with.Count != 1 {
		t.Errorf("it is proposed with %+v, want the bundle's settings and revision, the image, and when it came", with)
	}
}

func TestNothingIsProposedThatNobodyAsksFor(t *testing.T) {
	s := start(t, "")
	s.resolver.complete = func(_ context.Context, e *response.Event) error {
		if e.Rule == "Something else" {
			t.Error("the API server was asked about an event that no policy is about")
		}
		return nil
	}
	s.send("1", "a", "Something else", "sh") // no policy is about it
	s.send("2", "a", "Terminal shell", "ls")
	s.became("1", "done")
	s.became("2", "done")
	s.wantProposed()
	s.wantRecorded("ignored")
}

func TestAnExceptionWaivesAResponse(t *testing.T) {
	s := start(t, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: known\npolicy: runtime/shell\nselector: {namespaces: [shop]}\nreason: It is being debugged.\nowner: shop\nexpires: 2026-12-01\n")
	s.send("1", "a", "Terminal shell", "sh")
	s.became("1", "done")
	s.wantProposed()
	s.wantRecorded("ignored")
	if got := s.recorded[0].Verdict.Responses; len(got) != 2 || got[0].ExceptedBy != "known" {
		t.Errorf("the record has the responses %+v, want them with the exception", got)
	}
}

func TestADryRunOnlyRecords(t *testing.T) {
	s := start(t, "", func(_ *site, o *Options) { o.DryRun = true })
	s.send("1", "a", "Terminal shell", "sh")
	s.became("1", "done")
	s.wantProposed("pod-a: snapshot isolate notify")
	if got := s.proposer.plans[0].Mode; got != response.ModeAudit {
		t.Errorf("the plan is to %s, want audit", got)
	}
	if got := s.proposer.with[0].Settings[""].Mode; got != response.ModeAudit {
		t.Errorf("the settings say %s, want audit", got)
	}
}

// TestTheSameIsNotWrittenForEachEvent: a pod that mines reports all the time. What else is asked for is written at once.
func TestTheSameIsNotWrittenForEachEvent(t *testing.T) {
	s := start(t, "")
	for n := range 50 {
		s.send(fmt.Sprint(n), "a", "Terminal shell", "sh")
		s.became(fmt.Sprint(n), "done")
	}
	s.wantProposed("pod-a: snapshot isolate notify")
	s.send("other", "b", "Terminal shell", "sh")
	s.became("other", "done")
	s.pass(repeatAfter)
	s.send("later", "a", "Terminal shell", "sh")
	s.became("later", "done")
	s.wantProposed("pod-a: snapshot isolate notify", "pod-b: snapshot isolate notify", "pod-a: snapshot isolate notify")
	if got := s.proposer.with[2].Count; got != 50 {
		t.Errorf("the last one counts %d events, want the 50 since the first", got)
	}
	s.wantRecorded("responded", "responded", "responded")
}

func TestAPodThatIsNotKnownYetIsLookedForAgain(t *testing.T) {
	looks := 0
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.find = func(e *response.Event) error {
			if looks++; looks < 3 {
				return fmt.Errorf("%w: there is no pod with the UID %s", pods.ErrUnresolved, e.Text("k8s.pod.uid"))
			}
			return nil
		}
	})
	s.send("1", "a", "Terminal shell", "sh")
	s.tick()
	s.pass(time.Second)
	s.tick()
	s.became("1", "done")
	s.wantProposed("pod-a: snapshot isolate notify")
	s.wantRecorded("responded")
}

func TestAPodThatStaysUnknownIsReportedAndNeverActedOn(t *testing.T) {
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.find = func(*response.Event) error { return fmt.Errorf("%w: no such pod", pods.ErrUnresolved) }
	})
	s.send("1", "a", "Terminal shell", "sh", func(e *response.Event) { e.Output = "sh -c curl -u admin:hunter2 x" })
	for range 20 {
		s.pass(DefaultRetryFor / 21)
		s.tick()
	}
	s.mu.Lock()
	early := s.outcomes["1"]
	s.mu.Unlock()
	if early != "" {
		t.Errorf("before the time is over the event became %q", early)
	}
	s.pass(DefaultRetryFor)
	select {
	case s.ticks <- s.clock():
	case <-s.changed: // the last look saw the time pass
	}
	s.became("1", "done")
	s.wantProposed()
	s.wantRecorded("rejected no such pod")
	if len(s.notified) != 1 || s.notified[0].Details().Kind != notify.KindUnresolved || strings.Contains(fmt.Sprint(s.notified[0].Details()), "hunter2") {
		t.Errorf("people were told %+v, want once that it was not found, and no password", s.notified)
	}
}

// TestASenderOfAnotherNodeIsRefused, whatever its event says.
func TestASenderOfAnotherNodeIsRefused(t *testing.T) {
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.find = func(*response.Event) error { return fmt.Errorf("%w: node-b reports of node-a", pods.ErrWrongNode) }
	})
	s.send("1", "a", "Terminal shell", "sh")
	s.became("1", "done")
	s.wantProposed()
	s.wantRecorded("rejected node-b reports of node-a")
}

// TestRefusedEventsCannotWashOutTheJournal, or tire those who are told.
func TestRefusedEventsCannotWashOutTheJournal(t *testing.T) {
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.find = func(*response.Event) error { return fmt.Errorf("%w: forged", pods.ErrWrongNode) }
	})
	for n := range 500 {
		s.send(fmt.Sprint(n), "a", "Terminal shell", "sh")
		s.became(fmt.Sprint(n), "done")
	}
	if len(s.recorded) != 10 || len(s.notified) != 3 {
		t.Errorf("%d were recorded and %d told within a second, want 10 and 3", len(s.recorded), len(s.notified))
	}
	s.pass(time.Minute)
	s.send("later", "a", "Terminal shell", "sh")
	s.became("later", "done")
	if got := s.notified[len(s.notified)-1].Details().Reason; !strings.Contains(got, "497 more were refused") {
		t.Errorf("then people are told %q, want how many there were", got)
	}
}

func TestAnEventOfTheNodeItselfIsToldAndNotQuarantined(t *testing.T) {
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.find = func(e *response.Event) error { e.Host = true; return nil }
	})
	s.send("1", "", "Shell on node", "sh", func(e *response.Event) { e.Hostname = "node-a"; e.Rule = "Write on node" })
	s.became("1", "done")
	s.wantProposed()
	s.wantRecorded("responded")
	if len(s.notified) != 1 || !strings.Contains(s.notified[0].Details().Reason, "node-a") || !strings.Contains(s.notified[0].Details().Reason, "look at the node") {
		t.Errorf("people were told %+v, want of the node", s.notified)
	}
}

func TestAnEventThatNamesNoPodIsDoneWith(t *testing.T) {
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.find = func(*response.Event) error { return pods.ErrNoPod }
	})
	s.send("1", "", "Terminal shell", "sh")
	s.became("1", "done")
	s.wantProposed()
}

// TestWhatTheAPIServerDoesNotTakeComesAgain, the later the longer it fails; what it never will is reported.
func TestWhatTheAPIServerDoesNotTakeComesAgain(t *testing.T) {
	down := errors.New("connection refused")
	s := start(t, "")
	s.proposer.failures = []error{down, down, down, nil, down, apierrors.NewInvalid(schema.GroupKind{Kind: "Quarantine"}, "q", nil)}
	for n, want := range []string{"again 500ms", "again 1s", "again 2s", "done", "again 500ms", "done"} {
		uid := "a"
		if n >= 4 {
			uid = "b"
		}
		s.send(fmt.Sprint(n), uid, "Terminal shell", "sh")
		s.became(fmt.Sprint(n), want)
	}
	s.wantProposed("pod-a: snapshot isolate notify")
	s.wantRecorded("responded", "rejected invalid")
}

func TestAPodThatCannotBeReadComesAgain(t *testing.T) {
	s := start(t, "", func(s *site, _ *Options) {
		s.resolver.complete = func(context.Context, *response.Event) error { return errors.New("etcd is slow") }
	})
	s.send("1", "a", "Terminal shell", "sh")
	s.became("1", "again 500ms")
	s.wantProposed()
	s.wantRecorded()
}

// asks is a reviewer that says what a test says.
type asks struct {
	respond func(admission.Request) admission.Verdict
}

func (a asks) Matches(*admission.Request) bool { return true }

func (a asks) Respond(_ context.Context, r admission.Request) admission.Verdict { return a.respond(r) }

func TestAPolicyThatCouldNotKnowSomethingIsAskedAgainForAWhile(t *testing.T) {
	s := start(t, "", func(_ *site, o *Options) {
		o.Reviewer = asks{func(admission.Request) admission.Verdict {
			return admission.Verdict{Faults: []policies.Fault{{Policy: "runtime/x", Kind: policies.FaultFacts, Message: "networkpolicies have not been listed yet"}}}
		}}
	})
	s.send("1", "a", "Terminal shell", "sh")
	s.became("1", "again 500ms")
	s.wantRecorded()
	received := s.clock()
	s.pass(faultFor)
	s.source <- Item{Event: &response.Event{ID: "2"}, Received: received, Done: func() { s.mu.Lock(); s.outcomes["2"] = "done"; s.mu.Unlock(); s.changed <- struct{}{} }}
	s.became("2", "done")
	s.wantProposed()
	s.wantRecorded("fault")
}

func TestAPanicCostsOneEvent(t *testing.T) {
	s := start(t, "", func(_ *site, o *Options) {
		real := o.Reviewer
		o.Reviewer = asks{func(r admission.Request) admission.Verdict {
			if r.Event.ID == "1" {
				panic("a judge has lost his mind")
			}
			return real.Respond(t.Context(), r)
		}}
	})
	s.send("1", "a", "Terminal shell", "sh")
	s.send("2", "a", "Terminal shell", "sh")
	s.became("1", "done")
	s.became("2", "done")
	s.wantProposed("pod-a: snapshot isolate notify")
}

// TestEventsOfOnePodKeepTheirOrder while those of others do not wait for them.
func TestEventsOfOnePodKeepTheirOrder(t *testing.T) {
	held := make(chan struct{})
	s := start(t, "", func(s *site, o *Options) {
		var mu sync.Mutex
		next := map[string]int{}
		o.Reviewer = asks{func(r admission.Request) admission.Verdict {
			if r.Event.Pod.UID == "held" {
				<-held
			}
			mu.Lock()
			defer mu.Unlock()
			if got := r.Event.ID; got != fmt.Sprintf("%s-%d", r.Event.Pod.UID, next[r.Event.Pod.UID]) {
				t.Errorf("pod %s: event %s comes when %d is next", r.Event.Pod.UID, got, next[r.Event.Pod.UID])
			}
			next[r.Event.Pod.UID]++
			return admission.Verdict{}
		}}
	})
	for n := range 100 {
		for _, uid := range []string{"held", "a", "b"} {
			s.send(fmt.Sprintf("%s-%d", uid, n), uid, "Terminal shell", "sh")
		}
	}
	s.became("a-99", "done")
	s.became("b-99", "done")
	s.mu.Lock()
	early := s.outcomes["held-0"]
	s.mu.Unlock()
	if early != "" {
		t.Errorf("the pod that is held has an event that became %q", early)
	}
	close(held)
	s.became("held-99", "done")
}

// TestAPodThatReportsWithoutEndKeepsNoOtherWaiting holds the responder to leaving places for others: whoever is in a pod can have it report as fast as
// they like.
func TestAPodThatReportsWithoutEndKeepsNoOtherWaiting(t *testing.T) {
	held := make(chan struct{})
	s := start(t, "", func(_ *site, o *Options) {
		o.Places = 64
		o.Reviewer = asks{func(r admission.Request) admission.Verdict {
			if r.Event.Pod.UID != "quiet" {
				<-held
			}
			return admission.Verdict{}
		}}
	})
	for _, uid := range []string{"loud", "louder", "loudest"} {
		for n := range 100 {
			s.send(fmt.Sprintf("%s-%d", uid, n), uid, "Terminal shell", "sh")
		}
	}
	s.send("quiet-0", "quiet", "Terminal shell", "sh")
	s.became("quiet-0", "done")
	s.became("loud-99", "again "+crowdedFor.String())
	close(held)
	s.became("loud-0", "done")
}

// TestWhatIsUnderWayAtTheEndIsFinished, and what waits stays with the source.
func TestWhatIsUnderWayAtTheEndIsFinished(t *testing.T) {
	begun, held := make(chan struct{}), make(chan struct{})
	s := start(t, "", func(s *site, _ *Options) {
		s.proposer.before = func(*response.Plan) { close(begun); <-held }
	})
	s.send("1", "a", "Terminal shell", "sh")
	<-begun
	s.send("2", "a", "Terminal shell", "sh")
	s.stop()
	close(held)
	if err := <-s.ended; err != nil {
		t.Errorf("it ended with %v, want no error", err)
	}
	if s.outcomes["1"] != "done" || s.outcomes["2"] != "" {
		t.Errorf("the events became %v, want the first done and the second neither", s.outcomes)
	}
	s.wantProposed("pod-a: snapshot isolate notify")
}

func TestASourceThatFailsEndsIt(t *testing.T) {
	s := start(t, "")
	close(s.source)
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v, want the source's error", err)
	}
}

func TestAResponderNeedsWhatItWorksWith(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("it is made of nothing, want an error")
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	now := noon
	m := newMemory(func() time.Time { return now })
	for n := range 3 * maxProposed {
		m.note(fingerprint(fmt.Sprint(n), nil))
	}
	if len(m.proposed) > maxProposed {
		t.Errorf("%d plans are remembered, want at most %d", len(m.proposed), maxProposed)
	}
	one := []response.Ask{{Policy: "a", Action: response.Isolate, Message: "pid 1"}, {Policy: "a", Action: response.Notify}}
	two := []response.Ask{{Policy: "a", Action: response.Notify}, {Policy: "a", Action: response.Isolate, Message: "pid 2"}}
	if fingerprint("x", one) != fingerprint("x", two) {
		t.Error("the same asks in another order, with another message, are another plan")
	}
	two[1].Parameters.TTL = "1h"
	if fingerprint("x", one) == fingerprint("x", two) || fingerprint("x", one) == fingerprint("y", one) {
		t.Error("other parameters, or another pod, are the same plan")
	}
}
