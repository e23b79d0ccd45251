// Package halfload asks webhooks with and without a revision on trial at half of what the machine can do, and compares
// how long the answers take.
package halfload

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/shadow"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// Trial compares two webhooks, the one with nothing on trial, the other with a candidate that is compared with the active
// revision. Both revisions are the built-in library under "restricted".
type Trial struct {
	alone, beside *site
	intervals     []time.Duration
	off, on       turns
}

// New makes both webhooks. Comparing ends with ctx.
func New(ctx context.Context) (*Trial, error) {
	t := &Trial{}
	var err error
	if t.alone, err = newSite(false); err != nil {
		return nil, err
	}
	if t.beside, err = newSite(true); err != nil {
		return nil, err
	}
	go t.beside.shadow.Run(ctx)
	return t, nil
}

// Turn asks each of the webhooks for so long: long enough for a p99, and short enough that whatever else the machine does hits
// both alike. Who begins changes with each turn. What the machine can do is measured before each: others may have taken a
// part of it.
func (t *Trial) Turn(slice time.Duration) error {
	capacity, err := t.alone.capacity()
	if err != nil {
		return err
	}
	interval := 2 * capacity
	t.intervals = append(t.intervals, interval)
	sides := []struct {
		site  *site
		turns *turns
	}{{t.alone, &t.off}, {t.beside, &t.on}}
	if len(t.off.p99)%2 == 1 {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		latencies, err := side.site.load(interval, slice)
		if err != nil {
			return err
		}
		side.turns.add(latencies)
	}
	return nil
}

// Latencies are the medians of all turns: one in which the machine stood still for somebody else is an outlier.
type Latencies struct{ P50, P99 time.Duration }

// Result is what the turns tell.
type Result struct {
	// Off is with nothing on trial, On with a candidate. A latency counts from when the review was to begin.
	Off, On Latencies
	// PerSecond is how many reviews were asked for.
	PerSecond float64
	// Compared and Shed are how many of the reviews were judged by the candidate, too, and how many were not because
	// of the load.
	Compared, Shed int64
}

// More is by how much of itself the p99 is longer with a candidate.
func (r Result) More() float64 { return float64(r.On.P99)/float64(r.Off.P99) - 1 }

// Result is that of all turns so far, of which there has to be one.
func (t *Trial) Result() Result {
	r := Result{Off: t.off.medians(), On: t.on.medians(), PerSecond: float64(time.Second) / float64(median(t.intervals))}
	r.Compared, r.Shed = t.beside.shadow.Counts()
	return r
}

// turns are the quantiles of each turn.
type turns struct{ p50, p99 []time.Duration }

func (t *turns) add(latencies []time.Duration) {
	slices.Sort(latencies)
	quantile := func(q float64) time.Duration { return latencies[int(q*float64(len(latencies)-1))] }
	t.p50, t.p99 = append(t.p50, quantile(0.5)), append(t.p99, quantile(0.99))
}

func (t *turns) medians() Latencies { return Latencies{median(t.p50), median(t.p99)} }

func median(values []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// site is a webhook with or without a revision on trial.
type site struct {
	handler *webhook.Handler
	shadow  *shadow.Shadow
	number  int
}

func newSite(trial bool) (*site, error) {
	active, err := restricted()
	if err != nil {
		return nil, err
	}
	member := admission.Member{Active: active}
	if trial {
		candidate, err := restricted()
		if err != nil {
			return nil, err
		}
		candidate.Digest += "-next"
		member.Candidate = &candidate
	}
	lineup := &admission.Lineup{Members: []admission.Member{member}}
	reviewer := admission.NewLineupReviewer(lineup, namespaces{}, time.Now)
	reviewer.Pin("restricted")
	s := &site{}
	s.shadow = shadow.New(shadow.Options{Reviewer: reviewer, Busy: func() bool { return s.handler.Running() > 0 }})
	s.shadow.Follow(lineup)
	s.handler, err = webhook.NewHandler(webhook.Options{Reviewer: reviewer, Callers: &webhook.Callers{Mode: webhook.CallerOpen}, Recorder: offers{s.shadow}})
	return s, err
}

func restricted() (admission.Ready, error) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		return admission.Ready{}, err
	}
	engine, err := policies.NewEngineFor(bundle, "restricted")
	if err != nil {
		return admission.Ready{}, err
	}
	return admission.ReadyEngine(engine), nil
}

// namespaces knows the namespace of the pods and nothing else.
type namespaces struct{}

func (namespaces) Gather(context.Context, policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: "shop"}}
}

// offers has what was decided compared, as the webhook does.
type offers struct{ shadow *shadow.Shadow }

func (o offers) Record(_ context.Context, decision *admission.Decision) {
	o.shadow.Offer(decision.Request, decision.Verdict)
}

// capacity is the time for a review when all processors do nothing else.
func (s *site) capacity() (time.Duration, error) {
	const each = 150
	workers := runtime.GOMAXPROCS(0)
	problems := make([]error, workers)
	var group sync.WaitGroup
	began := time.Now()
	for worker := range workers {
		group.Go(func() {
			for n := 0; n < each && problems[worker] == nil; n++ {
				problems[worker] = s.ask(-1 - worker*each - n)
			}
		})
	}
	group.Wait()
	return time.Since(began) / time.Duration(each*workers), first(problems)
}

// load asks every interval, whether or not there was an answer, for one slice.
func (s *site) load(interval, slice time.Duration) ([]time.Duration, error) {
	latencies := make([]time.Duration, max(1, int(slice/interval)))
	problems := make([]error, len(latencies))
	var group sync.WaitGroup
	began := time.Now()
	for n := range latencies {
		due := began.Add(time.Duration(n) * interval)
		time.Sleep(time.Until(due)) // to send at a rate, not to wait for something
		s.number++
		number := s.number
		group.Go(func() {
			problems[n] = s.ask(number)
			latencies[n] = time.Since(due)
		})
	}
	group.Wait()
	return latencies, first(problems)
}

func first(problems []error) error {
	for _, problem := range problems {
		if problem != nil {
			return problem
		}
	}
	return nil
}

func (s *site) ask(number int) error {
	request := httptest.NewRequest(http.MethodPost, webhook.ValidatePath, bytes.NewReader(review(number)))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	s.handler.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		return fmt.Errorf("asking the webhook: HTTP %d: %s", answer.Code, answer.Body)
	}
	return nil
}

// review is a review of a pod of about 6 KB; each number is another one, so that nothing is remembered.
func review(number int) []byte {
	var containers []string
	for c := range 4 {
		var env []string
		for e := range 20 {
			env = append(env, fmt.Sprintf(`{"name":"SETTING_%d","value":"setting %d of pod %d"}`, e, e, number))
		}
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"registry.example/team/app-%d:%d","env":[%s],"resources":{"limits":{"cpu":"100m","memory":"128Mi"}}}`, c, c, number&0xffff, strings.Join(env, ",")))
	}
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u%d","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"name":"p%d","namespace":"shop","operation":"CREATE","userInfo":{"username":"alice"},"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p%d","namespace":"shop"},"spec":{"containers":[%s]}}}}`,
		number, number, number, strings.Join(containers, ","))
}
