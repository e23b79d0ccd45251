package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

func TestMistakesEndWithTheirExitCodeAndTheNextStep(t *testing.T) {
	bad, garbage := t.TempDir(), filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(filepath.Join(bad, "bundle.yaml"), []byte("kind: Nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	open := []string{"--caller=open", "--no-cluster", "--listen=127.0.0.1:0", "--probes=127.0.0.1:0"}
	unstarted := filepath.Join(bad, "unstarted")
	trusting := filepath.Join(t.TempDir(), "verification.yaml")
	if err := os.WriteFile(trusting, []byte("insecureUnsigned: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"an unknown flag":                       {[]string{"--nonsense"}, exitUsage, "--help"},
		"an argument":                           {[]string{"serve"}, exitUsage, "flags only"},
		"no way to know the caller":             {[]string{"--no-cluster"}, exitUsage, "--client-ca"},
		"an unknown caller mode":                {[]string{"--caller=trusting"}, exitUsage, "choose certificate"},
		"a secret path without its file":        {[]string{"--caller=secret-path"}, exitUsage, "--secret-path-file"},
		"a certificate without its key":         {append(open, "--tls-cert=a"), exitUsage, "--tls-key"},
		"two sources of certificates":           {append(open, "--tls-cert=a", "--tls-key=b", "--certificate-dir=c"), exitUsage, "leave it out"},
		"two minds about the cluster":           {append(open, "--kubeconfig=a"), exitUsage, "leave one out"},
		"decisions for nobody":                  {append(open, "--decisions"), exitUsage, "asks the cluster who may see them"},
		"events without a cluster":              {append(open, "--events"), exitUsage, "writes to the cluster"},
		"a collector that is no URL":            {append(open, "--otlp-endpoint=collector:4318"), exitUsage, "http://collector.monitoring:4318"},
		"a share that is none":                  {append(open, "--trace-sample=2"), exitUsage, "from 0 to 1"},
		"an unknown form of log lines":          {append(open, "--log-format=xml"), exitUsage, "json or text"},
		"no cluster":                            {[]string{"--caller=open"}, exitUsage, "--no-cluster"},
		"an address without a port":             {append(open, "--listen=localhost"), exitUsage, "host:port"},
		"a profile that is not in the bundle":   {append(open, "--profile=lenient"), exitUsage, "choose one of"},
		"a profile among several":               {append(open, "--profile=lenient"), exitUsage, "baseline, "},
		"a bundle that is not there":            {append(open, "--bundle="+filepath.Join(bad, "none")), exitInternal, filepath.Join(bad, "none") + " is not there: give --bundle the folder that holds bundle.yaml"},
		"a bundle that is a file":               {append(open, "--bundle="+garbage), exitInternal, garbage + " is no folder: give --bundle"},
		"a bundle that is broken":               {append(open, "--bundle="+bad), exitInternal, "bundle.yaml"},
		"a bundle in Git":                       {append(open, "--bundle=git+https://git.example.com/policies@main"), exitUsage, "links no Git, so that a repository cannot attack what decides: name the repository in a PolicyBundle"},
		"a bundle at an address":                {append(open, "--bundle=https://example.com/b.tar.gz"), exitUsage, "give a folder, oci://REPOSITORY@DIGEST, or cluster"},
		"a bundle by its tag":                   {append(open, "--bundle=oci://ghcr.io/acme/policies:v1"), exitUsage, "by its digest"},
		"a bundle that nobody need have signed": {append(open, "--bundle=oci://ghcr.io/acme/policies@sha256:"+strings.Repeat("0", 64)), exitUsage, "give --bundle-verification"},
		"a verification of nothing":             {append(open, "--bundle-verification=a"), exitUsage, "leave it out"},
		"a verification that is not there":      {append(open, "--bundle=oci://ghcr.io/acme/policies@sha256:"+strings.Repeat("0", 64), "--bundle-verification=/none"), exitInternal, "no such file or directory: correct --bundle-verification"},
		"a verification that is none":           {append(open, "--bundle=oci://ghcr.io/acme/policies@sha256:"+strings.Repeat("0", 64), "--bundle-verification="+garbage), exitInternal, "correct --bundle-verification"},
		"a digest that is none":                 {append(open, "--bundle=oci://ghcr.io/acme/policies@sha256:12", "--bundle-verification="+trusting), exitUsage, "sha256:12"},
		"a cluster's bundles without a cluster": {append(open, "--bundle=cluster"), exitUsage, "--no-cluster contradict"},
		"one profile for a cluster's bundles":   {[]string{"--caller=open", "--kubeconfig=a", "--bundle=cluster", "--profile=baseline"}, exitUsage, "leave it out with --bundle=cluster"},
		"a place for bundles of no cluster":     {append(open, "--bundle-cache=a"), exitUsage, "--bundle=cluster"},
		"options of a journal that is not":      {append(open, "--journal-stdout"), exitUsage, "give --journal"},
		"a share of admissions that is none":    {append(open, "--journal="+unstarted, "--journal-allows=2"), exitUsage, "from 0 to 1"},
		"a journal without room":                {append(open, "--journal="+unstarted, "--journal-max-bytes=0"), exitUsage, "above 0"},
		"a token for nobody":                    {append(open, "--journal="+unstarted, "--journal-http-token-file=a"), exitUsage, "give --journal-http"},
		"a journal that is sent in the open":    {append(open, "--journal="+unstarted, "--journal-http=http://logs.example.com"), exitUsage, "is not encrypted"},
		"a journal that cannot be written":      {append(open, "--journal="+filepath.Join(garbage, "x")), exitInternal, "correct --journal"},
		"a certificate that is not there":       {append(open, "--tls-cert=/none", "--tls-key=/none"), exitInternal, "serving certificate: open /none: no such file or directory: correct --tls-cert"},
		"a client CA that is not there":         {[]string{"--no-cluster", "--client-ca=/none"}, exitInternal, "no such file or directory: correct --client-ca"},
		"a client CA that is no certificate":    {[]string{"--no-cluster", "--client-ca=" + garbage}, exitInternal, "PEM"},
		"a short secret":                        {[]string{"--no-cluster", "--caller=secret-path", "--secret-path-file=" + garbage}, exitInternal, "32"},
		"a kubeconfig that is not there":        {[]string{"--caller=open", "--kubeconfig=/none"}, exitInternal, "no such file or directory: correct --kubeconfig"},
		"a secret path that is not there":       {[]string{"--no-cluster", "--caller=secret-path", "--secret-path-file=/none"}, exitInternal, "no such file or directory: correct --secret-path-file"},
		"an address that is taken":              {append(open, "--listen="+taken(t), "--probes=127.0.0.1:0"), exitInternal, "--listen"},
		"an unknown form of configuration":      {[]string{"--print-config=helm"}, exitUsage, "manifests"},
		"a configuration of nowhere":            {[]string{"--print-config"}, exitUsage, "a service or a URL"},
		"a service without namespace":           {[]string{"--print-config", "--service=webhook"}, exitUsage, "namespace/name"},
		"a service with a wrong port":           {[]string{"--print-config", "--service=a/b:http"}, exitUsage, "65535"},
		"manifests for a service":               {[]string{"--print-config=manifests", "--service=a/b"}, exitUsage, "URL"},
		"a CA file that holds no certificate":   {[]string{"--print-config", "--service=a/b", "--ca-file=" + garbage}, exitInternal, "PEM"},
		"printing a CA that nobody made":        {[]string{"--print-config", "--service=a/b", "--certificate-dir=" + unstarted}, exitInternal, "no ca-bundle.pem in " + unstarted + ": start the webhook with this folder first, or give --ca-file"},
		"printing a short secret":               {[]string{"--print-config", "--service=a/b", "--caller=secret-path", "--secret-path-file=" + garbage}, exitInternal, "use at least 32"},
		"printing a secret path without file":   {[]string{"--print-config", "--service=a/b", "--caller=secret-path"}, exitUsage, "--secret-path-file"},
		"printing for an unknown caller mode":   {[]string{"--print-config", "--service=a/b", "--caller=trusting"}, exitUsage, "choose certificate"},
		"a timeout that Kubernetes won't have":  {[]string{"--print-config", "--service=a/b", "--timeout-seconds=60"}, exitUsage, "1 to 30"},
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
			if strings.Contains(stderr.String(), "BEGIN CERTIFICATE") {
				t.Errorf("standard error is %q, want the mistake before any certificate is made", stderr.String())
			}
		})
	}
	if _, err := os.Stat(unstarted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("printing made %s (%v), want nothing written", unstarted, err)
	}
}

// TestMistakesAreNoticedBeforeTheBundleIsLoaded gives a bundle that is broken, too.
func TestMistakesAreNoticedBeforeTheBundleIsLoaded(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"an address that is taken":           {[]string{"--caller=open", "--no-cluster", "--listen=" + taken(t), "--probes=127.0.0.1:0"}, "--listen"},
		"a client CA that is no certificate": {[]string{"--no-cluster", "--client-ca=" + garbage}, "PEM"},
		"a short secret":                     {[]string{"--no-cluster", "--caller=secret-path", "--secret-path-file=" + garbage}, "use at least 32"},
		"a certificate that is none":         {[]string{"--caller=open", "--no-cluster", "--tls-cert=" + garbage, "--tls-key=" + garbage, "--listen=127.0.0.1:0", "--probes=127.0.0.1:0"}, garbage},
		"a kubeconfig that is not there":     {[]string{"--caller=open", "--kubeconfig=/none"}, "--kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(t.Context(), append(test.args, "--bundle=/no-bundle"), nil, io.Discard, &stderr); code != exitInternal {
				t.Errorf("exit code %d, want %d", code, exitInternal)
			}
			if got := stderr.String(); !strings.Contains(got, test.says) || strings.Contains(got, "no-bundle") {
				t.Errorf("standard error is %q, want %q and nothing about the bundle", got, test.says)
			}
		})
	}
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

