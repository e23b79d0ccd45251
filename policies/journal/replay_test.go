package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// journalOf records what a reviewer decides.
func journalOf(t testing.TB, reviewer *admission.Reviewer, requests ...admission.Request) (dir string) {
	t.Helper()
	dir = t.TempDir()
	j := openIn(t, dir, nil)
	for _, request := range requests {
		j.Record(context.Background(), decide(reviewer, request))
	}
	closeNow(t, j)
	return dir
}

func replay(t testing.TB, dir string, o ReplayOptions) *Report {
	t.Helper()
	report, err := Replay(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

const (
	deniesHost  = `deny contains "host network" if input.workload.hostNetwork`
	deniesNever = `deny contains "never" if input.request.name == "never"`
)

const hostSpec = `{"hostNetwork":true,"containers":[{"name":"a","image":"registry.example/a:1"}]}`

func TestWhatBecomesOfADecision(t *testing.T) {
	for name, test := range map[string]struct {
		then, now []string // policies
		spec      string
		want      Effect
		change    PolicyChange
	}{
		"a policy that comes anew denies": {
			[]string{"pods/x", "", deniesNever}, []string{"pods/x", "", deniesNever, "pods/host", "", deniesHost}, hostSpec,
			EffectNewlyDenied, PolicyChange{"pods/host", StanceSilent, StanceDenies, "host network", ""},
		},
		"a policy that is gone denies no more": {
			[]string{"pods/x", "", deniesNever, "pods/host", "", deniesHost}, []string{"pods/x", "", deniesNever}, hostSpec,
			EffectNewlyAdmitted, PolicyChange{"pods/host", StanceDenies, StanceSilent, "host network", ""},
		},
		"a warning comes anew": {
			[]string{"pods/x", "", deniesNever}, []string{"pods/x", "", deniesNever, "pods/host", "", `warn contains "host network" if input.workload.hostNetwork`}, hostSpec,
			EffectChanged, PolicyChange{"pods/host", StanceSilent, StanceWarns, "host network", ""},
		},
		"it is denied in other words": {
			[]string{"pods/host", "", deniesHost}, []string{"pods/host", "", `deny contains "no host network" if input.workload.hostNetwork`}, hostSpec,
			EffectChanged, PolicyChange{"pods/host", StanceDenies, StanceDenies, "no host network", ""},
		},
		"nothing": {
			[]string{"pods/host", "", deniesHost}, []string{"pods/host", "", deniesHost, "pods/x", "", deniesNever}, hostSpec,
			EffectNone, PolicyChange{},
		},
		"a policy reads objects that nobody asked for": {
			[]string{"pods/x", "", deniesNever}, []string{"pods/net", readsNetworkPolicies, `deny contains "none" if count(input.cluster) == 0`}, plainSpec,
			EffectNotReplayable, PolicyChange{"pods/net", StanceSilent, StanceNotReplayable, "facts not available: cannot know networkpolicies.networking.k8s.io in namespace shop: not replayable: nobody asked for them then", ""},
		},
		"a policy reads labels that nobody asked for": {
			[]string{"pods/x", "", deniesNever}, []string{"pods/label", "", `deny contains "x" if input.namespace.labels.x == "y"`}, plainSpec,
			EffectNotReplayable, PolicyChange{"pods/label", StanceSilent, StanceNotReplayable, "facts not available: cannot know the labels of namespace shop: not replayable: nobody asked for the namespace then", ""},
		},
		"another policy denies whatever the open one would say": {
			[]string{"pods/x", "", deniesNever}, []string{"pods/label", "", `deny contains "x" if input.namespace.labels.x == "y"`, "pods/host", "", deniesHost}, hostSpec,
			EffectNewlyDenied, PolicyChange{"pods/host", StanceSilent, StanceDenies, "host network", ""},
		},
		"a policy reads the value of a variable that is not kept": {
			[]string{"pods/x", "", deniesNever}, []string{"pods/env", "", `deny contains "x" if input.workload.containers[_].env[_].value == "hunter2"`},
			`{"containers":[{"name":"a","image":"a","env":[{"name":"PASSWORD","value":"hunter2"}]}]}`,
			EffectNotReplayable, PolicyChange{"pods/env", StanceSilent, StanceNotReplayable, "not replayable: it can read object.spec.containers[0].env[0].value, which the journal does not keep", "object.spec.containers[0].env[0].value"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			then := reviewerOf(t, cluster{}, test.then...)
			dir := journalOf(t, then, pod("web", test.spec))
			after := engineOf(t, 2, "", test.now...)
			for against, before := range map[string]*admission.Lineup{"what was answered": nil, "the bundle": then.Lineup()} {
				report := replay(t, dir, ReplayOptions{Before: before, After: admission.Solo(after)})
				if test.want == EffectNone {
					if report.Unchanged != 1 || len(report.Changes) != 0 {
						t.Errorf("against %s got %+v, want no change", against, report)
					}
					continue
				}
				if len(report.Changes) != 1 || report.Changes[0].Effect != test.want {
					t.Fatalf("against %s got %+v, want %s", against, report.Changes, test.want)
				}
				if !slices.Contains(report.Changes[0].Policies, test.change) {
					t.Errorf("against %s got %+v, want %+v among them", against, report.Changes[0].Policies, test.change)
				}
			}
		})
	}
}

func TestAReplayUsesTheFactsAndTheTimeOfTheDecision(t *testing.T) {
	facts := cluster{
		Cluster:   objects(2, 10),
		Namespace: &policies.Namespace{Name: "shop", Labels: map[string]string{"team": "a"}},
		Partial:   map[policies.Read]string{{Resource: "services", Namespace: "shop"}: "the watch broke"},
	}
	given := []string{
		"pods/net", readsNetworkPolicies, `deny contains sprintf("%d policies", [count(input.cluster)])`,
		"pods/label", "", `warn contains sprintf("team %s", [input.namespace.labels.team])`,
		"pods/now", "", `warn contains input.now`,
		"pods/services", "reads: [{resource: services, scope: namespace}]", `deny contains "no service" if count(input.cluster) == 0`,
	}
	reviewer := reviewerOf(t, facts, given...)
	dir := journalOf(t, reviewer, pod("web", plainSpec))
	report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 1, "", given...))})
	if report.Unchanged != 1 {
		t.Errorf("got %+v, want the same bundle to say the same of everything", report.Changes)
	}
	// A read of one namespace among what was recorded of all.
	wide := reviewerOf(t, facts, "pods/net", strings.Replace(readsNetworkPolicies, "namespace", "cluster", 1), `deny contains sprintf("%d policies", [count(input.cluster)])`)
	dir = journalOf(t, wide, pod("web", plainSpec))
	report = replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 1, "", given[:3]...))})
	if report.Unchanged != 1 {
		t.Errorf("got %+v, want the objects of the namespace out of those of all", report.Changes)
	}
	// The other way round something may be missing.
	dir = journalOf(t, reviewer, pod("web", plainSpec))
	report = replay(t, dir, ReplayOptions{Before: reviewer.Lineup(), After: wide.Lineup()})
	if report.NotReplayable != 1 {
		t.Errorf("got %+v, want it left open", report.Changes)
	}
}

