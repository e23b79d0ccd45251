package evidence

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// scanBy is an attested scan of an authority, finished at the time of the test clock less some.
func scanBy(t testing.TB, authority string, ago time.Duration) signer.Attestation {
	t.Helper()
	finished := newClock().now().Add(-ago).Format(time.RFC3339)
	predicate, err := scanner.NewPredicate(scanner.Report{
		State: scanner.StateComplete, StartedAt: finished, FinishedAt: finished,
		Scanner: scanner.Tool{Name: "trivy", Version: "1"}, Packages: scanner.Packages{OS: 10}, Database: scanner.Database{UpdatedAt: finished},
		Vulnerabilities: []scanner.Vulnerability{{ID: "CVE-2026-1", Package: "openssl", Version: "3.0", Severity: "high", Status: "affected", Class: "os"}},
	}, scanner.Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	return signer.Attestation{Signer: signer.Signer{Authority: authority}, PredicateType: scanner.PredicateType, Predicate: predicate}
}

// scannedBy is a verifier for which every digest is signed by release and scanned by an authority.
func scannedBy(t testing.TB, authority string) *verifierFunc {
	scan := scanBy(t, authority, time.Hour)
	return &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		evidence := signed(digest, "release")
		evidence.Attestations = []signer.Attestation{scan}
		return evidence, nil
	}}
}

// queueFunc is a Queue that counts.
type queueFunc struct {
	ask   func() (time.Duration, error)
	count atomic.Int64
}

func (q *queueFunc) Ask(context.Context, registry.Repository, string) (time.Duration, error) {
	q.count.Add(1)
	return q.ask()
}

// statementsFunc is Statements that count.
type statementsFunc struct {
	statements func() ([]signer.Attestation, error)
	count      atomic.Int64
}

func (s *statementsFunc) Statements(context.Context, registry.Repository, string, *signer.Configuration) ([]signer.Attestation, error) {
	s.count.Add(1)
	return s.statements()
}

func TestTheScanThatCounts(t *testing.T) {
	none := func() ([]signer.Attestation, error) { return nil, nil }
	for name, test := range map[string]struct {
		verifier   *verifierFunc
		statements func() ([]signer.Attestation, error)
		want       scanner.State
		finished   time.Duration // ago, of a complete one
		unknown    string
	}{
		"the one attached to the image": {scannedBy(t, "scanner"), none, scanner.StateComplete, time.Hour, ""},
		"the one kept in the cluster": {signedBy("release"), func() ([]signer.Attestation, error) {
			return []signer.Attestation{scanBy(t, "scanner", time.Minute)}, nil
		}, scanner.StateComplete, time.Minute, ""},
		"the newer one of both": {scannedBy(t, "scanner"), func() ([]signer.Attestation, error) {
			return []signer.Attestation{scanBy(t, "scanner", time.Minute)}, nil
		}, scanner.StateComplete, time.Minute, ""},
		"none by somebody who only signs":     {scannedBy(t, "release"), none, scanner.StateMissing, 0, ""},
		"none":                                {signedBy("release"), none, scanner.StateMissing, 0, ""},
		"unknown where the cluster is silent": {scannedBy(t, "scanner"), func() ([]signer.Attestation, error) { return nil, errors.New("etcd is slow") }, "", 0, "etcd is slow"},
	} {
		t.Run(name, func(t *testing.T) {
			facts := start(t, Options{Verifier: test.verifier, Statements: &statementsFunc{statements: test.statements}, Now: newClock().now})
			got := gatherOne(t, facts, needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app")))
			if got.Scan.State != test.want || !strings.Contains(got.Unknown.Scan, test.unknown) || (test.unknown == "") != (got.Unknown.Scan == "") {
				t.Fatalf("got scan %+v, unknown %q, want %q, unknown %q", got.Scan, got.Unknown.Scan, test.want, test.unknown)
			}
			if got.Unknown.Evidence != "" {
				t.Errorf("evidence is unknown because %q, want it known", got.Unknown.Evidence)
			}
			if test.finished > 0 {
				want := newClock().now().Add(-test.finished).Format(time.RFC3339)
				if got.Scan.FinishedAt != want || got.Scan.Authority != "scanner" {
					t.Errorf("it finished at %s by %s, want %s by scanner", got.Scan.FinishedAt, got.Scan.Authority, want)
				}
			}
		})
	}
}

// TestAScanThatArrivesIsSeenWithinSeconds although the signature alone would be remembered for an hour.
func TestAScanThatArrivesIsSeenWithinSeconds(t *testing.T) {
	for name, place := range map[string]string{"attached to the image": "registry", "kept in the cluster": "cluster"} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			verifier := signedBy("release")
			statements := &statementsFunc{statements: func() ([]signer.Attestation, error) { return nil, nil }}
			facts := start(t, Options{Verifier: verifier, Statements: statements, Now: clock.now})
			needs := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app"))
			gatherOne(t, facts, needs)
			if place == "registry" {
				verifier.verify = scannedBy(t, "scanner").verify
			} else {
				statements.statements = func() ([]signer.Attestation, error) {
					return []signer.Attestation{scanBy(t, "scanner", time.Minute)}, nil
				}
			}
			clock.advance(DefaultNegativeAge - time.Second)
			if got := gatherOne(t, facts, needs); got.Scan.State != scanner.StateMissing {
				t.Errorf("before its time: %s, want %s", got.Scan.State, scanner.StateMissing)
			}
			wantCount(t, "verifications before its time", verifier.count.Load(), 1)
			clock.advance(time.Second)
			if got := gatherOne(t, facts, needs); got.Scan.State != scanner.StateComplete {
				t.Errorf("after some seconds: %s, want %s", got.Scan.State, scanner.StateComplete)
			}
		})
	}
}

