package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets"
	vaultapi "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// vaultScene is what portcullis-secrets does for the good deployment, with a real Vault.
type vaultScene struct {
	*incident
	server *vaultserver.Server
	keeper *programs.Secrets
	lease  string // of the credentials that the deployment has first
}

// play shows a secret synced, rotated, refused to somebody else, and Vault sealed and unsealed.
func (v *vaultScene) play(ctx context.Context, policies policies) error {
	for _, step := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"starting Vault", v.startVault},
		{"defining VaultSecrets", v.define},
		{"preparing the cluster", v.prepare},
		{"starting portcullis-secrets", func(ctx context.Context) error { return v.startKeeper(ctx, policies) }},
		{"syncing", v.showSynced},
		{"rotating", v.showRotation},
		{"asking for what is somebody else's", v.showDenied},
		{"sealing Vault", v.showSealed},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return nil
}

func (v *vaultScene) startVault(ctx context.Context) (err error) {
	if v.server, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(v.dir, "vault")}); err != nil {
		return err
	}
	health, err := v.server.Client().Sys().HealthWithContext(ctx)
	if err != nil {
		return err
	}
	v.say("\nSECRETS\nvault: real (%s, unsealed, at %s)", health.Version, v.server.Address())
	for _, mount := range []struct {
		path, engine string
		options      map[string]string
	}{{"secret", "kv", map[string]string{"version": "2"}}, {"database", "leased-kv", nil}, {"transit", "transit", nil}} {
		if err := v.server.Mount(ctx, mount.path, mount.engine, mount.options, ""); err != nil {
			return err
		}
	}
	for _, write := range []struct {
		path string
		data map[string]any
	}{
		{"secret/data/shop/api", map[string]any{"data": map[string]any{"key": "first-of-two"}}},
		{"database/creds/shop", map[string]any{"username": "v-shop-1", "password": "made-for-the-shop", "ttl": "1h"}}, // what stands for a database
		{"transit/keys/leases", map[string]any{}},
	} {
		if _, err := v.server.Write(ctx, write.path, write.data); err != nil {
			return err
		}
	}
	// The role of images is wider than it should be: Vault itself would give it the shop's secret.
	for name, rules := range map[string]string{
		"shop":               `path "secret/data/shop/*" { capabilities = ["read"] } path "database/creds/shop" { capabilities = ["read"] } path "sys/leases/*" { capabilities = ["update"] }`,
		"images":             `path "secret/data/*" { capabilities = ["read"] }`,
		"portcullis-secrets": `path "transit/encrypt/leases" { capabilities = ["update"] } path "transit/decrypt/leases" { capabilities = ["update"] }`,
	} {
		if err := v.server.Policy(ctx, name, rules); err != nil {
			return err
		}
	}
	return nil
}