func TestHelpIsAnsweredOnStandardOutput(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, nil, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, standard error %q, want 0 and nothing", code, stderr.String())
	}
	for _, want := range []string{"Examples:", "--print-config", "Exit codes"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the help lacks %q", want)
		}
	}
}

// TestThePrintedConfigurationIsOfThisBundle reads it back, strictly.
func TestThePrintedConfigurationIsOfThisBundle(t *testing.T) {
	directory := t.TempDir()
	if _, err := certificate.NewSelfSigned(certificate.Options{Names: []string{"localhost"}, Directory: directory}); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	args := []string{"--print-config", "--service=portcullis/webhook:8443", "--certificate-dir=" + directory, "--name=guard"}
	if code := run(t.Context(), args, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	first, _, _ := strings.Cut(stdout.String(), "---\n")
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	if err := yaml.UnmarshalStrict([]byte(first), &configuration); err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(directory, certificate.BundleFile))
	if err != nil {
		t.Fatal(err)
	}
	webhook := configuration.Webhooks[0]
	if client := webhook.ClientConfig; configuration.Name != "guard" || client.Service.Name != "webhook" || *client.Service.Port != 8443 || string(client.CABundle) != string(bundle) {
		t.Errorf("the configuration is %q for %+v", configuration.Name, webhook.ClientConfig)
	}
	if !slices.ContainsFunc(webhook.Rules, func(rule admissionregistrationv1.RuleWithOperations) bool {
		return slices.Contains(rule.Resources, "pods") && slices.Contains(rule.Operations, "CREATE")
	}) {
		t.Errorf("no rule is for creating pods, which the library judges: %+v", webhook.Rules)
	}
}

