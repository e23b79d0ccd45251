package falco

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// openQueue opens a queue that is closed at the end of the test.
func openQueue(t testing.TB, o QueueOptions) *Queue {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	q, err := OpenQueue(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// numbered is an event that differs from others by its number.
func numbered(t testing.TB, p response.Priority, number int) *Message {
	t.Helper()
	return decode(t, fmt.Appendf(nil, `{"rule":"rule %d","priority":%q,"time":"2026-03-01T10:00:00Z","source":"syscall","output":"%s"}`, number, p, strings.Repeat("x", 500)))
}

func put(t testing.TB, q *Queue, messages ...*Message) {
	t.Helper()
	for _, m := range messages {
		if err := q.Put(t.Context(), m); err != nil {
			t.Fatalf("got %v for %s, want it kept", err, m.Event.Rule)
		}
	}
}

// soon is a context that ends long after anything should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func take(t testing.TB, q *Queue) Item {
	t.Helper()
	item, err := q.Take(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// rules takes so many events, says that they are done, and gives their rules.
func rules(t testing.TB, q *Queue, count int) (names []string) {
	t.Helper()
	for range count {
		item := take(t, q)
		names = append(names, item.Message.Event.Rule)
		item.Done()
	}
	return names
}

func wantRules(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got the events %v, want %v", got, want)
	}
}

func wantEmpty(t testing.TB, q *Queue) {
	t.Helper()
	status := q.Status()
	if waiting := status.Lanes["urgent"].Waiting + status.Lanes["ordinary"].Waiting; waiting != 0 || status.Held != 0 {
		t.Errorf("got %d events that wait and %d under way, want none", waiting, status.Held)
	}
}

func TestGraveEventsAreTakenFirstAndOthersInOrder(t *testing.T) {
	q := openQueue(t, QueueOptions{})
	put(t, q, numbered(t, response.Notice, 1), numbered(t, response.Error, 2), numbered(t, response.Critical, 3), numbered(t, response.Debug, 4), numbered(t, response.Emergency, 5))
	wantRules(t, rules(t, q, 5), "rule 3", "rule 5", "rule 1", "rule 2", "rule 4")
	wantEmpty(t, q)
}

func TestWhatWasNotDoneIsTakenByTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, QueueOptions{Dir: dir})
	first := numbered(t, response.Notice, 1)
	first.From("node-a")
	put(t, q, first, numbered(t, response.Notice, 2), numbered(t, response.Critical, 3))
	done, begun := take(t, q), take(t, q)
	done.Done()
	if begun.Message.Event.Rule != "rule 1" || begun.Replayed {
		t.Fatalf("got %+v, want the first of two, new", begun.Message.Event)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, QueueOptions{Dir: dir})
	// What comes again although the process before has kept it is a duplicate still.
	again := numbered(t, response.Notice, 1)
	again.From("node-a")
	put(t, q, again, numbered(t, response.Notice, 4))
	item := take(t, q)
	if !item.Replayed || item.Message.Event.Sender != "node-a" || item.Message.Event.ID != first.Event.ID || !item.Received.Equal(begun.Received) {
		t.Errorf("got %+v received %s, want the event as it was, received %s", item.Message.Event, item.Received, begun.Received)
	}
	item.Done()
	wantRules(t, rules(t, q, 2), "rule 2", "rule 4")
	wantEmpty(t, q)
}

func TestASecondProcessCannotOpenTheQueue(t *testing.T) {
	dir := t.TempDir()
	openQueue(t, QueueOptions{Dir: dir})
	if _, err := OpenQueue(QueueOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, want that another process has it", err)
	}
}

