package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const (
	operator   = "system:serviceaccount:portcullis-system:portcullis-secrets"
	developer  = "developer"
	namespaces = `
apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank}
`
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	made := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &made.Object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return made
}

// plain has all numbers of one kind.
func plain(t *testing.T, value any) (read any) {
	t.Helper()
	raw, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(raw, &read)
	}
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// sample is a spec, and what the API server says of it: "" for taking it.
type sample struct {
	spec, want string
	// unchecked are not looked at by CheckSecret and CheckPush: others do.
	unchecked bool
}

func connections() map[string]sample {
	const of = "{address: 'https://vault.example:8200'"
	return map[string]sample{
		"an address":                       {spec: of + "}"},
		"http on loopback":                 {spec: "{address: 'http://127.0.0.1:8200'}"},
		"http on loopback by name":         {spec: "{address: 'http://localhost:8200'}"},
		"http on loopback by IPv6":         {spec: "{address: 'http://[::1]:8200'}"},
		"all fields":                       {spec: of + ", caBundle: \"-----BEGIN CERTIFICATE-----\\nMA==\\n-----END CERTIFICATE-----\\n\", tlsServerName: vault.example, vaultNamespace: team/a, allowedNamespaces: [shop, 'team-*'], timeout: 5s, requestsPerSecond: 10, burst: 20, leaseEncryption: {transit: {mount: transit, key: leases, auth: {role: leases, serviceAccount: portcullis-secrets, audiences: [vault], tokenTTL: 15m}, authMount: k8s/prod}}}"},
		"encryption by KMS":                {spec: of + ", leaseEncryption: {kms: true}}"},
		"no address":                       {spec: "{}", want: "spec.address: Required value"},
		"http elsewhere":                   {spec: "{address: 'http://vault.example:8200'}", want: "http is for loopback only"},
		"http on a name like loopback":     {spec: "{address: 'http://127.0.0.1.example:8200'}", want: "http is for loopback only"},
		"http on a name like localhost":    {spec: "{address: 'http://localhost.example'}", want: "http is for loopback only"},
		"another scheme":                   {spec: "{address: 'unix:///run/vault.sock'}", want: "spec.address"},
		"an address with a path":           {spec: "{address: 'https://vault.example/v1'}", want: "spec.address"},
		"an address with a user":           {spec: "{address: 'https://u:p@vault.example'}", want: "spec.address"},
		"an address with a query":          {spec: "{address: 'https://vault.example?a=b'}", want: "spec.address"},
		"an address that is none":          {spec: "{address: 'https://[::1'}", want: "not a URL"},
		"a bundle without a certificate":   {spec: of + ", caBundle: x}", want: "no PEM certificate"},
		"a bundle with a private key":      {spec: of + ", caBundle: '-----BEGIN CERTIFICATE----- -----BEGIN RSA PRIVATE KEY-----'}", want: "private key"},
		"a header that is two":             {spec: of + ", vaultNamespace: \"a\\r\\nX-Vault-Token: b\"}", want: "spec.vaultNamespace"},
		"namespaces that no name matches":  {spec: of + ", allowedNamespaces: [Shop]}", want: "spec.allowedNamespaces"},
		"a timeout of none":                {spec: of + ", timeout: 0s}", want: "more than 0s and at most 60s"},
		"a timeout of minutes":             {spec: of + ", timeout: 2m}", want: "more than 0s and at most 60s"},
		"a timeout that Go cannot read":    {spec: of + ", timeout: 1 day}", want: "spec.timeout"},
		"a negative rate":                  {spec: of + ", requestsPerSecond: -1}", want: "spec.requestsPerSecond"},
		"two ways to encrypt":              {spec: of + ", leaseEncryption: {kms: true, transit: {key: k, auth: {role: r, serviceAccount: s}}}}", want: "exactly one of transit and kms"},
		"no way to encrypt":                {spec: of + ", leaseEncryption: {}}", want: "exactly one of transit and kms"},
		"a reference into a namespace":     {spec: of + ", caBundleRef: {namespace: kube-system, name: x}}", want: "unknown field"},
		"a transit mount that goes up":     {spec: of + ", leaseEncryption: {transit: {mount: a/../b, key: k, auth: {role: r, serviceAccount: s}}}}", want: "no . or .."},
		"a token of a service account: 1m": {spec: of + ", leaseEncryption: {transit: {key: k, auth: {role: r, serviceAccount: s, tokenTTL: 1m}}}}", want: "at least 10m"},
		"a transit key that is a path":     {spec: of + ", leaseEncryption: {transit: {key: a/b, auth: {role: r, serviceAccount: s}}}}", want: "leaseEncryption.transit.key"},
	}
}

func auths() map[string]sample {
	return map[string]sample{
		"kubernetes":                         {spec: "{connection: main, kubernetes: {role: shop, serviceAccount: shop}}"},
		"kubernetes with all fields":         {spec: "{connection: main, mount: k8s/prod, kubernetes: {role: shop, serviceAccount: shop, audiences: [vault], tokenTTL: 1h}}"},
		"JWT of a service account":           {spec: "{connection: main, jwt: {role: shop, serviceAccount: shop, audiences: [a], tokenTTL: 10m}}"},
		"JWT of a Secret":                    {spec: "{connection: main, jwt: {role: shop, secretRef: {name: token, key: jwt}}}"},
		"AppRole":                            {spec: "{connection: main, appRole: {roleID: 1-2, secretRef: {name: approle}}}"},
		"a certificate":                      {spec: "{connection: main, cert: {role: shop, secretName: tls}}"},
		"no method":                          {spec: "{connection: main}", want: "exactly one method"},
		"two methods":                        {spec: "{connection: main, cert: {secretName: tls}, kubernetes: {role: shop, serviceAccount: shop}}", want: "exactly one method"},
		"no connection":                      {spec: "{cert: {secretName: tls}}", want: "spec.connection: Required value"},
		"a service account elsewhere":        {spec: "{connection: main, kubernetes: {role: shop, serviceAccount: shop, serviceAccountNamespace: bank}}", want: "unknown field"},
		"a service account by a path":        {spec: "{connection: main, kubernetes: {role: shop, serviceAccount: bank/shop}}", want: "spec.kubernetes.serviceAccount"},
		"a Secret elsewhere":                 {spec: "{connection: main, appRole: {roleID: x, secretRef: {namespace: bank, name: x}}}", want: "unknown field"},
		"a token of a minute":                {spec: "{connection: main, kubernetes: {role: shop, serviceAccount: shop, tokenTTL: 1m}}", want: "at least 10m"},
		"a token of a day":                   {spec: "{connection: main, kubernetes: {role: shop, serviceAccount: shop, tokenTTL: 24h}}", want: "at most 1h"},
		"a JWT of both":                      {spec: "{connection: main, jwt: {role: shop, serviceAccount: shop, secretRef: {name: token}}}", want: "exactly one of serviceAccount and secretRef"},
		"a JWT of neither":                   {spec: "{connection: main, jwt: {role: shop}}", want: "exactly one of serviceAccount and secretRef"},
		"audiences for a JWT that is there":  {spec: "{connection: main, jwt: {role: shop, audiences: [a], secretRef: {name: token}}}", want: "for the token of a service account"},
		"a mount that goes up":               {spec: "{connection: main, mount: kubernetes/../../sys, kubernetes: {role: shop, serviceAccount: shop}}", want: "no . or .."},
		"a mount with a query":               {spec: "{connection: main, mount: 'kubernetes?x=y', kubernetes: {role: shop, serviceAccount: shop}}", want: "spec.mount"},
		"a role id in a Secret without name": {spec: "{connection: main, appRole: {roleID: x, secretRef: {name: ''}}}", want: "secretRef.name"},
	}
}

