package rollout

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// revision is the one with a serial and, from its letter, a digest.
func revision(letter string, serial int64) *v1alpha1.RevisionStatus {
	return &v1alpha1.RevisionStatus{Digest: "sha256:" + strings.Repeat(letter, 64), Name: "prod", Serial: serial, Origin: "test/" + letter}
}

// bench is a bundle at a time, and what can be seen of it.
type bench struct {
	t      *testing.T
	bundle *v1alpha1.PolicyBundle
	seen   Observation
	now    time.Time
	tally  Tally
	// loads says whether the replicas load what they are to load.
	loads bool
	// age is how long ago they have reported.
	age time.Duration
	// gone says that the signer of the previous revision is not trusted any more.
	gone bool
	// denials are what they newly deny, in all.
	denials int64
	// compared and shed are what each replica compares and sheds.
	compared, shed int64
	names          int
}

func newBench(t *testing.T, r v1alpha1.Rollout) *bench {
	t.Helper()
	b := &bench{t: t, bundle: &v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, now: start, loads: true, compared: 100, names: 2}
	b.bundle.Spec.Rollout = r
	return b
}

// replicas report what they would by now.
func (b *bench) replicas() []v1alpha1.PolicyReplica {
	var all []v1alpha1.PolicyReplica
	for i := range b.names {
		loaded := v1alpha1.ReplicaBundle{Name: "prod", Active: digestOf(b.bundle.Status.Active), Candidate: digestOf(b.bundle.Status.Candidate)}
		if !b.loads {
			loaded.Candidate = ""
		}
		if loaded.Candidate != "" {
			loaded.Comparison = &v1alpha1.Comparison{Candidate: loaded.Candidate, Compared: b.compared, Shed: b.shed}
			if i == 0 {
				loaded.Comparison.NewDenials = b.denials
				loaded.Comparison.Policies = []v1alpha1.PolicyComparison{{Policy: "pods/privileged", NewDenials: b.denials}}
			}
		}
		r := v1alpha1.PolicyReplica{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("replica-", i)}}
		r.Status = v1alpha1.PolicyReplicaStatus{Heartbeat: metav1.NewTime(b.now.Add(-b.age)), Bundles: []v1alpha1.ReplicaBundle{loaded}}
		all = append(all, r)
	}
	return all
}

// look makes one step with what the replicas report, and gives the steps.
func (b *bench) look() []string {
	b.t.Helper()
	b.seen.Replicas = b.replicas()
	b.seen.Returning = nil
	if !b.gone {
		b.seen.Returning = b.bundle.Status.Previous
	}
	b.seen.Comparison = b.tally.Add("prod", digestOf(b.bundle.Status.Candidate), b.seen.Replicas)
	status, transitions := Next(b.bundle, b.seen, b.now)
	b.bundle.Status = status
	var steps []string
	for _, t := range transitions {
		steps = append(steps, fmt.Sprintf("%s %s>%s", t.Step, letter(t.From), letter(t.To)))
	}
	return steps
}

func letter(digest string) string {
	if digest == "" {
		return "-"
	}
	return digest[len(digest)-1:]
}

// offer has the source change.
func (b *bench) offer(letter string, serial int64) []string {
	b.t.Helper()
	b.seen.Offered = revision(letter, serial)
	return b.look()
}

func (b *bench) pass(d time.Duration) []string {
	b.t.Helper()
	b.now = b.now.Add(d)
	return b.look()
}

// is compares steps and state: "a+b Shadow" is a active and b on trial.
func (b *bench) is(what string, got []string, state string, steps ...string) {
	b.t.Helper()
	if !slices.Equal(got, steps) {
		b.t.Errorf("%s: got the steps %q, want %q", what, got, steps)
	}
	s := b.bundle.Status
	now := fmt.Sprintf("%s+%s %s", letter(digestOf(s.Active)), letter(digestOf(s.Candidate)), s.Phase)
	if now != state {
		b.t.Errorf("%s: the bundle is at %q, want %q", what, now, state)
	}
	if again := b.look(); len(again) > 0 {
		b.t.Errorf("%s: another look at the same time makes the steps %q, want none", what, again)
	}
}