func TestDuplicatesAreDroppedForAWhile(t *testing.T) {
	now := time.Now()
	metrics := NewMetrics()
	q := openQueue(t, QueueOptions{Window: time.Minute, Now: func() time.Time { return now }, Metrics: metrics})
	from := func(sender string) *Message {
		m := numbered(t, response.Critical, 1)
		m.From(sender)
		return m
	}
	put(t, q, from("node-a"), from("node-a"))
	// Another node that says the same first must not silence the one that it happened on.
	put(t, q, from("node-b"))
	if got := testutil.ToFloat64(metrics.duplicates); got != 1 || q.Status().Lanes["urgent"].Waiting != 2 {
		t.Errorf("got %v duplicates and %+v, want one, and an event of each node", got, q.Status())
	}
	now = now.Add(59 * time.Second)
	put(t, q, from("node-a"))
	now = now.Add(2 * time.Minute)
	put(t, q, from("node-a"))
	if got := testutil.ToFloat64(metrics.duplicates); got != 2 || q.Status().Lanes["urgent"].Waiting != 3 {
		t.Errorf("got %v duplicates and %+v, want the one within the window dropped and the one after it kept", got, q.Status())
	}
}

func TestMemoryOfDuplicatesIsBounded(t *testing.T) {
	s := seen{window: time.Hour}
	now := time.Now()
	key := func(n int) (k [16]byte) { copy(k[:], fmt.Sprint(n)); return k }
	for n := range 5 * maxSeen {
		s.add(key(n), now)
		if len(s.newer)+len(s.last) > 2*maxSeen {
			t.Fatalf("got %d events remembered, want %d at most", len(s.newer)+len(s.last), 2*maxSeen)
		}
	}
	if !s.has(key(5*maxSeen-1), now) || s.has(key(0), now) {
		t.Error("want the last one remembered and the first one forgotten")
	}
	if now = now.Add(-time.Minute); s.has(key(5*maxSeen-1), now) {
		t.Error("want all forgotten when the clock goes back: for how long they would stay nobody knows")
	}
}

