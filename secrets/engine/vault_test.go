package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// vault is the real one, started by the first test that needs it, with all engines mounted.
var vault struct {
	once   sync.Once
	dir    string
	server *vaultserver.Server
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if vault.server != nil {
		_ = vault.server.Stop()
	}
	if vault.dir != "" {
		_ = os.RemoveAll(vault.dir)
	}
	os.Exit(code)
}

// policy allows what the sources of these tests are judged by, and no more: not sys/internal/ui/mounts, above all, which Vault allows to whoever
// may do something in the mount.
const policy = `
path "secret/data/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/*" { capabilities = ["read"] }
path "secret/delete/*"   { capabilities = ["update"] }
path "kv/*"              { capabilities = ["create", "read", "update", "delete"] }
path "team/leased/*"     { capabilities = ["read"] }
path "capped/*"          { capabilities = ["read"] }
path "pki/issue/*"       { capabilities = ["update"] }
path "pki/sign/*"        { capabilities = ["update"] }
path "pki/revoke"        { capabilities = ["update"] }
path "pki-int/issue/*"   { capabilities = ["update"] }
path "pki-int/sign/*"    { capabilities = ["update"] }
path "pki-int/revoke"    { capabilities = ["update"] }
path "transit/decrypt/*" { capabilities = ["update"] }
path "transit/keys/*"    { capabilities = ["read"] }
path "auth/approle/role/+/role-id"                      { capabilities = ["read"] }
path "auth/approle/role/+/secret-id"                    { capabilities = ["update"] }
path "auth/approle/role/+/secret-id-accessor/destroy"   { capabilities = ["update"] }
path "auth/approle/role/+/secret-id-accessor/lookup"    { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
`

func realVault(t testing.TB) *vaultserver.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a Vault")
	}
	vault.once.Do(func() { vault.err = startVault() })
	if vault.err != nil {
		t.Fatal(vault.err)
	}
	return vault.server
}

func startVault() error {
	ctx := context.Background()
	var err error
	if vault.dir, err = os.MkdirTemp("", "portcullis-engine-"); err != nil {
		return err
	}
	if vault.server, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(vault.dir, "vault")}); err != nil {
		return err
	}
	s := vault.server
	write := func(path string, data map[string]any) func() error {
		return func() error { _, err := s.Write(ctx, path, data); return err }
	}
	for _, step := range []func() error{
		func() error { return s.Policy(ctx, "engine", policy) },
		func() error { return s.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, "") },
		func() error { return s.Mount(ctx, "kv", "kv", map[string]string{"version": "1"}, "") },
		func() error { return s.Mount(ctx, "team/leased", "leased-kv", nil, "") },
		func() error { return s.Mount(ctx, "capped", "leased-kv", nil, "6s") },
		func() error { return s.Mount(ctx, "pki", "pki", nil, "87600h") },
		func() error { return s.Mount(ctx, "pki-int", "pki", nil, "87600h") },
		func() error { return s.Mount(ctx, "transit", "transit", nil, "") },
		func() error { return s.EnableAuth(ctx, "approle", "approle") },
		write("pki/root/generate/internal", map[string]any{"common_name": "root.example", "ttl": "80000h"}),
		func() error { return makeIntermediate(ctx, s) },
		write("auth/approle/role/shop", map[string]any{"secret_id_ttl": "1h", "token_policies": "default"}),
		write("auth/approle/role/endless", map[string]any{"token_policies": "default"}),
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, mount := range []string{"pki", "pki-int"} {
		for _, role := range []struct {
			name   string
			change map[string]any
		}{
			{"web", map[string]any{"key_type": "rsa", "key_bits": 2048}},
			{"ec", map[string]any{"key_type": "ec", "key_bits": 256}},
			{"any", map[string]any{"key_type": "any", "use_csr_sans": true}},
			{"parameters", map[string]any{"key_type": "any", "use_csr_sans": false, "use_csr_common_name": false}},
			{"unstored", map[string]any{"key_type": "ec", "key_bits": 256, "no_store": true}},
			{"leased", map[string]any{"key_type": "ec", "key_bits": 256, "generate_lease": true}},
		} {
			settings := map[string]any{"allowed_domains": "shop.example", "allow_subdomains": true, "allow_bare_domains": true, "allow_ip_sans": true, "allowed_uri_sans": "spiffe://shop/*", "max_ttl": "720h", "ttl": "24h"}
			maps.Copy(settings, role.change)
			if err := write(mount+"/roles/"+role.name, settings)(); err != nil {
				return err
			}
		}
	}
	return nil
}

