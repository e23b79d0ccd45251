package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/images"
	"github.com/portcullis-dev/portcullis/test/packets"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// responderUser is the responder's service account, oncall somebody who responds to incidents.
const (
	responderUser = "system:serviceaccount:portcullis-system:portcullis-responder"
	oncall        = "oncall"
)

// servedPort is that of the program of the images.
const servedPort = 8080

// nodeScene is a real node with running containers, the webhook and the responder.
type nodeScene struct {
	*environment
	node      *cluster.Node
	api       dynamic.Interface
	responder *programs.Responder
	sender    *http.Client
}

// TestAnIncidentOnARealNode has real containers with real addresses taken out of service, kept, looked into and ended. The
// policies that are then in the API are enforced with nftables in the network namespaces of the pods, as a network plugin does.
func TestAnIncidentOnARealNode(t *testing.T) {
	s := newNodeScene(t)
	t.Run("a reverse shell isolates its pod, provably, and its replacement really starts", s.isolation)
	t.Run("what the proof calls residual really gets there", s.residual)
	t.Run("an eviction ends the process, and the log is kept", func(t *testing.T) {
		s.ending(t, "evicted", "Drop and execute new binary in container", map[string]any{"proc.is_exe_upper_layer": true})
	})
	t.Run("a deletion ends the process, and the log is kept", func(t *testing.T) {
		s.ending(t, "deleted", "Terminal shell in container", map[string]any{"proc.tty": 34816})
	})
}

func newNodeScene(t *testing.T) *nodeScene {
	t.Helper()
	if err := errors.Join(cluster.NodeUnavailable(), packets.Unavailable()); err != nil {
		t.Skip(err)
	}
	ctx := t.Context()
	s := &nodeScene{environment: startAlone(t, cluster.Options{Users: []cluster.User{
		cluster.NodeUser, {Name: responderUser, Groups: []string{"system:serviceaccounts"}}, {Name: oncall, Groups: []string{"portcullis:responders"}},
	}})}
	s.startNode(t)
	s.api = mustReturn(dynamic.NewForConfig(s.config(t, cluster.Admin)))(t)
	objects := mustReturn(os.ReadFile("testdata/node.yaml"))(t)
	objects = bytes.ReplaceAll(objects, []byte("IMAGE"), []byte(s.pushServer(t)))
	for _, manifest := range [][]byte{v1alpha1.Manifest, objects, v1alpha1.Roles("portcullis-system")} {
		mustReturn(s.creator.Create(ctx, manifest, metav1.CreateOptions{}))(t)
	}
	clustertest.Serving(t, s.api, v1alpha1.Quarantines, v1alpha1.Evidences, v1alpha1.Incidents)

	bundle := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bundle, "bundle.yaml"), mustReturn(os.ReadFile("testdata/node-bundle.yaml"))(t), 0o600))
	webhook := mustReturn(newInstallation(ctx, s.environment, installOptions{name: "portcullis", bundle: bundle, replicas: 1}))(t)
	s.own = webhook // which stops it in the end
	must(t, webhook.install(ctx))
	t.Cleanup(func() { // or else nobody could remove the quarantined pods from the node
		err := s.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().DeleteCollection(context.WithoutCancel(ctx), metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	s.startResponder(t, bundle)
	return s
}

func (s *nodeScene) config(t *testing.T, user string) *rest.Config {
	t.Helper()
	return mustReturn(s.control.Config(user))(t)
}

func (s *nodeScene) startNode(t *testing.T) {
	t.Helper()
	dir := mustReturn(os.MkdirTemp("", "node-"))(t) // a short name: a socket is in it
	var err error
	s.node, err = s.control.StartNode(t.Context(), cluster.NodeOptions{Dir: dir, Pause: nodeImage(t, images.BuildProgram, "pause")})
	must(t, err)
	t.Cleanup(func() {
		if err := s.node.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func nodeImage(t *testing.T, build func(ctx context.Context, dir string) (string, error), label string) v1.Image {
	t.Helper()
	program := mustReturn(build(t.Context(), t.TempDir()))(t)
	return mustReturn(images.New(images.Options{Program: program, Label: label}))(t)
}

// pushServer pushes the image of what runs to a registry, and returns its reference.
func (s *nodeScene) pushServer(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return mustReturn(images.Push(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/shop/server:1", nodeImage(t, images.BuildServer, "server")))(t)
}

func (s *nodeScene) startResponder(t *testing.T, bundle string) {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	must(t, programs.Build(ctx, built, "portcullis-responder"))
	senders := mustReturn(pki.NewAuthority(dir, "senders"))(t)
	addresses := mustReturn(freeAddresses(2))(t)
	var err error
	s.responder, err = programs.StartResponder(ctx, programs.ResponderOptions{
		Dir: built, Name: "responder", Bundle: bundle, Listen: addresses[0], Probes: addresses[1],
		Serving: mustReturn(s.control.ServingCertificate("responder"))(t), ClientCAFile: senders.File,
		Kubeconfig: mustReturn(s.control.Kubeconfig(responderUser))(t), Namespace: "portcullis-system", Spool: filepath.Join(dir, "events"),
		Args: []string{"--cni=kube-network-policies", "--lease-duration=2s"}, LogFile: filepath.Join(dir, "responder.log"),
	})
	t.Cleanup(func() {
		s.responder.Kill()
		if t.Failed() {
			t.Logf("the responder's log:\n%s", mustReturn(os.ReadFile(filepath.Join(dir, "responder.log")))(t))
		}
	})
	must(t, err)

	pair := mustReturn(senders.Issue("system:node:" + cluster.NodeName))(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(mustReturn(os.ReadFile(s.control.CAFile))(t))
	s.sender = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{mustReturn(tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile))(t)},
	}}}
}

// running waits until so many pods with a label run and are ready, and returns them.
func (s *nodeScene) running(t *testing.T, namespace, app string, count int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, func(ctx context.Context) error {
		list, err := s.admin.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return err
		}
		pods = slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !ready(&pod) || pod.DeletionTimestamp != nil })
		if len(pods) != count {
			return fmt.Errorf("%d pods with app=%s run and are ready, want %d", len(pods), app, count)
		}
		return nil
	})
	return pods
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
}

