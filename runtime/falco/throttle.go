package falco

import (
	"sync"
	"time"
)

// throttle says of each of a few things once a second that it may be logged: what fails for one event fails for thousands.
type throttle struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (t *throttle) may(what string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, ok := t.last[what]; ok && now.Sub(before) >= 0 && now.Sub(before) < time.Second {
		return false
	}
	if t.last == nil {
		t.last = map[string]time.Time{}
	}
	t.last[what] = now
	return true
}
