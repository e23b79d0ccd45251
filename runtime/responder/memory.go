package responder

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Bounds of what is remembered of proposals.
const (
	// repeatAfter is how long the same plan for the same pod is not proposed again, but counted. A pod that mines reports a
	// hundred times a second; its Quarantine is written twice a minute.
	repeatAfter = 30 * time.Second
	maxProposed = 20_000
)

// memory knows which plans were proposed of late. It saves writing; that a pod is quarantined once rests on its Quarantine, which
// all replicas see.
type memory struct {
	now func() time.Time

	mu       sync.Mutex
	proposed map[[sha256.Size]byte]*proposed
}

type proposed struct {
	at    time.Time
	count int64 // of events since
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, proposed: map[[sha256.Size]byte]*proposed{}}
}

// fingerprint is the same for the same policies asking for the same actions about the same pod.
func fingerprint(uid string, asks []response.Ask) [sha256.Size]byte {
	lines := make([]string, 0, len(asks))
	for _, ask := range asks {
		ask.Message, ask.Severity = "", "" // messages may hold what differs from event to event
		line, _ := json.Marshal(ask)       // of strings and numbers: it cannot fail
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	return sha256.Sum256([]byte(uid + "\n" + strings.Join(slices.Compact(lines), "\n")))
}

// repeats says whether a plan was proposed a moment ago, and counts the event if so.
func (m *memory) repeats(plan [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.proposed[plan]
	if !ok || m.now().Sub(last.at) >= repeatAfter {
		return false
	}
	last.count++
	return true
}

// since is how many events of a plan came since it was proposed, this one included.
func (m *memory) since(plan [sha256.Size]byte) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.proposed[plan]; ok {
		return last.count + 1
	}
	return 1
}

// note remembers that a plan was proposed.
func (m *memory) note(plan [sha256.Size]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.proposed[plan]; !known && len(m.proposed) >= maxProposed {
		m.makeRoom()
	}
	m.proposed[plan] = &proposed{at: m.now()}
}

// makeRoom forgets plans that may be proposed again, and all if there is none: then some are written once more.
func (m *memory) makeRoom() {
	for plan, last := range m.proposed {
		if m.now().Sub(last.at) >= repeatAfter {
			delete(m.proposed, plan)
		}
	}
	if len(m.proposed) >= maxProposed {
		clear(m.proposed)
	}
}
