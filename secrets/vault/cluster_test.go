package vault

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const shopObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: app, namespace: shop}
stringData: {secretID: ` + canary + `}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator, namespace: shop}
rules:
- {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [app, gone], verbs: [create]}
- {apiGroups: [""], resources: [secrets], resourceNames: [app, gone], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: operator}]
`

func TestARealAPIServerGivesTokensForTheAudienceOnlyAndSaysWhichRoleIsMissing(t *testing.T) {
	control, _, _ := clustertest.Start(t, []cluster.User{{Name: "operator"}}, []byte(shopObjects))
	client, err := control.Client("operator")
	must(t, err)
	c := NewCluster(client)

	token, expires, err := c.ServiceAccountToken(t.Context(), "shop", "app", []string{"vault"}, 10*time.Minute)
	must(t, err)
	if left := time.Until(expires); left < 9*time.Minute || left > 11*time.Minute {
		t.Errorf("the token lives %s, want 10m", left)
	}
	var claims struct {
		Audience []string `json:"aud"`
		Subject  string   `json:"sub"`
	}
	parts := strings.Split(string(token.Reveal()), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	must(t, json.Unmarshal(payload, &claims))
	if len(claims.Audience) != 1 || claims.Audience[0] != "vault" || claims.Subject != "system:serviceaccount:shop:app" {
		t.Errorf("the token is for %q of %s, want vault and shop/app", claims.Audience, claims.Subject)
	}
	value, err := c.SecretKey(t.Context(), "shop", "app", "secretID")
	if err != nil || string(value.Reveal()) != canary {
		t.Errorf("the key of the Secret is not read: %v", err)
	}

	ask := func(kind, namespace, name, key string) error {
		if kind == "token" {
			_, _, err := c.ServiceAccountToken(t.Context(), namespace, name, []string{"vault"}, 10*time.Minute)
			return err
		}
		_, err := c.SecretKey(t.Context(), namespace, name, key)
		return err
	}
	for name, test := range map[string]struct {
		kind, namespace, name, key string
		want                       secrets.Reason
		words                      []string
	}{
		"a service account that no Role names":   {"token", "shop", "default", "", secrets.ClusterForbidden, []string{"serviceaccounts/token", "resourceName default", "portcullis-secrets roles --namespace shop"}},
		"a service account of another namespace": {"token", "kube-system", "default", "", secrets.ClusterForbidden, []string{"namespace kube-system"}},
		"a service account that is not there":    {"token", "shop", "gone", "", secrets.MissingReference, []string{"service account shop/gone"}},
		"a Secret that no Role names":            {"secret", "shop", "other", "k", secrets.ClusterForbidden, []string{"get on secrets", "resourceName other", "portcullis-secrets roles --namespace shop"}},
		"a Secret that is not there":             {"secret", "shop", "gone", "k", secrets.MissingReference, []string{"Secret shop/gone"}},
		"a Secret that lacks the key":            {"secret", "shop", "app", "other", secrets.MissingReference, []string{`"other"`}},
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(test.kind, test.namespace, test.name, test.key)
			if got := secrets.ReasonOf(err); got != test.want {
				t.Fatalf("reason %q, want %q: %v", got, test.want, err)
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q lacks %q", err, word)
				}
			}
			if strings.Contains(err.Error(), canary) {
				t.Error("a value in the error")
			}
		})
	}
	must(t, control.Stop())
	if err := ask("secret", "shop", "app", "secretID"); secrets.ReasonOf(err) != secrets.ClusterFailed {
		t.Errorf("reason %q of an API server that is gone, want ClusterFailed: %v", secrets.ReasonOf(err), err)
	}
}
