package inquiry_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

const (
	connectionYAML = `{metadata: {name: main}, spec: {address: "https://vault.example.com:8200", vaultNamespace: acme, allowedNamespaces: [shop]}}`
	authYAML       = `{metadata: {name: vault, namespace: shop}, spec: {connection: main, kubernetes: {role: shop, serviceAccount: vault}}}`
)

func read[T any](t *testing.T, text string) *T {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return &object
}

func TestASyncSaysWhatTheObjectsSay(t *testing.T) {
	for name, test := range map[string]struct {
		auth, spec string
		want       func(*secrets.Sync)
	}{
		"a secret of KV with all defaults": {authYAML, `{auth: vault, source: {kv: {mount: secret, path: shop/db}}, destination: {}}`, func(s *secrets.Sync) {
			s.RefreshSeconds = 3600
		}},
		"every choice": {authYAML, `{auth: vault, source: {kv: {mount: secret, path: shop/db, engineVersion: 1, keys: [a]}}, refresh: {interval: 90s}, rotation: {restart: Referencing}, deletion: {whenGone: Delete},
			destination: {name: creds, type: kubernetes.io/basic-auth, templates: {b: "", a: ""}, immutable: true, adopt: true}}`, func(s *secrets.Sync) {
			s.Vault.Engine, s.Vault.Keys, s.Vault.Accesses[0].Path = secrets.EngineKV1, []string{"a"}, "secret/shop/db"
			s.Destination = secrets.SyncDestination{Kind: "Secret", Name: "creds", Type: "kubernetes.io/basic-auth", Keys: []string{"a", "b"}, Immutable: true, Adopts: true}
			s.RefreshSeconds, s.RestartsWorkloads, s.DeletesWhenGone = 90, true, true
		}},
		"read once": {authYAML, `{auth: vault, source: {kv: {mount: secret, path: shop/db}}, destination: {}, refresh: {once: true, interval: 1h}}`, func(s *secrets.Sync) {
			s.RefreshSeconds = inquiry.Once
		}},
		"what ends by itself has no interval": {authYAML, `{auth: vault, source: {dynamic: {mount: database, path: creds/shop}}, destination: {}, refresh: {interval: 1h}}`, func(s *secrets.Sync) {
			s.Vault = secrets.SyncPlace{Engine: secrets.EngineDynamic, Mount: "database", Path: "creds/shop", Segments: []string{"creds", "shop"}, Keys: []string{}, Accesses: []secrets.Access{{Path: "database/creds/shop", Capability: "read"}}}
		}},
		"an AppRole and a ConfigMap": {`{metadata: {name: vault, namespace: shop}, spec: {connection: main, appRole: {roleID: r-1, secretRef: {name: s}}}}`,
			`{auth: vault, source: {transit: {key: shop, publicKeys: true}}, destination: {kind: ConfigMap}}`, func(s *secrets.Sync) {
				s.Auth = secrets.SyncAuth{Name: "vault", Method: "appRole", Mount: "approle", Role: "r-1"}
				s.Vault = secrets.SyncPlace{Engine: secrets.EngineTransit, Mount: "transit", Path: "shop", Segments: []string{"shop"}, Keys: []string{}, Accesses: []secrets.Access{{Path: "transit/keys/shop", Capability: "read"}}}
				s.Destination.Kind, s.Destination.Type, s.RefreshSeconds = "ConfigMap", "", 3600
			}},
		"a JWT at another mount": {`{metadata: {name: vault, namespace: shop}, spec: {connection: main, mount: gitlab, jwt: {role: shop, secretRef: {name: s}}}}`,
			`{auth: vault, source: {kv: {mount: secret, path: shop/db}}, destination: {}}`, func(s *secrets.Sync) {
				s.Auth, s.RefreshSeconds = secrets.SyncAuth{Name: "vault", Method: "jwt", Mount: "gitlab", Role: "shop"}, 3600
			}},
		"a certificate": {`{metadata: {name: vault, namespace: shop}, spec: {connection: main, cert: {secretName: s}}}`,
			`{auth: vault, source: {kv: {mount: secret, path: shop/db}}, destination: {}}`, func(s *secrets.Sync) {
				s.Auth, s.RefreshSeconds = secrets.SyncAuth{Name: "vault", Method: "cert", Mount: "cert"}, 3600
			}},
	} {
		t.Run(name, func(t *testing.T) {
			secret := read[v1alpha1.VaultSecret](t, `{metadata: {name: db, namespace: shop, labels: {app: web}}, spec: `+test.spec+`}`)
			want := &secrets.Sync{
				Object:      secrets.SyncObject{Kind: "VaultSecret", Namespace: "shop", Name: "db", Labels: map[string]string{"app": "web"}},
				Connection:  secrets.SyncConnection{Name: "main", Address: "https://vault.example.com:8200", VaultNamespace: "acme"},
				Auth:        secrets.SyncAuth{Name: "vault", Method: "kubernetes", Mount: "kubernetes", Role: "shop", ServiceAccount: "vault"},
				Vault:       secrets.SyncPlace{Engine: secrets.EngineKV2, Mount: "secret", Path: "shop/db", Segments: []string{"shop", "db"}, Keys: []string{}, Accesses: []secrets.Access{{Path: "secret/data/shop/db", Capability: "read"}}},
				Destination: secrets.SyncDestination{Kind: "Secret", Name: "db", Type: "Opaque"},
			}
			test.want(want)
			got, err := inquiry.NewSync(read[v1alpha1.VaultConnection](t, connectionYAML), read[v1alpha1.VaultAuth](t, test.auth), secret)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestAPushSaysWhereItsValuesComeFrom(t *testing.T) {
	conn, auth := read[v1alpha1.VaultConnection](t, connectionYAML), read[v1alpha1.VaultAuth](t, authYAML)
	for name, test := range map[string]struct {
		spec string
		want secrets.SyncDestination
	}{
		"made here":      {`{auth: vault, destination: {mount: secret, path: shop/db}, generate: {password: {}, key: {}}}`, secrets.SyncDestination{Kind: inquiry.Generated, Keys: []string{"key", "password"}}},
		"of a Secret":    {`{auth: vault, destination: {mount: secret, path: shop/db}, secret: {name: db, keys: [a]}}`, secrets.SyncDestination{Kind: "Secret", Name: "db", Keys: []string{"a"}}},
		"over another's": {`{auth: vault, destination: {mount: secret, path: shop/db, overwrite: true}, secret: {name: db}}`, secrets.SyncDestination{Kind: "Secret", Name: "db", Adopts: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := inquiry.NewPushSync(conn, auth, read[v1alpha1.VaultPush](t, `{metadata: {name: db, namespace: shop}, spec: `+test.spec+`}`))
			if err != nil || !reflect.DeepEqual(got.Destination, test.want) || got.Object.Kind != "VaultPush" || got.Vault.Path != "shop/db" || got.RefreshSeconds != 3600 {
				t.Errorf("got %+v, %v, want a push from %+v to shop/db every hour", got, err, test.want)
			}
		})
	}
}

func TestObjectsThatDoNotBelongTogetherAreNoQuestion(t *testing.T) {
	for name, test := range map[string]struct {
		conn, auth, spec string
		want             secrets.Reason
	}{
		"the VaultAuth of another namespace": {connectionYAML, strings.Replace(authYAML, "namespace: shop", "namespace: web", 1), `{auth: vault, source: {kv: {mount: secret, path: a}}, destination: {}}`, secrets.MissingReference},
		"another VaultAuth":                  {connectionYAML, authYAML, `{auth: other, source: {kv: {mount: secret, path: a}}, destination: {}}`, secrets.MissingReference},
		"another VaultConnection":            {strings.Replace(connectionYAML, "name: main", "name: other", 1), authYAML, `{auth: vault, source: {kv: {mount: secret, path: a}}, destination: {}}`, secrets.MissingReference},
		"a VaultAuth without a method":       {connectionYAML, `{metadata: {name: vault, namespace: shop}, spec: {connection: main}}`, `{auth: vault, source: {kv: {mount: secret, path: a}}, destination: {}}`, secrets.Misconfigured},
		"a VaultAuth with two":               {connectionYAML, strings.Replace(authYAML, "kubernetes:", "cert: {secretName: s}, kubernetes:", 1), `{auth: vault, source: {kv: {mount: secret, path: a}}, destination: {}}`, secrets.Misconfigured},
		"no engine":                          {connectionYAML, authYAML, `{auth: vault, source: {}, destination: {}}`, secrets.Misconfigured},
		"a path that climbs":                 {connectionYAML, authYAML, `{auth: vault, source: {kv: {mount: secret, path: shop/../web}}, destination: {}}`, secrets.Misconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			secret := read[v1alpha1.VaultSecret](t, `{metadata: {name: db, namespace: shop}, spec: `+test.spec+`}`)
			got, err := inquiry.NewSync(read[v1alpha1.VaultConnection](t, test.conn), read[v1alpha1.VaultAuth](t, test.auth), secret)
			if got != nil || secrets.ReasonOf(err) != test.want {
				t.Errorf("got %+v and %v, want nothing and the reason %s", got, err, test.want)
			}
		})
	}
}

func TestARequestIsOfTheOperatorAboutTheObject(t *testing.T) {
	secret := read[v1alpha1.VaultSecret](t, `{metadata: {name: db, namespace: shop}, spec: {auth: vault, source: {kv: {mount: secret, path: shop/db}}, destination: {}}}`)
	sync, err := inquiry.NewSync(read[v1alpha1.VaultConnection](t, connectionYAML), read[v1alpha1.VaultAuth](t, authYAML), secret)
	if err != nil {
		t.Fatal(err)
	}
	request, err := inquiry.NewRequest(sync, secret, "portcullis-system")
	if err != nil {
		t.Fatal(err)
	}
	namespace, account, ok := request.Subject.ServiceAccount()
	if request.Operation != "SYNC" || request.Resource.Resource != "vaultsecrets" || request.Namespace != "shop" || request.Name != "db" || !ok || namespace != "portcullis-system" || account != "portcullis-secrets" {
		t.Errorf("got %+v, want a SYNC of vaultsecrets shop/db by portcullis-system/portcullis-secrets", request)
	}
	var object v1alpha1.VaultSecret
	if err := json.Unmarshal(request.Object, &object); err != nil || object.Name != "db" {
		t.Errorf("got the object %s, %v, want the VaultSecret", request.Object, err)
	}
	sync.Object.Kind = "VaultPush"
	if request, err := inquiry.NewRequest(sync, secret, "portcullis-system"); err != nil || request.Operation != "PUSH" || request.Resource.Resource != "vaultpushes" {
		t.Errorf("got %+v, %v, want a PUSH of vaultpushes", request, err)
	}
}

func TestAConnectionIsOpenToTheNamespacesItLists(t *testing.T) {
	for name, test := range map[string]struct {
		allowed []string
		want    bool
	}{
		"none":                 {nil, false},
		"by name":              {[]string{"web", "shop"}, true},
		"by a glob":            {[]string{"sh*"}, true},
		"all":                  {[]string{"*"}, true},
		"a name that is alike": {[]string{"shop-evil", "sho", "shop?"}, false},
		"a broken glob":        {[]string{"["}, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn := read[v1alpha1.VaultConnection](t, connectionYAML)
			conn.Spec.AllowedNamespaces = test.allowed
			if got := inquiry.Allows(conn, "shop"); got != test.want {
				t.Errorf("got %v for %q, want %v", got, test.allowed, test.want)
			}
		})
	}
}
