package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/installation"
)

const (
	staticSecrets  = 4 // kv-0 …
	dynamicSecrets = 2 // creds-0 …
	churnSecrets   = 2 // churn-0 …, made and deleted
	// rotateEvery is the pause between two values, churnEvery how long a churned one lives.
	rotateEvery, churnEvery = 2 * time.Second, 12 * time.Second
	// refreshEvery is how often portcullis-secrets looks: the least that it takes.
	refreshEvery = 10 * time.Second
	// secretDelay is how long a value may take to arrive while nothing fails.
	secretDelay = refreshEvery + 5*time.Second
	// leaseFor is long enough that a lease that leaks is seen before it ends.
	leaseFor = 3 * time.Minute
)

// secretLoad rotates values in Vault, and makes and deletes VaultSecrets with leases.
type secretLoad struct {
	*soak
	lock    sync.Mutex
	last    map[string]value // by name, what Vault has
	unsure  map[string]bool  // a write whose answer was lost
	highest map[string]int   // that a Secret has had
	there   map[string]bool  // Secrets that were seen last
	churned int
	living  map[string]bool // churned ones that are there
}

type value struct {
	number  int
	written time.Time
}

func newSecretLoad(s *soak) *secretLoad {
	return &secretLoad{soak: s, last: map[string]value{}, unsure: map[string]bool{}, highest: map[string]int{}, there: map[string]bool{}, living: map[string]bool{}}
}

// aroundSecrets is what an installation has beside the chart for Vault to ask who comes.
const aroundSecrets = `apiVersion: v1
kind: ServiceAccount
metadata: {name: reviewer, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:auth-delegator'}
subjects: [{kind: ServiceAccount, name: reviewer, namespace: kube-system}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault, namespace: shop}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultConnection
metadata: {name: main}
spec:
  address: %s
  caBundle: %s
  allowedNamespaces: [shop]
  leaseEncryption: {transit: {key: leases, auth: {role: portcullis-secrets, serviceAccount: portcullis-secrets}}}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultAuth
metadata: {name: vault, namespace: shop}
spec: {connection: main, kubernetes: {role: shop, serviceAccount: vault}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: 'ghcr.io/acme/app:1', envFrom: [{secretRef: {name: kv-0}}]}]}
`

// vaultPolicies are what the two roles may do.
var vaultPolicies = map[string]string{
	"shop": `
path "secret/data/shop/*" { capabilities = ["read"] }
path "database/creds/shop" { capabilities = ["read"] }
path "sys/leases/*" { capabilities = ["update"] }`,
	"portcullis-secrets": `
path "transit/encrypt/leases" { capabilities = ["update"] }
path "transit/decrypt/leases" { capabilities = ["update"] }`,
}

// prepare fills Vault and makes the VaultSecrets.
func (l *secretLoad) prepare(ctx context.Context) error {
	ca, err := json.Marshal(string(l.front.CA())) // JSON is YAML
	if err != nil {
		return err
	}
	if err := l.retried(ctx, fmt.Sprintf(aroundSecrets, l.front.Address(), ca)); err != nil {
		return err
	}
	if err := l.fillVault(ctx); err != nil {
		return fmt.Errorf("filling Vault: %w", err)
	}
	all := l.objects()
	auth := v1alpha1.VaultAuth{ObjectMeta: metav1.ObjectMeta{Name: "vault", Namespace: secretsNamespace}}
	auth.Spec.Kubernetes = &v1alpha1.KubernetesAuth{Role: "shop", ServiceAccount: "vault"}
	if err := l.retried(ctx, string(v1alpha1.NamespaceRole(secretsNamespace, all, []v1alpha1.VaultAuth{auth}, nil, installation.Namespace))); err != nil {
		return err
	}
	for n := range all {
		if strings.HasPrefix(all[n].Name, "churn") {
			continue
		}
		if err := l.create(ctx, &all[n]); err != nil {
			return err
		}
	}
	return nil
}

// retried applies manifests while the webhook may not be registered or asked yet.
func (l *secretLoad) retried(ctx context.Context, manifests string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, func(ctx context.Context) error { return l.apply(ctx, manifests) })
}

