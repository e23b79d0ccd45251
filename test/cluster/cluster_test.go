package cluster_test

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// startBudget is the time a start may take on a machine that does other things too.
const startBudget = 45 * time.Second

// TestControlPlane starts one cluster and shows that it is a real one.
func TestControlPlane(t *testing.T) {
	if _, err := cluster.Binary(t.Context(), os.Stderr); err != nil {
		t.Fatal(err) // built before the clock runs
	}
	started := time.Now()
	control, err := cluster.Start(t.Context(), cluster.Options{
		Dir:   t.TempDir(),
		Users: []cluster.User{{Name: "alice", Groups: []string{"developers"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Stop(); err != nil {
			t.Error(err)
		}
	})
	took := time.Since(started)
	t.Logf("started in %s", took.Round(10*time.Millisecond))
	if took > startBudget {
		t.Errorf("the start took %s, want at most %s", took, startBudget)
	}
	admin, alice := client(t, control, cluster.Admin), client(t, control, "alice")

	t.Run("a pod is stored with the defaults and the token volume of a real API server", func(t *testing.T) {
		namespace(t, admin, "pods")
		pod, err := admin.CoreV1().Pods("pods").Create(t.Context(), plainPod("web"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := pod.Spec.ServiceAccountName, "default"; got != want {
			t.Errorf("service account: got %q, want %q", got, want)
		}
		if got, want := len(pod.Spec.Volumes), 1; got != want {
			t.Errorf("volumes: got %d, want %d (the token's)", got, want)
		}
	})

	t.Run("the controllers make the pods of a template", func(t *testing.T) {
		namespace(t, admin, "controllers")
		template := corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
			Spec:       plainPod("").Spec,
		}
		controller := &corev1.ReplicationController{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec:       corev1.ReplicationControllerSpec{Selector: template.Labels, Template: &template},
		}
		if _, err := admin.CoreV1().ReplicationControllers("controllers").Create(t.Context(), controller, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			pods, err := admin.CoreV1().Pods("controllers").List(ctx, metav1.ListOptions{})
			return err == nil && len(pods.Items) == 1, err
		})
		if err != nil {
			t.Errorf("the replication controller has no pod: %v", err)
		}
	})

	t.Run("a user may do what RBAC gives them and nothing else", func(t *testing.T) {
		namespace(t, admin, "rights")
		_, err := alice.CoreV1().Pods("rights").Create(t.Context(), plainPod("web"), metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("before the binding: got %v, want forbidden", err)
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "developers"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "developers"}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		}
		if _, err := admin.RbacV1().RoleBindings("rights").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, err := alice.CoreV1().Pods("rights").Create(ctx, plainPod("web"), metav1.CreateOptions{})
			if apierrors.IsForbidden(err) {
				return false, nil // the authoriser has not seen the binding yet
			}
			return err == nil, err
		})
		if err != nil {
			t.Errorf("after the binding: %v", err)
		}
	})

	t.Run("a restarted API server still has the objects", func(t *testing.T) {
		namespace(t, admin, "restart")
		if err := control.RestartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CoreV1().Namespaces().Get(t.Context(), "restart", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func client(t *testing.T, control *cluster.Cluster, user string) *kubernetes.Clientset {
	t.Helper()
	client, err := control.Client(user)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func namespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	if err := cluster.CreateNamespace(t.Context(), client, name, nil); err != nil {
		t.Fatal(err)
	}
}

func plainPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/web:1"}}},
	}
}
