package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

var clock = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func now() time.Time { return clock }

// noFacts knows nothing but that there are namespaces.
type noFacts struct{}

func (noFacts) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace, Labels: map[string]string{}, Annotations: map[string]string{}}}
}

func reviewer(t testing.TB) *admission.Reviewer {
	t.Helper()
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return admission.NewReviewer(engine, noFacts{}, now)
}

const container = `{"name":"app","image":"registry.example/app@sha256:0123456789012345678901234567890123456789012345678901234567890123","securityContext":{"privileged":%t}}`

func deployment(n int, privileged bool) Object {
	name := fmt.Sprintf("web-%03d", n)
	return Object{
		Reference: Reference{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "shop", Name: name, UID: "d-" + name},
		Raw: fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q,"namespace":"shop","uid":%q},"spec":{"replicas":1,"template":{"spec":{"containers":[`+container+`]}}}}`,
			name, "d-"+name, privileged),
	}
}

func replicaSet(n int, privileged bool, replicas int) Object {
	name := fmt.Sprintf("web-%03d", n)
	return Object{
		Reference: Reference{Group: "apps", Version: "v1", Kind: "ReplicaSet", Resource: "replicasets", Namespace: "shop", Name: name + "-x", UID: "r-" + name},
		Raw: fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":%q,"namespace":"shop","uid":%q,"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":%q,"uid":%q,"controller":true}]},"spec":{"replicas":%d,"template":{"spec":{"containers":[`+container+`]}}}}`,
			name+"-x", "r-"+name, name, "d-"+name, replicas, privileged),
	}
}