func (b *bench) rejected(want string) {
	b.t.Helper()
	if len(b.bundle.Status.Rejected) == 0 || !strings.Contains(b.bundle.Status.Rejected[0].Reason, want) {
		b.t.Errorf("rejected are %+v, want %q first", b.bundle.Status.Rejected, want)
	}
}

func TestImmediateReplacesAtOnce(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{})
	b.is("nothing is there", b.look(), "-+- ")
	b.is("the first revision", b.offer("a", 1), "a+- Active", "activated ->a")
	b.is("the next one", b.offer("b", 2), "b+- Active", "activated a>b")
	if got := letter(digestOf(b.bundle.Status.Previous)); got != "a" {
		t.Errorf("the previous revision is %s, want a", got)
	}
}

func TestTheFirstRevisionIsActiveAtOnceWhateverTheStrategy(t *testing.T) {
	for _, strategy := range []v1alpha1.Strategy{v1alpha1.StrategyShadow, v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen} {
		b := newBench(t, v1alpha1.Rollout{Strategy: strategy})
		b.is(string(strategy), b.offer("a", 7), "a+- Active", "activated ->a")
	}
}

func TestAShadowIsPromotedAfterItsTimeIfFewEnoughAreNewlyDenied(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyShadow, Duration: metav1.Duration{Duration: time.Hour}, MaxNewDenials: 2})
	b.offer("a", 1)
	b.is("a new one", b.offer("b", 2), "a+b Shadow", "shadowing a>b")
	b.denials = 2
	b.is("almost an hour", b.pass(59*time.Minute), "a+b Shadow")
	b.is("an hour", b.pass(time.Minute), "b+- Active", "promoted a>b")

	b.offer("c", 3)
	b.denials = 3
	b.is("too many new denials", b.pass(3*time.Hour), "b+c Shadow")
	if got := b.bundle.Status.Comparison; got.NewDenials != 3 || got.Compared != 200 || got.Policies[0].Policy != "pods/privileged" {
		t.Errorf("the comparison is %+v, want 3 new denials of 200, by pods/privileged", got)
	}
	b.bundle.Spec.Rollout.Promote = revision("c", 3).Digest
	b.is("somebody promotes it", b.look(), "c+- Active", "promoted b>c")
}

// Who floods the webhooks has what a candidate denies go uncounted.
func TestATrialOfWhichNextToNothingWasComparedDoesNotPass(t *testing.T) {
	for name, test := range map[string]struct {
		compared, shed int64
		passes         bool
	}{
		"nothing happened":              {0, 0, true},
		"all was compared":              {1000, 0, true},
		"all was shed":                  {0, 1, false},
		"one in eight was compared":     {100, 700, true},
		"one in a hundred was compared": {100, 9900, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Percent: 10, Duration: metav1.Duration{Duration: time.Hour}})
			b.offer("a", 1)
			b.compared, b.shed = test.compared, test.shed
			b.offer("b", 2)
			want, steps := "a+b Canary", []string(nil)
			if test.passes {
				want, steps = "b+- Active", []string{"promoted a>b"}
			}
			b.is("after its time", b.pass(time.Hour), want, steps...)
		})
	}
}

func TestATrialWithoutDurationWaitsForSomebody(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary})
	b.offer("a", 1)
	b.offer("b", 2)
	b.is("a year", b.pass(365*24*time.Hour), "a+b Canary")
}

func TestACanaryIsRolledBackByItselfAndNotTriedAgain(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Percent: 10, Duration: metav1.Duration{Duration: time.Hour}, MaxNewDenials: 2})
	b.offer("a", 1)
	b.is("a new one", b.offer("b", 2), "a+b Canary", "canary a>b")
	b.denials = 3
	b.is("one denial too many", b.pass(time.Minute), "a+- RolledBack", "rolled back b>a")
	b.rejected("rolled back: it newly denies 3 requests, and the limit is 2: pods/privileged 3")
	if h := b.bundle.Status.History[0]; h.Step != "rolled back" || h.Reason == "" {
		t.Errorf("the history begins with %+v, want why it was rolled back", h)
	}
	b.denials = 0
	b.is("the same again", b.pass(24*time.Hour), "a+- RolledBack")
	b.is("a mended one", b.offer("c", 3), "a+c Canary", "canary a>c")
	b.is("an hour", b.pass(time.Hour), "c+- Active", "promoted a>c")
}

