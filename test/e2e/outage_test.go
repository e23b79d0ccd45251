package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// ownNamespace is where the webhook would run if this cluster had nodes.
const ownNamespace = "portcullis-system"

// bootstrapRole is one of those that the API server restores when it starts.
const bootstrapRole = "system:basic-user"

// TestAClusterWhoseWebhookIsDownStartsAgain is the case that a webhook with
// failurePolicy Fail must not turn into a deadlock (kyverno#16177, #11122): everything
// is down, the API server comes back first, and nothing answers it.
func TestAClusterWhoseWebhookIsDownStartsAgain(t *testing.T) {
	ctx := t.Context()
	env := startAlone(t, cluster.Options{})
	control, admin := env.control, env.admin

	must(t, cluster.CreateNamespace(ctx, admin, ownNamespace, nil))
	own := deployment(t, "portcullis-webhook", 1)
	own.Spec.Template.Spec.ServiceAccountName = "default"
	_, err := admin.AppsV1().Deployments(ownNamespace).Create(ctx, own, metav1.CreateOptions{})
	must(t, err)
	first := ownPod(t, env, "")
	must(t, admin.RbacV1().ClusterRoles().Delete(ctx, bootstrapRole, metav1.DeleteOptions{}))

	installed := mustReturn(newInstallation(ctx, env, installOptions{name: "portcullis", profile: "restricted", replicas: 1, recoveryNamespace: ownNamespace}))(t)
	t.Cleanup(func() { must(t, installed.stop()) })
	must(t, installed.install(ctx))
	must(t, env.waitUntilEffective(ctx))
	installed.replicas[0].Kill()

	t.Run("while it is down nothing passes unjudged", func(t *testing.T) {
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "unjudged"), metav1.CreateOptions{})
		if err == nil || !apierrors.IsInternalError(err) {
			t.Errorf("got %v, want the call of the webhook to fail", err)
		}
	})
	t.Run("the API server becomes ready", func(t *testing.T) {
		must(t, control.RestartAPIServer(ctx))
		must(t, cluster.Healthy(ctx, mustReturn(control.Client(cluster.Admin))(t), "/readyz"))
	})
	t.Run("the bootstrap roles are restored", func(t *testing.T) {
		eventually(t, func(ctx context.Context) error {
			_, err := admin.RbacV1().ClusterRoles().Get(ctx, bootstrapRole, metav1.GetOptions{})
			return err
		})
	})
	t.Run("the webhook's own pod is created", func(t *testing.T) {
		// As when its node is lost: the old one has failed, and the replica set makes another.
		pods := admin.CoreV1().Pods(ownNamespace)
		must(t, update(ctx, pods.Get, pods.UpdateStatus, first.Name, func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed }))
		ownPod(t, env, first.UID)
	})
	t.Run("nobody else creates a pod in its namespace", func(t *testing.T) {
		_, err := admin.CoreV1().Pods(ownNamespace).Create(ctx, pod(t, "guest", func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = "default" }), metav1.CreateOptions{})
		if !apierrors.IsInternalError(err) {
			t.Errorf("got %v, want the call of the webhook to fail", err)
		}
	})
	t.Run("once it is back it judges again", func(t *testing.T) {
		must(t, installed.replicas[0].Start(ctx))
		eventually(t, func(ctx context.Context) error {
			_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "judged"), metav1.CreateOptions{})
			return err
		})
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "denied", privileged), metav1.CreateOptions{})
		wantDenied(t, err, "pods/privileged")
	})
}

// ownPod waits for a pod of the webhook's Deployment that is another than the old one.
func ownPod(t *testing.T, env *environment, old types.UID) corev1.Pod {
	t.Helper()
	var found corev1.Pod
	eventually(t, func(ctx context.Context) error {
		pods, err := env.admin.CoreV1().Pods(ownNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(pods.Items, func(pod corev1.Pod) bool { return pod.UID != old && pod.DeletionTimestamp == nil })
		if i < 0 {
			return errors.Join(errors.New("the replica set has made no new pod"), lastEvents(ctx, env))
		}
		found = pods.Items[i]
		return nil
	})
	return found
}

// lastEvents says what went wrong in the webhook's namespace.
func lastEvents(ctx context.Context, env *environment) error {
	events, err := env.admin.CoreV1().Events(ownNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var problems []error
	for _, event := range events.Items {
		if event.Type == corev1.EventTypeWarning {
			problems = append(problems, fmt.Errorf("%s: %s", event.Reason, event.Message))
		}
	}
	return errors.Join(problems...)
}
