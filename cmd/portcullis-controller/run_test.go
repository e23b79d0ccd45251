package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/pki"
)

// call runs the program.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestMistakesEndWithTheirExitCodeAndTheNextStep(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(args ...string) []string { return append([]string{"serve", "--namespace=guard"}, args...) }
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":                        {nil, program.ExitUsage, "name a command"},
		"a command that there is not":       {[]string{"reconcile"}, program.ExitUsage, `no command "reconcile": use serve, uninstall, crd or roles`},
		"an argument":                       {serve("acme"), program.ExitUsage, "flags only"},
		"an unknown flag":                   {serve("--leader-elect"), program.ExitUsage, "unknown flag"},
		"a hook without certificate":        {serve("--hook=:8443"), program.ExitUsage, "give --tls-cert and --tls-key"},
		"a certificate without key":         {serve("--tls-cert=a"), program.ExitUsage, "give both or neither"},
		"a certificate without hook":        {serve("--tls-cert=a", "--tls-key=b"), program.ExitUsage, "--tls-cert is the certificate for --hook"},
		"an address without port":           {serve("--probes=localhost"), program.ExitUsage, "host:port"},
		"a lease of no time":                {serve("--lease-duration=10ms"), program.ExitUsage, "a second or more"},
		"no namespace":                      {[]string{"serve"}, program.ExitUsage, "give --namespace"},
		"no cluster":                        {serve(), program.ExitUsage, "give --kubeconfig"},
		"a kubeconfig that is not there":    {serve("--kubeconfig=/none"), program.ExitInternal, "correct --kubeconfig"},
		"a trusted root that is none":       {serve("--kubeconfig="+kubeconfig(t), "--trusted-root="+garbage), program.ExitInternal, "correct --trusted-root"},
		"a registry's address as host":      {serve("--kubeconfig="+kubeconfig(t), "--allow-registry=http://x"), program.ExitUsage, "write HOST or HOST:PORT"},
		"an address that is taken":          {serve("--kubeconfig="+kubeconfig(t), "--probes="+taken(t)), program.ExitInternal, "correct --probes"},
		"a certificate that is not there":   {serve("--kubeconfig="+kubeconfig(t), "--probes=127.0.0.1:0", "--hook=127.0.0.1:0", "--tls-cert=/none", "--tls-key=/none"), program.ExitInternal, "correct --tls-cert or --tls-key"},
		"rules without a Service":           {serve("--webhook-name=x"), program.ExitUsage, "--webhook-name is about what is registered: give --webhook-service"},
		"a Service without namespace":       {serve("--webhook-service=webhook"), program.ExitUsage, "give namespace/name or namespace/name:port"},
		"a Service with no number as port":  {serve("--webhook-service=a/b:https"), program.ExitUsage, "no number from 1 to 65535"},
		"a name that none can have":         {serve("--webhook-service=a/b", "--webhook-name=A_b"), program.ExitUsage, "--webhook-name is \"A_b\""},
		"a timeout that Kubernetes refuses": {serve("--webhook-service=a/b", "--webhook-timeout-seconds=31"), program.ExitUsage, "allows 1 to 30"},
		"policies from elsewhere":           {serve("--webhook-service=a/b", "--webhook-bundle=mine"), program.ExitUsage, "--print-config"},
		"an artifact of a registry":         {serve("--webhook-service=a/b", "--webhook-bundle=oci://r.example/b@sha256:0"), program.ExitUsage, "--print-config"},
		"a profile of the cluster":          {serve("--webhook-service=a/b", "--webhook-profile=restricted"), program.ExitUsage, "leave it out"},
		"a profile that there is not":       {serve("--kubeconfig="+kubeconfig(t), "--webhook-service=a/b", "--webhook-bundle=library", "--webhook-profile=none"), program.ExitUsage, "the bundle has"},
		"a secret path that is not there":   {serve("--kubeconfig="+kubeconfig(t), "--webhook-service=a/b", "--webhook-secret-path-file=/none"), program.ExitInternal, "correct --webhook-secret-path-file"},
		"a secret path that is too short":   {serve("--kubeconfig="+kubeconfig(t), "--webhook-service=a/b", "--webhook-secret-path-file="+garbage), program.ExitInternal, garbage},
		"an uninstall of no Service":        {[]string{"uninstall", "--webhook-service=x"}, program.ExitUsage, "give namespace/name"},
		"an uninstall without cluster":      {[]string{"uninstall"}, program.ExitUsage, "give --kubeconfig"},
		"an uninstall with a dead cluster":  {[]string{"uninstall", "--kubeconfig=" + kubeconfig(t)}, program.ExitInternal, "reading the ValidatingWebhookConfiguration"},
		"a journal where no folder can be":  {serve("--kubeconfig="+kubeconfig(t), "--journal="+garbage), program.ExitInternal, "correct --journal"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, test.args...)
			if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
				t.Errorf("got exit %d, %q and %q, want %d and %q", code, stderr, stdout, test.code, test.says)
			}
		})
	}
}