func TestARolledBackRevisionIsTriedAgainOnceTheSourceHadAnother(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary})
	b.offer("a", 1)
	b.offer("b", 2)
	b.denials = 1
	b.look()
	b.denials = 0
	b.is("back to the active one", b.offer("a", 1), "a+- Active")
	b.is("the same again", b.offer("b", 2), "a+b Canary", "canary a>b")
}

func TestDenialsOfReplicasThatAreGoneStillCount(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, MaxNewDenials: 5})
	b.offer("a", 1)
	b.offer("b", 2)
	b.denials = 5
	b.look()
	b.names = 0
	b.is("all replicas are gone", b.look(), "a+b Canary")
	if got := b.bundle.Status.Comparison.NewDenials; got != 5 {
		t.Errorf("got %d new denials, want 5", got)
	}
	b.tally = Tally{} // a controller that has just started
	b.names, b.denials = 2, 6
	b.is("one more", b.look(), "a+- RolledBack", "rolled back b>a")
}

func TestATrialIsNotOverBeforeEveryReplicaHasReportedItsEnd(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Duration: metav1.Duration{Duration: time.Hour}})
	b.offer("a", 1)
	b.is("a trial", b.offer("b", 2), "a+b Canary", "canary a>b")
	b.age = 10 * time.Second
	b.is("an hour later, with reports of ten seconds ago", b.pass(time.Hour), "a+b Canary")
	b.is("nine seconds later", b.pass(9*time.Second), "a+b Canary")
	b.is("once they have reported", b.pass(time.Second), "b+- Active", "promoted a>b")
}

func TestNothingIsPromotedThatAReplicaHasNotLoaded(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Duration: metav1.Duration{Duration: time.Minute}})
	b.offer("a", 1)
	b.offer("b", 2)
	b.loads = false
	b.is("not loaded", b.pass(time.Hour), "a+b Canary")
	if s := b.bundle.Status; s.Replicas != 2 || s.ReadyReplicas != 0 {
		t.Errorf("got %d of %d replicas ready, want none of 2", s.ReadyReplicas, s.Replicas)
	}
	b.names = 0
	b.is("no replica at all", b.pass(time.Hour), "a+b Canary")
	b.names, b.loads = 2, true
	dead := b.replicas()
	dead[0].Status.Heartbeat, dead[0].Status.Bundles[0].Candidate = metav1.NewTime(b.now.Add(-61*time.Second)), ""
	status, steps := Next(b.bundle, Observation{Offered: b.seen.Offered, Replicas: dead}, b.now)
	if len(steps) != 1 || steps[0].Step != StepPromoted || status.Replicas != 1 {
		t.Errorf("with one dead replica that has not loaded it: got %+v and %d replicas, want it promoted by 1", steps, status.Replicas)
	}
}

func TestAClockThatJumpsChangesNothingThatWasDecided(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Duration: metav1.Duration{Duration: time.Hour}})
	b.offer("a", 1)
	b.offer("b", 2)
	b.is("an hour", b.pass(time.Hour), "b+- Active", "promoted a>b")
	b.is("a year back", b.pass(-365*24*time.Hour), "b+- Active")
	b.is("a new one", b.offer("c", 3), "b+c Canary", "canary b>c")
	b.is("ten years back", b.pass(-10*365*24*time.Hour), "b+c Canary")
	b.is("an hour from then", b.pass(time.Hour), "c+- Active", "promoted b>c")

	b.offer("d", 4)
	replicas := b.replicas() // by the clock that was right
	status, steps := Next(b.bundle, Observation{Offered: b.seen.Offered, Replicas: replicas}, b.now.Add(24*time.Hour))
	if len(steps) > 0 || status.Replicas != 0 {
		t.Errorf("a day ahead of the replicas: got %+v and %d replicas, want no promotion that nobody took part in", steps, status.Replicas)
	}
}

