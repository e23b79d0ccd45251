package registration

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
)

// leaf is what the Secret has for replicas, nil for nothing fit to be served.
func (b *bench) leaf() *x509.Certificate {
	b.t.Helper()
	secret, err := b.secret(b.t.Context(), ServingSecret)
	b.must(err)
	return decodeLeaf(secret)
}

// trusts says whether every API server that has the configurations of now accepts a leaf at the time of the clock.
func (b *bench) trusts(leaf *x509.Certificate) bool {
	b.t.Helper()
	there := b.there()
	for _, one := range there {
		for n := range one.entries {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(one.entries[n].ClientConfig.CABundle)
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: service.Name + "." + service.Namespace + ".svc", Roots: pool, CurrentTime: b.clock.Now()}); err != nil {
				return false
			}
		}
	}
	return len(there) == 2
}

func (b *bench) authorities() int { return len(b.there()[validating].authorities()) }

func TestAnAuthorityIsReplacedStepByStep(t *testing.T) {
	b := registered(t)
	first := b.leaf()
	if !b.trusts(first) || b.authorities() != 1 {
		t.Fatalf("the first leaf is trusted: %v, by %d authorities; want it trusted by one", b.trusts(first), b.authorities())
	}
	// The leaf alone is renewed at two thirds of its life.
	b.clock.add(61 * day)
	b.settled()
	second := b.leaf()
	if second.Equal(first) || b.authorities() != 1 || !b.trusts(second) || !b.trusts(first) {
		t.Fatal("after two thirds of its life the leaf has to be another, of the same authority")
	}
	b.clock.add(61 * day)
	b.settled()
	b.clock.add(60 * day)
	b.settled()
	b.clock.add(60 * day)
	b.settled()
	third := b.leaf()
	b.clock.add(3 * day) // two thirds of the authority's
	b.settled()
	if b.authorities() != 2 {
		t.Fatalf("after two thirds of its life there are %d authorities, want the next one beside it", b.authorities())
	}
	if got := b.leaf(); !got.Equal(third) {
		t.Error("the next authority has signed before everybody knew it")
	}
	next := b.turn()
	if due := next.Sub(b.clock.Now()); due <= 0 || due > DefaultSpread {
		t.Errorf("the next look is in %s, want when the authority is known, in %s", due, DefaultSpread)
	}
	b.clock.add(DefaultSpread)
	b.restartFollowing() // the time begins anew: a new process cannot know since when
	b.settled()
	if got := b.leaf(); !got.Equal(third) {
		t.Error("a process that was just started has signed with an authority that it cannot know to be known")
	}
	b.clock.add(DefaultSpread)
	b.settled()
	fourth := b.leaf()
	if fourth.Equal(third) || !b.trusts(fourth) || !b.trusts(third) {
		t.Fatal("once everybody knows it the next authority has to sign, and what was signed before has to be trusted on")
	}
	if got := testutil.ToFloat64(b.metrics.expiry.WithLabelValues("leaf")); got != float64(fourth.NotAfter.Unix()) {
		t.Errorf("the metric says that the leaf ends at %v, want %v", got, fourth.NotAfter.Unix())
	}
	b.clock.add(DefaultKeep - time.Hour)
	b.settled()
	if !b.trusts(third) {
		t.Error("the earlier authority was forgotten too early")
	}
	b.clock.add(time.Hour)
	b.settled()
	if b.authorities() != 1 || b.trusts(third) || !b.trusts(fourth) {
		t.Errorf("after %s there are %d authorities, want the new one alone", DefaultKeep, b.authorities())
	}
}

func (b *bench) restartFollowing() {
	b.t.Helper()
	b.restart()
	b.Follow(ordinaryLineup)
}

func TestWhatBecomesOfSecretsIsMended(t *testing.T) {
	stranger, err := certificate.NewAuthority(time.Now(), 365*day)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := stranger.Issue([]string{"elsewhere.example.com"}, time.Now(), 90*day)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := theirs.Encode()
	if err != nil {
		t.Fatal(err)
	}
	strangerCert, strangerKey, err := stranger.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		secret string
		data   map[string][]byte // nil deletes
		// replaced says that replicas need another leaf; else the one they have goes on.
		replaced bool
	}{
		"the leaf deleted":                     {ServingSecret, nil, true},
		"the leaf garbage":                     {ServingSecret, map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")}, true},
		"the leaf somebody else's":             {ServingSecret, map[string][]byte{"tls.crt": cert, "tls.key": key}, true},
		"the leaf with another's key":          {ServingSecret, map[string][]byte{"tls.crt": cert, "tls.key": strangerKey}, true},
		"the authority deleted":                {AuthoritySecret, nil, false},
		"the authority garbage":                {AuthoritySecret, map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")}, false},
		"the authority no authority":           {AuthoritySecret, map[string][]byte{"tls.crt": cert, "tls.key": key}, false},
		"the authority with another's key":     {AuthoritySecret, map[string][]byte{"tls.crt": strangerCert, "tls.key": key}, false},
		"the authority without its old labels": {AuthoritySecret, map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := registered(t)
			defer b.clean()
			served := b.leaf() // by replicas
			secrets := b.kube.CoreV1().Secrets(service.Namespace)
			if test.data == nil {
				b.must(secrets.Delete(t.Context(), test.secret, metav1.DeleteOptions{}))
			} else {
				found, err := secrets.Get(t.Context(), test.secret, metav1.GetOptions{})
				b.must(err)
				found.Data, found.Labels = test.data, nil
				_, err = secrets.Update(t.Context(), found, metav1.UpdateOptions{})
				b.must(err)
			}
			b.settled()
			if !b.trusts(served) {
				t.Error("what replicas serve is not trusted any more")
			}
			if got := b.leaf(); got == nil || got.Equal(served) == test.replaced || !b.trusts(got) {
				t.Errorf("the leaf is another: %v, want %v, and trusted", got != nil && !got.Equal(served), test.replaced)
			}
			b.clock.add(DefaultSpread)
			b.settled()
			if got := b.leaf(); !b.trusts(got) || !b.trusts(served) {
				t.Error("when the new authority is known, both leaves have to be trusted")
			}
		})
	}
}

func TestClocksThatJump(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"beyond the end of everything": 2 * 365 * day,
		"beyond the end of the leaf":   100 * day,
		"before the beginning":         -30 * day,
	} {
		t.Run(name, func(t *testing.T) {
			b := registered(t)
			defer b.clean()
			served := b.leaf()
			b.clock.set(jump)
			b.settled()
			if got := b.leaf(); certificate.ValidAt(got, b.clock.Now()) != nil || !b.trusts(got) {
				t.Errorf("after the jump the leaf is valid from %s to %s at %s, want one that is valid and trusted", got.NotBefore, got.NotAfter, b.clock.Now())
			}
			// The clock was wrong: of the controller only, or it is set right for all.
			b.clock.set(-jump)
			b.clock.add(time.Minute)
			if !b.trusts(served) {
				t.Error("replicas whose clock was right all the time are not trusted any more")
			}
			b.settled()
			if got := b.leaf(); certificate.ValidAt(got, b.clock.Now()) != nil || !b.trusts(got) || !b.trusts(served) {
				t.Error("after the clock was set right, the leaf has to be valid, and both trusted")
			}
		})
	}
}
