package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/programs"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// account is the service account of the program, as the API server knows it: it may do what the printed roles say, and nothing else.
const account = "system:serviceaccount:portcullis-system:portcullis-secrets"

// around is what an installation has beside the printed roles.
const around = `
apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: portcullis-secrets, namespace: portcullis-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reviewer, namespace: portcullis-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:auth-delegator'}
subjects: [{kind: ServiceAccount, name: reviewer, namespace: portcullis-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: portcullis-secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-secrets}
subjects: [{kind: ServiceAccount, name: portcullis-secrets, namespace: portcullis-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: portcullis-secrets, namespace: portcullis-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portcullis-secrets}
subjects: [{kind: ServiceAccount, name: portcullis-secrets, namespace: portcullis-system}]
`

// ownPaths permits what carries the namespace, and denies what is called forbidden.
var ownPaths = map[string]string{
	"bundle.yaml": `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: acme
serial: 1
policies: [{policy: secrets/own}]
`,
	"own/policy.rego": `# METADATA
# title: Own paths
# description: What carries the namespace is its own.
# custom:
#   severity: high
#   match: {syncs: {}}
#   remediation: Name a path of the namespace.
package portcullis.secrets.own

allow_sync contains "it is of the namespace" if input.namespace.labels.team == input.sync.object.namespace

deny contains "it is forbidden" if "forbidden" in input.sync.vault.segments
`,
}

// vaultPolicies are those of the roles: the one of the shop has no sys/leases/revoke but for its own leases.
var vaultPolicies = map[string]string{
	"shop": `
path "secret/data/shop/*" { capabilities = ["create", "read", "update"] }
path "secret/delete/shop/*" { capabilities = ["update"] }
path "secret/metadata/shop/*" { capabilities = ["read"] }
path "database/creds/shop" { capabilities = ["read"] }
path "pki/issue/shop" { capabilities = ["create", "update"] }
path "pki/revoke" { capabilities = ["create", "update"] }
path "auth/approle/role/shop/secret-id" { capabilities = ["create", "update"] }
path "auth/approle/role/shop/role-id" { capabilities = ["read"] }
path "auth/approle/role/shop/secret-id-accessor/destroy" { capabilities = ["create", "update"] }
path "sys/leases/*" { capabilities = ["update"] }`,
	"portcullis-secrets": `
path "transit/encrypt/leases" { capabilities = ["update"] }
path "transit/decrypt/leases" { capabilities = ["update"] }`,
}

// scene is a real API server and a real Vault, and replicas of the program between them.
type scene struct {
	dir     string
	bundle  string
	control *cluster.Cluster
	creator *cluster.Creator
	kube    kubernetes.Interface
	api     dynamic.Interface
	vault   *vaultserver.Server
	front   *vaultfront.Front
	applied []string // of shop, for its Role
	probes  map[string]string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server and a Vault")
	}
	s := &scene{dir: t.TempDir(), bundle: t.TempDir(), probes: map[string]string{}}
	var err error
	s.vault, err = vaultserver.Start(t.Context(), vaultserver.Options{Dir: filepath.Join(s.dir, "vault")})
	must(t, err)
	t.Cleanup(func() { _ = s.vault.Stop() })
	s.front, err = vaultfront.New(filepath.Join(s.dir, "front"), s.vault.Address(), s.vault.CA())
	must(t, err)
	t.Cleanup(func() { _ = s.front.Close() })
	users := []cluster.User{{Name: account, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:portcullis-system"}}}
	s.control, err = cluster.Start(t.Context(), cluster.Options{Dir: filepath.Join(s.dir, "cluster"), WithoutControllers: true, Users: users})
	must(t, err)
	t.Cleanup(func() { _ = s.control.Stop() })
	config, err := s.control.Config(cluster.Admin)
	must(t, err)
	s.creator, err = cluster.NewCreator(config)
	must(t, err)
	s.kube, err = kubernetes.NewForConfig(config)
	must(t, err)
	s.api, err = dynamic.NewForConfig(config)
	must(t, err)
	for _, manifest := range [][]byte{v1alpha1.Manifest, runtimev1alpha1.Manifest, []byte(around), printed(t, "roles")} {
		s.create(t, string(manifest))
	}
	clustertest.Serving(t, s.api, v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes, v1alpha1.VaultLeases, runtimev1alpha1.Quarantines)
	s.creator, err = cluster.NewCreator(config) // one that has seen these kinds
	must(t, err)
	for name, content := range ownPaths {
		file := filepath.Join(s.bundle, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(content), 0o600))
	}
	s.prepareVault(t)
	ca, err := json.Marshal(string(s.front.CA())) // JSON is YAML
	must(t, err)
	s.create(t, `
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultConnection
metadata: {name: main}
spec:
  address: `+s.front.Address()+`
  caBundle: `+string(ca)+`
  allowedNamespaces: [shop]
  leaseEncryption: {transit: {key: leases, auth: {role: portcullis-secrets, serviceAccount: portcullis-secrets}}}
`)
	s.apply(t, `
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultAuth
metadata: {name: vault, namespace: shop}
spec:
  connection: main
  kubernetes: {role: shop, serviceAccount: vault}
`)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// printed is what the program prints.
func printed(t *testing.T, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("portcullis-secrets %s: exit %d: %s", strings.Join(args, " "), code, stderr.String())
	}
	return stdout.Bytes()
}

