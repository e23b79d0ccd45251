package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// The scene of the incident: one of the two pods of the good deployment, on a node that the demo plays.
const (
	sceneNamespace = "shop"
	sceneLabel     = "app=cart"
	sceneNode      = "node-1"
	sceneDigest    = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// incident is what happens after the pods were admitted: one of them opens a reverse shell.
type incident struct {
	dir       string
	control   *cluster.Cluster
	creator   *cluster.Creator
	config    *rest.Config
	client    kubernetes.Interface
	objects   dynamic.Interface
	warnings  *warnings
	responder *programs.Responder
	node      string // that the pods are on
	eventsURL string // of the responder
	vault     *vaultScene
	sender    *http.Client
	addresses int // given so far
	out       bytes.Buffer
}

// playIncident has one of the good deployment's pods break out, and shows all that comes of it.
func playIncident(ctx context.Context, s *apiServer, dir string, policies policies) (text string, err error) {
	i := &incident{dir: dir, control: s.control, warnings: &warnings{}, node: sceneNode}
	if err := i.connect(); err != nil {
		return "", err
	}
	defer func() {
		if i.responder != nil {
			err = errors.Join(err, i.responder.Stop())
		}
	}()
	i.vault = &vaultScene{incident: i}
	ctx, cancel := context.WithCancel(ctx) // ends what plays the node
	defer cancel()
	defer func() { err = errors.Join(err, i.vault.stop()) }()
	for _, step := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"playing a node", i.playNode},
		{"keeping secrets", func(ctx context.Context) error { return i.vault.play(ctx, policies) }},
		{"starting the responder", func(ctx context.Context) error { return i.start(ctx, policies) }},
		{"breaking out", i.breakOut},
	} {
		if err := step.do(ctx); err != nil {
			return i.out.String(), fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return i.out.String(), nil
}

func (i *incident) connect() (err error) {
	if i.config, err = i.control.Config(cluster.Admin); err != nil {
		return err
	}
	i.config = rest.CopyConfig(i.config)
	i.config.WarningHandler = i.warnings
	if i.client, err = kubernetes.NewForConfig(i.config); err != nil {
		return err
	}
	if i.objects, err = dynamic.NewForConfig(i.config); err != nil {
		return err
	}
	i.creator, err = cluster.NewCreator(i.config)
	return err
}

func (i *incident) say(format string, args ...any) { fmt.Fprintf(&i.out, format+"\n", args...) }

// playNode adds a node that nobody runs, and says of the deployment's pods what a kubelet would: that they run, and with which address.
func (i *incident) playNode(ctx context.Context) error {
	capacity := corev1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("16Gi"), "ephemeral-storage": resource.MustParse("64Gi"), "pods": resource.MustParse("110")}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: sceneNode, Labels: map[string]string{"kubernetes.io/hostname": sceneNode}}}
	if _, err := i.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return err
	}
	// The controllers write new nodes too, at any time after they were made.
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := i.client.CoreV1().Nodes().Get(ctx, sceneNode, metav1.GetOptions{})
		if err != nil {
			return err
		}
		node.Status = corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(), Reason: "Played"}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}},
		}
		_, err = i.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	go i.beat(ctx)
	_, err = i.runningPods(ctx, 2)
	return err
}

// beat renews the Lease of the node, as its kubelet would, until the context ends: a node that does not is taken for lost after a while, and its
// pods for not ready.
func (i *incident) beat(ctx context.Context) {
	leases, seconds, holder := i.client.CoordinationV1().Leases("kube-node-lease"), int32(40), sceneNode
	for ctx.Err() == nil {
		now := metav1.NowMicro()
		lease, err := leases.Get(ctx, sceneNode, metav1.GetOptions{})
		if err == nil {
			lease.Spec.RenewTime = &now
			_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		} else if apierrors.IsNotFound(err) {
			lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: sceneNode}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now}}
			_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
		}
		wait := 5 * time.Second
		if err != nil {
			wait = 100 * time.Millisecond // somebody else wrote it: again
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// runningPods waits for the pods of the deployment's controller to be on the node, and says of those that do not run yet that they do.
func (i *incident) runningPods(ctx context.Context, count int) (pods []corev1.Pod, err error) {
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		listed, err := i.client.CoreV1().Pods(sceneNamespace).List(ctx, metav1.ListOptions{LabelSelector: sceneLabel})
		if err != nil {
			return false, err
		}
		pods = listed.Items
		for n := range pods {
			if err := i.run(ctx, &pods[n]); err != nil {
				return false, err
			}
		}
		return len(pods) == count && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning }), nil
	})
	return pods, err
}

