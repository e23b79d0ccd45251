package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/policies"
)

// budgetPause is how long a swap may hold anybody.
const budgetPause = time.Millisecond

// swapInterval is how often lineups are swapped under load: far more often than anybody pushes.
const swapInterval = time.Millisecond

// speaker is a bundle whose one policy denies every pod with a word.
func speaker(bundle, word string) (admission.Ready, error) {
	loaded, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: %s\nserial: 1\npolicies: [{policy: %[1]s/speaks}]\n", bundle)},
		"speaks.rego": {Data: fmt.Appendf(nil, speaking, bundle, word)},
	})
	if err != nil {
		return admission.Ready{}, err
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		return admission.Ready{}, err
	}
	return admission.ReadyEngine(engine), nil
}

const speaking = `# METADATA
# title: Speaks
# description: It says a word.
# custom:
#   severity: low
#   match: {workload: any}
#   remediation: Nothing helps.
package portcullis.%s.speaks

deny contains %q if count(input.workload.containers) > 0
`

// outspoken is a lineup of which two bundles say a word, and a third has fifty policies to think about meanwhile.
func outspoken(word string) (*admission.Lineup, error) {
	lineup := &admission.Lineup{}
	for _, bundle := range []string{"platform", "security"} {
		ready, err := speaker(bundle, word)
		if err != nil {
			return nil, err
		}
		lineup.Members = append(lineup.Members, admission.Member{Active: ready})
	}
	engine, err := NewEngine(Fifty)
	if err != nil {
		return nil, err
	}
	lineup.Members = append(lineup.Members, admission.Member{Active: admission.ReadyEngine(engine)})
	return lineup, nil
}

// words are what the two lineups say.
var words = [2]string{"lineup-one", "lineup-two"}

// swapping is a webhook whose lineups change under load, and what its clients have heard.
type swapping struct {
	reviewer *admission.Reviewer
	lineups  [2]*admission.Lineup
	load     *Load

	swaps                           int
	longest                         time.Duration
	answers, failures, mixes, first atomic.Int64
}

func newSwapping(size Size, folder string) (*swapping, func(), error) {
	s := &swapping{}
	for n := range s.lineups {
		var err error
		if s.lineups[n], err = outspoken(words[n]); err != nil {
			return nil, nil, err
		}
	}
	s.reviewer = admission.NewLineupReviewer(s.lineups[0], cluster{}, time.Now)
	handler, err := webhook.NewHandler(webhook.Options{Reviewer: s.reviewer, Callers: &webhook.Callers{Mode: webhook.CallerOpen}})
	if err != nil {
		return nil, nil, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, nil, err
	}
	service, err := Serve(handler, folder)
	if err != nil {
		return nil, nil, err
	}
	if s.load, err = NewLoad(service.URL, service.roots, nil, size.Connections, AllDifferent(Pod()), false); err != nil {
		service.Close()
		return nil, nil, err
	}
	s.load.accept = s.hear
	return s, func() { s.load.Close(); service.Close() }, nil
}

// hear counts an answer. Each of the two bundles says its word in the message and among the causes.
func (s *swapping) hear(status int, answer []byte) error {
	s.answers.Add(1)
	first, last := bytes.Count(answer, []byte(words[0])), bytes.Count(answer, []byte(words[1]))
	switch {
	case status != http.StatusOK || first+last != 4:
		s.failures.Add(1)
	case first > 0 && last > 0:
		s.mixes.Add(1)
	case first > 0:
		s.first.Add(1)
	}
	return nil
}