func (v *vaultScene) define(ctx context.Context) error {
	for _, manifest := range [][]byte{vaultapi.Manifest, []byte("{apiVersion: v1, kind: ServiceAccount, metadata: {name: portcullis-secrets, namespace: portcullis-system}}")} {
		if _, err := v.creator.Create(ctx, manifest, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// prepare has Vault ask the API server whose tokens are what, and creates the objects.
func (v *vaultScene) prepare(ctx context.Context) error {
	text, err := manifests.ReadFile("manifests/vault.yaml")
	if err != nil {
		return err
	}
	ca, err := json.Marshal(string(v.server.CA())) // JSON is YAML
	if err != nil {
		return err
	}
	filled := strings.NewReplacer("address: ADDRESS", "address: "+v.server.Address(), "caBundle: CA", "caBundle: "+string(ca)).Replace(string(text))
	// A creator knows the kinds that there were when it was made; those that are new are served a moment later.
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := v.objects.Resource(vaultapi.VaultLeases).List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server to serve VaultLeases: %w", err)
	}
	if v.creator, err = cluster.NewCreator(v.config); err != nil {
		return err
	}
	if _, err := v.creator.Create(ctx, []byte(filled), metav1.CreateOptions{}); err != nil {
		return err
	}
	hour := int64(3600)
	reviewer, err := v.client.CoreV1().ServiceAccounts("portcullis-system").CreateToken(ctx, "vault-reviewer",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(v.control.CAFile)
	if err != nil {
		return err
	}
	if err := v.server.EnableAuth(ctx, "kubernetes", "kubernetes"); err != nil {
		return err
	}
	if err := v.server.ConfigureKubernetesAuth(ctx, "kubernetes", v.control.URL, authority, reviewer.Status.Token); err != nil {
		return err
	}
	for role, account := range map[string][2]string{"shop": {"shop", "vault"}, "images": {"images", "vault"}, "portcullis-secrets": {"portcullis-system", "portcullis-secrets"}} {
		_, err := v.server.Write(ctx, "auth/kubernetes/role/"+role, map[string]any{
			"bound_service_account_namespaces": []string{account[0]}, "bound_service_account_names": []string{account[1]}, "audience": "vault",
			"token_policies": []string{role}, "token_ttl": "1h",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *vaultScene) startKeeper(ctx context.Context, policies policies) error {
	port, err := cluster.FreePort()
	if err != nil {
		return err
	}
	options := programs.SecretsOptions{
		Dir: v.dir, Name: "portcullis-secrets", Bundle: policies.bundle, Namespace: "portcullis-system", Probes: fmt.Sprintf("127.0.0.1:%d", port),
		LogFile: filepath.Join(v.dir, "secrets.log"),
	}
	if options.Kubeconfig, err = v.control.Kubeconfig(cluster.Admin); err != nil {
		return err
	}
	v.keeper, err = programs.StartSecrets(ctx, options)
	return err
}

func (v *vaultScene) stop() error {
	var err error
	if v.keeper != nil {
		err = v.keeper.Stop()
	}
	if v.server != nil {
		err = errors.Join(err, v.server.Stop())
	}
	return err
}

// secretIs waits until a VaultSecret is as it should be.
func (v *vaultScene) secretIs(ctx context.Context, namespace, name, what string, is func(*vaultapi.VaultSecret) bool) (*vaultapi.VaultSecret, error) {
	var found *vaultapi.VaultSecret
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		object, err := v.objects.Resource(vaultapi.VaultSecrets).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if found, err = vaultapi.Decode[vaultapi.VaultSecret](object); err != nil {
			return false, err
		}
		return is(found), v.settle(ctx)
	})
	if err != nil && found != nil {
		raw, _ := json.Marshal(found.Status)
		err = fmt.Errorf("waiting for VaultSecret %s/%s to be %s: %w: its status is %s", namespace, name, what, err, raw)
	}
	return found, err
}

// settle plays the kubelet for the deployment's pods: those that are scheduled run, those that are deleted end.
func (v *vaultScene) settle(ctx context.Context) error {
	if v.node != sceneNode {
		return nil // the node does it itself
	}
	pods, err := v.client.CoreV1().Pods(sceneNamespace).List(ctx, metav1.ListOptions{LabelSelector: sceneLabel})
	if err != nil {
		return err
	}
	for n := range pods.Items {
		pod := &pods.Items[n]
		if pod.DeletionTimestamp != nil {
			err = v.end(ctx, pod)
		} else {
			err = v.run(ctx, pod)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// condition is one of an object's, with its reason and message; "" for none.
func condition(s *vaultapi.VaultSecret, kind string) (status, reason, message string) {
	for _, c := range s.Status.Conditions {
		if c.Type == kind {
			return string(c.Status), c.Reason, c.Message
		}
	}
	return "", "", ""
}

func synced(s *vaultapi.VaultSecret) bool {
	status, _, _ := condition(s, vaultapi.ConditionSynced)
	return status == "True"
}

func (v *vaultScene) showSynced(ctx context.Context) error {
	api, err := v.secretIs(ctx, sceneNamespace, "cart-api", "synced", synced)
	if err != nil {
		return err
	}
	database, err := v.secretIs(ctx, sceneNamespace, "cart-database", "synced, with a lease", func(s *vaultapi.VaultSecret) bool { return synced(s) && s.Status.Lease != nil })
	if err != nil {
		return err
	}
	if held, err := v.value(ctx, "cart-api", "key"); err != nil || held != "first-of-two" {
		return fmt.Errorf("reading Secret cart-api: it does not hold what Vault has: %w", err)
	}
	v.lease = database.Status.Lease.ID
	v.say("Synced: Secret shop/cart-api, version %s of secret/shop/api; Secret shop/cart-database, with a lease until %s", api.Status.Version, database.Status.Lease.Expires.UTC().Format(time.TimeOnly))
	for _, p := range api.Status.Policies {
		if p.Effect == "allow_sync" {
			v.say("  permitted by %s: %s", p.Policy, p.Message)
		}
	}
	return nil
}

func (v *vaultScene) value(ctx context.Context, name, key string) (string, error) {
	held, err := v.client.CoreV1().Secrets(sceneNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return string(held.Data[key]), nil
}

// portcullis runs the command line and gives what it prints.
func (v *vaultScene) portcullis(ctx context.Context, args ...string) (string, error) {
	kubeconfig, err := v.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return "", err
	}
	output, err := exec.CommandContext(ctx, filepath.Join(v.dir, "portcullis"), append(args, "--kubeconfig", kubeconfig)...).CombinedOutput()
	return string(output), err
}

func (v *vaultScene) showRotation(ctx context.Context) error {
	if err := v.settle(ctx); err != nil {
		return err
	}
	before, err := v.client.AppsV1().Deployments(sceneNamespace).Get(ctx, "cart", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := v.server.WriteKV2(ctx, "secret", "shop/api", map[string]any{"key": "second-of-two"}); err != nil {
		return err
	}
	began := time.Now()
	if output, err := v.portcullis(ctx, "secrets", "sync", "shop/cart-api", "--wait"); err != nil {
		return fmt.Errorf("portcullis secrets sync: %w\n%s", err, output)
	}
	rotated, err := v.secretIs(ctx, sceneNamespace, "cart-api", "of version 2, its workload restarted", func(s *vaultapi.VaultSecret) bool {
		return s.Status.Version == "2" && len(s.Status.Restarts) > 0 && s.Status.Restarts[0].State == "Restarted"
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	if held, err := v.value(ctx, "cart-api", "key"); err != nil || held != "second-of-two" {
		return fmt.Errorf("reading Secret cart-api: it does not hold what Vault has now: %w", err)
	}
	after, err := v.client.AppsV1().Deployments(sceneNamespace).Get(ctx, "cart", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if times := after.Generation - before.Generation; times != 1 {
		return fmt.Errorf("the deployment was changed %d times, want once", times)
	}
	v.say("Rotated in Vault: Secret shop/cart-api has version %s, and %s %s was restarted once, and is available (%d ms)", rotated.Status.Version, rotated.Status.Restarts[0].Kind, rotated.Status.Restarts[0].Name, took.Milliseconds())
	return nil
}

func (v *vaultScene) showDenied(ctx context.Context) error {
	text, err := manifests.ReadFile("manifests/foreign-secret.yaml")
	if err != nil {
		return err
	}
	if _, err := v.creator.Create(ctx, text, metav1.CreateOptions{}); err != nil {
		return err
	}
	denied, err := v.secretIs(ctx, "images", "borrowed", "denied", func(s *vaultapi.VaultSecret) bool {
		_, reason, _ := condition(s, vaultapi.ConditionSynced)
		return reason == string(secrets.Denied)
	})
	if err != nil {
		return err
	}
	if _, err := v.client.CoreV1().Secrets("images").Get(ctx, "borrowed", metav1.GetOptions{}); err == nil {
		return errors.New("looking for Secret images/borrowed: it exists though it is denied")
	}
	v.say("Denied across namespaces: images/borrowed asks for secret/shop/api, which Vault would give it")
	for _, p := range denied.Status.Policies {
		if p.Effect == "deny" {
			v.say("  %s: %s", p.Policy, p.Message)
		}
	}
	return nil
}

// showSealed seals Vault, has it asked, and unseals it: nothing is lost, and nothing is issued anew.
func (v *vaultScene) showSealed(ctx context.Context) error {
	if err := v.server.Seal(ctx); err != nil {
		return err
	}
	if output, err := v.portcullis(ctx, "secrets", "sync", "shop/cart-api"); err != nil {
		return fmt.Errorf("portcullis secrets sync: %w\n%s", err, output)
	}
	sealed, err := v.secretIs(ctx, sceneNamespace, "cart-api", "waiting for a sealed Vault", func(s *vaultapi.VaultSecret) bool {
		_, reason, _ := condition(s, vaultapi.ConditionSynced)
		return reason == string(secrets.Sealed)
	})
	if err != nil {
		return err
	}
	_, _, message := condition(sealed, vaultapi.ConditionSynced)
	if held, err := v.value(ctx, "cart-api", "key"); err != nil || held != "second-of-two" {
		return fmt.Errorf("reading Secret cart-api while Vault is sealed: the last value is not there: %w", err)
	}
	v.say("Vault sealed: %s. The Secret keeps its last value", strings.TrimSuffix(message, "."))
	if err := v.server.Unseal(ctx); err != nil {
		return err
	}
	began := time.Now()
	if _, err := v.secretIs(ctx, sceneNamespace, "cart-api", "synced again", synced); err != nil {
		return err
	}
	took := time.Since(began)
	database, err := v.secretIs(ctx, sceneNamespace, "cart-database", "synced", synced)
	if err != nil {
		return err
	}
	if database.Status.Lease == nil || database.Status.Lease.ID != v.lease {
		return errors.New("the lease of cart-database is another one after Vault was sealed")
	}
	v.say("Vault unsealed: synced again after %d ms, without loss: the lease is the same, nothing was restarted", took.Milliseconds())
	return nil
}

// showRevoked shows what the quarantine of a pod meant for the secrets that it held.
func (v *vaultScene) showRevoked(ctx context.Context, q *v1alpha1.Quarantine) error {
	var answered *v1alpha1.Quarantine
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		found, err := v.quarantine(ctx)
		if err != nil {
			return false, err
		}
		answered = found
		revoked := slices.ContainsFunc(found.Status.Revoked, func(r v1alpha1.Revocation) bool { return r.Name == "cart-database" && r.State == "Revoked" })
		return len(found.Status.Revoked) >= 2 && revoked, v.settle(ctx)
	})
	if err != nil {
		return fmt.Errorf("waiting for an answer to spec.revoke of %s: %w", q.Name, err)
	}
	for _, r := range answered.Status.Revoked {
		v.say("  revoked %s/%s: %s: %s", r.Namespace, r.Name, r.State, r.Message)
	}
	if _, err := v.server.Write(ctx, "sys/leases/lookup", map[string]any{"lease_id": v.lease}); err == nil {
		return errors.New("looking up the lease: Vault still has the one that the quarantined pod held")
	}
	replaced, err := v.secretIs(ctx, sceneNamespace, "cart-database", "of another lease", func(s *vaultapi.VaultSecret) bool {
		return synced(s) && s.Status.Lease != nil && s.Status.Lease.ID != v.lease
	})
	if err != nil {
		return err
	}
	v.say("The lease that the quarantined pod held is gone from Vault; the replacement has another, until %s", replaced.Status.Lease.Expires.UTC().Format(time.TimeOnly))
	return nil
}
