package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestMistakesEndWithTheirExitCodeAndTheNextStep(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	impersonating := func(whom string) string {
		file := filepath.Join(t.TempDir(), "kubeconfig")
		text := "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: t, " + whom + "}}]}"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--kubeconfig=" + file
	}
	api := "--api-server=https://127.0.0.1:1"
	oidc := []string{"serve", api, "--oidc-issuer=https://login.example.com"}
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":                        {[]string{}, 64, "name a command"},
		"an unknown command":                {[]string{"show"}, 64, "use serve or roles"},
		"an unknown flag":                   {[]string{"serve", "--nonsense"}, 64, "--help"},
		"an argument":                       {[]string{"serve", "now"}, 64, "flags only"},
		"no cluster":                        {[]string{"serve"}, 64, "give --kubeconfig, or --api-server"},
		"an open port without TLS":          {[]string{"serve", api, "--listen=:8444"}, 64, "must not cross a network in the open"},
		"an address without a port":         {[]string{"serve", "--listen=localhost"}, 64, "host:port"},
		"a certificate without its key":     {[]string{"serve", "--tls-cert=a"}, 64, "belong together"},
		"a certificate that is not there":   {[]string{"serve", api, "--tls-cert=/none", "--tls-key=/none"}, 4, "correct --tls-cert"},
		"somebody's rights for everybody":   {[]string{"serve", "--kubeconfig=a", "--listen=0.0.0.0:1", "--tls-cert=a", "--tls-key=b"}, 64, "for one person on this machine"},
		"two clusters":                      {[]string{"serve", "--kubeconfig=a", api}, 64, "contradict each other"},
		"a kubeconfig that is not there":    {[]string{"serve", "--kubeconfig=/none"}, 4, "correct --kubeconfig"},
		"a kubeconfig for another user":     {[]string{"serve", impersonating("as: ann")}, 4, "impersonates the user \"ann\": take out as, as-uid, as-groups and as-user-extra"},
		"a kubeconfig for other groups":     {[]string{"serve", impersonating("as: ann, as-groups: [viewers]")}, 4, "impersonates"},
		"an API server in the open":         {[]string{"serve", "--api-server=http://127.0.0.1"}, 64, "give an https URL"},
		"an authority of nobody":            {[]string{"serve", "--api-server-ca=a"}, 64, "give --api-server, too"},
		"an authority that is not there":    {[]string{"serve", api, "--api-server-ca=/none"}, 4, "correct --api-server-ca"},
		"an authority that is none":         {[]string{"serve", api, "--webhook-ca=" + garbage}, 4, "holds no certificate in PEM: correct --webhook-ca"},
		"a webhook that nobody knows":       {[]string{"serve", api, "--webhook-url=https://127.0.0.1:1"}, 64, "give --webhook-ca"},
		"a webhook in the open":             {[]string{"serve", api, "--webhook-ca=" + garbage, "--webhook-url=http://127.0.0.1:1"}, 64, "give an https URL"},
		"a Service without a namespace":     {[]string{"serve", api, "--webhook-service=webhook"}, 64, "namespace/name"},
		"a Service in no namespace":         {[]string{"serve", api, "--webhook-service=A/webhook"}, 64, "is no namespace"},
		"a Service with a wrong port":       {[]string{"serve", api, "--webhook-service=a/b:http"}, 64, "65535"},
		"a session without an end":          {[]string{"serve", api, "--session-lifetime=10000h"}, 64, "from 1m to 168h"},
		"an issuer for nobody":              {[]string{"serve", api, "--oidc-client-id=a"}, 64, "give --oidc-issuer"},
		"an issuer in the open":             {[]string{"serve", api, "--oidc-issuer=http://login.example.com"}, 64, "give an https URL"},
		"an issuer that does not know us":   {oidc, 64, "give --oidc-client-id"},
		"an issuer that leads elsewhere":    {append(oidc, "--oidc-client-id=a", "--oidc-redirect=https://console.example.com/"), 64, "/login/oidc/callback"},
		"an issuer for one person":          {[]string{"serve", "--kubeconfig=a", "--oidc-issuer=https://login.example.com"}, 64, "leave out --oidc-issuer"},
		"a client's secret that is nowhere": {append(oidc, "--oidc-client-id=a", "--oidc-redirect=https://c.example.com/login/oidc/callback", "--oidc-client-secret-file=/none"), 4, "correct --oidc-client-secret-file"},
		"roles for no namespace":            {[]string{"roles", "--namespace=A"}, 64, "is no namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), test.args, nil, &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, stderr.String())
			}
			if !strings.Contains(stderr.String(), test.says) {
				t.Errorf("standard error is %q, want %q in it", stderr.String(), test.says)
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output is %q, want nothing", stdout.String())
			}
		})
	}
}

func TestRolesArePrintedForANamespace(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"roles", "--namespace", "guards"}, nil, &stdout, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	if strings.Contains(stdout.String(), "namespace: "+defaultNamespace) || !strings.Contains(stdout.String(), "namespace: guards") {
		t.Errorf("got %s", stdout.String())
	}
	for document := range strings.SplitSeq(stdout.String(), "\n---\n") {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Errorf("%v: %s", err, document)
		}
		// People who look change nothing, and no role is about Secrets.
		if name := object["metadata"].(map[string]any)["name"]; name != "portcullis-decision-reviewer" && (strings.Contains(document, "create") || strings.Contains(document, "update") || strings.Contains(document, "[secrets]")) {
			t.Errorf("the role %s may do more than look: %s", name, document)
		}
	}
}
