package signertest_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/signertest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

const digest = "sha256:732112270d7e59418a8c080b134b24cabd67d250d0d0147a97ed95ba5c280aa4"

func releaseIdentity() signertest.Identity {
	return signertest.Identity{
		Issuer:  "https://token.actions.githubusercontent.com",
		Subject: "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3",
		GitHubWorkflow: signer.GitHubWorkflow{
			Trigger: "push", SHA: "6a1c9b7b2d1f3a0c3b8f0f7d6b1d2c3e4f5a6b7c", Name: "release", Repository: "acme/app", Ref: "refs/tags/v1.2.3",
		},
	}
}

func newPKI(t testing.TB) *signertest.PKI {
	t.Helper()
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

func signatureStatement(t testing.TB) []byte {
	t.Helper()
	statement, err := signertest.SignatureStatement(digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

// strict is what verification of keyless bundles has to demand.
func strict() []verify.VerifierOption {
	return []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1)}
}

func verifyBundle(material root.TrustedMaterial, content []byte, identity verify.PolicyOption, options ...verify.VerifierOption) (*verify.VerificationResult, error) {
	verifier, err := verify.NewVerifier(material, options...)
	if err != nil {
		return nil, err
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(content); err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	return verifier.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), identity))
}

func trusted(t testing.TB, pki *signertest.PKI) root.TrustedMaterial {
	t.Helper()
	material, err := pki.TrustedMaterial()
	if err != nil {
		t.Fatal(err)
	}
	return material
}

func certificateIdentity(t testing.TB, identity signertest.Identity) verify.PolicyOption {
	t.Helper()
	wanted, err := verify.NewShortCertificateIdentity(identity.Issuer, "", identity.Subject, "")
	if err != nil {
		t.Fatal(err)
	}
	return verify.WithCertificateIdentity(wanted)
}

func TestAKeylessBundleVerifiesStrictly(t *testing.T) {
	pki := newPKI(t)
	for name, identity := range map[string]signertest.Identity{
		"a workflow of GitHub": releaseIdentity(),
		"a mailbox":            {Issuer: "https://accounts.google.com", Subject: "jane@acme.com"},
	} {
		content, err := pki.SignStatement(identity, signatureStatement(t))
		if err != nil {
			t.Fatal(err)
		}
		result, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, identity), strict()...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := result.Statement.GetPredicateType(); got != signer.SignPredicateType {
			t.Errorf("%s: got the predicate type %q, want %q", name, got, signer.SignPredicateType)
		}
		if got := len(result.VerifiedTimestamps); got != 2 {
			t.Errorf("%s: got %d trusted times, want those of the log and the timestamp authority", name, got)
		}
		certificate := result.Signature.Certificate
		got := signer.GitHubWorkflow{
			Trigger: certificate.GithubWorkflowTrigger, SHA: certificate.GithubWorkflowSHA, Name: certificate.GithubWorkflowName, //nolint:staticcheck // deprecated, and still in every certificate
			Repository: certificate.GithubWorkflowRepository, Ref: certificate.GithubWorkflowRef, //nolint:staticcheck // likewise
		}
		if got != identity.GitHubWorkflow {
			t.Errorf("%s: got the claims %+v, want %+v", name, got, identity.GitHubWorkflow)
		}
	}
}

func TestABundleStaysGoodAsTheLogGrows(t *testing.T) {
	pki := newPKI(t)
	for n := range 9 {
		content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()), strict()...); err != nil {
			t.Errorf("entry %d: %v", n+3, err)
		}
	}
}

