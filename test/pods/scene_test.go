package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/test/chart"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/images"
)

// namespace is that of the installation, shop somebody else's.
const (
	namespace = "portcullis-system"
	shop      = "shop"
)

// components are those whose images are built: all but the scanner, which links Trivy and would take the time of all others together.
var components = []string{"webhook", "controller", "responder", "secrets", "console"}

// scene is a control plane, a node, a registry with our images, and whatever of the chart was applied.
type scene struct {
	control  *cluster.Cluster
	node     *cluster.Node
	registry *Registry
	images   *Images
	config   *rest.Config
	client   kubernetes.Interface
	// server is the image of what the shop runs.
	server string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a control plane and a node, and builds our images")
	}
	if err := errors.Join(cluster.NodeUnavailable(), cluster.APIServerUnavailable(), RegistryUnavailable()); err != nil {
		t.Skip(err)
	}
	ctx, s := t.Context(), &scene{}
	timed(t, "starting a control plane", func() {
		var err error
		s.control, err = cluster.Start(ctx, cluster.Options{
			Dir: t.TempDir(), Users: []cluster.User{cluster.NodeUser}, APIServerFlags: []string{"--enable-aggregator-routing=true"},
		})
		must(t, err)
	})
	t.Cleanup(func() { must(t, s.control.Stop()) })
	s.config = mustReturn(s.control.Config(cluster.Admin))(t)
	s.client = mustReturn(kubernetes.NewForConfig(s.config))(t)
	timed(t, "starting a node", func() { s.startNode(t) })
	s.registry = mustReturn(StartRegistry(ctx, s.control, t.TempDir(), cluster.NodeAddress))(t)
	t.Cleanup(s.registry.Stop)
	must(t, s.node.Trust(s.registry.Host, s.registry.CAFile))
	timed(t, "building, pushing and signing our images", func() {
		s.images = mustReturn(BuildImages(ctx, t.TempDir(), s.registry, components...))(t)
	})
	s.server = mustReturn(images.Push(ctx, s.registry.Host+"/shop/server:1", image(t, images.BuildServer), s.registry.Remote()))(t)
	return s
}

func (s *scene) startNode(t *testing.T) {
	t.Helper()
	dir := mustReturn(os.MkdirTemp("", "node-"))(t) // a short name: a socket is in it
	var err error
	s.node, err = s.control.StartNode(t.Context(), cluster.NodeOptions{Dir: dir, Pause: image(t, images.BuildProgram), APIServer: true})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			s.explain(t)
		}
		must(t, s.withoutWebhook()) // or else nobody could remove pods from the node
		must(t, s.node.Stop())
	})
}

func image(t *testing.T, build func(ctx context.Context, dir string) (string, error)) v1.Image {
	t.Helper()
	program := mustReturn(build(t.Context(), t.TempDir()))(t)
	return mustReturn(images.New(images.Options{Program: program, Label: "pods"}))(t)
}

// withoutWebhook has the API server ask nobody.
func (s *scene) withoutWebhook() error {
	ctx := context.Background()
	return errors.Join(
		s.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
		s.client.AdmissionregistrationV1().MutatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
}

// render renders the chart for the one node, with our images, signatures of which are demanded, and further values.
func (s *scene) render(t *testing.T, further map[string]any) *chart.Rendered {
	t.Helper()
	digests := map[string]any{}
	for component, digest := range s.images.Digests {
		digests[component] = digest
	}
	_, port, _ := strings.Cut(s.registry.Host, ":")
	values := map[string]any{
		"images":        map[string]any{"registry": s.images.Registry, "digests": digests, "requireDigests": true},
		"imagePolicy":   map[string]any{"enabled": true, "publicKey": s.images.PublicKey},
		"registries":    map[string]any{"caConfigMap": "registry-ca", "allow": []any{s.registry.Host}},
		"networkPolicy": map[string]any{"registries": []any{map[string]any{"cidr": cluster.NodeAddress + "/32", "ports": []any{json.Number(port)}}}},
	}
	for name, value := range further {
		values[name] = value
	}
	return mustReturn(chart.Render(chart.Options{Files: []string{chart.Dir + "/values-single-node.yaml"}, Values: values}))(t)
}

func (s *scene) apply(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	objects := mustReturn(cluster.Parse([]byte(manifest)))(t)
	must(t, cluster.Apply(t.Context(), s.config, objects))
	return objects
}

// pods are those of the installation that are to stay, by component.
func (s *scene) pods(ctx context.Context) (map[string]corev1.Pod, error) {
	list, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=portcullis"})
	if err != nil {
		return nil, err
	}
	found := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		component := pod.Labels["app.kubernetes.io/component"]
		if other, twice := found[component]; twice {
			return nil, fmt.Errorf("%s and %s are both there", other.Name, pod.Name)
		}
		found[component] = pod
	}
	return found, nil
}

// wantReady waits until just one pod of each component is there, ready, and with another container than before; it returns them.
func (s *scene) wantReady(t *testing.T, before map[string]corev1.Pod, want ...string) map[string]corev1.Pod {
	t.Helper()
	var found map[string]corev1.Pod
	eventually(t, "pods are ready", func(ctx context.Context) error {
		var err error
		if found, err = s.pods(ctx); err != nil {
			return err
		}
		for _, component := range want {
			pod, there := found[component]
			if !there {
				return fmt.Errorf("there is no pod of %s", component)
			}
			if err := ready(&pod); err != nil {
				return err
			}
			if was, there := before[component]; there && was.Status.ContainerStatuses[0].ContainerID == pod.Status.ContainerStatuses[0].ContainerID {
				return fmt.Errorf("%s is the one from before", pod.Name)
			}
		}
		if len(found) != len(want) {
			return fmt.Errorf("%d components have pods, want %d", len(found), len(want))
		}
		return nil
	})
	return found
}

func ready(pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return fmt.Errorf("%s is being deleted", pod.Name)
	}
	if !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }) {
		status, err := json.Marshal(pod.Status.ContainerStatuses)
		return errors.Join(fmt.Errorf("%s is not ready: %s", pod.Name, status), err)
	}
	return nil
}

// explain says what became of all pods of ours.
func (s *scene) explain(t *testing.T) {
	ctx := context.Background()
	list, err := s.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Log(err)
		return
	}
	for _, pod := range list.Items {
		status, _ := json.Marshal(pod.Status.ContainerStatuses)
		logs, err := s.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: new(int64(25))}).DoRaw(ctx)
		t.Logf("%s/%s is %s: %s\n%s %v", pod.Namespace, pod.Name, pod.Status.Phase, status, logs, err)
	}
	events, err := s.client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Log(err)
		return
	}
	for _, event := range events.Items {
		if event.Type != corev1.EventTypeNormal {
			t.Logf("%s %s/%s: %s", event.LastTimestamp.Format(time.TimeOnly), event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Message)
		}
	}
}

// wantDone waits until a Job is complete.
func (s *scene) wantDone(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" is complete", func(ctx context.Context) error {
		job, err := s.client.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if job.Status.Failed > 0 {
			t.Fatalf("%s has failed: %+v", name, job.Status)
		}
		if !slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
		}) {
			return fmt.Errorf("%+v", job.Status)
		}
		return nil
	})
}

// patience is for a machine that compiles something else on all its cores.
const patience = 3 * time.Minute

// eventually polls until something is so.
func eventually(t *testing.T, what string, is func(context.Context) error) {
	t.Helper()
	last := errors.New("it was not asked")
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = is(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, last)
	}
}

// timed says how long something took.
func timed(t *testing.T, what string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	t.Logf("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustReturn[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return value
	}
}
