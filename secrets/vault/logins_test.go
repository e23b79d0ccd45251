package vault

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// loginObjects are two namespaces with service accounts of one name, an operator with rights in both, and the account that Vault has
// tokens reviewed by.
const loginObjects = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: web}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: other, namespace: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: web}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: vault-reviewer, namespace: kube-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: vault-reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{kind: ServiceAccount, name: vault-reviewer, namespace: kube-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: operator}
rules:
- {apiGroups: [""], resources: [serviceaccounts/token], verbs: [create]}
- {apiGroups: [""], resources: [secrets], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: operator}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: operator}]
`

// logins is an API server beside the real Vault, with roles at the one and identities at the other, for all tests.
var logins struct {
	once     sync.Once
	control  *cluster.Cluster
	admin    kubernetes.Interface
	operator Cluster // with the rights of portcullis-secrets
	roleID   string  // of the AppRole login
	err      error
}

func realLogins(t testing.TB) *vaultserver.Server {
	t.Helper()
	s := realVault(t)
	logins.once.Do(func() { logins.err = startLogins(context.Background(), s) }) // they outlive the test that starts them
	if logins.err != nil {
		t.Fatal(logins.err)
	}
	return s
}

// stopLogins is for TestMain.
func stopLogins() {
	if logins.control != nil {
		_ = logins.control.Stop()
	}
}

func startLogins(ctx context.Context, s *vaultserver.Server) error {
	dir := filepath.Join(real.dir, "cluster")
	control, err := cluster.Start(ctx, cluster.Options{Dir: dir, WithoutControllers: true, Users: []cluster.User{{Name: "operator"}}})
	if err != nil {
		return err
	}
	logins.control = control
	config, err := control.Config(cluster.Admin)
	if err != nil {
		return err
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		return err
	}
	if _, err := creator.Create(ctx, []byte(loginObjects), metav1.CreateOptions{}); err != nil {
		return err
	}
	if logins.admin, err = control.Client(cluster.Admin); err != nil {
		return err
	}
	operator, err := control.Client("operator")
	if err != nil {
		return err
	}
	logins.operator = NewCluster(operator)
	for _, step := range []func(context.Context, *vaultserver.Server) error{mountKubernetes, mountJWT, mountCert, writeLoginPolicies, writeLoginRoles, keepCredentials} {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// tokenOf is a token of a service account for an audience, "" for the API server's own.
func tokenOf(ctx context.Context, namespace, name, audience string) (string, error) {
	var request authenticationv1.TokenRequest
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	made, err := logins.admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return made.Status.Token, nil
}

func mountKubernetes(ctx context.Context, s *vaultserver.Server) error {
	reviewer, err := tokenOf(ctx, "kube-system", "vault-reviewer", "")
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(logins.control.CAFile)
	if err != nil {
		return err
	}
	if err := s.EnableAuth(ctx, "kubernetes", "kubernetes"); err != nil {
		return err
	}
	return s.ConfigureKubernetesAuth(ctx, "kubernetes", logins.control.URL, authority, reviewer)
}

// mountJWT has Vault verify tokens by the key that the API server signs them with.
func mountJWT(ctx context.Context, s *vaultserver.Server) error {
	key, err := os.ReadFile(filepath.Join(real.dir, "cluster", "service-account.pub"))
	if err != nil {
		return err
	}
	if err := s.EnableAuth(ctx, "jwt", "jwt"); err != nil {
		return err
	}
	_, err = s.Write(ctx, "auth/jwt/config", map[string]any{"jwt_validation_pubkeys": []string{string(key)}, "bound_issuer": logins.control.URL})
	return err
}

func mountCert(ctx context.Context, s *vaultserver.Server) error {
	return s.EnableAuth(ctx, "cert", "cert")
}

// writeLoginPolicies lets each of the identities read one secret.
func writeLoginPolicies(ctx context.Context, s *vaultserver.Server) error {
	for _, name := range []string{"kubernetes", "jwt", "kept", "approle", "cert", "web"} {
		if err := s.WriteKV2(ctx, "secret", "logins/"+name, map[string]any{"of": name}); err != nil {
			return err
		}
		if err := s.Policy(ctx, "login-"+name, `path "secret/data/logins/`+name+`" { capabilities = ["read"] }`); err != nil {
			return err
		}
	}
	return nil
}

func writeLoginRoles(ctx context.Context, s *vaultserver.Server) error {
	account := func(namespace, name, audience, policy string) map[string]any {
		return map[string]any{
			"bound_service_account_namespaces": namespace, "bound_service_account_names": name, "audience": audience, "token_policies": "login-" + policy, "token_ttl": "1h",
		}
	}
	subject := func(subject, audience, policy string) map[string]any {
		return map[string]any{
			"role_type": "jwt", "user_claim": "sub", "bound_subject": "system:serviceaccount:" + subject, "bound_audiences": audience, "token_policies": "login-" + policy, "token_ttl": "1h",
		}
	}
	for path, role := range map[string]map[string]any{
		"kubernetes/role/shop":      account("shop", "app", "vault", "kubernetes"),
		"kubernetes/role/elsewhere": account("shop", "app", "elsewhere", "kubernetes"),
		"kubernetes/role/web":       account("web", "app", "vault", "web"),
		"jwt/role/shop":             subject("shop:app", "vault", "jwt"),
		"jwt/role/kept":             subject("shop:other", "vault", "kept"),
		"approle/role/login":        {"token_policies": "login-approle", "token_ttl": "1h"},
		"cert/certs/shop":           {"certificate": string(s.CA()), "allowed_common_names": "app.shop", "token_policies": "login-cert", "token_ttl": "1h"},
	} {
		if _, err := s.Write(ctx, "auth/"+path, role); err != nil {
			return err
		}
	}
	return nil
}

// keepCredentials puts good credentials and bad ones into Secrets of the namespace shop.
func keepCredentials(ctx context.Context, s *vaultserver.Server) error {
	roleID, secretID, err := roleOf(ctx, s, "login")
	if err != nil {
		return err
	}
	logins.roleID = roleID
	_, destroyed, err := roleOf(ctx, s, "login")
	if err != nil {
		return err
	}
	if _, err := s.Write(ctx, "auth/approle/role/login/secret-id/destroy", map[string]any{"secret_id": destroyed}); err != nil {
		return err
	}
	for name, data := range map[string]map[string]string{
		"approle":           {"secretID": secretID + "\n"}, // as an editor leaves it
		"approle-destroyed": {"secretID": destroyed},
		"approle-of-others": {"secretID": real.secretID},
		"lacking":           {"something": "else"},
		"jwt-nonsense":      {"token": canary + canary},
	} {
		if err := keep(ctx, name, corev1.SecretTypeOpaque, data); err != nil {
			return err
		}
	}
	for name, audience := range map[string]string{"jwt": "vault", "jwt-for-others": "elsewhere"} {
		token, err := tokenOf(ctx, "shop", "other", audience)
		if err != nil {
			return err
		}
		if err := keep(ctx, name, corev1.SecretTypeOpaque, map[string]string{"token": token}); err != nil {
			return err
		}
	}
	return keepCertificates(ctx, s.Authority())
}

func keepCertificates(ctx context.Context, authority *pki.Authority) error {
	dir := filepath.Join(real.dir, "foreign")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	foreign, err := pki.NewAuthority(dir, "foreign")
	if err != nil {
		return err
	}
	var good, last map[string]string
	for _, one := range []struct {
		secret, name string
		of           *pki.Authority
	}{{"cert", "app.shop", authority}, {"cert-foreign", "app.shop", foreign}, {"cert-of-others", "app.web", authority}} {
		pair, err := one.of.Issue(one.name)
		if err != nil {
			return err
		}
		certificate, err := os.ReadFile(pair.CertFile)
		if err != nil {
			return err
		}
		key, err := os.ReadFile(pair.KeyFile)
		if err != nil {
			return err
		}
		last = map[string]string{corev1.TLSCertKey: string(certificate), corev1.TLSPrivateKeyKey: string(key)}
		if good == nil {
			good = last
		}
		if err := keep(ctx, one.secret, corev1.SecretTypeTLS, last); err != nil {
			return err
		}
	}
	if err := keep(ctx, "cert-without-key", corev1.SecretTypeOpaque, map[string]string{corev1.TLSCertKey: good[corev1.TLSCertKey]}); err != nil {
		return err
	}
	return keep(ctx, "cert-of-another-key", corev1.SecretTypeTLS, map[string]string{corev1.TLSCertKey: good[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: last[corev1.TLSPrivateKeyKey]})
}

func keep(ctx context.Context, name string, kind corev1.SecretType, data map[string]string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Type: kind, StringData: data}
	_, err := logins.admin.CoreV1().Secrets("shop").Create(ctx, secret, metav1.CreateOptions{})
	return err
}

// overheard notes what a cluster is asked, and all credentials that it gives.
type overheard struct {
	Cluster
	mu    sync.Mutex
	asked []string
	given []string
}

func (o *overheard) note(asked string, value secrets.Value) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, asked)
	o.given = append(o.given, string(value.Reveal()))
}

func (o *overheard) ServiceAccountToken(ctx context.Context, namespace, name string, audiences []string, ttl time.Duration) (secrets.Value, time.Time, error) {
	value, expires, err := o.Cluster.ServiceAccountToken(ctx, namespace, name, audiences, ttl)
	o.note(fmt.Sprintf("a token of %s/%s for %s", namespace, name, strings.Join(audiences, ", ")), value)
	return value, expires, err
}

func (o *overheard) SecretKey(ctx context.Context, namespace, name, key string) (secrets.Value, error) {
	value, err := o.Cluster.SecretKey(ctx, namespace, name, key)
	o.note(fmt.Sprintf("%s of %s/%s", key, namespace, name), value)
	return value, err
}

// leaked says whether a text holds a credential that was given, or a piece of one: a segment of a JWT, a line of a key.
func (o *overheard) leaked(text string) bool {
	for _, given := range o.given {
		for piece := range strings.FieldsFuncSeq(given, func(r rune) bool { return r == '.' || r == '\n' }) {
			if len(piece) >= 16 && strings.Contains(text, piece) {
				return true
			}
		}
	}
	return strings.Contains(text, "hvs.") || strings.Contains(text, canary)
}

// loginPool is a Pool with the rights of the operator; what it is given is overheard, and what it logs kept.
func loginPool(t *testing.T) (*Pool, *overheard, *bytes.Buffer) {
	t.Helper()
	heard, log := &overheard{Cluster: logins.operator}, &bytes.Buffer{}
	pool := NewPool(Options{Cluster: heard, Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	t.Cleanup(func() { pool.Close(context.Background()) })
	return pool, heard, log
}

func authIn(namespace string, spec v1alpha1.VaultAuthSpec) *v1alpha1.VaultAuth {
	spec.Connection = "main"
	return &v1alpha1.VaultAuth{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "login", UID: types.UID("login"), Generation: 1}, Spec: spec}
}

func byKubernetes(role, account string, audiences ...string) v1alpha1.VaultAuthSpec {
	return v1alpha1.VaultAuthSpec{Kubernetes: &v1alpha1.KubernetesAuth{Role: role, ServiceAccount: account, Audiences: audiences}}
}

func byJWT(role, account string, audiences ...string) v1alpha1.VaultAuthSpec {
	return v1alpha1.VaultAuthSpec{JWT: &v1alpha1.JWTAuth{Role: role, ServiceAccount: account, Audiences: audiences}}
}

func byKeptJWT(role, secret string) v1alpha1.VaultAuthSpec {
	return v1alpha1.VaultAuthSpec{JWT: &v1alpha1.JWTAuth{Role: role, SecretRef: &v1alpha1.SecretKeyRef{Name: secret}}}
}

func byAppRole(secret string) v1alpha1.VaultAuthSpec {
	return v1alpha1.VaultAuthSpec{AppRole: &v1alpha1.AppRoleAuth{RoleID: logins.roleID, SecretRef: v1alpha1.SecretKeyRef{Name: secret}}}
}

func byCert(role, secret string) v1alpha1.VaultAuthSpec {
	return v1alpha1.VaultAuthSpec{Cert: &v1alpha1.CertAuth{Role: role, SecretName: secret}}
}

func TestEachMethodLogsInAtARealVault(t *testing.T) {
	s := realLogins(t)
	for name, test := range map[string]struct {
		namespace string
		spec      v1alpha1.VaultAuthSpec
		reads     string // secret/data/logins/…
		asks      []string
	}{
		"kubernetes":                      {"shop", byKubernetes("shop", "app"), "kubernetes", []string{"a token of shop/app for vault"}},
		"kubernetes for another audience": {"shop", byKubernetes("elsewhere", "app", "elsewhere"), "kubernetes", []string{"a token of shop/app for elsewhere"}},
		"kubernetes in another namespace": {"web", byKubernetes("web", "app"), "web", []string{"a token of web/app for vault"}},
		"jwt of a service account":        {"shop", byJWT("shop", "app"), "jwt", []string{"a token of shop/app for vault"}},
		"jwt of a Secret":                 {"shop", byKeptJWT("kept", "jwt"), "kept", []string{"token of shop/jwt"}},
		"appRole":                         {"shop", byAppRole("approle"), "approle", []string{"secretID of shop/approle"}},
		"cert":                            {"shop", byCert("shop", "cert"), "cert", []string{"tls.crt of shop/cert", "tls.key of shop/cert"}},
		"cert of whatever role takes it":  {"shop", byCert("", "cert"), "cert", []string{"tls.crt of shop/cert", "tls.key of shop/cert"}},
	} {
		t.Run(name, func(t *testing.T) {
			pool, heard, log := loginPool(t)
			client, err := pool.Client(t.Context(), connectionTo(s.Address(), s.CA()), authIn(test.namespace, test.spec))
			must(t, err)
			reply, err := client.Do(t.Context(), secrets.Call{Method: http.MethodGet, Path: "secret/data/logins/" + test.reads})
			must(t, err)
			if data, _ := reply.Data["data"].(map[string]any); data["of"] != test.reads {
				t.Errorf("the answer is not what secret/data/logins/%s holds", test.reads)
			}
			if _, err := client.Do(t.Context(), readShop); secrets.ReasonOf(err) != secrets.Forbidden {
				t.Errorf("reason %q for what the role's policy does not name, want Forbidden: %v", secrets.ReasonOf(err), err)
			}
			if !slices.Equal(heard.asked, test.asks) {
				t.Errorf("the cluster was asked for %q, want %q", heard.asked, test.asks)
			}
			if left := time.Until(client.Token().Expires); left < 50*time.Minute || left > time.Hour {
				t.Errorf("the token lives %s, want the hour of its role", left)
			}
			if heard.leaked(log.String() + fmt.Sprintf("%+v %#v", client.Token(), client.Token())) {
				t.Error("a credential is in the log or in prints")
			}
		})
	}
}

// That of another namespace is the confused deputy of External Secrets Operator (GHSA-fcxq-v2r3-cc8h, GHSA-77v3-r3jw-j2v2): the operator may
// make tokens and read Secrets in both namespaces, and each VaultAuth reaches those of its own only.
func TestEachMethodIsRefusedWithItsReason(t *testing.T) {
	s := realLogins(t)
	for name, test := range map[string]struct {
		namespace string
		spec      v1alpha1.VaultAuthSpec
		want      secrets.Reason
		words     []string
	}{
		"kubernetes: a role that is not there":                {"shop", byKubernetes("none", "app"), secrets.LoginFailed, []string{`role "none"`, "service account shop/app", "audiences vault"}},
		"kubernetes: a service account of another name":       {"shop", byKubernetes("shop", "other"), secrets.LoginFailed, []string{`role "shop"`, "service account shop/other", "audiences vault"}},
		"kubernetes: a token for another audience":            {"shop", byKubernetes("shop", "app", "elsewhere", "nowhere"), secrets.LoginFailed, []string{`role "shop"`, "service account shop/app", "audiences elsewhere, nowhere"}},
		"kubernetes: a role that is for another audience":     {"shop", byKubernetes("elsewhere", "app"), secrets.LoginFailed, []string{`role "elsewhere"`, "service account shop/app", "audiences vault"}},
		"kubernetes: a role of another namespace":             {"web", byKubernetes("shop", "app"), secrets.LoginFailed, []string{`role "shop"`, "service account web/app", "audiences vault"}},
		"kubernetes: a role of this namespace, in another":    {"shop", byKubernetes("web", "app"), secrets.LoginFailed, []string{`role "web"`, "service account shop/app"}},
		"kubernetes: a service account that is not there":     {"shop", byKubernetes("shop", "gone"), secrets.MissingReference, []string{"service account shop/gone", "create it"}},
		"kubernetes: a service account of another namespace":  {"web", byKubernetes("shop", "other"), secrets.MissingReference, []string{"service account web/other"}},
		"kubernetes: a path as the name of a service account": {"web", byKubernetes("shop", "../../shop/serviceaccounts/app"), secrets.ClusterFailed, nil},
		"kubernetes: a method that is not mounted":            {"shop", mounted("nowhere", byKubernetes("shop", "app")), secrets.LoginFailed, []string{"is the method mounted", "auth/nowhere/login"}},
		"jwt: a role that is not there":                       {"shop", byJWT("none", "app"), secrets.LoginFailed, []string{`role "none"`, "service account shop/app", "audiences vault"}},
		"jwt: a service account of another name":              {"shop", byJWT("shop", "other"), secrets.LoginFailed, []string{`role "shop"`, "service account shop/other", "audiences vault"}},
		"jwt: a token for another audience":                   {"shop", byJWT("shop", "app", "elsewhere"), secrets.LoginFailed, []string{`role "shop"`, "service account shop/app", "audiences elsewhere"}},
		"jwt: a role of another namespace":                    {"web", byJWT("shop", "app"), secrets.LoginFailed, []string{`role "shop"`, "service account web/app"}},
		"jwt: a service account that is not there":            {"shop", byJWT("shop", "gone"), secrets.MissingReference, []string{"service account shop/gone"}},
		"jwt of a Secret: for another audience":               {"shop", byKeptJWT("kept", "jwt-for-others"), secrets.LoginFailed, []string{`role "kept"`, "key token of Secret shop/jwt-for-others"}},
		"jwt of a Secret: for another role":                   {"shop", byKeptJWT("shop", "jwt"), secrets.LoginFailed, []string{`role "shop"`, "Secret shop/jwt"}},
		"jwt of a Secret: that is none":                       {"shop", byKeptJWT("kept", "jwt-nonsense"), secrets.LoginFailed, []string{`role "kept"`, "Secret shop/jwt-nonsense"}},
		"jwt of a Secret: that lacks the key":                 {"shop", byKeptJWT("kept", "lacking"), secrets.MissingReference, []string{"Secret shop/lacking", `"token"`}},
		"jwt of a Secret: that is not there":                  {"shop", byKeptJWT("kept", "gone"), secrets.MissingReference, []string{"Secret shop/gone", "create it"}},
		"jwt of a Secret: of another namespace":               {"web", byKeptJWT("kept", "jwt"), secrets.MissingReference, []string{"Secret web/jwt"}},
		"appRole: a secret id that was destroyed":             {"shop", byAppRole("approle-destroyed"), secrets.LoginFailed, []string{logins.roleID, "key secretID of Secret shop/approle-destroyed"}},
		"appRole: a secret id of another role":                {"shop", byAppRole("approle-of-others"), secrets.LoginFailed, []string{logins.roleID, "Secret shop/approle-of-others"}},
		"appRole: a Secret that lacks the key":                {"shop", byAppRole("lacking"), secrets.MissingReference, []string{"Secret shop/lacking", `"secretID"`}},
		"appRole: a Secret that is not there":                 {"shop", byAppRole("gone"), secrets.MissingReference, []string{"Secret shop/gone"}},
		"appRole: a Secret of another namespace":              {"web", byAppRole("approle"), secrets.MissingReference, []string{"Secret web/approle"}},
		"cert: a role that is not there":                      {"shop", byCert("none", "cert"), secrets.LoginFailed, []string{`role "none"`, "Secret shop/cert"}},
		"cert: of another authority":                          {"shop", byCert("shop", "cert-foreign"), secrets.LoginFailed, []string{`role "shop"`, "Secret shop/cert-foreign"}},
		"cert: for another name":                              {"shop", byCert("shop", "cert-of-others"), secrets.LoginFailed, []string{`role "shop"`, "Secret shop/cert-of-others"}},
		"cert: with the key of another":                       {"shop", byCert("shop", "cert-of-another-key"), secrets.Misconfigured, []string{"Secret shop/cert-of-another-key", "no pair"}},
		"cert: without a key":                                 {"shop", byCert("shop", "cert-without-key"), secrets.MissingReference, []string{"Secret shop/cert-without-key", `"tls.key"`}},
		"cert: a Secret that is not there":                    {"shop", byCert("shop", "gone"), secrets.MissingReference, []string{"Secret shop/gone"}},
		"cert: a Secret of another namespace":                 {"web", byCert("shop", "cert"), secrets.MissingReference, []string{"Secret web/cert"}},
	} {
		t.Run(name, func(t *testing.T) {
			pool, heard, log := loginPool(t)
			client, err := pool.Client(t.Context(), connectionTo(s.Address(), s.CA()), authIn(test.namespace, test.spec))
			if got := secrets.ReasonOf(err); got != test.want {
				t.Fatalf("reason %q, want %q: %v", got, test.want, err)
			}
			if client.Token().Value.Len() != 0 {
				t.Error("there is a token, though the login failed")
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q lacks %q", err, word)
				}
			}
			failed := err.(*secrets.Error)
			for _, print := range []string{err.Error(), fmt.Sprintf("%+v", *failed), fmt.Sprintf("%#v", *failed), log.String()} {
				if heard.leaked(print) {
					t.Errorf("a credential in %q", print)
				}
			}
			for _, asked := range heard.asked {
				if !strings.Contains(asked, " of "+test.namespace+"/") {
					t.Errorf("a VaultAuth of %s has the cluster asked for %s", test.namespace, asked)
				}
			}
		})
	}
}

func mounted(at string, spec v1alpha1.VaultAuthSpec) v1alpha1.VaultAuthSpec {
	spec.Mount = at
	return spec
}

func TestNoGoroutineOutlivesThePool(t *testing.T) {
	s := realLogins(t)
	front, err := vaultfront.New(t.TempDir(), s.Address(), s.CA())
	must(t, err)
	t.Cleanup(func() { _ = front.Close() })
	front.Fail(vaultfront.Fault{Path: "auth/", Do: vaultfront.Hang(nil)})
	credentials := held{"shop/app/secretID": real.secretID}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		value, err := logins.operator.SecretKey(t.Context(), "shop", "cert", key)
		must(t, err)
		credentials["shop/cert/"+key] = string(value.Reveal())
	}
	live := func() {
		pool := NewPool(Options{Cluster: credentials})
		conn, stuck := connectionTo(s.Address(), s.CA()), connectionTo(front.Address(), front.CA())
		stuck.Name = "stuck"
		shared, err := pool.Client(t.Context(), conn, appRole(real.roleID))
		must(t, err)
		read := readShop
		read.Shared = true // which has a sweeper wait for its end
		_, err = shared.Do(t.Context(), read)
		must(t, err)
		_, err = pool.Client(t.Context(), conn, authIn("shop", byCert("shop", "cert")))
		must(t, err)
		private, err := pool.Private(t.Context(), conn, appRole(real.roleID))
		must(t, err)
		hanging, ended := appRole(real.roleID), make(chan error)
		hanging.Name, hanging.Spec.Connection = "hanging", "stuck"
		front.Forget()
		go func() {
			_, err := pool.Client(context.Background(), stuck, hanging)
			ended <- err
		}()
		clustertest.Until(t, "a login hanging", func() bool { return front.Count(http.MethodPost, "auth/") > 0 })
		pool.Close(t.Context())
		if err := <-ended; err == nil {
			t.Error("a login that hung at the end went well")
		}
		if _, err := private.Do(t.Context(), readShop); err != nil {
			t.Errorf("the token of a private client ended with the Pool: %v", err)
		}
		private.conn.transport.CloseIdleConnections()
	}
	live() // what is made once is there now
	before, steady := 0, 0
	clustertest.Until(t, "goroutines of other tests ending", func() bool {
		now := runtime.NumGoroutine()
		if now != before {
			before, steady = now, 0
		}
		steady++
		return steady > 20
	})
	for range 10 {
		live()
	}
	clustertest.Eventually(t, "no more goroutines than before", func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines after ten Pools, %d before", now, before)
		}
		return nil
	})
}