// Each fault makes one check fail, and the error says which.
func TestABrokenKeylessBundleFails(t *testing.T) {
	pki := newPKI(t)
	for name, test := range map[string]struct {
		fault signertest.Fault
		want  string
	}{
		"a certificate without SCT":                    {signertest.NoSCT, "only able to verify 0 SCT entries"},
		"an SCT of an unknown log":                     {signertest.ForeignSCT, "only able to verify 0 SCT entries"},
		"an SCT of another time":                       {signertest.WrongSCT, "only able to verify 0 SCT entries"},
		"a certificate that ended before signing":      {signertest.ExpiredCertificate, "integrated time outside certificate validity"},
		"CVE-2026-24122: an expired intermediate":      {signertest.ExpiredIntermediate, "leaf certificate verification failed"},
		"an unknown certificate authority":             {signertest.ForeignAuthority, "leaf certificate verification failed"},
		"GHSA-fx35-mq7g-6g98: a key for a certificate": {signertest.KeyForCertificate, "malformed"},
		"no log entry":                                 {signertest.NoLogEntry, "not enough verified log entries"},
		"CVE-2026-22703: the log entry of another":     {signertest.OtherLogEntry, "transparency log signature does not match"},
		"a log entry of an unknown log":                {signertest.ForeignLogEntry, "not enough verified log entries"},
		"a promise of another time":                    {signertest.WrongPromise, "not enough verified log entries"},
		"a proof of another tree":                      {signertest.WrongInclusion, "calculated root"},
		"a head signed by somebody else":               {signertest.WrongCheckpoint, "signature on checkpoint did not verify"},
		"a byte of the payload changed":                {signertest.TamperedPayload, "payload"},
		"a byte of the signature changed":              {signertest.TamperedSignature, "could not verify envelope"},
		"two signatures":                               {signertest.TwoSignatures, "signature"},
		"no signature":                                 {signertest.NoSignature, "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t), test.fault)
			if err != nil {
				t.Fatal(err)
			}
			_, err = verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()), strict()...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
		})
	}
}

// Where the time comes from a timestamp authority alone, its faults show.
func TestTimestampsAreCheckedOnTheirOwn(t *testing.T) {
	pki := newPKI(t)
	for name, test := range map[string]struct {
		fault signertest.Fault
		good  bool
	}{
		"a timestamp, and no promise of the log":  {signertest.NoPromise, true},
		"no timestamp":                            {signertest.NoTimestamp, false},
		"the timestamp of another signature":      {signertest.OtherTimestamp, false},
		"a timestamp of an unknown authority":     {signertest.ForeignTimestamp, false},
		"a timestamp after the certificate ended": {signertest.ExpiredCertificate, false},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t), test.fault)
			if err != nil {
				t.Fatal(err)
			}
			_, err = verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()),
				verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1), verify.WithSignedCertificateTimestamps(1))
			if (err == nil) != test.good {
				t.Errorf("got the error %v, want it to be good: %v", err, test.good)
			}
		})
	}
}

// Rekor's second version knows no time: the timestamp is the only one.
func TestABundleWithAnEntryOfRekor2Verifies(t *testing.T) {
	pki := newPKI(t)
	for name, test := range map[string]struct {
		fault signertest.Option
		want  string
	}{
		"good":                               {signertest.LoggedInRekor2(), ""},
		"without timestamp":                  {signertest.NoTimestamp, "threshold not met for verified signed & log entry integrated timestamps"},
		"with the entry of another":          {signertest.OtherLogEntry, "verifying log entry"},
		"with a proof of another tree":       {signertest.WrongInclusion, "verifying log entry"},
		"with a head of somebody else":       {signertest.WrongCheckpoint, "verifying log entry"},
		"with an entry of another log":       {signertest.ForeignLogEntry, "not enough verified log entries"},
		"with a byte of the payload changed": {signertest.TamperedPayload, "verifying log entry"},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t), signertest.LoggedInRekor2(), test.fault)
			if err != nil {
				t.Fatal(err)
			}
			result, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()), strict()...)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "" && len(result.VerifiedTimestamps) != 1:
				t.Errorf("got %d trusted times, want that of the timestamp authority", len(result.VerifiedTimestamps))
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestCVE202649834TwoEntriesOfOneLogAreOne(t *testing.T) {
	pki := newPKI(t)
	content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t), signertest.LoggedTwice())
	if err != nil {
		t.Fatal(err)
	}
	for threshold, good := range map[int]bool{1: true, 2: false} {
		_, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()),
			verify.WithTransparencyLog(threshold), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
		if (err == nil) != good {
			t.Errorf("with %d logs demanded: got the error %v, want it to be good: %v", threshold, err, good)
		}
	}
}

