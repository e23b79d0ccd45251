package falco

import "time"

// Item is an event taken from a [Queue]. Done or Again has to be called once.
type Item struct {
	Message *Message
	// Received is when it came, by this machine's clock.
	Received time.Time
	// Replayed says that it was received by an earlier process, which may have begun to deal with it.
	Replayed bool

	entry entry
	lane  *lane
	queue *Queue
}

// Done says that the event has been dealt with: it is not taken again.
func (i Item) Done() {
	i.release()
	i.queue.unhold(i.entry)
	if !i.entry.volatile {
		i.queue.done(i.lane, i.entry.position)
	}
}

func (i Item) release() {
	i.queue.mu.Lock()
	i.lane.held--
	i.queue.mu.Unlock()
}

// Again has the event taken once more after a while, such as one whose pod is not known yet. Until then it counts as one under way, and if the
// process ends before, the next one takes it. It waits on the disk alone where there are too many in memory.
func (i Item) Again(after time.Duration) {
	q, l, e := i.queue, i.lane, i.entry
	e.message = i.Message
	q.mu.Lock()
	if e.volatile {
		q.volatile++
		q.volatileBytes += e.size
	} else {
		q.cache(&e)
	}
	q.mu.Unlock()
	time.AfterFunc(after, func() {
		q.mu.Lock()
		l.held--
		l.push(e)
		q.mu.Unlock()
		q.announce()
	})
}