func vaultSecrets() map[string]sample {
	kv := func(more string) string {
		return "{auth: shop, source: {kv: {mount: secret, path: shop/db}}, " + more + "}"
	}
	source := func(of string) string { return "{auth: shop, destination: {}, source: {" + of + "}}" }
	return map[string]sample{
		"KV":                                {spec: kv("destination: {}")},
		"KV with all fields":                {spec: source("kv: {mount: team/secret, path: a-b.c/d_e@f, engineVersion: 2, version: 3, keys: [a, 'b c']}")},
		"a path with a space":               {spec: source("kv: {mount: secret, path: 'a b'}"), want: "spec.source.kv.path", unchecked: true},
		"KV of version 1":                   {spec: source("kv: {mount: secret, path: a/b.c/d, engineVersion: 1, keys: [a, 'b c']}")},
		"a path with dots in it":            {spec: source("kv: {mount: secret, path: a/..b/c../...}")},
		"dynamic":                           {spec: source("dynamic: {mount: database, path: creds/shop, parameters: {ttl: 1h}, keys: [username], renewPercent: 50, revokeOnDelete: false}")},
		"PKI":                               {spec: source("pki: {mount: pki, role: shop, commonName: shop.example, altNames: [a.example, b@c.example], ipSANs: [10.0.0.1, '::1'], uriSANs: ['spiffe://a/b'], ttl: 24h, renewPercent: 70, csr: {algorithm: Ed25519}, keyFormat: PKCS8, chain: Leaf, revokeOnDelete: true}")},
		"transit that decrypts":             {spec: source("transit: {key: app, ciphertexts: {password: 'vault:v1:abc+/='}, context: YQ==}")},
		"transit that publishes":            {spec: "{auth: shop, destination: {kind: ConfigMap}, source: {transit: {key: app, publicKeys: true}}}"},
		"secret ids":                        {spec: source("appRoleSecretID: {role: shop, ttl: 1h, metadata: {a: b}, cidrs: [10.0.0.0/8], renewPercent: 10, destroyOnReplace: true}")},
		"a destination with all fields":     {spec: kv("destination: {name: db, kind: Secret, type: kubernetes.io/basic-auth, labels: {a: b}, annotations: {a/b: c}, templates: {username: '{{.Data.u}}'}, keepSource: true, adopt: true}, refresh: {interval: 10s, once: true}, rotation: {restart: Named, workloads: [{kind: Deployment, name: web}], timeout: 1m}, deletion: {whenGone: Delete, whenDeleted: Retain}, suspend: true")},
		"immutable":                         {spec: kv("destination: {immutable: true}")},
		"what uses it, some of it first":    {spec: kv("destination: {}, rotation: {restart: Referencing, workloads: [{kind: StatefulSet, name: db}]}")},
		"no engine":                         {spec: source(""), want: "exactly one engine"},
		"two engines":                       {spec: source("kv: {mount: secret, path: a}, dynamic: {mount: database, path: b}"), want: "exactly one engine"},
		"no auth":                           {spec: "{destination: {}, source: {kv: {mount: secret, path: a}}}", want: "spec.auth: Required value"},
		"an auth elsewhere":                 {spec: "{auth: bank/shop, destination: {}, source: {kv: {mount: secret, path: a}}}", want: "spec.auth", unchecked: true},
		"a destination elsewhere":           {spec: kv("destination: {namespace: bank}"), want: "unknown field", unchecked: true},
		"a path that goes up":               {spec: source("kv: {mount: secret, path: shop/../bank}"), want: "no . or ..", unchecked: true},
		"a path that begins with going up":  {spec: source("kv: {mount: secret, path: ../sys}"), want: "no . or ..", unchecked: true},
		"a path that ends with going up":    {spec: source("kv: {mount: secret, path: a/..}"), want: "no . or ..", unchecked: true},
		"a path that stays":                 {spec: source("kv: {mount: secret, path: a/./b}"), want: "no . or ..", unchecked: true},
		"a mount that goes up":              {spec: source("kv: {mount: .., path: a}"), want: "no . or ..", unchecked: true},
		"a path from the root":              {spec: source("kv: {mount: secret, path: /a}"), want: "spec.source.kv.path", unchecked: true},
		"a path with an empty part":         {spec: source("kv: {mount: secret, path: a//b}"), want: "spec.source.kv.path", unchecked: true},
		"a path that is escaped":            {spec: source("kv: {mount: secret, path: a%2f..%2fb}"), want: "spec.source.kv.path", unchecked: true},
		"a path with a query":               {spec: source("kv: {mount: secret, path: 'a?list=true'}"), want: "spec.source.kv.path", unchecked: true},
		"a path with a wildcard":            {spec: source("kv: {mount: secret, path: 'a/*'}"), want: "spec.source.kv.path", unchecked: true},
		"a path with a line":                {spec: source(`kv: {mount: secret, path: "a\nb"}`), want: "spec.source.kv.path", unchecked: true},
		"an engine of version 3":            {spec: source("kv: {mount: secret, path: a, engineVersion: 3}"), want: "engineVersion"},
		"a version of version 1":            {spec: source("kv: {mount: secret, path: a, engineVersion: 1, version: 2}"), want: "only version 2 of the engine"},
		"a negative version":                {spec: source("kv: {mount: secret, path: a, version: -1}"), want: "version"},
		"a renewal too early":               {spec: source("dynamic: {mount: database, path: b, renewPercent: 9}"), want: "renewPercent"},
		"a renewal too late":                {spec: source("pki: {mount: pki, role: a, renewPercent: 91}"), want: "renewPercent"},
		"a renewal of secret ids too late":  {spec: source("appRoleSecretID: {role: a, renewPercent: 100}"), want: "renewPercent"},
		"a role that goes up":               {spec: source("pki: {mount: pki, role: ../../sys}"), want: "spec.source.pki.role", unchecked: true},
		"an IP address that is none":        {spec: source("pki: {mount: pki, role: a, ipSANs: [a.example]}"), want: "not an IP address", unchecked: true},
		"two names in one":                  {spec: source("pki: {mount: pki, role: a, altNames: ['a.example,b.example']}"), want: "altNames", unchecked: true},
		"a certificate of no time":          {spec: source("pki: {mount: pki, role: a, ttl: 0s}"), want: "at least 1s"},
		"a key of a kind that is none":      {spec: source("pki: {mount: pki, role: a, csr: {algorithm: DSA}}"), want: "algorithm"},
		"a network that is none":            {spec: source("appRoleSecretID: {role: a, cidrs: [10.0.0.1]}"), want: "not a network", unchecked: true},
		"transit that does both":            {spec: source("transit: {key: a, publicKeys: true, ciphertexts: {a: 'vault:v1:a'}}"), want: "exactly one of ciphertexts"},
		"transit that does nothing":         {spec: source("transit: {key: a}"), want: "exactly one of ciphertexts"},
		"a ciphertext that is a plaintext":  {spec: source("transit: {key: a, ciphertexts: {a: hunter2}}"), want: "ciphertexts", unchecked: true},
		"a ConfigMap of a secret":           {spec: kv("destination: {kind: ConfigMap}"), want: "a ConfigMap is for public keys only"},
		"a ConfigMap of what was decrypted": {spec: "{auth: shop, destination: {kind: ConfigMap}, source: {transit: {key: app, ciphertexts: {a: 'vault:v1:a'}}}}", want: "a ConfigMap is for public keys only"},
		"an immutable ConfigMap":            {spec: "{auth: shop, destination: {kind: ConfigMap, immutable: true}, source: {transit: {key: app, publicKeys: true}}}", want: "type and immutable are for Secrets"},
		"a ConfigMap with a type":           {spec: "{auth: shop, destination: {kind: ConfigMap, type: Opaque}, source: {transit: {key: app, publicKeys: true}}}", want: "type and immutable are for Secrets"},
		"a kind that is none":               {spec: kv("destination: {kind: Deployment}"), want: "destination.kind"},
		"a type of others":                  {spec: kv("destination: {type: kubernetes.io/service-account-token}"), want: "destination.type", unchecked: true},
		"one that is adopted and immutable": {spec: kv("destination: {adopt: true, immutable: true}"), want: "an immutable Secret cannot be taken over"},
		"an immutable name too long":        {spec: kv("destination: {immutable: true, name: " + strings.Repeat("a", 252) + "}"), want: "too long"},
		"a label that is ours":              {spec: kv("destination: {labels: {app.kubernetes.io/managed-by: helm}}"), want: "is set by portcullis-secrets"},
		"an annotation that is ours":        {spec: kv("destination: {annotations: {secrets.portcullis.dev/owner: me}}"), want: "are set by portcullis-secrets"},
		"a refresh each second":             {spec: kv("destination: {}, refresh: {interval: 1s}"), want: "at least 10s"},
		"a refresh each two years":          {spec: kv("destination: {}, refresh: {interval: 20000h}"), want: "at most 8760h"},
		"a refresh that Go cannot read":     {spec: kv("destination: {}, refresh: {interval: 1d}"), want: "spec.refresh.interval", unchecked: true},
		"names without workloads":           {spec: kv("destination: {}, rotation: {restart: Named}"), want: "asks for workloads"},
		"workloads that are not restarted":  {spec: kv("destination: {}, rotation: {workloads: [{kind: Deployment, name: web}]}"), want: "workloads are restarted with"},
		"a workload that is a job":          {spec: kv("destination: {}, rotation: {restart: Named, workloads: [{kind: Job, name: web}]}"), want: "kind"},
		"a workload elsewhere":              {spec: kv("destination: {}, rotation: {restart: Named, workloads: [{kind: Deployment, namespace: bank, name: web}]}"), want: "unknown field", unchecked: true},
		"a patience without end":            {spec: kv("destination: {}, rotation: {timeout: 48h}"), want: "at most 24h"},
		"an end that is none":               {spec: kv("destination: {}, deletion: {whenGone: Orphan}"), want: "whenGone"},
	}
}