func TestAKeylessBundleIsOfOneIdentityAndOneDigest(t *testing.T) {
	pki := newPKI(t)
	statement, err := signertest.Statement("sha256:"+strings.Repeat("ab", 32), "https://slsa.dev/provenance/v1", map[string]any{"buildDefinition": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	content, err := pki.SignStatement(releaseIdentity(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()), strict()...); err == nil {
		t.Error("a statement about another digest verifies")
	}
	content, err = pki.SignStatement(releaseIdentity(), signatureStatement(t))
	if err != nil {
		t.Fatal(err)
	}
	evil := releaseIdentity()
	evil.Subject = strings.Replace(evil.Subject, "/acme/", "/acme-evil/", 1)
	if _, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, evil), strict()...); err == nil {
		t.Error("a bundle of another identity verifies")
	}
	if _, err := verifyBundle(trusted(t, newPKI(t)), content, certificateIdentity(t, releaseIdentity()), strict()...); err == nil {
		t.Error("a bundle of another PKI verifies")
	}
}

func TestTheClockIsInjected(t *testing.T) {
	then := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
	pki, err := signertest.NewAt(func() time.Time { return then })
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options []signertest.Option
		want    time.Time
	}{
		"the time of the clock": {nil, then},
		"a time of one's own":   {[]signertest.Option{signertest.At(then.Add(-400 * 24 * time.Hour))}, then.Add(-400 * 24 * time.Hour)},
	} {
		content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t), test.options...)
		if err != nil {
			t.Fatal(err)
		}
		result, err := verifyBundle(trusted(t, pki), content, certificateIdentity(t, releaseIdentity()), strict()...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, stamp := range result.VerifiedTimestamps {
			if !stamp.Timestamp.Equal(test.want) {
				t.Errorf("%s: got %s of %s, want %s", name, stamp.Timestamp, stamp.Type, test.want)
			}
		}
	}
}

// withKey adds a key to what is trusted.
func withKey(t testing.TB, material root.TrustedMaterial, key *signertest.Key) root.TrustedMaterial {
	t.Helper()
	verifier, err := signature.LoadDefaultVerifier(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &root.TrustedMaterialCollection{material, root.NewTrustedPublicKeyMaterial(func(hint string) (root.TimeConstrainedVerifier, error) {
		if hint != key.Hint() {
			return nil, fmt.Errorf("unknown key %q", hint)
		}
		return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
	})}
}

func TestABundleByKeyVerifies(t *testing.T) {
	pki := newPKI(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() (*signertest.Key, error){
		"ECDSA":   func() (*signertest.Key, error) { return signertest.KeyOf(curve) },
		"RSA":     func() (*signertest.Key, error) { return signertest.KeyOf(modulus) },
		"Ed25519": func() (*signertest.Key, error) { return signertest.KeyOf(edwards) },
	} {
		key, err := make()
		if err != nil {
			t.Fatal(err)
		}
		material := withKey(t, trusted(t, pki), key)
		bare, err := pki.SignStatementWithKey(key, signatureStatement(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyBundle(material, bare, verify.WithKey(), verify.WithNoObserverTimestamps()); err != nil {
			t.Errorf("%s without log: %v", name, err)
		}
		if _, err := verifyBundle(material, bare, verify.WithKey(), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)); err == nil {
			t.Errorf("%s without log verifies where the log is demanded", name)
		}
		logged, err := pki.SignStatementWithKey(key, signatureStatement(t), signertest.Logged(), signertest.Stamped())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyBundle(material, logged, verify.WithKey(), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(2)); err != nil {
			t.Errorf("%s with log and timestamp: %v", name, err)
		}
		if name == "ECDSA" {
			second, err := pki.SignStatementWithKey(key, signatureStatement(t), signertest.LoggedInRekor2(), signertest.Stamped())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifyBundle(material, second, verify.WithKey(), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)); err != nil {
				t.Errorf("%s in Rekor 2: %v", name, err)
			}
		}
		tampered, err := pki.SignStatementWithKey(key, signatureStatement(t), signertest.TamperedPayload)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyBundle(material, tampered, verify.WithKey(), verify.WithNoObserverTimestamps()); err == nil {
			t.Errorf("%s with a byte changed verifies", name)
		}
	}
}

func BenchmarkSignStatement(b *testing.B) {
	pki := newPKI(b)
	statement := signatureStatement(b)
	for b.Loop() {
		if _, err := pki.SignStatement(releaseIdentity(), statement); err != nil {
			b.Fatal(err)
		}
	}
}
