package controller

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/policies/revision/revisiontest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// lines are those of a journal.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Transition(_ context.Context, bundle string, t v1alpha1.Transition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, bundle+": "+t.Step)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, ", ")
}

func TestAFolderBecomesActiveAndWhatIsBrokenDoesNot(t *testing.T) {
	b := newBench(t)
	metrics, journal := NewMetrics(), &lines{}
	b.controller("one", func(o *Options) { o.Metrics, o.Journal = metrics, journal })
	folder := b.folder("acme", v1alpha1.Rollout{})
	b.condition("acme", v1alpha1.ConditionFetched, metav1.ConditionFalse, "FetchFailed", "name a folder that is there")
	b.condition("acme", v1alpha1.ConditionReady, metav1.ConditionFalse, "NoRevision", "the other conditions say why")

	b.publish(folder, revisiontest.Files("acme", 1))
	s := b.status("acme", "1+- Active")
	if s.Active.Name != "acme" || s.Active.Origin != folder || s.Active.Policies != 1 || s.MaxSerial != 1 {
		t.Errorf("the active revision is %+v, want acme from %s with 1 policy", s.Active, folder)
	}
	encoded, by, err := (&store{client: b.objects.Resource(v1alpha1.Revisions)}).get(t.Context(), s.Active.Digest)
	if err != nil || by != "acme" || len(encoded) == 0 {
		t.Errorf("it is stored as %d bytes by %q, %v, want some by acme", len(encoded), by, err)
	}
	if note := b.event("default", "acme", "Activated"); !strings.Contains(note, "it is the first") {
		t.Errorf("the Event says %q, want why", note)
	}

	for _, broken := range []struct {
		what   string
		files  map[string]string
		reason string
		says   string
	}{
		{"another name", revisiontest.Files("other", 2), reasonNotLoaded, `names it "other", and "acme" is expected`},
		{"Rego that does not compile", with(revisiontest.Files("acme", 2), "acme/replicas/policy.rego", revisiontest.Policy+"\nnonsense"), reasonNotLoaded, "policy.rego"},
		{"a sample that is judged otherwise", with(revisiontest.Files("acme", 2), "acme/replicas/testdata/allow/many.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 9}\n"), reasonTestsFailed, "1 of its 2 own tests and samples fail"},
		{"other files with the same serial", with(revisiontest.Files("acme", 1), "README.md", "# Acme\n"), reasonSerial, "its serial is 1, which other files had"},
	} {
		b.publish(folder, broken.files)
		b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, broken.reason, broken.says)
		s := b.status("acme", "1+- Active")
		if !strings.Contains(s.Rejected[0].Reason, broken.says) || s.Rejected[0].Digest == "" {
			t.Errorf("%s: the first rejection is %+v, want %q", broken.what, s.Rejected[0], broken.says)
		}
	}
	if note := b.event("default", "acme", "Rejected"); note == "" {
		t.Error("the Event about a rejection says nothing")
	}
	if got := testutil.ToFloat64(metrics.accepted.WithLabelValues("acme")); got != 0 {
		t.Errorf("portcullis_bundle_accepted is %v, want 0", got)
	}

	b.publish(folder, revisiontest.Files("acme", 2))
	b.status("acme", "2+- Active")
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionTrue, reasonAccepted, "has passed its tests")
	if got, want := journal.String(), "acme: activated, acme: activated"; got != want {
		t.Errorf("the journal has %q, want %q", got, want)
	}
	if got := testutil.ToFloat64(metrics.serial.WithLabelValues("acme")); got != 2 {
		t.Errorf("portcullis_bundle_serial is %v, want 2", got)
	}
}

func TestWhatIsBrokenIsExaminedOnce(t *testing.T) {
	b := newBench(t)
	metrics := NewMetrics()
	c := b.controller("one", func(o *Options) { o.Metrics = metrics })
	folder := filepath.Join(b.dir, "acme")
	b.publish(folder, revisiontest.Files("other", 1))
	b.folder("acme", v1alpha1.Rollout{})
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonNotLoaded, "names it")
	looks := func(result string) float64 {
		return testutil.ToFloat64(metrics.fetches.WithLabelValues("acme", result))
	}
	for range 2 {
		at := looks(resultUnchanged) + looks(resultRefused)
		if err := c.hook.request(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		b.until("the source is looked at again", func() bool { return looks(resultUnchanged)+looks(resultRefused) > at })
	}
	if got := looks(resultRefused); got != 1 {
		t.Errorf("it was examined %v times, want once", got)
	}
	if got := len(b.get("acme").Status.Rejected); got != 1 {
		t.Errorf("it is rejected %d times, want once", got)
	}
}

