package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/leases"
	"github.com/portcullis-dev/portcullis/secrets/restart"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/vault"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// bench is a real API server and a real Vault, in which the namespace shop logs in by an AppRole.
type bench struct {
	t      testing.TB
	vault  *vaultserver.Server
	client dynamic.Interface
	kube   kubernetes.Interface
	judge  *judge
	hasher *secrets.Hasher
	log    *slog.Logger
}

const everything = `path "*" { capabilities = ["create", "read", "update", "delete", "list"] }`

func newBench(t testing.TB) *bench {
	t.Helper()
	control, _, _ := clustertest.Start(t, nil, v1alpha1.Manifest)
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	clustertest.Serving(t, client, v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes, v1alpha1.VaultLeases)
	b := &bench{
		t: t, vault: server, client: client, kube: kube, judge: &judge{bundle: "1"},
		hasher: secrets.NewHasher(secrets.ValueOf(strings.Repeat("k", secrets.HashKeySize))), log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if testing.Verbose() {
		b.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	b.setUp()
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) setUp() {
	ctx := b.t.Context()
	for _, namespace := range []string{"shop", "portcullis-system"} {
		_, err := b.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		b.must(err)
	}
	b.must(b.vault.Policy(ctx, "shop", everything))
	b.must(b.vault.EnableAuth(ctx, "approle", "approle"))
	b.write("auth/approle/role/shop", map[string]any{"token_policies": "shop", "token_ttl": "20s", "token_max_ttl": "1h"})
	id := b.read("auth/approle/role/shop/role-id", "role_id")
	secretID := b.write("auth/approle/role/shop/secret-id", map[string]any{})["secret_id"].(string)
	_, err := b.kube.CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login"}, Data: map[string][]byte{"secretID": []byte(secretID)}}, metav1.CreateOptions{})
	b.must(err)
	b.must(b.vault.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, ""))
	b.must(b.vault.Mount(ctx, "leased", "leased-kv", nil, ""))
	b.create(&v1alpha1.VaultConnection{ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1alpha1.VaultConnectionSpec{
		Address: b.vault.Address(), CABundle: string(b.vault.CA()), AllowedNamespaces: []string{"shop"}, RequestsPerSecond: 1000, Burst: 1000,
	}})
	b.create(&v1alpha1.VaultAuth{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop"}, Spec: v1alpha1.VaultAuthSpec{
		Connection: "main", AppRole: &v1alpha1.AppRoleAuth{RoleID: id, SecretRef: v1alpha1.SecretKeyRef{Name: "login"}},
	}})
}

func (b *bench) write(path string, data map[string]any) map[string]any {
	b.t.Helper()
	answer, err := b.vault.Write(b.t.Context(), path, data)
	b.must(err)
	if answer == nil {
		return nil
	}
	return answer.Data
}

func (b *bench) read(path, key string) string {
	b.t.Helper()
	answer, err := b.vault.Read(b.t.Context(), path)
	b.must(err)
	text, _ := answer.Data[key].(string)
	return text
}

func (b *bench) create(object any) {
	b.t.Helper()
	var err error
	switch o := object.(type) {
	case *v1alpha1.VaultConnection:
		encoded, _ := v1alpha1.Encode(o)
		_, err = b.client.Resource(v1alpha1.VaultConnections).Create(b.t.Context(), encoded, metav1.CreateOptions{})
	case *v1alpha1.VaultAuth:
		encoded, _ := v1alpha1.Encode(o)
		_, err = b.client.Resource(v1alpha1.VaultAuths).Namespace(o.Namespace).Create(b.t.Context(), encoded, metav1.CreateOptions{})
	case *v1alpha1.VaultSecret:
		encoded, _ := v1alpha1.Encode(o)
		_, err = b.client.Resource(v1alpha1.VaultSecrets).Namespace(o.Namespace).Create(b.t.Context(), encoded, metav1.CreateOptions{})
	}
	b.must(err)
}

// process is a controller as the program runs it.
type process struct {
	c    *Controller
	pool *vault.Pool
	stop func()
}

