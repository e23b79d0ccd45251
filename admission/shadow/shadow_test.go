package shadow

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// revision is one of the bundle "team", which denies pods that are labelled with one of some words.
func revision(t testing.TB, serial int, denied ...string) admission.Ready {
	t.Helper()
	files := fstest.MapFS{"bundle.yaml": {Data: fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: team\nserial: %d\n", serial)}}
	var policy []string
	for _, word := range denied {
		policy = append(policy, "{policy: team/"+word+"}")
		files[word+".rego"] = &fstest.MapFile{Data: fmt.Appendf(nil, `# METADATA
# scope: package
# title: No %[1]s
# description: Pods are not %[1]s.
# custom:
#   severity: low
#   match: {resources: [{group: "", resources: [pods]}]}
#   remediation: Remove the label.
package portcullis.team.%[1]s

deny contains "is %[1]s" if input.object.metadata.labels.%[1]s
`, word)}
	}
	files["bundle.yaml"].Data = fmt.Appendf(files["bundle.yaml"].Data, "policies: [%s]\n", strings.Join(policy, ", "))
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return admission.ReadyEngine(engine)
}

type noFacts struct{}

func (noFacts) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

// pod is the creation of a pod with labels.
func pod(name string, labels ...string) admission.Request {
	set := map[string]string{}
	for _, label := range labels {
		set[label] = "yes"
	}
	object, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "namespace": "shop", "labels": set, "annotations": map[string]any{"secret": "hunter2"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "a.example/b:1"}}},
	})
	if err != nil {
		panic(err)
	}
	return admission.Request{
		Door: admission.DoorAdmission, UID: name, Operation: "CREATE", Namespace: "shop", Name: name,
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Object: object,
	}
}

// trial is a reviewer with a revision on trial, and a shadow that follows it.
func trial(active, candidate admission.Ready, change func(*Options)) (*admission.Reviewer, *Shadow) {
	lineup := &admission.Lineup{Members: []admission.Member{{Active: active, Candidate: &candidate}}}
	reviewer := admission.NewLineupReviewer(lineup, noFacts{}, time.Now)
	options := Options{Reviewer: reviewer}
	if change != nil {
		change(&options)
	}
	shadow := New(options)
	shadow.Follow(lineup)
	return reviewer, shadow
}

// run compares, in a bubble of [synctest], until nothing is left to do.
func run(t *testing.T, shadow *Shadow) {
	ctx, cancel := context.WithCancel(t.Context())
	go shadow.Run(ctx)
	time.Sleep(time.Minute) // of the bubble's time: until all is compared or shed
	cancel()
	synctest.Wait()
}

func TestDifferencesAreCountedByPolicy(t *testing.T) {
	active, candidate := revision(t, 1, "old", "both"), revision(t, 2, "new", "both")
	synctest.Test(t, func(t *testing.T) {
		reviewer, shadow := trial(active, candidate, nil)
		offer := func(requests ...admission.Request) {
			for _, request := range requests {
				shadow.Offer(request, reviewer.Review(t.Context(), request))
			}
		}
		offer(pod("good"), pod("bad", "both"), pod("relieved", "old"), pod("hit", "new"), pod("hit", "new"), pod("hit-too", "new"), pod("other-reason", "old", "new"))
		began := time.Now()
		run(t, shadow)
		got := shadow.Snapshot("team")
		at := got.Policies[0].Samples[0].Time
		if at.Time.Before(began) {
			t.Errorf("the sample is of %s, want after %s", at, began)
		}
		for p := range got.Policies {
			for s := range got.Policies[p].Samples {
				got.Policies[p].Samples[s].Time = metav1.Time{}
			}
		}
		sample := func(name, message string) v1alpha1.Sample {
			return v1alpha1.Sample{Operation: "CREATE", Resource: "pods", Namespace: "shop", Name: name, Message: message}
		}
		want := &v1alpha1.Comparison{
			Candidate: candidate.Digest, Compared: 7, NewDenials: 3, NewAdmissions: 1,
			Policies: []v1alpha1.PolicyComparison{
				{Policy: "team/new", NewDenials: 4, Samples: []v1alpha1.Sample{sample("hit", "is new"), sample("hit-too", "is new"), sample("other-reason", "is new")}},
				{Policy: "team/old", NewAdmissions: 2, Samples: []v1alpha1.Sample{sample("relieved", "is old"), sample("other-reason", "is old")}},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if text, _ := json.Marshal(got); strings.Contains(string(text), "hunter2") {
			t.Errorf("got %s, which has contents of an object", text)
		}
		if compared, shed := shadow.Counts(); compared != 7 || shed != 0 {
			t.Errorf("got %d compared and %d shed, want 7 and 0", compared, shed)
		}
	})
}

func TestARequestNoTrialIsAboutCostsNoPlace(t *testing.T) {
	calm := revision(t, 1, "old")
	reviewer := admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: calm}}}, noFacts{}, time.Now)
	shadow := New(Options{Reviewer: reviewer})
	shadow.Follow(reviewer.Lineup())
	request := pod("good")
	shadow.Offer(request, reviewer.Review(t.Context(), request))
	if len(shadow.queue) != 0 || shadow.Snapshot("team") != nil {
		t.Errorf("got %d in the queue and %+v, want none", len(shadow.queue), shadow.Snapshot("team"))
	}
}