func TestNobodyTrustedIsNobodyActivated(t *testing.T) {
	b := newBench(t)
	b.controller("one")
	folder := b.folder("acme", v1alpha1.Rollout{}, func(s *v1alpha1.PolicyBundleSpec) { s.Verification = v1alpha1.Verification{} })
	b.publish(folder, revisiontest.Files("acme", 1))
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonUnverified, "verifying ")
	b.status("acme", "-+- ")
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Verification.InsecureUnsigned = true })
	b.status("acme", "1+- Active")
}

// A revision is held to what its object says: the lines that its tests reach, and what a tenant may.
func TestARevisionIsHeldToItsObject(t *testing.T) {
	b := newBench(t)
	b.controller("one")
	untested := with(revisiontest.Files("acme", 1), "acme/replicas/policy.rego", revisiontest.Policy+"\ndeny contains {\"msg\": \"paused\", \"path\": \"spec.paused\"} if input.object.spec.paused\n")
	folder := b.folder("acme", v1alpha1.Rollout{}, func(s *v1alpha1.PolicyBundleSpec) { s.MinCoverage = 100 })
	b.publish(folder, untested)
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonTestsFailed, "100 % are asked for: add tests, or lower minCoverage")
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.MinCoverage = 50 })
	b.status("acme", "1+- Active")

	tenant := b.folder("shop", v1alpha1.Rollout{}, func(s *v1alpha1.PolicyBundleSpec) { s.Namespaces = []string{"shop-*"} })
	b.publish(tenant, revisiontest.Files("shop", 1)) // with a policy called like one of acme's
	b.condition("shop", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonNotLoaded, "so that they are not taken for others': make it shop/replicas")
	own := map[string]string{}
	for name, content := range revisiontest.Files("shop", 1) {
		own[strings.ReplaceAll(name, "acme/", "shop/")] = strings.NewReplacer("acme/replicas", "shop/replicas", "acme.replicas", "shop.replicas").Replace(content)
	}
	b.publish(tenant, own)
	b.status("shop", "1+- Active")
}

func TestASerialGoesBackByAPinOnly(t *testing.T) {
	b := newBench(t)
	b.controller("one")
	folder := b.folder("acme", v1alpha1.Rollout{})
	b.publish(folder, revisiontest.Files("acme", 4))
	first := b.status("acme", "4+- Active").Active.Digest
	b.publish(folder, revisiontest.Files("acme", 5))
	b.status("acme", "5+- Active")
	b.publish(folder, revisiontest.Files("acme", 4))
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonSerial, "its serial is 4, and 5 was active")
	b.status("acme", "5+- Active")

	if err := os.RemoveAll(folder); err != nil { // it is stored
		t.Fatal(err)
	}
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Pin = first })
	b.status("acme", "4+- Active")
	b.event("default", "acme", "Pinned")
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Pin = "sha256:" + strings.Repeat("0", 64) })
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonPin, "is not stored: pin one of those")
	b.status("acme", "4+- Active")
}