// report posts an event about a pod, as the Falco of its node would.
func (s *nodeScene) report(t *testing.T, pod *corev1.Pod, rule string, fields map[string]any) {
	t.Helper()
	_, container, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	event := programs.FalcoEvent{
		Hostname: cluster.NodeName, Priority: "Critical", Rule: rule, Source: "syscall", Time: time.Now().UTC(), Tags: []string{"container", "process", "shell"},
		Output: rule + " (command=bash -i)",
		Fields: map[string]any{
			"k8s.pod.uid": string(pod.UID), "k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "container.id": container[:12], "container.full_id": container,
			"proc.name": "bash", "proc.exepath": "/tmp/bash", "proc.cmdline": "bash -i", "evt.time": time.Now().UnixNano(),
		},
	}
	for name, value := range fields {
		event.Fields[name] = value
	}
	status, text, err := event.Post(t.Context(), s.sender, s.responder.EventsURL())
	if err != nil || status != http.StatusOK {
		t.Fatalf("posting an event: got %d %s %v, want 200", status, text, err)
	}
}

// quarantineIn waits until the quarantine of a pod has come to a phase, and returns it.
func (s *nodeScene) quarantineIn(t *testing.T, pod *corev1.Pod, phase v1alpha1.Phase) *v1alpha1.Quarantine {
	t.Helper()
	var q *v1alpha1.Quarantine
	eventually(t, func(ctx context.Context) error {
		object, err := s.api.Resource(v1alpha1.Quarantines).Get(ctx, response.QuarantineName(string(pod.UID)), metav1.GetOptions{})
		if err != nil {
			return err
		}
		q = &v1alpha1.Quarantine{}
		raw, err := object.MarshalJSON()
		if err := errors.Join(err, json.Unmarshal(raw, q)); err != nil {
			return err
		}
		if q.Status.Phase.Over() && !phase.Over() {
			t.Fatalf("%s is %s for good (%s), want %s", q.Name, q.Status.Phase, q.Status.Reason, phase)
		}
		if q.Status.Phase != phase {
			steps, err := json.Marshal(q.Status.Steps)
			return errors.Join(fmt.Errorf("%s is %s (%s), want %s: %s", q.Name, q.Status.Phase, q.Status.Reason, phase, steps), err)
		}
		return nil
	})
	return q
}

