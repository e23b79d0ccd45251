package registration

import (
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
)

var start = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

var yearly = lifetimes{authority: 365 * day, leaf: 90 * day, spread: 5 * time.Minute, keep: day, mount: 15 * time.Minute}

// replica is what a pod serves with: it loads a leaf some time after it was written, and only one that is valid by its own clock, as
// certificate.Files does.
type replica struct{ leaf *x509.Certificate }

func (r *replica) load(leaf *x509.Certificate, now time.Time) {
	if leaf != nil && certificate.ValidAt(leaf, now) == nil {
		r.leaf = leaf
	}
}

// TestNoReplicaIsEverDistrusted takes chains through two years in steps of any length, with API servers that learn of a bundle, and
// replicas that load a leaf, late: what any replica serves is always signed by an authority that every API server trusts.
func TestNoReplicaIsEverDistrusted(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 1))
		now := start
		c := &chain{}
		var leaf *x509.Certificate
		replicas := []*replica{{}, {}}
		var told []*x509.Certificate // what the API servers have been told
		var trusted time.Time        // since when the authority of now is among it
		rotations := 0
		for now.Before(start.Add(2 * 365 * day)) {
			did, err := c.renew(now, yearly, leaf, nil)
			if err != nil {
				t.Fatal(err)
			}
			if did != "" {
				rotations++
				trusted = time.Time{}
			}
			if did == "" {
				c.forget(now, yearly.mount, yearly, leaf)
			}
			if slices.ContainsFunc(told, c.authority.Certificate().Equal) {
				if trusted.IsZero() {
					trusted = now
				}
			}
			// The configurations are written; then the leaf.
			told = c.all()
			fit := c.fit(leaf, []string{"webhook"}, now)
			if !fit || c.due(leaf, now) && !trusted.IsZero() && !now.Before(trusted.Add(yearly.spread)) {
				made, err := c.authority.Issue([]string{"webhook"}, now, yearly.leaf)
				if err != nil {
					t.Fatal(err)
				}
				leaf = made.Certificate()
			}
			// A replica loads it now, or at a later step, though within two hours.
			for _, r := range replicas {
				if r.leaf == nil || random.IntN(3) > 0 || now.Sub(leaf.NotBefore) > 2*time.Hour {
					r.load(leaf, now)
				}
				if err := certificate.ValidAt(r.leaf, now); err != nil {
					t.Fatalf("seed %d, %s: a replica serves what is not valid: %v", seed, now, err)
				}
				if !slices.ContainsFunc(told, func(a *x509.Certificate) bool {
					return r.leaf.CheckSignatureFrom(a) == nil && certificate.ValidAt(a, now) == nil
				}) {
					t.Fatalf("seed %d, %s: a replica serves a leaf of %s that no API server trusts", seed, now, r.leaf.NotBefore)
				}
			}
			now = now.Add(time.Minute + time.Duration(random.Int64N(int64(24*time.Hour))))
		}
		if rotations < 3 {
			t.Errorf("seed %d: %d authorities in two years, want three or more", seed, rotations)
		}
		if len(c.previous) > 1 {
			t.Errorf("seed %d: %d earlier authorities are still trusted, want at most one", seed, len(c.previous))
		}
	}
}

func TestAClockThatJumpsOnlyAddsAuthorities(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"beyond the end of everything": 3 * 365 * day,
		"before the beginning":         -30 * day,
		"beyond the leaf":              100 * day,
	} {
		t.Run(name, func(t *testing.T) {
			c := &chain{}
			if _, err := c.renew(start, yearly, nil, nil); err != nil {
				t.Fatal(err)
			}
			first := c.authority.Certificate()
			made, err := c.authority.Issue([]string{"webhook"}, start, yearly.leaf)
			if err != nil {
				t.Fatal(err)
			}
			served := made.Certificate() // by replicas whose clock is right
			for _, now := range []time.Time{start.Add(jump), start.Add(jump).Add(time.Hour), start.Add(time.Hour)} {
				if _, err := c.renew(now, yearly, served, nil); err != nil {
					t.Fatal(err)
				}
				leaf, err := c.authority.Issue([]string{"webhook"}, now, yearly.leaf)
				if err != nil {
					t.Fatal(err)
				}
				c.forget(now, 0, yearly, leaf.Certificate())
				if !slices.ContainsFunc(c.all(), first.Equal) {
					t.Errorf("at %s the authority of what replicas serve is not trusted any more", now)
				}
				if err := certificate.ValidAt(c.authority.Certificate(), now); err != nil {
					t.Errorf("at %s the authority is not valid: %v", now, err)
				}
				if !c.fit(leaf.Certificate(), []string{"webhook"}, now) {
					t.Errorf("at %s a new leaf is not fit", now)
				}
			}
		})
	}
}

func TestWhoSignedWhatIsServedStaysThoughItsSecretIsGone(t *testing.T) {
	c := &chain{}
	if _, err := c.renew(start, yearly, nil, nil); err != nil {
		t.Fatal(err)
	}
	old := c.authority.Certificate()
	made, err := c.authority.Issue([]string{"webhook"}, start, yearly.leaf)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := certificate.NewAuthority(start, yearly.authority)
	if err != nil {
		t.Fatal(err)
	}
	lost := &chain{}
	did, err := lost.renew(start.Add(time.Hour), yearly, made.Certificate(), []*x509.Certificate{stranger.Certificate(), old})
	if err != nil || did == "" {
		t.Fatalf("got %q, %v, want another authority", did, err)
	}
	if got := lost.all(); len(got) != 2 || !got[1].Equal(old) {
		t.Errorf("trusts %d authorities, want the new one and that of the leaf, not the stranger's", len(got))
	}
	if !lost.fit(made.Certificate(), []string{"webhook"}, start.Add(time.Hour)) || !lost.due(made.Certificate(), start.Add(time.Hour)) {
		t.Error("the leaf has to be fit to be served on, and due")
	}
}

func TestWhatIsNotFitToBeServed(t *testing.T) {
	c := &chain{}
	if _, err := c.renew(start, yearly, nil, nil); err != nil {
		t.Fatal(err)
	}
	issue := func(by certificate.Pair, now time.Time, names ...string) *x509.Certificate {
		made, err := by.Issue(names, now, yearly.leaf)
		if err != nil {
			t.Fatal(err)
		}
		return made.Certificate()
	}
	stranger, err := certificate.NewAuthority(start, yearly.authority)
	if err != nil {
		t.Fatal(err)
	}
	for name, leaf := range map[string]*x509.Certificate{
		"none":                       nil,
		"an expired one":             issue(c.authority, start.Add(-100*day), "webhook"),
		"one of tomorrow":            issue(c.authority, start.Add(2*day), "webhook"),
		"one for another name":       issue(c.authority, start, "other"),
		"one of another authority's": issue(stranger, start, "webhook"),
	} {
		if c.fit(leaf, []string{"webhook"}, start) {
			t.Errorf("%s: got fit, want not", name)
		}
	}
	if !c.fit(issue(c.authority, start, "webhook"), []string{"webhook"}, start) {
		t.Error("a good one: got unfit, want fit")
	}
}
