package pods

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/test/cluster"
)

// edgeBytes is what all of Portcullis may have of its own on one node: 200 MB.
const edgeBytes = 200_000_000

var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// TestOurImagesRunAsPodsOfTheChart goes through the life of an installation on one node, where nothing is played by anybody: images as
// "make images" builds them, pulled from a registry and verified there by the webhook that they are, under the security contexts,
// probes and limits of the chart, in a namespace that Pod Security holds to its restricted standard.
func TestOurImagesRunAsPodsOfTheChart(t *testing.T) {
	s := newScene(t)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"the single-node profile becomes ready", s.install},
		{"a bad pod is refused, and a good one runs", s.admission},
		{"an image of ours that we have not signed is refused", s.signatures},
		{"a cluster that was off comes back, and admits nothing bad meanwhile", s.powerCut},
		{"200 MB are enough under load", s.memory},
		{"an upgrade puts the other components beside it", s.upgrade},
		{"the hook of an uninstallation leaves nothing that asks for the webhook", s.uninstall},
	} {
		began := time.Now()
		if !t.Run(step.name, step.do) {
			return
		}
		t.Logf("%s: %s", step.name, time.Since(began).Round(100*time.Millisecond))
	}
}

func (s *scene) install(t *testing.T) {
	ctx := t.Context()
	must(t, cluster.CreateNamespace(ctx, s.client, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}))
	must(t, cluster.CreateNamespace(ctx, s.client, shop, nil))
	s.secret(t, "portcullis-webhook-path", map[string][]byte{"path": []byte(strings.Repeat("a1", 24))})
	authority := mustReturn(os.ReadFile(s.registry.CAFile))(t)
	_, err := s.client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "registry-ca"}, Data: map[string]string{"ca.crt": string(authority)}}, metav1.CreateOptions{})
	must(t, err)
	s.apply(t, s.render(t, nil).Manifest)
	s.wantReady(t, nil, "webhook", "controller")
}

func (s *scene) secret(t *testing.T, name string, data map[string][]byte) {
	t.Helper()
	_, err := s.client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
	must(t, err)
}

// pod is one that the restricted standard allows.
func pod(namespace, name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "c", Image: image, SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
		},
	}
}

// badPod is one that the built-in baseline refuses.
func (s *scene) badPod() *corev1.Pod {
	bad := pod(shop, "bad", s.server)
	bad.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	return bad
}

// wantRefused waits until a pod is refused with a text in the answer.
func (s *scene) wantRefused(t *testing.T, pod *corev1.Pod, text string) {
	t.Helper()
	eventually(t, pod.Name+" is refused", func(ctx context.Context) error {
		_, err := s.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod.DeepCopy(), dryRun)
		if err == nil || !strings.Contains(err.Error(), text) {
			return fmt.Errorf("got %v, want %s", err, text)
		}
		t.Log(err)
		return nil
	})
}

// wantAdmitted waits until a pod would be.
func (s *scene) wantAdmitted(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	eventually(t, pod.Name+" is admitted", func(ctx context.Context) error {
		_, err := s.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod.DeepCopy(), dryRun)
		return err
	})
}

