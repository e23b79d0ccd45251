package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// vaultManifests are two namespaces, and ann, who sees and edits the objects of one by the roles that we ship, and no Secret.
const vaultManifests = `apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ann-edits, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-secrets-editor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bob-views, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-secrets-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
`

// vaultObjects are what teams and administrators write.
const vaultObjects = `
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultConnection, metadata: {name: main}, spec: {address: "https://vault.example.com:8200", allowedNamespaces: [shop]}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultAuth, metadata: {name: vault, namespace: shop}, spec: {connection: main, kubernetes: {role: shop, serviceAccount: vault}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: db, namespace: shop}, spec: {auth: vault, source: {kv: {mount: secret, path: shop/db}}, destination: {}, rotation: {restart: Referencing}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: evil, namespace: shop}, spec: {auth: vault, source: {kv: {mount: secret, path: web/db}}, destination: {}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: lost, namespace: shop}, spec: {auth: gone, source: {dynamic: {mount: database, path: creds/shop}}, destination: {name: login}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: new, namespace: shop}, spec: {auth: vault, source: {pki: {mount: pki, role: shop, commonName: a.example.com}}, destination: {type: kubernetes.io/tls}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: still, namespace: shop}, spec: {auth: vault, suspend: true, source: {kv: {mount: secret, path: shop/db}}, destination: {}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultPush, metadata: {name: made, namespace: shop}, spec: {auth: vault, destination: {mount: secret, path: shop/made}, generate: {password: {}}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultAuth, metadata: {name: vault, namespace: web}, spec: {connection: main, kubernetes: {role: web, serviceAccount: vault}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: db, namespace: web}, spec: {auth: vault, source: {kv: {mount: secret, path: web/db}}, destination: {}}}
`

// kept is a real API server with what is kept of Vault. No portcullis-secrets runs: the test writes what it would.
type kept struct {
	t       *testing.T
	control *cluster.Cluster
	client  dynamic.Interface
}

func newKept(t *testing.T) *kept {
	t.Helper()
	control, client, _ := clustertest.Start(t, []cluster.User{{Name: "ann"}, {Name: "bob"}}, v1alpha1.Manifest, []byte(vaultManifests), v1alpha1.Roles("portcullis-system"))
	clustertest.Serving(t, client, v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes)
	k := &kept{t: t, control: control, client: client}
	for text := range strings.SplitSeq(vaultObjects, "---") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			t.Fatal(err)
		}
		resource := v1alpha1.GroupVersion.WithResource(strings.ToLower(plural(object.GetKind())))
		if _, err := client.Resource(resource).Namespace(object.GetNamespace()).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	k.status("shop", "db", map[string]any{
		"observedGeneration": 1, "lastSync": at(-time.Minute), "nextSync": at(50*time.Minute + 30*time.Second), "version": "7", "created": at(-48 * time.Hour),
		"destination": map[string]any{"kind": "Secret", "name": "db", "uid": "u"},
		"restarts":    []any{map[string]any{"kind": "Deployment", "name": "web", "state": "Restarted"}, map[string]any{"kind": "StatefulSet", "name": "queue", "state": "Stuck", "message": "0 of 1 available"}},
		"policies":    []any{map[string]any{"policy": "secrets/permit-own-path", "effect": "allow_sync", "message": "secret/shop/db carries the name of the namespace"}},
		"bundles":     []any{"library@sha256:1"},
		"conditions":  []any{condition("Synced", "True", "Synced", "version 7"), condition("Allowed", "True", "Permitted", "by secrets/permit-own-path")},
	})
	k.status("shop", "evil", map[string]any{
		"observedGeneration": 1, "failures": 3,
		"policies":   []any{map[string]any{"policy": "secrets/path-carries-namespace", "effect": "deny", "message": "secret/web/db does not carry it", "remediation": "Keep the secret below the name of your namespace."}},
		"conditions": []any{condition("Synced", "False", "Denied", "secrets/path-carries-namespace denies"), condition("Allowed", "False", "Denied", "secrets/path-carries-namespace denies")},
	})
	k.status("shop", "lost", map[string]any{
		"lease":    map[string]any{"id": "database/creds/shop/x", "issued": at(-time.Hour), "expires": at(2*time.Hour + 30*time.Second), "renewable": true, "renewed": 4, "resumed": 1},
		"lastSync": at(-time.Hour), "conditions": []any{condition("Synced", "False", "Forbidden", "reading database/creds/shop: Vault's policy does not allow it (HTTP 403)")},
	})
	return k
}