// run says that a pod runs, if it has been given to the node.
func (i *incident) run(ctx context.Context, pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodRunning || i.node != sceneNode {
		return nil
	}
	address := fmt.Sprintf("198.51.100.%d", 10+i.addresses)
	i.addresses++
	pod.Status.Phase, pod.Status.HostIP, pod.Status.PodIP = corev1.PodRunning, "192.0.2.1", address
	pod.Status.PodIPs = []corev1.PodIP{{IP: address}}
	now := metav1.Now()
	pod.Status.StartTime = &now
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
	}
	started := true
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Ready: true, Started: &started, Image: pod.Spec.Containers[0].Image,
		ImageID:     "registry.example.com/shop/cart@" + sceneDigest,
		ContainerID: "containerd://" + strings.ReplaceAll(string(pod.UID), "-", "") + strings.ReplaceAll(string(pod.UID), "-", ""),
		State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}
	_, err := i.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// start starts the responder, and makes a sender with the certificate of the node.
func (i *incident) start(ctx context.Context, policies policies) error {
	files := filepath.Join(i.dir, "falco")
	if err := os.MkdirAll(files, 0o700); err != nil {
		return err
	}
	authority, err := pki.NewAuthority(files, "falco")
	if err != nil {
		return err
	}
	serving, err := authority.Issue("portcullis-responder", "127.0.0.1")
	if err != nil {
		return err
	}
	if i.sender, err = senderOf(authority, "system:node:"+sceneNode); err != nil {
		return err
	}
	options := programs.ResponderOptions{
		Dir: i.dir, Name: "portcullis-responder", Bundle: policies.bundle, Serving: serving, ClientCAFile: authority.File, Namespace: "portcullis-system",
		Spool: filepath.Join(i.dir, "spool"), LogFile: filepath.Join(i.dir, "responder.log"),
		// No network plugin runs here: the proof is that of a cluster with one that enforces network policies.
		Args: append([]string{"--cni=kube-network-policies"}, policies.flags...),
	}
	for _, address := range []*string{&options.Listen, &options.Probes} {
		port, err := cluster.FreePort()
		if err != nil {
			return err
		}
		*address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	if options.Kubeconfig, err = i.control.Kubeconfig(cluster.Admin); err != nil {
		return err
	}
	if i.responder, err = programs.StartResponder(ctx, options); err != nil {
		return err
	}
	i.eventsURL = i.responder.EventsURL()
	return nil
}

// senderOf is a client with a certificate for a name.
func senderOf(authority *pki.Authority, name string) (*http.Client, error) {
	pair, err := authority.Issue(name)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return nil, err
	}
	trusted, err := os.ReadFile(authority.File)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, MinVersion: tls.VersionTLS12}}}, nil
}

// breakOut is the incident.
func (i *incident) breakOut(ctx context.Context) error {
	pods, err := i.runningPods(ctx, 2)
	if err != nil {
		return err
	}
	victim := pods[0]
	quarantine, err := i.report(ctx, &victim)
	if err != nil {
		return err
	}
	for _, show := range []func(context.Context, *corev1.Pod, *v1alpha1.Quarantine) error{i.showReplacement, i.showRevoked, i.showExec, i.showNewPod, i.showRelease} {
		if err := show(ctx, &victim, quarantine); err != nil {
			return err
		}
	}
	return nil
}

// report has Falco see a reverse shell, and waits for the quarantine.
func (i *incident) report(ctx context.Context, victim *corev1.Pod) (*v1alpha1.Quarantine, error) {
	i.say("\nAT RUN TIME: Falco sees a reverse shell in pod %s/%s (node %s, played by the demo)", sceneNamespace, victim.Name, i.node)
	began := time.Now()
	status, answer, err := reverseShell(victim, i.node).Post(ctx, i.sender, i.eventsURL)
	if err != nil || status/100 != 2 {
		return nil, fmt.Errorf("posting the event: got %d %s %w", status, answer, err)
	}
	quarantine, err := i.contained(ctx)
	if err != nil {
		return nil, err
	}
	i.printQuarantine(quarantine, began)
	return quarantine, nil
}

