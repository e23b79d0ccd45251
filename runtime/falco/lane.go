package falco

import (
	"time"

	"github.com/portcullis-dev/portcullis/runtime/falco/spool"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// entry is an event that is not done.
type entry struct {
	position spool.Position
	priority response.Priority
	received time.Time
	sender   string
	// message is nil while it is on disk only.
	message *Message
	size    int
	// volatile ones are in memory only: the log could not take them.
	volatile bool
	replayed bool
}

// lane is a log and those of its events that wait, oldest first. It has no lock of its own.
type lane struct {
	name    string
	log     *spool.Log
	waiting []entry
	first   int // in waiting: those before it are taken
	held    int // taken and not done
}

func (l *lane) length() int { return len(l.waiting) - l.first }

func (l *lane) push(e entry) { l.waiting = append(l.waiting, e) }

func (l *lane) pop() (entry, bool) {
	if l.length() == 0 {
		return entry{}, false
	}
	e := l.waiting[l.first]
	l.waiting[l.first] = entry{} // for the garbage collector
	l.first++
	// What is taken is left behind now and then, so that the slice stays as short as what waits.
	if l.first >= 1024 && l.first*2 >= len(l.waiting) {
		kept := copy(l.waiting, l.waiting[l.first:])
		clear(l.waiting[kept:])
		l.waiting, l.first = l.waiting[:kept], 0
	}
	return e, true
}

// evict takes out what waits in a segment, and calls back for each.
func (l *lane) evict(segment uint64, gone func(entry)) {
	kept := l.waiting[:0]
	for _, e := range l.waiting[l.first:] {
		if !e.volatile && e.position.Segment == segment {
			gone(e)
			continue
		}
		kept = append(kept, e)
	}
	clear(l.waiting[len(kept):])
	l.waiting, l.first = kept, 0
}

// oldest is how long the event that has waited longest has.
func (l *lane) oldest(now time.Time) time.Duration {
	if l.length() == 0 {
		return 0
	}
	return max(now.Sub(l.waiting[l.first].received), 0)
}