// kubeconfig is one of a cluster that does not answer.
func kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: x}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func taken(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// free is an address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

const secret = "correct-horse-battery-staple"

// object reads YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	made := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &made.Object); err != nil {
		t.Fatal(err)
	}
	return made
}

// TestACallOfTheHookBringsWhatIsNew runs the program: a bundle in a folder of a server that is asked once an hour.
func TestACallOfTheHookBringsWhatIsNew(t *testing.T) {
	_, crds, _ := call(t, "crd")
	manifests := "apiVersion: v1\nkind: Namespace\nmetadata: {name: guard}\n---\n" +
		"apiVersion: v1\nkind: Secret\nmetadata: {name: push, namespace: guard}\nstringData: {token: " + secret + "}\n---\n" + crds
	_, client, file := clustertest.Start(t, nil, []byte(manifests))

	dir := t.TempDir()
	authority, err := pki.NewAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("controller", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	hook, probes := free(t), free(t)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan int)
	var log bytes.Buffer
	go func() {
		done <- run(ctx, []string{"serve", "--kubeconfig=" + file, "--namespace=guard", "--name=one", "--probes=" + probes,
			"--hook=" + hook, "--tls-cert=" + pair.CertFile, "--tls-key=" + pair.KeyFile, "--journal=" + filepath.Join(dir, "journal")}, nil, io.Discard, &log)
	}()
	clustertest.Until(t, "the program is ready", func() bool { return status(http.DefaultClient, "http://"+probes+"/readyz") == http.StatusOK })

	bundles := client.Resource(v1alpha1.Bundles)
	// A web server is looked at by its own clock only; nobody listens at this one.
	_, err = bundles.Create(t.Context(), object(t, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: PolicyBundle\nmetadata: {name: acme}\nspec: {source: {http: {url: 'https://127.0.0.1:1/acme.tgz'}}, verification: {insecureUnsigned: true}, interval: 1h, pushSecretRef: push}\n"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	looks := func() string {
		response, err := http.Get("http://" + probes + "/metrics")
		if err != nil {
			return ""
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		for line := range strings.Lines(string(content)) {
			if strings.HasPrefix(line, `portcullis_bundle_fetches_total{bundle="acme",result="error"}`) {
				return strings.TrimSpace(line[strings.LastIndex(line, " "):])
			}
		}
		return ""
	}
	clustertest.Until(t, "the source was looked at once", func() bool { return looks() == "1" })

	caller := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(t, authority.File)}}}
	post := func(bundle string, headers map[string]string, body string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+hook+"/hooks/"+bundle, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			request.Header.Set(name, value)
		}
		response, err := caller.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(`{"ref":"refs/heads/main"}`))
	signature := hex.EncodeToString(mac.Sum(nil))
	for name, test := range map[string]struct {
		bundle  string
		headers map[string]string
		body    string
		code    int
	}{
		"nobody":                      {"acme", nil, "", http.StatusUnauthorized},
		"a wrong token":               {"acme", map[string]string{"X-Gitlab-Token": "wrong"}, "", http.StatusUnauthorized},
		"a bundle that there is not":  {"other", map[string]string{"X-Gitlab-Token": secret}, "", http.StatusUnauthorized},
		"a signature of another body": {"acme", map[string]string{"X-Hub-Signature-256": "sha256=" + signature}, `{"ref":"other"}`, http.StatusUnauthorized},
		"a body without end":          {"acme", map[string]string{"Authorization": "Bearer " + secret}, strings.Repeat("x", 2<<20), http.StatusRequestEntityTooLarge},
	} {
		if code := post(test.bundle, test.headers, test.body); code != test.code {
			t.Errorf("%s: got %d, want %d", name, code, test.code)
		}
	}
	if got := looks(); got != "1" {
		t.Errorf("after calls of strangers the source was looked at %s times, want 1", got)
	}
	if code := post("acme", map[string]string{"X-Hub-Signature-256": "sha256=" + signature}, `{"ref":"refs/heads/main"}`); code != http.StatusAccepted {
		t.Errorf("a signed call: got %d, want %d", code, http.StatusAccepted)
	}
	clustertest.Until(t, "the source was looked at again", func() bool { return looks() == "2" })

	end()
	if code := <-done; code != program.ExitOK {
		t.Errorf("got exit %d, want %d: %s", code, program.ExitOK, log.String())
	}
}

func status(client *http.Client, url string) int {
	response, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	made := x509.NewCertPool()
	if !made.AppendCertsFromPEM(content) {
		t.Fatalf("%s holds no certificate", file)
	}
	return made
}