func TestNoiseIsShedFirstAndGraveEventsNever(t *testing.T) {
	metrics := NewMetrics()
	q := openQueue(t, QueueOptions{MaxWaiting: 100, Metrics: metrics})
	number := 0
	until := func(p response.Priority) (kept int) {
		for {
			number++
			err := q.Put(t.Context(), numbered(t, p, number))
			if errors.Is(err, ErrShed) {
				return q.Status().Lanes["ordinary"].Waiting
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range []struct {
		priority response.Priority
		waiting  int
	}{{response.Debug, 50}, {response.Informational, 60}, {response.Notice, 70}, {response.Warning, 85}, {response.Error, 100}} {
		if got := until(want.priority); got != want.waiting {
			t.Errorf("%s: got it shed when %d wait, want %d", want.priority, got, want.waiting)
		}
		if got := testutil.ToFloat64(metrics.dropped.WithLabelValues(dropShed, want.priority.String())); got != 1 {
			t.Errorf("%s: got %v counted as shed, want 1", want.priority, got)
		}
	}
	for _, p := range []response.Priority{response.Critical, response.Alert, response.Emergency} {
		for range 500 {
			number++
			put(t, q, numbered(t, p, number))
		}
	}
	if got := q.Status().Lanes["urgent"].Waiting; got != 1500 {
		t.Errorf("got %d grave events, want all 1500", got)
	}
	// What is under way fills the queue as well as what waits.
	for range 1500 {
		take(t, q).Done()
	}
	held := take(t, q)
	if err := q.Put(t.Context(), numbered(t, response.Error, 9999)); !errors.Is(err, ErrShed) {
		t.Errorf("got %v while an event is under way, want %v", err, ErrShed)
	}
	held.Done()
	put(t, q, numbered(t, response.Error, 9999))
}

func TestGraveEventsTakeTheRoomOfOthers(t *testing.T) {
	metrics := NewMetrics()
	q := openQueue(t, QueueOptions{MaxBytes: 64 << 10, Segment: 4 << 10, Metrics: metrics})
	ordinary := 0
	for {
		err := q.Put(t.Context(), numbered(t, response.Error, ordinary))
		if errors.Is(err, ErrShed) {
			break // half of it is full
		}
		if err != nil {
			t.Fatal(err)
		}
		ordinary++
	}
	if bytes := q.Status().Lanes["ordinary"].Bytes; bytes < 32<<10 || bytes > 40<<10 {
		t.Errorf("got %d bytes of events below Critical, want about half of 64 KiB", bytes)
	}
	grave := 0
	for ; grave < 10_000; grave++ {
		if err := q.Put(t.Context(), numbered(t, response.Critical, 100_000+grave)); err != nil {
			if !errors.Is(err, ErrVolatile) {
				t.Fatalf("got %v, want it kept in memory when there is no room at all", err)
			}
			break
		}
	}
	status := q.Status()
	if status.Lanes["ordinary"].Waiting != 0 || status.Lanes["ordinary"].Bytes != 0 || status.Volatile != 1 {
		t.Errorf("got %+v, want all others gone and one event in memory alone", status)
	}
	if total := status.Lanes["urgent"].Bytes + status.Lanes["ordinary"].Bytes; total > 64<<10 {
		t.Errorf("got %d bytes, want 64 KiB at most", total)
	}
	if got := testutil.ToFloat64(metrics.dropped.WithLabelValues(dropEvicted, "error")); got != float64(ordinary) {
		t.Errorf("got %v events counted as evicted, want %d", got, ordinary)
	}
	if got := testutil.ToFloat64(metrics.dropped.WithLabelValues(dropFull, "critical")); got != 0 {
		t.Errorf("got %v critical events lost, want none", got)
	}
	for range grave + 1 {
		take(t, q).Done()
	}
	wantEmpty(t, q)
	put(t, q, numbered(t, response.Debug, 1)) // there is room again
}

// TestWhenTheLogIsBrokenGraveEventsStayInMemory takes the folder of a log away.
func TestWhenTheLogIsBrokenGraveEventsStayInMemory(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, QueueOptions{Dir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(t.Context(), numbered(t, response.Error, 1)); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	m := numbered(t, response.Critical, 2)
	if err := q.Put(t.Context(), m); !errors.Is(err, ErrVolatile) {
		t.Errorf("got %v, want %v", err, ErrVolatile)
	}
	// It was not promised to anybody: when it comes again it is no duplicate.
	if err := q.Put(t.Context(), m); !errors.Is(err, ErrVolatile) {
		t.Errorf("got %v the second time, want %v", err, ErrVolatile)
	}
	wantRules(t, rules(t, q, 2), "rule 2", "rule 2")
	wantEmpty(t, q)
	for n := range maxVolatile {
		if err := q.Put(t.Context(), numbered(t, response.Critical, n)); !errors.Is(err, ErrVolatile) {
			t.Fatalf("got %v, want %v", err, ErrVolatile)
		}
	}
	if err := q.Put(t.Context(), m); !errors.Is(err, ErrFull) {
		t.Errorf("got %v when memory is full, too, want %v", err, ErrFull)
	}
}

// TestAFailureThatRoomDoesNotMendDropsNothing takes the folder of the grave events away: dropping others would not bring it back.
func TestAFailureThatRoomDoesNotMendDropsNothing(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, QueueOptions{Dir: dir})
	put(t, q, numbered(t, response.Notice, 1))
	if err := os.RemoveAll(filepath.Join(dir, "urgent")); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(t.Context(), numbered(t, response.Critical, 2)); !errors.Is(err, ErrVolatile) {
		t.Errorf("got %v, want %v", err, ErrVolatile)
	}
	wantRules(t, rules(t, q, 2), "rule 2", "rule 1")
}

// TestADiskThatHangsHoldsNobodyUp stops the goroutine that writes, as a disk would.
func TestADiskThatHangsHoldsNobodyUp(t *testing.T) {
	release, hanging := make(chan struct{}), make(chan struct{})
	var hang atomic.Bool
	metrics := NewMetrics()
	q := openQueue(t, QueueOptions{Metrics: metrics, Now: func() time.Time {
		if hang.CompareAndSwap(true, false) { // the writer asks first
			close(hanging)
			<-release
		}
		return time.Time{}.Add(time.Hour)
	}})
	blocked := make(chan error, 1)
	hang.Store(true)
	blocker := numbered(t, response.Notice, 1)
	go func() { blocked <- q.Put(context.Background(), blocker) }()
	<-hanging
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := q.Put(ctx, numbered(t, response.Notice, 2)); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want %v", err, ErrBusy)
	}
	// The next is not kept waiting for long, and what is grave waits in memory.
	began := time.Now()
	if err := q.Put(t.Context(), numbered(t, response.Alert, 3)); !errors.Is(err, ErrVolatile) || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %s, want %v at once", err, time.Since(began), ErrVolatile)
	}
	wantRules(t, rules(t, q, 1), "rule 3")
	close(release)
	if err := <-blocked; err != nil {
		t.Errorf("got %v for the one that the disk has taken at last, want nothing", err)
	}
	wantRules(t, rules(t, q, 1), "rule 1")
	put(t, q, numbered(t, response.Notice, 4))
	if got := testutil.ToFloat64(metrics.dropped.WithLabelValues(dropBusy, "notice")); got != 1 {
		t.Errorf("got %v events counted as lost, want 1", got)
	}
	if q.stuck.Load() {
		t.Error("want the disk trusted again")
	}
}

func TestAnEventCanBeTakenAgain(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, QueueOptions{Dir: dir})
	put(t, q, numbered(t, response.Notice, 1))
	item := take(t, q)
	item.Again(time.Millisecond)
	item = take(t, q)
	if item.Message.Event.Rule != "rule 1" {
		t.Errorf("got %+v, want the same event", item.Message.Event)
	}
	item.Again(time.Hour)
	if got := q.Status(); got.Held != 1 || got.Lanes["ordinary"].Waiting != 0 {
		t.Errorf("got %+v, want one under way", got)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, QueueOptions{Dir: dir})
	wantRules(t, rules(t, q, 1), "rule 1")
	wantEmpty(t, q)
}

