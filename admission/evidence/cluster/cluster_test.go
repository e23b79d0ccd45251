package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

func newCluster(objects ...k8sruntime.Object) (*Cluster, *dynamicfake.FakeDynamicClient) {
	client := dynamicfake.NewSimpleDynamicClient(k8sruntime.NewScheme(), objects...)
	return New(client), client
}

func object(apiVersion, kind, name string, fields map[string]any) *unstructured.Unstructured {
	all := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": "shop", "name": name, "uid": "u-" + name}}
	for key, value := range fields {
		all[key] = value
	}
	return &unstructured.Unstructured{Object: all}
}

func pullSecret(name, kind, key, content string) *unstructured.Unstructured {
	return object("v1", "Secret", name, map[string]any{"type": kind, "data": map[string]any{key: base64.StdEncoding.EncodeToString([]byte(content))}})
}

func login(host, user string) string {
	return `{"` + host + `":{"username":"` + user + `","password":"hunter2"}}`
}

func account(name string, secrets ...string) *unstructured.Unstructured {
	var list []any
	for _, secret := range secrets {
		list = append(list, map[string]any{"name": secret})
	}
	return object("v1", "ServiceAccount", name, map[string]any{"imagePullSecrets": list})
}

func TestPullSecrets(t *testing.T) {
	const modern, old = "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"
	objects := []k8sruntime.Object{
		pullSecret("ghcr", modern, ".dockerconfigjson", `{"auths":`+login("ghcr.io", "pod")+`}`),
		pullSecret("quay", old, ".dockercfg", login("quay.io", "account")),
		pullSecret("token", "kubernetes.io/service-account-token", "token", "secret"),
		pullSecret("broken", modern, ".dockerconfigjson", `{"auths":{"ghcr.io":{"auth":"hunter2"}`),
		object("v1", "Secret", "damaged", map[string]any{"type": modern, "data": map[string]any{".dockerconfigjson": "hunter2!"}}),
		account("default", "quay", "gone"),
	}
	for name, test := range map[string]struct {
		accounts, secrets []string
		host              string
		want              string // username
		fault             string
	}{
		"that a pod names":                       {nil, []string{"ghcr"}, "ghcr.io", "pod", ""},
		"of its service account":                 {[]string{"default"}, nil, "quay.io", "account", ""},
		"of both":                                {[]string{"default"}, []string{"ghcr"}, "quay.io", "account", ""},
		"for another host":                       {nil, []string{"ghcr"}, "ghcr.io.evil.example", "", ""},
		"that nobody names":                      {nil, nil, "ghcr.io", "", ""},
		"that is not there":                      {nil, []string{"gone"}, "ghcr.io", "", ""},
		"of a service account that is not there": {[]string{"gone"}, nil, "ghcr.io", "", ""},
		"of another type":                        {nil, []string{"token"}, "ghcr.io", "", ""},
		"that cannot be read says nothing of the secret": {nil, []string{"broken"}, "ghcr.io", "", "shop/broken"},
		"that is damaged says nothing of the secret":     {nil, []string{"damaged"}, "ghcr.io", "", "shop/damaged"},
		"more than a pod has":                            {nil, make([]string, maxSecrets+1), "ghcr.io", "", "name fewer"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, _ := newCluster(objects...)
			credentials, err := cluster.PullSecrets(t.Context(), "shop", test.accounts, test.secrets)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "hunter2") {
					t.Fatalf("got error %v, want one with %q and without the password", err, test.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			found, err := credentials.Credentials(t.Context(), registry.Repository{Registry: test.host, Path: "acme/app"})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(found) > 0 {
				got = found[0].Username
			}
			if got != test.want || len(found) > 1 {
				t.Errorf("got %d credentials, the first of %q, want that of %q", len(found), got, test.want)
			}
		})
	}
}

// TestSecretsOfOtherNamespacesAreNotRead although they have the name.
func TestSecretsOfOtherNamespacesAreNotRead(t *testing.T) {
	cluster, client := newCluster(pullSecret("ghcr", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", `{"auths":`+login("ghcr.io", "pod")+`}`))
	credentials, err := cluster.PullSecrets(t.Context(), "other", nil, []string{"ghcr"})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := credentials.Credentials(t.Context(), registry.Repository{Registry: "ghcr.io", Path: "acme/app"}); err != nil || len(found) > 0 {
		t.Errorf("got %d credentials, error %v, want none", len(found), err)
	}
	for _, action := range client.Actions() {
		if action.GetNamespace() != "other" || action.GetVerb() != "get" {
			t.Errorf("asked for %s in %s, want get in other only", action.GetVerb(), action.GetNamespace())
		}
	}
}

func TestOwners(t *testing.T) {
	replicaSets := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	cluster, client := newCluster(object("apps/v1", "ReplicaSet", "app-1", nil))
	raw, err := cluster.Owner(t.Context(), replicaSets, "shop", "app-1")
	if err != nil || !strings.Contains(string(raw), `"uid":"u-app-1"`) {
		t.Errorf("got %s, error %v, want the object", raw, err)
	}
	if raw, err := cluster.Owner(t.Context(), replicaSets, "shop", "gone"); raw != nil || err != nil {
		t.Errorf("got %s, error %v, want neither", raw, err)
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"without the right":               {apierrors.NewForbidden(replicaSets.GroupResource(), "app-1", errors.New("no rights")), "grant the webhook's service account get on replicasets.apps"},
		"an API server that is not there": {errors.New("connection refused"), "fetching replicasets.apps shop/app-1: connection refused: retry"},
	} {
		t.Run(name, func(t *testing.T) {
			client.PrependReactor("get", "replicasets", func(clienttesting.Action) (bool, k8sruntime.Object, error) { return true, nil, test.err })
			if _, err := cluster.Owner(context.Background(), replicaSets, "shop", "app-1"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}
