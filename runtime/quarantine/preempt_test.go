package quarantine

import (
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// audited is a plan of which nothing that contains is done.
func audited(pod response.Pod) *response.Plan {
	p := plan(pod, response.Isolate, response.Annotate)
	p.Mode = response.ModeAudit
	parameters(p, response.Isolate, func(a *response.Planned) { a.Mode = response.ModeAudit })
	for n := range p.Actions {
		p.Actions[n].Policy = "runtime/terminal"
	}
	return p
}

// critical is what the same pod does next, once.
func critical(pod response.Pod) *response.Plan {
	p := plan(pod, response.Isolate)
	p.Event.ID = "sha256:" + strings.Repeat("7", 64)
	return p
}

// TestWhatIsOnlyRecordedIsNoShieldAgainstWhatIsEnforced, neither before it is recorded nor within the cooldown after: whoever is in a pod could have a
// policy that is tried out report it first.
func TestWhatIsOnlyRecordedIsNoShieldAgainstWhatIsEnforced(t *testing.T) {
	calm := wide
	calm.Cooldown = "10m"
	t.Run("a moment after it was recorded", func(t *testing.T) {
		b := newBench(t)
		pod := b.pod("shop", "web", nil)
		name, c := b.propose(audited(pod), calm), b.controller()
		b.settle(c, name)
		b.wantPhase(name, v1alpha1.PhaseAudited)
		b.pass(10 * time.Second)
		b.propose(critical(pod), calm)
		b.settle(c, name)
		b.wantPhase(name, v1alpha1.PhaseContained)
	})
	t.Run("while it is being recorded", func(t *testing.T) {
		b := newBench(t)
		pod := b.pod("shop", "web", nil)
		name, c := b.propose(audited(pod), calm), b.controller()
		b.hands.seen = func(call string, _ *v1alpha1.Quarantine) {
			if call == "do annotate" {
				b.propose(critical(pod), calm)
			}
		}
		b.settle(c, name)
		b.settle(c, name)
		b.wantPhase(name, v1alpha1.PhaseContained)
	})
	t.Run("not again and again", func(t *testing.T) {
		b := newBench(t)
		pod := b.pod("shop", "web", nil)
		name, c := b.propose(critical(pod), response.Settings{Mode: response.ModeEnforce, Breaker: response.Breaker{Plans: 1}}), b.controller()
		b.settle(c, name)
		b.wantPhase(name, v1alpha1.PhaseAudited) // since the breaker opened: what is enforced was asked for before
		more := critical(pod)
		more.Event.ID = "sha256:" + strings.Repeat("8", 64)
		b.propose(more, calm)
		if q := b.get(name); q.Spec.Reopened != 0 {
			t.Errorf("it was reopened %d times within the cooldown, want 0", q.Spec.Reopened)
		}
	})
}