// reverseShell is Falco's event about one in a pod.
func reverseShell(victim *corev1.Pod, node string) programs.FalcoEvent {
	_, container, _ := strings.Cut(victim.Status.ContainerStatuses[0].ContainerID, "://")
	return programs.FalcoEvent{
		Hostname: node, Rule: "Redirect STDOUT/STDIN to Network Connection in Container", Priority: "Critical", Source: "syscall", Time: time.Now().UTC(),
		Tags:   []string{"T1059", "container", "maturity_stable", "mitre_execution", "network", "process"},
		Output: "Redirect stdout/stdin to network connection (command=bash -i)",
		Fields: map[string]any{
			"container.id": container[:12], "k8s.pod.uid": string(victim.UID), "k8s.pod.name": victim.Name, "k8s.ns.name": sceneNamespace,
			"proc.name": "bash", "proc.exepath": "/bin/bash", "proc.cmdline": "bash -i", "fd.name": "198.51.100.7:41000->203.0.113.9:4444", "fd.num": 0,
			"fd.sip": "203.0.113.9", "fd.rip": "203.0.113.9", "fd.sport": 4444, "evt.type": "dup2", "evt.time": time.Now().UnixNano(),
		},
	}
}

// contained waits for the only Quarantine to have taken its steps.
func (i *incident) contained(ctx context.Context) (found *v1alpha1.Quarantine, err error) {
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		found, err = i.quarantine(ctx)
		if err != nil || found == nil {
			return false, err
		}
		if found.Status.Phase.Over() {
			return false, fmt.Errorf("the quarantine is %s: %s", found.Status.Phase, found.Status.Reason)
		}
		return found.Status.Phase == v1alpha1.PhaseContained, nil
	})
	if err != nil && found != nil {
		raw, _ := json.Marshal(found)
		err = fmt.Errorf("%w: the quarantine is %s", err, raw)
	}
	return found, err
}

func (i *incident) quarantine(ctx context.Context) (*v1alpha1.Quarantine, error) {
	listed, err := i.objects.Resource(v1alpha1.Quarantines).List(ctx, metav1.ListOptions{})
	if err != nil || len(listed.Items) == 0 {
		return nil, err
	}
	raw, err := listed.Items[0].MarshalJSON()
	if err != nil {
		return nil, err
	}
	found := &v1alpha1.Quarantine{}
	return found, json.Unmarshal(raw, found)
}

func (i *incident) printQuarantine(q *v1alpha1.Quarantine, began time.Time) {
	i.say("Quarantine %s, by %s: %s", q.Name, q.Spec.Triggers[0].Policy, q.Spec.Triggers[0].Message)
	table := tabwriter.NewWriter(&i.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  STEP\tSTATE\tRESULT")
	for _, step := range q.Status.Steps {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", step.Name, step.State, step.Result)
	}
	table.Flush()
	i.say("  proof: %s, connections that were open: %s (for a network plugin that enforces network policies; none runs here)", q.Status.Verdict, q.Status.Connections)
	for _, flow := range q.Status.Residual {
		i.say("    still possible: %s", flow)
	}
	for _, kept := range q.Status.Evidence {
		i.say("    kept: %s%s, %d bytes", kept.Kind, strings.TrimRight(" "+kept.Container, " "), kept.Size)
	}
	if q.Status.Contained != nil {
		i.say("  all of it %d ms after the event", q.Status.Contained.Sub(began).Milliseconds())
	}
}

// showReplacement waits for the controller's new pod, and for the Service's endpoints to be without the old one.
func (i *incident) showReplacement(ctx context.Context, victim *corev1.Pod, _ *v1alpha1.Quarantine) error {
	pods, err := i.runningPods(ctx, 2)
	if err != nil {
		return fmt.Errorf("waiting for the replacement: %w", err)
	}
	at := slices.IndexFunc(pods, func(p corev1.Pod) bool {
		return p.CreationTimestamp.After(victim.CreationTimestamp.Time) && p.UID != victim.UID
	})
	if at < 0 || slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.UID == victim.UID }) {
		return errors.New("the deployment still counts the pod as its own")
	}
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		slices, err := i.client.DiscoveryV1().EndpointSlices(sceneNamespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=cart"})
		return err == nil && len(slices.Items) > 0 && !targets(slices.Items, victim.Name) && targets(slices.Items, pods[at].Name), err
	})
	if err != nil {
		return fmt.Errorf("waiting for the endpoints of the Service: %w", err)
	}
	i.say("Replaced: the ReplicaSet has made %s, and the Service sends to it instead of %s", pods[at].Name, victim.Name)
	return nil
}