// trusting is a bundle's section trust with one key.
const trusting = `trust:
  authorities:
  - name: release
    images: ["**"]
    keys:
    - pem: |
        -----BEGIN PUBLIC KEY-----
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvDNdOWFzRkLbkzw5WZWOKst+CEgh
        i1QU7zNv53KKKMN/U4oe/dhGuLBgkvAl35g7I+kQIHMOGFWuvv3+3W6q6Q==
        -----END PUBLIC KEY-----
`

func TestEvidenceCountsOnlyForTheTrustItWasVerifiedWith(t *testing.T) {
	signed := `deny contains "not signed" if { some i in input.images; count(i.signatures) == 0 }`
	resolved := `deny contains "moved" if { some i in input.images; i.resolved == "" }`
	facts := cluster{Images: map[string]policies.ImageFacts{}}
	evidence := policies.ImageFacts{Resolved: "sha256:" + strings.Repeat("a", 64), Evidence: signer.Evidence{Signatures: []signer.Signature{{Signer: signer.Signer{Authority: "release"}}}}, Scan: scanner.Report{State: scanner.StateMissing}}
	facts.Images["registry.example/a:1"] = evidence
	then := engineOf(t, 1, "", "pods/signed", "", signed)
	reviewer := admission.NewReviewer(then, facts, clock)
	dir := journalOf(t, reviewer, pod("web", plainSpec))
	if v := lines(t, dir, Filter{})[0].Decision; v.Outcome != "admitted" || v.Judges[0].Facts.Images == nil {
		t.Fatalf("got %+v, want it admitted by its evidence", v)
	}
	for name, test := range map[string]struct {
		now  *policies.Engine
		want Counts
	}{
		"the same trust":                   {engineOf(t, 2, "", "pods/signed", "", signed), Counts{Decisions: 1, Unchanged: 1}},
		"another trust":                    {engineOf(t, 2, trusting, "pods/signed", "", signed), Counts{Decisions: 1, NotReplayable: 1}},
		"another trust, which is not read": {engineOf(t, 2, trusting, "pods/signed", "", resolved), Counts{Decisions: 1, Unchanged: 1}},
		"a part that nobody asked for":     {engineOf(t, 2, "", "pods/signed", "", `deny contains "x" if { some i in input.images; i.scan.state != "complete" }`), Counts{Decisions: 1, NotReplayable: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := replay(t, dir, ReplayOptions{After: admission.Solo(test.now)}).Counts; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestExceptionsOfTheClusterAreThoseOfThen(t *testing.T) {
	manifest := "exceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n"
	exception, err := policies.NewException(policies.Exception{
		APIVersion: policies.APIVersion, Kind: "Exception", Name: "host", Policy: "pods/host", Reason: "r", Owner: "o", Expires: "2026-03-10",
		Selector: policies.ExceptionSelector{Namespaces: []string{"shop"}}, Grant: &policies.Grant{Namespace: "shop", Created: noon.Add(-time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	lineup := admission.Solo(engineOf(t, 1, manifest, "pods/host", "", deniesHost))
	lineup.Exceptions = []policies.Exception{exception}
	dir := journalOf(t, admission.NewLineupReviewer(lineup, cluster{}, clock), pod("web", hostSpec))
	report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 1, manifest, "pods/host", "", deniesHost))})
	if report.Unchanged != 1 {
		t.Errorf("got %+v, want it waived as it was", report.Changes)
	}
	report = replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 2, "", "pods/host", "", deniesHost))})
	if report.NewlyDenied != 1 {
		t.Errorf("got %+v, want it denied by a bundle that takes no exceptions", report.Changes)
	}
}