func TestTakingEnds(t *testing.T) {
	q := openQueue(t, QueueOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	ended := make(chan error)
	go func() {
		_, err := q.Take(context.Background())
		ended <- err
	}()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	if err := q.Put(t.Context(), numbered(t, response.Critical, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
}

func TestMoreThanFitsIntoMemoryIsReadFromTheDisk(t *testing.T) {
	q := openQueue(t, QueueOptions{})
	const count = maxCached + 500
	for n := range count {
		put(t, q, numbered(t, response.Warning, n))
	}
	q.mu.Lock()
	cached := q.cached
	q.mu.Unlock()
	if cached != maxCached {
		t.Errorf("got %d events in memory, want %d", cached, maxCached)
	}
	for n, got := range rules(t, q, count) {
		if want := fmt.Sprint("rule ", n); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	wantEmpty(t, q)
	if q.cached != 0 || q.cachedBytes != 0 {
		t.Errorf("got %d events of %d bytes counted as in memory, want none", q.cached, q.cachedBytes)
	}
}

// TestOneSenderCannotFillTheLogForOthers: a node whose sensor, or whoever has its certificate, reports without end costs no other node an event.
func TestOneSenderCannotFillTheLogForOthers(t *testing.T) {
	dir, options := t.TempDir(), QueueOptions{MaxBytes: 256 << 10, Segment: 8 << 10}
	options.Dir = dir
	from := func(sender string, n int) *Message {
		m := numbered(t, response.Critical, n)
		m.From(sender)
		return m
	}
	fill := func(q *Queue) (kept int) {
		for n := range 1000 {
			switch err := q.Put(t.Context(), from("loud", n)); {
			case errors.Is(err, ErrVolatile):
				return kept
			case err != nil:
				t.Fatal(err)
			}
			kept++
		}
		return kept
	}
	q := openQueue(t, options)
	kept := fill(q)
	if full := int(options.MaxBytes / 700); kept < full/2 || kept >= full {
		t.Errorf("got %d events of one sender kept, want most of the log and not all", kept)
	}
	quiet := func(q *Queue, first int) {
		for n := range 20 {
			if err := q.Put(t.Context(), from("quiet", first+n)); err != nil {
				t.Fatalf("got %v for the event of another sender, want it kept", err)
			}
		}
	}
	quiet(q, 0)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	// The next process knows who has sent what waits.
	q = openQueue(t, options)
	if err := q.Put(t.Context(), from("loud", 5000)); !errors.Is(err, ErrVolatile) {
		t.Errorf("got %v for an event of the sender that fills the log, want %v", err, ErrVolatile)
	}
	quiet(q, 100)
	for range kept + 41 {
		take(t, q).Done()
	}
	wantEmpty(t, q)
	if len(q.pending) != 0 {
		t.Errorf("got %v counted when all is done, want none", q.pending)
	}
	put(t, q, from("loud", 5001))
}

// TestMoreThatIsTakenAgainThanFitsIntoMemoryIsReadFromTheDisk: a sender of events whose pods nobody knows fills no memory.
func TestMoreThatIsTakenAgainThanFitsIntoMemoryIsReadFromTheDisk(t *testing.T) {
	q := openQueue(t, QueueOptions{})
	const count = maxCached + 500
	for n := range count {
		put(t, q, numbered(t, response.Warning, n))
		take(t, q).Again(time.Millisecond)
	}
	seen := map[string]bool{}
	for range count {
		q.mu.Lock()
		cached := q.cached
		q.mu.Unlock()
		if cached > maxCached {
			t.Fatalf("got %d events in memory, want %d at most", cached, maxCached)
		}
		item := take(t, q)
		seen[item.Message.Event.Rule] = true
		item.Again(time.Hour)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(seen) != count || q.cached != maxCached {
		t.Errorf("got %d events, and %d in memory, want %d and %d", len(seen), q.cached, count, maxCached)
	}
}

func TestADamagedEventIsCountedAndLeftOut(t *testing.T) {
	dir := t.TempDir()
	metrics := NewMetrics()
	q := openQueue(t, QueueOptions{Dir: dir})
	put(t, q, numbered(t, response.Notice, 1), numbered(t, response.Notice, 2), numbered(t, response.Notice, 3))
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "ordinary", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got %v, %v, want one file", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1 // in the second
	if err := os.WriteFile(files[0], append(content, "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, QueueOptions{Dir: dir, Metrics: metrics})
	wantRules(t, rules(t, q, 2), "rule 1", "rule 3")
	if damaged, torn := testutil.ToFloat64(metrics.lost.WithLabelValues("damaged_records")), testutil.ToFloat64(metrics.lost.WithLabelValues("torn_bytes")); damaged != 1 || torn != 4 {
		t.Errorf("got %v damaged records and %v torn bytes, want 1 and 4", damaged, torn)
	}
}

func TestManyPutAndTakeAtOnce(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, QueueOptions{Dir: dir, Segment: 16 << 10})
	const senders, each = 8, 200
	var mu sync.Mutex
	taken := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var takers, putters sync.WaitGroup
	for range 4 {
		takers.Go(func() {
			for {
				item, err := q.Take(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				taken[item.Message.Event.Rule]++
				done := len(taken) == senders*each
				again := taken[item.Message.Event.Rule] == 1 && len(taken)%7 == 0
				mu.Unlock()
				if again {
					item.Again(time.Millisecond)
				} else {
					item.Done()
				}
				if done {
					cancel()
				}
			}
		})
	}
	for sender := range senders {
		putters.Go(func() {
			for n := range each {
				if err := q.Put(t.Context(), numbered(t, response.Priority(n%8), sender*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	putters.Wait()
	takers.Wait()
	if len(taken) != senders*each {
		t.Errorf("got %d events, want %d", len(taken), senders*each)
	}
}

func TestMetricsSayHowTheQueueStands(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	metrics := NewMetrics()
	q := openQueue(t, QueueOptions{Metrics: metrics, Now: func() time.Time { return now }})
	put(t, q, numbered(t, response.Critical, 1), numbered(t, response.Notice, 2), numbered(t, response.Notice, 3))
	take(t, q)
	for _, name := range []string{"syscall-event-drop", "metrics-snapshot"} {
		put(t, q, decode(t, sample(t, name)))
	}
	put(t, q, decode(t, sample(t, "syscall-event-drop"))) // health is counted each time
	now = now.Add(90 * time.Second)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics)
	want := `
# HELP portcullis_falco_events_total Events kept, by priority.
# TYPE portcullis_falco_events_total counter
portcullis_falco_events_total{priority="critical"} 1
portcullis_falco_events_total{priority="notice"} 2
# HELP portcullis_falco_queue_age_seconds How long the oldest event has waited, by lane.
# TYPE portcullis_falco_queue_age_seconds gauge
portcullis_falco_queue_age_seconds{lane="ordinary"} 90
portcullis_falco_queue_age_seconds{lane="urgent"} 0
# HELP portcullis_falco_queue_depth Events that wait, by lane: urgent (Critical and above) or ordinary.
# TYPE portcullis_falco_queue_depth gauge
portcullis_falco_queue_depth{lane="ordinary"} 2
portcullis_falco_queue_depth{lane="urgent"} 0
# HELP portcullis_falco_queue_held Events that are being dealt with, or will be tried again.
# TYPE portcullis_falco_queue_held gauge
portcullis_falco_queue_held 1
# HELP portcullis_falco_sensor_dropped Events dropped since a Falco started, as it last said, by where: kernel, or outputs for alerts.
# TYPE portcullis_falco_sensor_dropped gauge
portcullis_falco_sensor_dropped{sensor="node-a",where="kernel"} 1234
portcullis_falco_sensor_dropped{sensor="node-a",where="outputs"} 7
# HELP portcullis_falco_sensor_kernel_drops_total Events of the kernel that a Falco has said to have dropped.
# TYPE portcullis_falco_sensor_kernel_drops_total counter
portcullis_falco_sensor_kernel_drops_total{sensor="node-a"} 84
# HELP portcullis_falco_sensor_last_seen_timestamp_seconds When a Falco last said something of itself.
# TYPE portcullis_falco_sensor_last_seen_timestamp_seconds gauge
portcullis_falco_sensor_last_seen_timestamp_seconds{sensor="node-a"} 1.7723592e+09
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "portcullis_falco_events_total", "portcullis_falco_queue_age_seconds", "portcullis_falco_queue_depth",
		"portcullis_falco_queue_held", "portcullis_falco_sensor_dropped", "portcullis_falco_sensor_kernel_drops_total", "portcullis_falco_sensor_last_seen_timestamp_seconds"); err != nil {
		t.Error(err)
	}
}

func TestSensorsThatAreMadeUpAreCountedTogether(t *testing.T) {
	metrics := NewMetrics()
	for n := range maxSensors + 100 {
		metrics.health(&Health{Rule: "Falco internal: metrics snapshot", Hostname: fmt.Sprint("host-", n)}, time.Now())
	}
	if got := testutil.CollectAndCount(metrics.sensorSeen); got != maxSensors+1 {
		t.Errorf("got %d sensors with metrics, want %d and the others together", got, maxSensors)
	}
}

func BenchmarkPut(b *testing.B) {
	q := openQueue(b, QueueOptions{})
	body := string(sample(b, "full"))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m := decode(b, []byte(strings.Replace(body, "4194303", fmt.Sprint(n), 1)))
		if err := q.Put(context.Background(), m); err != nil {
			b.Fatal(err)
		}
		item, err := q.Take(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		item.Done()
	}
}
