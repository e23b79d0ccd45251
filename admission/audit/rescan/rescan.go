package rescan

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// DefaultMaxWaiting is how many scans may wait in the queue, whoever asked for them, before no more are asked for. Scans take seconds,
// and it is looked every ten.
const DefaultMaxWaiting = 20

// PageSize is for the client that reads the queue: an object may hold a signed scan of a megabyte.
const PageSize = 25

const (
	// look is how often it is looked for images to ask for.
	look = 10 * time.Second
	// lag is how long a scanner may go on with an old database: scanners look for a newer one every hour.
	lag = time.Hour
	// ahead is how far the clock of who makes databases may be ahead of this one. What is further in the future is no database: it
	// would make every scan outdated for ever.
	ahead = 10 * time.Minute
	// held is the time before an image is asked for again that the API server refuses, or whose scan fails, which is tried again by itself.
	held = time.Hour
	// unseen is how long something that was asked for may take to be seen in the queue.
	unseen = time.Minute
	// absent is the time before it is looked again for a queue that is not there; watchPause before a watch that failed is tried again.
	absent, watchPause = 5 * time.Minute, 5 * time.Second
)

// Queue takes requests for scans.
type Queue interface {
	// Renew asks for a scan of an image whose last one was made with a database older than one that was made at some time, or that has
	// none; one that has failed it gives the repository, and keeps. It says whether it had to: another replica may have been faster.
	Renew(ctx context.Context, repository registry.Repository, digest string, database time.Time) (bool, error)
}

// Options of [New]. Client, Queue, Running and Scanned are required.
type Options struct {
	// Client reads the queue; see PageSize.
	Client *stored.Client
	Queue  Queue
	// Running are the images that run in this replica's share, by digest.
	Running func() map[string]audit.Use
	// Scanned is told of images that run and have a new scan, those with the most critical findings first.
	Scanned func(digests []string)
	// Missing is told why the queue is not known and nothing is asked for, "" when it is known again; nil for nobody.
	Missing func(reason string)
	// MaxWaiting is DefaultMaxWaiting for 0.
	MaxWaiting int
	Metrics    *Metrics
	Now        func() time.Time
	Log        *slog.Logger
}

// Rescan asks for scans. Use [New].
type Rescan struct {
	options Options
	woken   chan struct{}

	mu     sync.Mutex
	listed bool // the queue is known
	scans  map[string]scan
	news   map[string]bool      // digests with a scan that nobody was told of
	asked  map[string]time.Time // digests that were asked for and whose objects have not been seen since
	later  map[string]time.Time // digests that are not asked for before then
	silent string               // why the queue is not known, as it was said last
}

// New makes a Rescan.
func New(options Options) *Rescan {
	options.MaxWaiting = cmp.Or(options.MaxWaiting, DefaultMaxWaiting)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics()
	}
	if options.Missing == nil {
		options.Missing = func(string) {}
	}
	return &Rescan{later: map[string]time.Time{}, options: options, woken: make(chan struct{}, 1), scans: map[string]scan{}, news: map[string]bool{}, asked: map[string]time.Time{}}
}

// Run asks until the context ends.
func (r *Rescan) Run(ctx context.Context) {
	r.options.Missing("the ImageScans have not been read yet")
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { r.follow(ctx) })
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.woken:
			r.tell()
		}
		r.turn(ctx)
	}
}

// follow keeps up with the queue until the context ends.
func (r *Rescan) follow(ctx context.Context) {
	for ctx.Err() == nil {
		version, err := r.list(ctx)
		for err == nil && ctx.Err() == nil {
			began := time.Now()
			version, err = r.options.Client.Watch(ctx, kind, version, func(event stored.Event) error {
				r.saw(event.Object, event.Gone)
				return context.Cause(ctx)
			})
			if err == nil && time.Since(began) < time.Second {
				sleep(ctx, time.Second)
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case stored.Expired(err): // it is listed again at once
		case apierrors.IsNotFound(err):
			r.missing("the cluster has no ImageScans: images that run are not scanned again. Apply what portcullis-scanner crd prints, or leave out --audit-rescan", nil)
			sleep(ctx, absent)
		case stored.Denied(err):
			r.missing("the API server refuses the ImageScans: images that run are not scanned again. Bind the role portcullis-auditor-rescan", err)
			sleep(ctx, watchPause)
		default:
			r.missing("following the ImageScans fails: it is tried again", err)
			sleep(ctx, watchPause)
		}
	}
}

func sleep(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// missing says once why nothing is asked for.
func (r *Rescan) missing(why string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent != why {
		if err == nil {
			r.options.Log.Warn(why)
		} else {
			r.options.Log.Warn(why, "error", err)
		}
	}
	r.silent, r.listed = why, false
	r.options.Metrics.lost()
	if err != nil {
		why += ": " + err.Error()
	}
	r.options.Missing(why)
}

// list reads the queue whole.
func (r *Rescan) list(ctx context.Context) (version string, err error) {
	seen := map[string]bool{}
	version, err = r.options.Client.List(ctx, kind, "", func(object audit.Object) error {
		if digest := r.saw(object, false); digest != "" {
			seen[digest] = true
		}
		return context.Cause(ctx)
	})
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.scans, func(digest string, _ scan) bool { return !seen[digest] })
	if r.silent != "" {
		r.options.Log.Info("following the ImageScans again")
	}
	r.listed, r.silent = true, ""
	r.options.Missing("")
	poke(r.woken)
	return version, nil
}

// saw takes in how an object of the queue is.
func (r *Rescan) saw(object audit.Object, gone bool) (digest string) {
	digest, now, err := read(object)
	if err != nil {
		r.options.Log.Warn("an object of the queue of scans is passed over", "error", err)
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asked, digest)
	if now.phase == v1alpha1.PhaseDone && !now.waiting {
		delete(r.later, digest)
	}
	if gone {
		delete(r.scans, digest)
		return digest
	}
	before, known := r.scans[digest]
	r.scans[digest] = now
	// What is there when the queue is read for the first time is no news.
	if (known || r.listed) && now.finished.After(before.finished) {
		r.news[digest] = true
		poke(r.woken)
	}
	return digest
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake
	}
}

