package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

func TestAPrivilegedPodIsDeniedWithAReadableReason(t *testing.T) {
	env := shared
	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "privileged", privileged), metav1.CreateOptions{})
	wantDenied(t, err, "pods/privileged", `container "app" is privileged`, "spec.containers[0].securityContext.privileged")
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want reason Forbidden", apierrors.ReasonForError(err))
	}
	_, err = env.admin.CoreV1().Pods("team").Get(t.Context(), "privileged", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("reading the denied pod: got %v, want not found", err)
	}
}

func TestAGoodPodIsStored(t *testing.T) {
	env := shared
	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "stored"), metav1.CreateOptions{})
	wantAdmitted(t, err)
	if _, err := env.admin.CoreV1().Pods("team").Get(t.Context(), "stored", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestAPodIsStoredPatched(t *testing.T) {
	env := shared
	unpatched := pod(t, "patched", func(pod *corev1.Pod) {
		pod.Spec.SecurityContext.SeccompProfile = nil
		pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
		pod.Spec.AutomountServiceAccountToken = nil
	})
	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), unpatched, metav1.CreateOptions{})
	wantAdmitted(t, err)
	stored := mustReturn(env.admin.CoreV1().Pods("team").Get(t.Context(), "patched", metav1.GetOptions{}))(t)

	if got := seccompProfile(stored); got != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("seccomp profile: got %q, want %q", got, corev1.SeccompProfileTypeRuntimeDefault)
	}
	if got := stored.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation; got == nil || *got {
		t.Errorf("allowPrivilegeEscalation: got %v, want false", got)
	}
	if got := stored.Spec.AutomountServiceAccountToken; got == nil || *got {
		t.Errorf("automountServiceAccountToken: got %v, want false", got)
	}
	for _, volume := range stored.Spec.Volumes {
		if strings.HasPrefix(volume.Name, "kube-api-access-") {
			t.Errorf("the token volume %s is still there", volume.Name)
		}
	}
}

// seccompProfile is that of the first container, or what it inherits.
func seccompProfile(pod *corev1.Pod) corev1.SeccompProfileType {
	if own := pod.Spec.Containers[0].SecurityContext.SeccompProfile; own != nil {
		return own.Type
	}
	if inherited := pod.Spec.SecurityContext.SeccompProfile; inherited != nil {
		return inherited.Type
	}
	return ""
}

func TestAnEphemeralContainerIsDenied(t *testing.T) {
	env := shared
	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "debugged"), metav1.CreateOptions{})
	wantAdmitted(t, err)
	t.Run("one that is privileged, by whoever may debug", func(t *testing.T) {
		wantDenied(t, debug(t.Context(), env.dev, "debugged", privilegedDebugger), "pods/privileged", "spec.ephemeralContainers[0]")
	})
	t.Run("any, by whoever may not", func(t *testing.T) {
		wantDenied(t, debug(t.Context(), env.intern, "debugged", goodDebugger), "pods/ephemeral-containers", `"intern"`)
	})
	t.Run("but not a good one by whoever may", func(t *testing.T) {
		wantAdmitted(t, debug(t.Context(), env.dev, "debugged", goodDebugger))
	})
}

// What kubectl debug adds with --profile=sysadmin, and with --profile=restricted.
const (
	privilegedDebugger = `{name: debug, image: registry.example.com/tools/shell:1, securityContext: {privileged: true}}`
	goodDebugger       = `{name: debug, image: registry.example.com/tools/shell:1, securityContext: {
		runAsNonRoot: true, runAsUser: 10001, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}`
)

// debug adds an ephemeral container to a pod of the team.
func debug(ctx context.Context, client kubernetes.Interface, name, container string) error {
	pods := client.CoreV1().Pods("team")
	put := func(ctx context.Context, pod *corev1.Pod, options metav1.UpdateOptions) (*corev1.Pod, error) {
		return pods.UpdateEphemeralContainers(ctx, pod.Name, pod, options)
	}
	var added corev1.EphemeralContainer
	if err := yaml.UnmarshalStrict([]byte(container), &added.EphemeralContainerCommon); err != nil {
		return err
	}
	return update(ctx, pods.Get, put, name, func(pod *corev1.Pod) {
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{added}
	})
}

func TestARoleThatAllowsEverythingIsDenied(t *testing.T) {
	env := shared
	_, err := env.rolemaker.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "everything"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}, metav1.CreateOptions{})
	wantDenied(t, err, "rbac/", "rules[0]")
}

