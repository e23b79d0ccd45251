package admission_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// ready is a revision of a bundle with one policy, named after the bundle.
func ready(t testing.TB, bundle string, serial int, rules string) admission.Ready {
	t.Helper()
	return readyOf(t, bundle, serial, fmt.Sprintf("policies: [{policy: pods/%s}]\nexceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n", bundle), rules)
}

// readyOf is ready with what bundle.yaml says beside name and serial. The policy is about namespaces, too.
func readyOf(t testing.TB, bundle string, serial int, manifest, rules string) admission.Ready {
	t.Helper()
	files := fstest.MapFS{
		"bundle.yaml": {Data: fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: %s\nserial: %d\n%s", bundle, serial, manifest)},
		"x.rego":      {Data: []byte(strings.Replace(rego(bundle, rules), "resources: [pods]", "resources: [pods, namespaces]", 1))},
	}
	loaded, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return admission.ReadyEngine(e)
}

const nothing = `deny contains "no" if input.object.nothing`

func lineup(members ...admission.Member) *admission.Reviewer {
	return admission.NewLineupReviewer(&admission.Lineup{Members: members}, &gathered{}, func() time.Time { return noon })
}

// in is a set of namespaces.
func in(namespaces ...string) func(string) bool {
	return func(namespace string) bool { return slices.Contains(namespaces, namespace) }
}

// said are the findings of a verdict with the bundles they are of.
func said(v admission.Verdict) string {
	var all []string
	for _, f := range v.Findings {
		all = append(all, strings.TrimPrefix(f.Bundle+":"+f.Message, ":"))
	}
	for _, f := range v.Faults {
		all = append(all, strings.TrimPrefix(f.Bundle+":"+string(f.Kind), ":"))
	}
	return strings.Join(all, ", ")
}

func TestWhoeverOfALineupObjectsDenies(t *testing.T) {
	platform, team := ready(t, "platform", 1, denies), ready(t, "team", 1, nothing)
	for name, test := range map[string]struct {
		members  []admission.Member
		admitted bool
		want     string
	}{
		"nobody is there":                              {nil, false, "facts not available"},
		"one, who has nothing against it":              {[]admission.Member{{Active: team}}, true, ""},
		"one, who objects: it need not be named":       {[]admission.Member{{Active: platform}}, false, "no"},
		"the first of two":                             {[]admission.Member{{Active: platform}, {Active: team}}, false, "platform:no"},
		"the second of two":                            {[]admission.Member{{Active: team}, {Active: platform}}, false, "platform:no"},
		"both":                                         {[]admission.Member{{Active: ready(t, "team", 1, denies)}, {Active: platform}}, false, "platform:no, team:no"},
		"one who fails":                                {[]admission.Member{{Active: ready(t, "team", 1, fails)}, {Active: ready(t, "calm", 1, nothing)}}, false, "team:evaluation error"},
		"a tenant's, elsewhere":                        {[]admission.Member{{Active: ready(t, "calm", 1, nothing)}, {Active: platform, Namespaces: in("other")}}, true, ""},
		"a tenant's, in its namespace":                 {[]admission.Member{{Active: ready(t, "calm", 1, nothing)}, {Active: platform, Namespaces: in("shop")}}, false, "platform:no"},
		"a tenant's alone, elsewhere":                  {[]admission.Member{{Active: platform, Namespaces: in("other")}}, true, ""},
		"a candidate that is only compared":            {[]admission.Member{{Active: team, Candidate: &platform}}, true, ""},
		"a candidate where it counts":                  {[]admission.Member{{Active: team, Candidate: &platform, Enforced: in("shop")}}, false, "no"},
		"a candidate where it counts, and the old not": {[]admission.Member{{Active: platform, Candidate: &team, Enforced: in("shop")}}, true, ""},
		"a candidate elsewhere":                        {[]admission.Member{{Active: platform, Candidate: &team, Enforced: in("other")}}, false, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			r := lineup(test.members...)
			request := pod(object)
			if len(test.members) == 0 && !r.Matches(&request) {
				t.Error("nobody is asked where nothing is loaded, so that it would be admitted")
			}
			v := r.Review(t.Context(), request)
			if v.Admitted != test.admitted || said(v) != test.want {
				t.Errorf("got admitted = %v: %s, want %v: %s", v.Admitted, said(v), test.admitted, test.want)
			}
		})
	}
}

