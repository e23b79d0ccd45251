package pods

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Bounds of what is remembered of recent events.
const (
	// maxWindow is the longest one that settings allow; buckets are parts of it.
	maxWindow = time.Hour
	bucket    = 10 * time.Second
	// maxRules bounds the rules that are told apart of one pod, maxHistories the pods with events, maxBuckets what is counted of all of
	// them, 16 bytes each. Pods whose last event is the longest ago make room.
	maxRules     = 64
	maxHistories = 10_000
	maxBuckets   = 2_000_000
	// maxCounted is how many events are known to have been counted, so that one that is looked at again is not.
	maxCounted = 50_000
)

// recent counts events of pods by rule.
type recent struct {
	now func() time.Time

	mu        sync.Mutex
	histories map[string]*history // by UID
	buckets   int
	counted   [2]map[string]struct{} // ids of events: those of late, and those before
}

// history are the events of one pod.
type history struct {
	rules map[string]*ruleHistory
	last  time.Time
}

type ruleHistory struct {
	priority response.Priority
	// buckets are counts by time, sorted. Those that maxWindow has left behind are dropped.
	buckets     []counts
	first, last time.Time // of the event times within the buckets
}

type counts struct {
	at    int64 // the bucket's begin, in units of bucket
	count int64
}

func newRecent(now func() time.Time) *recent {
	r := &recent{now: now, histories: map[string]*history{}}
	r.counted[0], r.counted[1] = map[string]struct{}{}, map[string]struct{}{}
	return r
}

// count takes in an event, once, and returns what its pod had within the window before it, by rule, sorted by rule. Counts are
// exact but for the oldest 10 seconds of the window.
func (r *recent) count(e *response.Event, window time.Duration) []response.Recent {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := e.Time
	if now := r.now(); at.After(now) {
		at = now // a clock that is ahead, or a lie, must not push out what others report
	}
	r.makeRoom()
	h := r.histories[e.Pod.UID]
	if h == nil {
		h = &history{rules: map[string]*ruleHistory{}}
		r.histories[e.Pod.UID] = h
	}
	if h.last.Before(at) {
		h.last = at
	}
	if r.isNew(e.ID) {
		r.add(h, e, at)
	}
	return h.within(at, window)
}

// isNew says whether an event has not been counted, and notes that it is from now on. One without an id always is.
func (r *recent) isNew(id string) bool {
	if id == "" {
		return true
	}
	for _, ids := range r.counted {
		if _, known := ids[id]; known {
			return false
		}
	}
	if len(r.counted[0]) >= maxCounted/2 {
		r.counted[0], r.counted[1] = map[string]struct{}{}, r.counted[0]
	}
	r.counted[0][id] = struct{}{}
	return true
}

func (r *recent) add(h *history, e *response.Event, at time.Time) {
	rule := h.rules[e.Rule]
	if rule == nil {
		if len(h.rules) >= maxRules {
			r.forgetRule(h)
		}
		rule = &ruleHistory{first: at, last: at}
		h.rules[e.Rule] = rule
	}
	rule.priority = e.Priority
	before := len(rule.buckets)
	rule.add(at)
	r.buckets += len(rule.buckets) - before
}

func (h *ruleHistory) add(at time.Time) {
	slot := at.UnixNano() / int64(bucket)
	n, found := slices.BinarySearchFunc(h.buckets, slot, func(c counts, slot int64) int { return int(c.at - slot) })
	if found {
		h.buckets[n].count++
	} else {
		h.buckets = slices.Insert(h.buckets, n, counts{at: slot, count: 1})
	}
	if at.Before(h.first) {
		h.first = at
	}
	if at.After(h.last) {
		h.last = at
	}
	oldest := h.buckets[len(h.buckets)-1].at - int64(maxWindow/bucket)
	cut, _ := slices.BinarySearchFunc(h.buckets, oldest, func(c counts, slot int64) int { return int(c.at - slot) })
	h.buckets = slices.Delete(h.buckets, 0, cut)
}

// within adds up what happened in the window that ends with at.
func (h *history) within(at time.Time, window time.Duration) []response.Recent {
	from, to := at.Add(-window).UnixNano()/int64(bucket), at.UnixNano()/int64(bucket)
	var all []response.Recent
	for name, rule := range h.rules {
		one := response.Recent{Rule: name, Priority: rule.priority, First: rule.first, Last: rule.last}
		for n, c := range rule.buckets {
			if c.at < from || c.at > to {
				continue
			}
			one.Count += c.count
			if n > 0 && one.Count == c.count { // something is older than the window
				one.First = time.Unix(0, c.at*int64(bucket)).UTC()
			}
		}
		if one.Count == 0 {
			continue
		}
		if one.Last.After(at) {
			one.Last = at
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b response.Recent) int { return strings.Compare(a.Rule, b.Rule) })
	return all
}

// forgetRule drops the rule of a pod that was quiet the longest.
func (r *recent) forgetRule(h *history) {
	var oldest string
	for name, rule := range h.rules {
		if oldest == "" || rule.last.Before(h.rules[oldest].last) {
			oldest = name
		}
	}
	r.buckets -= len(h.rules[oldest].buckets)
	delete(h.rules, oldest)
}

// makeRoom drops the pods that were quiet the longest, a tenth of them, when there are too many.
func (r *recent) makeRoom() {
	if len(r.histories) < maxHistories && r.buckets < maxBuckets {
		return
	}
	type entry struct {
		uid  string
		last time.Time
	}
	entries := make([]entry, 0, len(r.histories))
	for uid, h := range r.histories {
		entries = append(entries, entry{uid, h.last})
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.last.Compare(b.last) })
	for _, e := range entries[:len(entries)/10+1] {
		for _, rule := range r.histories[e.uid].rules {
			r.buckets -= len(rule.buckets)
		}
		delete(r.histories, e.uid)
	}
}