func TestACanaryThatNewlyDeniesIsRolledBack(t *testing.T) {
	b := newBench(t)
	journal, metrics := &lines{}, NewMetrics()
	b.controller("one", func(o *Options) { o.Journal, o.Metrics = journal, metrics })
	folder := b.folder("acme", v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Percent: 10, Duration: metav1.Duration{Duration: time.Hour}, MaxNewDenials: 2})
	b.publish(folder, revisiontest.Files("acme", 1))
	b.status("acme", "1+- Active")
	b.report("replica-1", "acme", 0)
	b.condition("acme", v1alpha1.ConditionReady, metav1.ConditionTrue, "Ready", "all 1 replicas")

	b.publish(folder, revisiontest.Files("acme", 2))
	b.status("acme", "1+2 Canary")
	b.condition("acme", v1alpha1.ConditionReady, metav1.ConditionFalse, "ReplicasPending", "1 of 1 replicas")
	b.report("replica-1", "acme", 2)
	b.report("replica-2", "acme", 0)
	b.until("the comparison is in the status", func() bool {
		c := b.get("acme").Status.Comparison
		return c != nil && c.NewDenials == 2 && c.Compared == 20 && c.Policies[0].Samples[0].Name == "web"
	})
	b.report("replica-2", "acme", 1)
	s := b.status("acme", "1+- RolledBack")
	if want := "it newly denies 3 requests, and the limit is 2: acme/replicas 3"; s.History[0].Step != "rolled back" || s.History[0].Reason != want {
		t.Errorf("the history begins with %+v, want %q", s.History[0], want)
	}
	b.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonDropped, "is not tried again until the source has another revision")
	if note := b.event("default", "acme", "RolledBack"); !strings.Contains(note, "the limit is 2") {
		t.Errorf("the Event says %q, want why", note)
	}
	b.until("the journal says so", func() bool { return strings.HasSuffix(journal.String(), "acme: canary, acme: rolled back") })

	b.publish(folder, revisiontest.Files("acme", 3))
	b.status("acme", "1+3 Canary")
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Rollout.Duration = metav1.Duration{Duration: time.Second} })
	b.report("replica-1", "acme", 0)
	b.report("replica-2", "acme", 0)
	b.until("it is promoted", func() bool {
		if s := b.get("acme").Status; s.Active.Serial == 3 {
			return true
		}
		b.report("replica-1", "acme", 0)
		return false
	})
	b.event("default", "acme", "Promoted")
}

func TestOneOfTwoActsAndTheOtherGoesOnWhenItIsGone(t *testing.T) {
	b := newBench(t)
	metrics := map[string]*Metrics{"one": NewMetrics(), "two": NewMetrics()}
	controllers := map[string]*running{}
	for _, name := range []string{"one", "two"} {
		controllers[name] = b.controller(name, func(o *Options) { o.Metrics = metrics[name] })
	}
	folder := b.folder("acme", v1alpha1.Rollout{})
	b.publish(folder, revisiontest.Files("acme", 1))
	b.status("acme", "1+- Active")
	leader, other := "one", "two"
	if controllers["two"].Leads() {
		leader, other = other, leader
	}
	if controllers[other].Leads() {
		t.Fatal("both lead")
	}
	if got := testutil.CollectAndCount(metrics[other].fetches); got != 0 {
		t.Errorf("the one that does not lead has looked at %d sources, want none", got)
	}
	controllers[leader].stop()
	b.publish(folder, revisiontest.Files("acme", 2))
	b.status("acme", "2+- Active")
	if !controllers[other].Leads() {
		t.Error("the other one does not lead")
	}
}

// cord is a connection to the API server that can be cut, as by the death of a node.
type cord struct{ cut atomic.Bool }

func (c *cord) attach(o *Options) {
	o.Config = rest.CopyConfig(o.Config)
	o.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if c.cut.Load() {
				return nil, errors.New("the connection is cut")
			}
			return next.RoundTrip(r)
		})
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A leader that dies releases nothing: the other one waits for its Lease to end.
func TestALeaderThatDiesIsFollowedByTheOther(t *testing.T) {
	b := newBench(t)
	var line cord
	first := b.controller("one", line.attach)
	folder := b.folder("acme", v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Duration: metav1.Duration{Duration: time.Hour}})
	b.publish(folder, revisiontest.Files("acme", 1))
	b.status("acme", "1+- Active")
	second := b.controller("two")
	b.publish(folder, revisiontest.Files("acme", 2))
	before := b.status("acme", "1+2 Canary")
	line.cut.Store(true)
	b.until("the other one leads", second.Leads)
	b.until("the first one knows", func() bool { return !first.Leads() })
	b.report("replica-1", "acme", 1)
	after := b.status("acme", "1+- RolledBack")
	if len(after.History) != len(before.History)+1 {
		t.Errorf("the history has %d steps, want one more than the %d before", len(after.History), len(before.History))
	}
}