func TestWhatNobodyLookedAtIsNotGuessed(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, func(o *Options) { o.Unmatched = true })
	bare := pod("web", plainSpec)
	bare.Object = nil
	service := bare
	service.Resource.Resource, service.Kind.Kind = "services", "Service"
	for _, d := range []*admission.Decision{
		{ID: "1", Time: noon, Outcome: "unmatched", Request: bare}, {ID: "2", Time: noon, Outcome: "unmatched", Request: service},
		{ID: "3", Time: noon, Outcome: "shed", Request: bare}, {ID: "4", Time: noon, Outcome: "rejected", Request: admission.Request{UID: "4"}},
	} {
		j.Record(context.Background(), d)
	}
	closeNow(t, j)
	report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 1, "", "pods/host", "", deniesHost))})
	if want := (Counts{Decisions: 2, NotReplayable: 1, Unchanged: 1}); report.Counts != want || report.Unjudged != 2 {
		t.Errorf("got %+v and %d unjudged, want %+v and 2", report.Counts, report.Unjudged, want)
	}
}

func TestABundleAmongSeveralIsComparedWithItself(t *testing.T) {
	platform := admission.ReadyEngine(engineOf(t, 1, "", "pods/host", "", deniesHost))
	team := admission.ReadyEngine(engineOf(t, 1, "", "pods/other", "", `deny contains "other" if input.workload.hostNetwork`))
	platform.Bundle, team.Bundle = "platform", "team"
	lineup := &admission.Lineup{Members: []admission.Member{{Active: platform}, {Active: team}}}
	dir := journalOf(t, admission.NewLineupReviewer(lineup, cluster{}, clock), pod("web", hostSpec))
	next := admission.ReadyEngine(engineOf(t, 2, "", "pods/host", "", deniesHost, "pods/x", "", deniesNever))
	next.Bundle = "platform"
	report := replay(t, dir, ReplayOptions{After: &admission.Lineup{Members: []admission.Member{{Active: next}}}})
	if report.Unchanged != 1 {
		t.Errorf("got %+v, want nothing changed of what that bundle said", report.Changes)
	}
}

// many are decisions of several namespaces and hours.
func many(t testing.TB, count int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", deniesNever)
	j := openIn(t, dir, nil)
	for n := range count {
		spec := plainSpec
		if n%3 == 0 {
			spec = hostSpec
		}
		request := pod(fmt.Sprint("web-", n), spec)
		request.Namespace = []string{"shop", "bank", "kube-system"}[n%7%3]
		d := decide(reviewer, request)
		d.Time = noon.Add(time.Duration(n) * 10 * time.Minute)
		j.Record(context.Background(), d)
	}
	closeNow(t, j)
	return dir
}