func TestHeartbeatsOfThePastAndOfTheFutureAreNone(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{})
	b.offer("a", 1)
	for name, test := range map[string]struct {
		age  time.Duration
		want int32
	}{
		"a minute ago":                {LiveFor, 1},
		"longer ago":                  {LiveFor + time.Second, 0},
		"in a minute":                 {-LiveFor, 1},
		"later, by a clock that errs": {-LiveFor - time.Second, 0},
	} {
		b.names = 1
		replicas := b.replicas()
		replicas[0].Status.Heartbeat = metav1.NewTime(b.now.Add(-test.age))
		if got, _ := Next(b.bundle, Observation{Replicas: replicas}, b.now); got.Replicas != test.want || got.ReadyReplicas != test.want {
			t.Errorf("%s: got %d replicas, %d of them ready, want %d", name, got.Replicas, got.ReadyReplicas, test.want)
		}
	}
}

func TestReportsAboutAnotherCandidateOrBundleDoNotCount(t *testing.T) {
	b, c := revision("b", 2).Digest, revision("c", 3).Digest
	r := v1alpha1.PolicyReplica{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	r.Status.Bundles = []v1alpha1.ReplicaBundle{
		{Name: "prod", Comparison: &v1alpha1.Comparison{Candidate: b, NewDenials: 4}},
		{Name: "other", Comparison: &v1alpha1.Comparison{Candidate: c, NewDenials: 5}},
		{Name: "third"},
	}
	var tally Tally
	if got := tally.Add("prod", c, []v1alpha1.PolicyReplica{r}); got.NewDenials != 0 || got.Candidate != c {
		t.Errorf("got %+v, want none about %s", got, c)
	}
	if got := tally.Add("prod", b, []v1alpha1.PolicyReplica{r}); got.NewDenials != 4 {
		t.Errorf("got %+v, want 4 new denials", got)
	}
}

func TestBlueGreenSwitchesBothWaysInOneStep(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyBlueGreen, Duration: metav1.Duration{Duration: time.Minute}})
	b.offer("a", 1)
	b.is("a new one", b.offer("b", 2), "a+b Standby", "standby a>b")
	b.is("it waits", b.pass(24*time.Hour), "a+b Standby")
	b.bundle.Spec.Rollout.Promote = revision("b", 2).Digest
	b.is("there", b.look(), "b+- Active", "promoted a>b")
	b.bundle.Spec.Rollout.Promote = revision("a", 1).Digest
	b.is("and back", b.look(), "a+- Active", "switched back b>a")
	b.bundle.Spec.Rollout.Promote = revision("b", 2).Digest
	b.is("and there", b.look(), "b+- Active", "switched back a>b")
	b.gone = true
	b.bundle.Spec.Rollout.Promote = revision("a", 1).Digest
	b.is("not to what nobody trusts any more", b.look(), "b+- Active")
	b.gone = false
	b.is("but once it is trusted again", b.look(), "a+- Active", "switched back b>a")
	b.bundle.Spec.Rollout.Promote = revision("b", 2).Digest
	b.is("and there again", b.look(), "b+- Active", "switched back a>b")
	b.is("a newer one", b.offer("c", 3), "b+c Standby", "standby b>c")
}

func TestPromoteIsFollowedOnce(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Promote: revision("b", 2).Digest})
	b.offer("a", 1)
	b.is("promoted before it was there", b.offer("b", 2), "b+- Active", "canary a>b", "promoted a>b")
	b.bundle.Spec.Rollout = v1alpha1.Rollout{Promote: revision("b", 2).Digest}
	b.is("a newer one", b.offer("c", 3), "c+- Active", "activated b>c")
	b.bundle.Spec.Rollout.Strategy = v1alpha1.StrategyBlueGreen
	b.is("what was promoted once, and is the previous one now", b.look(), "c+- Active")
}

func TestSerials(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{})
	b.offer("a", 5)
	b.is("a lower serial", b.offer("b", 4), "a+- Active")
	b.rejected("its serial is 4, and 5 was active: raise the serial in bundle.yaml, or pin sha256:bbbb")
	b.is("other files of the same serial", b.offer("c", 5), "a+- Active")
	b.rejected("its serial is 5, which other files had")
	if got := len(b.bundle.Status.Rejected); got != 2 {
		t.Errorf("%d revisions are rejected, want 2, each once", got)
	}
	b.is("a higher one", b.offer("d", 6), "d+- Active", "activated a>d")

	b.bundle.Spec.Pin = revision("a", 5).Digest
	b.is("a pin of what is not there", b.look(), "d+- Active")
	b.seen.Pinned = revision("a", 5)
	b.is("a pin", b.look(), "a+- Active", "pinned d>a")
	b.is("something new, while pinned", b.offer("e", 7), "a+- Active")
	b.bundle.Spec.Pin, b.seen.Pinned = "", nil
	b.is("a serial between the pinned and the highest", b.offer("f", 5), "a+- Active")
	b.rejected("its serial is 5, and 6 was active")
	b.is("other files with the highest serial", b.offer("0", 6), "a+- Active")
	b.rejected("its serial is 6, which other files had")
	b.is("the one that had it", b.offer("d", 6), "d+- Active", "activated a>d")
}