func TestWhatFindsNoPlaceIsShedAtOnceAndCounted(t *testing.T) {
	active, candidate := revision(t, 1, "old"), revision(t, 2, "new")
	for name, change := range map[string]func(*Options){
		"the queue is full":        func(o *Options) { o.Queue = 2 },
		"the objects are too much": func(o *Options) { o.QueueBytes = 2 * len(pod("p0").Object) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reviewer, shadow := trial(active, candidate, change)
				for n := range 5 {
					request := pod(fmt.Sprintf("p%d", n))
					shadow.Offer(request, reviewer.Review(t.Context(), request))
				}
				if got := shadow.Snapshot("team"); got.Shed != 3 || got.Compared != 0 {
					t.Errorf("got %+v, want 3 shed before anything is compared", got)
				}
				run(t, shadow)
				if got := shadow.Snapshot("team"); got.Shed != 3 || got.Compared != 2 {
					t.Errorf("got %+v, want 3 shed and 2 compared", got)
				}
				if left := shadow.bytes.Load(); left != 0 {
					t.Errorf("%d bytes are still counted as queued, want 0", left)
				}
			})
		})
	}
}

func TestComparisonsWaitUntilItIsQuietButNotForEver(t *testing.T) {
	active, candidate := revision(t, 1, "old"), revision(t, 2, "new")
	for name, test := range map[string]struct {
		busy           time.Duration
		compared, shed int64
	}{
		"it is quiet":                     {0, 1, 0},
		"it becomes quiet":                {DefaultPatience / 2, 1, 0},
		"it becomes quiet when it is old": {DefaultPatience * 2, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quietFrom := time.Now().Add(test.busy)
				reviewer, shadow := trial(active, candidate, func(o *Options) {
					o.Busy = func() bool { return time.Now().Before(quietFrom) }
				})
				request := pod("p")
				shadow.Offer(request, reviewer.Review(t.Context(), request))
				run(t, shadow)
				if got := shadow.Snapshot("team"); got.Compared != test.compared || got.Shed != test.shed {
					t.Errorf("got %d compared, %d shed, want %d and %d", got.Compared, got.Shed, test.compared, test.shed)
				}
			})
		})
	}
}

// slow is a Reviewer whose comparisons take a time, and find a new denial where they end because of the deadline.
type slow struct {
	takes time.Duration
	trial admission.Trial
	panic bool
}

func (s slow) Compare(ctx context.Context, _ admission.Request, _ admission.Verdict) []admission.Comparison {
	if s.panic {
		panic("a mistake")
	}
	select {
	case <-ctx.Done():
	case <-time.After(s.takes):
	}
	return []admission.Comparison{{Bundle: s.trial.Bundle, Active: s.trial.Active, Candidate: s.trial.Candidate, CandidateDenies: ctx.Err() != nil}}
}

func TestACutShortComparisonSaysNothingOfTheCandidate(t *testing.T) {
	active, candidate := revision(t, 1, "old"), revision(t, 2, "new")
	of := admission.Trial{Bundle: "team", Active: active.Digest, Candidate: candidate.Digest}
	for name, test := range map[string]struct {
		reviewer       slow
		compared, shed int64
	}{
		"in time":  {slow{takes: DefaultTimeout / 2, trial: of}, 1, 0},
		"too late": {slow{takes: DefaultTimeout * 2, trial: of}, 0, 1},
		"a panic":  {slow{panic: true}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reviewer, shadow := trial(active, candidate, func(o *Options) { o.Reviewer = test.reviewer })
				request := pod("p")
				shadow.Offer(request, reviewer.Review(t.Context(), request))
				run(t, shadow)
				if got := shadow.Snapshot("team"); got.Compared != test.compared || got.Shed != test.shed || got.NewDenials != 0 {
					t.Errorf("got %+v, want %d compared, %d shed and no new denial", got, test.compared, test.shed)
				}
			})
		})
	}
}

