package falco

import (
	"crypto/sha256"
	"time"
)

// maxSeen is how many events are remembered at most, in each of two generations: with their keys some 10 MB. At 10,000 events a
// second that is seven seconds; Falco sends again what it was not answered within a few.
const maxSeen = 1 << 16

// seen remembers events for a while. Not for use by several goroutines.
type seen struct {
	window      time.Duration
	newer, last map[[16]byte]struct{}
	since       time.Time // when newer began
}

// identityOf is what an event is remembered by: what it says, and who has said so. Were it the content alone, who could say it first
// on a node of his own would silence the node that it happened on.
func identityOf(m *Message) [16]byte {
	sum := sha256.Sum256([]byte(m.Event.ID + "\x00" + m.Event.Sender))
	return [16]byte(sum[:16])
}

// has says whether an event was remembered within the window.
func (s *seen) has(key [16]byte, now time.Time) bool {
	s.turn(now)
	_, newer := s.newer[key]
	_, last := s.last[key]
	return newer || last
}

func (s *seen) add(key [16]byte, now time.Time) {
	s.turn(now)
	if s.newer == nil {
		s.newer = map[[16]byte]struct{}{}
	}
	s.newer[key] = struct{}{}
}

// turn forgets: an event is remembered for one window at least and two at most, less where there are too many.
func (s *seen) turn(now time.Time) {
	switch passed := now.Sub(s.since); {
	case passed >= 2*s.window || passed < 0:
		s.newer, s.last, s.since = nil, nil, now
	case passed >= s.window || len(s.newer) >= maxSeen:
		s.newer, s.last, s.since = nil, s.newer, now
	}
}
