package secrets

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

// StartWindow is over how long what is due at a start is spread: 5,000 objects in it are 42 a second, below what a VaultConnection
// allows by default (50), so that those whom people wait for find room between them.
const StartWindow = 2 * time.Minute

// The bounds of RenewPercent, and what it is for none: two thirds, as Vault's own agent renews.
const (
	LeastRenewPercent   = 10
	MostRenewPercent    = 90
	DefaultRenewPercent = 67
)

// RefreshAt is when to read again what was read at last: after the interval, less up to a tenth of it. How much less follows from id
// and last, so that objects made at one time drift apart, and two replicas agree. It is never later than last plus interval.
func RefreshAt(last time.Time, interval time.Duration, id string) time.Time {
	if interval <= 0 {
		return last
	}
	return last.Add(interval - share(interval/10, "refresh", id, last))
}

// SpreadStart is when to look at an object that a process has just found, which read it at last (zero for never) and meant to look
// again at next. What is due in the future keeps its time. What is overdue, was never read, or was read in the future by a clock that
// was wrong, is spread over the interval, or over StartWindow if that is shorter, by a hash of id: a start is no herd, and a restart in
// the middle of one does not begin it again for those that are done.
func SpreadStart(now, last, next time.Time, interval time.Duration, id string) time.Time {
	if next.After(now) && !last.After(now) {
		return next
	}
	window := StartWindow
	if interval > 0 {
		window = min(window, interval)
	}
	return now.Add(share(window, "start", id, time.Time{}))
}

// RenewAt is when to renew, or issue anew, what was issued at issued and ends at expires: after percent of its life (none: 67; at least
// 10, at most 90), less up to a tenth of what is left then. So there is time to try again, and it is never before issued. What has no
// life, or ended before it began, is due at once.
func RenewAt(issued, expires time.Time, percent int64, id string) time.Time {
	life := expires.Sub(issued)
	if life <= 0 {
		return issued
	}
	if percent == 0 {
		percent = DefaultRenewPercent
	}
	percent = min(max(percent, LeastRenewPercent), MostRenewPercent)
	at := life / 100 * time.Duration(percent)
	return issued.Add(at - share((life-at)/10, "renew", id, issued))
}

// The bounds of Backoff.
const (
	leastBackoff  = time.Second
	mostBackoff   = 5 * time.Minute
	mostOutage    = 30 * time.Second // what waits is queued again when Vault answers: this is for when nobody notices
	leastHopeless = time.Minute      // somebody has to change something first
	mostHopeless  = 15 * time.Minute
)

// Backoff is how long to wait after so many failures in a row, the last for reason: from a second to five minutes, doubling; to 30
// seconds where Vault as a whole does not answer; from one minute to 15 where people have to change something, in Vault or in the
// policies, which asking often does not hasten. A quarter of it, at random by id and count, is taken off, so that what failed together does not
// come again together.
//
// after is the least that Vault asked for (Retry-After), 0 for none. It is kept to, up to 15 minutes, and what is taken off elsewhere is
// put on here.
func Backoff(failures int64, reason Reason, after time.Duration, id string) time.Duration {
	least, most := leastBackoff, mostBackoff
	switch {
	case reason.Outage(), reason == Behind:
		most = mostOutage
	case reason == Misconfigured: // nobody should ask; if so, seldom
		least, most = mostHopeless, mostHopeless
	case hopeless(reason):
		least, most = leastHopeless, mostHopeless
	}
	wait := most
	if doublings := max(failures, 1) - 1; doublings < 20 {
		wait = min(least<<doublings, most)
	}
	jitter := share(wait/4, "backoff", id, time.Unix(failures, 0))
	wait -= jitter
	if asked := min(after, mostHopeless); asked > 0 {
		wait = max(wait, asked+jitter)
	}
	return wait
}

// hopeless says that nothing will be better until people change something that this process does not watch.
func hopeless(reason Reason) bool {
	switch reason {
	case Forbidden, Denied, NotFound, LoginFailed, Refused, NamespaceBarred, KeyMissing, TemplateFailed, Unfit, NotOurs:
		return true
	}
	return false
}

// share is a part of a duration, from none of it to just less than all, that follows from what it is for, the id and the time, evenly over ids.
func share(of time.Duration, purpose, id string, at time.Time) time.Duration {
	if of <= 0 {
		return 0
	}
	text := make([]byte, 0, len(purpose)+len(id)+14)
	text = append(append(append(text, purpose...), 0), id...)
	text = append(text, 0)
	text = binary.BigEndian.AppendUint64(text, uint64(at.Unix()))
	text = binary.BigEndian.AppendUint32(text, uint32(at.Nanosecond()))
	sum := sha256.Sum256(text)
	part, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:8]), uint64(of))
	return time.Duration(part)
}