// targets says whether endpoints name a pod.
func targets(all []discoveryv1.EndpointSlice, pod string) bool {
	for _, one := range all {
		for _, endpoint := range one.Endpoints {
			if endpoint.TargetRef != nil && endpoint.TargetRef.Name == pod {
				return true
			}
		}
	}
	return false
}

// showRevoked shows what became of the secrets that the pod held.
func (i *incident) showRevoked(ctx context.Context, _ *corev1.Pod, q *v1alpha1.Quarantine) error {
	return i.vault.showRevoked(ctx, q)
}

// showExec has somebody look into the pod by hand.
func (i *incident) showExec(ctx context.Context, victim *corev1.Pod, _ *v1alpha1.Quarantine) error {
	err := i.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(victim.Namespace).Name(victim.Name).SubResource("exec").
		Param("command", "sh").Param("container", victim.Spec.Containers[0].Name).Param("stdout", "true").Do(ctx).Error()
	if err == nil || !strings.Contains(err.Error(), "runtime/quarantined-exec") {
		return fmt.Errorf("exec into the pod: got %w, want a refusal by runtime/quarantined-exec", err)
	}
	i.say("kubectl exec is refused: %s", lineWith(err.Error(), "runtime/quarantined-exec"))
	return nil
}

// showNewPod has somebody start another pod of the same image.
func (i *incident) showNewPod(ctx context.Context, victim *corev1.Pod, _ *v1alpha1.Quarantine) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "cart-by-hand", Namespace: sceneNamespace}, Spec: *victim.Spec.DeepCopy()}
	pod.Spec.NodeName = ""
	i.warnings.take()
	_, err := i.client.CoreV1().Pods(sceneNamespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return fmt.Errorf("creating another pod of the image: %w", err)
	}
	for _, warning := range i.warnings.take() {
		if strings.Contains(warning, "runtime/incidents") {
			i.say("A new pod of the same digest is admitted, with a warning: %s", lineWith(warning, "runtime/incidents"))
			return nil
		}
	}
	return errors.New("creating another pod of the image: got no warning by runtime/incidents, want one")
}

// showRelease has a person end it.
func (i *incident) showRelease(ctx context.Context, victim *corev1.Pod, q *v1alpha1.Quarantine) error {
	kubeconfig, err := i.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(i.dir, "portcullis"), "quarantine", "release", q.Name, "--reason", "the shell was a drill", "--kubeconfig", kubeconfig)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("releasing the quarantine: %w\n%s", err, output)
	}
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := i.end(ctx, victim); err != nil {
			return false, err
		}
		q, err = i.quarantine(ctx)
		return err == nil && q.Status.Phase == v1alpha1.PhaseReleased, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the release: %w", err)
	}
	i.say("Released by %s: %s", q.Spec.Release.By, q.Spec.Release.Reason)
	for _, step := range q.Status.Steps {
		if strings.HasPrefix(step.Name, "release/") || step.State == v1alpha1.StepUndone {
			i.say("  %s: %s", step.Name, step.Result)
		}
	}
	return nil
}

// end does what the kubelet does about a pod that is deleted: its processes are gone, so the object may go.
func (i *incident) end(ctx context.Context, victim *corev1.Pod) error {
	pod, err := i.client.CoreV1().Pods(victim.Namespace).Get(ctx, victim.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && (pod.UID != victim.UID || pod.DeletionTimestamp == nil) {
		return nil
	}
	if err == nil {
		now := int64(0)
		err = i.client.CoreV1().Pods(victim.Namespace).Delete(ctx, victim.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &victim.UID}})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// lineWith is the line of a message that holds a text.
func lineWith(text, holding string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, holding) {
			return strings.TrimSpace(line)
		}
	}
	return text
}

// warnings keeps what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	held []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, text)
}

// take gives what has come since it was last asked.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := w.held
	w.held = nil
	return held
}