func (s *scene) admission(t *testing.T) {
	s.wantRefused(t, s.badPod(), "pods/privileged") // from when the controller has told the API server
	eventually(t, "a good pod is admitted", func(ctx context.Context) error {
		_, err := s.client.CoreV1().Pods(shop).Create(ctx, pod(shop, "good", s.server), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // the answer to an earlier attempt was lost
			return nil
		}
		return err
	})
	eventually(t, "the good pod runs", func(ctx context.Context) error {
		good, err := s.client.CoreV1().Pods(shop).Get(ctx, "good", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return ready(good)
	})
}

func (s *scene) signatures(t *testing.T) {
	s.wantAdmitted(t, pod(namespace, "ours", s.images.Reference("webhook")))

	const unsigned, another = "unsigned", "signed-by-another"
	s.wantRefused(t, pod(namespace, unsigned, referenceOf(s.copyOf(t, "webhook", unsigned))), "nobody signed it")
	copied := s.copyOf(t, "webhook", another)
	client := mustReturn(s.registry.Client())(t)
	_, err := cosign.Sign(t.Context(), client, copied, cosigntest.NewKey(t), cosign.SignOptions{})
	must(t, err)
	s.wantRefused(t, pod(namespace, another, referenceOf(copied)), "images of Portcullis")
}

func referenceOf(target cosign.Target) string {
	return target.Repository.String() + "@" + target.Digest
}

// copyOf pushes an image beside one of ours that holds the same program and another label.
func (s *scene) copyOf(t *testing.T, component, label string) cosign.Target {
	t.Helper()
	from := mustReturn(name.NewDigest(s.images.Reference(component)))(t)
	original := mustReturn(remote.Image(from, s.registry.Remote(), remote.WithContext(t.Context())))(t)
	config := mustReturn(original.ConfigFile())(t).DeepCopy()
	config.Config.Labels["copy"] = label
	var copied v1.Image = mustReturn(mutate.ConfigFile(original, config))(t)
	must(t, remote.Write(from.Context().Tag(label), copied, s.registry.Remote(), remote.WithContext(t.Context())))
	return cosign.Target{
		Repository: registry.Repository{Registry: from.RegistryStr(), Path: from.RepositoryStr()},
		Digest:     mustReturn(copied.Digest())(t).String(),
	}
}

// Reviews at once, and how many of them: fewer than a thousand take seconds.
const (
	reviewers = 8
	reviews   = 75
)

func (s *scene) memory(t *testing.T) {
	var group sync.WaitGroup
	failed := make(chan error, reviewers)
	for reviewer := range reviewers {
		group.Go(func() {
			for review := range reviews {
				one := pod(shop, fmt.Sprintf("load-%d-%d", reviewer, review), s.server)
				one.Labels = map[string]string{"n": one.Name}
				if _, err := s.client.CoreV1().Pods(shop).Create(t.Context(), one, dryRun); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if sum := s.measure(t); sum >= edgeBytes {
		t.Errorf("containers have %d bytes of their own in sum, want under %d", sum, edgeBytes)
	}
}

// measure prints the memory of all containers of ours, and returns the sum of what is their own and the kernel cannot take back. None may have been killed for
// want of memory, the one before the last start neither; other starts come of the power cut, as many as the machine takes.
func (s *scene) measure(t *testing.T) int64 {
	t.Helper()
	pods := mustReturn(s.pods(t.Context()))(t)
	var sum, charged int64
	for _, component := range components {
		pod, there := pods[component]
		if !there {
			continue
		}
		status := pod.Status.ContainerStatuses[0]
		m := mustReturn(s.node.Memory(t.Context(), status.ContainerID))(t)
		sum += m.Anonymous
		charged += m.Peak
		const mib = 1 << 20
		t.Logf("%-10s limit %3d MiB, charged at most %3d MiB, resident at most %3d MiB, its own now %3d MiB", component, m.Limit/mib, m.Peak/mib, m.Resident/mib, m.Anonymous/mib)
		last := status.LastTerminationState.Terminated
		if m.Kills > 0 || last != nil && last.Reason == "OOMKilled" {
			t.Errorf("%s: %d kills for want of memory, want none, and ended before: %+v", component, m.Kills, last)
		}
	}
	t.Logf("in sum: their own now %d MB, charged at most with pages of files %d MB", sum/1e6, charged/1e6)
	return sum
}

// powerCut is a machine without power, of a cluster that lost a pod as well: nobody judges the pods that have to come back first.
func (s *scene) powerCut(t *testing.T) {
	ctx := t.Context()
	before := mustReturn(s.pods(ctx))(t)
	must(t, s.node.PowerOff(ctx))
	must(t, s.control.RestartEtcd(ctx))
	must(t, s.control.RestartAPIServer(ctx))
	s.wantRefused(t, s.badPod(), "failed calling webhook")
	must(t, s.client.CoreV1().Pods(namespace).Delete(ctx, before["webhook"].Name, *metav1.NewDeleteOptions(0)))
	must(t, s.node.PowerOn(ctx, s.control))
	s.wantReady(t, before, "webhook", "controller")
	s.wantRefused(t, s.badPod(), "pods/privileged")
}

// upgrade has the webhook judge pods of ours that are made while it answers.
func (s *scene) upgrade(t *testing.T) {
	before := mustReturn(s.pods(t.Context()))(t)
	delete(before, "controller") // which nothing changes for
	for _, name := range []string{"responder", "console"} {
		pair := mustReturn(s.control.ServingCertificate(name, "portcullis-"+name+"."+namespace+".svc"))(t)
		s.secret(t, "portcullis-"+name+"-tls", map[string][]byte{
			corev1.TLSCertKey: mustReturn(os.ReadFile(pair.CertFile))(t), corev1.TLSPrivateKeyKey: mustReturn(os.ReadFile(pair.KeyFile))(t),
		})
	}
	s.secret(t, "senders", map[string][]byte{"path": []byte(strings.Repeat("b2", 24))})
	s.apply(t, s.render(t, map[string]any{
		// The profile's limits are for webhook and controller alone.
		"webhook":   map[string]any{"decisions": true, "resources": map[string]any{"limits": map[string]any{"memory": "256Mi"}}},
		"responder": map[string]any{"enabled": true, "replicas": 1, "caller": "secret-path", "secretPathSecret": "senders", "spool": map[string]any{"persistent": false}},
		"secrets":   map[string]any{"enabled": true, "replicas": 1},
		"console":   map[string]any{"enabled": true, "replicas": 1},
	}).Manifest)
	s.wantReady(t, before, components...)
	s.wantRefused(t, s.badPod(), "pods/privileged")
	s.measure(t)
}

func (s *scene) uninstall(t *testing.T) {
	hooks := s.apply(t, s.render(t, nil).Hooks)
	if len(hooks) != 1 {
		t.Fatalf("got %d hooks, want one", len(hooks))
	}
	s.wantDone(t, hooks[0].GetName())
	s.wantAdmitted(t, s.badPod()) // from when the API server has seen that nobody is to be asked
}