// start starts one; stop ends it as a signal does.
func (b *bench) start(identity string, elected bool) *process {
	b.t.Helper()
	pool := vault.NewPool(vault.Options{Cluster: vault.NewCluster(b.kube), Log: b.log})
	writer := destination.New(b.kube, b.hasher)
	c, err := New(Options{
		Client: b.client, Kubernetes: b.kube, Vaults: Pool(pool), Judge: b.judge, Hasher: b.hasher, KMS: plainSealer{}, Leases: leases.NewStore(b.client, "portcullis-system"),
		Writer: writer, Restarter: restart.New(b.kube, clock.RealClock{}, b.hasher), Namespace: "portcullis-system", Identity: identity, LeaseDuration: 2 * time.Second, Log: b.log,
		Recorder: record.NewFakeRecorder(100_000),
		NewWatcher: func(changed func(destination.Owner)) Watcher {
			watcher := destination.NewWatcher(b.kube, 100, changed)
			writer.Watcher = watcher
			return watcher
		},
	})
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if elected {
			_ = c.Run(ctx)
		} else {
			c.Lead(ctx)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	b.t.Cleanup(stop)
	return &process{c, pool, stop}
}

func (b *bench) get(name string) (*v1alpha1.VaultSecret, error) {
	object, err := b.client.Resource(v1alpha1.VaultSecrets).Namespace("shop").Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return v1alpha1.Decode[v1alpha1.VaultSecret](object)
}

// becomes waits until an object is as wanted.
func (b *bench) becomes(name, what string, wanted func(*v1alpha1.VaultSecret) bool) *v1alpha1.VaultSecret {
	b.t.Helper()
	var last *v1alpha1.VaultSecret
	clustertest.Eventually(b.t, name+" "+what, func() error {
		secret, err := b.get(name)
		if err != nil {
			return err
		}
		if last = secret; !wanted(secret) {
			return fmt.Errorf("it is %+v, lease %+v", secret.Status.Conditions, secret.Status.Lease)
		}
		return nil
	})
	return last
}

func isFor(reason secrets.Reason) func(*v1alpha1.VaultSecret) bool {
	return func(secret *v1alpha1.VaultSecret) bool {
		found := condition(secret.Status.Conditions, v1alpha1.ConditionSynced)
		if reason == "" {
			return found != nil && found.Status == metav1.ConditionTrue && secret.Status.ObservedGeneration == secret.Generation
		}
		return found != nil && found.Status == metav1.ConditionFalse && found.Reason == string(reason)
	}
}

func (b *bench) held(name string) map[string]string {
	b.t.Helper()
	secret, err := b.kube.CoreV1().Secrets("shop").Get(b.t.Context(), name, metav1.GetOptions{})
	b.must(err)
	held := map[string]string{}
	for key, value := range secret.Data {
		held[key] = string(value)
	}
	return held
}

func realSecret(name string, source v1alpha1.Source) *v1alpha1.VaultSecret {
	return &v1alpha1.VaultSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       v1alpha1.VaultSecretSpec{Auth: "shop", Source: source, Refresh: v1alpha1.Refresh{Interval: &metav1.Duration{Duration: 10 * time.Second}}},
	}
}

func (b *bench) annotate(name, text string) {
	b.t.Helper()
	_, err := b.client.Resource(v1alpha1.VaultSecrets).Namespace("shop").Patch(b.t.Context(), name, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.SyncAnnotation, text), metav1.PatchOptions{})
	b.must(err)
}