func pushes() map[string]sample {
	to := func(more string) string {
		return "{auth: shop, destination: {mount: secret, path: shop/made}" + more + "}"
	}
	return map[string]sample{
		"a password":                       {spec: to(", generate: {password: {}}")},
		"all fields":                       {spec: "{auth: shop, destination: {mount: secret, path: shop/made, engineVersion: 1, overwrite: true}, generate: {password: {length: 64, charset: Hex}, key: {privateKey: RSA4096}}, rotateAfter: 720h, refresh: {interval: 10m}, whenDeleted: Delete}"},
		"a Secret":                         {spec: to(", secret: {name: db, keys: [password]}")},
		"nothing":                          {spec: to(""), want: "exactly one of generate and secret"},
		"nothing to generate":              {spec: to(", generate: {}"), want: "exactly one of generate and secret"},
		"both":                             {spec: to(", generate: {a: {}}, secret: {name: db}"), want: "exactly one of generate and secret"},
		"a Secret elsewhere":               {spec: to(", secret: {name: db, namespace: bank}"), want: "unknown field", unchecked: true},
		"a short password":                 {spec: to(", generate: {a: {length: 8}}"), want: "generate.a.length"},
		"a password of a million":          {spec: to(", generate: {a: {length: 1000000}}"), want: "generate.a.length"},
		"a key with a length":              {spec: to(", generate: {a: {length: 32, privateKey: Ed25519}}"), want: "a private key has no length"},
		"a charset that is none":           {spec: to(", generate: {a: {charset: Emoji}}"), want: "charset"},
		"a Secret that is made anew":       {spec: to(", secret: {name: db}, rotateAfter: 1h"), want: "rotateAfter is for generated values"},
		"a value that is made each second": {spec: to(", generate: {a: {}}, rotateAfter: 1s"), want: "at least 10s"},
		"a path that goes up":              {spec: "{auth: shop, destination: {mount: secret, path: shop/../bank}, generate: {a: {}}}", want: "no . or ..", unchecked: true},
		"an end that is none":              {spec: to(", generate: {a: {}}, whenDeleted: Orphan"), want: "whenDeleted"},
	}
}

