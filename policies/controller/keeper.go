package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/rollout"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/directory"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

const (
	// settleEvery is how often a bundle is settled when nothing happens: for what time decides.
	settleEvery = 10 * time.Second
	// settleGap is between two steps at least, however many replicas report.
	settleGap = 200 * time.Millisecond
	// countsEvery is the time between two writes of nothing but counts: each replica reads what is written.
	countsEvery = 5 * time.Second
	// callTimeout bounds the calls of one step.
	callTimeout = time.Minute
)

// keeper keeps one bundle. Its steps come one at a time.
type keeper struct {
	c    *Controller
	name string
	// kicked says that something has happened.
	kicked chan struct{}

	// looking is what the source is looked at for, with how to end that; poller is nil while nobody looks.
	looking   string
	stop      func()
	requested metav1.MicroTime // the last FetchRequested that was followed

	mu     sync.Mutex // guards what follows
	poller *source.Poller
	found  findings
	// active is the bundle that is active, for its rules about exceptions; nil until it was loaded.
	active       *policies.Bundle
	activeDigest string

	tally rollout.Tally
	// written is when the status was last written.
	written time.Time
	// rechecked is what the candidate was last verified by.
	rechecked string
	// retold says whether transitions of before were told of again.
	retold bool
}

// findings are what the last looks at the source have shown.
type findings struct {
	// version is the last one that was examined, whatever came of it.
	version string
	// offered may be activated; refused may not. At most one is there.
	offered *examined
	refused *v1alpha1.Rejection
	// reason is that of refused.
	reason string
	// looked is when the source was last reached; failed why the last look failed, nil if it did not.
	looked time.Time
	failed error
}

func newKeeper(c *Controller, name string) *keeper {
	return &keeper{c: c, name: name, kicked: make(chan struct{}, 1), stop: func() {}}
}

// kick has the bundle settled soon.
func (k *keeper) kick() {
	select {
	case k.kicked <- struct{}{}:
	default:
	}
}

// run keeps the bundle until the context ends.
func (k *keeper) run(ctx context.Context) {
	defer func() { k.stop() }()
	for ctx.Err() == nil {
		if err := k.settle(ctx); err != nil && ctx.Err() == nil {
			k.c.log.Error("settling a bundle: it is tried again", "bundle", k.name, "error", err)
		}
		if !pause(ctx, settleGap) {
			return
		}
		timer := time.NewTimer(settleEvery)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-k.kicked:
		}
		timer.Stop()
	}
}

// pause says whether the context is still there.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// settle makes one step: looks at what is wanted and what was seen, decides, writes the status, and tells what has changed.
func (k *keeper) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	bundle, err := getBundle(ctx, k.c.dynamic, k.name)
	if apierrors.IsNotFound(err) {
		return nil // whoever watches will end this keeper
	}
	if err != nil {
		return fmt.Errorf("reading the PolicyBundle: %w", err)
	}
	k.look(bundle)

	found := k.findings()
	seen, pinFailed, err := k.observe(ctx, bundle, &found)
	if err != nil {
		return err
	}
	status, steps := rollout.Next(bundle, seen, k.c.now())
	describe(&status, bundle, &found, pinFailed, metav1.NewTime(k.c.now()))
	rejections := newRejections(bundle.Status.Rejected, status.Rejected)
	if k.worthWriting(&bundle.Status, &status) {
		bundle.Status = status
		switch err := updateStatus(ctx, k.c.dynamic, bundle); {
		case apierrors.IsConflict(err):
			k.kick() // somebody was faster: decide again, from what is there now
			return nil
		case err != nil:
			return fmt.Errorf("writing the status: %w", err)
		}
		k.written = time.Now()
	}
	k.c.metrics.describe(bundle)
	k.announce(ctx, bundle, steps, rejections)
	return k.keepRules(ctx, bundle, &found)
}

// worthWriting says whether a status differs from that which is there, by more than counts that were written just now.
func (k *keeper) worthWriting(before, after *v1alpha1.PolicyBundleStatus) bool {
	if equality.Semantic.DeepEqual(before, after) {
		return false
	}
	if before.Comparison == nil || after.Comparison == nil || time.Since(k.written) >= countsEvery {
		return true
	}
	same := *after
	same.Comparison = before.Comparison
	return !equality.Semantic.DeepEqual(before, &same)
}

func (k *keeper) findings() findings {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.found
}

