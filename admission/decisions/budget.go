package decisions

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of asking the API server whose tokens are that are not known: of one source, and of all together. What is asked about a token that turns out to
// be somebody's does not count. Sources that have shown such a token of late have a budget of their own: others, however many, do not use it up.
const (
	sourcePerSecond, sourceBurst       = 2, 10
	strangersPerSecond, strangersBurst = 20, 40
	maxSources                         = 1000 // that are counted one by one; the rest shares what one has
	trustedFor                         = 10 * time.Minute
)

// budget is what strangers may have the API server asked.
type budget struct {
	now func() time.Time

	mu                 sync.Mutex
	strangers, trusted bucket
	sources            map[string]*source
	rest               source
}

// source is where requests come from.
type source struct {
	bucket
	// trusted is until when: it has shown a token that is somebody's.
	trusted time.Time
}

func newBudget(now func() time.Time) *budget {
	b := &budget{now: now, strangers: newBucket(strangersPerSecond, strangersBurst), trusted: newBucket(strangersPerSecond, strangersBurst), sources: map[string]*source{}}
	b.rest.bucket = newBucket(sourcePerSecond, sourceBurst)
	return b
}

// take says whether the API server may be asked for a source now.
func (b *budget) take(from string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	of := b.source(from, now)
	all := b.total(of, now)
	if !of.has(now) || !all.has(now) {
		return false
	}
	of.left--
	all.left--
	return true
}

// refund gives back what was taken for a token that is somebody's.
func (b *budget) refund(from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	of := b.source(from, now)
	of.left++
	b.total(of, now).left++
	if of != &b.rest { // who is not told apart vouches for nobody
		of.trusted = now.Add(trustedFor)
	}
}

func (b *budget) total(of *source, now time.Time) *bucket {
	if now.Before(of.trusted) {
		return &b.trusted
	}
	return &b.strangers
}

func (b *budget) source(from string, now time.Time) *source {
	if of := b.sources[from]; of != nil {
		return of
	}
	if len(b.sources) >= maxSources {
		for name, of := range b.sources {
			if of.has(now); of.left >= sourceBurst && !now.Before(of.trusted) {
				delete(b.sources, name) // as good as new
			}
		}
		if len(b.sources) >= maxSources {
			return &b.rest
		}
	}
	of := &source{bucket: newBucket(sourcePerSecond, sourceBurst)}
	b.sources[from] = of
	return of
}

// bucket fills by so much a second, up to a burst.
type bucket struct {
	left, perSecond, burst float64
	at                     time.Time
}

func newBucket(perSecond, burst float64) bucket {
	return bucket{left: burst, perSecond: perSecond, burst: burst}
}

// has says whether something is left.
func (b *bucket) has(now time.Time) bool {
	if passed := now.Sub(b.at); passed > 0 {
		if !b.at.IsZero() {
			b.left += passed.Seconds() * b.perSecond
		}
		b.at = now
	}
	b.left = min(b.left, b.burst)
	return b.left >= 1
}

// sourceOf is what requests of one sender have in common: the address, of IPv6 the network, which is all one machine's.
func sourceOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if address = address.Unmap().WithZone(""); address.Is6() {
		network, _ := address.Prefix(64) // of an address of 128 bits it never fails
		return network.String()
	}
	return address.String()
}
