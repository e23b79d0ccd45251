package e2e

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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

const (
	// responderAccount is who responders log in as, with the rights that they print and no other.
	responderAccount = "system:serviceaccount:portcullis-system:portcullis-responder"
	// onCall is a person who may release quarantines.
	onCall = "on-call"
	// nodeA is the kubelet of the node that all pods are said to be on. There is none: the test does what it would.
	nodeA = "system:node:node-a"
)

// pairScene is a cluster with the webhook and two replicas of the responder.
type pairScene struct {
	*environment
	api        dynamic.Interface
	responders []*programs.Responder
	sender     *http.Client
}

// TestTwoResponders meet in objects of Kubernetes only: whichever gets an event, whichever acts, and whatever fails meanwhile.
func TestTwoResponders(t *testing.T) {
	s := newPairScene(t)
	t.Run("an incident is answered, remembered by admission, and released", s.wholeIncident)
	t.Run("no limit is exceeded", s.limits)
	t.Run("an API server that is restarted meanwhile delays it", s.restarted)
	t.Run("the other one goes on when the one that acts is killed", s.killed)
}

func newPairScene(t *testing.T) *pairScene {
	t.Helper()
	ctx := t.Context()
	s := &pairScene{environment: startAlone(t, cluster.Options{Users: []cluster.User{
		{Name: responderAccount, Groups: []string{"system:serviceaccounts"}}, {Name: onCall, Groups: []string{"portcullis:responders"}},
		{Name: nodeA, Groups: []string{"system:nodes"}},
	}})}
	s.api = mustReturn(dynamic.NewForConfig(mustReturn(s.control.Config(cluster.Admin))(t)))(t)
	for _, manifest := range [][]byte{v1alpha1.Manifest, mustReturn(os.ReadFile("testdata/pair.yaml"))(t), v1alpha1.Roles("portcullis-system")} {
		mustReturn(s.creator.Create(ctx, manifest, metav1.CreateOptions{}))(t)
	}
	clustertest.Serving(t, s.api, v1alpha1.Quarantines, v1alpha1.Evidences, v1alpha1.Incidents)

	bundle := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bundle, "bundle.yaml"), mustReturn(os.ReadFile("testdata/pair-bundle.yaml"))(t), 0o600))
	var err error
	s.own, err = newInstallation(ctx, s.environment, installOptions{name: "portcullis", bundle: bundle, replicas: 1})
	must(t, err)
	must(t, s.own.install(ctx))
	must(t, programs.Build(ctx, built, "portcullis-responder"))
	dir := t.TempDir()
	senders := mustReturn(pki.NewAuthority(dir, "senders"))(t)
	for _, name := range []string{"one", "two"} {
		s.start(t, name, bundle, dir, senders)
	}
	pair := mustReturn(senders.Issue(nodeA))(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(mustReturn(os.ReadFile(s.control.CAFile))(t))
	s.sender = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{mustReturn(tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile))(t)},
	}}}
	return s
}

// start starts one responder.
func (s *pairScene) start(t *testing.T, name, bundle, dir string, senders *pki.Authority) {
	t.Helper()
	addresses := mustReturn(freeAddresses(2))(t)
	log := filepath.Join(dir, name+".log")
	responder, err := programs.StartResponder(t.Context(), programs.ResponderOptions{
		Dir: built, Name: name, Bundle: bundle, Listen: addresses[0], Probes: addresses[1],
		Serving: mustReturn(s.control.ServingCertificate(name))(t), ClientCAFile: senders.File,
		Kubeconfig: mustReturn(s.control.Kubeconfig(responderAccount))(t), Namespace: "portcullis-system", Spool: filepath.Join(dir, name),
		Args: []string{"--cni=calico", "--lease-duration=2s"}, LogFile: log,
	})
	t.Cleanup(func() {
		responder.Kill()
		if t.Failed() {
			t.Logf("the log of responder %s:\n%s", name, mustReturn(os.ReadFile(log))(t))
		}
	})
	must(t, err)
	s.responders = append(s.responders, responder)
}