// look begins to look at the source, or begins anew if the bundle says something else than before.
func (k *keeper) look(bundle *v1alpha1.PolicyBundle) {
	wanted := lookedFor(bundle)
	if wanted != k.looking {
		k.stop()
		k.looking = wanted
		k.mu.Lock()
		k.found, k.poller = findings{}, nil
		k.mu.Unlock()
		k.stop = func() {}
		if !bundle.Spec.Suspend {
			k.begin(bundle)
		}
	}
	if at := bundle.Status.FetchRequested; at != nil && !at.Equal(&k.requested) {
		k.requested = *at
		k.nudge()
	}
}

func (k *keeper) nudge() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.poller != nil {
		k.poller.Nudge()
	}
}

// lookedFor is what a look depends on: a change of the rollout is no reason to fetch anything.
func lookedFor(bundle *v1alpha1.PolicyBundle) string {
	s := &bundle.Spec
	text, err := json.Marshal([]any{s.Source, s.Verification, s.BundleName, s.Namespaces, s.Interval, s.MinCoverage, s.Suspend})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// begin looks at the source by its own clock.
func (k *keeper) begin(bundle *v1alpha1.PolicyBundle) {
	ctx, cancel := context.WithCancel(k.c.leading)
	poller := source.NewPoller(source.PollerOptions{Schedule: source.Schedule{Interval: bundle.Spec.Interval.Duration}})
	k.mu.Lock()
	k.poller = poller
	k.mu.Unlock()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		poller.Run(ctx, func(ctx context.Context) error { return k.fetch(ctx, bundle) })
	})
	if d := bundle.Spec.Source.Directory; d != nil {
		if watched, err := directory.New(*d, directory.Options{}); err == nil {
			tasks.Go(func() { watched.Watch(ctx, poller.Nudge) })
		}
	}
	k.stop = func() { cancel(); tasks.Wait() }
}

// fetch looks at the source once. An error makes the time until the next look longer.
func (k *keeper) fetch(ctx context.Context, bundle *v1alpha1.PolicyBundle) error {
	ctx, span := k.c.traces.Begin(ctx, "look at source")
	defer span.End()
	found, err := k.fetched(ctx, bundle, k.findings())
	if ctx.Err() != nil {
		return err
	}
	if span.IsRecording() {
		span.SetAttributes(tracing.Text("bundle", k.name), tracing.Flag("changed", !errors.Is(err, source.ErrUnchanged)))
	}
	k.c.metrics.fetched(k.name, &found, err)
	if errors.Is(err, source.ErrUnchanged) {
		err = nil
	}
	if found.failed = err; err != nil {
		tracing.Fail(span, err.Error())
		k.c.log.WarnContext(ctx, "a source cannot be looked at: what is active stays", "bundle", k.name, "error", err)
	}
	k.mu.Lock()
	k.found = found
	k.mu.Unlock()
	k.kick()
	return err
}

// fetched is what a look at the source shows: what the one before it has, if it cannot be reached or has not changed.
func (k *keeper) fetched(ctx context.Context, bundle *v1alpha1.PolicyBundle, before findings) (findings, error) {
	opened, err := k.c.opener.open(ctx, &bundle.Spec.Source)
	if err != nil {
		return before, err
	}
	r, err := opened.Fetch(ctx, before.version)
	if errors.Is(err, source.ErrUnchanged) {
		before.looked = k.c.now()
		return before, err
	}
	if err != nil {
		return before, err
	}
	after := findings{version: r.Version, looked: k.c.now()}
	made, err := k.c.examine(ctx, r, bundle)
	var no *refusal
	if errors.As(err, &no) {
		after.refused, after.reason = &v1alpha1.Rejection{Digest: r.Tree.Digest(), Origin: r.Origin, Reason: no.Error()}, no.reason
		return after, nil
	}
	if err != nil {
		return before, err
	}
	if err := k.keep(ctx, r, bundle); err != nil {
		return before, err
	}
	after.offered = made
	return after, nil
}

// keep stores a revision in the cluster, so that it is there whatever becomes of its source.
func (k *keeper) keep(ctx context.Context, r *source.Revision, bundle *v1alpha1.PolicyBundle) error {
	encoded, err := source.Encode(r)
	if err != nil {
		return err
	}
	return k.c.store.put(ctx, k.name, r.Tree.Digest(), encoded, func(stored []byte) error {
		_, err := k.c.examiner.stored(ctx, stored, bundle)
		return err
	})
}

