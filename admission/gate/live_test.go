package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
)

// liveCluster is as much of an API server's REST interface as listing needs: two
// pages of NetworkPolicies, a namespace, and ConfigMaps that nobody may list. The
// real API server is in test/e2e.
func liveCluster(t *testing.T) (kubeconfig string, lists *atomic.Int64) {
	t.Helper()
	lists = &atomic.Int64{}
	reply := func(w http.ResponseWriter, code int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("got %s %s, want only reads", r.Method, r.URL)
		}
		switch r.URL.Path {
		case "/version":
			reply(w, 200, `{"major":"1","minor":"37","gitVersion":"v1.37.0"}`)
		case "/api":
			reply(w, 200, `{"kind":"APIVersions","versions":["v1"]}`)
		case "/apis":
			reply(w, 200, `{"kind":"APIGroupList","groups":[{"name":"networking.k8s.io","versions":[{"groupVersion":"networking.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"networking.k8s.io/v1","version":"v1"}}]}`)
		case "/api/v1":
			reply(w, 200, `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"configmaps","namespaced":true,"kind":"ConfigMap","verbs":["list"]},{"name":"namespaces","namespaced":false,"kind":"Namespace","verbs":["get"]}]}`)
		case "/apis/networking.k8s.io/v1":
			reply(w, 200, `{"kind":"APIResourceList","groupVersion":"networking.k8s.io/v1","resources":[{"name":"networkpolicies","namespaced":true,"kind":"NetworkPolicy","verbs":["list"]}]}`)
		case "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies":
			lists.Add(1)
			item := `{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"%s","namespace":"shop"}}`
			if r.URL.Query().Get("continue") == "" {
				reply(w, 200, fmt.Sprintf(`{"kind":"NetworkPolicyList","apiVersion":"networking.k8s.io/v1","metadata":{"continue":"more"},"items":[`+item+`]}`, "one"))
			} else {
				reply(w, 200, fmt.Sprintf(`{"kind":"NetworkPolicyList","apiVersion":"networking.k8s.io/v1","metadata":{},"items":[`+item+`]}`, "two"))
			}
		case "/api/v1/namespaces/shop":
			reply(w, 200, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop","labels":{"tier":"gold"}}}`)
		case "/api/v1/namespaces/shop/configmaps":
			reply(w, 403, `{"kind":"Status","status":"Failure","reason":"Forbidden","message":"configmaps is forbidden","code":403}`)
		default:
			reply(w, 404, `{"kind":"Status","status":"Failure","reason":"NotFound","message":"not found","code":404}`)
		}
	}))
	t.Cleanup(server.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	content, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": server.URL}}},
		"users":    []any{map[string]any{"name": "c", "user": map[string]any{}}},
		"contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "c"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig, lists
}

func TestLive(t *testing.T) {
	kubeconfig, lists := liveCluster(t)
	live, err := Connect(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	isolated := policies.Read{Group: "networking.k8s.io", Resource: "networkpolicies", Namespace: "shop"}
	for range 3 {
		objects, partial := live.List(ctx, isolated)
		if len(objects) != 2 || partial != "" || objects[1].Name != "two" {
			t.Fatalf("got %v, %q, want both pages, complete", objects, partial)
		}
	}
	if got := lists.Load(); got != 2 {
		t.Errorf("got %d requests for two pages read three times, want 2", got)
	}
	if objects, partial := live.List(ctx, policies.Read{Resource: "configmaps", Namespace: "shop"}); len(objects) != 0 || !strings.Contains(partial, "configmaps is forbidden") {
		t.Errorf("got %v, %q of what nobody may list, want none and the reason", objects, partial)
	}
	if _, partial := live.List(ctx, policies.Read{Resource: "configmaps", Namespace: "shop"}); MissingRight("cannot know it: "+partial) != "list configmaps" {
		t.Errorf("got the missing right %q of %q, want list configmaps", MissingRight(partial), partial)
	}
	if got := MissingRight(documentsOnly); got != "" {
		t.Errorf("got the missing right %q where there is no cluster, want none", got)
	}
	if objects, partial := live.List(ctx, policies.Read{Group: "cilium.io", Resource: "ciliumnetworkpolicies"}); len(objects) != 0 || partial != "" {
		t.Errorf("got %v, %q of a resource the cluster does not have, want none, complete", objects, partial)
	}
	if namespace, missing := live.Namespace(ctx, "shop"); namespace == nil || namespace.Labels["tier"] != "gold" || missing != "" {
		t.Errorf("got %v, %q, want the namespace shop", namespace, missing)
	}
	if namespace, missing := live.Namespace(ctx, "gone"); namespace != nil || !strings.Contains(missing, "there is no namespace gone in the cluster of") {
		t.Errorf("got %v, %q, want none and the reason", namespace, missing)
	}
}

func TestLiveClusterDecides(t *testing.T) {
	kubeconfig, _ := liveCluster(t)
	live, err := Connect(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	r, code := judge(t, &Gate{Cluster: live}, goodPod+config)
	if code != ExitAdmitted {
		t.Errorf("got %d, %+v, want %d", code, r.results, ExitAdmitted)
	}
}
