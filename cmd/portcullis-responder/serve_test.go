package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

const namespaces = `apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: node-a
      automountServiceAccountToken: false
      containers: [{name: app, image: 'ghcr.io/acme/app:1'}]
`

// shellBundle isolates the pod of a reverse shell.
var shellBundle = map[string]string{
	"bundle.yaml": `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: acme
serial: 1
response: {mode: enforce, cooldown: 1ms, limits: {owner: 10, namespace: 10, ownerPercent: 100}}
policies: [{policy: runtime/shell}]
`,
	"shell/policy.rego": `# METADATA
# title: Reverse shells
# description: A shell whose input is a connection.
# custom:
#   severity: critical
#   match: {events: {rules: ["*shell*"]}}
#   remediation: Close the hole.
package portcullis.runtime.shell

respond contains {"action": action, "msg": sprintf("%s runs in %s", [input.event.fields["proc.cmdline"], input.event.pod.name])} if {
	some action in ["isolate", "condemn", "notify"]
	input.event.priority == "critical"
}
`,
}

// scene is a real API server with its controllers, and what a responder needs there.
type scene struct {
	control   *cluster.Cluster
	kube      kubernetes.Interface
	api       dynamic.Interface
	senders   *pki.Authority
	dir       string
	bundle    string
	responder *programs.Responder
	options   programs.ResponderOptions
}

