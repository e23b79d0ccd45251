package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// apiServer serves namespaces only, of which there are none, to those who may list them.
func apiServer(t *testing.T, forbids *atomic.Bool) (kubeconfig string) {
	t.Helper()
	list := `{"kind":"NamespaceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`
	forbidden := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"namespaces is forbidden: User \"nobody\" cannot list resource","reason":"Forbidden","code":403}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/api":
			fmt.Fprint(w, `{"kind":"APIVersions","versions":["v1"]}`)
		case r.URL.Path == "/apis":
			fmt.Fprint(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
		case r.URL.Path == "/api/v1":
			fmt.Fprint(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"namespaces","kind":"Namespace","verbs":["get","list","watch"]}]}`)
		case forbids.Load():
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, forbidden)
		case r.URL.Query().Get("sendInitialEvents") == "true": // as an API server without streaming lists
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"sendInitialEvents is forbidden","reason":"Invalid","code":422}`)
		case r.URL.Query().Get("watch") == "true":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			fmt.Fprint(w, list)
		}
	}))
	t.Cleanup(server.CloseClientConnections)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	content := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"" + server.URL + "\"}}]\ncontexts: [{name: c, context: {cluster: c}}]\n"
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

func TestWithoutRightsItIsNotReadyUntilTheyAreGranted(t *testing.T) {
	var forbids atomic.Bool
	forbids.Store(true)
	p := start(t, "--caller=open", "--certificate-dir="+t.TempDir(), "--kubeconfig="+apiServer(t, &forbids))
	waitForProbe(t, p.probes+"/readyz", 503, "[-] facts failed", "cannot list resource", "grant the webhook's service account get, list and watch on namespaces\n")
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_webhook_facts_available{kind="namespaces"} 0`, `portcullis_webhook_facts_available{kind="networkpolicies.networking.k8s.io"} 1`)
	forbids.Store(false)
	waitForProbe(t, p.probes+"/readyz", 200, "[+] facts ok")
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_webhook_facts_available{kind="namespaces"} 1`)
}

// waitForProbe polls until a probe answers with the code and all the texts.
func waitForProbe(t *testing.T, url string, code int, texts ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, body := probe(t, url)
		ok := got == code
		for _, text := range texts {
			ok = ok && strings.Contains(body, text)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: HTTP %d: %s, want %d with %q", url, got, body, code, texts)
		}
		time.Sleep(10 * time.Millisecond) // polls a condition
	}
}

func probe(t *testing.T, url string) (code int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}
