package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	policy "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/scanner"
	scan "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secret "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/issuer"
	"github.com/portcullis-dev/portcullis/test/pki"
)

// hostile is in all places that somebody who may write an object can write to. Were one of them not escaped, there would be an element with this id.
const hostile = `"><script>document.title="pwned"</script><img id=pwned src=x onerror="document.title='pwned'">`

// digest is that of the image that runs in shop.
const digest = "sha256:5f1c0d2e9b7a44c1d3e85f1c0d2e9b7a44c1d3e85f1c0d2e9b7a44c1d3e8aaaa"

// setting are the namespaces, and who may do what: ann responds to incidents and sees all, vic sees shop, bob nothing.
const setting = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: bank}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: portcullis-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann-responds}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-incident-responder}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann-sees-the-cluster}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-cluster-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: cleo}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann-sees-all-namespaces}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-namespace-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann-sees-users}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-decision-user-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: vic-sees-shop, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-namespace-viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: vic}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: webhook-asks}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-decision-reviewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: webhook}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: policyreports.wgpolicyk8s.io}
spec:
  group: wgpolicyk8s.io
  scope: Namespaced
  names: {kind: PolicyReport, plural: policyreports}
  versions: [{name: v1alpha2, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// world is an API server with all that the console shows, and a webhook's decisions. It is started once for all tests of the package.
type world struct {
	control *cluster.Cluster
	admin   dynamic.Interface
	ring    *decisions.Ring
	webhook *httptest.Server
	// authority has signed the webhook's certificate.
	authority *pki.Authority
	// issuer is one whose ID tokens the API server takes for the client oidcClient: whose name they say.
	issuer          *issuer.Issuer
	issuerAuthority *pki.Authority
	now             time.Time
	// names are those of the quarantines: "q-shop" stands for that of shop. The real one follows from the pod's UID.
	names map[string]string
}

// real puts the names of quarantines into a text.
func (w *world) real(text string) string {
	for stands, name := range w.names {
		text = strings.ReplaceAll(text, stands, name)
	}
	return text
}

var (
	startWorld = sync.OnceValues(newWorld)
	// worldDir and endWorld are TestMain's.
	worldDir string
	endWorld []func()
)

func theWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server")
	}
	w, err := startWorld()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newWorld() (*world, error) {
	ctx := context.Background()
	authority, err := pki.NewAuthority(worldDir, "issuer-ca")
	if err != nil {
		return nil, err
	}
	own, err := issuer.Start(issuer.Options{Authority: authority, ClientID: oidcClient})
	if err != nil {
		return nil, err
	}
	endWorld = append(endWorld, own.Stop)
	trusting, err := trust(own, authority)
	if err != nil {
		return nil, err
	}
	users := []cluster.User{{Name: "ann"}, {Name: "vic"}, {Name: "bob"}, {Name: "cleo"}, {Name: "webhook"}}
	control, err := cluster.Start(ctx, cluster.Options{Dir: worldDir, WithoutControllers: true, Users: users, APIServerFlags: []string{"--authentication-config=" + trusting}})
	if err != nil {
		return nil, err
	}
	endWorld = append(endWorld, func() { _ = control.Stop() })
	config, err := control.Config(cluster.Admin)
	if err != nil {
		return nil, err
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		return nil, err
	}
	for _, manifest := range [][]byte{policy.Manifest, v1alpha1.Manifest, secret.Manifest, scan.Manifest, []byte(setting), v1alpha1.Roles(defaultNamespace), roles(defaultNamespace)} {
		if _, err := creator.Create(ctx, manifest, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	w := &world{control: control, issuer: own, issuerAuthority: authority, ring: decisions.NewRing(decisions.DefaultSize, "webhook-1"), now: time.Now().UTC(), names: map[string]string{}}
	if w.admin, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	return w, w.startWebhook()
}

// startWebhook serves decisions as the webhook does, with a certificate for its Service.
func (w *world) startWebhook() error {
	config, err := w.control.Config("webhook")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	closing := make(chan struct{})
	handler, err := decisions.NewHandler(w.ring, decisions.Options{Client: client, Closing: closing})
	if err != nil {
		return err
	}
	if w.authority, err = pki.NewAuthority(worldDir, "webhook-ca"); err != nil {
		return err
	}
	pair, err := w.authority.Issue("webhook", "portcullis-webhook.portcullis-system.svc")
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return err
	}
	w.webhook = httptest.NewUnstartedServer(handler)
	w.webhook.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	w.webhook.StartTLS()
	endWorld = append(endWorld, func() { close(closing); w.webhook.Close() })
	return nil
}

// token is what a user logs in with.
func (w *world) token(t *testing.T, user string) string {
	t.Helper()
	config, err := w.control.Config(user)
	if err != nil {
		t.Fatal(err)
	}
	return config.BearerToken
}

// create makes an object from YAML, with its status.
func (w *world) create(t *testing.T, resource schema.GroupVersionResource, manifest string, values ...any) *unstructured.Unstructured {
	t.Helper()
	var object unstructured.Unstructured
	raw, err := yaml.YAMLToJSON([]byte(fmt.Sprintf(manifest, values...)))
	if err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
	if err := object.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	var client dynamic.ResourceInterface = w.admin.Resource(resource)
	if object.GetNamespace() != "" {
		client = w.admin.Resource(resource).Namespace(object.GetNamespace())
	}
	var made *unstructured.Unstructured
	clustertest.Eventually(t, "creating "+object.GetName(), func() (err error) {
		if made, err = client.Create(t.Context(), &object, metav1.CreateOptions{}); apierrors.IsInvalid(err) {
			t.Fatal(err)
		}
		return err
	})
	if status, has := object.Object["status"]; has {
		made.Object["status"] = status
		if made, err = client.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_ = client.Delete(context.WithoutCancel(t.Context()), object.GetName(), metav1.DeleteOptions{}) // another test may have
	})
	return made
}

func gv(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// q quotes a text for YAML.
func q(text string) string {
	quoted, _ := json.Marshal(text) // of a string it never fails
	return string(quoted)
}

// ago is a time before now.
func (w *world) ago(d time.Duration) string { return w.now.Add(-d).Format(time.RFC3339) }

// micro is ago for fields with microseconds.
func (w *world) micro(d time.Duration) string {
	return w.now.Add(-d).Format("2006-01-02T15:04:05.000000Z07:00")
}

// story fills the cluster with a workload and what has happened to it. What somebody may write into objects ends with what is said.
func (w *world) story(t *testing.T, said string) {
	t.Helper()
	apps := func(resource string) schema.GroupVersionResource { return gv("apps", "v1", resource) }
	template := `{metadata: {labels: {app: web, pod-template-hash: "1"}}, spec: {serviceAccountName: web, containers: [{name: app, image: "ghcr.io/acme/web@` + digest + `", env: [{name: DB, valueFrom: {secretKeyRef: {name: web-db, key: password}}}]}]}}`
	for _, namespace := range []string{"shop", "bank"} {
		w.create(t, gv("", "v1", "serviceaccounts"), `{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: %s}}`, namespace)
		web := w.create(t, apps("deployments"), `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: %s, annotations: {policy.portcullis.dev/gate: %s}},
  spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: %s}}`, namespace, q("admitted "+w.ago(90*time.Minute)+" by CI run 4711 "+said), template)
		set := w.create(t, apps("replicasets"), `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: %s, labels: {app: web, pod-template-hash: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: %s, controller: true}]},
  spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: %s}}`, namespace, web.GetUID(), template)
		pod := w.create(t, gv("", "v1", "pods"), `{apiVersion: v1, kind: Pod, metadata: {name: web-1-abcde, namespace: %s, labels: {app: web, pod-template-hash: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: %s, controller: true}]},
  spec: {serviceAccountName: web, automountServiceAccountToken: false, containers: [{name: app, image: "ghcr.io/acme/web@%s", env: [{name: DB, valueFrom: {secretKeyRef: {name: web-db, key: password}}}]}]}}`, namespace, set.GetUID(), digest)
		w.create(t, gv("", "v1", "events"), `{apiVersion: v1, kind: Event, metadata: {name: refused, namespace: %s}, type: Warning, reason: FailedCreate, reportingComponent: replicaset-controller, lastTimestamp: %s, count: 3,
  message: %s, involvedObject: {apiVersion: apps/v1, kind: ReplicaSet, name: web-1, namespace: %s}}`, namespace, q(w.ago(20*time.Minute)), q(`admission webhook "validate.portcullis.dev" denied the request: container "app" is privileged `+said), namespace)
		sum := sha256.Sum256([]byte(pod.GetUID()))
		w.names["q-"+namespace] = "q-" + hex.EncodeToString(sum[:])[:20]
		w.create(t, v1alpha1.Quarantines, `{apiVersion: runtime.portcullis.dev/v1alpha1, kind: Quarantine, metadata: {name: %s},
  spec: {pod: {namespace: %s, name: web-1-abcde, uid: %s, images: [%q]}, owner: {group: apps, version: v1, kind: Deployment, name: web}, mode: approve, actions: [{action: isolate, mode: approve, policy: runtime/shell, message: A shell was started}],
    triggers: [{policy: runtime/shell, message: "A shell was started", event: e1, rule: Terminal shell in container, priority: critical, time: %s, output: %s}]},
  status: {phase: AwaitingApproval, reason: it waits for a person}}`, w.names["q-"+namespace], namespace, pod.GetUID(), digest, q(w.micro(12*time.Minute)), q("bash in web-1-abcde "+said))
		w.create(t, policy.Exceptions, `{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: legacy-%s, namespace: %s},
  spec: {policy: pods/host-network, selector: {namespaces: [%s]}, reason: %s, owner: team-%s, expires: %s}}`, namespace, namespace, namespace, q("Moves to a proxy. "+said), namespace, q(w.now.Add(72*time.Hour).Format(time.DateOnly)))
		w.create(t, gv("wgpolicyk8s.io", "v1alpha2", "policyreports"), `{apiVersion: wgpolicyk8s.io/v1alpha2, kind: PolicyReport, metadata: {name: portcullis, namespace: %s}, summary: {pass: 41, fail: %d, warn: 6, error: 0, skip: 1}, results: []}`, namespace, len(namespace)%3*4+3)
		w.create(t, secret.VaultSecrets, `{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: web-db, namespace: %s}, spec: {auth: web, source: {kv: {mount: kv, path: %s/db}}, destination: {name: web-db}},
  status: {lastSync: %s, version: "7", failures: 0}}`, namespace, namespace, q(w.ago(70*time.Minute)))
	}
	w.create(t, policy.Exceptions, `{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: forgotten, namespace: shop}, spec: {policy: pods/privileged, selector: {namespaces: [shop]}, reason: A device plugin, owner: team-shop, expires: "2026-01-31"}}`)
	w.create(t, policy.Exceptions, `{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: migration, namespace: shop}, spec: {policy: images/signature, selector: {namespaces: [shop]}, reason: The vendor signs from spring on, owner: team-shop, expires: %s}}`, q(w.now.Add(60*24*time.Hour).Format(time.DateOnly)))
	w.create(t, v1alpha1.Incidents, `{apiVersion: runtime.portcullis.dev/v1alpha1, kind: Incident, metadata: {name: i-1}, spec: {scope: digest, digest: %q, effect: deny, policy: runtime/shell, severity: critical, reason: A shell was started in this image, expires: %s}}`, digest, q(w.now.Add(time.Hour).Format(time.RFC3339)))
	w.create(t, scan.Resource, `{apiVersion: scan.portcullis.dev/v1alpha1, kind: ImageScan, metadata: {name: %s}, spec: {digest: %q, repositories: [ghcr.io/acme/web], requestedBy: %s, requestedAt: %s},
  status: {phase: Done, state: complete, finishedAt: %s, statement: %s}}`, strings.Replace(digest, ":", "-", 1), digest, q("portcullis-webhook "+said), q(w.ago(80*time.Minute)), q(w.ago(79*time.Minute)), statement(t))
	w.create(t, policy.Bundles, `{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyBundle, metadata: {name: platform}, spec: {source: {oci: {repository: ghcr.io/acme/policies, tag: stable}}, verification: {insecureUnsigned: true}, rollout: {strategy: shadow}},
  status: {phase: Shadow, replicas: 2, readyReplicas: 2, active: {digest: %q, name: platform, serial: 41, policies: 74, since: %s, signers: ["https://github.com/acme/policies/.github/workflows/release.yml"]}, candidate: {digest: "sha256:%s", name: platform, serial: 42, policies: 75, since: %s},
    comparison: {candidate: "sha256:%s", compared: 1843, shed: 2, newDenials: 9, newAdmissions: 1, policies: [{policy: pods/run-as-root, newDenials: 7, samples: [{operation: CREATE, resource: pods, namespace: shop, name: web, message: %s, time: %s}]}, {policy: images/signature, newDenials: 2, newAdmissions: 1}]},
    conditions: [{type: Fetched, status: "True", reason: Fetched, message: "ghcr.io/acme/policies:stable", lastTransitionTime: %s}, {type: Ready, status: "True", reason: Loaded, message: "2 of 2 replicas have it", lastTransitionTime: %s}]}}`,
		digest, q(w.ago(300*time.Hour)), strings.Repeat("7", 64), q(w.ago(5*time.Hour)), strings.Repeat("7", 64), q("container runs as root "+said), q(w.ago(time.Hour)), q(w.ago(time.Hour)), q(w.ago(time.Hour)))
	w.decide(said)
}

// statement is a signed scan as far as the console reads it, compressed and in base64.
func statement(t *testing.T) string {
	t.Helper()
	report := scanner.Report{State: "complete", StartedAt: "2026-11-29T10:00:00Z", FinishedAt: "2026-11-29T10:00:30Z", Scanner: scanner.Tool{Name: "trivy", Version: "0.74.0"}, Database: scanner.Database{UpdatedAt: "2026-11-29T06:00:00Z"}, OS: scanner.OS{Family: "debian", Name: "12.5"}}
	for n, severity := range []string{"critical", "high", "high", "medium", "medium", "medium", "low", "low"} {
		report.Vulnerabilities = append(report.Vulnerabilities, scanner.Vulnerability{ID: fmt.Sprintf("CVE-2026-%04d", 1000+n), Package: "libexample", Version: "1.0", Fixed: "1.1", Severity: severity, Status: "fixed", Class: "os", Title: hostile})
	}
	predicate, err := scanner.NewPredicate(report, scanner.Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	inToto := `{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + scanner.PredicateType + `","predicate":` + string(predicate) + `}`
	bundle := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"` + base64.StdEncoding.EncodeToString([]byte(inToto)) + `"}}`
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	if _, err := writer.Write([]byte(bundle)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(compressed.Bytes())
}

// decide has the webhook decide something every few seconds of the last hour.
func (w *world) decide(said string) {
	deny := []decisions.Reason{
		{Effect: "deny", Policy: "pods/privileged", Severity: "critical", Message: `container "app" is privileged`},
		{Effect: "deny", Policy: "images/signature", Severity: "high", Message: "nobody who is trusted has signed ghcr.io/acme/web " + said},
		{Effect: "deny", Policy: "pods/host-path-volumes", Severity: "high", Message: `volume "docker" mounts /var/run of the node`},
	}
	for n := range 240 {
		entry := decisions.Entry{
			ID: fmt.Sprintf("d-%d", n), Time: w.now.Add(-time.Hour + time.Duration(n)*15*time.Second), Operation: "CREATE", Resource: "pods", Kind: "Pod", Namespace: []string{"shop", "bank"}[n/3%2], Name: fmt.Sprintf("web-1-%05d", n),
			User: "system:serviceaccount:kube-system:replicaset-controller", Door: "validate", Verdict: "admitted", Bundle: "platform serial 41 sha256:5f1c0d2e9b7a", Profile: "restricted", Microseconds: int64(700 + n*n%900),
		}
		if n%11 == 3 || n > 200 && n < 216 {
			entry.Verdict, entry.Reasons = "denied", deny[n%3:n%3+1]
		}
		if n == 135 {
			entry.Namespace, entry.Name, entry.Verdict, entry.Reasons = "shop", "web-1-abcde", "admitted", []decisions.Reason{{Effect: "warn", Policy: "pods/resource-limits", Severity: "low", Message: `container "app" has no memory limit`}}
		}
		if n == 150 {
			entry.Verdict, entry.Reasons = "fault", []decisions.Reason{{Effect: "fault", Policy: "images/signature", Message: "deadline exceeded: the registry did not answer"}}
		}
		if n%17 == 5 && entry.Verdict == "admitted" {
			entry.Reasons = []decisions.Reason{{Effect: "warn", Policy: "pods/resource-limits", Severity: "low", Message: `container "app" has no memory limit`}}
		}
		w.ring.Add(entry)
	}
}

// console is the program, as somebody has started it.
type console struct {
	t       *testing.T
	base    string
	output  *locked // all that it writes
	browser *http.Client
}

// locked is a buffer for several goroutines.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var linkPattern = regexp.MustCompile(`https?://[^\s]+`)

// start runs the program until the test ends.
func start(t *testing.T, args ...string) *console {
	t.Helper()
	c := &console{t: t, output: &locked{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"serve", "--listen=127.0.0.1:0", "--log-level=debug"}, args...), nil, c.output, c.output)
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("the console ended with %d: %s", code, c.output)
		}
	})
	clustertest.Eventually(t, "the console serving", func() error {
		if c.base = linkPattern.FindString(c.output.String()); c.base == "" || !strings.Contains(c.output.String(), `"serving"`) {
			return fmt.Errorf("it says %s", c.output)
		}
		return nil
	})
	c.browser = c.client()
	return c
}

