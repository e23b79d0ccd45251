package falco

import (
	"cmp"
	"errors"
)

// What keeps the log from being filled by one sender: once urgent events take three quarters of it, whoever has an eighth is given no more until some
// of that is dealt with, and waits in memory as where the disk is full. The rest is for the others, whose events are as grave and fewer.
const (
	reservedFrom = 4 // the last quarter
	shareOfLog   = 8
)

// errShare says that a sender has as much of the log as it may have now.
var errShare = errors.New("the sender has its part of a log that is nearly full")

// senderOf is by whom urgent events are counted: the node that the sender has proved to speak for, or that it names; "" where nothing tells senders
// apart.
func senderOf(m *Message) string { return cmp.Or(m.Event.Sender, m.Event.Hostname) }

// hold counts bytes of an urgent event that is to be dealt with. The caller has the lock.
func (q *Queue) hold(e entry) {
	if urgent(e.priority) {
		q.pending[e.sender] += int64(e.size)
	}
}

// unhold counts them off.
func (q *Queue) unhold(e entry) {
	if !urgent(e.priority) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending[e.sender] -= int64(e.size); q.pending[e.sender] <= 0 {
		delete(q.pending, e.sender)
	}
}

// hoards says that a sender has its part of a log that is nearly full.
func (q *Queue) hoards(sender string) bool {
	if sender == "" {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.urgent.log.Bytes() >= q.options.MaxBytes-q.options.MaxBytes/reservedFrom && q.pending[sender] >= q.options.MaxBytes/shareOfLog
}