// enforce does what a network plugin does on its node: it makes rules of the policies that are in the API, for each pod.
func (s *nodeScene) enforce(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	c := &packets.Cluster{
		Pods:            mustReturn(s.admin.CoreV1().Pods("").List(ctx, metav1.ListOptions{}))(t).Items,
		Namespaces:      mustReturn(s.admin.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}))(t).Items,
		NetworkPolicies: mustReturn(s.admin.NetworkingV1().NetworkPolicies("").List(ctx, metav1.ListOptions{}))(t).Items,
		Node:            nodeAddresses(t),
	}
	for i := range c.Pods {
		pod := &c.Pods[i]
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		namespace := s.networkOf(t, pod)
		must(t, namespace.Apply(ctx, mustReturn(c.Rules(pod))(t)))
		must(t, namespace.Close())
	}
}

// nodeAddresses are those of this machine, which is the node.
func nodeAddresses(t *testing.T) []netip.Addr {
	t.Helper()
	var found []netip.Addr
	for _, address := range mustReturn(net.InterfaceAddrs())(t) {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			found = append(found, prefix.Addr())
		}
	}
	return found
}

// networkOf is the network namespace of a pod.
func (s *nodeScene) networkOf(t *testing.T, pod *corev1.Pod) *packets.Namespace {
	t.Helper()
	process := mustReturn(s.node.PID(t.Context(), pod.Status.ContainerStatuses[0].ContainerID))(t)
	return mustReturn(packets.NamespaceOf(process))(t)
}

// wantPackets sends packets from within one pod to another one.
func (s *nodeScene) wantPackets(t *testing.T, from, to *corev1.Pod, want bool) {
	t.Helper()
	namespace := s.networkOf(t, from)
	defer namespace.Close()
	host := &packets.Host{Namespace: namespace, Name: from.Name}
	probe := packets.Probe{From: host, To: packets.Target{Address: packets.Addresses(to)[0], Protocol: corev1.ProtocolTCP, Port: servedPort}, Expected: want}
	if got := mustReturn(packets.Measure(t.Context(), []packets.Probe{probe}))(t)[0]; got != want {
		t.Errorf("packets from %s to %s get there: %t, want %t", from.Name, to.Name, got, want)
	}
}

func (s *nodeScene) isolation(t *testing.T) {
	ctx := t.Context()
	carts, client := s.running(t, "shop", "cart", 3), s.running(t, "shop", "client", 1)[0]
	victim := carts[0]
	process := mustReturn(s.node.PID(ctx, victim.Status.ContainerStatuses[0].ContainerID))(t)
	s.enforce(t)
	s.wantPackets(t, &client, &victim, true)
	s.wantPackets(t, &victim, &client, true)
	s.wantExec(t, "dev", &victim)
	s.wantToken(t, &victim, "before", wantAdmitted)

	s.report(t, &victim, "Reverse shell in container", nil)
	q := s.quarantineIn(t, &victim, v1alpha1.PhaseContained)
	if q.Status.Verdict != "Isolated" || q.Status.Connections != "MayPersist" {
		t.Errorf("the proof says %s, connections %s, residual %q, want Isolated and MayPersist", q.Status.Verdict, q.Status.Connections, q.Status.Residual)
	}

	replacements := slices.DeleteFunc(s.running(t, "shop", "cart", 3), func(pod corev1.Pod) bool {
		return slices.ContainsFunc(carts, func(cart corev1.Pod) bool { return cart.UID == pod.UID })
	})
	if len(replacements) != 1 {
		t.Fatalf("%d new pods run for the one that was detached, want one", len(replacements))
	}
	replacement := replacements[0]
	s.wantEndpoints(t, &replacement, &victim)
	s.wantStillRunning(t, &victim, process)
	s.wantEvidence(t, q)

	s.enforce(t)
	s.wantPackets(t, &client, &victim, false)
	s.wantPackets(t, &victim, &client, false)
	s.wantPackets(t, &victim, &replacement, false)
	s.wantPackets(t, &carts[1], &victim, false)
	s.wantPackets(t, &client, &replacement, true)
	s.wantDropped(t, &victim)

	s.wantGuarded(t, &victim)
	s.release(t, &victim, q, process)
}

// wantExec runs a command in a pod.
func (s *nodeScene) wantExec(t *testing.T, user string, pod *corev1.Pod) {
	t.Helper()
	eventually(t, func(ctx context.Context) error { // once in a while containerd 1.6 loses what a command prints
		output, err := cluster.Exec(ctx, s.config(t, user), pod.Namespace, pod.Name, "still here\n", "/program", "print")
		if err == nil && output != "still here\n" {
			err = fmt.Errorf("exec by %s: got %q, want what the command prints", user, output)
		}
		return err
	})
}

