package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Defaults of [Options].
const (
	// DefaultLease is how long a claim holds without being renewed: the time that a scan lies idle whose replica is gone.
	DefaultLease = 2 * time.Minute
	// DefaultBackoff is before the second attempt, doubled before each further one up to DefaultMaxBackoff.
	DefaultBackoff    = 15 * time.Second
	DefaultMaxBackoff = time.Hour
	// DefaultRescan is after what time an image is scanned anew: databases are made several times a day, and
	// policies commonly ask for scans of a day or a week.
	DefaultRescan = 24 * time.Hour
	// DefaultKeep is how long an image is scanned anew after somebody last asked for it.
	DefaultKeep = 30 * 24 * time.Hour
)

// Work is an image to scan.
type Work struct {
	Digest string
	// Repositories are where it lies; it is read from the first that has it.
	Repositories []registry.Repository
}

// Outcome is what became of it.
type Outcome struct {
	// State and Reasons are those of the report.
	State   scanner.State
	Reasons []string
	// Database is what it was scanned with, Found what was found.
	Database scanner.Database
	Found    v1alpha1.Vulnerabilities
	// Statement is the signed scan where it could not be attached in every repository, else nil.
	Statement []byte
}

// Count counts vulnerabilities by severity.
func Count(all []scanner.Vulnerability) v1alpha1.Vulnerabilities {
	var n v1alpha1.Vulnerabilities
	for i := range all {
		switch all[i].Severity {
		case "critical":
			n.Critical++
		case "high":
			n.High++
		case "medium":
			n.Medium++
		case "low":
			n.Low++
		default:
			n.Unknown++
		}
	}
	return n
}

// Options of a [Worker]. Client, Name and Scan are required.
type Options struct {
	Client dynamic.Interface
	// Name is that of the replica. No two may have the same.
	Name string
	// Scan scans an image, signs the scan and attaches it. It ends early when its context does, which is when the claim is lost.
	Scan func(context.Context, Work) (Outcome, error)
	// Database is when the vulnerability database was made that this replica scans with now, zero where it has none. One image that
	// was scanned before is scanned with it at once, so that its object tells everybody that there is a newer one. Nil tells nobody.
	Database func() time.Time
	// Parallel is how many scans are under way at once; one by default.
	Parallel                   int
	Lease, Backoff, MaxBackoff time.Duration
	Rescan, Keep               time.Duration
	// Now is the clock, Jitter a number from 0 to 1 by chance.
	Now     func() time.Time
	Jitter  func() float64
	Metrics *Metrics
	Log     *slog.Logger
}

// Worker works off the queue.
type Worker struct {
	options Options
	client  *Client
	mu      sync.Mutex
	busy    map[string]bool // what this replica scans now, by name
	woken   chan struct{}   // holds at most one

	// Of the goroutine of Run:
	told time.Time // when an image was last scanned so that its object tells of a database
}

// NewWorker makes one.
func NewWorker(o Options) (*Worker, error) {
	if o.Client == nil || o.Name == "" || o.Scan == nil {
		return nil, errors.New("making a worker of the queue: it needs a client, a name and a way to scan")
	}
	o.Parallel = cmp.Or(o.Parallel, 1)
	o.Lease, o.Backoff, o.MaxBackoff = cmp.Or(o.Lease, DefaultLease), cmp.Or(o.Backoff, DefaultBackoff), cmp.Or(o.MaxBackoff, DefaultMaxBackoff)
	o.Rescan, o.Keep = cmp.Or(o.Rescan, DefaultRescan), cmp.Or(o.Keep, DefaultKeep)
	if o.Database == nil {
		o.Database = func() time.Time { return time.Time{} }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{options: o, client: NewClient(o.Client), busy: map[string]bool{}, woken: make(chan struct{}, 1)}, nil
}

// Wake has the worker look at the queue: there is another database, or there may be something to do.
func (w *Worker) Wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it is awake
	}
}