// objects are all VaultSecrets that will ever be.
func (l *secretLoad) objects() []v1alpha1.VaultSecret {
	var all []v1alpha1.VaultSecret
	add := func(name string, source v1alpha1.Source) *v1alpha1.VaultSecret {
		one := v1alpha1.VaultSecret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: secretsNamespace}}
		one.APIVersion, one.Kind = v1alpha1.GroupVersion.String(), "VaultSecret"
		one.Spec.Auth, one.Spec.Source = "vault", source
		one.Spec.Refresh.Interval = &metav1.Duration{Duration: refreshEvery}
		all = append(all, one)
		return &all[len(all)-1]
	}
	for n := range staticSecrets {
		name := fmt.Sprintf("kv-%d", n)
		one := add(name, v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/" + name}})
		if n == 0 {
			one.Spec.Rotation.Restart = v1alpha1.RestartReferencing
		}
	}
	leased := v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "database", Path: "creds/shop"}}
	for n := range dynamicSecrets {
		add(fmt.Sprintf("creds-%d", n), leased)
	}
	for n := range churnSecrets {
		add(fmt.Sprintf("churn-%d", n), leased)
	}
	return all
}

func (l *secretLoad) create(ctx context.Context, one *v1alpha1.VaultSecret) error {
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": one.APIVersion, "kind": one.Kind, "metadata": map[string]any{"name": one.Name, "namespace": one.Namespace}, "spec": one.Spec,
	})
	if err != nil {
		return err
	}
	return l.apply(ctx, string(text))
}

func (l *secretLoad) fillVault(ctx context.Context) error {
	hours := int64(4 * 3600)
	reviewer, err := l.Client.CoreV1().ServiceAccounts("kube-system").CreateToken(ctx, "reviewer",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(l.Control.CAFile)
	if err != nil {
		return err
	}
	if err := errors.Join(
		l.vault.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, ""),
		l.vault.Mount(ctx, "database", "leased-kv", nil, ""),
		l.vault.Mount(ctx, "transit", "transit", nil, ""),
		l.vault.EnableAuth(ctx, "kubernetes", "kubernetes"),
		l.vault.ConfigureKubernetesAuth(ctx, "kubernetes", l.Control.URL, authority, reviewer.Status.Token),
	); err != nil {
		return err
	}
	writes := map[string]map[string]any{
		"transit/keys/leases": {}, "database/creds/shop": {"username": "v-shop", "password": "made", "ttl": leaseFor.String()},
	}
	for role, bound := range map[string][2]string{"shop": {"shop", "vault"}, "portcullis-secrets": {installation.Namespace, "portcullis-secrets"}} {
		if err := l.vault.Policy(ctx, role, vaultPolicies[role]); err != nil {
			return err
		}
		writes["auth/kubernetes/role/"+role] = map[string]any{
			"bound_service_account_namespaces": []string{bound[0]}, "bound_service_account_names": []string{bound[1]}, "audience": "vault",
			"token_policies": []string{role}, "token_ttl": "1h",
		}
	}
	for path, data := range writes {
		if _, err := l.vault.Write(ctx, path, data); err != nil {
			return err
		}
	}
	for n := range staticSecrets {
		if err := l.write(ctx, fmt.Sprintf("kv-%d", n), 1); err != nil {
			return err
		}
	}
	return nil
}

// write writes a value, and remembers it.
func (l *secretLoad) write(ctx context.Context, name string, number int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := l.vault.WriteKV2(ctx, "secret", "shop/"+name, map[string]any{"value": fmt.Sprintf("v-%08d", number)})
	l.lock.Lock()
	defer l.lock.Unlock()
	l.unsure[name] = err != nil
	if err == nil {
		l.last[name] = value{number, time.Now()}
	}
	return err
}

// rotate gives one secret after another a new value, the one that has a Deployment restarted more rarely.
func (l *secretLoad) rotate(ctx context.Context) {
	for n := 1; l.sleep(ctx, rotateEvery) == nil; n++ {
		name := fmt.Sprintf("kv-%d", 1+n%(staticSecrets-1))
		if n%20 == 0 {
			name = "kv-0"
		}
		number := n + 1
		for l.write(ctx, name, number) != nil { // Vault fails; the same value again, until it is known to be there
			if l.sleep(ctx, pollEvery) != nil {
				break
			}
		}
		if ctx.Err() != nil {
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			err := until(last, func(ctx context.Context) error { return l.write(ctx, name, number) })
			stop()
			if err != nil {
				l.report.problem(fmt.Errorf("writing the last value of %s: %w", name, err))
			}
			return
		}
	}
}