func TestAReportIsParsedOnce(t *testing.T) {
	facts := start(t, Options{Verifier: scannedBy(t, "scanner"), Now: newClock().now})
	needs := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app"))
	first, second := gatherOne(t, facts, needs).Scan, gatherOne(t, facts, needs).Scan
	if &first.Vulnerabilities[0] != &second.Vulnerabilities[0] {
		t.Error("the report was parsed again, want it remembered")
	}
	ignores, err := scanner.NewExemptions(nil, map[string][]byte{"ignores.yaml": []byte("- id: CVE-2026-1\n  reason: not reachable from outside\n  owner: platform\n  expires: 2026-12-31\n")})
	if err != nil {
		t.Fatal(err)
	}
	needs.Images.Exemptions = ignores
	if third := gatherOne(t, facts, needs).Scan; third.Vulnerabilities[0].Ignore == nil || first.Vulnerabilities[0].Ignore != nil {
		t.Errorf("with another bundle's ignores: %+v, want the finding ignored there and only there", third.Vulnerabilities[0])
	}
}

func TestAMissingScanIsAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*policies.ImageNeeds)
		ask    func() (time.Duration, error)
		asked  int64
		queued bool
		after  int64
		reason string
	}{
		"at admission":            {func(*policies.ImageNeeds) {}, func() (time.Duration, error) { return 20 * time.Second, nil }, 1, true, 20, ""},
		"by a queue without word": {func(*policies.ImageNeeds) {}, func() (time.Duration, error) { return 0, nil }, 1, true, 1, ""},
		"not on a dry run":        {func(n *policies.ImageNeeds) { n.DryRun = true }, nil, 0, false, 0, ""},
		"not at the gate":         {func(n *policies.ImageNeeds) { n.Door = policies.DoorGate }, nil, 0, false, 0, ""},
		"not by the audit":        {func(n *policies.ImageNeeds) { n.Door = policies.DoorAudit }, nil, 0, false, 0, ""},
		"not by who reads none":   {func(n *policies.ImageNeeds) { n.Sections.Scan = false }, nil, 0, false, 0, ""},
		"and a queue that fails is noted": {func(*policies.ImageNeeds) {}, func() (time.Duration, error) {
			return 0, errors.New("the API server refuses: grant create on imagescans")
		}, 1, false, 0, "no scan could be asked for: the API server refuses: grant create on imagescans"},
	} {
		t.Run(name, func(t *testing.T) {
			queue := &queueFunc{ask: test.ask}
			facts := start(t, Options{Verifier: signedBy("release"), Queue: queue, Now: newClock().now})
			needs := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app"))
			test.change(&needs.Images)
			got := gatherOne(t, facts, needs)
			wantCount(t, "requests for a scan", queue.count.Load(), test.asked)
			if needs.Images.Sections.Scan && got.Scan.State != scanner.StateMissing {
				t.Errorf("the state is %q, want missing", got.Scan.State)
			}
			if got.Scan.Queued != test.queued || got.Scan.RetryAfter != test.after || !strings.Contains(strings.Join(got.Scan.Reasons, "; "), test.reason) {
				t.Errorf("queued %v, retry after %d, reasons %q, want %v, %d, %q", got.Scan.Queued, got.Scan.RetryAfter, got.Scan.Reasons, test.queued, test.after, test.reason)
			}
		})
	}
}

// TestThirtyPodsAskForOneScan, and are told how long it still takes.
func TestThirtyPodsAskForOneScan(t *testing.T) {
	clock := newClock()
	queue := &queueFunc{ask: func() (time.Duration, error) { return 20 * time.Second, nil }}
	facts := start(t, Options{Verifier: signedBy("release"), Queue: queue, Now: clock.now})
	needs := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app"))
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() { facts.Gather(t.Context(), needs) })
	}
	group.Wait()
	wantCount(t, "requests for a scan", queue.count.Load(), 1)
	clock.advance(15500 * time.Millisecond)
	if got := gatherOne(t, facts, needs).Scan.RetryAfter; got != 5 {
		t.Errorf("after 15.5 s of 20: retry after %d s, want 5", got)
	}
	clock.advance(5 * time.Second)
	gatherOne(t, facts, needs)
	wantCount(t, "requests when the time is over", queue.count.Load(), 2)
}

// TestAnAttestedScanCannotSayThatItIsQueued: both fields belong to who asks.
func TestAnAttestedScanCannotSayThatItIsQueued(t *testing.T) {
	scan := scanBy(t, "scanner", time.Hour)
	scan.Predicate = []byte(strings.Replace(string(scan.Predicate), `"queued":false`, `"queued":true`, 1))
	if !strings.Contains(string(scan.Predicate), `"queued":true`) {
		t.Fatalf("the predicate is %s, want it to say queued", scan.Predicate)
	}
	verifier := &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		evidence := signed(digest, "release")
		evidence.Attestations = []signer.Attestation{scan}
		return evidence, nil
	}}
	facts := start(t, Options{Verifier: verifier, Now: newClock().now})
	if got := gatherOne(t, facts, needing(t, withScan, "ghcr.io/acme/app@"+digestOf("app"))).Scan; got.Queued {
		t.Errorf("got %+v, want it not queued", got)
	}
}

// looks are how often something was found in some way.
func looks(t testing.TB, facts *Facts, p part, how look) float64 {
	t.Helper()
	counter, err := facts.options.Metrics.looks.GetMetricWithLabelValues(string(p), string(how))
	if err != nil {
		t.Fatal(err)
	}
	return counterValue(t, counter)
}
