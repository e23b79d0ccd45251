package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// nodeName is a node that is there and runs nothing: there is no kubelet.
const nodeName = "worker"

// TestOnlyItsOwnNamespaceIsHeldUpWhileTheWebhookIsDown is about the guard of the webhook's
// namespace, a policy for Secrets, deletions of pods and most else, which matters in
// that namespace only. Elsewhere nothing may wait for it, and in it the cluster must be
// able to replace the webhook's pod.
func TestOnlyItsOwnNamespaceIsHeldUpWhileTheWebhookIsDown(t *testing.T) {
	ctx := t.Context()
	env := startAlone(t, cluster.Options{})
	admin, dev := env.admin, env.dev
	first := prepareOwnNamespace(t, env)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "app"}, StringData: map[string]string{"a": "1"}}
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "app"}, Data: map[string]string{"a": "1"}}
	_, err := dev.CoreV1().Secrets("team").Create(ctx, secret, metav1.CreateOptions{})
	must(t, err)
	_, err = dev.CoreV1().ConfigMaps("team").Create(ctx, settings, metav1.CreateOptions{})
	must(t, err)
	for _, name := range []string{"deleted", "evicted"} {
		_, err = dev.CoreV1().Pods("team").Create(ctx, pod(t, name), metav1.CreateOptions{})
		must(t, err)
	}

	installed := mustReturn(newInstallation(ctx, env, installOptions{name: "portcullis", profile: "baseline", replicas: 1, recoveryNamespace: ownNamespace}))(t)
	t.Cleanup(func() { must(t, installed.stop()) })
	must(t, installed.install(ctx))
	const guard = "namespaces/exempt-namespace-guard"
	eventually(t, func(ctx context.Context) error {
		_, err := dev.CoreV1().Secrets(ownNamespace).Create(ctx, secret, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), guard) {
			return fmt.Errorf("the webhook is not asked yet about a Secret in its namespace: %v", err)
		}
		return nil
	})

	t.Run("while it serves, a tenant's pod in its namespace is denied", func(t *testing.T) {
		guest := pod(t, "guest", func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = "default" })
		_, err := dev.CoreV1().Pods(ownNamespace).Create(ctx, guest, metav1.CreateOptions{})
		wantDenied(t, err, guard)
	})
	t.Run("while it serves, a tenant's ConfigMap in its namespace is denied", func(t *testing.T) {
		_, err := dev.CoreV1().ConfigMaps(ownNamespace).Create(ctx, settings, metav1.CreateOptions{})
		wantDenied(t, err, guard)
	})
	t.Run("while it serves, a tenant does not delete its pod", func(t *testing.T) {
		wantDenied(t, dev.CoreV1().Pods(ownNamespace).Delete(ctx, first.Name, metav1.DeleteOptions{}), guard)
	})

	installed.replicas[0].Kill()
	t.Run("a Secret in another namespace is changed and deleted", func(t *testing.T) {
		secrets := dev.CoreV1().Secrets("team")
		wantAdmitted(t, update(ctx, secrets.Get, secrets.Update, "app", func(s *corev1.Secret) { s.Data["a"] = []byte("2") }))
		wantAdmitted(t, secrets.Delete(ctx, "app", metav1.DeleteOptions{}))
	})
	t.Run("a ConfigMap in another namespace is deleted", func(t *testing.T) {
		wantAdmitted(t, dev.CoreV1().ConfigMaps("team").Delete(ctx, "app", metav1.DeleteOptions{}))
	})
	t.Run("a ConfigMap in another namespace is made anew, since the policy for all of them fails open", func(t *testing.T) {
		_, err := dev.CoreV1().ConfigMaps("team").Create(ctx, settings, metav1.CreateOptions{})
		wantAdmitted(t, err)
	})
	t.Run("a pod in another namespace is deleted and evicted", func(t *testing.T) {
		wantAdmitted(t, dev.CoreV1().Pods("team").Delete(ctx, "deleted", metav1.DeleteOptions{}))
		wantAdmitted(t, admin.PolicyV1().Evictions("team").Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "evicted", Namespace: "team"}}))
	})
	t.Run("in its namespace a tenant changes nothing", func(t *testing.T) {
		_, err := dev.CoreV1().Secrets(ownNamespace).Create(ctx, secret, metav1.CreateOptions{})
		wantCallFailed(t, err, "fail-namespaces.validate.portcullis.dev")
		err = dev.CoreV1().Pods(ownNamespace).Delete(ctx, first.Name, metav1.DeleteOptions{})
		wantCallFailed(t, err, "fail-namespaces.validate.portcullis.dev")
	})
	t.Run("its pod on a lost node is deleted, replaced and gone", func(t *testing.T) { loseNode(t, env, first) })
	t.Run("an administrator breaks the glass", func(t *testing.T) {
		deployments := admin.AppsV1().Deployments(ownNamespace)
		scale := mustReturn(deployments.GetScale(ctx, "portcullis-webhook", metav1.GetOptions{}))(t)
		scale.Spec.Replicas, scale.ResourceVersion = 2, "" // the controllers go on writing
		_, err := deployments.UpdateScale(ctx, "portcullis-webhook", scale, metav1.UpdateOptions{})
		wantCallFailed(t, err, "fail-namespaces.validate.portcullis.dev")

		must(t, admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "portcullis", metav1.DeleteOptions{}))
		eventually(t, func(ctx context.Context) error {
			_, err := deployments.UpdateScale(ctx, "portcullis-webhook", scale, metav1.UpdateOptions{})
			return err
		})
	})
}