// tell tells of new scans of images that run.
func (r *Rescan) tell() {
	r.mu.Lock()
	news := slices.Collect(maps.Keys(r.news))
	found := map[string]scan{}
	for _, digest := range news {
		found[digest] = r.scans[digest]
	}
	clear(r.news)
	r.mu.Unlock()
	if len(news) == 0 {
		return
	}
	running := r.options.Running()
	news = slices.DeleteFunc(news, func(digest string) bool { _, runs := running[digest]; return !runs })
	slices.SortFunc(news, func(a, b string) int {
		return cmp.Or(cmp.Compare(found[b].critical, found[a].critical), strings.Compare(a, b))
	})
	if len(news) > 0 {
		r.options.Scanned(news)
	}
}

// turn asks for what is due, as far as the queue has room.
func (r *Rescan) turn(ctx context.Context) {
	due, database, ok := r.due()
	if !ok {
		return
	}
	for _, one := range due {
		r.mu.Lock()
		if one.scan.phase == v1alpha1.PhaseFailed {
			r.later[one.digest] = r.options.Now().Add(held)
		} else {
			r.asked[one.digest] = r.options.Now()
		}
		r.mu.Unlock()
		asked, err := r.options.Queue.Renew(ctx, one.use.Repository, one.digest, database)
		if err != nil {
			if ctx.Err() == nil {
				r.options.Log.Warn("asking for a scan of an image that runs fails: it is tried again", "image", one.use.Repository.String()+"@"+one.digest, "error", err)
			}
			if ctx.Err() != nil || !alone(err) {
				return
			}
			r.mu.Lock()
			delete(r.asked, one.digest)
			r.later[one.digest] = r.options.Now().Add(held)
			r.mu.Unlock()
		}
		if asked {
			r.options.Metrics.asked.Inc()
		}
	}
}

// alone says of an error that it is about one image: the API server has answered and may take the next one.
func alone(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

// candidate is an image to ask for.
type candidate struct {
	digest string
	use    audit.Use
	known  bool
	scan   scan
}

// due are the images to ask for now, the most pressing first and those whose scans fail last, and when the newest database was made. ok says whether the queue is known.
func (r *Rescan) due() (due []candidate, database time.Time, ok bool) {
	running := r.options.Running()
	now := r.options.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.listed {
		return nil, time.Time{}, false
	}
	maps.DeleteFunc(r.asked, func(_ string, at time.Time) bool { return now.Sub(at) >= unseen })
	maps.DeleteFunc(r.later, func(_ string, at time.Time) bool { return !now.Before(at) })
	database, since := r.database(now)
	waiting := len(r.asked)
	for _, s := range r.scans {
		if s.waiting {
			waiting++
		}
	}
	counts := map[state]int{}
	var failing []candidate
	for digest, use := range running {
		s, known := r.scans[digest]
		_, asked := r.asked[digest]
		is := stateOf(s, known, asked, database)
		counts[is]++
		if _, waits := r.later[digest]; waits {
			continue
		}
		if is == stateFailed {
			failing = append(failing, candidate{digest, use, known, s})
		}
		if is == stateNone || is == stateOutdated && (!s.finished.After(since) || now.Sub(s.finished) >= lag) {
			due = append(due, candidate{digest, use, known, s})
		}
	}
	r.options.Metrics.saw(counts, database)
	slices.SortFunc(due, compare)
	slices.SortFunc(failing, compare)
	// Those that fail are in the queue anyway.
	return append(due[:min(len(due), max(r.options.MaxWaiting-waiting, 0))], failing[:min(len(failing), r.options.MaxWaiting)]...), database, true
}

// database is when the newest database was made that a scan tells of, and since when scans do. One that has failed since tells of none: its
// object has the database of the scan before, and the time of the failure. r.mu is held.
func (r *Rescan) database(now time.Time) (made, since time.Time) {
	for _, s := range r.scans {
		switch {
		case s.phase == v1alpha1.PhaseFailed, s.database.After(now.Add(ahead)):
		case s.database.After(made):
			made, since = s.database, s.finished
		case s.database.Equal(made) && s.finished.Before(since):
			since = s.finished
		}
	}
	return made, since
}

// compare puts images first that nobody has scanned, then those with the worst last scan, then those that were started last.
func compare(a, b candidate) int {
	if a.known != b.known {
		if b.known {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.scan.critical, a.scan.critical), cmp.Compare(b.scan.high, a.scan.high), b.use.Since.Compare(a.use.Since), strings.Compare(a.digest, b.digest))
}

// state is how the scan of an image is.
type state string

const (
	stateCurrent  state = "current"
	stateOutdated state = "outdated"
	stateWaiting  state = "waiting"
	stateFailed   state = "failed"
	stateNone     state = "none"
)

func stateOf(s scan, known, asked bool, database time.Time) state {
	switch {
	case asked || known && s.waiting:
		return stateWaiting
	case !known:
		return stateNone
	case s.phase == v1alpha1.PhaseFailed:
		return stateFailed
	case s.database.Before(database):
		return stateOutdated
	}
	return stateCurrent
}