func TestARealVaultsEnginesEndToEnd(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.must(b.vault.WriteKV2(ctx, "secret", "shop/a", map[string]any{"password": "one"}))
	b.must(b.vault.Mount(ctx, "old", "kv", map[string]string{"version": "1"}, ""))
	b.write("old/shop/a", map[string]any{"password": "old"})
	b.write("leased/shop", map[string]any{"ttl": "1h", "password": "leased"})
	b.must(b.vault.Mount(ctx, "transit", "transit", nil, ""))
	b.write("transit/keys/sign", map[string]any{"type": "ecdsa-p256"})
	b.write("transit/keys/box", map[string]any{})
	ciphertext := b.write("transit/encrypt/box", map[string]any{"plaintext": "c2VjcmV0"})["ciphertext"].(string)
	b.must(b.vault.Mount(ctx, "pki", "pki", nil, "1h"))
	b.write("pki/root/generate/internal", map[string]any{"common_name": "root", "ttl": "1h"})
	b.write("pki/roles/shop", map[string]any{"allow_any_name": true, "max_ttl": "30m", "key_type": "ec", "key_bits": 256})
	b.write("auth/approle/role/other", map[string]any{"secret_id_ttl": "10m"})
	keys := realSecret("keys", v1alpha1.Source{Transit: &v1alpha1.TransitSource{Key: "sign", PublicKeys: true}})
	keys.Spec.Destination.Kind = v1alpha1.KindConfigMap
	tls := realSecret("tls", v1alpha1.Source{PKI: &v1alpha1.PKISource{Mount: "pki", Role: "shop", CommonName: "shop.test", TTL: &metav1.Duration{Duration: 10 * time.Minute}}})
	tls.Spec.Destination.Type = "kubernetes.io/tls"
	for _, secret := range []*v1alpha1.VaultSecret{
		realSecret("kv2", v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/a"}}),
		realSecret("kv1", v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "old", Path: "shop/a", EngineVersion: 1}}),
		realSecret("dynamic", v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "leased", Path: "shop"}}),
		realSecret("decrypted", v1alpha1.Source{Transit: &v1alpha1.TransitSource{Key: "box", Ciphertexts: map[string]string{"plain": ciphertext}}}),
		realSecret("role", v1alpha1.Source{AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{Role: "other"}}),
		keys, tls,
	} {
		b.create(secret)
	}
	b.start("one", false)
	for _, name := range []string{"kv2", "kv1", "dynamic", "decrypted", "role", "keys", "tls"} {
		b.becomes(name, "is synced", isFor(""))
	}
	for name, want := range map[string]map[string]string{"kv2": {"password": "one"}, "kv1": {"password": "old"}, "decrypted": {"plain": "secret"}} {
		for key, value := range want {
			if got := b.held(name)[key]; got != value {
				t.Errorf("%s holds %q as %s, want %q", name, got, key, value)
			}
		}
	}
	if held := b.held("dynamic"); held["password"] != "leased" {
		t.Errorf("the dynamic secret has the keys %v", len(held))
	}
	if held := b.held("tls"); !strings.Contains(held["tls.crt"], "BEGIN CERTIFICATE") || held["tls.key"] == "" || held["ca.crt"] == "" {
		t.Error("the certificate is not whole")
	}
	if held := b.held("role"); held["role_id"] == "" || held["secret_id"] == "" {
		t.Error("the secret id is not whole")
	}
	// A new version comes by itself, and at once where somebody asks.
	b.must(b.vault.WriteKV2(ctx, "secret", "shop/a", map[string]any{"password": "two"}))
	b.annotate("kv2", "now")
	b.becomes("kv2", "has the new version", func(secret *v1alpha1.VaultSecret) bool { return secret.Status.Version == "2" })
	if got := b.held("kv2")["password"]; got != "two" {
		t.Errorf("it holds %q", got)
	}
	// Somebody changes what was written.
	secret, err := b.kube.CoreV1().Secrets("shop").Get(ctx, "kv2", metav1.GetOptions{})
	b.must(err)
	secret.Data["password"] = []byte("thief")
	_, err = b.kube.CoreV1().Secrets("shop").Update(ctx, secret, metav1.UpdateOptions{})
	b.must(err)
	clustertest.Until(t, "it is repaired", func() bool { return b.held("kv2")["password"] == "two" })
	// A new spec is applied.
	found, err := b.client.Resource(v1alpha1.VaultSecrets).Namespace("shop").Patch(ctx, "kv2", types.MergePatchType, []byte(`{"spec":{"destination":{"templates":{"url":"x:{{ .Data.password }}"}}}}`), metav1.PatchOptions{})
	b.must(err)
	b.becomes("kv2", "is of the new spec", func(secret *v1alpha1.VaultSecret) bool {
		return secret.Status.ObservedGeneration == found.GetGeneration()
	})
	clustertest.Until(t, "the template is applied", func() bool { return b.held("kv2")["url"] == "x:two" })
}