func TestAVerdictNamesTheRevisionsThatJudged(t *testing.T) {
	platform, team, next := ready(t, "platform", 1, nothing), ready(t, "team", 1, nothing), ready(t, "team", 2, nothing)
	v := lineup(admission.Member{Active: platform}, admission.Member{Active: team, Candidate: &next, Enforced: in("shop")}).Review(t.Context(), pod(object))
	if want := platform.Revision + ", " + next.Revision; v.Bundle != want {
		t.Errorf("got %s, want %s", v.Bundle, want)
	}
	if len(v.Parts) != 2 || v.Parts[0].Candidate || !v.Parts[1].Candidate || v.Parts[1].Ready.Digest != next.Digest {
		t.Errorf("got parts %+v, want platform's and that of the candidate", v.Parts)
	}
}

func TestAPanicOfAJudgeIsAFaultOfItsBundle(t *testing.T) {
	broken := admission.Ready{Bundle: "broken", Revision: "broken@1", Judges: []admission.Judge{panics{}}}
	for _, r := range []*admission.Reviewer{lineup(admission.Member{Active: broken}), lineup(admission.Member{Active: ready(t, "calm", 1, nothing)}, admission.Member{Active: broken})} {
		v := r.Review(t.Context(), pod(object))
		if v.Admitted || len(v.Faults) != 1 || v.Faults[0].Kind != policies.FaultPanic {
			t.Errorf("got %+v, want a denial for the panic", v)
		}
	}
}

type panics struct{ admission.Judge }

func (panics) Matches(*admission.Request) bool                         { return true }
func (panics) Needs(*admission.Request, policies.Phase) policies.Needs { return policies.Needs{} }
func (panics) Evaluate(context.Context, *admission.Request, *policies.Facts, time.Time, policies.Phase) policies.Result {
	panic("no policy")
}

