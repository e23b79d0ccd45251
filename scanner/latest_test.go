package scanner

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
)

// trusted is a configuration that believes the scans of "scanners", the VEX statements of "vendor", and neither
// from "release".
func trusted(t testing.TB) *signer.Configuration {
	t.Helper()
	var trust signer.Trust
	for _, name := range []string{"scanners", "vendor", "release"} {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		trust.Authorities = append(trust.Authorities, signer.Authority{
			Name: name, Images: []string{"ghcr.io/acme/**"},
			Keys: []signer.Key{{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}},
		})
	}
	trust.Scanners, trust.VEX = []string{"scanners"}, []string{"vendor"}
	trust.Requirements = []signer.Requirement{{Name: "released", Images: []string{"ghcr.io/acme/**"}, AnyOf: []string{"release"}}}
	configuration, err := signer.Compile(&trust)
	if err != nil {
		t.Fatal(err)
	}
	return configuration
}

// attested is a verified scan.
func attested(t testing.TB, authority, signed string, report Report) signer.Attestation {
	t.Helper()
	raw, err := NewPredicate(report, Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	return signer.Attestation{Signer: signer.Signer{Authority: authority, Time: signed}, PredicateType: PredicateType, Predicate: raw}
}

// at is the sample, finished at another time.
func at(finished string, change ...func(*Report)) Report {
	report := sample()
	report.FinishedAt, report.StartedAt = finished, finished
	for _, c := range change {
		c(&report)
	}
	return report
}

func TestLatest(t *testing.T) {
	trust := trusted(t)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	clean := func(r *Report) { r.Vulnerabilities = []Vulnerability{} }
	failed := func(r *Report) { r.State, r.Reasons = StateError, []string{"the child was killed"} }
	withType := func(a signer.Attestation, predicateType string) signer.Attestation {
		a.PredicateType = predicateType
		return a
	}
	broken := attested(t, "scanners", "", sample())
	broken.Predicate = broken.Predicate[:len(broken.Predicate)/2]
	for name, c := range map[string]struct {
		attestations []signer.Attestation
		state        State
		finished     string
		findings     int
		says         string
	}{
		"no attestations are no scan":               {state: StateMissing, says: "nobody whose scans are trusted"},
		"a scan of an authority for other things":   {attestations: []signer.Attestation{attested(t, "release", "", sample())}, state: StateMissing},
		"a scan of a VEX authority":                 {attestations: []signer.Attestation{attested(t, "vendor", "", sample())}, state: StateMissing},
		"a scan under another predicate type":       {attestations: []signer.Attestation{withType(attested(t, "scanners", "", sample()), "https://cosign.sigstore.dev/attestation/v1")}, state: StateMissing},
		"one scan":                                  {attestations: []signer.Attestation{attested(t, "scanners", "", sample())}, state: StateComplete, finished: "2026-11-28T10:00:03Z", findings: 1},
		"of two scans the later one":                {attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-28T11:00:00Z")), attested(t, "scanners", "", at("2026-11-27T11:00:00Z", clean))}, state: StateComplete, finished: "2026-11-28T11:00:00Z", findings: 1},
		"of two scans the later one, listed second": {attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-27T11:00:00Z", clean)), attested(t, "scanners", "", at("2026-11-28T11:00:00Z"))}, state: StateComplete, finished: "2026-11-28T11:00:00Z", findings: 1},
		"of two at the same time the one that found more": {
			attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-28T11:00:00Z", clean)), attested(t, "scanners", "", at("2026-11-28T11:00:00Z"))}, state: StateComplete, finished: "2026-11-28T11:00:00Z", findings: 1},
		"of two at the same time the failed one": {
			attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-28T11:00:00Z")), attested(t, "scanners", "", at("2026-11-28T11:00:00Z", failed))}, state: StateError, finished: "2026-11-28T11:00:00Z", findings: 1},
		"a newer failed scan hides an older good one": {
			attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-28T10:00:00Z")), attested(t, "scanners", "", at("2026-11-28T11:00:00Z", failed))}, state: StateError, finished: "2026-11-28T11:00:00Z", findings: 1},
		"a scan of the future is refused": {attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-28T12:05:01Z"))}, state: StateError, says: "in the future"},
		"clocks may differ a little":      {attestations: []signer.Attestation{attested(t, "scanners", "", at("2026-11-28T12:05:00Z"))}, state: StateComplete, finished: "2026-11-28T12:05:00Z", findings: 1},
		"a scan that finished after it was signed is refused": {
			attestations: []signer.Attestation{attested(t, "scanners", "2026-11-28T10:00:00Z", at("2026-11-28T10:05:01Z"))}, state: StateError, says: "signed at"},
		"a scan of the future does not hide an older one": {
			attestations: []signer.Attestation{attested(t, "scanners", "", at("2027-01-01T00:00:00Z", clean)), attested(t, "scanners", "", at("2026-11-28T11:00:00Z"))}, state: StateComplete, finished: "2026-11-28T11:00:00Z", findings: 1},
		"a trusted time that is none is refused": {attestations: []signer.Attestation{attested(t, "scanners", "yesterday", sample())}, state: StateError, says: "is none"},
		"half a predicate is an error":           {attestations: []signer.Attestation{broken}, state: StateError, says: "signed by scanners does not count"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Latest(c.attestations, trust, now)
			if got.State != c.state || got.FinishedAt != c.finished || len(got.Vulnerabilities) != c.findings {
				t.Errorf("got state %s, finished %q, %d findings (%q), want %s, %q, %d", got.State, got.FinishedAt, len(got.Vulnerabilities), got.Reasons, c.state, c.finished, c.findings)
			}
			if !strings.Contains(strings.Join(got.Reasons, "; "), c.says) {
				t.Errorf("reasons are %q, want %q in them", got.Reasons, c.says)
			}
			if want := map[bool]string{true: "scanners"}[c.finished != ""]; got.Authority != want {
				t.Errorf("the authority is %q, want %q", got.Authority, want)
			}
		})
	}
}

func TestNobodyIsBelievedWithoutTrust(t *testing.T) {
	list := []signer.Attestation{attested(t, "scanners", "", sample())}
	nobody, err := signer.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, trust := range []*signer.Configuration{nil, nobody} {
		if got := Latest(list, trust, time.Now()); got.State != StateMissing {
			t.Errorf("got state %s, want missing", got.State)
		}
	}
}

func TestAnIndexHasWhatAnyOfItsImagesHas(t *testing.T) {
	amd64 := at("2026-11-28T10:00:00Z", func(r *Report) { r.Vulnerabilities = []Vulnerability{} })
	arm64 := at("2026-11-28T10:00:05Z", func(r *Report) {
		r.State, r.Reasons = StateUnscannable, []string{"a jar could not be read"}
		r.Database.UpdatedAt = "2026-11-20T00:00:00Z"
		r.OS.EndOfLife = true
		r.Packages = Packages{OS: 91, Language: 2, ThirdParty: 4}
	})
	got := Merge([]Report{amd64, arm64, amd64})
	want := at("2026-11-28T10:00:05Z")
	want.StartedAt = "2026-11-28T10:00:00Z"
	want.Packages = Packages{OS: 91, Language: 12, ThirdParty: 4}
	want.State, want.Reasons, want.Database, want.OS = StateUnscannable, arm64.Reasons, arm64.Database, arm64.OS
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := Merge(nil); got.State != StateError || len(got.Reasons) == 0 {
		t.Errorf("an index without images: got %s %q, want error and why", got.State, got.Reasons)
	}
}

// A child that was taken over may answer with any state, or with none.
func TestAStateThatIsNoneNeverBecomesComplete(t *testing.T) {
	for _, reports := range [][]Report{
		{{State: ""}, {State: StateComplete}},
		{{State: StateComplete}, {State: ""}},
		{{State: "fine"}, {State: StateComplete}},
	} {
		if got := Merge(reports); got.State == StateComplete {
			t.Errorf("merging %q and %q gave %s", reports[0].State, reports[1].State, got.State)
		}
	}
}