func TestLeasesOfThreeSecondsLiveOnOverStopsAndCrashes(t *testing.T) {
	b := newBench(t)
	b.write("leased/shop", map[string]any{"ttl": "3s", "password": "short"})
	b.create(realSecret("db", v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "leased", Path: "shop"}}))
	one := b.start("one", false)
	first := b.becomes("db", "is synced", isFor("")).Status.Lease.ID
	b.becomes("db", "is renewed", func(secret *v1alpha1.VaultSecret) bool { return secret.Status.Lease.Renewed >= 3 })
	for range 3 {
		one.stop() // as a crash: nothing of it is told to Vault or to the API server
		resumed := b.becomes("db", "is there", isFor("")).Status.Lease
		one = b.start("one", false)
		b.becomes("db", "is renewed after it was resumed", func(secret *v1alpha1.VaultSecret) bool {
			return secret.Status.Lease.Resumed > resumed.Resumed && secret.Status.Lease.Renewed >= resumed.Renewed+2
		})
	}
	if now := b.becomes("db", "is synced", isFor("")).Status.Lease.ID; now != first {
		t.Errorf("the lease is %s, want %s: it was lost", now, first)
	}
	// And deleted, it is revoked.
	b.must(b.client.Resource(v1alpha1.VaultSecrets).Namespace("shop").Delete(t.Context(), "db", metav1.DeleteOptions{}))
	clustertest.Eventually(t, "it is gone", func() error {
		if _, err := b.get("db"); !apierrors.IsNotFound(err) {
			return errors.New("it is there")
		}
		return nil
	})
	if _, err := b.vault.Write(t.Context(), "sys/leases/lookup", map[string]any{"lease_id": first}); err == nil {
		t.Error("the lease is still there after the deletion")
	}
	kept, err := leases.NewStore(b.client, "portcullis-system").List(t.Context())
	if err != nil || len(kept) != 0 {
		t.Errorf("%d VaultLeases are left: %v", len(kept), err)
	}
}

func TestOfTwoReplicasTheOtherGoesOnWithTheLease(t *testing.T) {
	b := newBench(t)
	b.write("leased/shop", map[string]any{"ttl": "20s", "password": "short"})
	b.create(realSecret("db", v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "leased", Path: "shop"}}))
	one := b.start("one", true)
	clustertest.Until(t, "one leads", one.c.Leads)
	first := b.becomes("db", "is synced", isFor("")).Status.Lease
	two := b.start("two", true)
	one.stop()
	clustertest.Until(t, "two leads", two.c.Leads)
	now := b.becomes("db", "is renewed by the other", func(secret *v1alpha1.VaultSecret) bool {
		return secret.Status.Lease.Resumed > 0 && secret.Status.Lease.Renewed > first.Renewed
	}).Status.Lease
	if now.ID != first.ID {
		t.Errorf("the lease is %s, want %s", now.ID, first.ID)
	}
}

