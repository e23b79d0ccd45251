package queue

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

var (
	start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	shop  = registry.Repository{Registry: "ghcr.io", Path: "acme/shop"}
	copy2 = registry.Repository{Registry: "mirror.example.com", Path: "acme/shop"}
)

// digestOf is a digest that differs by number.
func digestOf(n int) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Append(nil, n))) }

// bench is a fake API server, and a clock that stands still until it is moved.
type bench struct {
	t      *testing.T
	server *dynamicfake.FakeDynamicClient
	client *Client
	mu     sync.Mutex
	time   time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	server := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(k8sruntime.NewScheme(), map[schema.GroupVersionResource]string{v1alpha1.Resource: "ImageScanList"})
	return &bench{t: t, server: server, client: NewClient(server), time: start}
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(d)
}

func (b *bench) asker(change ...func(*AskerOptions)) *Asker {
	o := AskerOptions{By: "shop/api", Now: b.now}
	for _, c := range change {
		c(&o)
	}
	return NewAsker(b.client, o)
}

func (b *bench) ask(a *Asker, repository registry.Repository, digest string) time.Duration {
	b.t.Helper()
	wait, err := a.Ask(b.t.Context(), repository, digest)
	if err != nil {
		b.t.Fatal(err)
	}
	return wait
}