func TestAReportIsTheSameForAnyNumberOfWorkers(t *testing.T) {
	dir := many(t, 200)
	after := admission.Solo(engineOf(t, 2, "", "pods/host", "", deniesHost))
	want := replay(t, dir, ReplayOptions{After: after, Workers: 1})
	if want.NewlyDenied != 67 || want.Decisions != 200 || len(want.Policies) != 1 || len(want.Namespaces) != 3 {
		t.Fatalf("got %+v, want a third newly denied", want.Counts)
	}
	for _, workers := range []int{2, 8} {
		got := replay(t, dir, ReplayOptions{After: after, Workers: workers})
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("with %d workers got %s, want %s", workers, a, b)
		}
	}
}

func TestTheCountsOfAReportAddUp(t *testing.T) {
	report := replay(t, many(t, 200), ReplayOptions{After: admission.Solo(engineOf(t, 2, "", "pods/host", "", deniesHost))})
	var namespaces, spans Counts
	for n := range report.Namespaces {
		namespaces.merge(&report.Namespaces[n].Counts)
	}
	for n := range report.Timeline {
		spans.merge(&report.Timeline[n].Counts)
	}
	if namespaces != report.Counts || spans != report.Counts {
		t.Errorf("got %+v by namespace and %+v by time, want %+v", namespaces, spans, report.Counts)
	}
	if len(report.Timeline) < 2 || len(report.Timeline) > maxSpans {
		t.Errorf("got %d spans, want some, and no more than a chart shows", len(report.Timeline))
	}
	sum := 0
	for _, namespace := range report.Policies[0].Namespaces {
		sum += namespace.NewDenials
	}
	if sum != report.Policies[0].NewDenials {
		t.Errorf("got %d new denials by namespace, want %d", sum, report.Policies[0].NewDenials)
	}
}

func TestAFilterLeavesOut(t *testing.T) {
	dir := many(t, 20)
	for name, test := range map[string]struct {
		filter Filter
		want   int
	}{
		"nothing":                    {Filter{}, 20},
		"what is earlier":            {Filter{Since: noon.Add(100 * time.Minute)}, 10},
		"what is later":              {Filter{Until: noon.Add(100 * time.Minute)}, 10},
		"other namespaces":           {Filter{Namespace: "bank"}, 6},
		"policies that said nothing": {Filter{Policy: "pods/x"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := len(lines(t, dir, test.filter)); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
			report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 2, "", "pods/host", "", deniesHost)), Filter: test.filter})
			if report.Decisions != test.want {
				t.Errorf("got %d replayed, want %d", report.Decisions, test.want)
			}
		})
	}
}

func TestADecisionIsFoundByItsIdOrItsUid(t *testing.T) {
	dir := many(t, 5)
	for _, id := range []string{"id-uid-web-3", "uid-web-3"} {
		line, err := Find(context.Background(), dir, id)
		if err != nil || line.Decision.Request.Name != "web-3" {
			t.Errorf("got %+v, %v, want web-3", line, err)
		}
	}
	if _, err := Find(context.Background(), dir, "nobody"); err == nil {
		t.Error("got no error for an id that is not there")
	}
	line, err := Find(context.Background(), dir, "uid-web-3")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenCase(dir, line)
	if err != nil {
		t.Fatal(err)
	}
	want := pod("web-3", hostSpec)
	want.Namespace = "shop"
	want.Subject.Extra = nil
	if !reflect.DeepEqual(opened.Request, want) {
		t.Errorf("got %+v, want %+v", opened.Request, want)
	}
}

func TestMutationsAreReplayedAsSuch(t *testing.T) {
	dir := t.TempDir()
	patches := `patch contains {"path": ["metadata", "labels", "a"], "set": %q}`
	reviewer := reviewerOf(t, cluster{}, "pods/label", "", fmt.Sprintf(patches, "1"))
	request := pod("web", plainSpec)
	request.Resource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	d := &admission.Decision{ID: "m", Time: noon, Mutation: true, Outcome: "admitted", Request: request, Verdict: reviewer.Mutate(context.Background(), request)}
	if len(d.Verdict.Patch) == 0 {
		t.Fatalf("got %+v, want a patch", d.Verdict)
	}
	j := openIn(t, dir, nil)
	j.Record(context.Background(), d)
	closeNow(t, j)
	if report := replay(t, dir, ReplayOptions{After: reviewer.Lineup()}); report.Unchanged != 1 {
		t.Errorf("got %+v, want no change", report.Changes)
	}
	if report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 2, "", "pods/label", "", fmt.Sprintf(patches, "2")))}); report.Changed != 1 {
		t.Errorf("got %+v, want another patch told", report.Counts)
	}
}