// In the baseline profile only the guard of the webhook's own namespace is about network policies
// and deleted pods; the restricted one judges all network policies, and patches.
func TestAProfileNarrowsThePrintedRules(t *testing.T) {
	type rules map[string]bool // "UPDATE secrets"
	for name, test := range map[string]struct {
		form, profile    string
		elsewhere, guard []string // what entry fail, and that for named namespaces, is sent
		mutates          bool
	}{
		"all profiles":             {"api", "", []string{"UPDATE networkpolicies", "CREATE pods"}, []string{"DELETE secrets", "DELETE pods"}, true},
		"baseline":                 {"api", "baseline", []string{"CREATE pods"}, []string{"UPDATE networkpolicies", "DELETE secrets", "DELETE pods"}, false},
		"baseline, as manifests":   {"manifests", "baseline", []string{"CREATE pods"}, []string{"UPDATE networkpolicies", "DELETE secrets", "DELETE pods"}, false},
		"restricted":               {"api", "restricted", []string{"UPDATE networkpolicies", "CREATE pods"}, []string{"DELETE secrets", "DELETE pods"}, true},
		"restricted, as manifests": {"manifests", "restricted", []string{"UPDATE networkpolicies", "CREATE pods"}, []string{"DELETE secrets", "DELETE pods"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := []string{"--print-config=" + test.form, "--url=https://127.0.0.1:8443", "--own-namespace=portcullis-system", "--profile=" + test.profile}
			if code := run(t.Context(), args, nil, &stdout, &stderr); code != exitOK {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			validating := validatingConfiguration(t, stdout.String())
			sent := map[string]rules{"fail": {}, "fail-namespaces": {}}
			for _, webhook := range validating.Webhooks {
				entry, _, _ := strings.Cut(webhook.Name, ".")
				for _, rule := range webhook.Rules {
					for _, resource := range rule.Resources {
						for _, operation := range rule.Operations {
							if sent[entry] != nil {
								sent[entry][string(operation)+" "+resource] = true
							}
						}
					}
				}
				if entry != "fail-namespaces" {
					continue
				}
				if got, want := webhook.NamespaceSelector.MatchExpressions[0].Values, []string{"portcullis-system"}; !slices.Equal(got, want) {
					t.Errorf("%s is for namespaces %v, want %v", webhook.Name, got, want)
				}
			}
			check := func(entry, other string, want []string) {
				for _, rule := range want {
					if !sent[entry][rule] || sent[other][rule] {
						t.Errorf("%q is in entry %s: %v, in %s: %v; want it only in the former", rule, entry, sent[entry][rule], other, sent[other][rule])
					}
				}
			}
			check("fail", "fail-namespaces", test.elsewhere)
			check("fail-namespaces", "fail", test.guard)
			if got := strings.Contains(stdout.String(), "kind: MutatingWebhookConfiguration"); got != test.mutates {
				t.Errorf("a mutating configuration is printed: %v, want %v", got, test.mutates)
			}
		})
	}
}

// validatingConfiguration reads the one among the printed documents, strictly.
func validatingConfiguration(t *testing.T, printed string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	t.Helper()
	for document := range strings.SplitSeq(printed, "---\n") {
		if strings.Contains(document, "kind: ValidatingWebhookConfiguration") {
			configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
			if err := yaml.UnmarshalStrict([]byte(document), configuration); err != nil {
				t.Fatal(err)
			}
			return configuration
		}
	}
	t.Fatalf("no validating configuration is printed:\n%s", printed)
	return nil
}

func TestThePrintedConfigurationHoldsTheSecretPath(t *testing.T) {
	file, secret := filepath.Join(t.TempDir(), "secret"), strings.Repeat("s", 40)
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--print-config=manifests", "--url=https://127.0.0.1:8443", "--secret-path-file=" + file}, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if want := "https://127.0.0.1:8443/" + secret + "/validate"; !strings.Contains(stdout.String(), want) {
		t.Errorf("%s is not in\n%s", want, stdout.String())
	}
	if !strings.Contains(stderr.String(), "--ca-file") {
		t.Errorf("standard error is %q, want the hint that there is no CA bundle", stderr.String())
	}
}

