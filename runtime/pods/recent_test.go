package pods

import (
	"fmt"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

func seen(id, uid, rule string, seconds float64) *response.Event {
	return &response.Event{ID: id, Rule: rule, Priority: response.Warning, Time: at(seconds), Pod: &response.Pod{UID: uid}}
}

// summary is "rule×count first-last" in seconds after start.
func summary(all []response.Recent) string {
	var text string
	for _, one := range all {
		text += fmt.Sprintf("%s×%d %.0f-%.0f ", one.Rule, one.Count, one.First.Sub(start).Seconds(), one.Last.Sub(start).Seconds())
	}
	return text
}

func TestRecentEventsOfAPodAreCountedByRule(t *testing.T) {
	clock := &clock{now: at(4000)}
	r := newRecent(clock.Now)
	for n, step := range []struct {
		event  *response.Event
		window time.Duration
		want   string
	}{
		{seen("1", "a", "shell", 1000), time.Minute, "shell×1 1000-1000 "},
		{seen("2", "a", "shell", 1030), time.Minute, "shell×2 1000-1030 "},
		{seen("2", "a", "shell", 1030), time.Minute, "shell×2 1000-1030 "},                    // the same again
		{seen("3", "b", "shell", 1030), time.Minute, "shell×1 1030-1030 "},                    // another pod
		{seen("4", "a", "miner", 1040), time.Minute, "miner×1 1040-1040 shell×2 1000-1030 "},  // another rule
		{seen("5", "a", "shell", 1070), time.Minute, "miner×1 1040-1040 shell×2 1030-1070 "},  // the first is too long ago
		{seen("6", "a", "shell", 1071), time.Hour, "miner×1 1040-1040 shell×4 1000-1071 "},    // not for who looks further back
		{seen("7", "a", "shell", 1010), time.Minute, "shell×2 1000-1010 "},                    // late: as it was then
		{seen("8", "a", "miner", 1000000), time.Hour, "miner×2 1040-4000 shell×5 1000-1071 "}, // no later than now
	} {
		if got := summary(r.count(step.event, step.window)); got != step.want {
			t.Errorf("step %d: got %q, want %q", n, got, step.want)
		}
	}
}

func TestWhatIsRememberedOfRecentEventsIsBounded(t *testing.T) {
	clock := &clock{now: at(10_000)}
	r := newRecent(clock.Now)
	for n := range 3 * maxHistories {
		r.count(seen("", fmt.Sprint(n), "shell", float64(n%9000)), time.Minute)
	}
	if len(r.histories) > maxHistories {
		t.Errorf("%d pods are remembered, want at most %d", len(r.histories), maxHistories)
	}
	for n := range 3 * maxRules {
		r.count(seen("", "a", fmt.Sprint("rule-", n), float64(n)), time.Minute)
	}
	if got := len(r.histories["a"].rules); got > maxRules {
		t.Errorf("%d rules are remembered of a pod, want at most %d", got, maxRules)
	}
	for n := range 10_000 {
		r.count(seen("", "a", "shell", float64(n)), time.Minute)
	}
	if got, most := len(r.histories["a"].rules["shell"].buckets), int(maxWindow/bucket)+1; got > most {
		t.Errorf("%d buckets are remembered of a rule, want at most %d", got, most)
	}
	sum := 0
	for _, h := range r.histories {
		for _, rule := range h.rules {
			sum += len(rule.buckets)
		}
	}
	if sum != r.buckets {
		t.Errorf("%d buckets are there, and %d are counted", sum, r.buckets)
	}
	for n := range 2 * maxCounted {
		r.isNew(fmt.Sprint("event-", n))
	}
	if got := len(r.counted[0]) + len(r.counted[1]); got > maxCounted {
		t.Errorf("%d events are remembered, want at most %d", got, maxCounted)
	}
}
