package response

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Bounds of a [Ledger]. It is kept in an annotation, and all annotations of an object may have 256 KiB
// (k8s.io/apimachinery/pkg/api/validation, TotalAnnotationSizeLimitB).
const (
	maxEntries = 500
	maxPlans   = 1000
)

// Ledger is what was admitted lately, by which limits are counted. It is one document that all replicas change
// under optimistic concurrency. The zero value is an empty one.
type Ledger struct {
	Entries []Entry `json:"entries,omitempty"`
	// Plans are the times of plans that were proposed since the breaker was closed, Opened is when it opened last.
	Plans  []time.Time `json:"plans,omitempty"`
	Opened *time.Time  `json:"opened,omitempty"`
}

// Entry is one quarantine that was admitted.
type Entry struct {
	Quarantine string `json:"quarantine"`
	Namespace  string `json:"namespace,omitempty"`
	// Owner is "group/kind/namespace/name", or the pod's UID where it has none.
	Owner string `json:"owner,omitempty"`
	Node  string `json:"node,omitempty"`
	// Time is when it was admitted, Ended when it was over.
	Time  time.Time  `json:"time"`
	Ended *time.Time `json:"ended,omitempty"`
	// Cordons says that it cordons its node.
	Cordons bool `json:"cordons,omitempty"`
}

// Count is what limits in percent are of, as it is now: the pods that the owner wants and that are ready, and the nodes of the cluster.
type Count struct {
	Desired, Ready, Nodes int64
}

// Admit counts a quarantine against the limits and notes it. It gives "" where it is admitted, also where it was before, and
// otherwise says which limit it is over, and what to do.
func (l *Ledger) Admit(e Entry, of Count, s Settings, now time.Time) (reason string) {
	times := s.Times()
	l.forget(now, times)
	if l.admitted(e) {
		return ""
	}
	if reason = l.over(e, of, s.Limits.filled(), times, now); reason != "" {
		return reason
	}
	if n := slices.IndexFunc(l.Entries, e.again); n >= 0 {
		l.Entries[n].Cordons, l.Entries[n].Node = true, e.Node
		return ""
	}
	e.Time, e.Ended = now, nil
	l.Entries = append(l.Entries, e)
	return ""
}

// again says whether an entry in force is of the same quarantine.
func (e Entry) again(have Entry) bool { return have.Quarantine == e.Quarantine && have.Ended == nil }

// admitted says whether a quarantine in force was admitted before. One that cordons only now is counted as that, too.
func (l *Ledger) admitted(e Entry) bool {
	return slices.ContainsFunc(l.Entries, func(have Entry) bool { return e.again(have) && (have.Cordons || !e.Cordons) })
}

// over says which limit a quarantine would be over.
func (l *Ledger) over(e Entry, of Count, limits Limits, times Times, now time.Time) string {
	begun := func(same func(Entry) bool) (n int64) {
		for _, have := range l.others(e) {
			if have.Time.After(now.Add(-times.LimitWindow)) && same(have) {
				n++
			}
		}
		return n
	}
	switch {
	case len(l.others(e)) >= maxEntries:
		return fmt.Sprintf("%d quarantines are in force or were lately: no more are counted; release some", maxEntries)
	case slices.ContainsFunc(l.Entries, e.again): // all that is new is that it cordons
		return l.overNodes(e, of, limits)
	case begun(func(Entry) bool { return true }) >= limits.Cluster:
		return fmt.Sprintf("the limit of %s in %s for the cluster (limits.cluster) is reached; see what is going on, then raise it or act by hand", quarantines(limits.Cluster), times.LimitWindow)
	case begun(func(have Entry) bool { return have.Namespace == e.Namespace }) >= limits.Namespace:
		return fmt.Sprintf("the limit of %s in %s for namespace %s (limits.namespace) is reached; see what is going on, then raise it or act by hand", quarantines(limits.Namespace), times.LimitWindow, e.Namespace)
	case begun(func(have Entry) bool { return have.Owner == e.Owner }) >= limits.Owner:
		return fmt.Sprintf("the limit of %s in %s for one owner (limits.owner) is reached by %s; act on the owner, not on one pod after the other", quarantines(limits.Owner), times.LimitWindow, e.Owner)
	}
	if last := l.lastOf(e); last != nil && now.Sub(last.Time) < times.Cooldown {
		return fmt.Sprintf("%s was acted on %s ago, by %s, and cools down for %s (cooldown); if it goes on it will be reported again",
			e.Owner, now.Sub(last.Time).Round(time.Second), last.Quarantine, times.Cooldown)
	}
	if most := share(min(of.Desired, of.Ready), limits.OwnerPercent); l.inForce(func(have Entry) bool { return have.Owner == e.Owner && have.Quarantine != e.Quarantine }) >= most {
		return fmt.Sprintf("%d%% of the pods of %s (%d wanted, %d ready) may be in quarantine at a time (limits.ownerPercent), which are %d; release one, or act on the owner",
			limits.OwnerPercent, e.Owner, of.Desired, of.Ready, most)
	}
	return l.overNodes(e, of, limits)
}