// churn makes VaultSecrets with leases and deletes them. What is half done at the end is done then.
func (l *secretLoad) churn(ctx context.Context) {
	all := l.objects()
	all = all[len(all)-churnSecrets:]
	for n := 0; l.sleep(ctx, churnEvery) == nil; n++ {
		one := &all[n%len(all)]
		client := l.Dynamic.Resource(v1alpha1.VaultSecrets).Namespace(secretsNamespace)
		_, err := client.Get(ctx, one.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			if l.create(ctx, one) == nil {
				l.churned++
			}
		case err == nil:
			_ = client.Delete(ctx, one.Name, metav1.DeleteOptions{}) // again in the next turn
		}
	}
}

// startWatch watches until it is told to stop, and returns how.
func (l *secretLoad) startWatch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { l.watch(ctx) })
	return func() { cancel(); watching.Wait() }
}

// watch looks at every state of every Secret: none that is synced may go, be emptied, or go back to an earlier value.
func (l *secretLoad) watch(ctx context.Context) {
	for ctx.Err() == nil {
		list, err := l.Client.CoreV1().Secrets(secretsNamespace).List(ctx, metav1.ListOptions{})
		if err == nil {
			for n := range list.Items {
				l.see(watch.Modified, &list.Items[n])
			}
			for _, name := range l.gone(list.Items) {
				l.report.lostSecret(fmt.Sprintf("the Secret %s has gone", name))
			}
			var changes watch.Interface
			changes, err = l.Client.CoreV1().Secrets(secretsNamespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
			if err == nil {
				for change := range changes.ResultChan() {
					if secret, ok := change.Object.(*corev1.Secret); ok {
						l.see(change.Type, secret)
					}
				}
			}
		}
		_ = l.sleep(ctx, pollEvery)
	}
}

func (l *secretLoad) see(change watch.EventType, secret *corev1.Secret) {
	if problem := l.problem(change, secret); problem != "" {
		l.report.lostSecret(problem)
	}
}

// gone are the Secrets that were there and are not in a list: nobody was watching when they went. Each is told once.
func (l *secretLoad) gone(list []corev1.Secret) (names []string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	for name := range l.there {
		if !slices.ContainsFunc(list, func(s corev1.Secret) bool { return s.Name == name }) {
			names = append(names, name)
			delete(l.there, name)
		}
	}
	return names
}

// problem is what is wrong with a state of a Secret.
func (l *secretLoad) problem(change watch.EventType, secret *corev1.Secret) string {
	static, dynamic := strings.HasPrefix(secret.Name, "kv-"), strings.HasPrefix(secret.Name, "creds-")
	if !static && !dynamic {
		return ""
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.there[secret.Name] = true; change == watch.Deleted {
		delete(l.there, secret.Name)
	}
	switch {
	case change == watch.Deleted:
		return fmt.Sprintf("the Secret %s was deleted", secret.Name)
	case dynamic && len(secret.Data["password"]) == 0:
		return fmt.Sprintf("the Secret %s has no password: %d keys", secret.Name, len(secret.Data))
	case dynamic:
		return ""
	}
	var number int
	if _, err := fmt.Sscanf(string(secret.Data["value"]), "v-%d", &number); err != nil {
		return fmt.Sprintf("the Secret %s holds %q", secret.Name, secret.Data["value"])
	}
	if number < l.highest[secret.Name] {
		return fmt.Sprintf("the Secret %s went back from %d to %d", secret.Name, l.highest[secret.Name], number)
	}
	l.highest[secret.Name] = number
	return ""
}

// settled says whether values that are not new have arrived, all are synced, and leases are known on both sides.
func (l *secretLoad) settled(ctx context.Context) error {
	_, err := l.state(ctx, secretDelay)
	return err
}

func (l *secretLoad) state(ctx context.Context, age time.Duration) (wrong []string, err error) {
	for n := range staticSecrets {
		name := fmt.Sprintf("kv-%d", n)
		secret, err := l.Client.CoreV1().Secrets(secretsNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		l.lock.Lock()
		want, unsure := l.last[name], l.unsure[name]
		l.lock.Unlock()
		if text := fmt.Sprintf("v-%08d", want.number); time.Since(want.written) >= age && !unsure && string(secret.Data["value"]) < text {
			wrong = append(wrong, fmt.Sprintf("%s holds %s, and Vault has had %s for %s", name, secret.Data["value"], text, time.Since(want.written).Round(time.Second)))
		}
	}
	for n := range dynamicSecrets {
		secret, err := l.Client.CoreV1().Secrets(secretsNamespace).Get(ctx, fmt.Sprintf("creds-%d", n), metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if len(secret.Data["password"]) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s has no password: %d keys", secret.Name, len(secret.Data)))
		}
	}
	unsynced, err := l.unsynced(ctx)
	if err != nil {
		return nil, err
	}
	leases, err := l.leases(ctx)
	if err != nil {
		return nil, err
	}
	wrong = append(append(wrong, unsynced...), leases...)
	if len(wrong) > 0 {
		return wrong, errors.New(strings.Join(wrong[:min(len(wrong), 5)], "; "))
	}
	return nil, nil
}

func (l *secretLoad) unsynced(ctx context.Context) (wrong []string, err error) {
	list, err := l.Dynamic.Resource(v1alpha1.VaultSecrets).Namespace(secretsNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for n := range list.Items {
		one, err := v1alpha1.Decode[v1alpha1.VaultSecret](&list.Items[n])
		if err != nil {
			return nil, err
		}
		if one.DeletionTimestamp != nil {
			if since := time.Since(one.DeletionTimestamp.Time); since > secretDelay {
				wrong = append(wrong, fmt.Sprintf("%s is being deleted for %s", one.Name, since.Round(time.Second)))
			}
			continue
		}
		i := slices.IndexFunc(one.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionSynced })
		if time.Since(one.CreationTimestamp.Time) > secretDelay && (i < 0 || one.Status.Conditions[i].Status != metav1.ConditionTrue) {
			wrong = append(wrong, fmt.Sprintf("%s is not synced: %+v", one.Name, one.Status.Conditions))
		}
	}
	return wrong, nil
}

// leases compares those of Vault with those that VaultLeases hold.
func (l *secretLoad) leases(ctx context.Context) (wrong []string, err error) {
	answer, err := l.vault.Client().Logical().ListWithContext(ctx, "sys/leases/lookup/database/creds/shop")
	if err != nil {
		return nil, err
	}
	living := map[string]bool{}
	if answer != nil {
		keys, _ := answer.Data["keys"].([]any)
		for _, key := range keys {
			living[fmt.Sprintf("database/creds/shop/%s", key)] = true
		}
	}
	list, err := l.Dynamic.Resource(v1alpha1.VaultLeases).Namespace(installation.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for n := range list.Items {
		one, err := v1alpha1.Decode[v1alpha1.VaultLease](&list.Items[n])
		if err != nil {
			return nil, err
		}
		for _, lease := range one.Spec.Leases {
			if !living[lease.ID] {
				wrong = append(wrong, fmt.Sprintf("%s has the lease %s, which Vault has not", one.Spec.Owner.Name, lease.ID))
			}
			delete(living, lease.ID)
		}
	}
	for id := range living {
		wrong = append(wrong, fmt.Sprintf("Vault has the lease %s, which no VaultLease names", id))
	}
	return wrong, nil
}

// end deletes what is churned, waits until all has arrived, and counts.
func (l *secretLoad) end(ctx context.Context) {
	var wrong []string
	err := until(ctx, func(ctx context.Context) (err error) {
		for n := range churnSecrets {
			name := fmt.Sprintf("churn-%d", n)
			err := l.Dynamic.Resource(v1alpha1.VaultSecrets).Namespace(secretsNamespace).Delete(ctx, name, metav1.DeleteOptions{})
			if err == nil {
				err = fmt.Errorf("%s was there", name)
			}
			if !apierrors.IsNotFound(err) {
				return err
			}
		}
		wrong, err = l.state(ctx, 0)
		return err
	})
	if err != nil && len(wrong) == 0 {
		wrong = []string{err.Error()}
	}
	values := 0
	l.lock.Lock()
	for _, one := range l.last {
		values = max(values, one.number)
	}
	l.lock.Unlock()
	l.report.secrets(values, l.churned, wrong)
}