func pod(n int, privileged bool) Object {
	name := fmt.Sprintf("web-%03d", n)
	return Object{
		Reference: Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: "shop", Name: name + "-x-1", UID: "p-" + name},
		Raw: fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"shop","uid":%q,"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":%q,"uid":%q,"controller":true}]},"spec":{"containers":[`+container+`]}}`,
			name+"-x-1", "p-"+name, name+"-x", "r-"+name, privileged),
	}
}

func collect(t *testing.T, a *Auditor, source Source) []Result {
	t.Helper()
	var results []Result
	if err := a.Audit(t.Context(), source, HandlerFunc(func(r Result) error { results = append(results, r); return nil })); err != nil {
		t.Fatal(err)
	}
	return results
}

func privileged(r Result) bool {
	for _, f := range r.Findings {
		if f.Policy == "pods/privileged" {
			return true
		}
	}
	return false
}

func TestAResultComesForEachObjectInTheOrderOfTheSource(t *testing.T) {
	var objects Objects
	for n := range 200 {
		objects = append(objects, deployment(n, n%3 == 0))
	}
	results := collect(t, New(Options{Reviewer: reviewer(t), Workers: 7, Now: now}), objects)
	if len(results) != len(objects) {
		t.Fatalf("got %d results, want %d", len(results), len(objects))
	}
	for n, r := range results {
		if r.Object != objects[n].Reference || privileged(r) != (n%3 == 0) || r.Revision == "" || !r.At.Equal(clock) || len(r.Faults) > 0 {
			t.Fatalf("result %d is %+v, want one of %s, privileged %t", n, r, objects[n].Reference, n%3 == 0)
		}
	}
}

func TestTheDoorIsThatOfTheAuditAndTheOperationACreation(t *testing.T) {
	request := requestFor(pod(1, true))
	if request.Door != policies.DoorAudit || request.Operation != "CREATE" || request.Subject.Username != "" || request.OldObject != nil {
		t.Errorf("got %+v, want a creation at the audit by nobody", request)
	}
}

func TestWhatAnOwnerHasIsNotSaidAgainOfWhatItOwns(t *testing.T) {
	for name, test := range map[string]struct {
		objects Objects
		want    []bool // that the finding is reported
		folded  bool   // by the last one
	}{
		"a pod of a ReplicaSet of a Deployment": {Objects{deployment(1, true), replicaSet(1, true, 1), pod(1, true)}, []bool{true, false, false}, true},
		"a pod whose template was mended since": {Objects{deployment(1, false), replicaSet(1, false, 1), pod(1, true)}, []bool{false, false, true}, false},
		"a ReplicaSet that runs nothing":        {Objects{deployment(1, false), replicaSet(1, true, 0)}, []bool{false, false}, true},
		"an old ReplicaSet that runs something": {Objects{deployment(1, false), replicaSet(1, true, 2)}, []bool{false, true}, false},
		"a pod whose owner nobody has seen":     {Objects{pod(1, true)}, []bool{true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			results := collect(t, New(Options{Reviewer: reviewer(t), Now: now}), test.objects)
			for n, want := range test.want {
				if got := privileged(results[n]); got != want {
					t.Errorf("%s: reported %t, want %t: %+v", results[n].Object, got, want, results[n].Findings)
				}
			}
			if last := results[len(results)-1]; test.folded && last.Folded == 0 {
				t.Errorf("%s: folded nothing, want some", last.Object)
			}
		})
	}
}

func TestOwnersInACircleEnd(t *testing.T) {
	fold := NewFold()
	for range 3 {
		for n, uid := range []string{"a", "b"} {
			got := fold.Add(Result{
				Object: Reference{Kind: "Widget", Resource: "widgets", UID: uid}, Owner: &Owner{UID: []string{"b", "a"}[n]},
				Findings: []policies.Finding{{Policy: "p", Message: "unknown to its owner", Path: uid, ExceptedBy: uid}},
			})
			if len(got.Findings) > 1 {
				t.Errorf("%s: got %d findings, want its own at most", uid, len(got.Findings))
			}
		}
	}
}

// TestTheFirstErrorEndsTheAudit hangs where a worker or the source goes on for ever.
func TestTheFirstErrorEndsTheAudit(t *testing.T) {
	a := New(Options{Reviewer: reviewer(t), Workers: 2, Now: now})
	broken := errors.New("the disk is full")
	var objects Objects
	for n := range 100 {
		objects = append(objects, pod(n, false))
	}
	seen := 0
	err := a.Audit(t.Context(), objects, HandlerFunc(func(Result) error {
		if seen++; seen == 3 {
			return broken
		}
		return nil
	}))
	if !errors.Is(err, broken) || seen != 3 {
		t.Errorf("got %v after %d results, want the handler's error after 3", err, seen)
	}
	gap := &IncompleteError{Gaps: []Gap{{"pods", "grant list"}}}
	err = a.Audit(t.Context(), sourceFunc(func(_ context.Context, yield func(Object) error) error {
		return errors.Join(yield(pod(1, true)), gap)
	}), HandlerFunc(func(Result) error { seen++; return nil }))
	if incomplete := (*IncompleteError)(nil); !errors.As(err, &incomplete) || seen != 4 {
		t.Errorf("got %v and %d results in all, want the gap and 4", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Audit(ctx, objects, HandlerFunc(func(Result) error { return nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context has ended", err)
	}
}

type sourceFunc func(context.Context, func(Object) error) error

func (f sourceFunc) Objects(ctx context.Context, yield func(Object) error) error {
	return f(ctx, yield)
}

func finding(n int) policies.Finding {
	f := policies.Finding{Policy: fmt.Sprintf("p%d", n%5), Severity: severities[n%4], Enforcement: policies.Enforcement(n % 3), Message: fmt.Sprint("m", n)}
	if n%7 == 0 {
		f.ExceptedBy, f.ExceptedUntil = fmt.Sprint("e", n%2), fmt.Sprintf("2027-0%d-01", 1+n%3)
	}
	return f
}

func someResults(count int) []Result {
	var results []Result
	for n := range count {
		r := Result{Object: Reference{Kind: "Pod", Resource: "pods", Namespace: fmt.Sprint("n", n%4), Name: fmt.Sprint("x", n)}, Revision: "r1"}
		for m := range n % 6 {
			r.Findings = append(r.Findings, finding(n+m))
		}
		results = append(results, r)
	}
	return results
}

func TestAPostureIsTheSameInWhateverOrderResultsCome(t *testing.T) {
	results := someResults(500)
	var want, got Posture
	for n := range results {
		want.Add(&results[n])
	}
	for _, n := range rand.New(rand.NewPCG(1, 2)).Perm(len(results)) {
		got.Add(&results[n])
	}
	if a, b := text(t, &want), text(t, &got); a != b {
		t.Errorf("got\n%s\nwant\n%s", b, a)
	}
}

func TestWhatIsTakenOutOfAPostureLeavesNothing(t *testing.T) {
	results := someResults(300)
	p, half, empty := Posture{MaxSamples: -1}, Posture{MaxSamples: -1}, Posture{}
	for n := range results {
		p.Add(&results[n])
		if n%2 == 0 {
			half.Add(&results[n])
		}
	}
	for n := 1; n < len(results); n += 2 {
		p.Remove(&results[n])
	}
	if a, b := text(t, &half), text(t, &p); a != b {
		t.Errorf("got\n%s\nwant\n%s", b, a)
	}
	for n := 0; n < len(results); n += 2 {
		p.Remove(&results[n])
	}
	if a, b := text(t, &empty), text(t, &p); a != b {
		t.Errorf("got\n%s\nwant an empty one", b)
	}
}

func TestTotalsAreExactWhereSamplesAreNot(t *testing.T) {
	results := someResults(400)
	p := Posture{MaxSamples: 3}
	standing, excepted := 0, 0
	for n := range results {
		p.Add(&results[n])
		excepted += results[n].Excepted()
		standing += len(results[n].Findings) - results[n].Excepted()
	}
	s := p.Summary(clock)
	total := 0
	for _, namespace := range s.Namespaces {
		total += namespace.Tally.Standing
	}
	if s.Objects != 400 || s.Total.Standing != standing || s.Total.Excepted != excepted || total != standing || len(s.Samples) != 3 ||
		s.Total.Critical+s.Total.High+s.Total.Medium+s.Total.Low != standing || s.Total.Deny+s.Total.Warn+s.Total.Audit != standing {
		t.Errorf("got %+v, want %d standing and %d excepted", s.Total, standing, excepted)
	}
	for _, sample := range s.Samples {
		if sample.Finding.Severity != "critical" || sample.Finding.Enforcement != policies.EnforceDeny {
			t.Errorf("got the sample %+v, want the worst ones", sample)
		}
	}
	var again Summary
	if err := json.Unmarshal([]byte(text(t, &p)), &again); err != nil || again.Total != s.Total {
		t.Errorf("read back %+v (%v), want %+v", again.Total, err, s.Total)
	}
	if len(s.Exceptions) == 0 || s.Exceptions[0].Until != "2027-01-01" {
		t.Errorf("got exceptions %+v, want the one that ends first at the beginning", s.Exceptions)
	}
}

func text(t *testing.T, p *Posture) string {
	t.Helper()
	content, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