// Run works until the context ends. Scans under way are then given up, and their claims with them.
func (w *Worker) Run(ctx context.Context) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(w.options.Client, 0)
	informer := factory.ForResource(v1alpha1.Resource)
	wake := func(any) { w.Wake() }
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: wake, UpdateFunc: func(_, _ any) { wake(nil) }, DeleteFunc: wake}); err != nil {
		return fmt.Errorf("watching the queue of scans: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return nil
	}
	var scans sync.WaitGroup
	defer scans.Wait()
	for ctx.Err() == nil {
		all, err := w.list(informer.Lister())
		if err != nil {
			return err
		}
		next := w.round(ctx, all, &scans, wake)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-w.woken:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func (w *Worker) list(lister cache.GenericLister) ([]*v1alpha1.ImageScan, error) {
	objects, err := lister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing the queue of scans: %w", err)
	}
	var all []*v1alpha1.ImageScan
	for _, object := range objects {
		scan, err := decode(object.(*unstructured.Unstructured))
		if err != nil {
			w.options.Log.Warn("an entry of the queue cannot be read", "error", err)
			continue
		}
		all = append(all, scan)
	}
	return all, nil
}

// longestRound is after what time the queue is looked at though nothing has changed.
const longestRound = time.Minute

// round begins what is due, as far as there is room, deletes what has expired, and says when to look again. wake is called when
// a scan has ended.
func (w *Worker) round(ctx context.Context, all []*v1alpha1.ImageScan, scans *sync.WaitGroup, wake func(any)) time.Duration {
	now := w.options.Now()
	w.options.Metrics.queue(all)
	var due []*v1alpha1.ImageScan
	next := longestRound
	telling := w.telling(all, now)
	for _, scan := range all {
		at := w.dueAt(scan)
		switch {
		case w.expired(scan, now):
			w.expire(ctx, scan)
		case !at.After(now), scan == telling:
			due = append(due, scan)
		default:
			next = min(next, at.Sub(now))
		}
	}
	// What somebody waits for comes first, and of that what is waited for longest.
	slices.SortFunc(due, func(a, b *v1alpha1.ImageScan) int {
		return cmp.Or(cmp.Compare(urgency(a), urgency(b)), w.dueAt(a).Compare(w.dueAt(b)), strings.Compare(a.Name, b.Name))
	})
	for _, scan := range due {
		if !w.reserve(scan.Name) {
			continue
		}
		claimed, err := w.claim(ctx, scan)
		if err != nil {
			w.release(scan.Name)
			if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				w.options.Log.Warn("claiming a scan failed", "digest", scan.Spec.Digest, "error", err)
				next = min(next, 5*time.Second)
			}
			continue // another replica was faster
		}
		if scan == telling {
			w.told = now
		}
		scans.Go(func() {
			defer wake(nil)
			defer w.release(scan.Name)
			w.work(ctx, claimed)
		})
	}
	return next
}

// urgency is 0 for what somebody waits for, and 1 for what is scanned anew without that.
func urgency(scan *v1alpha1.ImageScan) int {
	finished := scan.Status.FinishedAt
	if !scan.Spec.Background && (finished == nil || scan.Spec.RequestedAt.After(finished.Time)) {
		return 0
	}
	return 1
}

// tellAgain is after what time another image is scanned for telling of a database, where the last one did not: its scan may have failed.
const tellAgain = 10 * time.Minute

// telling is the object that is to tell of this replica's database, that which was scanned longest ago; nil where one does already,
// or a scan is under way that will.
func (w *Worker) telling(all []*v1alpha1.ImageScan, now time.Time) *v1alpha1.ImageScan {
	database := w.options.Database()
	if database.IsZero() || now.Sub(w.told) < tellAgain {
		return nil
	}
	var oldest *v1alpha1.ImageScan
	for _, scan := range all {
		status := &scan.Status
		// One that has failed since is not listened to: its object has the database of the scan before.
		if status.Phase == v1alpha1.PhaseRunning || status.Phase != v1alpha1.PhaseFailed && !outdated(scan, database) {
			return nil
		}
		if status.Phase == v1alpha1.PhaseDone && status.FinishedAt != nil && (oldest == nil || status.FinishedAt.Before(oldest.Status.FinishedAt)) {
			oldest = scan
		}
	}
	return oldest
}

