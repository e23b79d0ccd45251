package clustertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// Shared is one control plane for all tests of a package, started by the first that asks for it: it takes seconds and 400 MB.
type Shared struct {
	// Options are those of the cluster. Its folder is made.
	Options cluster.Options
	// Manifests are created in it, in order.
	Manifests [][]byte
	// Prepare does what manifests cannot do. Its context ends with the tests.
	Prepare func(context.Context, *cluster.Cluster) error

	once    sync.Once
	dir     string
	control *cluster.Cluster
	end     context.CancelFunc
	err     error
}

// Cluster gives the control plane, and ends the test if it cannot. A short test is skipped.
func (s *Shared) Cluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a control plane")
	}
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.control
}

func (s *Shared) start() error {
	ctx, end := context.WithCancel(context.Background()) // it outlives the test that starts it
	s.end = end
	var err error
	if s.dir, err = os.MkdirTemp("", "portcullis-cluster-"); err != nil {
		return err
	}
	options := s.Options
	options.Dir = filepath.Join(s.dir, "cluster")
	if s.control, err = cluster.Start(ctx, options); err != nil {
		return err
	}
	config, err := s.control.Config(cluster.Admin)
	if err != nil {
		return err
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		return err
	}
	for _, manifests := range s.Manifests {
		if _, err := creator.Create(ctx, manifests, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if s.Prepare == nil {
		return nil
	}
	return s.Prepare(ctx, s.control)
}

// Run runs the tests of a package, for its TestMain, and ends the control plane after them. It gives the exit code.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	if s.end != nil {
		s.end()
	}
	if s.control != nil {
		_ = s.control.Stop()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	return code
}

// Namespaces is a manifest of namespaces.
func Namespaces(names ...string) []byte {
	var all strings.Builder
	for _, name := range names {
		fmt.Fprintf(&all, "---\n{apiVersion: v1, kind: Namespace, metadata: {name: %q}}\n", name)
	}
	return []byte(all.String())
}

// Binding is a manifest that gives a user a ClusterRole everywhere and, in each of the namespaces, the Role of the same name.
func Binding(user, role string, namespaces ...string) []byte {
	var all strings.Builder
	bind := func(kind, metadata string) {
		fmt.Fprintf(&all, "---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: %[1]sBinding, metadata: {%[2]s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %[1]s, name: %[3]q}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[4]q}]}\n",
			kind, metadata, role, user)
	}
	bind("ClusterRole", fmt.Sprintf("name: %q", user))
	for _, namespace := range namespaces {
		bind("Role", fmt.Sprintf("name: %q, namespace: %q", user, namespace))
	}
	return []byte(all.String())
}

// Node makes a node that exists as an object only: no kubelet runs what is scheduled to it. The controllers write new nodes, too, at
// any time after they were made, and a change may have to be made again.
func Node(ctx context.Context, kube kubernetes.Interface, name string, change func(*corev1.NodeStatus)) error {
	nodes := kube.CoreV1().Nodes()
	if _, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(&node.Status)
		_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
}

// Ready is the change to a node that has room for whatever tests schedule.
func Ready(status *corev1.NodeStatus) {
	room := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1000"), corev1.ResourceCPU: resource.MustParse("100"), corev1.ResourceMemory: resource.MustParse("1Ti")}
	status.Capacity, status.Allocatable = room, room
	status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
}
