package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// A webhook rule for pods does not match their subresources: pods/resize and
// pods/ephemeralcontainers must be named, or a pod changes unseen.
func TestBypass09SubresourcesOfPodsAreEvaluated(t *testing.T) {
	env := shared
	ctx := t.Context()
	_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "resized"), metav1.CreateOptions{})
	wantAdmitted(t, err)

	resize := func(cpu string) error {
		pods := env.dev.CoreV1().Pods("team")
		put := func(ctx context.Context, pod *corev1.Pod, options metav1.UpdateOptions) (*corev1.Pod, error) {
			return pods.UpdateResize(ctx, pod.Name, pod, options)
		}
		return update(ctx, pods.Get, put, "resized", func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Limits[corev1.ResourceCPU] = resource.MustParse(cpu)
		})
	}
	t.Run("a resize within the ceiling is admitted", func(t *testing.T) { wantAdmitted(t, resize("200m")) })
	t.Run("a resize above the ceiling is denied", func(t *testing.T) { wantDenied(t, resize("3"), "e2e/cpu-ceiling") })
	t.Run("an ephemeral container is evaluated", func(t *testing.T) {
		wantDenied(t, debug(ctx, env.dev, "resized", privilegedDebugger), "pods/privileged")
	})
}

// CVE-2023-34091: an object that is being deleted, and held by a finalizer, was no
// longer looked at, so its spec could become anything.
func TestBypass15AnObjectBeingDeletedIsStillEvaluated(t *testing.T) {
	env := shared
	ctx := t.Context()
	deployments := env.dev.AppsV1().Deployments("team")
	held := deployment(t, "held", 0)
	held.Finalizers = []string{"example.com/hold"}
	_, err := deployments.Create(ctx, held, metav1.CreateOptions{})
	wantAdmitted(t, err)
	must(t, deployments.Delete(ctx, "held", metav1.DeleteOptions{}))
	stored := mustReturn(deployments.Get(ctx, "held", metav1.GetOptions{}))(t)
	if stored.DeletionTimestamp == nil {
		t.Fatal("the deployment is not being deleted, so the test shows nothing")
	}

	wantDenied(t, update(ctx, deployments.Get, deployments.Update, "held", setPrivileged), "pods/privileged")
	wantAdmitted(t, update(ctx, deployments.Get, deployments.Update, "held", func(d *appsv1.Deployment) { d.Finalizers = nil }))
}

// Fewer replicas were taken for a change that cannot do harm.
func TestBypass16ScalingDownExcusesNothing(t *testing.T) {
	env := shared
	ctx := t.Context()
	deployments := env.dev.AppsV1().Deployments("team")
	_, err := deployments.Create(ctx, deployment(t, "shrinking", 3), metav1.CreateOptions{})
	wantAdmitted(t, err)
	err = update(ctx, deployments.Get, deployments.Update, "shrinking", func(d *appsv1.Deployment) {
		two := int32(2)
		d.Spec.Replicas = &two
		setPrivileged(d)
	})
	wantDenied(t, err, "pods/privileged")
	err = update(ctx, deployments.Get, deployments.Update, "shrinking", func(d *appsv1.Deployment) {
		two := int32(2)
		d.Spec.Replicas = &two
	})
	wantAdmitted(t, err)
}

// kyverno#2164: a pod that says it belongs to a StatefulSet was taken for one that was
// already looked at.
func TestBypass17AnOwnerReferenceExcusesNothing(t *testing.T) {
	env := shared
	yes := true
	forged := pod(t, "owned", privileged, func(pod *corev1.Pod) {
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: types.UID("5d6f3b1e-0000-4000-8000-000000000000"), Controller: &yes,
		}}
	})
	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), forged, metav1.CreateOptions{})
	wantDenied(t, err, "pods/privileged")
}

// Whoever may label a namespace could otherwise choose its rules.
func TestBypass37ATenantCannotLabelANamespaceOutOfThePolicies(t *testing.T) {
	env := shared
	ctx := t.Context()
	_, err := env.tenant.CoreV1().Namespaces().Patch(ctx, "team", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"policy.portcullis.dev/profile":"none","admission.gatekeeper.sh/ignore":"true","policy.portcullis.dev/exempt":"true"}}}`), metav1.PatchOptions{})
	wantDenied(t, err, "namespaces/protected-labels", `"tenant"`)
	_, err = env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "exempt", privileged), metav1.CreateOptions{})
	wantDenied(t, err, "pods/privileged")

	_, err = env.tenant.CoreV1().Namespaces().Patch(ctx, "guarded", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":null}}}`), metav1.PatchOptions{})
	wantDenied(t, err, "namespaces/")
}

