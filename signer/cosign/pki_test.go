package cosign_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

const githubIssuer = "https://token.actions.githubusercontent.com"

var releaseWorkflow = signertest.Identity{
	Issuer:  githubIssuer,
	Subject: "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.0.0",
	GitHubWorkflow: signer.GitHubWorkflow{
		Trigger: "push", SHA: strings.Repeat("c", 40), Name: "release", Repository: "acme/app", Ref: "refs/tags/v1.0.0",
	},
}

func newPKI(t testing.TB) (*signertest.PKI, *cosign.Roots) {
	t.Helper()
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	roots, err := cosign.ParseRoots(pki.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	return pki, roots
}

// attachLegacy writes a legacy manifest under one of the two tags.
func attachLegacy(t testing.TB, to cosign.Destination, digest, suffix string, layers ...signertest.Legacy) {
	t.Helper()
	ctx := context.Background()
	config, err := to.PushBlob(ctx, app, []byte(`{"rootfs":{"type":"layers","diff_ids":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var descriptors []any
	for _, layer := range layers {
		blob, err := to.PushBlob(ctx, app, layer.Content)
		if err != nil {
			t.Fatal(err)
		}
		descriptors = append(descriptors, map[string]any{"mediaType": layer.MediaType, "digest": blob.Digest, "size": blob.Size, "annotations": layer.Annotations})
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.Digest, "size": config.Size},
		"layers": descriptors,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.PushManifest(ctx, app, legacyTag(digest, suffix), "application/vnd.oci.image.manifest.v1+json", raw); err != nil {
		t.Fatal(err)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// form is a way to sign: two formats, signature or attestation, by certificate or by key.
type form struct {
	name             string
	attestation, key bool
	format           string
}

func forms() []form {
	var all []form
	for _, format := range formats {
		for _, attestation := range []bool{false, true} {
			for _, key := range []bool{false, true} {
				name := format + " signature"
				if attestation {
					name = format + " attestation"
				}
				if key {
					name += " by key"
				}
				all = append(all, form{name, attestation, key, format})
			}
		}
	}
	return all
}

// attach signs in this form and attaches it.
func (f form) attach(t testing.TB, pki *signertest.PKI, by *signertest.Key, to cosign.Destination, digest string, options ...signertest.Option) {
	t.Helper()
	statement := must[[]byte](t)(signertest.SignatureStatement(digest, map[string]string{"env": "prod"}))
	if f.attestation {
		statement = must[[]byte](t)(signertest.Statement(digest, vulnType, map[string]any{"scanner": "x"}))
	}
	payload := must[[]byte](t)(signertest.SimpleSigning(app.String(), digest, map[string]string{"env": "prod"}))
	switch {
	case f.format == signer.FormatBundle && f.key:
		attachBundle(t, to, digest, must[[]byte](t)(pki.SignStatementWithKey(by, statement, options...)))
	case f.format == signer.FormatBundle:
		attachBundle(t, to, digest, must[[]byte](t)(pki.SignStatement(releaseWorkflow, statement, options...)))
	case f.attestation && f.key:
		attachLegacy(t, to, digest, ".att", must[signertest.Legacy](t)(pki.SignLegacyStatementWithKey(by, statement, options...)))
	case f.attestation:
		attachLegacy(t, to, digest, ".att", must[signertest.Legacy](t)(pki.SignLegacyStatement(releaseWorkflow, statement, options...)))
	case f.key:
		attachLegacy(t, to, digest, ".sig", must[signertest.Legacy](t)(pki.SignPayloadWithKey(by, payload, options...)))
	default:
		attachLegacy(t, to, digest, ".sig", must[signertest.Legacy](t)(pki.SignPayload(releaseWorkflow, payload, options...)))
	}
}

// authority trusts what the form is signed by.
func (f form) authority(by *signertest.Key) signer.Authority {
	if f.key {
		return signer.Authority{Name: "release", Images: []string{"registry.example.com/acme/**"}, Keys: []signer.Key{{PEM: by.PEM()}}}
	}
	return keyless("release", releaseWorkflow.Issuer, releaseWorkflow.Subject)
}

// counted is how much counts.
func counted(evidence signer.Evidence) int {
	return len(evidence.Signatures) + len(evidence.Attestations)
}

func TestEveryFormCounts(t *testing.T) {
	pki, roots := newPKI(t)
	by := must[*signertest.Key](t)(signertest.NewKey())
	for _, f := range forms() {
		for _, logged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, logged %t", f.name, logged), func(t *testing.T) {
				store, authority := newMemory(), f.authority(by)
				var options []signertest.Option
				if logged {
					options, authority.TransparencyLog = append(options, signertest.Logged(), signertest.Stamped()), f.key
				}
				f.attach(t, pki, by, store, realDigest, options...)
				evidence := verify(t, cosign.NewVerifier(cosign.Options{Roots: roots}), store, realDigest, compile(t, authority))
				var got signer.Signer
				switch {
				case f.attestation && len(evidence.Attestations) == 1 && counted(evidence) == 1:
					got = evidence.Attestations[0].Signer
				case !f.attestation && len(evidence.Signatures) == 1 && counted(evidence) == 1:
					got = evidence.Signatures[0].Signer
					if fmt.Sprint(evidence.Signatures[0].Annotations) != "[{env prod}]" {
						t.Errorf("got annotations %v, want env=prod", evidence.Signatures[0].Annotations)
					}
				default:
					t.Fatalf("got %+v, want one that counts", evidence)
				}
				want := signer.Signer{Authority: "release", Format: f.format}
				if f.key {
					want.Key = by.Fingerprint()
				} else {
					want.Issuer, want.Subject = releaseWorkflow.Issuer, releaseWorkflow.Subject
				}
				if (got.Time != "") != (logged || !f.key) {
					t.Errorf("got time %q", got.Time)
				}
				if got.Time = ""; got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			})
		}
	}
}

// TestOneThingWrongIsEnough signs in every form with one fault. What is not refused has its reason
// beside it.
func TestOneThingWrongIsEnough(t *testing.T) {
	type where string
	const (
		everywhere where = "everywhere"
		keylessly  where = "by certificate"
		// inBundles: legacy signatures have promises only, and no proof of inclusion.
		inBundles where = "in bundles"
		// legacyOnly: a bundle's other sources of time, proof and timestamp, stand in.
		legacyOnly where = "in the legacy format"
		// nowhere: the log's own time is enough.
		nowhere where = "nowhere"
		// inEnvelopes: a legacy signature is one by its form.
		inEnvelopes where = "in envelopes"
	)
	pki, roots := newPKI(t)
	by := must[*signertest.Key](t)(signertest.NewKey())
	for _, test := range []struct {
		name    string
		fault   signertest.Fault
		refused where
	}{
		{"without certificate transparency", signertest.NoSCT, keylessly},
		{"with the SCT of an unknown log", signertest.ForeignSCT, keylessly},
		{"with a wrong SCT", signertest.WrongSCT, keylessly},
		{"after the certificate has expired", signertest.ExpiredCertificate, keylessly},
		{"with an expired intermediate (CVE-2026-24122)", signertest.ExpiredIntermediate, keylessly},
		{"with an unknown authority", signertest.ForeignAuthority, keylessly},
		{"with a bare key for a certificate (GHSA-fx35-mq7g-6g98)", signertest.KeyForCertificate, keylessly},
		{"without log entry", signertest.NoLogEntry, everywhere},
		{"with another artifact's log entry (CVE-2026-22703)", signertest.OtherLogEntry, everywhere},
		{"with the entry of an unknown log", signertest.ForeignLogEntry, everywhere},
		{"with a wrong promise", signertest.WrongPromise, everywhere},
		{"without promise", signertest.NoPromise, legacyOnly},
		{"with a wrong proof of inclusion", signertest.WrongInclusion, inBundles},
		{"with a wrong checkpoint", signertest.WrongCheckpoint, inBundles},
		{"without timestamp", signertest.NoTimestamp, nowhere},
		{"with another signature's timestamp", signertest.OtherTimestamp, nowhere},
		{"with the timestamp of an unknown authority", signertest.ForeignTimestamp, nowhere},
		{"with a tampered payload", signertest.TamperedPayload, everywhere},
		{"with a tampered signature", signertest.TamperedSignature, everywhere},
		{"with two signatures", signertest.TwoSignatures, inEnvelopes},
		{"without signature", signertest.NoSignature, everywhere},
	} {
		for _, f := range forms() {
			t.Run(test.name+"/"+f.name, func(t *testing.T) {
				store, authority := newMemory(), f.authority(by)
				authority.TransparencyLog = f.key
				f.attach(t, pki, by, store, realDigest, signertest.Logged(), signertest.Stamped(), test.fault)
				evidence := verify(t, cosign.NewVerifier(cosign.Options{Roots: roots}), store, realDigest, compile(t, authority))
				refused := map[where]bool{
					everywhere: true, keylessly: !f.key, inBundles: f.format == signer.FormatBundle, legacyOnly: f.format == signer.FormatLegacy,
					inEnvelopes: f.format == signer.FormatBundle || f.attestation,
				}[test.refused]
				if (counted(evidence) == 0) != refused || refused && len(evidence.Rejected) != 1 {
					t.Errorf("got %+v, want refused %t", evidence, refused)
				}
			})
		}
	}
}

// TestAKeyWithoutLogNeedsNoTrustedRoot: what a log or a time stamp says is passed over then.
func TestAKeyWithoutLogNeedsNoTrustedRoot(t *testing.T) {
	pki, _ := newPKI(t)
	by := must[*signertest.Key](t)(signertest.NewKey())
	for _, f := range forms() {
		if !f.key {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			store := newMemory()
			f.attach(t, pki, by, store, realDigest, signertest.Logged(), signertest.Stamped(), signertest.ForeignLogEntry)
			if evidence := verify(t, verifier(), store, realDigest, compile(t, f.authority(by))); counted(evidence) != 1 {
				t.Errorf("got %+v, want one that counts", evidence)
			}
		})
	}
}

func TestWithoutTrustedRootKeylessEvidenceIsUndecided(t *testing.T) {
	pki, _ := newPKI(t)
	by := must[*signertest.Key](t)(signertest.NewKey())
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			store, authority := newMemory(), f.authority(by)
			authority.TransparencyLog = f.key
			f.attach(t, pki, by, store, realDigest, signertest.Logged())
			evidence, err := verifier().Verify(context.Background(), store, cosign.Target{Repository: app, Digest: realDigest}, compile(t, authority))
			if err == nil || !strings.Contains(err.Error(), "configure a trusted_root.json") {
				t.Errorf("got %+v and error %v, want one about the trusted root", evidence, err)
			}
		})
	}
}