func TestAPinEndsATrial(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary})
	b.offer("a", 1)
	b.offer("b", 2)
	b.bundle.Spec.Pin = revision("a", 1).Digest
	b.is("to the active one", b.look(), "a+- Active", "aborted b>a")
	b.bundle.Spec.Pin, b.seen.Pinned = revision("b", 2).Digest, revision("b", 2)
	b.is("to another", b.look(), "b+- Active", "pinned a>b")
}

func TestANewCandidateReplacesTheOldAndCountsBeginAnew(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyShadow, Duration: metav1.Duration{Duration: time.Hour}})
	b.offer("a", 1)
	b.offer("b", 2)
	b.denials = 4
	b.pass(50 * time.Minute)
	b.denials = 0
	b.is("a newer one", b.offer("c", 3), "a+c Shadow", "shadowing a>c")
	if got := b.bundle.Status.Comparison; got.NewDenials != 0 || got.Candidate != revision("c", 3).Digest {
		t.Errorf("the comparison is %+v, want one of c with no new denial", got)
	}
	b.is("its time is its own", b.pass(50*time.Minute), "a+c Shadow")
	b.is("until it is over", b.pass(10*time.Minute), "c+- Active", "promoted a>c")
}

func TestAbortDropsACandidateForGood(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyShadow})
	b.offer("a", 1)
	b.offer("b", 2)
	b.bundle.Spec.Rollout.Abort = revision("b", 2).Digest
	b.is("aborted", b.look(), "a+- RolledBack", "aborted b>a")
	b.is("the same is still there", b.pass(time.Hour), "a+- RolledBack")
	b.is("another", b.offer("c", 3), "a+c Shadow", "shadowing a>c")
}

func TestARefusedRevisionIsNeverTried(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyShadow})
	b.offer("a", 1)
	b.offer("b", 2)
	b.seen.Offered, b.seen.Refused = nil, &v1alpha1.Rejection{Digest: revision("b", 2).Digest, Reason: "its signer is not trusted any more"}
	b.is("on trial", b.look(), "a+- Active", "aborted b>a")
	b.rejected("not trusted any more")
	b.seen.Refused = &v1alpha1.Rejection{Digest: revision("a", 1).Digest, Reason: "its signer is not trusted any more"}
	b.is("active: better that one than none", b.look(), "a+- Active")
}

func TestWhatIsSuspendedStays(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Duration: metav1.Duration{Duration: time.Minute}})
	b.offer("a", 1)
	b.offer("b", 2)
	b.bundle.Spec.Suspend = true
	b.is("no promotion", b.pass(time.Hour), "a+b Canary")
	b.is("nothing new", b.offer("c", 3), "a+b Canary")
	b.denials = 1
	b.is("but it is rolled back", b.look(), "a+- RolledBack", "rolled back b>a")
}

func TestAChangeOfStrategyBeginsTheTrialAnew(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{Strategy: v1alpha1.StrategyShadow, Duration: metav1.Duration{Duration: time.Hour}})
	b.offer("a", 1)
	b.offer("b", 2)
	b.pass(50 * time.Minute)
	b.bundle.Spec.Rollout.Strategy = v1alpha1.StrategyCanary
	b.is("to a canary", b.pass(time.Minute), "a+b Canary", "canary a>b")
	b.is("for an hour", b.pass(59*time.Minute), "a+b Canary")
	b.bundle.Spec.Rollout.Strategy = v1alpha1.StrategyImmediate
	b.is("to immediate", b.look(), "b+- Active", "promoted a>b")
}

