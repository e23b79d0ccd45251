package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
)

// Defaults of [Asker].
const (
	// DefaultEstimate is how long a scan of an image of some hundred megabytes takes with its pull.
	DefaultEstimate = 30 * time.Second
	// DefaultRate and DefaultBurst bound how many new objects a replica of the webhook makes in a second:
	// each name of an image that somebody thinks of could become one.
	DefaultRate  = 5
	DefaultBurst = 50
)

// maxRepositories is how many repositories of one digest are kept, as in the schema.
const maxRepositories = 16

// askAgain is after what time a scan that is done, and that somebody still misses, is done again. Until then it is
// taken for not having been noticed yet.
const askAgain = time.Minute

// Asker asks for scans. It is for use by several goroutines.
type Asker struct {
	client   *Client
	by       string
	estimate time.Duration
	limiter  flowcontrol.PassiveRateLimiter
	now      func() time.Time
}

// AskerOptions may all be left out.
type AskerOptions struct {
	// By says who asks, for people who look at the objects.
	By       string
	Estimate time.Duration
	// Rate and Burst are of new objects in a second.
	Rate  float32
	Burst int
	Now   func() time.Time
}

// NewAsker makes one.
func NewAsker(client *Client, o AskerOptions) *Asker {
	if o.Estimate <= 0 {
		o.Estimate = DefaultEstimate
	}
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Burst <= 0 {
		o.Burst = DefaultBurst
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Asker{client: client, by: o.By, estimate: o.Estimate, limiter: flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(o.Rate, o.Burst, clock(o.Now)), now: o.Now}
}

// clock is what flowcontrol wants of one.
type clock func() time.Time

func (c clock) Now() time.Time                  { return c() }
func (c clock) Since(t time.Time) time.Duration { return c().Sub(t) }

// ErrBusy says that too many scans were asked for at once.
var ErrBusy = errors.New("too many scans are being asked for: try again in a few seconds")

// Ask asks for a scan of an image that has none, and says when it may be there. Asking again changes nothing, except
// that a scan that has ended is done once more if it is still missed after a minute.
func (a *Asker) Ask(ctx context.Context, repository registry.Repository, digest string) (time.Duration, error) {
	wait := a.estimate
	_, err := a.ask(ctx, repository, digest, false, func(scan *v1alpha1.ImageScan, now time.Time) bool {
		changed := changes(scan, repository.String(), now)
		wait = a.wait(scan, now)
		return changed
	})
	if err != nil {
		return 0, err
	}
	return wait, nil
}

// Renew asks for a scan of an image whose last one was made with a database older than database (in whole seconds), or that has
// none, and says whether it had to write. Nobody waits for it: what [Asker.Ask] asks for comes first. What the last scan found stays
// until the new one has ended. Whoever asks again, and any number of replicas that ask at once, ask once.
//
// The image runs from the repository: it is tried before those that somebody only named, whose number does not drive it out. One whose
// scan failed gets it for its next attempt, and is kept while somebody renews it.
func (a *Asker) Renew(ctx context.Context, repository registry.Repository, digest string, database time.Time) (bool, error) {
	return a.ask(ctx, repository, digest, true, func(scan *v1alpha1.ImageScan, now time.Time) bool {
		switch {
		case scan.Status.Phase == v1alpha1.PhaseFailed: // it is tried again by itself
			lapses := lapsing(scan, now)
			if !preferRepository(scan, repository.String()) && !lapses {
				return false
			}
			if lapses {
				scan.Spec.RequestedAt = metav1.NewTime(now)
			}
			return true
		case scan.Status.Phase != v1alpha1.PhaseDone || pending(scan) || !outdated(scan, database):
			return false // it is under way, or current
		}
		preferRepository(scan, repository.String())
		// Times have whole seconds, and the scanner's clock may be ahead of this one.
		if finished := scan.Status.FinishedAt; finished != nil && now.Before(finished.Add(time.Second)) {
			now = finished.Add(time.Second)
		}
		scan.Spec.RequestedAt, scan.Spec.Background = metav1.NewTime(now), true
		return true
	})
}

// lapsing says that half the time is over for which an object is kept without anybody asking.
func lapsing(scan *v1alpha1.ImageScan, now time.Time) bool {
	expires, asked := scan.Status.Expires, scan.Spec.RequestedAt.Time
	if expires == nil || !expires.After(asked) { // the next attempt says when
		return false
	}
	return now.Sub(asked) > expires.Sub(asked)/2
}

// outdated says that the last scan was made with a database older than one that was made at some time.
func outdated(scan *v1alpha1.ImageScan, database time.Time) bool {
	with := scan.Status.Database
	return with == nil || with.UpdatedAt.Time.Before(database.Truncate(time.Second))
}

// pending says that an object is waiting for a scan that nobody has begun.
func pending(scan *v1alpha1.ImageScan) bool {
	switch scan.Status.Phase {
	case "", v1alpha1.PhaseQueued:
		return true
	case v1alpha1.PhaseDone:
		return scan.Status.FinishedAt == nil || scan.Spec.RequestedAt.After(scan.Status.FinishedAt.Time)
	}
	return false
}

// ask makes the object of a digest where there is none, and else has it changed. It says whether anything was written.
func (a *Asker) ask(ctx context.Context, repository registry.Repository, digest string, background bool, change func(*v1alpha1.ImageScan, time.Time) bool) (bool, error) {
	name, err := v1alpha1.Name(digest)
	if err != nil {
		return false, err
	}
	// Another replica may write between reading and writing; then what it wrote is looked at.
	for range 3 {
		var written bool
		if written, err = a.try(ctx, name, repository.String(), digest, background, change); err == nil {
			return written, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	return false, fmt.Errorf("asking for a scan of %s@%s: %w", repository, digest, err)
}

func (a *Asker) try(ctx context.Context, name, repository, digest string, background bool, change func(*v1alpha1.ImageScan, time.Time) bool) (bool, error) {
	now := a.now()
	scan, err := a.client.get(ctx, name)
	if apierrors.IsNotFound(err) {
		if !a.limiter.TryAccept() {
			return false, ErrBusy
		}
		return true, a.client.create(ctx, &v1alpha1.ImageScan{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.ImageScanSpec{
				Digest: digest, Repositories: []string{repository}, RequestedBy: a.by, RequestedAt: metav1.NewTime(now), Background: background,
			},
		})
	}
	if err != nil || !change(scan, now) {
		return false, err
	}
	if !a.limiter.TryAccept() {
		return false, ErrBusy
	}
	return true, a.client.update(ctx, scan)
}

// changes notes in an object what is new about being asked by somebody who waits.
func changes(scan *v1alpha1.ImageScan, repository string, now time.Time) bool {
	changed := addRepository(scan, repository)
	ended := scan.Status.Phase == v1alpha1.PhaseDone && scan.Status.FinishedAt != nil
	missed := ended && now.Sub(scan.Status.FinishedAt.Time) > askAgain && !scan.Spec.RequestedAt.After(scan.Status.FinishedAt.Time)
	if scan.Spec.Background && (missed || pending(scan) || scan.Status.Phase == v1alpha1.PhaseFailed) {
		scan.Spec.Background, changed = false, true
	}
	if changed || missed {
		scan.Spec.RequestedAt = metav1.NewTime(now)
	}
	return changed || missed
}

// addRepository notes where the image lies, too, unless it is known.
func addRepository(scan *v1alpha1.ImageScan, repository string) bool {
	if slices.Contains(scan.Spec.Repositories, repository) {
		return false
	}
	scan.Spec.Repositories = bounded(append(slices.Clone(scan.Spec.Repositories), repository))
	return true
}

// preferRepository notes where the image lies among the first, unless it is there.
func preferRepository(scan *v1alpha1.ImageScan, repository string) bool {
	n := slices.Index(scan.Spec.Repositories, repository)
	if 0 <= n && n < preferred {
		return false
	}
	known := slices.Clone(scan.Spec.Repositories)
	if n >= 0 {
		known = slices.Delete(known, n, n+1)
	}
	scan.Spec.Repositories = bounded(slices.Insert(known, 0, repository))
	return true
}

// preferred is how many repositories come first that no name which somebody makes up drives out.
const preferred = maxRepositories / 2

// bounded drops a repository where there are too many. It is the one that was named first of those that are not preferred: names that
// lead nowhere, made up by whoever may create pods, must not keep out the one that has the image, nor drive out one from which it runs.
func bounded(repositories []string) []string {
	for len(repositories) > maxRepositories {
		repositories = slices.Delete(repositories, preferred, preferred+1)
	}
	return repositories
}

// wait says when the scan may be there.
func (a *Asker) wait(scan *v1alpha1.ImageScan, now time.Time) time.Duration {
	status := &scan.Status
	switch {
	case status.Phase == v1alpha1.PhaseFailed && status.NextAttempt != nil && status.NextAttempt.After(now):
		return status.NextAttempt.Sub(now) + a.estimate
	case status.Phase == v1alpha1.PhaseDone && status.FinishedAt != nil && !scan.Spec.RequestedAt.After(status.FinishedAt.Time):
		return 5 * time.Second // it has to be noticed only
	}
	return a.estimate
}