// The table is the same for the API server and for the checks in Go.
func TestTheAPIServerRefusesWhatHasNoMeaning(t *testing.T) {
	_, admin, _ := clustertest.Start(t, nil, v1alpha1.Manifest, []byte(namespaces))
	clustertest.Serving(t, admin, v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes, v1alpha1.VaultLeases)
	for _, table := range []struct {
		kind     string
		resource schema.GroupVersionResource
		samples  map[string]sample
		check    func(*unstructured.Unstructured) error
	}{
		{"VaultConnection", v1alpha1.VaultConnections, connections(), nil},
		{"VaultAuth", v1alpha1.VaultAuths, auths(), nil},
		{"VaultSecret", v1alpha1.VaultSecrets, vaultSecrets(), func(o *unstructured.Unstructured) error {
			decoded, err := v1alpha1.Decode[v1alpha1.VaultSecret](o)
			if err != nil {
				return err
			}
			return v1alpha1.CheckSecret(decoded)
		}},
		{"VaultPush", v1alpha1.VaultPushes, pushes(), func(o *unstructured.Unstructured) error {
			decoded, err := v1alpha1.Decode[v1alpha1.VaultPush](o)
			if err != nil {
				return err
			}
			return v1alpha1.CheckPush(decoded)
		}},
	} {
		for name, test := range table.samples {
			t.Run(table.kind+"/"+name, func(t *testing.T) {
				object := parse(t, "apiVersion: secrets.portcullis.dev/v1alpha1\nkind: "+table.kind+"\nmetadata: {name: main}\nspec: "+test.spec+"\n")
				var client dynamic.ResourceInterface = admin.Resource(table.resource)
				if table.kind != "VaultConnection" {
					client = admin.Resource(table.resource).Namespace("shop")
				}
				created, err := client.Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
				switch {
				case test.want == "" && err != nil:
					t.Fatalf("got %v, want it accepted", err)
				case test.want == "" && !reflect.DeepEqual(plain(t, created.Object["spec"]), plain(t, object.Object["spec"])):
					t.Errorf("got the spec %v, want it as it was: %v", created.Object["spec"], object.Object["spec"])
				case test.want == "unknown field" && (err == nil || !strings.Contains(err.Error(), test.want)), test.want != "" && test.want != "unknown field" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want)):
					t.Fatalf("got %v, want it refused for %q", err, test.want)
				}
				if table.check == nil || test.unchecked {
					return
				}
				if err := table.check(object); (err == nil) != (test.want == "") || err != nil && secrets.ReasonOf(err) != secrets.Misconfigured {
					t.Errorf("in Go: %v, want it as the API server says (%q)", err, test.want)
				}
			})
		}
	}
	t.Run("a name that leaves no room for slots", func(t *testing.T) {
		object := parse(t, "apiVersion: secrets.portcullis.dev/v1alpha1\nkind: VaultSecret\nmetadata: {name: "+strings.Repeat("a", 252)+"}\nspec: {auth: shop, source: {kv: {mount: a, path: b}}, destination: {immutable: true}}\n")
		_, err := admin.Resource(v1alpha1.VaultSecrets).Namespace("shop").Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "too long") {
			t.Errorf("got %v, want it refused", err)
		}
	})
	t.Run("statuses and leases are kept whole", func(t *testing.T) { keptWhole(t, admin) })
}

