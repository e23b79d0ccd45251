package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	admissionv1 "k8s.io/api/admission/v1"
)

// saying is a revision of a bundle whose one policy denies every pod with a word.
func saying(t testing.TB, bundle, word string) admission.Ready {
	t.Helper()
	loaded, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: %s\nserial: 1\npolicies: [{policy: %[1]s/says}]\n", bundle)},
		"says.rego": {Data: fmt.Appendf(nil, `# METADATA
# title: Says
# description: It says a word.
# custom:
#   severity: low
#   match: {resources: [{group: "", resources: [pods]}]}
#   remediation: Nothing helps.
package portcullis.%s.says

deny contains %q if input.object.kind == "Pod"
`, bundle, word)},
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return admission.ReadyEngine(engine)
}

type noFacts struct{}

func (noFacts) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

// lineups are two that never judge together. Each has three bundles that say its number, so that a mix would show.
func lineups(t testing.TB) [2]*admission.Lineup {
	var made [2]*admission.Lineup
	for n := range made {
		word := fmt.Sprintf("lineup-%d", n)
		candidate := saying(t, "team", word)
		made[n] = &admission.Lineup{Members: []admission.Member{
			{Active: saying(t, "platform", word)},
			{Active: saying(t, "security", word)},
			{Active: saying(t, "team", "nobody should hear this"), Candidate: &candidate, Enforced: func(namespace string) bool { return namespace == "shop" }},
		}}
	}
	return made
}

var spoken = regexp.MustCompile(`lineup-\d|nobody should hear this`)

// TestLineupsAreSwappedUnderLoad: hundreds of requests are under way, over HTTPS, while lineups are installed. None fails, and
// none is judged by a mix of two.
func TestLineupsAreSwappedUnderLoad(t *testing.T) {
	const clients, each = 200, 10
	made := lineups(t)
	reviewer := admission.NewLineupReviewer(made[0], noFacts{}, time.Now)
	var decided sync.Map // uid -> bundles that judged
	handler := newHandler(t, reviewer, recordedBy(deciding(func(d *admission.Decision) { decided.Store(d.Request.UID, d.Verdict.Bundle) })),
		func(o *Options) { o.MaxRunning, o.MaxWaiting = 2*clients, 2*clients }) // all are one user's, who has half
	service := serve(t, handler)
	client := service.client(t)
	var asking sync.WaitGroup
	var heard [2]atomic.Int64
	for n := range clients {
		asking.Go(func() {
			for m := range each {
				uid := fmt.Sprintf("%d-%d", n, m)
				words, err := ask(client, service.url, uid)
				if err != nil || len(words) != 3 || words[0] != words[1] || words[1] != words[2] {
					t.Errorf("request %s: got %q, %v, want the same word of three bundles", uid, words, err)
					return
				}
				heard[words[0][len(words[0])-1]-'0'].Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { asking.Wait(); close(done) }()
	swaps, longest := swapUntil(done, reviewer, made)
	total := 0
	decided.Range(func(any, any) bool { total++; return true })
	if total != clients*each {
		t.Errorf("%d decisions were recorded, want %d", total, clients*each)
	}
	if swaps < 10 || heard[0].Load() == 0 || heard[1].Load() == 0 {
		t.Errorf("in %d swaps %d and %d answers are of the two lineups: too few to show anything", swaps, heard[0].Load(), heard[1].Load())
	}
	t.Logf("%d swaps, the longest %s; %d and %d answers", swaps, longest, heard[0].Load(), heard[1].Load())
}

type deciding func(*admission.Decision)

func (d deciding) Record(_ context.Context, decision *admission.Decision) { d(decision) }

// swapUntil installs the lineups in turns, and gives how often and how long the longest took.
func swapUntil(done <-chan struct{}, reviewer *admission.Reviewer, made [2]*admission.Lineup) (swaps int, longest time.Duration) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return swaps, longest
		case <-ticker.C:
			swaps++
			began := time.Now()
			reviewer.Install(made[swaps%2])
			longest = max(longest, time.Since(began))
		}
	}
}

// ask sends a pod and gives what the policies say of it.
func ask(client *http.Client, url, uid string) ([]string, error) {
	content := strings.Replace(body(`,"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[]}}`), `"uid":"705ab4f5-6393-11e8-b7cc-42010a800002"`, `"uid":"`+uid+`"`, 1)
	response, err := client.Post(url+ValidatePath+"?timeout=20s", "application/json", strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answered, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answered, &review); err != nil {
		return nil, fmt.Errorf("HTTP %d: %w: %s", response.StatusCode, err, answered)
	}
	if review.Response == nil || review.Response.Allowed || string(review.Response.UID) != uid {
		return nil, fmt.Errorf("HTTP %d: %s", response.StatusCode, answered)
	}
	return spoken.FindAllString(review.Response.Result.Message, -1), nil
}

// BenchmarkSwap measures what a swap of two revisions of the built-in library costs: the swap itself, the first review after it
// with a revision that has only been prepared, and, for comparison, a review at any other time. The budget is 1 ms between
// the end of judging by the one and the beginning by the other, which is the swap alone.
func BenchmarkSwap(b *testing.B) {
	library := func() *admission.Lineup {
		bundle, err := policies.Load(library.FS())
		if err != nil {
			b.Fatal(err)
		}
		engine, err := policies.NewEngineFor(bundle, "restricted")
		if err != nil {
			b.Fatal(err)
		}
		return admission.Solo(engine)
	}
	decoded, err := decodeReview([]byte(pod6KB()))
	if err != nil {
		b.Fatal(err)
	}
	request := decoded.Request.admission()
	decoded.Request.addObjects(request, []byte(pod6KB()))
	reviewer := admission.NewLineupReviewer(library(), noFacts{}, time.Now)
	reviewer.Pin("restricted")
	review := func() time.Duration {
		began := time.Now()
		reviewer.Review(b.Context(), *request)
		return time.Since(began)
	}
	review()
	var swaps, first, usual []time.Duration
	for b.Loop() {
		b.StopTimer()
		next := library()
		reviewer.Prepare(b.Context(), next, []admission.Request{*request})
		usual = append(usual, review())
		b.StartTimer()
		began := time.Now()
		reviewer.Install(next)
		swaps = append(swaps, time.Since(began))
		first = append(first, review())
	}
	for name, times := range map[string][]time.Duration{"swap": swaps, "first": first, "usual": usual} {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, name+"-µs")
		b.ReportMetric(float64(times[len(times)-1].Nanoseconds())/1e3, name+"-max-µs")
	}
	b.ReportMetric(0, "ns/op")
}