func (s *scene) prepareVault(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	must(t, s.vault.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, ""))
	must(t, s.vault.Mount(ctx, "database", "leased-kv", nil, ""))
	must(t, s.vault.Mount(ctx, "transit", "transit", nil, ""))
	must(t, s.vault.Mount(ctx, "pki", "pki", nil, "720h"))
	must(t, s.vault.EnableAuth(ctx, "approle", "approle"))
	must(t, s.vault.EnableAuth(ctx, "kubernetes", "kubernetes"))
	for path, data := range map[string]map[string]any{
		"transit/keys/leases":        {},
		"pki/root/generate/internal": {"common_name": "Test", "ttl": "700h"},
		"pki/roles/shop":             {"allow_any_name": true, "max_ttl": "24h", "key_type": "ec", "key_bits": 256},
		"auth/approle/role/shop":     {"secret_id_ttl": "1h", "token_policies": []string{"default"}},
	} {
		_, err := s.vault.Write(ctx, path, data)
		must(t, err)
	}
	for name, rules := range vaultPolicies {
		must(t, s.vault.Policy(ctx, name, rules))
	}
	seconds := int64(3600)
	reviewer, err := s.kube.CoreV1().ServiceAccounts("portcullis-system").CreateToken(ctx, "reviewer",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	must(t, err)
	authority, err := os.ReadFile(s.control.CAFile)
	must(t, err)
	must(t, s.vault.ConfigureKubernetesAuth(ctx, "kubernetes", s.control.URL, authority, reviewer.Status.Token))
	for role, bound := range map[string][2]string{"shop": {"shop", "vault"}, "portcullis-secrets": {"portcullis-system", "portcullis-secrets"}} {
		_, err := s.vault.Write(ctx, "auth/kubernetes/role/"+role, map[string]any{
			"bound_service_account_namespaces": []string{bound[0]}, "bound_service_account_names": []string{bound[1]}, "audience": "vault",
			"token_policies": []string{role}, "token_ttl": "1h",
		})
		must(t, err)
	}
}

func (s *scene) create(t *testing.T, manifests string) {
	t.Helper()
	_, err := s.creator.Create(t.Context(), []byte(manifests), metav1.CreateOptions{})
	must(t, err)
}