// keptWhole writes each type with all fields set, and reads it back: what the schema does not know would be gone.
func keptWhole(t *testing.T, admin dynamic.Interface) {
	ctx := t.Context()
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local())
	conditions := []metav1.Condition{{Type: v1alpha1.ConditionSynced, Status: metav1.ConditionFalse, ObservedGeneration: 1, LastTransitionTime: at, Reason: string(secrets.Sealed), Message: "m"}}
	policies := []v1alpha1.PolicyStatement{{Policy: "p", Bundle: "b", Effect: "allow_sync", Message: "m", Remediation: "r"}}

	want := &v1alpha1.VaultSecret{ObjectMeta: metav1.ObjectMeta{Name: "whole", Namespace: "shop"}, Spec: v1alpha1.VaultSecretSpec{Auth: "shop", Source: v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "a"}}}}
	object, err := v1alpha1.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	shop := admin.Resource(v1alpha1.VaultSecrets).Namespace("shop")
	if object, err = shop.Create(ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
		t.Fatal(err)
	}
	if want, err = v1alpha1.Decode[v1alpha1.VaultSecret](object); err != nil {
		t.Fatal(err)
	}
	want.Status = v1alpha1.VaultSecretStatus{ObservedGeneration: 1, LastSync: &at, NextSync: &at, Requested: "r", Version: "3", Created: &at, Hash: "h", Keys: map[string]string{"a": "h"}, HashKey: "k", Source: "s",
		Destination: &v1alpha1.DestinationStatus{Kind: "Secret", Name: "n", UID: "u", ResourceVersion: "7", Adopted: true, Slots: []string{"n-1"}},
		Lease:       &v1alpha1.LeaseStatus{ID: "l", Issued: at, Expires: at, Renewable: true, Renewed: 1, Resumed: 2},
		Restarts:    []v1alpha1.RestartStatus{{Kind: "Deployment", Name: "web", State: "Restarted", Message: "m", Hash: "h", Since: &at}},
		Policies:    policies, Bundles: []string{"b@sha256:0"}, Failures: 2, Conditions: conditions}
	if object, err = v1alpha1.Encode(want); err == nil {
		object, err = shop.UpdateStatus(ctx, object, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := v1alpha1.Decode[v1alpha1.VaultSecret](object)
	if err != nil || !reflect.DeepEqual(got.Status, want.Status) {
		t.Errorf("got the status %+v and %v, want %+v", got.Status, err, want.Status)
	}

	lease := &v1alpha1.VaultLease{ObjectMeta: metav1.ObjectMeta{Name: "7f", Namespace: "portcullis-system"}, Spec: v1alpha1.VaultLeaseSpec{
		Owner: v1alpha1.LeaseOwner{Namespace: "shop", Name: "db", UID: "7f"}, Connection: "main", Auth: "shop",
		Leases: []secrets.Lease{{ID: "i", Serial: "s", Accessor: "a", Mount: "m", Role: "r", Issued: time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC), Expires: time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC), Duration: time.Hour + 1, Renewable: true}},
		Token:  v1alpha1.SealedToken{By: "transit:transit/leases", Ciphertext: "vault:v1:x", Annotations: map[string]string{"a.b": "YQ=="}, Accessor: "acc", Expires: at, Renewable: true}}}
	leases := admin.Resource(v1alpha1.VaultLeases).Namespace("portcullis-system")
	if object, err = v1alpha1.Encode(lease); err == nil {
		object, err = leases.Create(ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	}
	if err != nil {
		t.Fatal(err)
	}
	kept, err := v1alpha1.Decode[v1alpha1.VaultLease](object)
	if err != nil || !reflect.DeepEqual(kept.Spec, lease.Spec) {
		t.Errorf("got the lease %+v and %v, want %+v", kept.Spec, err, lease.Spec)
	}
	kept.Spec.Owner.Namespace = "bank"
	if object, err = v1alpha1.Encode(kept); err == nil {
		_, err = leases.Update(ctx, object, metav1.UpdateOptions{})
	}
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "of one VaultSecret for ever") {
		t.Errorf("got %v for a lease that changes hands, want it refused", err)
	}
	lease.Name = "another"
	if object, err = v1alpha1.Encode(lease); err == nil {
		_, err = leases.Create(ctx, object, metav1.CreateOptions{})
	}
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "named after the UID") {
		t.Errorf("got %v for a lease of another name, want it refused", err)
	}

	push := &v1alpha1.VaultPush{ObjectMeta: metav1.ObjectMeta{Name: "whole", Namespace: "shop"}, Spec: v1alpha1.VaultPushSpec{Auth: "shop", Destination: v1alpha1.PushDestination{Mount: "a", Path: "b"}, Generate: map[string]v1alpha1.Generator{"a": {}}}}
	pushed := admin.Resource(v1alpha1.VaultPushes).Namespace("shop")
	if object, err = v1alpha1.Encode(push); err == nil {
		object, err = pushed.Create(ctx, object, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if push, err = v1alpha1.Decode[v1alpha1.VaultPush](object); err != nil {
		t.Fatal(err)
	}
	push.Status = v1alpha1.VaultPushStatus{ObservedGeneration: 1, LastPush: &at, NextPush: &at, Generated: &at, Requested: "r", Version: 3, Hash: "h", HashKey: "k", Policies: policies, Bundles: []string{"b"}, Failures: 1, Conditions: conditions}
	if object, err = v1alpha1.Encode(push); err == nil {
		object, err = pushed.UpdateStatus(ctx, object, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v1alpha1.Decode[v1alpha1.VaultPush](object); err != nil || !reflect.DeepEqual(got.Status, push.Status) {
		t.Errorf("got the status %+v and %v, want %+v", got.Status, err, push.Status)
	}
}

const roleObjects = `
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultConnection
metadata: {name: main}
spec: {address: 'https://vault.example', allowedNamespaces: [shop]}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultAuth
metadata: {name: shop, namespace: shop}
spec: {connection: main, kubernetes: {role: shop, serviceAccount: shop}}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultSecret
metadata: {name: db, namespace: shop}
spec: {auth: shop, source: {kv: {mount: secret, path: shop/db}}, destination: {}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: admin, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop, namespace: bank}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: portcullis-secrets, namespace: portcullis-system}
---
apiVersion: v1
kind: Secret
metadata: {name: approle, namespace: shop}
stringData: {secretID: x}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: shop}
stringData: {k: c4n4ry-7f3a9c}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: bank}
stringData: {k: c4n4ry-7f3a9c}
---
apiVersion: v1
kind: Secret
metadata: {name: portcullis-secrets-hash-key, namespace: portcullis-system}
stringData: {key: c4n4ry-7f3a9c}
---
apiVersion: v1
kind: Secret
metadata: {name: webhook-key, namespace: portcullis-system}
stringData: {key: c4n4ry-7f3a9c}
`

// bindings are what an installation has beside the roles: who they are for.
const bindings = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: portcullis-secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-secrets}
subjects: [{kind: ServiceAccount, namespace: portcullis-system, name: portcullis-secrets}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: portcullis-secrets, namespace: portcullis-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portcullis-secrets}
subjects: [{kind: ServiceAccount, namespace: portcullis-system, name: portcullis-secrets}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-secrets-editor}
subjects: [{kind: User, name: developer}]
`

// grants is the Role of shop for what is there.
func grants() []byte {
	return v1alpha1.NamespaceRole("shop",
		[]v1alpha1.VaultSecret{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}, Spec: v1alpha1.VaultSecretSpec{Rotation: v1alpha1.Rotation{Restart: v1alpha1.RestartNamed, Workloads: []v1alpha1.WorkloadRef{{Kind: "Deployment", Name: "web"}}}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fixed"}, Spec: v1alpha1.VaultSecretSpec{Destination: v1alpha1.Destination{Immutable: true}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "bank-db"}},
		},
		[]v1alpha1.VaultAuth{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop"}, Spec: v1alpha1.VaultAuthSpec{Kubernetes: &v1alpha1.KubernetesAuth{ServiceAccount: "shop"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "approle"}, Spec: v1alpha1.VaultAuthSpec{AppRole: &v1alpha1.AppRoleAuth{SecretRef: v1alpha1.SecretKeyRef{Name: "approle"}}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "bank"}, Spec: v1alpha1.VaultAuthSpec{Kubernetes: &v1alpha1.KubernetesAuth{ServiceAccount: "admin"}}},
		}, nil, "portcullis-system")
}

// With these roles and no others, on a real API server: what portcullis-secrets must be able to do it can, and what would be too much is refused.
func TestIssue4704TheOperatorReachesOnlyWhatIsNamed(t *testing.T) {
	users := []cluster.User{{Name: operator, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:portcullis-system", "system:authenticated"}}, {Name: developer}}
	control, admin, _ := clustertest.Start(t, users, v1alpha1.Manifest, runtimev1alpha1.Manifest, []byte(namespaces))
	clustertest.Serving(t, admin, v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes, v1alpha1.VaultLeases, runtimev1alpha1.Quarantines)
	adminConfig, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	creator, err := cluster.NewCreator(adminConfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range [][]byte{[]byte(roleObjects), v1alpha1.Roles("portcullis-system"), []byte(bindings), grants()} {
		if _, err := creator.Create(t.Context(), manifest, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	config, err := control.Config(operator)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := control.Client(operator)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	byName := func(name string) metav1.ListOptions {
		return metav1.ListOptions{FieldSelector: "metadata.name=" + name, TimeoutSeconds: new(int64(1))}
	}
	everything := metav1.ListOptions{TimeoutSeconds: new(int64(1))}
	watchSecrets := func(namespace string, options metav1.ListOptions) error {
		w, err := client.CoreV1().Secrets(namespace).Watch(ctx, options)
		if err == nil {
			w.Stop()
		}
		return err
	}
	token := func(namespace, account string) error {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}, ExpirationSeconds: new(int64(600))}}
		_, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
		return err
	}
	secret := func(namespace, name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	merge := func(text string) []byte { return []byte(text) }
	must := func(what string, err error) {
		t.Helper()
		if err != nil && !apierrors.IsNotFound(err) { // a right that is exercised on nothing
			t.Errorf("%s: got %v, want it allowed", what, err)
		}
	}
	mustNot := func(what string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want it forbidden", what, err)
		}
	}
	clustertest.Eventually(t, "the roles count", func() error { return watchSecrets("shop", byName("db")) })

	// Its own objects.
	for _, resource := range []schema.GroupVersionResource{v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes, runtimev1alpha1.Quarantines} {
		_, err := objects.Resource(resource).List(ctx, metav1.ListOptions{})
		must("listing "+resource.Resource, err)
	}
	finalized, err := objects.Resource(v1alpha1.VaultSecrets).Namespace("shop").Patch(ctx, "db", types.MergePatchType, merge(`{"metadata":{"finalizers":["`+v1alpha1.Finalizer+`"]}}`), metav1.PatchOptions{})
	must("setting a finalizer", err)
	finalized.Object["status"] = map[string]any{"hash": "h"}
	finalized, err = objects.Resource(v1alpha1.VaultSecrets).Namespace("shop").UpdateStatus(ctx, finalized, metav1.UpdateOptions{})
	must("writing a status", err)
	connection, err := objects.Resource(v1alpha1.VaultConnections).Get(ctx, "main", metav1.GetOptions{})
	must("reading a connection", err)
	connection.Object["status"] = map[string]any{"version": "1"}
	_, err = objects.Resource(v1alpha1.VaultConnections).UpdateStatus(ctx, connection, metav1.UpdateOptions{})
	must("writing the status of a connection", err)
	_, err = objects.Resource(runtimev1alpha1.Quarantines).Patch(ctx, "q-00000000000000000000", types.MergePatchType, merge(`{"status":{"phase":"Contained"}}`), metav1.PatchOptions{}, "status")
	must("writing the status of a quarantine", err)
	_, err = objects.Resource(runtimev1alpha1.Quarantines).Patch(ctx, "q-00000000000000000000", types.MergePatchType, merge(`{"spec":{"revoke":[]}}`), metav1.PatchOptions{})
	mustNot("changing a quarantine", err)
	_, err = objects.Resource(v1alpha1.VaultConnections).Patch(ctx, "main", types.MergePatchType, merge(`{"spec":{"allowedNamespaces":["*"]}}`), metav1.PatchOptions{})
	mustNot("changing who may use a connection", err)
	_, err = objects.Resource(v1alpha1.VaultAuths).Namespace("shop").Patch(ctx, "shop", types.MergePatchType, merge(`{"spec":{"connection":"x"}}`), metav1.PatchOptions{})
	mustNot("changing who logs in", err)
	_, err = client.CoreV1().Events("shop").Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "shop"}, InvolvedObject: corev1.ObjectReference{Namespace: "shop"}}, metav1.CreateOptions{})
	must("an Event", err)
	_, err = client.CoreV1().Namespaces().Get(ctx, "bank", metav1.GetOptions{})
	must("labels of a namespace", err)

	// The Secrets that are named: made, owned, watched, changed, deleted.
	owned := secret("shop", "db")
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "VaultSecret", Name: "db", UID: finalized.GetUID(), BlockOwnerDeletion: new(true), Controller: new(true)}}
	_, err = client.CoreV1().Secrets("shop").Create(ctx, owned, metav1.CreateOptions{})
	must("making the Secret", err)
	_, err = client.CoreV1().Secrets("shop").Get(ctx, "db", metav1.GetOptions{})
	must("reading the Secret", err)
	_, err = client.CoreV1().Secrets("shop").Patch(ctx, "db", types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"a":"b"}}`), metav1.PatchOptions{FieldManager: v1alpha1.FieldManager, Force: new(true)})
	must("applying the Secret", err)
	must("watching the Secret by name", watchSecrets("shop", byName("db")))
	for slot := range v1alpha1.ImmutableSlots {
		must("deleting a slot", client.CoreV1().Secrets("shop").Delete(ctx, v1alpha1.SlotName("fixed", slot), metav1.DeleteOptions{}))
	}
	must("deleting the Secret", client.CoreV1().Secrets("shop").Delete(ctx, "db", metav1.DeleteOptions{}))
	_, err = client.CoreV1().Secrets("shop").Get(ctx, "approle", metav1.GetOptions{})
	must("reading what a login shows", err)

	// All others.
	for _, namespace := range []string{"", "shop", "bank", "portcullis-system", "kube-system"} {
		_, err = client.CoreV1().Secrets(namespace).List(ctx, everything)
		mustNot("listing the Secrets of "+namespace, err)
		mustNot("watching the Secrets of "+namespace, watchSecrets(namespace, everything))
	}
	_, err = client.CoreV1().Secrets("shop").List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.ManagedByLabel + "=" + v1alpha1.ManagedBy})
	mustNot("listing Secrets by a label", err)
	for _, other := range []struct{ namespace, name string }{{"shop", "other"}, {"bank", "db"}, {"bank", "bank-db"}, {"portcullis-system", "webhook-key"}} {
		what := other.namespace + "/" + other.name
		_, err = client.CoreV1().Secrets(other.namespace).Get(ctx, other.name, metav1.GetOptions{})
		mustNot("reading "+what, err)
		mustNot("watching "+what, watchSecrets(other.namespace, byName(other.name)))
		_, err = client.CoreV1().Secrets(other.namespace).Patch(ctx, other.name, types.MergePatchType, merge(`{}`), metav1.PatchOptions{})
		mustNot("changing "+what, err)
		mustNot("deleting "+what, client.CoreV1().Secrets(other.namespace).Delete(ctx, other.name, metav1.DeleteOptions{}))
	}
	_, err = client.CoreV1().Secrets("bank").Create(ctx, secret("bank", "new"), metav1.CreateOptions{})
	mustNot("making a Secret elsewhere", err)
	for _, verb := range []string{"update", "patch", "delete"} {
		var err error
		switch verb {
		case "update":
			_, err = client.CoreV1().Secrets("shop").Update(ctx, secret("shop", "approle"), metav1.UpdateOptions{})
		case "patch":
			_, err = client.CoreV1().Secrets("shop").Patch(ctx, "approle", types.MergePatchType, merge(`{}`), metav1.PatchOptions{})
		default:
			err = client.CoreV1().Secrets("shop").Delete(ctx, "approle", metav1.DeleteOptions{})
		}
		mustNot("to "+verb+" what is only referred to", err)
	}
	mustNot("deleting all Secrets", client.CoreV1().Secrets("shop").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	_, err = client.CoreV1().ConfigMaps("shop").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	mustNot("reading a ConfigMap", err)

	// Tokens.
	must("a token of the service account that is named", token("shop", "shop"))
	must("a token of its own", token("portcullis-system", "portcullis-secrets"))
	for _, other := range []struct{ namespace, name string }{{"shop", "admin"}, {"shop", "default"}, {"bank", "shop"}, {"bank", "admin"}, {"portcullis-system", "default"}, {"kube-system", "default"}} {
		mustNot("a token of "+other.namespace+"/"+other.name, token(other.namespace, other.name))
	}

	// Workloads that are named, and pods of slots.
	_, err = client.AppsV1().Deployments("shop").Patch(ctx, "web", types.MergePatchType, merge(`{}`), metav1.PatchOptions{})
	must("restarting a workload", err)
	_, err = client.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{})
	must("looking who uses a slot", err)
	_, err = client.AppsV1().Deployments("shop").Patch(ctx, "other", types.MergePatchType, merge(`{}`), metav1.PatchOptions{})
	mustNot("restarting another workload", err)
	_, err = client.AppsV1().StatefulSets("shop").Patch(ctx, "web", types.MergePatchType, merge(`{}`), metav1.PatchOptions{})
	mustNot("restarting a workload of another kind", err)
	_, err = client.AppsV1().Deployments("bank").List(ctx, metav1.ListOptions{})
	mustNot("listing workloads elsewhere", err)
	_, err = client.CoreV1().Pods("shop").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{})
	mustNot("making a pod, which could read any Secret", err)

	// Its own namespace.
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	held, err := client.CoordinationV1().Leases("portcullis-system").Create(ctx, lease(v1alpha1.LeaseName), metav1.CreateOptions{})
	must("making its Lease", err)
	_, err = client.CoordinationV1().Leases("portcullis-system").Update(ctx, held, metav1.UpdateOptions{})
	must("keeping its Lease", err)
	_, err = client.CoordinationV1().Leases("portcullis-system").Get(ctx, "portcullis-responder", metav1.GetOptions{})
	mustNot("another's Lease", err)
	_, err = client.CoordinationV1().Leases("shop").Create(ctx, lease("x"), metav1.CreateOptions{})
	mustNot("a Lease elsewhere", err)
	_, err = client.CoreV1().Secrets("portcullis-system").Get(ctx, v1alpha1.HashKeyName, metav1.GetOptions{})
	must("reading the key of hashes", err)
	_, err = client.CoreV1().Secrets("portcullis-system").Update(ctx, secret("portcullis-system", v1alpha1.HashKeyName), metav1.UpdateOptions{})
	mustNot("changing the key of hashes", err)
	_, err = objects.Resource(v1alpha1.VaultLeases).Namespace("portcullis-system").List(ctx, metav1.ListOptions{})
	must("listing its VaultLeases", err)
	_, err = objects.Resource(v1alpha1.VaultLeases).List(ctx, metav1.ListOptions{})
	mustNot("listing VaultLeases everywhere", err)
	_, err = objects.Resource(schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}).Namespace("shop").List(ctx, metav1.ListOptions{})
	mustNot("its own rights", err)

	// A developer of shop says what is kept there, and neither where nor elsewhere.
	config, err = control.Config(developer)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = theirs.Resource(v1alpha1.VaultSecrets).Namespace("shop").List(ctx, metav1.ListOptions{})
	must("a developer listing their VaultSecrets", err)
	_, err = theirs.Resource(v1alpha1.VaultSecrets).Namespace("bank").List(ctx, metav1.ListOptions{})
	mustNot("a developer listing those of others", err)
	_, err = theirs.Resource(v1alpha1.VaultSecrets).Namespace("shop").Patch(ctx, "db", types.MergePatchType, merge(`{"status":{"hash":"x"}}`), metav1.PatchOptions{}, "status")
	mustNot("a developer writing a status, which says what is owned", err)
	_, err = theirs.Resource(v1alpha1.VaultConnections).Patch(ctx, "main", types.MergePatchType, merge(`{}`), metav1.PatchOptions{})
	mustNot("a developer changing a connection", err)
	_, err = theirs.Resource(v1alpha1.VaultLeases).Namespace("portcullis-system").List(ctx, metav1.ListOptions{})
	mustNot("a developer reading leases", err)
}

