package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// recorder is a receiver that notes what it is told; answer says how each attempt goes.
type recorder struct {
	mu     sync.Mutex
	told   []string
	answer func(ctx context.Context, m Message, attempt int) error
	tries  int
	taken  chan struct{} // gets one value for each message that is taken
}

func newRecorder(answer func(context.Context, Message, int) error) *recorder {
	return &recorder{answer: answer, taken: make(chan struct{}, 10_000)}
}

func (r *recorder) Name() string { return "recorder" }

func (r *recorder) Send(ctx context.Context, m Message) error {
	r.mu.Lock()
	r.tries++
	attempt := r.tries
	r.mu.Unlock()
	if r.answer != nil {
		if err := r.answer(ctx, m, attempt); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.told = append(r.told, m.details.Reason)
	r.mu.Unlock()
	r.taken <- struct{}{}
	return nil
}

func (r *recorder) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

// await waits until so many messages were taken.
func (r *recorder) await(t *testing.T, count int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for range count {
		select {
		case <-r.taken:
		case <-deadline:
			t.Fatalf("got %v, want %d messages", r.heard(), count)
		}
	}
}

// about is a message of a severity about a pod.
func about(pod, reason string, severity Severity) Message {
	return NewMessage(Details{Kind: KindTold, Time: noon, Severity: severity, Reason: reason, Pod: &Pod{Namespace: "shop", Name: pod}})
}

// atOnce are options whose pauses take no time, and are noted.
func atOnce(pauses *[]time.Duration, routes ...Route) Options {
	return Options{Routes: routes, Now: func() time.Time { return noon }, Jitter: func() float64 { return 1 }, Wait: func(ctx context.Context, d time.Duration) error {
		if pauses != nil {
			*pauses = append(*pauses, d)
		}
		return ctx.Err()
	}}
}

func TestNotifyNeverWaits(t *testing.T) {
	stuck := newRecorder(func(ctx context.Context, _ Message, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	})
	healthy := newRecorder(nil)
	options := atOnce(nil, Route{Receiver: stuck}, Route{Receiver: healthy})
	options.Queue, options.Metrics = 10, NewMetrics()
	d := NewDispatcher(options)
	began := time.Now()
	for n := range 1000 {
		d.Notify(about("web", fmt.Sprint(n), High))
		if n < 10 {
			healthy.await(t, 1)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("1,000 messages took %v with a receiver that never answers: want no waiting", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Close(ctx)
	if lost := testutil.ToFloat64(options.Metrics.lostTotal.WithLabelValues("recorder", lostQueue)); lost < 900 {
		t.Errorf("got %v messages lost for want of room, want most of the 1,000 counted", lost)
	}
}

func TestWhereThereIsNoRoomTheLeastUrgentGoes(t *testing.T) {
	sending, release := make(chan struct{}), make(chan struct{})
	r := newRecorder(func(_ context.Context, m Message, _ int) error {
		if m.details.Reason == "first" {
			close(sending)
			<-release
		}
		return nil
	})
	options := atOnce(nil, Route{Receiver: r})
	options.Queue = 3
	d := NewDispatcher(options)
	d.Notify(about("web", "first", Low))
	<-sending
	for _, m := range []struct {
		reason   string
		severity Severity
	}{{"low", Low}, {"high", High}, {"medium", Medium}, {"critical", Critical}, {"low again", Low}, {"another high", High}} {
		d.Notify(about("web", m.reason, m.severity))
	}
	d.Notify(NewMessage(Details{Kind: KindBreakerOpened, Time: noon, Severity: Low, Reason: "page"}))
	close(release)
	d.Close(t.Context())
	// "high" goes before "another high": of several the oldest.
	if got, want := strings.Join(r.heard(), ","), "first,critical,another high,page"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAFailureIsTriedAgainAfterLongerAndLongerPauses(t *testing.T) {
	var pauses []time.Duration
	r := newRecorder(func(_ context.Context, _ Message, attempt int) error {
		switch {
		case attempt == 3:
			return &RetryError{After: 90 * time.Second, Err: errors.New("slow down")}
		case attempt == 4:
			return &RetryError{After: 48 * time.Hour, Err: errors.New("slow down for two days")}
		case attempt < 12:
			return errors.New("unreachable")
		}
		return nil
	})
	options := atOnce(&pauses, Route{Receiver: r})
	options.Metrics = NewMetrics()
	d := NewDispatcher(options)
	d.Notify(about("web", "x", High))
	r.await(t, 1)
	d.Close(t.Context())
	want := "[500ms 1s 1m30s 5m0s 8s 16s 30s 30s 30s 30s 30s]"
	if got := fmt.Sprint(pauses); got != want {
		t.Errorf("pauses: got %s, want %s", got, want)
	}
	if failed := testutil.ToFloat64(options.Metrics.failedTotal.WithLabelValues("recorder")); failed != 11 {
		t.Errorf("got %v failures counted, want 11", failed)
	}
}

func TestAMessageThatAReceiverDoesNotGetOverKeepsNothingElseWaiting(t *testing.T) {
	release := make(chan struct{})
	failures := 0
	r := newRecorder(func(_ context.Context, m Message, attempt int) error {
		if attempt == 1 {
			<-release
		}
		if m.details.Reason == "poison" && failures < 3 {
			failures++
			return errors.New("internal error")
		}
		return nil
	})
	d := NewDispatcher(atOnce(nil, Route{Receiver: r}))
	for _, m := range []Message{about("a", "poison", High), about("a", "after it", High), about("b", "other 1", High), about("b", "other 2", High)} {
		d.Notify(m)
	}
	close(release)
	d.Close(t.Context())
	if got, want := strings.Join(r.heard(), ","), "other 1,other 2,poison,after it"; got != want {
		t.Errorf("got %s, want %s: others first, and what is told of one pod in its order", got, want)
	}
}

func TestWhatIsRefusedIsNotTriedAgain(t *testing.T) {
	r := newRecorder(func(_ context.Context, m Message, _ int) error {
		if m.details.Reason == "bad" {
			return fmt.Errorf("no: %w", ErrRefused)
		}
		return nil
	})
	options := atOnce(nil, Route{Receiver: r})
	options.Metrics = NewMetrics()
	d := NewDispatcher(options)
	d.Notify(about("a", "bad", High))
	d.Notify(about("a", "good", High))
	d.Close(t.Context())
	if r.tries != 2 || testutil.ToFloat64(options.Metrics.lostTotal.WithLabelValues("recorder", lostRefused)) != 1 {
		t.Errorf("got %d attempts and %v, want 2, and one refusal counted", r.tries, r.heard())
	}
}

func TestWhatIsTooOldIsNotToldAnyMore(t *testing.T) {
	now := noon
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	r := newRecorder(func(context.Context, Message, int) error { return errors.New("unreachable") })
	options := Options{Routes: []Route{{Receiver: r}}, Now: clock, Metrics: NewMetrics(), Wait: func(ctx context.Context, _ time.Duration) error {
		mu.Lock()
		now = now.Add(20 * time.Minute)
		mu.Unlock()
		return ctx.Err()
	}}
	d := NewDispatcher(options)
	d.Notify(about("a", "x", High))
	d.Close(t.Context())
	if r.tries != 4 || testutil.ToFloat64(options.Metrics.lostTotal.WithLabelValues("recorder", lostExpired)) != 1 {
		t.Errorf("got %d attempts within 1 h at intervals of 20 min, want 4, and the message counted as expired", r.tries)
	}
}

func TestWhatWaitsWhenTheProgramEndsIsCounted(t *testing.T) {
	r := newRecorder(func(ctx context.Context, _ Message, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	})
	options := atOnce(nil, Route{Receiver: r})
	options.Metrics = NewMetrics()
	d := NewDispatcher(options)
	for n := range 5 {
		d.Notify(about("a", fmt.Sprint(n), High))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Close(ctx)
	if lost := testutil.ToFloat64(options.Metrics.lostTotal.WithLabelValues("recorder", lostClosed)); lost != 5 {
		t.Errorf("got %v messages counted as lost at the end, want 5", lost)
	}
	d.Notify(about("a", "later", High))
	if lost := testutil.ToFloat64(options.Metrics.lostTotal.WithLabelValues("recorder", lostQueue)); lost != 1 {
		t.Errorf("got %v messages counted after the end, want 1", lost)
	}
}

func TestARouteFilters(t *testing.T) {
	for name, test := range map[string]struct {
		route Route
		m     Message
		want  bool
	}{
		"the zero route takes all":             {Route{}, about("a", "x", Low), true},
		"as grave as asked for":                {Route{Severity: High}, about("a", "x", High), true},
		"graver than asked for":                {Route{Severity: High}, about("a", "x", Critical), true},
		"milder than asked for":                {Route{Severity: High}, about("a", "x", Medium), false},
		"no severity counts as critical":       {Route{Severity: Critical}, about("a", "x", ""), true},
		"what pages, whatever its severity":    {Route{Severity: Critical}, NewMessage(Details{Kind: KindBreakerOpened, Severity: Low}), true},
		"a kind that is asked for":             {Route{Kinds: []Kind{KindReleased, KindTold}}, about("a", "x", Low), true},
		"a kind that is not asked for":         {Route{Kinds: []Kind{KindReleased}}, about("a", "x", Critical), false},
		"a page whose kind is not asked for":   {Route{Kinds: []Kind{KindReleased}}, NewMessage(Details{Kind: KindBreakerOpened}), false},
		"both filters, and one does not apply": {Route{Severity: High, Kinds: []Kind{KindTold}}, about("a", "x", Low), false},
	} {
		if got := test.route.wants(test.m); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestTheZeroMessageAndTheNilDispatcherTellNothing(t *testing.T) {
	r := newRecorder(nil)
	d := NewDispatcher(atOnce(nil, Route{Receiver: r}))
	d.Notify(Message{})
	d.Close(t.Context())
	if got := r.heard(); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
	var nobody *Dispatcher
	nobody.Notify(About(KindContained, &v1alpha1.Quarantine{}, noon, "x"))
	nobody.Close(t.Context())
}
