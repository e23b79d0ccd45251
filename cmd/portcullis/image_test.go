package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// at runs the program against a registry.
func at(t *testing.T, server *registrytest.Server, args ...string) (code gate.ExitCode, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--registry-config="+filepath.Join(t.TempDir(), "none.json"))
	if err := os.WriteFile(strings.TrimPrefix(args[len(args)-1], "--registry-config="), []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code = gate.ExitCode(run(context.Background(), append(args, "--plain-http-registry="+server.Host()), strings.NewReader(""), &out, &errs))
	return code, out.String(), errs.String()
}

func TestImageVerifyKeyless(t *testing.T) {
	ctx := context.Background()
	server, err := registrytest.Start(registrytest.Fallback)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := client.PushImage(ctx, server.Repository("acme/app"), "1", empty.Image)
	if err != nil {
		t.Fatal(err)
	}
	pki, err := signertest.New()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(root, pki.TrustedRoot(), 0o600); err != nil {
		t.Fatal(err)
	}
	identity := signertest.Identity{Issuer: "https://token.actions.githubusercontent.com", Subject: "https://github.com/acme-evil/app/.github/workflows/r.yml@refs/heads/main"}
	statement, err := signertest.SignatureStatement(pushed.Digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pki.SignStatement(identity, statement)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := name.NewDigest(server.Host() + "/acme/app@" + pushed.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signertest.AttachBundle(ctx, digest, bundle, signer.SignPredicateType); err != nil {
		t.Fatal(err)
	}
	verify := func(subject string, more ...string) (gate.ExitCode, string, string) {
		return at(t, server, append([]string{"image", "verify", server.Host() + "/acme/app:1", "--certificate-identity", subject, "--certificate-oidc-issuer", identity.Issuer}, more...)...)
	}
	for what, test := range map[string]struct {
		subject string
		more    []string
		code    gate.ExitCode
		want    string
	}{
		"the right identity":       {identity.Subject, []string{"--trusted-root", root}, gate.ExitAdmitted, "signed by identity: " + identity.Subject},
		"another identity":         {strings.Replace(identity.Subject, "-evil", "", 1), []string{"--trusted-root", root}, gate.ExitDenied, "signed by " + identity.Subject + " (issuer https://token.actions.githubusercontent.com), which no authority for " + server.Host() + "/acme/app accepts"},
		"no trusted root":          {identity.Subject, nil, gate.ExitUsage, "without a trusted root: give --trusted-root"},
		"a root that is not there": {identity.Subject, []string{"--trusted-root", root + ".none"}, gate.ExitUsage, "correct --trusted-root"},
	} {
		t.Run(what, func(t *testing.T) {
			code, stdout, stderr := verify(test.subject, test.more...)
			if code != test.code || !strings.Contains(stdout+stderr, test.want) {
				t.Errorf("got exit code %d and %s%s, want %d and %q", code, stdout, stderr, test.code, test.want)
			}
		})
	}
	code, stdout, stderr := at(t, server, "image", "evidence", server.Host()+"/acme/app:1")
	if code != gate.ExitAdmitted || !strings.Contains(stdout, "signature, format bundle, by a certificate for "+identity.Subject) {
		t.Errorf("got exit code %d and %s%s, want the claimed identity", code, stdout, stderr)
	}
}

func TestImageSignAllPlatforms(t *testing.T) {
	ctx := context.Background()
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Image})
	if _, err := client.PushIndex(ctx, server.Repository("acme/app"), "1", index); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COSIGN_PASSWORD", "")
	prefix := filepath.Join(t.TempDir(), "k")
	if code := run(ctx, []string{"image", "generate-key-pair", "--output-prefix", prefix}, strings.NewReader(""), new(bytes.Buffer), new(bytes.Buffer)); code != 0 {
		t.Fatalf("got exit code %d", code)
	}
	public, err := os.ReadFile(prefix + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := json.Marshal(signer.Trust{
		Authorities:  []signer.Authority{{Name: "release", Images: []string{"**"}, AllPlatforms: true, Keys: []signer.Key{{PEM: string(public)}}}},
		Requirements: []signer.Requirement{{Name: "all", Images: []string{"**"}, AnyOf: []string{"release"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := prefix + ".json"
	if err := os.WriteFile(file, trust, 0o600); err != nil {
		t.Fatal(err)
	}
	ref := server.Host() + "/acme/app:1"
	for _, step := range []struct {
		args []string
		code gate.ExitCode
		want string
	}{
		{[]string{"image", "sign", ref, "--key", prefix + ".key"}, gate.ExitAdmitted, "signed "},
		{[]string{"image", "verify", ref, "--trust", file}, gate.ExitDenied, "which has to sign every platform of an index and has not signed sha256:"},
		{[]string{"image", "sign", ref, "--key", prefix + ".key", "--all-platforms"}, gate.ExitAdmitted, "signed "},
		{[]string{"image", "verify", ref, "--trust", file}, gate.ExitAdmitted, "verified"},
	} {
		if code, stdout, stderr := at(t, server, step.args...); code != step.code || !strings.Contains(stdout, step.want) {
			t.Errorf("%v: got exit code %d and %s%s, want %d and %q", step.args, code, stdout, stderr, step.code, step.want)
		}
	}
}

func TestRequirementsAreJudged(t *testing.T) {
	const kind = "https://cyclonedx.org/bom"
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	signed := func(names ...string) (all []signer.Signature) {
		for _, name := range names {
			all = append(all, signer.Signature{Signer: signer.Signer{Authority: name}})
		}
		return all
	}
	attested := func(name, kind, at string) signer.Attestation {
		return signer.Attestation{Signer: signer.Signer{Authority: name, Time: at}, PredicateType: kind}
	}
	two := signer.Required{Name: "two", Count: 2, Authorities: []signer.RequiredAuthority{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	fresh := signer.Required{Name: "fresh", Count: 1, Authorities: []signer.RequiredAuthority{{Name: "a", Attestations: []signer.RequiredAttestation{{PredicateType: kind, MaxAge: 3600}}}}}
	for name, test := range map[string]struct {
		required []signer.Required
		evidence signer.Evidence
		verified bool
	}{
		"no requirement":              {evidence: signer.Evidence{Signatures: signed("a")}},
		"a requirement of nothing":    {required: []signer.Required{{Name: "none"}}},
		"one of two":                  {required: []signer.Required{two}, evidence: signer.Evidence{Signatures: signed("a", "a")}},
		"two of two":                  {required: []signer.Required{two}, evidence: signer.Evidence{Signatures: signed("c", "a")}, verified: true},
		"one requirement of two":      {required: []signer.Required{two, fresh}, evidence: signer.Evidence{Signatures: signed("c", "a")}},
		"attested an hour ago":        {required: []signer.Required{fresh}, evidence: signer.Evidence{Signatures: signed("a"), Attestations: []signer.Attestation{attested("a", kind, "2026-05-31T23:00:00Z")}}, verified: true},
		"attested too long ago":       {required: []signer.Required{fresh}, evidence: signer.Evidence{Signatures: signed("a"), Attestations: []signer.Attestation{attested("a", kind, "2026-05-31T22:59:59Z")}}},
		"attested without time":       {required: []signer.Required{fresh}, evidence: signer.Evidence{Signatures: signed("a"), Attestations: []signer.Attestation{attested("a", kind, "")}}},
		"attested by somebody else":   {required: []signer.Required{fresh}, evidence: signer.Evidence{Signatures: signed("a"), Attestations: []signer.Attestation{attested("b", kind, "2026-05-31T23:30:00Z")}}},
		"attested something else":     {required: []signer.Required{fresh}, evidence: signer.Evidence{Signatures: signed("a"), Attestations: []signer.Attestation{attested("a", kind+"/x", "2026-05-31T23:30:00Z")}}},
		"attested without signing it": {required: []signer.Required{fresh}, evidence: signer.Evidence{Attestations: []signer.Attestation{attested("a", kind, "2026-05-31T23:30:00Z")}}},
	} {
		t.Run(name, func(t *testing.T) {
			v := verification{Evidence: test.evidence}
			if v.judge(test.required, now); v.Verified != test.verified {
				t.Errorf("got %+v, want verified %t", v, test.verified)
			}
		})
	}
}

// TestHowYoungAnAttestationIs: as for the library's policies, a time to come has no age.
func TestHowYoungAnAttestationIs(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		at   string
		most int64
		want bool
	}{
		"an hour, within two":           {"2026-11-28T11:00:00Z", 7200, true},
		"three hours, beyond two":       {"2026-11-28T09:00:00Z", 7200, false},
		"clocks that differ by minutes": {"2026-11-28T12:04:00Z", 7200, true},
		"tomorrow":                      {"2026-11-29T12:00:00Z", 7200, false},
		"no time":                       {"", 7200, false},
		"no time and no limit":          {"", 0, true},
	} {
		if got := young(test.at, test.most, now); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

func TestImageInterrupted(t *testing.T) {
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out, errs bytes.Buffer
	code := gate.ExitCode(run(ctx, []string{"image", "evidence", server.Host() + "/acme/app:1", "--plain-http-registry=" + server.Host()}, strings.NewReader(""), &out, &errs))
	if code != gate.ExitFault || !strings.HasPrefix(errs.String(), "portcullis: interrupted at ") || strings.Contains(errs.String(), "retry") {
		t.Errorf("got exit code %d and %q, want %d and that it was interrupted", code, errs.String(), gate.ExitFault)
	}
}
