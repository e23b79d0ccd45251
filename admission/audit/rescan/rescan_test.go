package rescan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

var (
	noon    = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	morning = noon.Add(-6 * time.Hour) // when the newest database was made
	night   = noon.Add(-12 * time.Hour)
	shop    = registry.Repository{Registry: "ghcr.io", Path: "acme/shop"}
)

func digestOf(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

// queueFunc is a Queue of one function.
type queueFunc func(digest string, database time.Time) (bool, error)

func (f queueFunc) Renew(_ context.Context, _ registry.Repository, digest string, database time.Time) (bool, error) {
	return f(digest, database)
}

// bench is a Rescan at noon, of images by name.
type bench struct {
	*Rescan
	now   time.Time
	names map[string]string // by digest
	asked []string
	fails error
}

func newBench(running map[string]audit.Use) *bench {
	b := &bench{now: noon, names: map[string]string{}}
	uses := map[string]audit.Use{}
	for name, use := range running {
		use.Repository = shop
		uses[digestOf(name)] = use
		b.names[digestOf(name)] = name
	}
	b.Rescan = New(Options{
		Running: func() map[string]audit.Use { return uses }, Now: func() time.Time { return b.now },
		Queue: queueFunc(func(digest string, database time.Time) (bool, error) {
			if b.fails != nil {
				return false, b.fails
			}
			b.asked = append(b.asked, b.names[digest])
			return true, nil
		}),
	})
	b.listed = true
	return b
}

// done is a scan that ended some time before noon.
func done(database time.Time, ago time.Duration, critical, high int64) scan {
	return scan{phase: v1alpha1.PhaseDone, finished: noon.Add(-ago), database: database, critical: critical, high: high}
}

func (b *bench) turns(t *testing.T, want ...string) {
	t.Helper()
	b.asked = nil
	b.turn(t.Context())
	if !slices.Equal(b.asked, want) {
		t.Errorf("asked for were %q, want %q", b.asked, want)
	}
}

func TestTheWorstAndTheNewestComeFirst(t *testing.T) {
	b := newBench(map[string]audit.Use{
		"clean": {Since: night}, "clean and new": {Since: noon}, "critical": {Since: night}, "two critical": {Since: night}, "high": {Since: night},
		"never": {Since: night}, "never and new": {Since: noon}, "current": {Since: noon}, "waiting": {Since: noon}, "running": {}, "failing": {},
	})
	for name, s := range map[string]scan{
		"clean": done(night, 8*time.Hour, 0, 0), "clean and new": done(night, 8*time.Hour, 0, 0), "critical": done(night, 8*time.Hour, 1, 0), "two critical": done(night, 8*time.Hour, 2, 0),
		"high": done(night, 8*time.Hour, 0, 5), "current": done(morning, time.Minute, 9, 9), "waiting": {phase: v1alpha1.PhaseDone, waiting: true, finished: night, database: night},
		"running": {phase: v1alpha1.PhaseRunning, waiting: true}, "failing": {phase: v1alpha1.PhaseFailed, database: night}, "runs nowhere": done(night, 8*time.Hour, 7, 7),
	} {
		b.scans[digestOf(name)] = s
	}
	b.turns(t, "never and new", "never", "two critical", "critical", "high", "clean and new", "clean", "failing")
	b.turns(t) // they have not been seen since
	b.now = noon.Add(unseen)
	b.turns(t, "never and new", "never", "two critical", "critical", "high", "clean and new", "clean")
	for is, want := range map[state]float64{stateCurrent: 1, stateOutdated: 5, stateWaiting: 2, stateFailed: 1, stateNone: 2} {
		if got := testutil.ToFloat64(b.options.Metrics.images.WithLabelValues(string(is))); got != want {
			t.Errorf("%v images are %s, want %v", got, is, want)
		}
	}
}

func TestNothingIsAskedForBeforeTheQueueIsKnown(t *testing.T) {
	b := newBench(map[string]audit.Use{"never": {}})
	b.listed = false
	b.turns(t)
	b.listed = true
	b.turns(t, "never")
}

func TestNoMoreWaitThanAllowed(t *testing.T) {
	running := map[string]audit.Use{}
	for n := range 5000 {
		running[fmt.Sprint(n)] = audit.Use{Since: noon.Add(-time.Duration(n) * time.Second)}
	}
	b := newBench(running)
	for n := range DefaultMaxWaiting - 3 { // of somebody else
		b.scans[digestOf(fmt.Sprint("other ", n))] = scan{waiting: true}
	}
	b.turns(t, "0", "1", "2")
	b.turns(t)
	b.scans[digestOf("0")] = done(night, 0, 0, 0)
	delete(b.Rescan.asked, digestOf("0"))
	b.turns(t, "3")
}

// The first repository that somebody named may not have the image; the one from which it runs does.
func TestAScanThatFailsIsAskedForNowAndThen(t *testing.T) {
	b := newBench(map[string]audit.Use{"failing": {}})
	b.scans[digestOf("failing")] = scan{phase: v1alpha1.PhaseFailed}
	for n := range DefaultMaxWaiting { // the queue is full
		b.scans[digestOf(fmt.Sprint("other ", n))] = scan{waiting: true}
	}
	b.turns(t, "failing")
	b.now = noon.Add(held - time.Second)
	b.turns(t)
	b.now = noon.Add(held)
	b.turns(t, "failing")
	clear(b.scans)
	b.scans[digestOf("current")] = done(morning, 2*time.Hour, 0, 0)
	b.saw(audit.Object{Raw: fmt.Appendf(nil, `{"spec":{"digest":%q,"requestedAt":%q},"status":{"phase":"Done","finishedAt":%q}}`, digestOf("failing"), night.Format(time.RFC3339), night.Format(time.RFC3339))}, false)
	b.turns(t, "failing") // it has worked since, with an older database
}

// Whoever may create pods can make a name that the API server takes in none of its objects.
func TestAnImageThatIsRefusedKeepsNoneOut(t *testing.T) {
	running := map[string]audit.Use{"never": {Since: night}}
	for n := range DefaultMaxWaiting {
		running[fmt.Sprint("refused ", n)] = audit.Use{Since: noon}
	}
	b := newBench(running)
	take := b.options.Queue.(queueFunc)
	b.options.Queue = queueFunc(func(digest string, database time.Time) (bool, error) {
		if b.names[digest] != "never" {
			return false, fmt.Errorf("asking: %w", apierrors.NewInvalid(schema.GroupKind{}, "x", nil))
		}
		return take(digest, database)
	})
	b.turns(t)
	b.turns(t, "never")
}

// What a scan that failed has is the database of the one before, and the time of the failure.
func TestAScanThatFailedTellsOfNoDatabase(t *testing.T) {
	b := newBench(map[string]audit.Use{"old": {}})
	b.scans[digestOf("old")] = done(night, 8*time.Hour, 0, 0)
	failed := done(morning, time.Minute, 0, 0)
	failed.phase = v1alpha1.PhaseFailed
	b.scans[digestOf("failed")] = failed
	b.turns(t)
}

func TestAQueueThatIsLostIsToldAndItsFiguresAreTakenBack(t *testing.T) {
	b := newBench(map[string]audit.Use{"old": {}})
	var told []string
	b.options.Missing = func(reason string) { told = append(told, reason) }
	figures := func(series int, database time.Time) {
		t.Helper()
		want := 0.0
		if !database.IsZero() {
			want = float64(database.Unix())
		}
		if n, at := testutil.CollectAndCount(b.options.Metrics, "portcullis_audit_images"), testutil.ToFloat64(b.options.Metrics.database); n != series || at != want {
			t.Errorf("there are %d series of images, and the database is of %v; want %d and %v", n, at, series, want)
		}
	}
	b.scans[digestOf("old")] = done(night, 8*time.Hour, 0, 0)
	b.turns(t)
	figures(5, night)
	b.missing("following fails", errors.New("connection refused"))
	figures(0, time.Time{})
	if want := []string{"following fails: connection refused"}; !slices.Equal(told, want) {
		t.Errorf("told was %q, want %q", told, want)
	}
	b.turns(t)
	figures(0, time.Time{})
	b.listed = true
	b.turns(t)
	figures(5, night)
	delete(b.scans, digestOf("old"))
	b.turns(t, "old")
	figures(5, time.Time{})
}

func TestAQueueThatFailsEndsTheTurn(t *testing.T) {
	b := newBench(map[string]audit.Use{"never": {}, "too": {}})
	b.fails = errors.New("the API server is being restarted")
	b.turns(t)
	if len(b.Rescan.asked) != 1 {
		t.Errorf("tried were %d, want one and no more", len(b.Rescan.asked))
	}
	b.fails = nil
	b.now = noon.Add(unseen)
	b.asked = nil
	if b.turn(t.Context()); len(b.asked) != 2 {
		t.Errorf("asked for were %q, want both", b.asked)
	}
}

// A scanner that stays behind must not be asked by the others' database again and again.
func TestAScannerThatLagsIsAskedOnceAnHour(t *testing.T) {
	b := newBench(map[string]audit.Use{"before": {}, "with it": {}, "since": {}, "new": {}})
	b.scans[digestOf("new")] = done(morning, 30*time.Minute, 0, 0)
	b.scans[digestOf("with it")] = done(night, 30*time.Minute, 1, 0) // times have whole seconds
	b.scans[digestOf("before")] = done(night, 31*time.Minute, 0, 0)
	b.scans[digestOf("since")] = done(night, 10*time.Minute, 9, 9)
	b.turns(t, "with it", "before")
	b.now = noon.Add(lag - 10*time.Minute)
	b.turns(t, "since", "with it", "before")
}

// Whoever can write a status could else have all images scanned for ever.
func TestADatabaseOfTheFutureIsNone(t *testing.T) {
	b := newBench(map[string]audit.Use{"old": {}, "new": {}, "liar": {}})
	b.scans[digestOf("old")] = done(night, 8*time.Hour, 0, 0)
	b.scans[digestOf("new")] = done(morning, time.Hour, 0, 0)
	b.scans[digestOf("liar")] = done(noon.Add(time.Hour), time.Minute, 0, 0)
	b.turns(t, "old")
}

func TestNewScansAreToldOnceAndTheWorstFirst(t *testing.T) {
	b := newBench(map[string]audit.Use{"bad": {}, "clean": {}, "known": {}})
	var told [][]string
	b.options.Scanned = func(digests []string) {
		var names []string
		for _, digest := range digests {
			names = append(names, b.names[digest])
		}
		told = append(told, names)
	}
	saw := func(name string, finished time.Time, critical int) {
		b.saw(audit.Object{Raw: fmt.Appendf(nil, `{"spec":{"digest":%q,"requestedAt":"2026-11-29T00:00:00Z"},"status":{"phase":"Done","finishedAt":%q,"vulnerabilities":{"critical":%d},"statement":"H4sI"}}`, digestOf(name), finished.Format(time.RFC3339), critical)}, false)
	}
	b.listed = false
	saw("known", morning, 1)
	b.listed = true
	b.tell()
	for range 2 {
		saw("clean", noon, 0)
		saw("bad", noon, 2)
		saw("runs nowhere", noon, 9)
		b.tell()
	}
	saw("known", noon, 3)
	b.tell()
	if want := [][]string{{"bad", "clean"}, {"known"}}; !slices.EqualFunc(told, want, slices.Equal) {
		t.Errorf("told were %q, want %q", told, want)
	}
}