// dueAt is when an object may be worked on by anybody.
func (w *Worker) dueAt(scan *v1alpha1.ImageScan) time.Time {
	status := &scan.Status
	switch status.Phase {
	case v1alpha1.PhaseRunning:
		// Its replica may be gone because of this very image: the next one waits as after a failure.
		if status.ClaimExpires != nil {
			return status.ClaimExpires.Add(w.backoff(status.Attempts-1, 0))
		}
	case v1alpha1.PhaseDone:
		if status.FinishedAt != nil && scan.Spec.RequestedAt.After(status.FinishedAt.Time) {
			return scan.Spec.RequestedAt.Time
		}
		if status.NextAttempt != nil {
			return status.NextAttempt.Time
		}
	case v1alpha1.PhaseFailed:
		if status.NextAttempt != nil {
			return status.NextAttempt.Time
		}
	}
	return scan.Spec.RequestedAt.Time
}

func (w *Worker) expired(scan *v1alpha1.ImageScan, now time.Time) bool {
	return now.Sub(scan.Spec.RequestedAt.Time) > w.options.Keep && (scan.Status.Phase != v1alpha1.PhaseRunning || scan.Status.ClaimExpires == nil || now.After(scan.Status.ClaimExpires.Time))
}

func (w *Worker) expire(ctx context.Context, scan *v1alpha1.ImageScan) {
	err := w.client.delete(ctx, scan)
	switch {
	case err == nil:
		w.options.Metrics.expired.Inc()
	case !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil:
		w.options.Log.Warn("deleting an expired scan failed", "digest", scan.Spec.Digest, "error", err)
	}
}

// reserve takes a place for a scan in this replica.
func (w *Worker) reserve(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[name] || len(w.busy) >= w.options.Parallel {
		return false
	}
	w.busy[name] = true
	return true
}

func (w *Worker) release(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, name)
}

// claim writes this replica's name into an object. The API server refuses it where somebody has written since the
// object was read (optimistic concurrency by resourceVersion).
func (w *Worker) claim(ctx context.Context, scan *v1alpha1.ImageScan) (*v1alpha1.ImageScan, error) {
	mine := *scan
	mine.Status.Phase = v1alpha1.PhaseRunning
	mine.Status.ClaimedBy = w.options.Name
	mine.Status.ClaimExpires = at(w.options.Now().Add(w.options.Lease))
	mine.Status.Attempts++
	mine.Status.NextAttempt = nil
	mine.Status.Expires = at(scan.Spec.RequestedAt.Add(w.options.Keep))
	return w.client.updateStatus(ctx, &mine)
}

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t} }

// errLost says that another replica has the scan now.
var errLost = errors.New("the claim was lost")

// work scans what was claimed and writes how it ended.
func (w *Worker) work(ctx context.Context, scan *v1alpha1.ImageScan) {
	scanning, stop := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { w.renew(scanning, stop, scan.Name) })
	began := w.options.Now()
	outcome, err := w.options.Scan(scanning, work(scan))
	lost := errors.Is(context.Cause(scanning), errLost)
	stop(nil)
	renewing.Wait()
	if lost {
		w.options.Metrics.count("lost", w.options.Now().Sub(began))
		w.options.Log.Warn("another replica has taken over a scan", "digest", scan.Spec.Digest)
		return
	}
	// Also when this replica is being ended: the next one need not wait for the claim to expire.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	result := w.finish(writing, scan.Name, outcome, err, ctx.Err() != nil)
	w.options.Metrics.count(result, w.options.Now().Sub(began))
}

// work is what an object asks for. Repositories that are none are passed over: the schema lets them be any text.
func work(scan *v1alpha1.ImageScan) Work {
	one := Work{Digest: scan.Spec.Digest}
	for _, text := range scan.Spec.Repositories {
		if host, path, ok := strings.Cut(text, "/"); ok && host != "" && path != "" {
			one.Repositories = append(one.Repositories, registry.Repository{Registry: host, Path: path})
		}
	}
	return one
}

