package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/rollout"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Times between two attempts to load what could not be loaded: what is broken costs time at each.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// members are the bundles that judge, each with its last good revision. It is used by one goroutine.
type members struct {
	loader *loader
	now    func() time.Time
	byName map[string]*member
	failed map[string]*failure // by what was tried
}

// member is one bundle.
type member struct {
	bundle *v1alpha1.PolicyBundle
	// active judges, nil if it never could be loaded. previous is kept ready where it may have to come back at once.
	active, candidate, previous *loaded
	// origin is the object that made active judge, which is not bundle where that was made again and has none yet.
	origin types.UID
	// problem is why it is not as the PolicyBundle says.
	problem error
}

// loaded is a revision that is ready to judge.
type loaded struct {
	key, trust string
	shared     *revision.Revision // kept so that who shares it finds it; nil where nobody does
	ready      admission.Ready
	serial     int64
	reads      []policies.Read
	// namespaces are those of a tenant, nil for all.
	namespaces func(string) bool
}

// failure is an attempt that failed.
type failure struct {
	err   error
	wait  time.Duration
	until time.Time
}

func newMembers(l *loader, now func() time.Time) *members {
	return &members{loader: l, now: now, byName: map[string]*member{}, failed: map[string]*failure{}}
}

// listing are the PolicyBundles of a cluster, and by their names why others of them cannot be read.
type listing struct {
	bundles    []v1alpha1.PolicyBundle
	unreadable map[string]error
}

// update makes the members be what the PolicyBundles say, as far as that can be loaded.
func (m *members) update(ctx context.Context, found listing) {
	next, tried := map[string]*member{}, map[string]*failure{}
	for n := range found.bundles {
		b := &found.bundles[n]
		next[b.Name] = m.next(ctx, b, tried)
	}
	for name, err := range found.unreadable {
		next[name] = m.unread(name, err)
	}
	if !judges(next) && judges(m.byName) {
		return // the last bundle is gone: what judged goes on
	}
	m.byName, m.failed = next, tried
}

func judges(members map[string]*member) bool {
	for _, member := range members {
		if member.active != nil || member.problem != nil {
			return true
		}
	}
	return false
}

// next is a bundle as its object says, or, where that cannot be, as it was.
func (m *members) next(ctx context.Context, b *v1alpha1.PolicyBundle, tried map[string]*failure) *member {
	before := m.byName[b.Name]
	if before == nil {
		before = &member{}
	}
	next := &member{bundle: b}
	next.active, next.problem = m.activeOf(ctx, before, b, tried)
	if next.problem != nil || next.active == nil {
		next.origin, next.previous = before.origin, before.previous
		return next
	}
	next.origin = b.UID
	if b.Status.Candidate != nil {
		candidate, err := m.revision(ctx, before, b, b.Status.Candidate.Digest, tried)
		if err == nil {
			next.candidate = candidate
		}
		next.problem = err
	}
	if b.Status.Previous != nil && b.Spec.Rollout.Strategy == v1alpha1.StrategyBlueGreen {
		if previous, err := m.revision(ctx, before, b, b.Status.Previous.Digest, tried); err == nil {
			next.previous = previous // else it says why when it is to judge
		}
	}
	return next
}

// unread is a bundle whose object cannot be read: as it was. To leave it out would be to admit what it denies.
func (m *members) unread(name string, err error) *member {
	before := m.byName[name]
	if before == nil {
		return &member{bundle: &v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: name}}, problem: err}
	}
	kept := *before
	kept.problem = fmt.Errorf("%w: what was there before goes on: correct the PolicyBundle", err)
	return &kept
}

// activeOf is the revision that is to judge, or the one that has, with the reason. A bundle that never had one has none.
func (m *members) activeOf(ctx context.Context, before *member, b *v1alpha1.PolicyBundle, tried map[string]*failure) (*loaded, error) {
	if b.Status.Active == nil {
		if before.active == nil {
			return nil, nil
		}
		return before.active, fmt.Errorf("the PolicyBundle has no active revision any more: revision %s goes on judging", short(before.active.ready.Digest))
	}
	active, err := m.revision(ctx, before, b, b.Status.Active.Digest, tried)
	if err == nil {
		if err = before.refusesSerial(b, active); err == nil {
			return active, nil
		}
	}
	// One that is loaded and not trusted any more goes on if it judges, and does not begin to.
	if active = before.active; active != nil {
		err = fmt.Errorf("%w: revision %s goes on judging", err, short(active.ready.Digest))
	}
	return active, err
}

// refusesSerial says why a revision may not follow the one that judges: a signature is good for ever, so whoever can write a
// status could bring back a revision with a mistake that was mended. Only the spec can: by a pin, or by a promotion. An object that
// was deleted and made again begins anew.
func (m *member) refusesSerial(b *v1alpha1.PolicyBundle, next *loaded) error {
	digest := next.ready.Digest
	if m.active == nil || m.origin != b.UID || next.serial >= m.active.serial || digest == b.Spec.Pin || digest == b.Spec.Rollout.Promote {
		return nil
	}
	return fmt.Errorf("loading revision %s: its serial is %d, and that of the revision that judges is %d: a serial never decreases: to go back, name the revision in spec.pin", short(digest), next.serial, m.active.serial)
}