func TestExceptionsOfTheClusterReachEveryBundleThatTakesThem(t *testing.T) {
	exception, err := policies.NewException(policies.Exception{
		APIVersion: policies.APIVersion, Kind: "Exception", Name: "e", Policy: "pods/team", Reason: "r", Owner: "o", Expires: "2026-04-01",
		Selector: policies.ExceptionSelector{Namespaces: []string{"shop"}},
		Grant:    &policies.Grant{Namespace: "shop", Created: noon},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := admission.NewLineupReviewer(&admission.Lineup{
		Members:    []admission.Member{{Active: ready(t, "team", 1, denies)}, {Active: ready(t, "platform", 1, denies)}},
		Exceptions: []policies.Exception{exception},
	}, &gathered{}, func() time.Time { return noon })
	v := r.Review(t.Context(), pod(object))
	for _, f := range v.Findings {
		if want := map[string]string{"team": "shop/e"}[f.Bundle]; f.ExceptedBy != want {
			t.Errorf("got the finding of %s waived by %q, want %q", f.Bundle, f.ExceptedBy, want)
		}
	}
	if v.Admitted || len(v.Findings) != 2 {
		t.Errorf("got %+v, want it denied by platform alone", v)
	}
}

func TestPatchesOfSeveralBundlesAreMergedAndTheirConflictDenies(t *testing.T) {
	sets := func(key, value string) string {
		return fmt.Sprintf(`patch contains {"path": ["metadata", "labels", %q], "set": %q}`, key, value)
	}
	platform := admission.Member{Active: ready(t, "platform", 1, sets("x", "1"))}
	v := lineup(platform, admission.Member{Active: ready(t, "team", 1, sets("y", "2"))}).Mutate(t.Context(), pod(object))
	if !v.Admitted || !strings.Contains(string(v.Patched), `"x":"1"`) || !strings.Contains(string(v.Patched), `"y":"2"`) {
		t.Errorf("got %+v, patched %s, want both labels", v, v.Patched)
	}
	v = lineup(platform, admission.Member{Active: ready(t, "team", 1, sets("x", "2"))}).Mutate(t.Context(), pod(object))
	if v.Admitted || v.Patched != nil || len(v.Faults) != 1 || v.Faults[0].Kind != policies.FaultPatch || !strings.Contains(v.Faults[0].Policy, "platform:pods/platform, team:pods/team") {
		t.Errorf("got %+v, want a fault that names both policies with their bundles", v)
	}
}

// A tenant could else take out what the platform patches, by patching it otherwise: both fail open by themselves.
func TestPatchesOfTwoBundlesThatContradictDenyWhateverTheyFailTo(t *testing.T) {
	open := func(bundle, value string) admission.Ready {
		return readyOf(t, bundle, 1, "policies: [{policy: pods/"+bundle+", failMode: open}]", fmt.Sprintf(`patch contains {"path": ["metadata", "labels", "x"], "set": %q}`, value))
	}
	v := lineup(admission.Member{Active: open("platform", "1")}, admission.Member{Active: open("team", "2"), Namespaces: in("shop")}).Mutate(t.Context(), pod(object))
	if v.Admitted || v.Patched != nil {
		t.Errorf("got %+v, patched %s, want it denied", v, v.Patched)
	}
}

// The labels of a Namespace say by which profile the platform judges it, and what Pod Security demands.
func TestATenantPatchesNoNamespaces(t *testing.T) {
	tenant := admission.Member{Active: readyOf(t, "team", 1, "policies: [{policy: pods/team}]", `
patch contains {"path": ["metadata", "labels", "x"], "set": "1"}
deny contains "no" if input.object.metadata.labels.bad`), Namespaces: in("shop")}
	platform := admission.Member{Active: ready(t, "platform", 1, nothing)}
	namespace := pod(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"bad":"1"}}}`)
	namespace.Namespace = "shop"
	namespace.Resource.Resource, namespace.Kind.Kind = "namespaces", "Namespace"
	for _, r := range []*admission.Reviewer{lineup(tenant), lineup(platform, tenant)} {
		if v := r.Mutate(t.Context(), namespace); !v.Admitted || v.Patch != nil {
			t.Errorf("got %+v with the patch %s, want it admitted as it is", v, v.Patch)
		}
		if v := r.Review(t.Context(), namespace); v.Admitted {
			t.Errorf("got %+v, want that the tenant judges his own Namespace", v)
		}
		if v := r.Mutate(t.Context(), pod(object)); v.Patch == nil {
			t.Errorf("got %+v, want a pod patched", v)
		}
	}
}

// Whoever serves requests asks whether they match before their objects are looked at.
func TestANamespaceThatHasNoNameYetIsItsTenants(t *testing.T) {
	team := func(namespace string) bool { return strings.HasPrefix(namespace, "team-") }
	r := lineup(admission.Member{Active: readyOf(t, "team", 1, "policies: [{policy: pods/team}]", denies), Namespaces: team})
	request := pod("")
	request.Namespace, request.Name, request.Object = "", "", nil
	request.Resource.Resource, request.Kind.Kind = "namespaces", "Namespace"
	if !r.Matches(&request) {
		t.Error("a Namespace whose name is not known yet matches nothing, so that it would be admitted")
	}
	for object, admitted := range map[string]bool{
		`{"kind":"Namespace","metadata":{"generateName":"team-"}}`:  false,
		`{"kind":"Namespace","metadata":{"generateName":"other-"}}`: true,
	} {
		request.Object = []byte(object)
		if v := r.Review(t.Context(), request); v.Admitted != admitted {
			t.Errorf("%s: got admitted = %v, want %v", object, v.Admitted, admitted)
		}
	}
	other := pod("")
	other.Namespace, other.Name, other.Object = "other", "", nil
	if r.Matches(&other) {
		t.Error("a pod of another namespace matches, want it left alone")
	}
}

func TestInterestsAreThoseOfBothSidesOfEachBundle(t *testing.T) {
	next := ready(t, "team", 2, `patch contains {"path": ["metadata", "labels", "x"], "set": "1"}`)
	got := lineup(admission.Member{Active: ready(t, "platform", 1, nothing)}, admission.Member{Active: ready(t, "team", 1, nothing), Candidate: &next}).Interests()
	if len(got) == 0 || !got[0].Mutates || !got[0].Validates || !got[0].FailClosed {
		t.Errorf("got %+v, want pods both validated and mutated, failing closed", got)
	}
}

func TestNoRequestSeesAMixOfTwoLineups(t *testing.T) {
	// Each lineup has two bundles that say its number: a mix would say two.
	var lineups [2]*admission.Lineup
	for n := range lineups {
		says := fmt.Sprintf(`deny contains "%d" if input.object.kind`, n)
		lineups[n] = &admission.Lineup{Members: []admission.Member{{Active: ready(t, "platform", n+1, says)}, {Active: ready(t, "team", n+1, says)}}}
	}
	r := admission.NewLineupReviewer(lineups[0], &gathered{}, func() time.Time { return noon })
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				v := r.Review(context.Background(), pod(object))
				if v.Admitted || len(v.Findings) != 2 || v.Findings[0].Message != v.Findings[1].Message {
					t.Errorf("got %s, want both bundles of one lineup", said(v))
					return
				}
			}
		})
	}
	for n := range 100 {
		r.Install(lineups[n%2])
	}
	group.Wait()
}

func TestCompareSaysWhereTheTwoSidesDiffer(t *testing.T) {
	calm, strict := ready(t, "team", 1, nothing), ready(t, "team", 2, denies)
	warning := ready(t, "team", 2, warns)
	broken := ready(t, "team", 2, fails)
	for name, test := range map[string]struct {
		member admission.Member
		want   string
	}{
		"no candidate":                                  {admission.Member{Active: calm}, ""},
		"both find nothing":                             {admission.Member{Active: calm, Candidate: &calm}, "[]"},
		"the candidate denies":                          {admission.Member{Active: calm, Candidate: &strict}, "[{Policy:pods/team NewDenial:true Message:no}]"},
		"the candidate denies, and that counts":         {admission.Member{Active: calm, Candidate: &strict, Enforced: in("shop")}, "[{Policy:pods/team NewDenial:true Message:no}]"},
		"the candidate admits":                          {admission.Member{Active: strict, Candidate: &calm}, "[{Policy:pods/team NewDenial:false Message:no}]"},
		"the candidate admits, and that counts":         {admission.Member{Active: strict, Candidate: &calm, Enforced: in("shop")}, "[{Policy:pods/team NewDenial:false Message:no}]"},
		"the candidate only warns":                      {admission.Member{Active: calm, Candidate: &warning}, "[]"},
		"both deny":                                     {admission.Member{Active: strict, Candidate: &strict}, "[]"},
		"a tenant's, elsewhere":                         {admission.Member{Active: calm, Candidate: &strict, Namespaces: in("other")}, ""},
		"the candidate fails, which is a denial of one": {admission.Member{Active: calm, Candidate: &broken}, "pods/team NewDenial:true"},
	} {
		t.Run(name, func(t *testing.T) {
			r := lineup(test.member)
			request := pod(object)
			review := r.Review(t.Context(), request)
			got := r.Compare(t.Context(), request, review)
			text := ""
			for _, c := range got {
				text += fmt.Sprintf("%+v", c.Differences)
				if trial := (admission.Trial{Bundle: c.Bundle, Active: c.Active, Candidate: c.Candidate}); !slices.Equal(review.Trials(&request), []admission.Trial{trial}) {
					t.Errorf("got the trials %+v, want %+v", review.Trials(&request), trial)
				}
			}
			if test.want == "" && text != "" || !strings.Contains(text, test.want) {
				t.Errorf("got %s, want %s", text, test.want)
			}
		})
	}
}

func TestARequestIsNewlyDeniedAsAWhole(t *testing.T) {
	calm, strict := ready(t, "team", 1, nothing), ready(t, "team", 2, denies)
	other := ready(t, "team", 3, denies)
	for name, test := range map[string]struct {
		member                  admission.Member
		newDenial, newAdmission bool
	}{
		"the candidate denies":                  {admission.Member{Active: calm, Candidate: &strict}, true, false},
		"the candidate denies, and that counts": {admission.Member{Active: calm, Candidate: &strict, Enforced: in("shop")}, true, false},
		"the candidate admits":                  {admission.Member{Active: strict, Candidate: &calm}, false, true},
		"both deny":                             {admission.Member{Active: strict, Candidate: &other}, false, false},
		"both admit":                            {admission.Member{Active: calm, Candidate: &calm}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := lineup(test.member)
			request := pod(object)
			got := r.Compare(t.Context(), request, r.Review(t.Context(), request))
			if len(got) != 1 || got[0].NewDenial() != test.newDenial || got[0].NewAdmission() != test.newAdmission {
				t.Errorf("got %+v, want newly denied %v, newly admitted %v", got, test.newDenial, test.newAdmission)
			}
		})
	}
}

func TestALineupIsPreparedWithoutBeingInstalled(t *testing.T) {
	calm, strict := ready(t, "team", 1, nothing), ready(t, "team", 2, denies)
	asked := &counting{Judge: strict.Judges[0]}
	strict.Judges[0] = asked
	r := lineup(admission.Member{Active: calm})
	r.Prepare(t.Context(), &admission.Lineup{Members: []admission.Member{{Active: strict}}}, []admission.Request{pod(object)})
	if want := []string{"validate dry", "mutate dry"}; !slices.Equal(slices.Sorted(slices.Values(asked.calls)), slices.Sorted(slices.Values(want))) {
		t.Errorf("it was asked %q, want %q", asked.calls, want)
	}
	if v := r.Review(t.Context(), pod(object)); !v.Admitted {
		t.Errorf("got %s, want that the installed lineup judges", said(v))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	asked.calls = nil
	if r.Prepare(ended, &admission.Lineup{Members: []admission.Member{{Active: strict}}}, []admission.Request{pod(object)}); len(asked.calls) > 0 {
		t.Errorf("after the end it was asked %q", asked.calls)
	}
}

// counting notes how a judge is asked.
type counting struct {
	admission.Judge
	calls []string
}

func (c *counting) Evaluate(ctx context.Context, request *admission.Request, facts *policies.Facts, now time.Time, phase policies.Phase) policies.Result {
	call := map[policies.Phase]string{policies.PhaseValidate: "validate", policies.PhaseMutate: "mutate"}[phase]
	if request.DryRun {
		call += " dry"
	}
	c.calls = append(c.calls, call)
	return c.Judge.Evaluate(ctx, request, facts, now, phase)
}
