package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
)

// The same sources on the same real Vault, through a front that fails: each fault has its reason, no value gets into an error, and nothing
// is left behind when it is over.
func TestFaultsHaveTheirReasonsOnEveryEngine(t *testing.T) {
	const canary = "canary-behind-the-front-8e3d"
	s := realVault(t)
	caller := login(t, "engine", "default")
	front, err := vaultfront.New(t.TempDir(), s.Address(), s.CA())
	must(t, err)
	t.Cleanup(func() { _ = front.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(front.CA())
	caller.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	caller.address = front.Address()

	must(t, s.WriteKV2(t.Context(), "secret", "front/db", map[string]any{"password": canary}))
	write(t, "kv/front/db", map[string]any{"password": canary})
	write(t, "team/leased/front", map[string]any{"password": canary, "ttl": "1h"})
	write(t, "transit/keys/front", nil)
	write(t, "transit/keys/front-signing", map[string]any{"type": "ed25519"})
	sources := map[string]*v1alpha1.Source{
		"kv 2":        kv2("front/db", nil),
		"kv 1":        kv1("front/db"),
		"dynamic":     {Dynamic: &v1alpha1.DynamicSource{Mount: "team/leased", Path: "front"}},
		"pki":         web("pki", "ec", nil),
		"pki csr":     web("pki", "any", func(p *v1alpha1.PKISource) { p.CSR = &v1alpha1.CSR{} }),
		"ciphertexts": {Transit: &v1alpha1.TransitSource{Key: "front", Ciphertexts: map[string]string{"a": encrypt(t, "front", "", []byte(canary))}}},
		"public keys": {Transit: &v1alpha1.TransitSource{Key: "front-signing", PublicKeys: true}},
		"secret id":   secretID("shop", nil),
	}
	type fault struct {
		fault  vaultfront.Fault
		want   secrets.Reason
		before secrets.Reason // where it meets the question about the mount, if that is another
	}
	faults := map[string]fault{
		"sealed":              {vaultfront.Fault{Do: vaultfront.Sealed()}, secrets.Sealed, ""},
		"forbidden":           {vaultfront.Fault{Do: vaultfront.Answer(403, `{"errors":["permission denied"]}`)}, secrets.Forbidden, ""},
		"not found":           {vaultfront.Fault{Do: vaultfront.Answer(404, `{"errors":[]}`)}, secrets.NotFound, secrets.Malformed},
		"limited":             {vaultfront.Fault{Do: vaultfront.Limited(7)}, secrets.RateLimited, ""},
		"behind":              {vaultfront.Fault{Do: vaultfront.Answer(412, `{"errors":["required index state not present"]}`)}, secrets.Behind, ""},
		"failing":             {vaultfront.Fault{Do: vaultfront.Answer(500, `{"errors":["`+canary+`"]}`)}, secrets.Failed, ""},
		"a proxy's page":      {vaultfront.Fault{Do: vaultfront.Page(502)}, secrets.Failed, ""},
		"a page that is fine": {vaultfront.Fault{Do: vaultfront.Page(200)}, secrets.Malformed, ""},
		"half an answer":      {vaultfront.Fault{Do: half}, secrets.Truncated, ""},
		"garbage":             {vaultfront.Fault{Do: vaultfront.Garbage()}, secrets.Malformed, ""},
		"no data":             {vaultfront.Fault{Do: vaultfront.Answer(200, `{"data":null,"lease_id":"","lease_duration":0}`)}, secrets.Malformed, ""},
		"other data":          {vaultfront.Fault{Do: vaultfront.Answer(200, `{"data":[]}`)}, secrets.Malformed, ""},
		"nothing":             {vaultfront.Fault{Do: vaultfront.Answer(204, "")}, secrets.Malformed, ""},
		"a broken connection": {vaultfront.Fault{Do: vaultfront.Reset()}, secrets.Unreachable, ""},
	}
	for engine, source := range sources {
		t.Run(engine, func(t *testing.T) {
			remembering := Options{Mounts: &Mounts{}}
			if _, err := Read(t.Context(), caller, source, remembering); err != nil {
				t.Fatalf("without a fault: %v", err)
			}
			for what, fault := range faults {
				front.Fail(fault.fault)
				result, err := Read(t.Context(), caller, source, remembering)
				front.Heal()
				want(t, what, err, fault.want, canary)
				if result != nil {
					t.Errorf("%s: there is a result", what)
				}
				if _, err := Read(t.Context(), caller, source, remembering); err != nil {
					t.Errorf("%s is over, and still: %v", what, err)
				}

				asking := fault.fault
				asking.Path = "sys/internal/ui/mounts/"
				front.Fail(asking)
				result, err = Read(t.Context(), caller, source, Options{})
				front.Heal()
				reason := fault.before
				if reason == "" {
					reason = fault.want
				}
				want(t, what+" of the mount", err, reason, canary)
				if result != nil {
					t.Errorf("%s of the mount: there is a result", what)
				}
			}
			// No answer at all.
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			front.Fail(vaultfront.Fault{Do: vaultfront.Hang(nil)})
			_, err := Read(ctx, caller, source, remembering)
			front.Heal()
			want(t, "no answer", err, secrets.Slow, canary)
		})
	}

	// Only the answer is lost of what Vault has done: the next read is not confused by it.
	front.Fail(vaultfront.Fault{Change: vaultfront.Half})
	_, err = Read(t.Context(), caller, sources["dynamic"], Options{})
	front.Heal()
	if !secrets.ReasonOf(err).Outage() {
		t.Errorf("half of Vault's own answer: got %v", err)
	}

	// Leases: an outage is never taken for a lease that is lost.
	lease := *read(t, caller, sources["dynamic"]).Lease
	for what, fault := range faults {
		if what == "not found" || what == "other data" || what == "no data" || what == "nothing" {
			continue
		}
		front.Fail(fault.fault)
		_, renewing := Renew(t.Context(), caller, lease)
		_, lookingUp := Lookup(t.Context(), caller, lease)
		revoking := Revoke(t.Context(), caller, lease)
		front.Heal()
		want(t, "renewing, "+what, renewing, fault.want, canary)
		want(t, "looking up, "+what, lookingUp, fault.want, canary)
		want(t, "revoking, "+what, revoking, fault.want, canary)
	}
	if _, err := Renew(t.Context(), caller, lease); err != nil {
		t.Errorf("after all: %v", err)
	}
}

// half is the beginning of an answer, which certainly arrives.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"data":{"password":"canary-behind-the-front-8e3d`))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
