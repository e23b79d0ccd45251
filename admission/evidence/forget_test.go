package evidence

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer"
)

// What is remembered for an hour is not the newest scan any more once an image was scanned again.
func TestAForgottenImageIsLookedAtAgain(t *testing.T) {
	clock := newClock()
	verifier := scannedBy(t, "scanner")
	kept := []signer.Attestation{scanBy(t, "scanner", 50*time.Minute)}
	facts := start(t, Options{Verifier: verifier, Statements: &statementsFunc{statements: func() ([]signer.Attestation, error) { return kept, nil }}, Now: clock.now})
	app, other := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app")), needing(t, withScan, "ghcr.io/acme/app@"+digestOf("other"))
	at := func(ago time.Duration) string { return clock.now().Add(-ago).Format(time.RFC3339) }
	finds := func(when string, needs policies.Needs, ago time.Duration) {
		t.Helper()
		if got, want := gatherOne(t, facts, needs).Scan.FinishedAt, at(ago); got != want {
			t.Errorf("%s: the scan finished at %s, want %s", when, got, want)
		}
	}
	finds("at first", app, 50*time.Minute)
	finds("at first", other, 50*time.Minute)
	kept = []signer.Attestation{scanBy(t, "scanner", 10*time.Minute)}
	finds("while it is remembered", app, 50*time.Minute)
	facts.Forget(digestOf("app"))
	finds("once the one in the cluster is forgotten", app, 10*time.Minute)
	verifier.verify = func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		evidence := signed(digest, "release")
		evidence.Attestations = []signer.Attestation{scanBy(t, "scanner", time.Minute)}
		return evidence, nil
	}
	facts.Forget(digestOf("app"))
	finds("once the one in the registry is forgotten", app, time.Minute)
	finds("of another image", other, 50*time.Minute)
}

func TestWhatIsUnderWayWhenAnImageIsForgottenIsNotRemembered(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	ago := time.Hour
	var mu sync.Mutex
	verifier := &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		mu.Lock()
		first := ago == time.Hour
		evidence := signed(digest, "release")
		evidence.Attestations = []signer.Attestation{scanBy(t, "scanner", ago)}
		ago = time.Minute
		mu.Unlock()
		if first {
			close(began)
			<-end
		}
		return evidence, nil
	}}
	clock := newClock()
	facts := start(t, Options{Verifier: verifier, Now: clock.now})
	needs := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app"))
	var asking sync.WaitGroup
	asking.Go(func() { facts.Gather(t.Context(), needs) })
	<-began
	facts.Forget(digestOf("app"))
	want := clock.now().Add(-time.Minute).Format(time.RFC3339)
	if got := gatherOne(t, facts, needs).Scan.FinishedAt; got != want {
		t.Errorf("who asks after it was forgotten gets the scan of %s, want %s", got, want)
	}
	close(end)
	asking.Wait()
	if got := gatherOne(t, facts, needs).Scan.FinishedAt; got != want {
		t.Errorf("when the old answer has come the scan is that of %s, want %s", got, want)
	}
}