func makeIntermediate(ctx context.Context, s *vaultserver.Server) error {
	request, err := s.Write(ctx, "pki-int/intermediate/generate/internal", map[string]any{"common_name": "intermediate.example", "key_type": "ec", "key_bits": 256})
	if err != nil {
		return err
	}
	signed, err := s.Write(ctx, "pki/root/sign-intermediate", map[string]any{"csr": request.Data["csr"], "common_name": "intermediate.example", "ttl": "70000h", "format": "pem_bundle"})
	if err != nil {
		return err
	}
	_, err = s.Write(ctx, "pki-int/intermediate/set-signed", map[string]any{"certificate": signed.Data["certificate"]})
	return err
}

// login is a Caller with a token of its own that may do what the policies allow.
func login(t testing.TB, policies ...string) *client {
	t.Helper()
	s := realVault(t)
	made, err := s.Client().Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: policies, TTL: "1h", NoDefaultPolicy: false})
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, s.Address(), made.Auth.ClientToken)
}

func newClient(t testing.TB, address, token string) *client {
	t.Helper()
	return &client{http: realVault(t).Client().CloneConfig().HttpClient, address: address, token: token}
}

// client is a small Caller over HTTP. The one that programs use is of the package secrets/vault.
type client struct {
	http           *http.Client
	address, token string
}

func (c *client) Do(ctx context.Context, call secrets.Call) (*secrets.Reply, error) {
	fail := func(reason secrets.Reason, status int) error {
		return &secrets.Error{Reason: reason, Doing: "requesting " + call.Path, Message: "it failed", Status: status}
	}
	var body io.Reader
	if call.Body != nil {
		encoded, err := json.Marshal(call.Body)
		if err != nil {
			return nil, fail(secrets.Failed, 0)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, call.Method, c.address, body)
	if err != nil {
		return nil, fail(secrets.Failed, 0)
	}
	request.URL.Path = "/v1/" + call.Path
	request.URL.RawQuery = call.Query.Encode()
	request.Header.Set("X-Vault-Token", c.token)
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fail(secrets.Slow, 0)
		}
		return nil, fail(secrets.Unreachable, 0)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fail(secrets.Slow, response.StatusCode)
	case err != nil:
		return nil, fail(secrets.Truncated, response.StatusCode)
	case response.StatusCode >= 300:
		reason, ok := map[int]secrets.Reason{400: secrets.Refused, 403: secrets.Forbidden, 404: secrets.NotFound, 412: secrets.Behind, 429: secrets.RateLimited, 503: secrets.Sealed}[response.StatusCode]
		if !ok {
			reason = secrets.Failed
		}
		return nil, fail(reason, response.StatusCode)
	case len(raw) == 0:
		return &secrets.Reply{}, nil
	}
	var answer struct {
		Data     map[string]any `json:"data"`
		LeaseID  string         `json:"lease_id"`
		Duration int64          `json:"lease_duration"`
		Renews   bool           `json:"renewable"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&answer); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fail(secrets.Truncated, response.StatusCode)
	} else if err != nil {
		return nil, fail(secrets.Malformed, response.StatusCode)
	}
	return &secrets.Reply{Data: answer.Data, LeaseID: answer.LeaseID, LeaseDuration: time.Duration(answer.Duration) * time.Second, Renewable: answer.Renews}, nil
}

// want fails unless an error has a reason and holds none of the texts.
func want(t testing.TB, what string, err error, reason secrets.Reason, secret ...string) {
	t.Helper()
	if secrets.ReasonOf(err) != reason {
		t.Errorf("%s: got %v (%s), want %q", what, err, secrets.ReasonOf(err), reason)
	}
	for _, text := range secret {
		if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), text) {
			t.Errorf("%s: the error holds a value", what)
		}
	}
}

func read(t testing.TB, caller Caller, source *v1alpha1.Source) *Result {
	t.Helper()
	result, err := Read(t.Context(), caller, source, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func texts(data secrets.Data) map[string]string {
	all := map[string]string{}
	for key, value := range data {
		all[key] = string(value.Reveal())
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, data map[string]any) *api.Secret {
	t.Helper()
	answer, err := realVault(t).Write(t.Context(), path, data)
	must(t, err)
	return answer
}

func query(t testing.TB, path string, values url.Values) *api.Secret {
	t.Helper()
	answer, err := realVault(t).Client().Logical().ReadWithDataWithContext(t.Context(), path, values)
	must(t, err)
	return answer
}