// apply creates objects of the shop, after the Role that they need.
func (s *scene) apply(t *testing.T, manifests string) {
	t.Helper()
	s.applied = append(s.applied, manifests)
	file := filepath.Join(s.dir, "shop.yaml")
	must(t, os.WriteFile(file, []byte(strings.Join(s.applied, "\n---\n")), 0o600))
	for _, kind := range []schema.GroupVersionResource{
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	} {
		err := s.api.Resource(kind).Namespace("shop").Delete(t.Context(), v1alpha1.RoleName, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	s.create(t, string(printed(t, "roles", "--namespace=shop", "--filename="+file)))
	s.create(t, manifests)
}

// replica is a program that runs, until the test ends.
func (s *scene) replica(t *testing.T, name string, environment ...string) *programs.Secrets {
	t.Helper()
	own, err := os.Executable()
	must(t, err)
	kubeconfig, err := s.control.Kubeconfig(account)
	must(t, err)
	port, err := cluster.FreePort()
	must(t, err)
	s.probes[name] = fmt.Sprintf("127.0.0.1:%d", port)
	started, err := programs.StartSecrets(t.Context(), programs.SecretsOptions{
		Path: own, Env: append([]string{asProgram + "=1"}, environment...), Name: name, Bundle: s.bundle, Probes: s.probes[name], Kubeconfig: kubeconfig, Namespace: "portcullis-system",
		LogFile: s.log(name), Args: []string{"--lease-duration=3s", "--log-level=debug", "--journal=" + s.journal(name)},
	})
	must(t, err)
	t.Cleanup(started.Kill)
	return started
}

func (s *scene) log(name string) string { return filepath.Join(s.dir, name+".log") }

func (s *scene) journal(name string) string { return filepath.Join(s.dir, name+"-journal") }

// leads waits until a replica leads.
func leads(t *testing.T, replica *programs.Secrets) {
	t.Helper()
	clustertest.Eventually(t, "leading", func() error {
		text, err := replica.Metrics(t.Context())
		if err == nil && !strings.Contains(text, "\nportcullis_secrets_leader 1\n") {
			err = fmt.Errorf("it does not")
		}
		return err
	})
}

func read[T v1alpha1.Object](ctx context.Context, s *scene, resource schema.GroupVersionResource, name string) (*T, error) {
	object, err := s.api.Resource(resource).Namespace("shop").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return v1alpha1.Decode[T](object)
}

// reason is that of the condition Synced, "" where it is true.
func reason(conditions []metav1.Condition, generation, observed int64) string {
	index := slices.IndexFunc(conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionSynced })
	switch {
	case index < 0:
		return "unknown"
	case conditions[index].Status == metav1.ConditionTrue && generation == observed:
		return ""
	}
	return conditions[index].Reason
}

// secret waits until a VaultSecret has a reason, "" for Synced.
func (s *scene) secret(t *testing.T, name, want string) *v1alpha1.VaultSecret {
	t.Helper()
	var found *v1alpha1.VaultSecret
	clustertest.Eventually(t, "VaultSecret "+name+" "+want, func() (err error) {
		if found, err = read[v1alpha1.VaultSecret](t.Context(), s, v1alpha1.VaultSecrets, name); err != nil {
			return err
		}
		if got := reason(found.Status.Conditions, found.Generation, found.Status.ObservedGeneration); got != want {
			return fmt.Errorf("its reason is %q: %+v", got, found.Status.Conditions)
		}
		return nil
	})
	return found
}

// push waits until a VaultPush has a reason, "" for Synced.
func (s *scene) push(t *testing.T, name, want string) *v1alpha1.VaultPush {
	t.Helper()
	var found *v1alpha1.VaultPush
	clustertest.Eventually(t, "VaultPush "+name+" "+want, func() (err error) {
		if found, err = read[v1alpha1.VaultPush](t.Context(), s, v1alpha1.VaultPushes, name); err != nil {
			return err
		}
		if got := reason(found.Status.Conditions, found.Generation, found.Status.ObservedGeneration); got != want {
			return fmt.Errorf("its reason is %q: %+v", got, found.Status.Conditions)
		}
		return nil
	})
	return found
}

// annotate asks for a sync of an object, or a push.
func (s *scene) annotate(t *testing.T, resource schema.GroupVersionResource, name string) {
	t.Helper()
	s.patch(t, resource, name, `{"metadata":{"annotations":{"`+v1alpha1.SyncAnnotation+`":"`+time.Now().Format(time.RFC3339Nano)+`"}}}`)
}

func (s *scene) patch(t *testing.T, resource schema.GroupVersionResource, name, patch string) {
	t.Helper()
	_, err := s.api.Resource(resource).Namespace("shop").Patch(t.Context(), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	must(t, err)
}

// held is a Secret of the shop.
func (s *scene) held(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	secret, err := s.kube.CoreV1().Secrets("shop").Get(t.Context(), name, metav1.GetOptions{})
	must(t, err)
	return secret
}

// kv is what Vault has at a path of the shop, and its version; nil for nothing.
func (s *scene) kv(t *testing.T, path string) (map[string]any, int64) {
	t.Helper()
	answer, err := s.vault.Read(t.Context(), "secret/data/shop/"+path)
	must(t, err)
	if answer == nil {
		return nil, 0
	}
	data, _ := answer.Data["data"].(map[string]any)
	metadata, _ := answer.Data["metadata"].(map[string]any)
	number, ok := metadata["version"].(json.Number)
	if !ok {
		t.Fatalf("Vault gives no version: %v", metadata)
	}
	version, err := number.Int64()
	must(t, err)
	return data, version
}

// lives says whether Vault knows a lease.
func (s *scene) lives(t *testing.T, lease string) bool {
	t.Helper()
	_, err := s.vault.Write(t.Context(), "sys/leases/lookup", map[string]any{"lease_id": lease})
	if _, answered := errors.AsType[*api.ResponseError](err); err != nil && !answered {
		t.Fatal(err)
	}
	return err == nil
}
