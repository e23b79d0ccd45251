package vaultserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
	"github.com/portcullis-dev/portcullis/test/vaultserver/vaultservertest"
)

var shared = vaultservertest.Shared{Prepare: func(ctx context.Context, s *vaultserver.Server) error {
	return errors.Join(
		s.Policy(ctx, "shop", `path "secret/data/shop" { capabilities = ["read"] }
path "leased/*" { capabilities = ["read"] }`),
		s.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, ""),
		s.WriteKV2(ctx, "secret", "shop", map[string]any{"password": "first"}),
		s.Mount(ctx, "old", "kv", map[string]string{"version": "1"}, ""),
		s.Mount(ctx, "leased", "leased-kv", nil, ""),
		s.Mount(ctx, "capped", "leased-kv", nil, "6s"),
		s.Mount(ctx, "pki", "pki", nil, "87600h"),
		s.Mount(ctx, "transit", "transit", nil, ""),
		s.EnableAuth(ctx, "approle", "approle"),
		s.EnableAuth(ctx, "cert", "cert"),
		s.EnableAuth(ctx, "jwt", "jwt"),
		s.EnableAuth(ctx, "kubernetes", "kubernetes"),
	)
}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBothVersionsOfTheKeyValueEngineKeepWhatIsWritten(t *testing.T) {
	s := shared.Server(t)
	_, err := s.Write(t.Context(), "old/shop", map[string]any{"password": "plain"})
	must(t, err)
	read, err := s.Read(t.Context(), "old/shop")
	must(t, err)
	if got := read.Data["password"]; got != "plain" {
		t.Errorf("version 1: got %v, want plain", got)
	}
	for _, value := range []string{"one", "two"} {
		must(t, s.WriteKV2(t.Context(), "secret", "versions", map[string]any{"password": value}))
	}
	latest, err := s.Client().KVv2("secret").Get(t.Context(), "versions")
	must(t, err)
	before, err := s.Client().KVv2("secret").GetVersion(t.Context(), "versions", latest.VersionMetadata.Version-1)
	must(t, err)
	if got := before.Data["password"]; got != "one" || latest.Data["password"] != "two" {
		t.Errorf("version 2: got %v and then %v, want one and two", got, latest.Data["password"])
	}
}

func TestAnAuthorityIssuesCertificates(t *testing.T) {
	s := shared.Server(t)
	root, err := s.Write(t.Context(), "pki/root/generate/internal", map[string]any{"common_name": "root.example", "ttl": "1000h", "key_type": "ec"})
	must(t, err)
	_, err = s.Write(t.Context(), "pki/roles/web", map[string]any{"allowed_domains": "shop.example", "allow_subdomains": true, "key_type": "ec", "key_bits": 256, "max_ttl": "1h", "generate_lease": true})
	must(t, err)
	issued, err := s.Write(t.Context(), "pki/issue/web", map[string]any{"common_name": "www.shop.example"})
	must(t, err)
	block, _ := pem.Decode([]byte(issued.Data["certificate"].(string)))
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(root.Data["certificate"].(string)))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "www.shop.example"}); err != nil {
		t.Error(err)
	}
	if issued.LeaseID == "" {
		t.Error("a role with generate_lease gave no lease")
	}
}

func TestTransitDecryptsWhatItEncrypted(t *testing.T) {
	s := shared.Server(t)
	plain := base64.StdEncoding.EncodeToString([]byte("plain"))
	encrypted, err := s.Write(t.Context(), "transit/encrypt/shop", map[string]any{"plaintext": plain})
	must(t, err)
	decrypted, err := s.Write(t.Context(), "transit/decrypt/shop", map[string]any{"ciphertext": encrypted.Data["ciphertext"]})
	must(t, err)
	if got := decrypted.Data["plaintext"]; got != plain {
		t.Errorf("got %v, want %s", got, plain)
	}
}

// lease reads a leased secret with a client.
func lease(t testing.TB, client *api.Client, path string) *api.Secret {
	t.Helper()
	read, err := client.Logical().ReadWithContext(t.Context(), path)
	must(t, err)
	if read.LeaseID == "" || !read.Renewable {
		t.Fatalf("%s has the lease %q, renewable %v", path, read.LeaseID, read.Renewable)
	}
	return read
}

