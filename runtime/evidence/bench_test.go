package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const responderUser = "portcullis-responder"

// shared is one API server for all tests of the package. Its node has a kubelet that only gives logs.
var shared = clustertest.Shared{
	Options: cluster.Options{WithoutControllers: true, Users: []cluster.User{{Name: responderUser}}},
	Manifests: [][]byte{
		clustertest.Namespaces(v1alpha1.DefaultNamespace), v1alpha1.Manifest, v1alpha1.Roles(v1alpha1.DefaultNamespace), clustertest.Binding(responderUser, "portcullis-responder"),
	},
	Prepare: startKubelet,
}

// kubeletLogs are those that the kubelet gives.
var kubeletLogs = &logs{held: map[string]http.HandlerFunc{}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// logs answers what the API server asks a kubelet for logs, /containerLogs/namespace/pod/container.
type logs struct {
	mu   sync.Mutex
	held map[string]http.HandlerFunc // by pod/container, and that with /previous
	read []string
}

func (l *logs) set(key string, log http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[key] = log
}

func (l *logs) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.read)
}

func (l *logs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) != 5 || parts[1] != "containerLogs" {
		http.NotFound(w, r)
		return
	}
	key := parts[3] + "/" + parts[4]
	if r.URL.Query().Get("previous") == "true" {
		key += "/previous"
	}
	l.mu.Lock()
	log := l.held[key]
	l.read = append(l.read, key)
	l.mu.Unlock()
	if log == nil {
		http.Error(w, "no log of "+key, http.StatusNotFound)
		return
	}
	log(w, r)
}

func text(log string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(log)) }
}

type bench struct {
	t         *testing.T
	kube      *kubernetes.Clientset
	admin     dynamic.Interface
	creator   *cluster.Creator
	collector *Collector
	namespace string
	logs      *logs
}

func newBench(t *testing.T) *bench {
	t.Helper()
	server := shared.Cluster(t)
	admin, err := server.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, namespace: fmt.Sprintf("t-%x", time.Now().UnixNano()), logs: kubeletLogs}
	if b.kube, err = kubernetes.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	if b.admin, err = dynamic.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	if b.creator, err = cluster.NewCreator(admin); err != nil {
		t.Fatal(err)
	}
	config, err := server.Config(responderUser)
	if err != nil {
		t.Fatal(err)
	}
	if b.collector, err = New(config, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := b.kube.CoreV1().ServiceAccounts(b.namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	return b
}

func startKubelet(ctx context.Context, server *cluster.Cluster) error {
	kubelet := httptest.NewTLSServer(kubeletLogs)
	context.AfterFunc(ctx, kubelet.Close)
	host, port, err := net.SplitHostPort(kubelet.Listener.Addr().String())
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return err
	}
	kube, err := server.Client(cluster.Admin)
	if err != nil {
		return err
	}
	return clustertest.Node(ctx, kube, "node-1", func(status *corev1.NodeStatus) {
		status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
		status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	})
}

// apply creates objects in the namespace, and gives the last.
func (b *bench) apply(manifests string) (last string) {
	b.t.Helper()
	objects, err := cluster.Parse([]byte(manifests))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetNamespace() == "" {
			object.SetNamespace(b.namespace)
		}
		written, err := json.Marshal(object.Object)
		if err != nil {
			b.t.Fatal(err)
		}
		created, err := b.creator.Create(b.t.Context(), written, metav1.CreateOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
		last = string(created[0].GetUID())
	}
	return last
}

func (b *bench) pod(name string) *corev1.Pod {
	b.t.Helper()
	pod, err := b.kube.CoreV1().Pods(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return pod
}

// ran marks containers of a pod as having run, with a number of restarts each.
func (b *bench) ran(name string, restarts map[string]int32) {
	b.t.Helper()
	pod := b.pod(name)
	pod.Status.Phase = corev1.PodRunning
	for _, container := range pod.Spec.Containers {
		n, ok := restarts[container.Name]
		if !ok {
			continue
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, ContainerID: "containerd://" + container.Name, RestartCount: n, Image: container.Image,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
	if _, err := b.kube.CoreV1().Pods(b.namespace).UpdateStatus(b.t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// quarantine is one about a pod, as an object of the cluster.
func (b *bench) quarantine(pod *corev1.Pod) *v1alpha1.Quarantine {
	b.t.Helper()
	return &v1alpha1.Quarantine{
		ObjectMeta: metav1.ObjectMeta{Name: response.QuarantineName(string(pod.UID)), UID: "00000000-0000-0000-0000-000000000009"},
		Spec: v1alpha1.QuarantineSpec{
			Pod:      v1alpha1.PodReference{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)},
			Triggers: []v1alpha1.Trigger{{Policy: "runtime/shell", Rule: "Terminal shell in container", Message: "a shell", Output: "cmdline=mysql -phunter2hunter2"}},
		},
	}
}