// wantToken writes with a token of the pod, as whoever is in it could.
func (s *nodeScene) wantToken(t *testing.T, pod *corev1.Pod, name string, check func(*testing.T, error)) {
	t.Helper()
	ctx := t.Context()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	token := mustReturn(s.admin.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{}))(t)
	config := rest.AnonymousClientConfig(s.config(t, cluster.Admin))
	config.BearerToken = token.Status.Token
	client := mustReturn(kubernetes.NewForConfig(config))(t)
	_, err := client.CoreV1().ConfigMaps(pod.Namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	check(t, err)
}

// wantEndpoints waits until the Service has one pod and not the other.
func (s *nodeScene) wantEndpoints(t *testing.T, with, without *corev1.Pod) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		slicesOf, err := s.admin.DiscoveryV1().EndpointSlices("shop").List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=cart"})
		if err != nil {
			return err
		}
		var addresses []string
		for _, slice := range slicesOf.Items {
			for _, endpoint := range slice.Endpoints {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
		if !slices.Contains(addresses, with.Status.PodIP) || slices.Contains(addresses, without.Status.PodIP) {
			return fmt.Errorf("the Service has %v, want it with %s and without %s", addresses, with.Status.PodIP, without.Status.PodIP)
		}
		return nil
	})
}

// wantStillRunning checks that the pod is kept as it was: detached, the same process, never restarted.
func (s *nodeScene) wantStillRunning(t *testing.T, pod *corev1.Pod, process int) {
	t.Helper()
	now := mustReturn(s.admin.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{}))(t)
	if now.UID != pod.UID || len(now.OwnerReferences) > 0 || now.Labels["app"] != "" || now.Labels[v1alpha1.QuarantineLabel] == "" {
		t.Errorf("the pod is %+v, want it detached from its owner, with the label of its quarantine only", now.ObjectMeta)
	}
	if got := mustReturn(s.node.PID(t.Context(), pod.Status.ContainerStatuses[0].ContainerID))(t); got != process {
		t.Errorf("its process is %d, want still %d", got, process)
	}
}

// wantDropped checks that it was the rules that held packets up: they count.
func (s *nodeScene) wantDropped(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	namespace := s.networkOf(t, pod)
	defer namespace.Close()
	ruleset := mustReturn(namespace.Ruleset(t.Context()))(t)
	drops := 0
	for line := range strings.Lines(ruleset) {
		var count, size int
		if n, _ := fmt.Sscanf(strings.TrimSpace(line), "counter packets %d bytes %d drop", &count, &size); n == 2 && count > 0 {
			drops++
		}
	}
	if drops != 2 {
		t.Errorf("%d rules have dropped packets, want one for each direction:\n%s", drops, ruleset)
	}
}

// wantEvidence checks that the real log and the real object were kept, and no secret with them.
func (s *nodeScene) wantEvidence(t *testing.T, q *v1alpha1.Quarantine) {
	t.Helper()
	pieces := map[string]string{}
	for _, reference := range q.Status.Evidence {
		object := mustReturn(s.api.Resource(v1alpha1.Evidences).Get(t.Context(), reference.Name, metav1.GetOptions{}))(t)
		piece := &v1alpha1.QuarantineEvidence{}
		raw := mustReturn(object.MarshalJSON())(t)
		must(t, json.Unmarshal(raw, piece))
		unpacked := mustReturn(gzip.NewReader(bytes.NewReader(piece.Data)))(t)
		pieces[piece.Piece] += string(mustReturn(io.ReadAll(unpacked))(t))
	}
	if !strings.Contains(pieces["log"], "listening on :8080") {
		t.Errorf("the evidence has the log %q, want what the container printed", pieces["log"])
	}
	if !strings.Contains(pieces["pod"], q.Spec.Pod.UID) || strings.Contains(pieces["pod"], "correct-horse") {
		t.Errorf("the evidence has the pod %s, want it without its password", pieces["pod"])
	}
}

