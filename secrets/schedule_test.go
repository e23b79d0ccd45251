package secrets

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ids(count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
	}
	return all
}

// densest is the most of times that lie in any window of a size.
func densest(times []time.Time, window time.Duration) int {
	slices.SortFunc(times, time.Time.Compare)
	most, first := 0, 0
	for last := range times {
		for times[last].Sub(times[first]) >= window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// external-secrets #4231: everything that was made at one time was refreshed at one time for ever.
func TestIssue4231ObjectsOfOneTimeDriftApart(t *testing.T) {
	const count, interval = 5000, time.Hour
	last := slices.Repeat([]time.Time{start}, count)
	var most []int
	for range 5 {
		for i, id := range ids(count) {
			next := RefreshAt(last[i], interval, id)
			if late := next.Sub(last[i]); late > interval || late <= interval-interval/10-1 {
				t.Fatalf("%s is refreshed after %s, want 54m to 1h", id, late)
			}
			if again := RefreshAt(last[i], interval, id); !again.Equal(next) {
				t.Fatalf("%s is refreshed at %s and at %s", id, next, again)
			}
			last[i] = next
		}
		most = append(most, densest(slices.Clone(last), time.Second))
	}
	// Evenly over six minutes 5,000 are 13.9 a second.
	if most[0] > 40 || most[4] > most[0] {
		t.Errorf("at most %d in a second, want at most 40 at first and not more later", most)
	}
	if first, second := RefreshAt(start, interval, "a").Sub(start), RefreshAt(start.Add(time.Second), interval, "a").Sub(start.Add(time.Second)); first == second {
		t.Errorf("%s is taken off each time: those that meet once meet always", interval-first)
	}
	if got := RefreshAt(start, 0, "a"); !got.Equal(start) {
		t.Errorf("no interval: got %s", got)
	}
}

func TestAStartIsNoHerd(t *testing.T) {
	for name, test := range map[string]struct {
		last, next time.Time
		interval   time.Duration
		within     time.Duration
		most       int // in any second
	}{
		"never read":                  {interval: time.Hour, within: StartWindow, most: 75}, // evenly 42; a VaultConnection lets 50 pass, and 100 at once
		"overdue for a day":           {last: start.Add(-25 * time.Hour), next: start.Add(-24 * time.Hour), interval: time.Hour, within: StartWindow, most: 75},
		"due now":                     {last: start.Add(-time.Hour), next: start, interval: time.Hour, within: StartWindow, most: 75},
		"no interval":                 {within: StartWindow, most: 75},
		"a short interval":            {last: start.Add(-time.Hour), next: start.Add(-time.Minute), interval: 30 * time.Second, within: 30 * time.Second, most: 250},
		"read when the clock was off": {last: start.Add(time.Hour), next: start.Add(1000 * time.Hour), interval: time.Hour, within: StartWindow, most: 75},
	} {
		t.Run(name, func(t *testing.T) {
			var times []time.Time
			for _, id := range ids(5000) {
				at := SpreadStart(start, test.last, test.next, test.interval, id)
				if at.Before(start) || at.Sub(start) >= test.within {
					t.Fatalf("%s is read %s after the start, want 0s to %s", id, at.Sub(start), test.within)
				}
				if again := SpreadStart(start, test.last, test.next, test.interval, id); !again.Equal(at) {
					t.Fatalf("%s is read at %s and at %s", id, at, again)
				}
				times = append(times, at)
			}
			got := densest(times, time.Second)
			t.Logf("at most %d in any second", got)
			if got > test.most {
				t.Errorf("%d are read in one second, want at most %d", got, test.most)
			}
			tenths := make([]int, 10)
			for _, at := range times {
				tenths[int(10*at.Sub(start)/test.within)]++
			}
			if slices.Min(tenths) < 400 || slices.Max(tenths) > 600 {
				t.Errorf("the tenths of the window have %d, want about 500 each", tenths)
			}
		})
	}
	next := start.Add(17 * time.Minute)
	if got := SpreadStart(start, start.Add(-time.Minute), next, time.Hour, "a"); !got.Equal(next) {
		t.Errorf("what is due at %s is read at %s: a restart changes nothing for it", next, got)
	}
}

func TestWhatEndsIsRenewedBeforeAndWithTimeToTryAgain(t *testing.T) {
	for _, test := range []struct {
		life             time.Duration
		percent          int64
		earliest, latest time.Duration
	}{
		{100 * time.Second, 0, 63700 * time.Millisecond, 67 * time.Second},
		{100 * time.Second, 67, 63700 * time.Millisecond, 67 * time.Second},
		{100 * time.Second, 10, time.Second, 10 * time.Second},
		{100 * time.Second, 90, 89 * time.Second, 90 * time.Second},
		{100 * time.Second, 1, time.Second, 10 * time.Second},
		{100 * time.Second, 100, 89 * time.Second, 90 * time.Second},
		{100 * time.Second, -5, time.Second, 10 * time.Second},
		{3 * time.Second, 67, 1911 * time.Millisecond, 2010 * time.Millisecond},
		{100 * 365 * 24 * time.Hour, 90, 89 * 365 * 24 * time.Hour, 90 * 365 * 24 * time.Hour},
		{0, 67, 0, 0},
		{-time.Hour, 67, 0, 0},
	} {
		var least, most time.Duration = 1 << 62, -1
		for _, id := range ids(2000) {
			at := RenewAt(start, start.Add(test.life), test.percent, id).Sub(start)
			if at < test.earliest || at > test.latest {
				t.Fatalf("%d%% of %s is %s, want %s to %s", test.percent, test.life, at, test.earliest, test.latest)
			}
			least, most = min(least, at), max(most, at)
		}
		if spread := test.latest - test.earliest; most-least < spread*9/10 {
			t.Errorf("%d%% of %s is %s to %s, want it spread over %s", test.percent, test.life, least, most, spread)
		}
	}
	if first, second := RenewAt(start, start.Add(time.Hour), 67, "a"), RenewAt(start, start.Add(time.Hour), 67, "a"); !first.Equal(second) {
		t.Error("two replicas do not agree when to renew")
	}
}

func TestFailuresAreTriedAgainLaterAndLater(t *testing.T) {
	bounds := func(reason Reason) (least, most time.Duration) {
		switch reason {
		case Sealed, Unreachable, Slow, Truncated, Malformed, Untrusted, Failed, Behind:
			return time.Second, 30 * time.Second
		case Forbidden, Denied, NotFound, LoginFailed, Refused, NamespaceBarred, KeyMissing, TemplateFailed, Unfit, NotOurs:
			return time.Minute, 15 * time.Minute
		case Misconfigured:
			return 15 * time.Minute, 15 * time.Minute
		}
		return time.Second, 5 * time.Minute
	}
	for _, reason := range append(slices.Clone(allReasons), "") {
		least, most := bounds(reason)
		for failures := int64(-1); failures < 100; failures++ {
			whole := most
			if n := max(failures, 1) - 1; n < 20 {
				whole = min(least<<n, most)
			}
			for _, id := range ids(50) {
				got := Backoff(failures, reason, 0, id)
				if got > whole || got < whole*3/4 {
					t.Fatalf("failure %d by %s is tried again after %s, want %s less up to a quarter", failures, reason, got, whole)
				}
				if again := Backoff(failures, reason, 0, id); again != got {
					t.Fatalf("failure %d by %s is tried again after %s and %s", failures, reason, got, again)
				}
			}
		}
		for _, failures := range []int64{1 << 20, 1<<63 - 1, -1 << 63} {
			if got := Backoff(failures, reason, 0, "a"); got <= 0 || got > most {
				t.Errorf("%d failures by %s are tried again after %s", failures, reason, got)
			}
		}
	}
}

func TestVaultIsNotAskedBeforeItSaid(t *testing.T) {
	for _, reason := range []Reason{RateLimited, Sealed, Failed, Behind} {
		var all []time.Time
		for _, id := range ids(1000) {
			got := Backoff(1, reason, 40*time.Second, id)
			if got < 40*time.Second || got > 41*time.Second {
				t.Fatalf("%s with 40s is tried again after %s", reason, got)
			}
			all = append(all, start.Add(got))
		}
		if most := densest(all, 10*time.Millisecond); most > 120 {
			t.Errorf("%d of 1,000 are back within 10 ms of each other", most)
		}
	}
	if got := Backoff(1, RateLimited, 1000*time.Hour, "a"); got < 15*time.Minute || got > 16*time.Minute {
		t.Errorf("asked to wait 1000h, it waits %s, want 15m: nobody stops it for weeks", got)
	}
	if got := Backoff(10, RateLimited, time.Second, "a"); got < 3*time.Minute {
		t.Errorf("the tenth failure is tried again after %s, since 1s was asked for", got)
	}
}

// A thousand objects that failed in one moment do not come back in one.
func TestWhatFailedTogetherDoesNotComeBackTogether(t *testing.T) {
	for failures := int64(1); failures < 8; failures++ {
		var all []time.Time
		for _, id := range ids(1000) {
			all = append(all, start.Add(Backoff(failures, Sealed, 0, id)))
		}
		slices.SortFunc(all, time.Time.Compare)
		window := all[len(all)-1].Sub(all[0])
		if most := densest(all, window/10); window < 200*time.Millisecond || most > 150 {
			t.Errorf("after %d failures they come back within %s, %d of them in a tenth of it", failures, window, most)
		}
	}
}