// swapRows swap lineups while requests are under way, and the same without, in turns.
func swapRows(ctx context.Context, size Size, dir string) ([]Row, error) {
	s, end, err := newSwapping(size, filepath.Join(dir, "swap"))
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := s.load.Run(ctx, size.Load/4); err != nil { // handshakes
		return nil, err
	}
	s.answers.Store(0)
	var still, swapped []Throughput
	for range size.LoadRounds {
		one, err := s.load.Run(ctx, size.Load)
		if err != nil {
			return nil, err
		}
		other, err := s.whileSwapping(ctx, size.Load)
		if err != nil {
			return nil, err
		}
		still, swapped = append(still, one), append(swapped, other)
	}
	if first, all := s.first.Load(), s.answers.Load()-s.failures.Load(); all > 0 && (first == 0 || first == all) {
		return nil, fmt.Errorf("%d of %d answers are of the first lineup: in %d swaps nothing was to be seen", first, all, s.swaps)
	}
	prepared, err := preparedRow(ctx, size)
	return append(s.rows(size, still, swapped), prepared), err
}

// whileSwapping loads while the lineups are swapped.
func (s *swapping) whileSwapping(ctx context.Context, duration time.Duration) (Throughput, error) {
	ctx, stop := context.WithCancel(ctx)
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		s.swap(ctx)
	}()
	result, err := s.load.Run(ctx, duration)
	stop()
	<-swapped
	return result, err
}

func (s *swapping) swap(ctx context.Context) {
	ticker := time.NewTicker(swapInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.swaps++
			next := s.lineups[s.swaps%2]
			began := time.Now()
			s.reviewer.Install(next)
			s.longest = max(s.longest, time.Since(began))
		}
	}
}

func (s *swapping) rows(size Size, still, swapped []Throughput) []Row {
	pause := durationRow("  longest that a swap held anybody", s.longest, budgetPause)
	pause.Got = fmt.Sprintf("%5.1f µs", micros(s.longest))
	p99 := func(t Throughput) time.Duration { return t.P99 }
	perSecond := func(t Throughput) float64 { return t.PerSecond }
	pause.Note = fmt.Sprintf("%.0f/s, p99 %.2f ms; without swaps %.0f/s, p99 %.2f ms",
		median(swapped, perSecond), median(swapped, p99).Seconds()*1000, median(still, perSecond), median(still, p99).Seconds()*1000)
	return []Row{
		noneRow(fmt.Sprintf("HTTPS, %d connections, %d swaps of three bundles: failed requests", size.Connections, s.swaps), s.failures.Load(), s.answers.Load()),
		noneRow("  judged by a mix of two lineups", s.mixes.Load(), s.answers.Load()),
		pause,
	}
}

// noneRow has a budget of none.
func noneRow(what string, got, of int64) Row {
	row := Row{What: what, Got: fmt.Sprintf("%5d of %d", got, of), Budget: "0"}
	if got > 0 {
		row.Of = 1 + float64(got)
	}
	return row
}

// preparedRow compares the first review by a revision that has just been compiled with any other, with preparation and without.
func preparedRow(ctx context.Context, size Size) (Row, error) {
	pods := AllDifferentPods(Pod())
	lineup, err := NewLineup(Fifty, 1)
	if err != nil {
		return Row{}, err
	}
	reviewer := admission.NewLineupReviewer(lineup, cluster{}, time.Now)
	timed := func() time.Duration {
		request := podRequest(pods.Next())
		began := time.Now()
		reviewer.Review(ctx, request)
		return time.Since(began)
	}
	timed()
	var prepared, unprepared, usual []time.Duration
	for range size.Loads {
		for _, firsts := range []*[]time.Duration{&prepared, &unprepared} {
			next, err := NewLineup(Fifty, 1)
			if err != nil {
				return Row{}, err
			}
			if firsts == &prepared {
				reviewer.Prepare(ctx, next, []admission.Request{podRequest(pods.Next())})
			}
			usual = append(usual, timed())
			reviewer.Install(next)
			*firsts = append(*firsts, timed())
		}
	}
	identity := func(d time.Duration) time.Duration { return d }
	return Row{What: "first review after a swap, by a revision that was prepared", Got: fmt.Sprintf("%5.0f µs, any other %.0f µs, not prepared %.0f µs",
		micros(median(prepared, identity)), micros(median(usual, identity)), micros(median(unprepared, identity)))}, nil
}