func TestTheStatusStaysBounded(t *testing.T) {
	b := newBench(t, v1alpha1.Rollout{})
	for i := range int64(50) {
		b.offer(fmt.Sprintf("%x", i%16), 2*i+2)
		b.seen.Refused = &v1alpha1.Rejection{Reason: strings.Repeat("é", 5000) + fmt.Sprint(i)}
		b.look()
		b.seen.Refused = &v1alpha1.Rejection{Reason: fmt.Sprint(i)}
		b.look()
	}
	s := b.bundle.Status
	if len(s.History) != maxHistory || len(s.Rejected) != maxRejected || len(s.Rejected[1].Reason) > maxText {
		t.Errorf("got %d transitions, %d rejections, %d bytes, want %d, %d and at most %d", len(s.History), len(s.Rejected), len(s.Rejected[1].Reason), maxHistory, maxRejected, maxText)
	}
}

func TestATallyKeepsSamplesAndPoliciesBounded(t *testing.T) {
	digest := revision("b", 2).Digest
	comparison := &v1alpha1.Comparison{Candidate: digest}
	for i := range 60 {
		p := v1alpha1.PolicyComparison{Policy: fmt.Sprintf("p%02d", i), NewDenials: int64(i)}
		for j := range 5 {
			p.Samples = append(p.Samples, v1alpha1.Sample{Name: fmt.Sprint(j), Message: strings.Repeat("m", 9000), Time: metav1.NewTime(start.Add(time.Duration(j) * time.Second))})
		}
		comparison.Policies = append(comparison.Policies, p)
	}
	report := v1alpha1.PolicyReplica{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	report.Status.Bundles = []v1alpha1.ReplicaBundle{{Name: "prod", Comparison: comparison}}
	other := report
	other.Name = "s"
	var tally Tally
	sum := tally.Add("prod", digest, []v1alpha1.PolicyReplica{report, other})
	if len(sum.Policies) != maxPolicies || sum.Policies[0].Policy != "p59" || sum.Policies[0].NewDenials != 118 {
		t.Fatalf("got %d policies, the first %s with %d, want %d, p59 and 118", len(sum.Policies), sum.Policies[0].Policy, sum.Policies[0].NewDenials, maxPolicies)
	}
	var names []string
	for _, s := range sum.Policies[0].Samples {
		names = append(names, s.Name)
		if len(s.Message) > maxMessage {
			t.Errorf("a message has %d bytes, want %d at most", len(s.Message), maxMessage)
		}
	}
	if want := []string{"4", "3", "2"}; !slices.Equal(names, want) {
		t.Errorf("the samples are %q, want the newest, each once: %q", names, want)
	}
}

func TestNonsenseOfAReplicaMakesNoSumSmall(t *testing.T) {
	digest := revision("b", 2).Digest
	var replicas []v1alpha1.PolicyReplica
	for _, denials := range []int64{math.MaxInt64, math.MaxInt64, -5} {
		r := v1alpha1.PolicyReplica{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(len(replicas))}}
		r.Status.Bundles = []v1alpha1.ReplicaBundle{{Name: "prod", Comparison: &v1alpha1.Comparison{Candidate: digest, NewDenials: denials}}}
		replicas = append(replicas, r)
	}
	var tally Tally
	if got := tally.Add("prod", digest, replicas).NewDenials; got != math.MaxInt64 {
		t.Errorf("got %d new denials, want %d", got, int64(math.MaxInt64))
	}
}

