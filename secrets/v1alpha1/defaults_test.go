package v1alpha1

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
)

// same compares what a spec is with what it should be, and holds the original to what it was.
func same(t *testing.T, name string, original any, defaulted func() any, want any) {
	t.Helper()
	before, err := json.Marshal(original)
	if err != nil {
		t.Fatal(err)
	}
	if got := defaulted(); !reflect.DeepEqual(got, want) {
		gotText, _ := json.Marshal(got)
		wantText, _ := json.Marshal(want)
		t.Errorf("%s: got %s, want %s", name, gotText, wantText)
	}
	if after, err := json.Marshal(original); err != nil || string(after) != string(before) {
		t.Errorf("%s: the original is now %s (%v), was %s", name, after, err, before)
	}
}

func after(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func TestDefaultsAreThoseOfTheDocumentation(t *testing.T) {
	tenMinutes, hour := after(10*time.Minute), after(time.Hour)
	connection := &VaultConnection{Spec: VaultConnectionSpec{Address: "https://v", LeaseEncryption: &LeaseEncryption{Transit: &TransitEncryption{Key: "k", Auth: KubernetesAuth{Role: "r", ServiceAccount: "s"}}}}}
	same(t, "connection", connection, func() any { return connection.Defaulted().Spec }, VaultConnectionSpec{Address: "https://v", Timeout: after(10 * time.Second), RequestsPerSecond: 50, Burst: 100,
		LeaseEncryption: &LeaseEncryption{Transit: &TransitEncryption{Mount: "transit", Key: "k", AuthMount: "kubernetes", Auth: KubernetesAuth{Role: "r", ServiceAccount: "s", Audiences: []string{"vault"}, TokenTTL: tenMinutes}}}})

	for name, test := range map[string]struct{ spec, want VaultAuthSpec }{
		"kubernetes": {VaultAuthSpec{Kubernetes: &KubernetesAuth{Role: "r"}}, VaultAuthSpec{Mount: "kubernetes", Kubernetes: &KubernetesAuth{Role: "r", Audiences: []string{"vault"}, TokenTTL: tenMinutes}}},
		"what is said stays": {VaultAuthSpec{Mount: "k8s", Kubernetes: &KubernetesAuth{Role: "r", Audiences: []string{"a"}, TokenTTL: hour}},
			VaultAuthSpec{Mount: "k8s", Kubernetes: &KubernetesAuth{Role: "r", Audiences: []string{"a"}, TokenTTL: hour}}},
		"JWT of a service account": {VaultAuthSpec{JWT: &JWTAuth{ServiceAccount: "s"}}, VaultAuthSpec{Mount: "jwt", JWT: &JWTAuth{ServiceAccount: "s", Audiences: []string{"vault"}, TokenTTL: tenMinutes}}},
		"JWT of a Secret":          {VaultAuthSpec{JWT: &JWTAuth{SecretRef: &SecretKeyRef{Name: "n"}}}, VaultAuthSpec{Mount: "jwt", JWT: &JWTAuth{SecretRef: &SecretKeyRef{Name: "n", Key: "token"}}}},
		"AppRole":                  {VaultAuthSpec{AppRole: &AppRoleAuth{SecretRef: SecretKeyRef{Name: "n"}}}, VaultAuthSpec{Mount: "approle", AppRole: &AppRoleAuth{SecretRef: SecretKeyRef{Name: "n", Key: "secretID"}}}},
		"a certificate":            {VaultAuthSpec{Cert: &CertAuth{SecretName: "n"}}, VaultAuthSpec{Mount: "cert", Cert: &CertAuth{SecretName: "n"}}},
		"nothing":                  {VaultAuthSpec{}, VaultAuthSpec{}},
	} {
		auth := &VaultAuth{Spec: test.spec}
		same(t, name, auth, func() any { return auth.Defaulted().Spec }, test.want)
	}

	whole := func(source Source) VaultSecretSpec {
		return VaultSecretSpec{Source: source, Destination: Destination{Name: "db", Kind: "Secret", Type: "Opaque"}, Refresh: Refresh{Interval: hour},
			Rotation: Rotation{Restart: "None", Timeout: tenMinutes}, Deletion: Deletion{WhenGone: "Retain", WhenDeleted: "Delete"}}
	}
	for name, test := range map[string]struct{ source, want Source }{
		"kv":                          {Source{KV: &KVSource{Path: "p"}}, Source{KV: &KVSource{Path: "p", EngineVersion: 2}}},
		"dynamic":                     {Source{Dynamic: &DynamicSource{}}, Source{Dynamic: &DynamicSource{RenewPercent: 67, RevokeOnDelete: new(true)}}},
		"dynamic that is not revoked": {Source{Dynamic: &DynamicSource{RenewPercent: 50, RevokeOnDelete: new(false)}}, Source{Dynamic: &DynamicSource{RenewPercent: 50, RevokeOnDelete: new(false)}}},
		"pki":                         {Source{PKI: &PKISource{CSR: &CSR{}}}, Source{PKI: &PKISource{RenewPercent: 67, KeyFormat: "PKCS8", Chain: "Full", CSR: &CSR{Algorithm: "ECDSA256"}}}},
		"transit":                     {Source{Transit: &TransitSource{Key: "k"}}, Source{Transit: &TransitSource{Mount: "transit", Key: "k"}}},
		"secret ids":                  {Source{AppRoleSecretID: &AppRoleSecretIDSource{}}, Source{AppRoleSecretID: &AppRoleSecretIDSource{Mount: "approle", RenewPercent: 67, DestroyOnReplace: new(true)}}},
	} {
		secret := &VaultSecret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: VaultSecretSpec{Source: test.source}}
		same(t, name, secret, func() any { return secret.Defaulted().Spec }, whole(test.want))
	}
	configMap := &VaultSecret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: VaultSecretSpec{Destination: Destination{Kind: KindConfigMap}}}
	if got := configMap.Defaulted().Spec.Destination; got.Type != "" || got.Name != "db" {
		t.Errorf("a ConfigMap has the type %q and the name %q, want none and db", got.Type, got.Name)
	}

	push := &VaultPush{Spec: VaultPushSpec{Generate: map[string]Generator{"a": {}, "b": {Length: 16, Charset: "Hex"}, "c": {PrivateKey: "Ed25519"}}}}
	same(t, "push", push, func() any { return push.Defaulted().Spec }, VaultPushSpec{Destination: PushDestination{EngineVersion: 2}, Refresh: Refresh{Interval: hour}, WhenDeleted: "Retain",
		Generate: map[string]Generator{"a": {Length: 32, Charset: "Alphanumeric"}, "b": {Length: 16, Charset: "Hex"}, "c": {PrivateKey: "Ed25519"}}})
}

