package decisions

import (
	"sync"
)

// DefaultSize is how many decisions a ring holds: about 1 MiB.
const DefaultSize = 1000

// Ring holds the last decisions. It is for any number of goroutines.
type Ring struct {
	process string

	mu      sync.Mutex
	entries []Entry // a circle: that of sequence n is at (n-1) % len
	last    uint64
	// changed is closed at the next entry, nil where nobody waits.
	changed chan struct{}
}

// NewRing makes one of a size; process names it to readers.
func NewRing(size int, process string) *Ring {
	return &Ring{process: process, entries: make([]Entry, max(size, 1))}
}

// Add records a decision in place of the oldest, and gives it its sequence. It never waits for a reader.
func (r *Ring) Add(entry Entry) {
	if len(entry.Reasons) > MaxReasons { // so that what is kept is bounded
		entry.More += len(entry.Reasons) - MaxReasons
		entry.Reasons = entry.Reasons[:MaxReasons:MaxReasons]
	}
	r.mu.Lock()
	r.last++
	entry.Sequence, entry.Process = r.last, r.process
	r.entries[(r.last-1)%uint64(len(r.entries))] = entry
	waiting := r.changed
	r.changed = nil
	r.mu.Unlock()
	if waiting != nil {
		close(waiting)
	}
}

// since gives up to limit entries behind a sequence, the oldest first, how many of those behind it are gone, the sequence to go on from, and a channel
// that is closed when there are more. A sequence that is not reached yet is of a process before this one: everything is behind it.
func (r *Ring) since(after uint64, limit int) (entries []Entry, missed, next uint64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after > r.last {
		after = 0
	}
	size := uint64(len(r.entries))
	if oldest := r.last - min(r.last, size); after < oldest {
		missed, after = oldest-after, oldest
	}
	count := min(r.last-after, uint64(max(limit, 0)))
	entries = make([]Entry, 0, count)
	for n := after; n < after+count; n++ {
		entries = append(entries, r.entries[n%size])
	}
	if after+count == r.last {
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		more = r.changed
	}
	return entries, missed, after + count, more
}