// revision is a revision of a bundle, from those that are loaded or newly loaded. One that is loaded and that the
// verification does not accept any more comes with an error.
func (m *members) revision(ctx context.Context, before *member, b *v1alpha1.PolicyBundle, digest string, tried map[string]*failure) (*loaded, error) {
	r := reference{bundle: b, digest: digest}
	known := before.find(r.key())
	if known != nil && known.trust == r.trust() {
		return known, nil
	}
	attempt := r.key() + "\x00" + r.trust()
	if failed := m.failed[attempt]; failed != nil && m.now().Before(failed.until) {
		tried[attempt] = failed
		return known, failed.err
	}
	var err error
	if known != nil {
		if _, err = m.loader.verified(ctx, r); err == nil {
			again := *known
			again.trust = r.trust()
			return &again, nil
		}
	} else if _, known, err = m.loader.ready(ctx, r); err == nil {
		return known, nil
	}
	failed := &failure{err: err, wait: firstRetry}
	if last := m.failed[attempt]; last != nil {
		failed.wait = min(2*last.wait, lastRetry)
	}
	failed.until = m.now().Add(failed.wait)
	tried[attempt] = failed
	return known, err
}

// find is the revision with a key, nil if it is not loaded.
func (m *member) find(key string) *loaded {
	for _, known := range []*loaded{m.active, m.candidate, m.previous} {
		if known != nil && known.key == key {
			return known
		}
	}
	return nil
}

// retry is when what failed is to be tried again, zero for never.
func (m *members) retry() time.Time {
	var first time.Time
	for _, failed := range m.failed {
		if first.IsZero() || failed.until.Before(first) {
			first = failed.until
		}
	}
	return first
}

// sorted are the members by name.
func (m *members) sorted() []*member {
	all := make([]*member, 0, len(m.byName))
	for _, member := range m.byName {
		all = append(all, member)
	}
	slices.SortFunc(all, func(a, b *member) int { return cmp.Compare(a.bundle.Name, b.bundle.Name) })
	return all
}

// reads are the kinds that all loaded revisions may read.
func (m *members) reads() []policies.Read {
	var reads []policies.Read
	for _, member := range m.sorted() {
		for _, revision := range []*loaded{member.active, member.candidate, member.previous} {
			if revision == nil {
				continue
			}
			for _, read := range revision.reads {
				reads = addRead(reads, read)
			}
		}
	}
	return reads
}

// lineup is what judges. For a tenant's bundle that could not be loaded whatever is in its namespaces is denied. Any other
// bundle that could not be is an error beside the lineup of the others.
func (m *members) lineup(exceptions []policies.Exception) (*admission.Lineup, error) {
	lineup := &admission.Lineup{Exceptions: exceptions}
	var missing []error
	for _, one := range m.sorted() {
		switch {
		case one.active != nil:
			lineup.Members = append(lineup.Members, one.admission())
		case one.problem != nil && len(one.bundle.Spec.Namespaces) > 0:
			lineup.Members = append(lineup.Members, refusing(one))
		case one.problem != nil:
			missing = append(missing, fmt.Errorf("bundle %s: %w", one.bundle.Name, one.problem))
		}
	}
	if len(lineup.Members) == 0 && len(missing) == 0 {
		missing = append(missing, errNoBundles)
	}
	return lineup, errors.Join(missing...)
}

// admission is a loaded member as the reviewer has it.
func (m *member) admission() admission.Member {
	made := admission.Member{Active: m.active.ready, Namespaces: m.active.namespaces}
	if m.candidate != nil {
		made.Candidate = &m.candidate.ready
		made.Enforced = rollout.Enforced(m.bundle)
	}
	return made
}

// refusing stands in for the bundle of a tenant that could not be loaded.
func refusing(m *member) admission.Member {
	namespaces, err := policies.NamespaceGlobs(m.bundle.Spec.Namespaces)
	if err != nil { // then it is not known whose it is
		namespaces = func(namespace string) bool { return namespace != "" }
	}
	name := m.bundle.Name
	return admission.Member{
		Active:     admission.Ready{Bundle: name, Revision: name + " (not loaded)", Judges: []admission.Judge{refuser{m.problem.Error()}}},
		Namespaces: namespaces, Refuses: true,
	}
}

// refuser is a judge that cannot judge, and says so of every request.
type refuser struct{ reason string }

// Matches implements [admission.Judge].
func (refuser) Matches(*admission.Request) bool { return true }

// Needs implements [admission.Judge].
func (refuser) Needs(*admission.Request, policies.Phase) policies.Needs { return policies.Needs{} }

// Evaluate implements [admission.Judge].
func (r refuser) Evaluate(context.Context, *admission.Request, *policies.Facts, time.Time, policies.Phase) policies.Result {
	message := "the bundle of this namespace could not be loaded: " + strings.ReplaceAll(r.reason, "\n", " ")
	return policies.Result{Faults: []policies.Fault{{Kind: policies.FaultFacts, Message: message}}}
}

// Interests implements [admission.Judge].
func (refuser) Interests(string) []policies.Interest { return nil }