// TestNothingThatHappensBreaksTheInvariants plays random events; seeds are printed.
func TestNothingThatHappensBreaksTheInvariants(t *testing.T) {
	for seed := range uint64(300) {
		play(t, seed)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func play(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test that can be repeated
	strategies := []v1alpha1.Strategy{"", v1alpha1.StrategyImmediate, v1alpha1.StrategyShadow, v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen, "from the future"}
	letters := "abcdef012345"
	serials := map[string]int64{}
	for i := range letters {
		serials[revision(letters[i:i+1], 0).Digest] = random.Int64N(6) + 1
	}
	any := func() *v1alpha1.RevisionStatus {
		i := random.IntN(len(letters))
		r := revision(letters[i:i+1], 0)
		r.Serial = serials[r.Digest]
		return r
	}
	b := newBench(t, v1alpha1.Rollout{Duration: metav1.Duration{Duration: time.Hour}, MaxNewDenials: 2})
	refused := map[string]bool{}
	for range 150 {
		b.seen.Refused, b.seen.Pinned = nil, nil
		switch random.IntN(12) {
		case 0, 1:
			if r := any(); !refused[r.Digest] {
				b.seen.Offered = r
			}
		case 2:
			r := any()
			if !is(b.bundle.Status.Active, r.Digest) {
				refused[r.Digest] = true
				b.seen.Refused = &v1alpha1.Rejection{Digest: r.Digest, Reason: "refused"}
				if is(b.seen.Offered, r.Digest) {
					b.seen.Offered = nil
				}
			}
		case 3:
			b.bundle.Spec.Rollout.Strategy = strategies[random.IntN(len(strategies))]
		case 4:
			b.bundle.Spec.Rollout.Promote = any().Digest
		case 5:
			b.bundle.Spec.Rollout.Abort = any().Digest
		case 6:
			b.bundle.Spec.Pin = ""
			if r := any(); random.IntN(2) == 0 && !refused[r.Digest] {
				b.bundle.Spec.Pin, b.seen.Pinned = r.Digest, r
			}
		case 7:
			b.bundle.Spec.Suspend = !b.bundle.Spec.Suspend
		case 8:
			b.denials = random.Int64N(5)
		case 9:
			b.names, b.loads = random.IntN(3), random.IntN(3) > 0
		case 10:
			b.now = b.now.Add(time.Duration(random.IntN(48)-12) * time.Hour)
		case 11:
			b.tally = Tally{}
		}
		before := clone(&b.bundle.Status)
		untouched := clone(&b.bundle.Status)
		b.seen.Replicas = b.replicas()
		b.seen.Returning = before.Previous
		b.seen.Comparison = b.tally.Add("prod", digestOf(before.Candidate), b.seen.Replicas)
		status, steps := Next(b.bundle, b.seen, b.now)
		if !reflect.DeepEqual(b.bundle.Status, untouched) {
			t.Error("Next has changed its argument")
		}
		invariants(t, b, &before, &status, steps, refused)
		b.bundle.Status = status
	}
}

func invariants(t *testing.T, b *bench, before, after *v1alpha1.PolicyBundleStatus, steps []v1alpha1.Transition, refused map[string]bool) {
	t.Helper()
	if before.Active != nil && after.Active == nil {
		t.Error("nothing is active any more")
	}
	if after.Candidate != nil && refused[after.Candidate.Digest] {
		t.Errorf("%s is on trial, and was refused", letter(after.Candidate.Digest))
	}
	if (after.Candidate != nil) != slices.Contains([]v1alpha1.Phase{v1alpha1.PhaseShadow, v1alpha1.PhaseCanary, v1alpha1.PhaseStandby}, after.Phase) {
		t.Errorf("the phase is %q with the candidate %s", after.Phase, digestOf(after.Candidate))
	}
	if after.Candidate != nil && is(after.Active, after.Candidate.Digest) {
		t.Error("a revision is on trial that is active")
	}
	if after.MaxSerial < before.MaxSerial {
		t.Errorf("the highest serial went from %d to %d", before.MaxSerial, after.MaxSerial)
	}
	if digestOf(before.Active) == digestOf(after.Active) {
		return
	}
	to := func(s v1alpha1.Transition) bool { return s.To == after.Active.Digest }
	i := slices.IndexFunc(steps, func(s v1alpha1.Transition) bool {
		return to(s) && slices.Contains([]string{StepActivated, StepPromoted, StepPinned, StepSwitched}, s.Step)
	})
	if i < 0 {
		t.Errorf("%s became active by the steps %+v, which do not say so", letter(after.Active.Digest), steps)
		return
	}
	named := steps[i].Step == StepPinned || steps[i].Step == StepSwitched
	if steps[i].Step == StepPinned && b.bundle.Spec.Pin != after.Active.Digest || steps[i].Step == StepSwitched && b.bundle.Spec.Rollout.Promote != after.Active.Digest {
		t.Errorf("the step %q is to what nobody named", steps[i].Step)
	}
	if !named && (after.Active.Serial < before.MaxSerial || refused[after.Active.Digest]) {
		t.Errorf("%s with serial %d became active after %d (refused: %v)", letter(after.Active.Digest), after.Active.Serial, before.MaxSerial, refused[after.Active.Digest])
	}
}