// overNodes says whether a quarantine that cordons its node would cordon one too many.
func (l *Ledger) overNodes(e Entry, of Count, limits Limits) string {
	if !e.Cordons {
		return ""
	}
	nodes := map[string]bool{}
	for _, have := range l.Entries {
		if have.Cordons && have.Ended == nil {
			nodes[have.Node] = true
		}
	}
	if most := min(limits.Nodes, share(of.Nodes, limits.NodePercent)); !nodes[e.Node] && int64(len(nodes)) >= most {
		return fmt.Sprintf("%d of %d nodes may be cordoned at a time (limits.nodes, limits.nodePercent); release the quarantine of one, or cordon %s by hand", most, of.Nodes, e.Node)
	}
	return ""
}

// share is a part of a whole in percent, never less than one.
func share(whole, percent int64) int64 { return max(1, whole*percent/100) }

func quarantines(n int64) string {
	if n == 1 {
		return "1 quarantine"
	}
	return fmt.Sprintf("%d quarantines", n)
}

// others are the entries of other quarantines, and earlier ones of the same.
func (l *Ledger) others(e Entry) []Entry {
	return slices.DeleteFunc(slices.Clone(l.Entries), e.again)
}

// lastOf is the last admission of another pod of the same owner.
func (l *Ledger) lastOf(e Entry) (last *Entry) {
	for n, have := range l.Entries {
		if have.Owner == e.Owner && have.Quarantine != e.Quarantine && (last == nil || have.Time.After(last.Time)) {
			last = &l.Entries[n]
		}
	}
	return last
}

func (l *Ledger) inForce(same func(Entry) bool) (n int64) {
	for _, have := range l.Entries {
		if have.Ended == nil && same(have) {
			n++
		}
	}
	return n
}

// End notes that a quarantine is over.
func (l *Ledger) End(quarantine string, now time.Time) {
	for n := range l.Entries {
		if l.Entries[n].Quarantine == quarantine && l.Entries[n].Ended == nil {
			l.Entries[n].Ended = &now
		}
	}
}

// forget drops entries that are over and older than anything that counts them. Those in force stay, however old they are.
func (l *Ledger) forget(now time.Time, times Times) {
	oldest := now.Add(-max(times.LimitWindow, times.Cooldown, keptAfterwards))
	l.Entries = slices.DeleteFunc(l.Entries, func(have Entry) bool { return have.Ended != nil && have.Time.Before(oldest) })
}

// keptAfterwards is how long entries are kept at least: settings of another bundle may have a longer window than those at hand.
const keptAfterwards = time.Hour

// Proposed notes that a plan was made, and says whether the circuit breaker is open, and since when. While it is open all plans are only
// recorded.
func (l *Ledger) Proposed(at time.Time, s Settings) (open bool, since time.Time) {
	if open, since = l.Open(at, s); open {
		return true, since
	}
	times := s.Times()
	l.Plans = slices.DeleteFunc(l.Plans, func(plan time.Time) bool { return !plan.After(at.Add(-times.BreakerWindow)) })
	l.Plans = append(l.Plans, at)
	if int64(len(l.Plans)) < min(cmp.Or(s.Breaker.Plans, defaultPlans), maxPlans) {
		return false, time.Time{}
	}
	l.Plans, l.Opened = nil, &at
	return true, at
}

// defaultPlans is how many plans within a window open the breaker.
const defaultPlans = 50

// Open says whether the circuit breaker is open, and since when.
func (l *Ledger) Open(now time.Time, s Settings) (open bool, since time.Time) {
	if l.Opened == nil || now.Sub(*l.Opened) >= s.Times().BreakerPause {
		return false, time.Time{}
	}
	return true, *l.Opened
}
