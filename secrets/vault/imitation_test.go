package vault

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// canary is what must come out nowhere but in the Data of a Reply; secretID what the AppRole of the tests logs in with.
const canary = "c4n4ry-vault-9b1e"

// imitation answers as Vault does, for what a clock has to be turned for. The table of faults runs before it and before a real one, so that it
// does not drift.
type imitation struct {
	*httptest.Server
	ttl, most time.Duration // of tokens: 0 of most is without a bound
	batch     bool
	now       func() time.Time

	mu       sync.Mutex
	secretID string
	tokens   map[string]time.Time // the greatest age of each
	count    map[string]int       // requests by path
	headers  http.Header          // of the last request
	hold     chan struct{}        // logins wait for it, where it is not nil
	blind    bool                 // tokens may not look themselves up
}

func imitate(t testing.TB) *imitation {
	t.Helper()
	v := &imitation{ttl: time.Hour, now: time.Now, secretID: "secret-id-" + canary, tokens: map[string]time.Time{}, count: map[string]int{}}
	v.Server = httptest.NewTLSServer(v)
	t.Cleanup(v.Close)
	return v
}

func (v *imitation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	v.mu.Lock()
	v.count[path]++
	v.headers = r.Header.Clone()
	hold := v.hold
	v.mu.Unlock()
	if path == "auth/approle/login" && hold != nil {
		<-hold
	}
	v.mu.Lock()
	status, answer := v.answer(path, r.Header.Get("X-Vault-Token"), body)
	v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func refusal(words ...string) map[string]any {
	return map[string]any{"errors": append([]string{}, words...)}
}

func (v *imitation) answer(path, token string, body map[string]any) (int, any) {
	switch path {
	case "sys/health":
		return http.StatusOK, map[string]any{"initialized": true, "sealed": false, "standby": false, "version": "1.21.0"}
	case "auth/approle/login":
		if body["secret_id"] != v.secretID {
			return http.StatusBadRequest, refusal("invalid role or secret ID")
		}
		token = fmt.Sprintf("hvs.%s-%d", canary, v.count[path])
		v.tokens[token] = v.now().Add(365 * 24 * time.Hour)
		if v.most > 0 {
			v.tokens[token] = v.now().Add(v.most)
		}
		return http.StatusOK, v.auth(token)
	}
	if until, ok := v.tokens[token]; !ok || !v.now().Before(until) {
		return http.StatusForbidden, refusal("2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
	}
	switch path {
	case "auth/token/lookup-self":
		if v.blind {
			return http.StatusForbidden, refusal("1 error occurred:\n\t* permission denied\n\n")
		}
		return http.StatusOK, map[string]any{"data": map[string]any{"accessor": "accessor", "renewable": true, "ttl": int64(v.ttl / time.Second)}}
	case "auth/token/renew-self":
		return http.StatusOK, v.auth(token)
	case "auth/token/revoke-self":
		delete(v.tokens, token)
		return http.StatusNoContent, nil
	case "secret/data/shop":
		return http.StatusOK, map[string]any{"data": map[string]any{"data": map[string]any{"password": canary}, "metadata": map[string]any{"version": 1}}}
	case "secret/data/missing":
		return http.StatusNotFound, refusal()
	}
	return http.StatusForbidden, refusal("1 error occurred:\n\t* permission denied\n\n")
}

func (v *imitation) auth(token string) map[string]any {
	left := min(v.ttl, v.tokens[token].Sub(v.now()))
	return map[string]any{"auth": map[string]any{"client_token": token, "accessor": "accessor", "lease_duration": int64(left / time.Second), "renewable": !v.batch}}
}

func (v *imitation) asked(path string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.count[path]
}

func (v *imitation) revokeAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.tokens)
}

func (v *imitation) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
}

// held is a cluster with Secrets only.
type held map[string]string

func (h held) ServiceAccountToken(context.Context, string, string, []string, time.Duration) (secrets.Value, time.Time, error) {
	return secrets.Value{}, time.Time{}, &secrets.Error{Reason: secrets.MissingReference, Message: "it is not there"}
}

func (h held) SecretKey(_ context.Context, namespace, name, key string) (secrets.Value, error) {
	text, ok := h[namespace+"/"+name+"/"+key]
	if !ok {
		return secrets.Value{}, &secrets.Error{Reason: secrets.MissingReference, Message: "it is not there"}
	}
	return secrets.ValueOf(text), nil
}

func connectionTo(address string, ca []byte) *v1alpha1.VaultConnection {
	return &v1alpha1.VaultConnection{
		ObjectMeta: metav1.ObjectMeta{Name: "main", UID: types.UID("connection"), Generation: 1},
		Spec:       v1alpha1.VaultConnectionSpec{Address: address, CABundle: string(ca), RequestsPerSecond: 100000, Burst: 100000, Timeout: &metav1.Duration{Duration: 30 * time.Second}},
	}
}

func appRole(roleID string) *v1alpha1.VaultAuth {
	return &v1alpha1.VaultAuth{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "app", UID: types.UID("auth"), Generation: 1},
		Spec:       v1alpha1.VaultAuthSpec{Connection: "main", AppRole: &v1alpha1.AppRoleAuth{RoleID: roleID, SecretRef: v1alpha1.SecretKeyRef{Name: "app", Key: "secretID"}}},
	}
}

// real is a Vault with an AppRole, for all tests.
var real struct {
	once             sync.Once
	dir              string
	server           *vaultserver.Server
	roleID, secretID string
	err              error
}

func TestMain(m *testing.M) {
	code := m.Run()
	stopLogins()
	if real.server != nil {
		_ = real.server.Stop()
	}
	if real.dir != "" {
		_ = os.RemoveAll(real.dir)
	}
	os.Exit(code)
}

const realPolicy = `
path "secret/data/shop"    { capabilities = ["read"] }
path "secret/data/missing" { capabilities = ["read"] }
`

func realVault(t testing.TB) *vaultserver.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a Vault")
	}
	real.once.Do(func() { real.err = startReal() })
	if real.err != nil {
		t.Fatal(real.err)
	}
	return real.server
}

func startReal() error {
	ctx := context.Background()
	var err error
	if real.dir, err = os.MkdirTemp("", "portcullis-vault-"); err != nil {
		return err
	}
	if real.server, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(real.dir, "vault")}); err != nil {
		return err
	}
	s := real.server
	for _, step := range []func() error{
		func() error { return s.Policy(ctx, "shop", realPolicy) },
		func() error { return s.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, "") },
		func() error { return s.WriteKV2(ctx, "secret", "shop", map[string]any{"password": canary}) },
		func() error { return s.EnableAuth(ctx, "approle", "approle") },
		func() error {
			_, err := s.Write(ctx, "auth/approle/role/shop", map[string]any{"token_policies": "shop", "token_ttl": "1h"})
			return err
		},
		func() error {
			_, err := s.Write(ctx, "auth/approle/role/brief", map[string]any{"token_policies": "shop", "token_ttl": "3s", "token_max_ttl": "6s"})
			return err
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	real.roleID, real.secretID, err = roleOf(ctx, s, "shop")
	return err
}

func roleOf(ctx context.Context, s *vaultserver.Server, role string) (roleID, secretID string, err error) {
	id, err := s.Read(ctx, "auth/approle/role/"+role+"/role-id")
	if err != nil {
		return "", "", err
	}
	secret, err := s.Write(ctx, "auth/approle/role/"+role+"/secret-id", map[string]any{})
	if err != nil {
		return "", "", err
	}
	return id.Data["role_id"].(string), secret.Data["secret_id"].(string), nil
}
