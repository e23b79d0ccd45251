package leases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// caller asks a real Vault.
type caller struct{ client *api.Client }

func (c caller) Do(ctx context.Context, call secrets.Call) (*secrets.Reply, error) {
	answer, err := c.client.Logical().WriteWithContext(ctx, call.Path, call.Body)
	if failed := (*api.ResponseError)(nil); errors.As(err, &failed) {
		reason := map[int]secrets.Reason{http.StatusBadRequest: secrets.Refused, http.StatusForbidden: secrets.Forbidden, http.StatusServiceUnavailable: secrets.Sealed}[failed.StatusCode]
		return nil, &secrets.Error{Reason: reason, Doing: "requesting", Message: "it failed", Status: failed.StatusCode}
	}
	if err != nil {
		return nil, &secrets.Error{Reason: secrets.Unreachable, Doing: "requesting", Message: "it failed"}
	}
	return &secrets.Reply{Data: answer.Data}, nil
}

func TestATokenSealedByTransitOpensForItsOwnerOnly(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a Vault")
	}
	vault, err := vaultserver.Start(t.Context(), vaultserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = vault.Stop() })
	write := func(path string, data map[string]any) {
		t.Helper()
		if _, err := vault.Write(t.Context(), path, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := vault.Mount(t.Context(), "team/transit", "transit", nil, ""); err != nil {
		t.Fatal(err)
	}
	const policy = `path "team/transit/+/*" { capabilities = ["update"] }`
	if err := vault.Policy(t.Context(), "leases", policy); err != nil {
		t.Fatal(err)
	}
	made, err := vault.Client().Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"leases"}, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := vault.NewClient(made.Auth.ClientToken)
	if err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string]map[string]any{
		"leases": {"type": "aes256-gcm96"}, "small": {"type": "aes128-gcm96"}, "chacha": {"type": "chacha20-poly1305"}, "derived": {"type": "aes256-gcm96", "derived": true},
	} {
		t.Run(name, func(t *testing.T) {
			write("team/transit/keys/"+name, settings)
			sealer := NewTransit(caller{client}, "team/transit", name)
			sealed, err := sealer.Seal(t.Context(), secrets.ValueOf(canary), "uid-a")
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(sealed)
			if err != nil || bytes.Contains(text, []byte(canary)) || sealed.By != "transit:team/transit/"+name || !strings.HasPrefix(sealed.Ciphertext, "vault:v1:") {
				t.Fatalf("got %s (%v)", text, err)
			}
			write("team/transit/keys/"+name+"/rotate", nil)
			if token, err := sealer.Open(t.Context(), sealed, "uid-a"); err != nil || string(token.Reveal()) != canary {
				t.Errorf("after the key was rotated: another token (%v)", err)
			}
			other, err := sealer.Seal(t.Context(), secrets.ValueOf("another"), "uid-a")
			if err != nil {
				t.Fatal(err)
			}
			for what, open := range map[string]func() (secrets.Value, error){
				"for another owner": func() (secrets.Value, error) { return sealer.Open(t.Context(), sealed, "uid-b") },
				"for nobody":        func() (secrets.Value, error) { return sealer.Open(t.Context(), sealed, "") },
				"as if of another version": func() (secrets.Value, error) {
					return sealer.Open(t.Context(), v1alpha1.SealedToken{By: sealed.By, Ciphertext: strings.Replace(other.Ciphertext, "v2", "v1", 1)}, "uid-a")
				},
				"cut off": func() (secrets.Value, error) {
					return sealer.Open(t.Context(), v1alpha1.SealedToken{By: sealed.By, Ciphertext: sealed.Ciphertext[:40]}, "uid-a")
				},
				"of nothing": func() (secrets.Value, error) {
					return sealer.Open(t.Context(), v1alpha1.SealedToken{By: sealed.By}, "uid-a")
				},
			} {
				token, err := open()
				if secrets.ReasonOf(err) != secrets.Refused || token.Len() != 0 || strings.Contains(err.Error(), canary) {
					t.Errorf("%s: got %v, want Refused", what, err)
				}
			}
			for _, by := range []string{"", "kms:key-1", "transit:transit/" + name, "transit:team/transit/other"} {
				if _, err := sealer.Open(t.Context(), v1alpha1.SealedToken{By: by, Ciphertext: sealed.Ciphertext}, "uid-a"); secrets.ReasonOf(err) != secrets.Misconfigured {
					t.Errorf("sealed by %q: got %v, want Misconfigured", by, err)
				}
			}
		})
	}
	// A key that does not bind what is said beside: refused when sealing, not found out when opening.
	write("team/transit/keys/rsa", map[string]any{"type": "rsa-2048"})
	if _, err := NewTransit(caller{client}, "team/transit", "rsa").Seal(t.Context(), secrets.ValueOf(canary), "uid-a"); secrets.ReasonOf(err) != secrets.Refused {
		t.Errorf("an RSA key: got %v, want Refused", err)
	}
	if err := vault.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := NewTransit(caller{client}, "team/transit", "leases").Seal(t.Context(), secrets.ValueOf(canary), "uid-a"); secrets.ReasonOf(err) != secrets.Sealed {
		t.Errorf("a sealed Vault: got %v, want Sealed", err)
	}
}