// program is the webhook as it runs.
type program struct {
	url, probes string
	stop        context.CancelFunc
	code        chan int
	log         *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the program on free ports until the test ends.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &program{stop: stop, code: make(chan int, 1), log: &lockedBuffer{}}
	args = append([]string{"--listen=127.0.0.1:0", "--probes=127.0.0.1:0", "--drain-delay=10ms"}, args...)
	go func() { p.code <- run(ctx, args, nil, io.Discard, p.log) }()
	t.Cleanup(func() { stop(); p.wait(t) })
	deadline := time.Now().Add(20 * time.Second)
	for !p.listening() {
		if time.Now().After(deadline) {
			t.Fatalf("the program does not serve: %s", p.log)
		}
		time.Sleep(5 * time.Millisecond) // polls a condition
	}
	return p
}

// listening finds the addresses in the log.
func (p *program) listening() bool {
	for line := range strings.Lines(p.log.String()) {
		var entry struct{ Msg, Reviews, Probes string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
			p.url, p.probes = "https://"+entry.Reviews, "http://"+entry.Probes
			return true
		}
	}
	return false
}

func (p *program) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.code:
		p.code <- code
		return code
	case <-time.After(30 * time.Second):
		t.Fatalf("the program does not end: %s", p.log)
		return 0
	}
}