// CVE-2026-30963 and CVE-2026-55636: labels of a namespace can be changed through its
// subresources, and a rule that names the wrong one ("namespace/finalize") sees nothing.
func TestBypass38SubresourcesOfNamespacesAreEvaluated(t *testing.T) {
	env := shared
	ctx := t.Context()
	relabelled := func(t *testing.T) *corev1.Namespace {
		namespace := mustReturn(env.tenant.CoreV1().Namespaces().Get(ctx, "guarded", metav1.GetOptions{}))(t)
		namespace.Labels["pod-security.kubernetes.io/enforce"] = "privileged"
		return namespace
	}
	t.Run("namespaces/finalize", func(t *testing.T) {
		_, err := env.tenant.CoreV1().Namespaces().Finalize(ctx, relabelled(t), metav1.UpdateOptions{})
		wantDenied(t, err, "namespaces/")
	})
	t.Run("namespaces/status", func(t *testing.T) {
		_, err := env.tenant.CoreV1().Namespaces().UpdateStatus(ctx, relabelled(t), metav1.UpdateOptions{})
		wantDenied(t, err, "namespaces/")
	})
}

// kyverno#3135, #6515, #3304: a namespace that is left out as a whole is where an
// attacker deploys.
func TestBypass39SystemNamespacesAreNotExempt(t *testing.T) {
	env := shared
	_, err := env.dev.CoreV1().Pods("kube-system").Create(t.Context(), pod(t, "implant", privileged, func(pod *corev1.Pod) {
		pod.Spec.ServiceAccountName = "default"
	}), metav1.CreateOptions{})
	wantDenied(t, err, "pods/privileged")
}

// An update may touch nothing a policy reads (a finalizer goes) or everything (an
// image): only the second is judged anew.
func TestBypass42MetadataOfAnObjectFromBeforeCanChangeButItsSpecCannot(t *testing.T) {
	env := shared
	ctx := t.Context()
	pods := env.dev.CoreV1().Pods("team")

	err := update(ctx, pods.Get, pods.Update, "legacy", func(pod *corev1.Pod) {
		pod.Finalizers = nil
		pod.Spec.Containers[0].Image = "registry.example.com/evil/app:2"
	})
	wantDenied(t, err, "pods/privileged")
	err = update(ctx, pods.Get, pods.Update, "legacy", func(pod *corev1.Pod) {
		pod.Annotations = map[string]string{"example.com/ticket": "42"}
	})
	wantAdmitted(t, err)
	err = update(ctx, pods.Get, pods.Update, "legacy", func(pod *corev1.Pod) { pod.OwnerReferences = nil; pod.Finalizers = []string{"example.com/other"} })
	wantAdmitted(t, err)
}

// A dry run must not leave anything behind, and say what the real run would.
func TestBypass43ADryRunWritesNothing(t *testing.T) {
	env := shared
	ctx := t.Context()
	before := len(writesBy(readAudit(t, env.control.AuditLog), webhookUser))
	for i := range 20 {
		changes := []func(*corev1.Pod){}
		if i%2 == 1 {
			changes = append(changes, privileged)
		}
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, fmt.Sprintf("dry-%d", i), changes...), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if i%2 == 1 {
			wantDenied(t, err, "pods/privileged")
		} else {
			wantAdmitted(t, err)
		}
	}
	if writes := writesBy(readAudit(t, env.control.AuditLog), webhookUser)[before:]; len(writes) > 0 {
		t.Errorf("the webhook wrote because of dry runs: %+v", writes)
	}
	stored := mustReturn(env.admin.CoreV1().Pods("team").List(ctx, metav1.ListOptions{}))(t)
	for _, pod := range stored.Items {
		if strings.HasPrefix(pod.Name, "dry-") {
			t.Errorf("pod %s of a dry run is stored", pod.Name)
		}
	}
}

// deployment has goodPod for its template.
func deployment(t *testing.T, name string, replicas int32) *appsv1.Deployment {
	t.Helper()
	template := pod(t, "")
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: template.Spec},
		},
	}
}

func setPrivileged(deployment *appsv1.Deployment) {
	pod := &corev1.Pod{Spec: deployment.Spec.Template.Spec}
	privileged(pod)
	deployment.Spec.Template.Spec = pod.Spec
}

// update reads an object, changes it and writes it, again where somebody else was faster.
func update[T any](ctx context.Context,
	get func(context.Context, string, metav1.GetOptions) (*T, error),
	put func(context.Context, *T, metav1.UpdateOptions) (*T, error),
	name string, change func(*T)) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object, err := get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(object)
		_, err = put(ctx, object, metav1.UpdateOptions{})
		return err
	})
}