func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server")
	}
	s := &scene{dir: t.TempDir(), bundle: t.TempDir()}
	var err error
	if s.control, err = cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.control.Stop() })
	config, err := s.control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range [][]byte{v1alpha1.Manifest, []byte(namespaces)} {
		if _, err := creator.Create(t.Context(), manifest, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if s.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if s.api, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	clustertest.Serving(t, s.api, v1alpha1.Quarantines, v1alpha1.Evidences, v1alpha1.Incidents)
	if s.senders, err = pki.NewAuthority(s.dir, "senders"); err != nil {
		t.Fatal(err)
	}
	for name, content := range shellBundle {
		file := filepath.Join(s.bundle, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.options = s.replica(t, "one")
	return s
}

// replica are the flags of one responder.
func (s *scene) replica(t *testing.T, name string) programs.ResponderOptions {
	t.Helper()
	serving, err := s.control.ServingCertificate(name)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := s.control.Kubeconfig(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	free := func() string {
		port, err := cluster.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	return programs.ResponderOptions{
		Path: own, Env: []string{asProgram + "=1"}, Name: name, Bundle: s.bundle, Listen: free(), Probes: free(), Serving: serving, ClientCAFile: s.senders.File,
		Kubeconfig: kubeconfig, Namespace: "portcullis-system", Spool: filepath.Join(s.dir, name+"-events"),
		Args: []string{"--cni=calico", "--lease-duration=2s", "--journal=" + filepath.Join(s.dir, name+"-journal"), "--sender=falcosidekick"}, LogFile: filepath.Join(s.dir, name+".log"),
	}
}

// start starts a responder until the test ends.
func (s *scene) start(t *testing.T) {
	t.Helper()
	var err error
	if s.responder, err = programs.StartResponder(t.Context(), s.options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.responder.Kill)
}

// sender is a client with a certificate of a common name.
func (s *scene) sender(t *testing.T, name string) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: poolOf(t, s.control.CAFile)}
	if name != "" {
		pair, err := s.senders.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
}

func poolOf(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

// pods are those of the Deployment, once all are there. Each has then run: its status says so, as a kubelet's would.
func (s *scene) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	var running []corev1.Pod
	clustertest.Eventually(t, "four pods of the Deployment", func() error {
		list, err := s.kube.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		if running = list.Items; len(running) != 4 {
			return fmt.Errorf("there are %d", len(running))
		}
		return nil
	})
	for n := range running {
		pod := &running[n]
		if pod.Status.Phase == corev1.PodRunning {
			continue
		}
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}) // limits count ready ones
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://" + containerID(pod), ImageID: "ghcr.io/acme/app@sha256:" + strings.Repeat("a", 64)}}
		updated, err := s.kube.CoreV1().Pods("shop").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		running[n] = *updated
	}
	clustertest.Eventually(t, "the pods being ready", func() error {
		web, err := s.kube.AppsV1().Deployments("shop").Get(t.Context(), "web", metav1.GetOptions{})
		if err == nil && web.Status.ReadyReplicas != 4 {
			err = fmt.Errorf("%d are", web.Status.ReadyReplicas)
		}
		return err
	})
	return running
}

// containerID is that of a pod's container.
func containerID(pod *corev1.Pod) string {
	return strings.Repeat(strings.ReplaceAll(string(pod.UID), "-", ""), 2)
}

// shell is a reverse shell in a pod.
func shell(pod *corev1.Pod) programs.FalcoEvent {
	return programs.FalcoEvent{
		Hostname: "falco-1", Output: "Critical A reverse shell (proc=bash)", Priority: "Critical", Rule: "Reverse shell", Source: "syscall", Time: time.Now().UTC(),
		Tags: []string{"T1059", "container"},
		Fields: map[string]any{
			"k8s.pod.uid": string(pod.UID), "k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "container.id": containerID(pod)[:12],
			"proc.cmdline": "bash -i", "proc.pid": 4711, "evt.time": time.Now().UnixNano(),
		},
	}
}

// post sends an event and wants an answer.
func post(t *testing.T, client *http.Client, url string, e programs.FalcoEvent, want int) {
	t.Helper()
	status, text, err := e.Post(t.Context(), client, url)
	if err != nil || status != want {
		t.Fatalf("posting an event: got %d, %q, %v, want %d", status, text, err, want)
	}
}

// quarantine is the Quarantine of a pod, nil for none.
func (s *scene) quarantine(ctx context.Context, pod *corev1.Pod) (*v1alpha1.Quarantine, error) {
	object, err := s.api.Resource(v1alpha1.Quarantines).Get(ctx, response.QuarantineName(string(pod.UID)), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	q := &v1alpha1.Quarantine{}
	raw, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return q, json.Unmarshal(raw, q)
}

// contained waits until all is done about a pod, and checks that it is.
func (s *scene) contained(t *testing.T, pod *corev1.Pod) *v1alpha1.Quarantine {
	t.Helper()
	var q *v1alpha1.Quarantine
	clustertest.Eventually(t, "containing "+pod.Name, func() (err error) {
		if q, err = s.quarantine(t.Context(), pod); err != nil {
			return err
		}
		if q.Status.Phase != v1alpha1.PhaseContained {
			steps, _ := json.Marshal(q.Status.Steps)
			return fmt.Errorf("it is %s (%s): %s", q.Status.Phase, q.Status.Reason, steps)
		}
		return nil
	})
	now, err := s.kube.CoreV1().Pods("shop").Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(now.Labels) != 1 || now.Labels[v1alpha1.QuarantineLabel] != q.Name {
		t.Errorf("pod %s has the labels %v, want that of its quarantine only", pod.Name, now.Labels)
	}
	if q.Status.Verdict != "Isolated" {
		t.Errorf("the proof says %s: %q, want Isolated", q.Status.Verdict, q.Status.Residual)
	}
	if _, err := s.kube.NetworkingV1().NetworkPolicies("shop").Get(t.Context(), v1alpha1.NetworkPolicyName(q.Name), metav1.GetOptions{}); err != nil {
		t.Errorf("its network policy: %v", err)
	}
	if len(q.Status.Incidents) != 1 || len(q.Status.Evidence) == 0 {
		t.Errorf("it has the incidents %q and %d pieces of evidence, want one and some", q.Status.Incidents, len(q.Status.Evidence))
	}
	return q
}

// untouched says what is different about a pod that nothing may have been done about.
func (s *scene) untouched(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	now, err := s.kube.CoreV1().Pods("shop").Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if now.UID != pod.UID || now.Labels["app"] != "web" || now.Labels[v1alpha1.QuarantineLabel] != "" || len(now.OwnerReferences) != 1 {
		t.Errorf("pod %s is %+v, want it untouched", pod.Name, now.ObjectMeta)
	}
}

// counts waits until a metric has a value.
func (s *scene) counts(t *testing.T, want string) {
	t.Helper()
	clustertest.Eventually(t, "counting "+want, func() error {
		text, err := s.responder.Metrics(t.Context())
		if err == nil && !strings.Contains(text, want+"\n") {
			err = errors.New("it is not there")
		}
		return err
	})
}

// TestAnEventIsolatesItsPod posts real events over mutual TLS to the real program at a real API server with its controllers.
func TestAnEventIsolatesItsPod(t *testing.T) {
	s := newScene(t)
	s.start(t)
	pods := s.pods(t)
	url, node := s.responder.EventsURL(), s.sender(t, "system:node:node-a")

	post(t, node, url, shell(&pods[0]), http.StatusOK)
	q := s.contained(t, &pods[0])
	if got := q.Spec.Triggers; len(got) != 1 || got[0].Policy != "runtime/shell" || got[0].Message != "bash -i runs in "+pods[0].Name || !strings.HasPrefix(got[0].Revision, "acme@1") {
		t.Errorf("its triggers are %+v, want the policy that asked, and why", got)
	}
	if q.Spec.Owner == nil || q.Spec.Owner.Kind != "Deployment" || q.Spec.Owner.Name != "web" || q.Spec.Owner.Desired != 4 {
		t.Errorf("its owner is %+v, want the Deployment web of 4", q.Spec.Owner)
	}
	if want := []string{"sha256:" + strings.Repeat("a", 64)}; len(q.Spec.Pod.Images) != 1 || q.Spec.Pod.Images[0] != want[0] || q.Spec.Pod.Node != "node-a" {
		t.Errorf("its pod is %+v, want the image %q on node-a", q.Spec.Pod, want)
	}
	replaced := s.pods(t) // the ReplicaSet has made another one
	for n := range replaced {
		if replaced[n].UID == pods[0].UID {
			t.Errorf("pod %s is still one of the Deployment", pods[0].Name)
		}
	}
	s.counts(t, `portcullis_responder_events_total{outcome="proposed"} 1`)
	s.decisions(t, "responded")

	// Not from another node, nor from nobody, nor by a forged word for the node.
	forged := shell(&pods[1])
	forged.Hostname = "node-a"
	post(t, s.sender(t, "system:node:node-b"), url, forged, http.StatusOK)
	s.counts(t, `portcullis_responder_events_total{outcome="wrong_node"} 1`)
	for name, client := range map[string]*http.Client{"nobody": s.sender(t, ""), "somebody": s.sender(t, "somebody")} {
		if status, text, err := forged.Post(t.Context(), client, url); err == nil && status < http.StatusBadRequest {
			t.Errorf("%s may send events: %d %s", name, status, text)
		}
	}
	s.untouched(t, &pods[1])
	if _, err := s.quarantine(t.Context(), &pods[1]); err == nil {
		t.Error("a pod has a Quarantine because of a forged event")
	}

	// A milder event is judged, and nobody asks for anything; one of no interest is not even judged.
	mild := shell(&pods[1])
	mild.Priority = "Notice"
	post(t, node, url, mild, http.StatusOK)
	s.counts(t, `portcullis_responder_events_total{outcome="ignored"} 1`)
	other := shell(&pods[1])
	other.Rule = "Something else"
	post(t, node, url, other, http.StatusOK)
	s.counts(t, `portcullis_responder_events_total{outcome="unmatched"} 1`)

	// Falco's own word is health, and what is not known is reported.
	drops := programs.FalcoEvent{Hostname: "falco-1", Priority: "Critical", Rule: "Falco internal: syscall event drop", Source: "internal", Time: time.Now().UTC(),
		Fields: map[string]any{"n_drops": 42, "n_evts": 1000}}
	post(t, node, url, drops, http.StatusOK)
	unknown := shell(&pods[1])
	unknown.Fields["k8s.pod.uid"] = "00000000-0000-0000-0000-000000000000"
	post(t, node, url, unknown, http.StatusOK)
	s.counts(t, `portcullis_responder_events_total{outcome="unresolved"} 1`)
	s.untouched(t, &pods[1])

	if err := s.responder.Stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// decisions are the outcomes in the journal, in order.
func (s *scene) decisions(t *testing.T, want ...string) {
	t.Helper()
	clustertest.Eventually(t, "recording "+strings.Join(want, ", "), func() error {
		var got []string
		for line, err := range journal.Read(filepath.Join(s.dir, "one-journal"), journal.Filter{}) {
			if err != nil {
				return err
			}
			if line.Decision != nil {
				got = append(got, line.Decision.Outcome)
			}
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			return fmt.Errorf("it has %q", got)
		}
		return nil
	})
}

// TestAnEventThatWasAnsweredSurvivesAKill: the program is killed as soon as it has answered, and goes on when it is back.
func TestAnEventThatWasAnsweredSurvivesAKill(t *testing.T) {
	s := newScene(t)
	s.start(t)
	pods := s.pods(t)
	node := s.sender(t, "system:node:node-a")
	for n := range 3 {
		post(t, node, s.responder.EventsURL(), shell(&pods[n]), http.StatusOK)
		s.responder.Kill()
		if err := s.responder.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		q := s.contained(t, &pods[n])
		s.pods(t) // the limits are of pods that are ready: its replacement has to be
		if len(q.Spec.Triggers) != 1 || len(q.Status.Incidents) != 1 {
			t.Errorf("after a kill it has %d triggers and %d incidents, want one of each", len(q.Spec.Triggers), len(q.Status.Incidents))
		}
	}
	list, err := s.api.Resource(v1alpha1.Quarantines).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 3 {
		t.Errorf("there are %d Quarantines, want one for each pod", len(list.Items))
	}
	s.untouched(t, &pods[3])
}