// pods waits until there are so many of an app, and reports that they run, as a kubelet would.
func (s *pairScene) pods(t *testing.T, namespace, app string, count int) []corev1.Pod {
	t.Helper()
	var all []corev1.Pod
	eventually(t, func(ctx context.Context) error {
		list, err := s.admin.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return err
		}
		if all = list.Items; len(all) != count {
			return fmt.Errorf("there are %d pods of %s, not %d", len(all), app, count)
		}
		return nil
	})
	for n := range all {
		pod := &all[n]
		if pod.Status.Phase == corev1.PodRunning {
			continue
		}
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://" + strings.Repeat(strings.ReplaceAll(string(pod.UID), "-", ""), 2), ImageID: pod.Spec.Containers[0].Image}}
		all[n] = *mustReturn(s.admin.CoreV1().Pods(namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}))(t)
	}
	eventually(t, func(ctx context.Context) error {
		deployment, err := s.admin.AppsV1().Deployments(namespace).Get(ctx, app, metav1.GetOptions{})
		if err == nil && int(deployment.Status.ReadyReplicas) != count {
			err = fmt.Errorf("%d pods of %s are ready", deployment.Status.ReadyReplicas, app)
		}
		return err
	})
	return all
}

// report sends a responder a reverse shell in a pod.
func (s *pairScene) report(t *testing.T, responder *programs.Responder, pod *corev1.Pod) {
	t.Helper()
	status, text, err := reverseShell(pod).Post(t.Context(), s.sender, responder.EventsURL())
	if err != nil || status != http.StatusOK {
		t.Fatalf("an event was answered with %d %s: %v", status, text, err)
	}
}

func reverseShell(pod *corev1.Pod) programs.FalcoEvent {
	now := time.Now().UTC()
	return programs.FalcoEvent{
		Hostname: "falco-a", Output: "Notice Redirect stdout/stdin to network connection", Priority: "Notice",
		Rule: "Redirect STDOUT/STDIN to Network Connection in Container", Source: "syscall", Time: now, Tags: []string{"T1059", "container", "mitre_execution"},
		Fields: map[string]any{
			"container.id": strings.ReplaceAll(string(pod.UID), "-", "")[:12], "k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "k8s.pod.uid": string(pod.UID),
			"proc.name": "bash", "proc.pname": "python3", "proc.cmdline": "bash -i", "fd.name": "10.244.0.7:51820->203.0.113.7:4444", "evt.time": now.UnixNano(),
		},
	}
}

// quarantine is the Quarantine of a pod.
func (s *pairScene) quarantine(ctx context.Context, pod *corev1.Pod) (*v1alpha1.Quarantine, error) {
	return quarantine.NewStore(s.api, quarantine.StoreOptions{}).Get(ctx, response.QuarantineName(string(pod.UID)))
}

// reaches waits until the quarantine of a pod is in a phase.
func (s *pairScene) reaches(t *testing.T, pod *corev1.Pod, phase v1alpha1.Phase) *v1alpha1.Quarantine {
	t.Helper()
	var q *v1alpha1.Quarantine
	clustertest.Eventually(t, fmt.Sprintf("pod %s being %s", pod.Name, phase), func() (err error) {
		if q, err = s.quarantine(t.Context(), pod); err != nil {
			return err
		}
		if q.Status.Phase != phase {
			steps, _ := json.Marshal(q.Status.Steps)
			return fmt.Errorf("it is %s (%s): %s", q.Status.Phase, q.Status.Reason, steps)
		}
		return nil
	})
	return q
}