func TestComparisonsHaveTheirShareOfAProcessor(t *testing.T) {
	active, candidate := revision(t, 1, "old"), revision(t, 2, "new")
	of := admission.Trial{Bundle: "team", Active: active.Digest, Candidate: candidate.Digest}
	synctest.Test(t, func(t *testing.T) {
		const each, share = 10 * time.Millisecond, 0.1
		reviewer, shadow := trial(active, candidate, func(o *Options) {
			o.Reviewer, o.Share, o.Patience = slow{takes: each, trial: of}, share, time.Hour
		})
		for n := range 100 {
			request := pod(fmt.Sprint(n))
			shadow.Offer(request, reviewer.Review(t.Context(), request))
		}
		ctx, cancel := context.WithCancel(t.Context())
		go shadow.Run(ctx)
		time.Sleep(time.Second)
		synctest.Wait()
		cancel()
		if got := shadow.Snapshot("team").Compared; got < 9 || got > 11 {
			t.Errorf("%d of %s each were compared within a second, want 10: a tenth of the time", got, each)
		}
	})
}

func TestCountsAreOfOneTrial(t *testing.T) {
	active, first, second := revision(t, 1, "old"), revision(t, 2, "new"), revision(t, 3, "new")
	lineup := func(active admission.Ready, candidate *admission.Ready) *admission.Lineup {
		return &admission.Lineup{Members: []admission.Member{{Active: active, Candidate: candidate}}}
	}
	synctest.Test(t, func(t *testing.T) {
		reviewer, shadow := trial(active, first, nil)
		offer := func() {
			request := pod("p", "new")
			shadow.Offer(request, reviewer.Review(t.Context(), request))
		}
		follow := func(next *admission.Lineup) {
			reviewer.Install(next)
			shadow.Follow(next)
		}
		expect := func(when, candidate string, compared int64) {
			t.Helper()
			if got := shadow.Snapshot("team"); got == nil || got.Candidate != candidate || got.Compared != compared || got.NewDenials != compared {
				t.Errorf("%s: got %+v, want %d of %s", when, got, compared, candidate)
			}
		}
		offer()
		run(t, shadow)
		expect("the first candidate", first.Digest, 1)
		follow(lineup(active, &first))
		expect("the same candidate in another lineup", first.Digest, 1)
		offer() // and is compared when its trial is over
		follow(lineup(active, &second))
		run(t, shadow)
		expect("another candidate", second.Digest, 0)
		follow(lineup(active, nil))
		if got := shadow.Snapshot("team"); got != nil {
			t.Errorf("no candidate: got %+v, want none", got)
		}
		follow(lineup(active, &second))
		expect("a candidate that comes back", second.Digest, 0)
	})
}

func TestWhatIsToldIsBounded(t *testing.T) {
	tally := newTally()
	for n := range 3 * maxPolicies {
		for range 10 {
			request := pod(strings.Repeat("x", n+1))
			tally.add(&admission.Comparison{CandidateDenies: true, Differences: []admission.Difference{
				{Policy: fmt.Sprintf("team/%03d", n), NewDenial: true, Message: strings.Repeat("é\n", 10_000)},
			}}, &request, time.Unix(0, 0))
		}
	}
	tally.policies["team/149"].newDenials++
	got := tally.comparison("sha256:x")
	if len(got.Policies) != maxPolicies || got.Policies[0].Policy != "team/149" || got.Policies[1].Policy != "team/000" {
		t.Errorf("got %d policies, first %s and %s, want %d, the most frequent first", len(got.Policies), got.Policies[0].Policy, got.Policies[1].Policy, maxPolicies)
	}
	longest := slices.MaxFunc(got.Policies, func(a, b v1alpha1.PolicyComparison) int { return len(a.Samples) - len(b.Samples) })
	if message := longest.Samples[0].Message; len(longest.Samples) > maxSamples || len([]rune(message)) > maxMessage || strings.Contains(message, "\n") {
		t.Errorf("got %d samples, the first with %q", len(longest.Samples), message)
	}
}

// Whoever may read PolicyBundles is shown samples.
func TestASampleRepeatsNothingOfASecret(t *testing.T) {
	secret := pod("hunter2-secret")
	secret.Resource.Resource, secret.Kind.Kind = "secrets", "Secret"
	if got := sampleOf(&secret, "the password hunter2 is too short", time.Now()); got.Message != notShown || got.Resource != "secrets" {
		t.Errorf("got %+v, want no message about a Secret", got)
	}
	other := pod("web")
	if got := sampleOf(&other, "is new", time.Now()); got.Message != "is new" {
		t.Errorf("got %+v, want the message", got)
	}
}

func TestADryRunCountsAgainstNoCandidate(t *testing.T) {
	calm, strict := revision(t, 1, "old"), revision(t, 2, "old", "bad")
	reviewer := admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: calm, Candidate: &strict}}}, noFacts{}, time.Now)
	shadow := New(Options{Reviewer: reviewer})
	shadow.Follow(reviewer.Lineup())
	request := pod("bad")
	request.DryRun = true
	shadow.Offer(request, reviewer.Review(t.Context(), request))
	if len(shadow.queue) != 0 {
		t.Error("a dry run is compared, want it left out")
	}
	request.DryRun = false
	shadow.Offer(request, reviewer.Review(t.Context(), request))
	if len(shadow.queue) != 1 {
		t.Error("the same for real is not compared")
	}
}