// Restarting all that refers to a Secret needs all workloads of the namespace, and still no other's.
func TestANamespaceRoleGrowsWithWhatItIsFor(t *testing.T) {
	object := func(change func(*v1alpha1.VaultSecret)) v1alpha1.VaultSecret {
		s := v1alpha1.VaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}}
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		secrets []v1alpha1.VaultSecret
		auths   []v1alpha1.VaultAuth
		pushes  []v1alpha1.VaultPush
		want    []string
	}{
		"nothing":           {},
		"what is elsewhere": {secrets: []v1alpha1.VaultSecret{{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "db"}}}},
		"a Secret":          {secrets: []v1alpha1.VaultSecret{object(func(*v1alpha1.VaultSecret) {})}, want: []string{"secrets [db] get watch patch delete", "secrets create"}},
		"a Secret that had another name": {secrets: []v1alpha1.VaultSecret{object(func(s *v1alpha1.VaultSecret) {
			s.Spec.Destination.Name = "new"
			s.Status.Destination = &v1alpha1.DestinationStatus{Kind: "Secret", Name: "old", Slots: []string{"old-1"}}
		})}, want: []string{"secrets [new old old-1] get watch patch delete", "secrets create"}},
		"a ConfigMap": {secrets: []v1alpha1.VaultSecret{object(func(s *v1alpha1.VaultSecret) { s.Spec.Destination.Kind = "ConfigMap" })}, want: []string{"configmaps [db] get watch patch delete", "configmaps create"}},
		"immutable": {secrets: []v1alpha1.VaultSecret{object(func(s *v1alpha1.VaultSecret) { s.Spec.Destination.Immutable = true })},
			want: []string{"secrets [db-0 db-1 db-2 db-3 db-4 db-5 db-6 db-7] get watch patch delete", "secrets create", "daemonsets,deployments,statefulsets list", "pods list"}},
		"what refers to it": {secrets: []v1alpha1.VaultSecret{object(func(s *v1alpha1.VaultSecret) {
			s.Spec.Rotation = v1alpha1.Rotation{Restart: v1alpha1.RestartReferencing, Workloads: []v1alpha1.WorkloadRef{{Kind: "Deployment", Name: "web"}}}
		})}, want: []string{"secrets [db] get watch patch delete", "secrets create", "daemonsets,deployments,statefulsets get list patch"}},
		"what is named": {secrets: []v1alpha1.VaultSecret{object(func(s *v1alpha1.VaultSecret) {
			s.Spec.Rotation = v1alpha1.Rotation{Restart: v1alpha1.RestartNamed, Workloads: []v1alpha1.WorkloadRef{{Kind: "Deployment", Name: "web"}, {Kind: "StatefulSet", Name: "db"}, {Kind: "Deployment", Name: "api"}, {Kind: "Job", Name: "x"}}}
		})}, want: []string{"secrets [db] get watch patch delete", "secrets create", "deployments [api web] get patch", "statefulsets [db] get patch"}},
		"logins": {auths: []v1alpha1.VaultAuth{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultAuthSpec{Kubernetes: &v1alpha1.KubernetesAuth{ServiceAccount: "b"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultAuthSpec{JWT: &v1alpha1.JWTAuth{ServiceAccount: "a"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultAuthSpec{JWT: &v1alpha1.JWTAuth{SecretRef: &v1alpha1.SecretKeyRef{Name: "jwt"}}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultAuthSpec{AppRole: &v1alpha1.AppRoleAuth{SecretRef: v1alpha1.SecretKeyRef{Name: "id"}}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultAuthSpec{Cert: &v1alpha1.CertAuth{SecretName: "tls"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "bank"}, Spec: v1alpha1.VaultAuthSpec{Cert: &v1alpha1.CertAuth{SecretName: "bank"}}},
		}, want: []string{"secrets [id jwt tls] get", "serviceaccounts/token [a b] create"}},
		"what is pushed": {pushes: []v1alpha1.VaultPush{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultPushSpec{Secret: &v1alpha1.PushSecret{Name: "made"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "bank"}, Spec: v1alpha1.VaultPushSpec{Secret: &v1alpha1.PushSecret{Name: "bank"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1alpha1.VaultPushSpec{Generate: map[string]v1alpha1.Generator{"a": {}}}},
		}, want: []string{"secrets [made] get"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := v1alpha1.NamespaceRole("shop", test.secrets, test.auths, test.pushes, "vaults")
			documents := strings.Split(string(text), "---\n")
			if len(documents) != 2 {
				t.Fatalf("got %d documents, want a Role and a RoleBinding:\n%s", len(documents), text)
			}
			role, binding := parse(t, documents[0]), parse(t, documents[1])
			var got []string
			rules, _, err := unstructured.NestedSlice(role.Object, "rules")
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range rules {
				rule := rule.(map[string]any)
				line := strings.Trim(strings.ReplaceAll(fmt.Sprint(rule["resources"]), " ", ","), "[]")
				if rule["resourceNames"] != nil {
					line += fmt.Sprint(" ", rule["resourceNames"])
				}
				got = append(got, line+" "+strings.Trim(fmt.Sprint(rule["verbs"]), "[]"))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s,\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			subject, _, _ := unstructured.NestedSlice(binding.Object, "subjects")
			if want := []any{map[string]any{"kind": "ServiceAccount", "namespace": "vaults", "name": "portcullis-secrets"}}; role.GetNamespace() != "shop" || binding.GetNamespace() != "shop" || !reflect.DeepEqual(subject, want) {
				t.Errorf("the role is of %s, the binding of %s for %v, want shop and %v", role.GetNamespace(), binding.GetNamespace(), subject, want)
			}
		})
	}
}