// wantGuarded checks that nobody but those who respond comes near the pod.
func (s *nodeScene) wantGuarded(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	ctx := t.Context()
	eventually(t, func(ctx context.Context) error { // the webhook learns of it by a watch
		if _, err := cluster.Exec(ctx, s.config(t, "dev"), pod.Namespace, pod.Name, "still here\n", "/program", "print"); err == nil {
			return errors.New("exec is not refused")
		}
		return nil
	})
	_, err := cluster.Exec(ctx, s.config(t, "dev"), pod.Namespace, pod.Name, "still here\n", "/program", "print")
	if err == nil || !strings.Contains(err.Error(), "runtime/quarantined-exec") {
		t.Errorf("exec by dev: got %v, want it refused by runtime/quarantined-exec", err)
	}
	s.wantExec(t, oncall, pod)
	wantDenied(t, s.dev.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}), "runtime/quarantined-deletion")
	_, err = s.dev.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"cart"}}}`), metav1.PatchOptions{})
	wantDenied(t, err, "runtime/quarantined-changes")
	wantDenied(t, s.dev.NetworkingV1().NetworkPolicies(pod.Namespace).Delete(ctx, v1alpha1.NetworkPolicyName(response.QuarantineName(string(pod.UID))), metav1.DeleteOptions{}), "runtime/quarantine-objects")
	eventually(t, func(ctx context.Context) error {
		_, err := s.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, "portcullis-quarantine", metav1.GetOptions{})
		return err
	})
	s.wantToken(t, pod, "after", func(t *testing.T, err error) { wantDenied(t, err, "runtime/quarantined-token") })
}

// release ends the quarantine: the pod has a replacement, so it goes, and its process with it.
func (s *nodeScene) release(t *testing.T, pod *corev1.Pod, q *v1alpha1.Quarantine, process int) {
	t.Helper()
	ctx := t.Context()
	client := mustReturn(dynamic.NewForConfig(s.config(t, oncall)))(t).Resource(v1alpha1.Quarantines)
	eventually(t, func(ctx context.Context) error { // the responder writes, too
		object, err := client.Get(ctx, q.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		spec := object.Object["spec"].(map[string]any)
		spec["release"] = map[string]any{"by": oncall, "reason": "looked into", "time": time.Now().UTC().Format(time.RFC3339)}
		_, err = client.Update(ctx, object, metav1.UpdateOptions{})
		return err
	})
	s.quarantineIn(t, pod, v1alpha1.PhaseReleased)
	s.wantGone(t, pod, process)
	_, err := s.admin.NetworkingV1().NetworkPolicies(pod.Namespace).Get(ctx, v1alpha1.NetworkPolicyName(q.Name), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the policy of the quarantine: got %v, want it gone", err)
	}
}

// wantGone waits until a pod and its process are gone.
func (s *nodeScene) wantGone(t *testing.T, pod *corev1.Pod, process int) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		now, err := s.admin.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) && (err != nil || now.UID == pod.UID) {
			return fmt.Errorf("the pod is still there: %w", err)
		}
		if err := syscall.Kill(process, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("its process %d is still there: %w", process, err)
		}
		return nil
	})
}

// A bare pod is isolated in place. Where a policy about all pods of its namespace lets others in, they still get in, and the
// proof says so.
func (s *nodeScene) residual(t *testing.T) {
	alone, neighbour := s.running(t, "open", "alone", 1)[0], s.running(t, "open", "neighbour", 1)[0]
	s.report(t, &alone, "Reverse shell in container", nil)
	q := s.quarantineIn(t, &alone, v1alpha1.PhaseContained)
	if q.Status.Verdict != "Residual" || len(q.Status.Residual) == 0 || !strings.Contains(q.Status.Residual[0], "open/within") {
		t.Errorf("the proof says %s, %q, want Residual, and NetworkPolicy open/within", q.Status.Verdict, q.Status.Residual)
	}
	s.enforce(t)
	s.wantPackets(t, &neighbour, &alone, true)
	s.wantPackets(t, &alone, &neighbour, false)
}

// ending reports an event whose policy ends the pod of a Deployment.
func (s *nodeScene) ending(t *testing.T, app, rule string, fields map[string]any) {
	pod := s.running(t, "shop", app, 1)[0]
	process := mustReturn(s.node.PID(t.Context(), pod.Status.ContainerStatuses[0].ContainerID))(t)
	s.report(t, &pod, rule, fields)
	q := s.quarantineIn(t, &pod, v1alpha1.PhaseContained)
	s.wantGone(t, &pod, process)
	s.wantEvidence(t, q)
	if replacement := s.running(t, "shop", app, 1)[0]; replacement.UID == pod.UID {
		t.Errorf("pod %s has no replacement", pod.Name)
	}
}