func condition(kind, status, reason, message string) map[string]any {
	return map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1, "lastTransitionTime": "2026-11-29T06:00:00Z"}
}

// status writes what portcullis-secrets would of a VaultSecret.
func (k *kept) status(namespace, name string, status map[string]any) {
	k.t.Helper()
	raw, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		k.t.Error(err)
	}
	if _, err := k.client.Resource(v1alpha1.VaultSecrets).Namespace(namespace).Patch(k.t.Context(), name, types.MergePatchType, raw, metav1.PatchOptions{}, "status"); err != nil {
		k.t.Error(err)
	}
}

// run is the program as a user calls it.
func (k *kept) run(user string, wantCode int, arguments ...string) string {
	k.t.Helper()
	kubeconfig, err := k.control.Kubeconfig(user)
	if err != nil {
		k.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(k.t.Context(), append(append([]string{"secrets"}, arguments...), "--kubeconfig", kubeconfig), strings.NewReader(""), &stdout, &stderr)
	if code != wantCode {
		k.t.Errorf("portcullis secrets %s: got exit code %d, want %d\n%s%s", strings.Join(arguments, " "), code, wantCode, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

func (k *kept) says(text string, wants ...string) {
	k.t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			k.t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
}

// row is the row of a table that begins with some words, with single spaces.
func row(table string, words ...string) string {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) >= len(words) && strings.Join(fields[:len(words)], " ") == strings.Join(words, " ") {
			return strings.Join(fields, " ")
		}
	}
	return ""
}

func TestPeopleSeeWhatIsKeptOfVaultWithRightsOnOurObjectsOnly(t *testing.T) {
	k := newKept(t)
	list := k.run("ann", 0, "list", "-n", "shop")
	for _, want := range []string{
		"shop db kv-v2 secret/shop/db Secret db Synced 7 2d in 50m -",
		"shop evil kv-v2 secret/web/db Secret evil Denied - - - -",
		"shop lost dynamic database/creds/shop Secret login Forbidden - 60m - in 120m",
		"shop new pki pki/shop Secret new Pending - - - -",
		"shop still kv-v2 secret/shop/db Secret still Suspended - - - -",
	} {
		if got := row(list, strings.Fields(want)[:2]...); got != want {
			t.Errorf("got the row %q, want %q", got, want)
		}
	}
	if got, want := row(k.run("ann", 0, "list", "-n", "shop", "--push"), "shop", "made"), "shop made kv-v2 secret/shop/made generated Pending - - - -"; got != want {
		t.Errorf("got the row %q, want %q", got, want)
	}
	k.says(k.run("ann", 4, "list", "-A"), "forbidden", "name a namespace that you may read by --namespace")
	k.says(k.run(cluster.Admin, 0, "list", "-A"), "web        db")
	k.says(k.run("ann", 4, "list", "-n", "web"), "you need the role portcullis-secrets-viewer there")
	k.says(k.run(cluster.Admin, 0, "list", "-n", "portcullis-system"), "No VaultSecrets in portcullis-system.")
	var items struct{ Items []v1alpha1.VaultSecret }
	if err := json.Unmarshal([]byte(k.run("ann", 0, "list", "-n", "shop", "--format", "json")), &items); err != nil || len(items.Items) != 5 {
		t.Errorf("got %d items, %v, want 5", len(items.Items), err)
	}

	k.says(k.run("bob", 0, "show", "shop/db"), "state        Synced", "vault        secret/shop/db (kv-v2)", "destination  Secret db", "version      7", "every 1h0m0s, less up to a tenth",
		"restarts     workloads that use a changed key", "StatefulSet queue: Stuck: 0 of 1 available", "secrets/permit-own-path permits: secret/shop/db carries", "asked: library@sha256:1", "Synced True since 2026-11-29T06:00:00Z")
	k.says(k.run("bob", 0, "show", "shop/lost"), "database/creds/shop/x", "yes, renewed 4 times", "1 times, by another process", "Vault knows who asks, and its policy does not allow it. Have the policy of the role in Vault allow")
	k.says(k.run("bob", 0, "show", "shop/evil"), "3 in a row", "next: Keep the secret below the name of your namespace.")
	k.says(k.run("bob", 0, "show", "shop/new"), "Nothing has been said about it yet: see that portcullis-secrets runs")
	k.says(k.run("bob", 64, "show", "shop/other"), "there is no VaultSecret shop/other: portcullis secrets list --namespace shop has those that there are")
	k.says(k.run("bob", 4, "show", "web/db"), "you need the role portcullis-secrets-viewer there")

	k.says(k.run("bob", 0, "why", "shop/db"), "VaultSecret shop/db: synced", "secret/shop/db (kv-v2) to Secret db", "unknown  VaultConnection main: you may not read it", "failed   workload StatefulSet queue")
	k.says(k.run(cluster.Admin, 0, "why", "shop/db"), "unknown  VaultConnection main: https://vault.example.com:8200, lists the namespace; nobody has tried it yet")
	k.says(k.run("bob", 1, "why", "shop/evil"), "VaultSecret shop/evil: denied", "failed   policy secrets/path-carries-namespace: denies: secret/web/db", "What would help: Keep the secret below the name of your namespace.")
	k.says(k.run("bob", 4, "why", "shop/lost"), "VaultSecret shop/lost: failed", "failed   VaultAuth gone: there is none in the namespace shop", "failed   sync: Forbidden: reading database/creds/shop", "what was last synced is kept")
	k.says(k.run(cluster.Admin, 3, "why", "web/db"), "VaultSecret web/db: pending", "failed   VaultConnection main: it lists shop and not web", "What would help: Have an administrator add the namespace")
	k.says(k.run("bob", 3, "why", "shop/still"), "suspended", "What would help: Take out spec.suspend.")
	k.says(k.run("bob", 3, "why", "shop/made", "--push"), "generated to secret/shop/made (kv-v2)")
	checkSecretsWhy(t, k.run("bob", 1, "why", "shop/evil", "--format", "json"))
}

func TestASyncIsAskedForAndWaitedFor(t *testing.T) {
	k := newKept(t)
	k.says(k.run("bob", 4, "sync", "shop/db"), "you need to be allowed to patch it, as the role portcullis-secrets-editor is")
	k.says(k.run("ann", 0, "sync", "shop/db"), "VaultSecret shop/db will be synced: portcullis secrets show shop/db says how that went.")
	k.says(k.run("ann", 4, "sync", "shop/db", "--wait", "--timeout", "1s"), "nobody has synced it in 1s: see that portcullis-secrets runs")
	k.says(k.run("ann", 4, "sync", "shop/still"), "is suspended")
	k.says(k.run("ann", 64, "sync", "shop/other"), "there is no VaultSecret shop/other")
	k.says(k.run("ann", 1, "sync", "shop/evil", "--wait", "--timeout", "1s"), "VaultSecret shop/evil is not synced: Denied")
	for name, test := range map[string]struct {
		status, reason string
		code           int
		says           string
	}{
		"it is synced":     {"True", "Synced", 0, "VaultSecret shop/db is synced: secret/shop/db, Secret db, version 8"},
		"it is denied":     {"False", "Denied", 1, "Do what the policy says that objects"},
		"it is undecided":  {"False", "Undecided", 3, "policies cannot be evaluated"},
		"Vault is sealed":  {"False", "Sealed", 4, "Unseal it; all that waits is synced at once then."},
		"nobody says what": {"False", "Odd", 4, "portcullis secrets why shop/db says more."},
	} {
		t.Run(name, func(t *testing.T) {
			k := &kept{t: t, control: k.control, client: k.client}
			watch, err := k.client.Resource(v1alpha1.VaultSecrets).Namespace("shop").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=db"})
			if err != nil {
				t.Fatal(err)
			}
			k.status("shop", "db", map[string]any{"failures": 0})
			before, err := k.client.Resource(v1alpha1.VaultSecrets).Namespace("shop").Get(t.Context(), "db", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			asked := before.GetAnnotations()[v1alpha1.SyncAnnotation]
			done := make(chan struct{})
			go func() { // as portcullis-secrets obeys
				defer close(done)
				for event := range watch.ResultChan() {
					object, ok := event.Object.(*unstructured.Unstructured)
					if !ok || object.GetAnnotations()[v1alpha1.SyncAnnotation] == asked {
						continue
					}
					status := map[string]any{"version": "8", "failures": 1, "conditions": []any{condition("Synced", test.status, test.reason, "so it is")}}
					if test.status == "True" {
						status["requested"], status["failures"] = object.GetAnnotations()[v1alpha1.SyncAnnotation], 0
					}
					k.status("shop", "db", status)
					return
				}
			}()
			k.says(k.run("ann", test.code, "sync", "shop/db", "--wait", "--timeout", "1m"), test.says)
			watch.Stop()
			<-done
		})
	}
}