// held says whether Vault still knows a lease.
func held(t testing.TB, s *vaultserver.Server, lease string) error {
	t.Helper()
	_, err := s.Client().Sys().LookupWithContext(t.Context(), lease)
	return err
}

func TestALeaseOfThreeSecondsLivesAsLongAsItIsRenewed(t *testing.T) {
	s := shared.Server(t)
	_, err := s.Write(t.Context(), "leased/short", map[string]any{"ttl": "3s", "password": "x"})
	must(t, err)
	read := lease(t, s.Client(), "leased/short")
	if read.LeaseDuration != 3 {
		t.Errorf("the lease is of %d s, want 3", read.LeaseDuration)
	}
	started, renewals := time.Now(), 0
	clustertest.Eventually(t, "renewing for longer than the lease is", func() error {
		renewed, err := s.Client().Sys().RenewWithContext(t.Context(), read.LeaseID, 3)
		if err != nil {
			t.Fatalf("renewing after %s: %v", time.Since(started), err)
		}
		if renewals++; renewed.LeaseDuration == 0 || time.Since(started) < 4*time.Second {
			return errors.New("not four seconds old yet")
		}
		return nil
	})
	must(t, held(t, s, read.LeaseID))
	clustertest.Until(t, "the end of a lease that is not renewed any more", func() bool { return held(t, s, read.LeaseID) != nil })
	if age := time.Since(started); age < 6*time.Second {
		t.Errorf("it ended after %s and %d renewals, earlier than three seconds after the last", age, renewals)
	}
}

func TestAMountCapsItsLeases(t *testing.T) {
	s := shared.Server(t)
	_, err := s.Write(t.Context(), "capped/long", map[string]any{"ttl": "1h", "password": "x"})
	must(t, err)
	if got := lease(t, s.Client(), "capped/long").LeaseDuration; got > 6 {
		t.Errorf("the lease is of %d s, want at most 6", got)
	}
}

func TestALeaseDiesWithTheTokenThatItWasReadWith(t *testing.T) {
	s := shared.Server(t)
	_, err := s.Write(t.Context(), "leased/hour", map[string]any{"ttl": "1h", "password": "x"})
	must(t, err)
	token, err := s.Client().Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"shop"}, TTL: "1h"})
	must(t, err)
	client, err := s.NewClient(token.Auth.ClientToken)
	must(t, err)
	read := lease(t, client, "leased/hour")
	must(t, held(t, s, read.LeaseID))
	must(t, s.Client().Auth().Token().RevokeTreeWithContext(t.Context(), token.Auth.ClientToken))
	clustertest.Until(t, "the lease's end", func() bool { return held(t, s, read.LeaseID) != nil })
}

// login logs in with a client that shows no token, and reads what the policy shop allows, and something that it does not.
func login(t testing.TB, s *vaultserver.Server, client *api.Client, path string, data map[string]any) {
	t.Helper()
	answer, err := client.Logical().WriteWithContext(t.Context(), path, data)
	must(t, err)
	if answer == nil || answer.Auth == nil {
		t.Fatalf("%s gave no token", path)
	}
	as, err := s.NewClient(answer.Auth.ClientToken)
	must(t, err)
	read, err := as.KVv2("secret").Get(t.Context(), "shop")
	must(t, err)
	if got := read.Data["password"]; got != "first" {
		t.Errorf("got %v, want first", got)
	}
	if _, err := as.KVv2("secret").Get(t.Context(), "versions"); status(err) != http.StatusForbidden {
		t.Errorf("what the policy does not allow: got %v, want a 403", err)
	}
}

// refused is a login that must not work.
func refused(t testing.TB, client *api.Client, path string, data map[string]any) {
	t.Helper()
	if answer, err := client.Logical().WriteWithContext(t.Context(), path, data); err == nil {
		t.Errorf("%s gave a token with %v", path, answer.Auth.TokenPolicies)
	}
}

func status(err error) int {
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		return answer.StatusCode
	}
	return 0
}