// observe puts together what is to be seen. pinFailed is why the pinned revision cannot be activated.
func (k *keeper) observe(ctx context.Context, bundle *v1alpha1.PolicyBundle, found *findings) (seen rollout.Observation, pinFailed error, err error) {
	seen = rollout.Observation{Refused: found.refused, Replicas: k.c.replicas()}
	if found.offered != nil {
		offered := found.offered.status
		seen.Offered = &offered
	}
	if refused, err := k.recheck(ctx, bundle); err != nil {
		return seen, nil, err
	} else if refused != nil {
		seen.Refused = refused
	}
	if seen.Returning, err = k.returning(ctx, bundle); err != nil {
		return seen, nil, err
	}
	seen.Pinned, pinFailed, err = k.pinned(ctx, bundle, found)
	candidate := ""
	if bundle.Status.Candidate != nil {
		candidate = bundle.Status.Candidate.Digest
	}
	seen.Comparison = k.tally.Add(k.name, candidate, seen.Replicas)
	return seen, pinFailed, err
}

// recheck verifies the candidate again when the bundle says something else than before: a signer may have been taken out.
func (k *keeper) recheck(ctx context.Context, bundle *v1alpha1.PolicyBundle) (*v1alpha1.Rejection, error) {
	candidate := bundle.Status.Candidate
	if candidate == nil {
		return nil, nil
	}
	by := candidate.Digest + lookedFor(bundle)
	if by == k.rechecked {
		return nil, nil
	}
	_, err := k.c.stored(ctx, candidate.Digest, bundle)
	if no := (*refusal)(nil); errors.As(err, &no) {
		return &v1alpha1.Rejection{Digest: candidate.Digest, Origin: candidate.Origin, Reason: no.Error()}, nil
	}
	if apierrors.IsNotFound(err) {
		k.forget() // no replica can load it, so that it is not promoted until it is stored again
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k.rechecked = by
	return nil, nil
}

// returning is the previous revision, examined again, where the bundle is to switch back to it.
func (k *keeper) returning(ctx context.Context, bundle *v1alpha1.PolicyBundle) (*v1alpha1.RevisionStatus, error) {
	previous, promote := bundle.Status.Previous, bundle.Spec.Rollout.Promote
	if previous == nil || promote != previous.Digest || promote == bundle.Status.Promoted || bundle.Spec.Rollout.Strategy != v1alpha1.StrategyBlueGreen {
		return nil, nil
	}
	_, err := k.c.stored(ctx, previous.Digest, bundle)
	if no := (*refusal)(nil); errors.As(err, &no) {
		k.c.log.Warn("not switching back to a revision that is refused by now", "bundle", k.name, "digest", previous.Digest, "reason", no.Error())
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return previous, nil
}

// forget has the source fetched again as if for the first time, and what it has stored.
func (k *keeper) forget() {
	k.mu.Lock()
	k.found.version = ""
	k.mu.Unlock()
	k.nudge()
}

// pinned finds the revision that is pinned: stored, or at the source.
func (k *keeper) pinned(ctx context.Context, bundle *v1alpha1.PolicyBundle, found *findings) (r *v1alpha1.RevisionStatus, failed, err error) {
	pin := bundle.Spec.Pin
	if pin == "" || bundle.Status.Active != nil && bundle.Status.Active.Digest == pin {
		return nil, nil, nil
	}
	if found.offered != nil && found.offered.status.Digest == pin {
		offered := found.offered.status
		return &offered, nil, nil
	}
	made, err := k.c.stored(ctx, pin, bundle)
	switch no := (*refusal)(nil); {
	case err == nil:
		return &made.status, nil, nil
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("the pinned revision %s is not stored: pin one of those that kubectl get policyrevisions shows, or have the source offer it", pin), nil
	case errors.As(err, &no):
		return nil, fmt.Errorf("the pinned revision %s is refused: %w", pin, no), nil
	}
	return nil, nil, err
}

// keepRules remembers the bundle that is active: its rules say which exceptions count.
func (k *keeper) keepRules(ctx context.Context, bundle *v1alpha1.PolicyBundle, found *findings) error {
	active := bundle.Status.Active
	k.mu.Lock()
	known := active == nil || active.Digest == k.activeDigest
	k.mu.Unlock()
	if known {
		return nil
	}
	made := found.offered
	if made == nil || made.status.Digest != active.Digest {
		var err error
		if made, err = k.c.stored(ctx, active.Digest, bundle); err != nil {
			made = &examined{} // it judges all the same, and webhooks say why they cannot load it
			if no := (*refusal)(nil); !errors.As(err, &no) && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	k.mu.Lock()
	k.active, k.activeDigest = made.bundle, active.Digest
	k.mu.Unlock()
	return nil
}

// rules is the bundle that is active, nil where it is not known. ok says whether that was found out.
func (k *keeper) rules() (bundle *policies.Bundle, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.active, k.activeDigest != ""
}