// prepareOwnNamespace makes the webhook's namespace, in which dev has an editor's rights,
// and gives back the pod of its Deployment, which is bound to a node.
func prepareOwnNamespace(t *testing.T, env *environment) corev1.Pod {
	t.Helper()
	ctx := t.Context()
	must(t, cluster.CreateNamespace(ctx, env.admin, ownNamespace, nil))
	_, err := env.admin.RbacV1().RoleBindings(ownNamespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "dev-edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "dev"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
	}, metav1.CreateOptions{})
	must(t, err)
	size := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"), corev1.ResourcePods: resource.MustParse("10"),
	}
	_, err = env.admin.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName},
		Status: corev1.NodeStatus{Capacity: size, Allocatable: size, Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()},
		}},
	}, metav1.CreateOptions{})
	must(t, err)
	own := deployment(t, "portcullis-webhook", 1)
	own.Spec.Template.Spec.ServiceAccountName = "default"
	_, err = env.admin.AppsV1().Deployments(ownNamespace).Create(ctx, own, metav1.CreateOptions{})
	must(t, err)
	first := ownPod(t, env, "")
	eventually(t, func(ctx context.Context) error {
		bound, err := env.admin.CoreV1().Pods(ownNamespace).Get(ctx, first.Name, metav1.GetOptions{})
		if err == nil && bound.Spec.NodeName != nodeName {
			err = fmt.Errorf("the scheduler has not bound the pod yet: %+v", bound.Status.Conditions)
		}
		return err
	})
	return first
}

// loseNode taints the node. The node controller deletes the pod, whose replica set makes
// another, and the node, once back, removes what is left of the first.
func loseNode(t *testing.T, env *environment, first corev1.Pod) {
	t.Helper()
	ctx := t.Context()
	nodes, pods := env.admin.CoreV1().Nodes(), env.admin.CoreV1().Pods(ownNamespace)
	must(t, update(ctx, nodes.Get, nodes.Update, nodeName, func(node *corev1.Node) {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: "example.com/lost", Effect: corev1.TaintEffectNoExecute})
	}))
	eventually(t, func(ctx context.Context) error {
		pod, err := pods.Get(ctx, first.Name, metav1.GetOptions{})
		if err == nil && pod.DeletionTimestamp == nil {
			err = errors.Join(errors.New("the node controller has not deleted the pod yet"), lastEvents(ctx, env))
		}
		return err
	})
	ownPod(t, env, first.UID)
	wantAdmitted(t, kubelet(t, env).CoreV1().Pods(ownNamespace).Delete(ctx, first.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(first.UID)),
	}))
	if _, err := pods.Get(ctx, first.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading the lost pod: got %v, want not found", err)
	}
}

// kubelet speaks as the node.
func kubelet(t *testing.T, env *environment) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(mustReturn(env.control.Config(cluster.Admin))(t))
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:node:" + nodeName, Groups: []string{"system:nodes"}}
	return mustReturn(kubernetes.NewForConfig(config))(t)
}

// wantCallFailed checks that a request was refused since the webhook of that name did not answer.
func wantCallFailed(t *testing.T, err error, webhook string) {
	t.Helper()
	if want := fmt.Sprintf("failed calling webhook %q", webhook); !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