func client(t *testing.T, directory string) *http.Client {
	t.Helper()
	bundle, err := os.ReadFile(filepath.Join(directory, certificate.BundleFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

const review = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"CREATE","namespace":"shop",
"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"userInfo":{"username":"alice"},
"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[{"name":"a","image":"registry.example/a:1","securityContext":{"privileged":%t}}]}}}}`

func send(t *testing.T, client *http.Client, url, body string) (int, *admissionv1.AdmissionReview) {
	t.Helper()
	response, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, nil
	}
	answer := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(content, answer); err != nil || answer.Response == nil {
		t.Fatalf("the answer is %s: %v", content, err)
	}
	return response.StatusCode, answer
}

func TestTheLibraryJudgesOverHTTPS(t *testing.T) {
	directory := t.TempDir()
	p := start(t, "--caller=open", "--no-cluster", "--certificate-dir="+directory)
	client := client(t, directory)
	_, answer := send(t, client, p.url+"/validate?timeout=10s", fmt.Sprintf(review, true))
	if answer.Response.Allowed || !strings.Contains(answer.Response.Result.Message, "pods/privileged") || !strings.Contains(answer.Response.Result.Message, "spec.containers[0].securityContext.privileged") {
		t.Errorf("a privileged pod gets %+v, want it denied by pods/privileged with the field", answer.Response)
	}
	for path, want := range map[string]int{"/readyz": 200, "/livez": 200, "/metrics": 200} {
		response, err := http.Get(p.probes + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: HTTP %d, want %d", path, response.StatusCode, want)
		}
	}
	p.stop()
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d after a drain, want 0: %s", code, p.log)
	}
	if want := `"profile":"by namespace"`; !strings.Contains(p.log.String(), want) {
		t.Errorf("the log is %s, want %s in it", p.log, want)
	}
	if !strings.Contains(p.log.String(), "ANYBODY WHO REACHES THIS PORT") {
		t.Error("caller mode open is not logged loudly")
	}
}

func TestWithoutAClientCertificateNobodyIsAnswered(t *testing.T) {
	directory := t.TempDir()
	clientCA, err := certificate.NewSelfSigned(certificate.Options{Names: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, clientCA.CABundle(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--client-ca="+file, "--no-cluster", "--certificate-dir="+directory)
	if code, _ := send(t, client(t, directory), p.url+"/validate", fmt.Sprintf(review, false)); code != http.StatusUnauthorized {
		t.Errorf("HTTP %d, want 401", code)
	}
}