// Kubernetes' own escalation check is out of the way for rolemaker, who has "bind".
func TestABindingThatGrantsItsAuthorMoreIsDenied(t *testing.T) {
	env := shared
	_, err := env.rolemaker.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "rise"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "rolemaker"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}, metav1.CreateOptions{})
	wantDenied(t, err, "rbac/", "cluster-admin")
}

func TestExecIsDenied(t *testing.T) {
	env := shared
	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "entered"), metav1.CreateOptions{})
	wantAdmitted(t, err)
	wantDenied(t, execInto(t, env, "dev", "entered"), "pods/exec", `"dev"`)

	err = execInto(t, env, "admin", "entered")
	if err == nil || strings.Contains(err.Error(), "admission webhook") {
		t.Errorf("exec by a member of system:masters: got %v, want it past admission (and to fail for want of a node)", err)
	}
}

// execInto asks for what kubectl exec asks for. A denial comes as a plain answer, before
// the connection would become a stream.
func execInto(t *testing.T, env *environment, user, podName string) error {
	t.Helper()
	client := mustReturn(env.control.Client(user))(t)
	return client.CoreV1().RESTClient().Post().Namespace("team").Resource("pods").Name(podName).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "app", Command: []string{"sh"}, Stdout: true}, scheme.ParameterCodec).
		Do(t.Context()).Error()
}

func TestADryRunGetsTheSameVerdictAndWritesNothing(t *testing.T) {
	env := shared
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	before := len(writesBy(readAudit(t, env.control.AuditLog), webhookUser))

	_, dryErr := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "dry", privileged), dryRun)
	_, wetErr := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "dry", privileged), metav1.CreateOptions{})
	wantDenied(t, dryErr, "pods/privileged")
	wantDenied(t, wetErr, "pods/privileged")
	if dryErr != nil && wetErr != nil && dryErr.Error() != wetErr.Error() {
		t.Errorf("the reasons differ:\ndry run: %v\nfor real: %v", dryErr, wetErr)
	}

	_, err := env.dev.CoreV1().Pods("team").Create(t.Context(), pod(t, "dry"), dryRun)
	wantAdmitted(t, err)
	if _, err := env.admin.CoreV1().Pods("team").Get(t.Context(), "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading the pod of the dry run: got %v, want not found", err)
	}
	if writes := writesBy(readAudit(t, env.control.AuditLog), webhookUser)[before:]; len(writes) > 0 {
		t.Errorf("the webhook wrote during a dry run: %+v", writes)
	}
}

func TestLabelsOfANamespaceAreGuarded(t *testing.T) {
	env := shared
	_, err := env.tenant.CoreV1().Namespaces().Patch(t.Context(), "guarded", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`), metav1.PatchOptions{})
	wantDenied(t, err, "namespaces/", "pod-security.kubernetes.io/enforce")

	_, err = env.tenant.CoreV1().Namespaces().Patch(t.Context(), "guarded", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"example.com/colour":"green"}}}`), metav1.PatchOptions{})
	wantAdmitted(t, err)
}

func TestRemovingAFinalizerFromAnObjectFromBeforeIsAllowed(t *testing.T) {
	env := shared
	ctx := t.Context()
	deployments := env.dev.AppsV1().Deployments("team")
	wantDenied(t, update(ctx, deployments.Get, deployments.Update, "legacy", func(d *appsv1.Deployment) {
		d.Finalizers = nil
		d.Spec.Template.Spec.Containers[0].Image = "registry.example.com/team/app:2"
	}), "pods/privileged")
	wantAdmitted(t, update(ctx, deployments.Get, deployments.Update, "legacy", func(d *appsv1.Deployment) { d.Finalizers = nil }))
}

func TestAWarningReachesTheClient(t *testing.T) {
	env := shared
	config := rest.CopyConfig(mustReturn(env.control.Config("dev"))(t))
	warnings := &recordedWarnings{}
	config.WarningHandlerWithContext = warnings
	client := mustReturn(kubernetes.NewForConfig(config))(t)
	_, err := client.CoreV1().Pods("team").Create(t.Context(), pod(t, "warned", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].LivenessProbe, pod.Spec.Containers[0].ReadinessProbe = nil, nil
	}), metav1.CreateOptions{})
	wantAdmitted(t, err)
	if !slices.ContainsFunc(warnings.texts, func(text string) bool { return strings.Contains(text, "probe") }) {
		t.Errorf("got warnings %q, want one about probes", warnings.texts)
	}
}

// recordedWarnings keeps what the API server warned of.
type recordedWarnings struct{ texts []string }

func (w *recordedWarnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, text string) {
	w.texts = append(w.texts, text)
}