func TestAppRolesLogIn(t *testing.T) {
	s := shared.Server(t)
	_, err := s.Write(t.Context(), "auth/approle/role/shop", map[string]any{"token_policies": "shop"})
	must(t, err)
	id, err := s.Read(t.Context(), "auth/approle/role/shop/role-id")
	must(t, err)
	secret, err := s.Write(t.Context(), "auth/approle/role/shop/secret-id", nil)
	must(t, err)
	client, err := s.NewClient("")
	must(t, err)
	login(t, s, client, "auth/approle/login", map[string]any{"role_id": id.Data["role_id"], "secret_id": secret.Data["secret_id"]})
	refused(t, client, "auth/approle/login", map[string]any{"role_id": id.Data["role_id"], "secret_id": "another"})
}

func TestClientCertificatesLogIn(t *testing.T) {
	s := shared.Server(t)
	_, err := s.Write(t.Context(), "auth/cert/certs/shop", map[string]any{"certificate": string(s.CA()), "allowed_common_names": "shop-client", "token_policies": "shop"})
	must(t, err)
	client := func(commonName string) *api.Client {
		pair, err := s.Authority().Issue(commonName)
		must(t, err)
		config := api.DefaultConfig()
		config.Address, config.MaxRetries = s.Address(), 0
		must(t, config.ConfigureTLS(&api.TLSConfig{CACert: s.Authority().File, ClientCert: pair.CertFile, ClientKey: pair.KeyFile}))
		client, err := api.NewClient(config)
		must(t, err)
		return client
	}
	login(t, s, client("shop-client"), "auth/cert/login", map[string]any{"name": "shop"})
	refused(t, client("another-client"), "auth/cert/login", map[string]any{"name": "shop"})
	without, err := s.NewClient("")
	must(t, err)
	refused(t, without, "auth/cert/login", map[string]any{"name": "shop"})
}