func (b *bench) get(digest string) *v1alpha1.ImageScan {
	b.t.Helper()
	name, err := v1alpha1.Name(digest)
	if err != nil {
		b.t.Fatal(err)
	}
	scan, err := b.client.get(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return scan
}

// status changes the status of an object, as another replica would.
func (b *bench) status(digest string, change func(*v1alpha1.ImageScanStatus)) {
	b.t.Helper()
	scan := b.get(digest)
	change(&scan.Status)
	if _, err := b.client.updateStatus(b.t.Context(), scan); err != nil {
		b.t.Fatal(err)
	}
}

// writes counts what was written.
func (b *bench) writes() int {
	n := 0
	for _, action := range b.server.Actions() {
		if verb := action.GetVerb(); verb != "get" && verb != "list" && verb != "watch" {
			n++
		}
	}
	return n
}

func (b *bench) worker(name string, scan func(context.Context, Work) (Outcome, error), change ...func(*Options)) *Worker {
	b.t.Helper()
	o := Options{Client: b.server, Name: name, Scan: scan, Now: b.now, Jitter: func() float64 { return 0 }, Parallel: 4}
	for _, c := range change {
		c(&o)
	}
	w, err := NewWorker(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// round has a worker look at the queue once and waits for its scans.
func (b *bench) round(w *Worker) time.Duration {
	b.t.Helper()
	list, err := b.server.Resource(v1alpha1.Resource).List(b.t.Context(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	var all []*v1alpha1.ImageScan
	for i := range list.Items {
		scan, err := decode(&list.Items[i])
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, scan)
	}
	var scans sync.WaitGroup
	next := w.round(b.t.Context(), all, &scans, func(any) {})
	scans.Wait()
	return next
}

func complete(context.Context, Work) (Outcome, error) {
	return Outcome{State: scanner.StateComplete}, nil
}

func TestAskingIsIdempotent(t *testing.T) {
	b := newBench(t)
	a := b.asker()
	if wait := b.ask(a, shop, digestOf(1)); wait != DefaultEstimate {
		t.Errorf("a new scan takes %s, want %s", wait, DefaultEstimate)
	}
	before := b.writes()
	for range 3 {
		b.ask(a, shop, digestOf(1))
	}
	if after := b.writes(); after != before || before != 1 {
		t.Errorf("asking four times wrote %d times, want once", after)
	}
	got := b.get(digestOf(1))
	if got.Spec.Digest != digestOf(1) || !slices.Equal(got.Spec.Repositories, []string{"ghcr.io/acme/shop"}) || got.Spec.RequestedBy != "shop/api" || !got.Spec.RequestedAt.Time.Equal(start) {
		t.Errorf("got %+v", got.Spec)
	}
}

func TestACopyOfAnImageJoinsItsScan(t *testing.T) {
	b := newBench(t)
	a := b.asker()
	b.ask(a, shop, digestOf(1))
	b.round(b.worker("one", complete))
	b.pass(time.Second)
	b.ask(a, copy2, digestOf(1))
	if got := b.get(digestOf(1)).Spec.Repositories; !slices.Equal(got, []string{shop.String(), copy2.String()}) {
		t.Fatalf("the repositories are %q, want both", got)
	}
	var seen []Work
	b.round(b.worker("one", func(_ context.Context, w Work) (Outcome, error) {
		seen = append(seen, w)
		return Outcome{State: scanner.StateComplete}, nil
	}))
	if len(seen) != 1 || !slices.Equal(seen[0].Repositories, []registry.Repository{shop, copy2}) {
		t.Errorf("scanned were %+v, want the image once more, for both", seen)
	}
}

// Whoever may create a pod can name repositories that have no such image, by the digest of one that matters to others.
func TestMadeUpRepositoriesKeepNoneOut(t *testing.T) {
	b := newBench(t)
	a := b.asker(func(o *AskerOptions) { o.Burst = 100 })
	for n := range maxRepositories + 4 {
		b.ask(a, registry.Repository{Registry: "evil.example", Path: fmt.Sprintf("app%d", n)}, digestOf(1))
	}
	b.ask(a, shop, digestOf(1))
	got := b.get(digestOf(1)).Spec.Repositories
	if len(got) != maxRepositories || got[len(got)-1] != shop.String() || got[preferred] != "evil.example/app13" {
		t.Errorf("the repositories are %q, want %d, the last that was asked for among them", got, maxRepositories)
	}
	// From here it runs.
	b.round(b.worker("one", with(old)))
	if !b.renew(shop, digestOf(1), newer) {
		t.Fatal("it was not asked for")
	}
	for n := range 3 * maxRepositories {
		b.ask(a, registry.Repository{Registry: "evil.example", Path: fmt.Sprintf("again%d", n)}, digestOf(1))
	}
	if got := b.get(digestOf(1)).Spec.Repositories; len(got) != maxRepositories || got[0] != shop.String() {
		t.Errorf("the repositories are %q, want %d, the one from which it runs first", got, maxRepositories)
	}
}

func TestWhoAsksTooMuchIsRefused(t *testing.T) {
	b := newBench(t)
	a := b.asker(func(o *AskerOptions) { o.Rate, o.Burst = 1, 3 })
	for n := range 3 {
		b.ask(a, shop, digestOf(n))
	}
	if _, err := a.Ask(t.Context(), shop, digestOf(4)); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want that it is busy", err)
	}
	b.ask(a, shop, digestOf(0)) // what is queued may be asked for at any rate
	b.pass(time.Second)
	b.ask(a, shop, digestOf(4))
}

func TestOnlyDigestsCanBeAskedFor(t *testing.T) {
	b := newBench(t)
	if _, err := b.asker().Ask(t.Context(), shop, "latest"); err == nil || b.writes() > 0 {
		t.Errorf("got %v and %d objects, want an error and none", err, b.writes())
	}
}

func TestReplicasThatAskAtOnceMakeOneObject(t *testing.T) {
	b := newBench(t)
	raced := false
	b.server.PrependReactor("create", "imagescans", func(action clienttesting.Action) (bool, k8sruntime.Object, error) {
		if raced {
			return false, nil, nil
		}
		raced = true // the other replica was faster
		theirs := action.(clienttesting.CreateAction).GetObject().DeepCopyObject().(*unstructured.Unstructured)
		if err := unstructured.SetNestedStringSlice(theirs.Object, []string{copy2.String()}, "spec", "repositories"); err != nil {
			t.Error(err)
		}
		return true, nil, errors.Join(b.server.Tracker().Create(v1alpha1.Resource, theirs, ""), apierrors.NewAlreadyExists(v1alpha1.Resource.GroupResource(), "x"))
	})
	b.ask(b.asker(), shop, digestOf(1))
	if got := b.get(digestOf(1)).Spec.Repositories; !slices.Equal(got, []string{copy2.String(), shop.String()}) {
		t.Errorf("the repositories are %q, want those of both replicas", got)
	}
}

func TestHowLongToWait(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.ImageScanStatus)
		want   time.Duration
	}{
		"for one that is under way": {func(s *v1alpha1.ImageScanStatus) { s.Phase = v1alpha1.PhaseRunning }, 30 * time.Second},
		"for one that will be tried again": {func(s *v1alpha1.ImageScanStatus) {
			s.Phase, s.NextAttempt = v1alpha1.PhaseFailed, at(start.Add(time.Minute))
		}, 90 * time.Second},
		"for one that has just ended": {func(s *v1alpha1.ImageScanStatus) { s.Phase, s.FinishedAt = v1alpha1.PhaseDone, at(start) }, 5 * time.Second},
		"for one that is missed after all": {func(s *v1alpha1.ImageScanStatus) {
			s.Phase, s.FinishedAt = v1alpha1.PhaseDone, at(start.Add(-2*time.Minute))
		}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.pass(-time.Hour)
			b.ask(b.asker(), shop, digestOf(1))
			b.pass(time.Hour)
			b.status(digestOf(1), c.change)
			if got := b.ask(b.asker(), shop, digestOf(1)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAScanThatIsMissedAgainIsDoneAgain(t *testing.T) {
	b := newBench(t)
	scans := 0
	w := b.worker("one", func(context.Context, Work) (Outcome, error) {
		scans++
		return Outcome{State: scanner.StateComplete}, nil
	})
	b.ask(b.asker(), shop, digestOf(1))
	b.round(w)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{30 * time.Second, 1}, {45 * time.Second, 2}} {
		b.pass(c.after)
		b.ask(b.asker(), shop, digestOf(1))
		b.round(w)
		if scans != c.want {
			t.Errorf("%s later: scanned %d times, want %d", c.after, scans, c.want)
		}
	}
}

func TestAScanEndsWithItsStatus(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	w := b.worker("one", func(context.Context, Work) (Outcome, error) {
		got := b.get(digestOf(1)).Status
		if got.Phase != v1alpha1.PhaseRunning || got.ClaimedBy != "one" || got.ClaimExpires == nil || !got.ClaimExpires.Time.Equal(start.Add(DefaultLease)) || got.Attempts != 1 {
			t.Errorf("while it is scanned its status is %+v", got)
		}
		b.pass(time.Minute)
		return Outcome{State: scanner.StateUnscannable, Reasons: []string{"unknown distribution"}, Statement: []byte(`{"signed":true}`)}, nil
	})
	b.round(w)
	got := b.get(digestOf(1)).Status
	end := start.Add(time.Minute)
	if got.Phase != v1alpha1.PhaseDone || got.ClaimedBy != "" || got.ClaimExpires != nil || got.Attempts != 0 || got.State != "unscannable" || !slices.Equal(got.Reasons, []string{"unknown distribution"}) ||
		!got.FinishedAt.Time.Equal(end) || !got.NextAttempt.Time.Equal(end.Add(DefaultRescan)) || !got.Expires.Time.Equal(start.Add(DefaultKeep)) {
		t.Errorf("its status is %+v", got)
	}
	if statement, err := b.client.Statement(t.Context(), digestOf(1)); err != nil || string(statement) != `{"signed":true}` {
		t.Errorf("its statement is %q, %v", statement, err)
	}
	if statement, err := b.client.Statement(t.Context(), digestOf(2)); err != nil || statement != nil {
		t.Errorf("a digest that nobody asked for has the statement %q, %v, want none", statement, err)
	}
	if got := testutil.ToFloat64(w.options.Metrics.scans.WithLabelValues("unscannable")); got != 1 {
		t.Errorf("counted are %v unscannable images, want 1", got)
	}
}

func TestFailuresAreRetriedAfterEverLongerTimes(t *testing.T) {
	for name, outcome := range map[string]struct {
		Outcome
		err error
	}{
		"where the registry is down": {err: errors.New("the registry does not answer")},
		"where the child died":       {Outcome: Outcome{State: scanner.StateError, Reasons: []string{"the child was killed"}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.ask(b.asker(), shop, digestOf(1))
			scans := 0
			w := b.worker("one", func(context.Context, Work) (Outcome, error) { scans++; return outcome.Outcome, outcome.err }, func(o *Options) { o.MaxBackoff = time.Minute })
			for i, wait := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, time.Minute} {
				b.round(w)
				if scans != i+1 {
					t.Fatalf("attempt %d: scanned %d times", i+1, scans)
				}
				got := b.get(digestOf(1)).Status
				if got.Phase != v1alpha1.PhaseFailed || !got.NextAttempt.Time.Equal(b.now().Add(wait)) || len(got.Reasons) == 0 {
					t.Fatalf("attempt %d: its status is %+v, want another attempt after %s", i+1, got, wait)
				}
				b.pass(wait - time.Second)
				if next := b.round(w); scans != i+1 || next != time.Second {
					t.Fatalf("attempt %d: it was tried again too early, or is looked at after %s, want 1s", i+1, next)
				}
				b.pass(time.Second)
			}
		})
	}
}

func TestBackoffIsSpread(t *testing.T) {
	w := newBench(t).worker("one", complete)
	if longest, shortest := w.backoff(3, 0), w.backoff(3, 1); longest != time.Minute || shortest != 30*time.Second {
		t.Errorf("the third wait is from %s to %s, want 30s to 1m", shortest, longest)
	}
	if got := w.backoff(1000, 0); got != DefaultMaxBackoff {
		t.Errorf("after a thousand attempts the wait is %s, want %s", got, DefaultMaxBackoff)
	}
}

func TestADoneImageIsScannedAnewAndInTheEndForgotten(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	scans := 0
	w := b.worker("one", func(context.Context, Work) (Outcome, error) {
		scans++
		return Outcome{State: scanner.StateComplete}, nil
	}, func(o *Options) { o.Keep = 50 * time.Hour })
	for range 3 {
		b.round(w)
		b.pass(24 * time.Hour)
	}
	if scans != 3 {
		t.Errorf("in three days it was scanned %d times, want 3", scans)
	}
	b.round(w)
	if _, err := b.client.get(t.Context(), "sha256-"+digestOf(1)[7:]); !apierrors.IsNotFound(err) {
		t.Errorf("after %s: got %v, want that it is gone", w.options.Keep, err)
	}
	if got := testutil.ToFloat64(w.options.Metrics.expired); got != 1 {
		t.Errorf("counted are %v expired objects, want 1", got)
	}
}

func TestTheScanOfAReplicaThatIsGoneIsTakenOver(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	b.status(digestOf(1), func(s *v1alpha1.ImageScanStatus) {
		s.Phase, s.ClaimedBy, s.ClaimExpires, s.Attempts = v1alpha1.PhaseRunning, "gone", at(start.Add(DefaultLease)), 2
	})
	scans := 0
	w := b.worker("one", func(context.Context, Work) (Outcome, error) {
		scans++
		return Outcome{State: scanner.StateComplete}, nil
	})
	// The claim, and then as after a failed attempt: the image may be what ended the replica.
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{DefaultLease - time.Second, 0}, {DefaultBackoff, 0}, {time.Second, 1}} {
		b.pass(c.after)
		b.round(w)
		if scans != c.want {
			t.Errorf("at %s: scanned %d times, want %d", b.now().Sub(start), scans, c.want)
		}
	}
}

func TestOneReplicaClaimsAndTheOtherLeavesItAlone(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	b.server.PrependReactor("update", "imagescans", func(action clienttesting.Action) (bool, k8sruntime.Object, error) {
		return true, nil, apierrors.NewConflict(v1alpha1.Resource.GroupResource(), "x", errors.New("somebody has written"))
	})
	b.round(b.worker("slow", func(context.Context, Work) (Outcome, error) {
		t.Error("it was scanned without a claim")
		return Outcome{}, nil
	}))
}

func TestALostClaimEndsTheScanAndWritesNothing(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	w := b.worker("slow", func(ctx context.Context, _ Work) (Outcome, error) {
		b.status(digestOf(1), func(s *v1alpha1.ImageScanStatus) { s.ClaimedBy = "fast" })
		<-ctx.Done()
		return Outcome{State: scanner.StateComplete}, nil
	}, func(o *Options) { o.Lease = 30 * time.Millisecond })
	b.round(w)
	if got := b.get(digestOf(1)).Status; got.ClaimedBy != "fast" || got.Phase != v1alpha1.PhaseRunning {
		t.Errorf("its status is %+v, want that of the other replica", got)
	}
}

func TestAReplicaThatEndsGivesItsScansBack(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	ctx, cancel := context.WithCancel(t.Context())
	w := b.worker("one", func(ctx context.Context, _ Work) (Outcome, error) {
		cancel()
		<-ctx.Done()
		return Outcome{}, ctx.Err()
	})
	var scans sync.WaitGroup
	w.round(ctx, []*v1alpha1.ImageScan{b.get(digestOf(1))}, &scans, func(any) {})
	scans.Wait()
	if got := b.get(digestOf(1)).Status; got.Phase != v1alpha1.PhaseQueued || got.ClaimedBy != "" || got.Attempts != 0 {
		t.Errorf("its status is %+v, want queued and nobody's", got)
	}
}

func TestNoMoreAtOnceThanAllowedAndWhoWaitsLongestFirst(t *testing.T) {
	b := newBench(t)
	for n := range 5 {
		b.ask(b.asker(), shop, digestOf(n))
		b.pass(time.Second)
	}
	var mu sync.Mutex
	var order []string
	w := b.worker("one", func(_ context.Context, work Work) (Outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, work.Digest)
		return Outcome{State: scanner.StateComplete}, nil
	}, func(o *Options) { o.Parallel = 1 })
	for range 5 {
		b.round(w)
	}
	if want := []string{digestOf(0), digestOf(1), digestOf(2), digestOf(3), digestOf(4)}; !slices.Equal(order, want) {
		t.Errorf("scanned were %q, want one a round: %q", order, want)
	}
}

func TestAStatementThatIsTooLargeFailsTheScanAndSaysWhatToDo(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	noise := make([]byte, 1<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	b.round(b.worker("one", func(context.Context, Work) (Outcome, error) {
		return Outcome{State: scanner.StateComplete, Statement: noise}, nil
	}))
	got := b.get(digestOf(1)).Status
	if got.Phase != v1alpha1.PhaseFailed || len(got.Reasons) != 1 || !strings.Contains(got.Reasons[0], "let the scanner write to the registry") {
		t.Errorf("its status is %+v, want failed and what to do", got)
	}
}

// Whoever may write objects can put anything into them.
func TestAStatementThatUnpacksToTooMuchIsRefused(t *testing.T) {
	bomb, err := pack(bytes.Repeat([]byte{0}, maxStatement))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unpack(bomb); err != nil || len(got) != maxStatement {
		t.Fatalf("the largest that is allowed: got %d bytes, %v", len(got), err)
	}
	if got, err := unpack(append(bomb, bomb...)); err == nil {
		t.Errorf("got %d bytes, want an error", len(got))
	}
	if _, err := unpack([]byte("no gzip")); err == nil {
		t.Error("got no error for what is no gzip")
	}
}

func TestLongReasonsAreCut(t *testing.T) {
	got := reasons(slices.Repeat([]string{strings.Repeat("ä", 1000)}, 30))
	if len(got) != maxReasons || len(got[0]) > 1024 || !strings.HasSuffix(got[0], "…") {
		t.Errorf("got %d reasons of %d bytes, want %d of at most 1024", len(got), len(got[0]), maxReasons)
	}
}

func TestObjectsSurviveTheirEncoding(t *testing.T) {
	want := &v1alpha1.ImageScan{
		ObjectMeta: metav1.ObjectMeta{Name: "x", ResourceVersion: "7", UID: "u"},
		Spec:       v1alpha1.ImageScanSpec{Digest: digestOf(1), Repositories: []string{"a/b"}, RequestedBy: "c", RequestedAt: metav1.NewTime(start)},
		Status:     v1alpha1.ImageScanStatus{Phase: v1alpha1.PhaseDone, Attempts: 3, Statement: []byte{0, 1, 255}, FinishedAt: at(start)},
	}
	object, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	// As it comes from the API server.
	raw, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var read unstructured.Unstructured
	if err := read.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	got, err := decode(&read)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status.Attempts != 3 || !bytes.Equal(got.Status.Statement, want.Status.Statement) || !got.Status.FinishedAt.Time.Equal(start) || !got.Spec.RequestedAt.Time.Equal(start) || got.UID != "u" || got.ResourceVersion != "7" {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