func TestASealedVaultIsSaidToBeAndEverythingGoesOnWhenItIsUnsealed(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("s%02d", i)
		names = append(names, name)
		b.must(b.vault.WriteKV2(ctx, "secret", "shop/"+name, map[string]any{"password": "one"}))
		b.create(realSecret(name, v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/" + name}}))
	}
	b.start("one", false)
	for _, name := range names {
		b.becomes(name, "is synced", isFor(""))
	}
	b.must(b.vault.Seal(ctx))
	for _, name := range names {
		b.becomes(name, "says that Vault is sealed", isFor(secrets.Sealed))
		if b.held(name)["password"] != "one" {
			t.Errorf("%s lost its last good value", name)
		}
	}
	b.must(b.vault.Unseal(ctx))
	began := time.Now()
	for _, name := range names {
		b.becomes(name, "is synced again", isFor(""))
	}
	t.Logf("all %d were synced %s after the unseal", len(names), time.Since(began).Round(time.Millisecond))
}

func TestATokenThatSomebodyRevokedIsReplacedWithItsLease(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.write("leased/shop", map[string]any{"ttl": "6s", "password": "short"})
	b.must(b.vault.WriteKV2(ctx, "secret", "shop/a", map[string]any{"password": "one"}))
	b.create(realSecret("db", v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "leased", Path: "shop"}}))
	b.create(realSecret("a", v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/a"}}))
	b.start("one", false)
	first := b.becomes("db", "is synced", isFor("")).Status.Lease.ID
	b.becomes("a", "is synced", isFor(""))
	list, err := b.vault.Client().Logical().ListWithContext(ctx, "auth/token/accessors")
	b.must(err)
	root := b.read("auth/token/lookup-self", "accessor")
	for _, accessor := range list.Data["keys"].([]any) {
		if accessor != root {
			b.write("auth/token/revoke-accessor", map[string]any{"accessor": accessor})
		}
	}
	b.annotate("a", "again")
	b.becomes("a", "is read by a new token", func(secret *v1alpha1.VaultSecret) bool {
		return secret.Status.Requested == "again" && isFor("")(secret)
	})
	b.becomes("db", "has another lease", func(secret *v1alpha1.VaultSecret) bool { return isFor("")(secret) && secret.Status.Lease.ID != first })
}

func TestAChangeOfPolicyDeniesAndAllowsARealSync(t *testing.T) {
	b := newBench(t)
	b.must(b.vault.WriteKV2(t.Context(), "secret", "shop/a", map[string]any{"password": "one"}))
	b.create(realSecret("a", v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/a"}}))
	b.judge.set("1", func(*secrets.Sync) string { return "not yet" })
	one := b.start("one", false)
	b.becomes("a", "is denied", isFor(secrets.Denied))
	if _, err := b.kube.CoreV1().Secrets("shop").Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret is there: %v", err)
	}
	b.judge.set("2", nil)
	one.c.Requeue("bundles")
	b.becomes("a", "is synced", isFor(""))
	b.judge.set("3", func(*secrets.Sync) string { return "no more" })
	one.c.Requeue("bundles")
	denied := b.becomes("a", "is denied again", isFor(secrets.Denied))
	if !slices.ContainsFunc(denied.Status.Policies, func(one v1alpha1.PolicyStatement) bool { return one.Message == "no more" }) {
		t.Errorf("status.policies: %+v", denied.Status.Policies)
	}
}

func TestACertificateIsReplacedAheadOfItsEnd(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.must(b.vault.Mount(ctx, "pki", "pki", nil, "1h"))
	b.write("pki/root/generate/internal", map[string]any{"common_name": "root", "ttl": "1h"})
	b.write("pki/roles/shop", map[string]any{"allow_any_name": true, "max_ttl": "30m", "key_type": "ec", "key_bits": 256, "not_before_duration": "1s"})
	tls := realSecret("tls", v1alpha1.Source{PKI: &v1alpha1.PKISource{Mount: "pki", Role: "shop", CommonName: "shop.test", TTL: &metav1.Duration{Duration: 12 * time.Second}, RenewPercent: 40, RevokeOnDelete: true}})
	tls.Spec.Destination.Type = "kubernetes.io/tls"
	b.create(tls)
	one := b.start("one", false)
	first := b.becomes("tls", "is synced", isFor("")).Status
	// A restart issues none.
	one.stop()
	b.start("one", false)
	next := b.becomes("tls", "is replaced", func(secret *v1alpha1.VaultSecret) bool { return secret.Status.Version != first.Version }).Status
	if !next.Lease.Issued.Before(&first.Lease.Expires) {
		t.Errorf("it was replaced at %s, and ended at %s", next.Lease.Issued, first.Lease.Expires)
	}
	if percent := next.Lease.Issued.Sub(first.Lease.Issued.Time); percent < 3*time.Second {
		t.Errorf("it was replaced %s after it was issued: the restart did it", percent)
	}
}