func TestTokensOfAnIssuerLogIn(t *testing.T) {
	s := shared.Server(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	_, err = s.Write(t.Context(), "auth/jwt/config", map[string]any{"jwt_validation_pubkeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}})
	must(t, err)
	_, err = s.Write(t.Context(), "auth/jwt/role/shop", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": "shop"})
	must(t, err)
	sign := func(audience string) string {
		segment := func(value any) string {
			encoded, err := json.Marshal(value)
			must(t, err)
			return base64.RawURLEncoding.EncodeToString(encoded)
		}
		signed := segment(map[string]any{"alg": "ES256", "typ": "JWT"}) + "." + segment(map[string]any{"sub": "app", "aud": audience, "exp": time.Now().Add(time.Minute).Unix()})
		sum := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		must(t, err)
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	client, err := s.NewClient("")
	must(t, err)
	login(t, s, client, "auth/jwt/login", map[string]any{"role": "shop", "jwt": sign("vault")})
	refused(t, client, "auth/jwt/login", map[string]any{"role": "shop", "jwt": sign("elsewhere")})
}

const reviewerObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reviewer, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{kind: ServiceAccount, name: reviewer, namespace: shop}]
`

func TestServiceAccountsLogInWithTokensThatARealAPIServerReviews(t *testing.T) {
	s := shared.Server(t)
	control, _, _ := clustertest.Start(t, nil, []byte(reviewerObjects))
	kubernetes, err := control.Client("admin")
	must(t, err)
	token := func(account string, audiences ...string) string {
		asked, err := kubernetes.CoreV1().ServiceAccounts("shop").CreateToken(t.Context(), account, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
		must(t, err)
		return asked.Status.Token
	}
	authority, err := os.ReadFile(control.CAFile)
	must(t, err)
	must(t, s.ConfigureKubernetesAuth(t.Context(), "kubernetes", control.URL, authority, token("reviewer")))
	_, err = s.Write(t.Context(), "auth/kubernetes/role/shop", map[string]any{
		"bound_service_account_names": "app", "bound_service_account_namespaces": "shop", "audience": "vault", "token_policies": "shop",
	})
	must(t, err)
	client, err := s.NewClient("")
	must(t, err)
	shop := token("app", "vault")
	login(t, s, client, "auth/kubernetes/login", map[string]any{"role": "shop", "jwt": shop})
	for name, jwt := range map[string]string{
		"another service account": token("other", "vault"),
		"another audience":        token("app", "elsewhere"),
		"the API server's own":    token("app"),
		"a signature that is cut": shop[:len(shop)-4],
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, client, "auth/kubernetes/login", map[string]any{"role": "shop", "jwt": jwt})
		})
	}
	t.Run("a token whose account is gone", func(t *testing.T) {
		must(t, kubernetes.CoreV1().ServiceAccounts("shop").Delete(t.Context(), "app", metav1.DeleteOptions{}))
		clustertest.Until(t, "the review's refusal", func() bool {
			_, err := client.Logical().WriteWithContext(t.Context(), "auth/kubernetes/login", map[string]any{"role": "shop", "jwt": shop})
			return err != nil
		})
	})
}

// own is a Vault of one test, which seals or kills it.
func own(t *testing.T) *vaultserver.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a Vault")
	}
	s, err := vaultserver.Start(t.Context(), vaultserver.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	must(t, s.Mount(t.Context(), "secret", "kv", map[string]string{"version": "2"}, ""))
	must(t, s.Mount(t.Context(), "leased", "leased-kv", nil, ""))
	must(t, s.WriteKV2(t.Context(), "secret", "shop", map[string]any{"password": "first"}))
	_, err = s.Write(t.Context(), "leased/hour", map[string]any{"ttl": "1h", "password": "x"})
	must(t, err)
	return s
}

func TestASealedVaultAnswersNothingUntilItIsUnsealed(t *testing.T) {
	s := own(t)
	must(t, s.Seal(t.Context()))
	_, err := s.Read(t.Context(), "secret/data/shop")
	if status(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "Vault is sealed") {
		t.Errorf("got %v, want a 503 that says so", err)
	}
	code, body, err := s.Raw(t.Context(), http.MethodGet, "sys/health")
	must(t, err)
	if code != http.StatusServiceUnavailable || body["sealed"] != true || body["initialized"] != true {
		t.Errorf("health: got %d, %v, want 503, initialized and sealed", code, body)
	}
	must(t, s.Unseal(t.Context()))
	read, err := s.Client().KVv2("secret").Get(t.Context(), "shop")
	must(t, err)
	if got := read.Data["password"]; got != "first" {
		t.Errorf("got %v, want first", got)
	}
}

func TestACrashLeavesSecretsTokensAndLeases(t *testing.T) {
	s := own(t)
	token, err := s.Client().Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"root"}, TTL: "1h"})
	must(t, err)
	client, err := s.NewClient(token.Auth.ClientToken)
	must(t, err)
	read := lease(t, client, "leased/hour")
	address := s.Address()

	s.Kill()
	if _, err := client.Sys().HealthWithContext(t.Context()); err == nil {
		t.Error("it answers though it was killed")
	}
	must(t, s.Restart(t.Context()))
	if s.Address() != address {
		t.Errorf("it is at %s, and was at %s", s.Address(), address)
	}
	secret, err := client.KVv2("secret").Get(t.Context(), "shop")
	must(t, err)
	if got := secret.Data["password"]; got != "first" {
		t.Errorf("got %v, want first", got)
	}
	clustertest.Eventually(t, "the lease's renewal", func() error { // leases are restored behind the first answers
		renewed, err := client.Sys().RenewWithContext(t.Context(), read.LeaseID, 3600)
		if err == nil && renewed.LeaseID != read.LeaseID {
			t.Errorf("renewed %s, want %s", renewed.LeaseID, read.LeaseID)
		}
		return err
	})
}

func TestAClientTakesNothingFromTheEnvironment(t *testing.T) {
	s := shared.Server(t)
	for name, value := range map[string]string{"VAULT_ADDR": "https://127.0.0.1:1", "VAULT_AGENT_ADDR": "https://127.0.0.1:1", "VAULT_NAMESPACE": "team", "VAULT_TOKEN": "another"} {
		t.Setenv(name, value)
	}
	client, err := s.NewClient(s.RootToken())
	must(t, err)
	if _, err := client.KVv2("secret").Get(t.Context(), "shop"); err != nil {
		t.Error(err)
	}
	if got := client.Namespace(); got != "" { // a Vault without Enterprise takes no notice of it
		t.Errorf("it asks for the namespace %q", got)
	}
}

func TestAVaultWithoutAFolderIsNotStarted(t *testing.T) {
	if s, err := vaultserver.Start(t.Context(), vaultserver.Options{}); err == nil {
		_ = s.Stop()
		t.Error("it started, with its storage in the working folder")
	}
}