// wholeIncident sends both responders the same event: one pod, one Quarantine.
func (s *pairScene) wholeIncident(t *testing.T) {
	ctx := t.Context()
	pods := s.pods(t, "team", "web", 5)
	pod := &pods[0]
	token := s.tokenOf(t, pod)
	writes := func() error {
		_, err := token.CoreV1().ConfigMaps("team").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "by-the-pod-"}}, metav1.CreateOptions{})
		return err
	}
	wantAdmitted(t, writes())
	for _, responder := range s.responders {
		s.report(t, responder, pod)
	}
	q := s.reaches(t, pod, v1alpha1.PhaseContained)
	if q.Status.Verdict != "Isolated" || len(q.Status.Incidents) != 1 || len(q.Status.Evidence) == 0 {
		t.Errorf("it is %s (%q) with the incidents %q and %d pieces of evidence, want it isolated, one incident, and evidence", q.Status.Verdict, q.Status.Residual, q.Status.Incidents, len(q.Status.Evidence))
	}
	for _, step := range q.Status.Steps {
		if step.State != v1alpha1.StepDone && step.State != v1alpha1.StepSkipped {
			t.Errorf("step %s is %s: %s", step.Name, step.State, step.Result)
		}
	}
	s.pods(t, "team", "web", 5) // the replacement is one of them, although its image has an incident

	t.Run("nobody else gets into the pod, or lets it go", func(t *testing.T) {
		eventually(t, func(context.Context) error {
			if err := execInto(t, s.environment, "dev", pod.Name); err == nil || !strings.Contains(err.Error(), "runtime/quarantined-exec") {
				return fmt.Errorf("exec by dev: %w", err)
			}
			return nil
		})
		wantDenied(t, s.dev.CoreV1().Pods("team").Delete(ctx, pod.Name, metav1.DeleteOptions{}), "runtime/quarantined-deletion")
		_, err := s.dev.CoreV1().Pods("team").Patch(ctx, pod.Name, "application/merge-patch+json", []byte(`{"metadata":{"labels":{"`+v1alpha1.QuarantineLabel+`":null,"app":"web"}}}`), metav1.PatchOptions{})
		wantDenied(t, err, "runtime/quarantine-labels")
		wantDenied(t, s.dev.NetworkingV1().NetworkPolicies("team").Delete(ctx, v1alpha1.NetworkPolicyName(q.Name), metav1.DeleteOptions{}), "runtime/quarantine-objects")
	})
	t.Run("its token writes nothing any more", func(t *testing.T) {
		eventually(t, func(context.Context) error {
			if err := writes(); err == nil || !strings.Contains(err.Error(), "runtime/quarantined-token") {
				return fmt.Errorf("the token of the pod: %w", err)
			}
			return nil
		})
	})
	same := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "again-", Namespace: "team"}, Spec: corev1.PodSpec{Containers: pod.Spec.Containers}}
	same.Spec.Containers = []corev1.Container{{Name: "app", Image: pod.Spec.Containers[0].Image}}
	t.Run("admission remembers the image", func(t *testing.T) {
		eventually(t, func(ctx context.Context) error {
			_, err := s.dev.CoreV1().Pods("team").Create(ctx, same, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil || !strings.Contains(err.Error(), "runtime/incidents") {
				return fmt.Errorf("a pod of the same image: %w", err)
			}
			return nil
		})
	})
	t.Run("a person releases it", func(t *testing.T) {
		person := mustReturn(dynamic.NewForConfig(mustReturn(s.control.Config(onCall))(t)))(t)
		must(t, quarantine.NewStore(person, quarantine.StoreOptions{}).Release(ctx, q.Name, v1alpha1.Statement{By: onCall, Reason: "it was a test"}))
		// Its replacement is there already: it is deleted, as released pods of a ReplicaSet are.
		eventually(t, func(ctx context.Context) error {
			now, err := s.admin.CoreV1().Pods("team").Get(ctx, pod.Name, metav1.GetOptions{})
			if err == nil && now.DeletionTimestamp == nil {
				err = errors.New("the pod is not being deleted")
			}
			return err
		})
		kubelet, ended := mustReturn(s.control.Client(nodeA))(t), int64(0)
		must(t, kubelet.CoreV1().Pods("team").Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &ended}))
		s.reaches(t, pod, v1alpha1.PhaseReleased)
		eventually(t, func(ctx context.Context) error {
			if _, err := s.admin.NetworkingV1().NetworkPolicies("team").Get(ctx, v1alpha1.NetworkPolicyName(q.Name), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("its network policy is still there: %w", err)
			}
			_, err := s.dev.CoreV1().Pods("team").Create(ctx, same, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		})
	})
}

