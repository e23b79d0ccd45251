package vault

import (
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func TestConnectionsThatWouldShowSecretsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spec v1alpha1.VaultConnectionSpec
		good bool
	}{
		"https":                         {v1alpha1.VaultConnectionSpec{Address: "https://vault.example.com:8200"}, true},
		"https with a slash at its end": {v1alpha1.VaultConnectionSpec{Address: "https://vault.example.com/"}, true},
		"http on loopback":              {v1alpha1.VaultConnectionSpec{Address: "http://127.0.0.1:8200"}, true},
		"http on IPv6 loopback":         {v1alpha1.VaultConnectionSpec{Address: "http://[::1]:8200"}, true},
		"http elsewhere":                {v1alpha1.VaultConnectionSpec{Address: "http://vault.example.com:8200"}, false},
		"http with loopback as a name":  {v1alpha1.VaultConnectionSpec{Address: "http://127.0.0.1.example.com"}, false},
		"a path":                        {v1alpha1.VaultConnectionSpec{Address: "https://vault.example.com/v1"}, false},
		"a user":                        {v1alpha1.VaultConnectionSpec{Address: "https://user:pass@vault.example.com"}, false},
		"a query":                       {v1alpha1.VaultConnectionSpec{Address: "https://vault.example.com?a=b"}, false},
		"a unix socket":                 {v1alpha1.VaultConnectionSpec{Address: "unix:///run/vault.sock"}, false},
		"nothing":                       {v1alpha1.VaultConnectionSpec{}, false},
		"a CA that is no PEM":           {v1alpha1.VaultConnectionSpec{Address: "https://a", CABundle: "a"}, false},
		"a namespace of two lines":      {v1alpha1.VaultConnectionSpec{Address: "https://a", VaultNamespace: "a\r\nb"}, false},
		"a timeout of two minutes":      {v1alpha1.VaultConnectionSpec{Address: "https://a", Timeout: &metav1.Duration{Duration: 2 * time.Minute}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckConnection(&test.spec)
			if (err == nil) != test.good || err != nil && (secrets.ReasonOf(err) != secrets.Misconfigured || strings.Contains(err.Error(), "pass@")) {
				t.Errorf("got %v, want good: %t", err, test.good)
			}
		})
	}
}

func TestAuthsWithoutExactlyOneWholeMethodAreRefused(t *testing.T) {
	kubernetes := &v1alpha1.KubernetesAuth{Role: "r", ServiceAccount: "s"}
	appRole := &v1alpha1.AppRoleAuth{RoleID: "r", SecretRef: v1alpha1.SecretKeyRef{Name: "s"}}
	for name, test := range map[string]struct {
		spec v1alpha1.VaultAuthSpec
		good bool
	}{
		"kubernetes":                 {v1alpha1.VaultAuthSpec{Connection: "c", Kubernetes: kubernetes}, true},
		"approle":                    {v1alpha1.VaultAuthSpec{Connection: "c", Mount: "team/approle", AppRole: appRole}, true},
		"none":                       {v1alpha1.VaultAuthSpec{Connection: "c"}, false},
		"two":                        {v1alpha1.VaultAuthSpec{Connection: "c", Kubernetes: kubernetes, AppRole: appRole}, false},
		"no connection":              {v1alpha1.VaultAuthSpec{Kubernetes: kubernetes}, false},
		"a mount that climbs":        {v1alpha1.VaultAuthSpec{Connection: "c", Mount: "a/../../sys", Kubernetes: kubernetes}, false},
		"a mount with auth/":         {v1alpha1.VaultAuthSpec{Connection: "c", Mount: "auth/kubernetes", Kubernetes: kubernetes}, false},
		"a JWT of two origins":       {v1alpha1.VaultAuthSpec{Connection: "c", JWT: &v1alpha1.JWTAuth{ServiceAccount: "s", SecretRef: &v1alpha1.SecretKeyRef{Name: "s"}}}, false},
		"a certificate of no Secret": {v1alpha1.VaultAuthSpec{Connection: "c", Cert: &v1alpha1.CertAuth{}}, false},
		"a token of a day":           {v1alpha1.VaultAuthSpec{Connection: "c", Kubernetes: &v1alpha1.KubernetesAuth{Role: "r", ServiceAccount: "s", TokenTTL: &metav1.Duration{Duration: 24 * time.Hour}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := CheckAuth(&test.spec); (err == nil) != test.good || err != nil && secrets.ReasonOf(err) != secrets.Misconfigured {
				t.Errorf("got %v, want good: %t", err, test.good)
			}
		})
	}
}

// The confused deputy of External Secrets Operator (GHSA-fcxq-v2r3-cc8h, CVE-2026-42875): an object refers to another namespace.
func TestNoFieldOfAVaultAuthCanNameAnotherNamespace(t *testing.T) {
	var look func(path string, of reflect.Type)
	look = func(path string, of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[metav1.Duration]() {
			return
		}
		for field := range of.Fields() {
			if strings.Contains(strings.ToLower(field.Name), "namespace") {
				t.Errorf("%s.%s names a namespace", path, field.Name)
			}
			look(path+"."+field.Name, field.Type)
		}
	}
	look("spec", reflect.TypeFor[v1alpha1.VaultAuthSpec]())
}