// client is a browser without a session.
func (c *console) client() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a test's own server
}

// open starts a console for people with tokens.
func (w *world) open(t *testing.T, args ...string) *console {
	t.Helper()
	return start(t, append([]string{"--api-server=" + w.control.URL, "--api-server-ca=" + w.control.CAFile, "--webhook-ca=" + w.authority.File, "--webhook-url=" + w.webhook.URL}, args...)...)
}

// get reads a page.
func (c *console) get(path string) (int, string) {
	c.t.Helper()
	response, err := c.browser.Get(c.base + path)
	if err != nil {
		c.t.Fatal(err)
	}
	return read(c.t, response)
}

func read(t *testing.T, response *http.Response) (int, string) {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// post sends a form as a browser does that shows a page of the console.
func (c *console) post(path string, form url.Values) (int, string) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", c.base)
	response, err := c.browser.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	return read(c.t, response)
}

// login begins a session.
func (c *console) login(token string) {
	c.t.Helper()
	if code, body := c.post("/login", url.Values{"token": {token}}); code != http.StatusOK {
		c.t.Fatalf("logging in: %d %s", code, body)
	}
}

var csrfPattern = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf is the token of the session's forms.
func (c *console) csrf() string {
	c.t.Helper()
	_, body := c.get("/exceptions")
	found := csrfPattern.FindStringSubmatch(body)
	if found == nil {
		c.t.Fatalf("no form has a token: %s", body)
	}
	return found[1]
}

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var err error
	if worldDir, err = os.MkdirTemp("", "console"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(worldDir)
	defer func() {
		for n := len(endWorld) - 1; n >= 0; n-- {
			endWorld[n]()
		}
	}()
	return m.Run()
}

// follow gives the lines of a stream.
func follow(body io.Reader, into chan<- string) {
	for scanner := bufio.NewScanner(body); scanner.Scan(); {
		into <- scanner.Text()
	}
}

// denied is a decision of now.
func denied(namespace, name string) decisions.Entry {
	return decisions.Entry{
		ID: "now-" + name, Time: time.Now().UTC(), Operation: "CREATE", Resource: "pods", Kind: "Pod", Namespace: namespace, Name: name, User: "dora", Door: "validate", Verdict: "denied", Microseconds: 900,
		Reasons: []decisions.Reason{{Effect: "deny", Policy: "pods/privileged", Severity: "critical", Message: "container is privileged " + hostile}},
	}
}

// listenTLS is a server that would steal tokens.
func listenTLS(t *testing.T, certificate tls.Certificate) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("it was sent %s", r.Header)
		fmt.Fprintln(w, `{"id":"stolen","verdict":"denied","name":"stolen"}`)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}