// Everything that is defaulted passes the checks, and is not defaulted to something else again.
func TestDefaultsAreFixedPoints(t *testing.T) {
	secret := &VaultSecret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: VaultSecretSpec{Auth: "a", Source: Source{PKI: &PKISource{CSR: &CSR{}}}}}
	if once := secret.Defaulted(); !reflect.DeepEqual(once, once.Defaulted()) || CheckSecret(once) != nil {
		t.Errorf("%+v is defaulted again, or refused: %v", once, CheckSecret(once))
	}
	push := &VaultPush{Spec: VaultPushSpec{Auth: "a", Generate: map[string]Generator{"a": {}}}}
	if once := push.Defaulted(); !reflect.DeepEqual(once, once.Defaulted()) || CheckPush(once) != nil {
		t.Errorf("%+v is defaulted again, or refused: %v", once, CheckPush(once))
	}
}

func TestASourceOfTwoEnginesHasNone(t *testing.T) {
	for want, source := range map[string]Source{
		secrets.EngineKV1: {KV: &KVSource{EngineVersion: 1}}, secrets.EngineKV2: {KV: &KVSource{}}, secrets.EngineDynamic: {Dynamic: &DynamicSource{}}, secrets.EnginePKI: {PKI: &PKISource{}},
		secrets.EngineTransit: {Transit: &TransitSource{}}, secrets.EngineAppRole: {AppRoleSecretID: &AppRoleSecretIDSource{}}, "": {KV: &KVSource{}, PKI: &PKISource{}},
	} {
		if got := source.Engine(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for want, auth := range map[string]VaultAuthSpec{
		"kubernetes": {Kubernetes: &KubernetesAuth{}}, "jwt": {JWT: &JWTAuth{}}, "appRole": {AppRole: &AppRoleAuth{}}, "cert": {Cert: &CertAuth{}}, "": {Cert: &CertAuth{}, JWT: &JWTAuth{}},
	} {
		if got := auth.Method(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSlotsAreTakenInTurn(t *testing.T) {
	s := &VaultSecret{ObjectMeta: metav1.ObjectMeta{Name: "db"}}
	if got, want := DestinationNames(s), []string{"db"}; DestinationName(s) != "db" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Spec.Destination = Destination{Name: "other", Immutable: true}
	if got, want := DestinationNames(s), []string{"other-0", "other-1", "other-2", "other-3", "other-4", "other-5", "other-6", "other-7"}; DestinationName(s) != "other" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for slot, want := range map[int]string{0: "a-0", 7: "a-7", 8: "a-0", -1: "a-7", 17: "a-1"} {
		if got := SlotName("a", slot); got != want {
			t.Errorf("slot %d is %q, want %q", slot, got, want)
		}
	}
}