// tokenOf is a client with a token that is bound to a pod, as the kubelet asks for one.
func (s *pairScene) tokenOf(t *testing.T, pod *corev1.Pod) kubernetes.Interface {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	made := mustReturn(s.admin.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(t.Context(), "app", request, metav1.CreateOptions{}))(t)
	config := rest.AnonymousClientConfig(mustReturn(s.control.Config(cluster.Admin))(t))
	config.BearerToken = made.Status.Token
	return mustReturn(kubernetes.NewForConfig(config))(t)
}

// limits reports all pods of a namespace to both responders at once: three may be contained, whoever counts.
func (s *pairScene) limits(t *testing.T) {
	pods := s.pods(t, "capped", "many", 8)
	var group sync.WaitGroup
	for n := range pods {
		for _, responder := range s.responders {
			group.Go(func() {
				status, text, err := reverseShell(&pods[n]).Post(t.Context(), s.sender, responder.EventsURL())
				if err != nil || status != http.StatusOK {
					t.Errorf("an event was answered with %d %s: %v", status, text, err)
				}
			})
		}
	}
	group.Wait()
	var contained []string
	clustertest.Eventually(t, "all eight being decided", func() error {
		contained = nil
		for n := range pods {
			q, err := s.quarantine(t.Context(), &pods[n])
			switch {
			case err != nil:
				return err
			case q.Status.Phase == v1alpha1.PhaseContained:
				contained = append(contained, pods[n].Name)
			case q.Status.Phase != v1alpha1.PhaseRefused:
				return fmt.Errorf("pod %s is %s: %s", pods[n].Name, q.Status.Phase, q.Status.Reason)
			case !strings.Contains(q.Status.Reason, "limits.namespace"):
				return fmt.Errorf("pod %s is refused because %s", pods[n].Name, q.Status.Reason)
			}
		}
		return nil
	})
	if len(contained) != 3 {
		t.Errorf("%d pods were contained (%s), want the 3 that may be", len(contained), strings.Join(contained, ", "))
	}
	list := mustReturn(s.admin.CoreV1().Pods("capped").List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel}))(t)
	if len(list.Items) != 3 {
		t.Errorf("%d pods have the label of a quarantine, want 3", len(list.Items))
	}
}

// restarted has the API server gone right after the event.
func (s *pairScene) restarted(t *testing.T) {
	pods := s.pods(t, "team", "web", 5)
	s.report(t, s.responders[0], &pods[0])
	must(t, s.control.RestartAPIServer(t.Context()))
	q := s.reaches(t, &pods[0], v1alpha1.PhaseContained)
	if q.Status.Verdict != "Isolated" || len(q.Status.Incidents) != 1 {
		t.Errorf("it is %s with the incidents %q, want it isolated with one", q.Status.Verdict, q.Status.Incidents)
	}
}

// killed ends the responder that acts, whichever it is, with an event under way.
func (s *pairScene) killed(t *testing.T) {
	pods := s.pods(t, "team", "web", 5)
	acts := slices.IndexFunc(s.responders, func(r *programs.Responder) bool {
		text, err := r.Metrics(t.Context())
		return err == nil && strings.Contains(text, "portcullis_quarantine_leader 1\n")
	})
	if acts < 0 {
		t.Fatal("nobody acts")
	}
	s.report(t, s.responders[1-acts], &pods[0])
	s.responders[acts].Kill()
	q := s.reaches(t, &pods[0], v1alpha1.PhaseContained)
	if q.Status.Verdict != "Isolated" {
		t.Errorf("it is %s, want it isolated", q.Status.Verdict)
	}
}