// renew keeps the claim while a scan is under way.
func (w *Worker) renew(ctx context.Context, stop context.CancelCauseFunc, name string) {
	ticker := time.NewTicker(w.options.Lease / 3)
	defer ticker.Stop()
	held := w.options.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		began := w.options.Now()
		err := w.change(ctx, name, func(status *v1alpha1.ImageScanStatus) { status.ClaimExpires = at(began.Add(w.options.Lease)) })
		switch {
		case err == nil:
			held = began
		case errors.Is(err, errLost), apierrors.IsNotFound(err), w.options.Now().Sub(held) > w.options.Lease:
			stop(errLost)
			return
		}
	}
}

// change writes into an object that this replica has claimed, whatever others write beside.
func (w *Worker) change(ctx context.Context, name string, write func(*v1alpha1.ImageScanStatus)) error {
	for {
		scan, err := w.client.get(ctx, name)
		if err != nil {
			return err
		}
		if scan.Status.Phase != v1alpha1.PhaseRunning || scan.Status.ClaimedBy != w.options.Name {
			return errLost
		}
		write(&scan.Status)
		if _, err = w.client.updateStatus(ctx, scan); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// finish writes how a scan ended and gives the word for it in metrics.
func (w *Worker) finish(ctx context.Context, name string, outcome Outcome, failure error, interrupted bool) string {
	now := w.options.Now()
	packed, err := pack(outcome.Statement)
	if failure == nil {
		failure = err
	}
	result := string(outcome.State)
	err = w.change(ctx, name, func(status *v1alpha1.ImageScanStatus) {
		status.ClaimedBy, status.ClaimExpires = "", nil
		switch {
		case interrupted:
			result = "interrupted"
			status.Phase, status.NextAttempt = v1alpha1.PhaseQueued, nil
			status.Attempts = max(status.Attempts-1, 0)
			return
		case failure != nil:
			result = "failed"
			status.Phase, status.NextAttempt = v1alpha1.PhaseFailed, at(now.Add(w.backoff(status.Attempts, w.options.Jitter())))
			status.Reasons = reasons([]string{failure.Error()})
			return
		}
		status.FinishedAt, status.State, status.Reasons = at(now), string(outcome.State), reasons(outcome.Reasons)
		if outcome.State == scanner.StateError { // says nothing about the image: what was known of it stays
			status.Phase, status.NextAttempt = v1alpha1.PhaseFailed, at(now.Add(w.backoff(status.Attempts, w.options.Jitter())))
			return
		}
		status.Statement, status.Vulnerabilities, status.Database = packed, &outcome.Found, databaseOf(outcome.Database)
		// Spread over an hour, so that what was scanned together is not scanned together for ever.
		status.Phase, status.Attempts = v1alpha1.PhaseDone, 0
		status.NextAttempt = at(now.Add(w.options.Rescan - time.Duration(w.options.Jitter()*float64(min(w.options.Rescan/4, time.Hour)))))
	})
	if err != nil {
		w.options.Log.Warn("writing how a scan ended failed", "name", name, "error", err)
		return "unwritten"
	}
	if failure != nil && !interrupted {
		w.options.Log.Warn("a scan failed", "name", name, "error", failure)
	}
	return result
}

// databaseOf is nil where the scan does not say how old its database was.
func databaseOf(d scanner.Database) *v1alpha1.Database {
	made, err := time.Parse(time.RFC3339, d.UpdatedAt)
	if err != nil {
		return nil
	}
	return &v1alpha1.Database{UpdatedAt: metav1.NewTime(made), Digest: d.Digest}
}

// Bounds of reasons, as in the schema.
const (
	maxReasons = 20
	maxReason  = 1000
)

func reasons(all []string) []string {
	var cut []string
	for _, reason := range all[:min(len(all), maxReasons)] {
		if len(reason) > maxReason {
			reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
		}
		cut = append(cut, reason)
	}
	return cut
}

// backoff is how long to wait after so many attempts, shortened by up to a half by chance, so that what failed
// together does not return together.
func (w *Worker) backoff(attempts int64, jitter float64) time.Duration {
	if attempts <= 0 {
		return 0
	}
	wait := w.options.MaxBackoff
	if attempts < 32 {
		wait = min(wait, w.options.Backoff<<(attempts-1))
	}
	return wait - time.Duration(jitter*float64(wait)/2)
}
