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
	name, err := v1alpha1.Name(digest)
	if err != nil {
		return 0, err
	}
	// Another replica may write between reading and writing; then what it wrote is looked at.
	for range 3 {
		var wait time.Duration
		if wait, err = a.ask(ctx, name, repository.String(), digest); err == nil {
			return wait, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	return 0, fmt.Errorf("asking for a scan of %s@%s: %w", repository, digest, err)
}

func (a *Asker) ask(ctx context.Context, name, repository, digest string) (time.Duration, error) {
	now := a.now()
	scan, err := a.client.get(ctx, name)
	if apierrors.IsNotFound(err) {
		if !a.limiter.TryAccept() {
			return 0, ErrBusy
		}
		return a.estimate, a.client.create(ctx, &v1alpha1.ImageScan{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       v1alpha1.ImageScanSpec{Digest: digest, Repositories: []string{repository}, RequestedBy: a.by, RequestedAt: metav1.NewTime(now)},
		})
	}
	if err != nil {
		return 0, err
	}
	if !a.changes(scan, repository, now) {
		return a.wait(scan, now), nil
	}
	if !a.limiter.TryAccept() {
		return 0, ErrBusy
	}
	return a.wait(scan, now), a.client.update(ctx, scan)
}

// changes notes in an object what is new about being asked.
func (a *Asker) changes(scan *v1alpha1.ImageScan, repository string, now time.Time) bool {
	changed := false
	if !slices.Contains(scan.Spec.Repositories, repository) {
		// The one that was named first goes: names that lead nowhere, made up by whoever may create pods, must not keep out
		// the one that has the image.
		kept := scan.Spec.Repositories[max(len(scan.Spec.Repositories)-maxRepositories+1, 0):]
		scan.Spec.Repositories = append(slices.Clone(kept), repository)
		changed = true
	}
	ended := scan.Status.Phase == v1alpha1.PhaseDone && scan.Status.FinishedAt != nil
	missed := ended && now.Sub(scan.Status.FinishedAt.Time) > askAgain && !scan.Spec.RequestedAt.After(scan.Status.FinishedAt.Time)
	if changed || missed {
		scan.Spec.RequestedAt = metav1.NewTime(now)
	}
	return changed || missed
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