func TestARestartWithoutTheSourceGoesOnWithWhatIsStored(t *testing.T) {
	b := newBench(t)
	first := b.controller("one")
	folder := b.folder("acme", v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Duration: metav1.Duration{Duration: time.Hour}})
	b.publish(folder, revisiontest.Files("acme", 1))
	b.status("acme", "1+- Active")
	b.publish(folder, revisiontest.Files("acme", 2))
	before := b.status("acme", "1+2 Canary")
	first.stop()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}

	b.controller("two")
	b.condition("acme", v1alpha1.ConditionFetched, metav1.ConditionFalse, "FetchFailed", "")
	after := b.status("acme", "1+2 Canary")
	if !after.Candidate.Since.Equal(&before.Candidate.Since) || len(after.History) != len(before.History) {
		t.Errorf("the trial was begun anew: it began at %v and not at %v", after.Candidate.Since, before.Candidate.Since)
	}
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Rollout.Promote = before.Candidate.Digest })
	b.status("acme", "2+- Active")
}

func TestACandidateWhoseSignerIsNotTrustedAnyMoreIsDropped(t *testing.T) {
	b := newBench(t)
	b.controller("one")
	folder := b.folder("acme", v1alpha1.Rollout{Strategy: v1alpha1.StrategyShadow})
	b.publish(folder, revisiontest.Files("acme", 1))
	b.status("acme", "1+- Active")
	b.publish(folder, revisiontest.Files("acme", 2))
	b.status("acme", "1+2 Shadow")
	b.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Verification = v1alpha1.Verification{} })
	b.status("acme", "1+- Active")
	b.event("default", "acme", "Aborted")
}

func TestWhatIsStoredIsMendedWhenSomebodyDeletesIt(t *testing.T) {
	b := newBench(t)
	c := b.controller("one")
	folder := b.folder("acme", v1alpha1.Rollout{})
	b.publish(folder, revisiontest.Files("acme", 1))
	digest := b.status("acme", "1+- Active").Active.Digest
	name, err := v1alpha1.RevisionName(digest, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.objects.Resource(v1alpha1.Revisions).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &sweeper{c: c.Controller}
	if err := s.revisions(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.until("it is stored again", func() bool {
		_, err := b.objects.Resource(v1alpha1.Revisions).Get(t.Context(), name, metav1.GetOptions{})
		return err == nil
	})
}

func TestExceptionsThatEndSoonOrDoNotCountAreToldOf(t *testing.T) {
	b := newBench(t)
	metrics := NewMetrics()
	c := b.controller("one", func(o *Options) { o.Metrics = metrics })
	folder := b.folder("acme", v1alpha1.Rollout{})
	bundle := revisiontest.Files("acme", 1)
	bundle["bundle.yaml"] += "exceptionsFrom: {namespaces: [shop], maxDuration: 30d}\n"
	b.publish(folder, bundle)
	b.status("acme", "1+- Active")
	for name, days := range map[string]int{"soon": 3, "later": 20, "too-long": 90} {
		e := &v1alpha1.PolicyException{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyException"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
			Spec: v1alpha1.PolicyExceptionSpec{
				Policy: "acme/replicas", Reason: "the old shop", Owner: "shop", Selector: v1alpha1.ExceptionSelector{Namespaces: []string{"shop"}},
				Expires: time.Now().AddDate(0, 0, days).Format(time.DateOnly),
			},
		}
		if _, err := b.objects.Resource(v1alpha1.Exceptions).Namespace("shop").Create(t.Context(), encode(t, e), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.until("the bundle's rules and the exceptions are known", func() bool {
		k := c.kept()["acme"]
		if k == nil {
			return false
		}
		_, known := k.rules()
		return known && len(c.exceptions.GetStore().List()) == 3
	})
	s := &sweeper{c: c.Controller}
	s.exceptions(t.Context())
	if note := b.event("shop", "soon", "ExceptionExpiring"); !strings.Contains(note, "it waives acme/replicas until") {
		t.Errorf("the Event says %q, want what ends", note)
	}
	if note := b.event("shop", "too-long", "ExceptionRefused"); !strings.Contains(note, "longer than the 30d") {
		t.Errorf("the Event says %q, want why it is refused", note)
	}
	if got := testutil.CollectAndCount(metrics.expiries); got != 1 {
		t.Errorf("%d exceptions have a metric, want the one that ends soon", got)
	}
	list, err := b.kube.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.Name == "later" {
			t.Errorf("there is an Event %s about an exception that is fine: %s", e.Reason, e.Note)
		}
	}
}
