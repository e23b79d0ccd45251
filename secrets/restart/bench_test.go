package restart

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	testclock "k8s.io/utils/clock/testing"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// restarterUser is portcullis-secrets, with the rights that the Role of a namespace gives and no others.
const restarterUser = "system:serviceaccount:" + v1alpha1.DefaultNamespace + ":portcullis-secrets"

// shared is one control plane, with controllers, for all tests of the package. Its node is an object: who plays the kubelet says which
// pods are ready.
var shared = clustertest.Shared{
	Options: cluster.Options{Users: []cluster.User{{Name: restarterUser}}},
	Prepare: func(ctx context.Context, server *cluster.Cluster) error {
		kube, err := server.Client(cluster.Admin)
		if err != nil {
			return err
		}
		return clustertest.Node(ctx, kube, "node-1", clustertest.Ready)
	},
}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// bench is a namespace of its own, with a Secret "db" of the keys password and user.
type bench struct {
	t         *testing.T
	namespace string
	admin     *kubernetes.Clientset
	client    *kubernetes.Clientset
	clock     *testclock.FakePassiveClock
	hasher    *secrets.Hasher
	restarter *Restarter
	rotation  *v1alpha1.Rotation
	used      Used
	statuses  []v1alpha1.RestartStatus
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, namespace: fmt.Sprintf("t-%x", time.Now().UnixNano()), clock: testclock.NewFakePassiveClock(time.Now()), hasher: secrets.NewHasher(secrets.ValueOf("a key of tests with 32 bytes....."))}
	var err error
	server := shared.Cluster(t)
	b.admin, err = server.Client(cluster.Admin)
	b.must(err)
	b.client, err = server.Client(restarterUser)
	b.must(err)
	b.must(cluster.CreateNamespace(t.Context(), b.admin, b.namespace, nil))
	b.restarter = New(b.client, b.clock, b.hasher)
	b.rotate(v1alpha1.RestartReferencing)
	b.used = Used{Name: "db", Before: b.hashes("password=one", "user=shop"), Keys: b.hashes("password=two", "user=shop")}
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// rotate sets who is restarted, and gives the rights for it.
func (b *bench) rotate(restart string, named ...v1alpha1.WorkloadRef) {
	b.t.Helper()
	b.rotation = &v1alpha1.Rotation{Restart: restart, Workloads: named, Timeout: &metav1.Duration{Duration: 10 * time.Minute}}
	s := v1alpha1.VaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "db"}}
	s.Spec.Rotation, s.Spec.Destination.Immutable = *b.rotation, restart == v1alpha1.RestartReferencing
	config, err := shared.Cluster(b.t).Config(cluster.Admin)
	b.must(err)
	creator, err := cluster.NewCreator(config)
	b.must(err)
	_ = b.admin.RbacV1().Roles(b.namespace).Delete(b.t.Context(), v1alpha1.RoleName, metav1.DeleteOptions{})
	_ = b.admin.RbacV1().RoleBindings(b.namespace).Delete(b.t.Context(), v1alpha1.RoleName, metav1.DeleteOptions{})
	_, err = creator.Create(b.t.Context(), v1alpha1.NamespaceRole(b.namespace, []v1alpha1.VaultSecret{s}, nil, nil, v1alpha1.DefaultNamespace), metav1.CreateOptions{})
	b.must(err)
	clustertest.Eventually(b.t, "the Role counts", func() error {
		if s.Spec.Destination.Immutable {
			_, err := b.restarter.Uses(b.t.Context(), b.namespace, "nothing")
			return err
		}
		if _, err := b.restarter.workloads.get(b.t.Context(), b.namespace, named[0]); !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
}

func (b *bench) hashes(pairs ...string) map[string]string {
	hashes := map[string]string{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		hashes[key] = b.hasher.Value(key, secrets.ValueOf(value))
	}
	return hashes
}

// template is one of pods that use something of a Secret.
func template(name string, use func(*corev1.PodSpec)) corev1.PodTemplateSpec {
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, TerminationGracePeriodSeconds: new(int64(0))}
	if use != nil {
		use(&spec)
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}, Spec: spec}
}

func env(secret, key string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		spec.Containers[0].Env = append(spec.Containers[0].Env, corev1.EnvVar{Name: "V" + fmt.Sprint(len(spec.Containers[0].Env)), ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}}})
	}
}

func (b *bench) deployment(name string, replicas int32, use func(*corev1.PodSpec), change ...func(*appsv1.Deployment)) {
	b.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: template(name, use)}}
	for _, c := range change {
		c(d)
	}
	_, err := b.admin.AppsV1().Deployments(b.namespace).Create(b.t.Context(), d, metav1.CreateOptions{})
	b.must(err)
}

func (b *bench) statefulSet(name string, replicas int32, use func(*corev1.PodSpec), change ...func(*appsv1.StatefulSet)) {
	b.t.Helper()
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: template(name, use)}}
	for _, c := range change {
		c(s)
	}
	_, err := b.admin.AppsV1().StatefulSets(b.namespace).Create(b.t.Context(), s, metav1.CreateOptions{})
	b.must(err)
}

func (b *bench) daemonSet(name string, use func(*corev1.PodSpec), change ...func(*appsv1.DaemonSet)) {
	b.t.Helper()
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: template(name, use)}}
	for _, c := range change {
		c(d)
	}
	_, err := b.admin.AppsV1().DaemonSets(b.namespace).Create(b.t.Context(), d, metav1.CreateOptions{})
	b.must(err)
}

func (b *bench) workload(kind, name string) *workload {
	b.t.Helper()
	w, err := b.restarter.workloads.get(b.t.Context(), b.namespace, v1alpha1.WorkloadRef{Kind: kind, Name: name})
	if err != nil { // the Role names others
		w, err = workloads{b.admin}.get(b.t.Context(), b.namespace, v1alpha1.WorkloadRef{Kind: kind, Name: name})
	}
	b.must(err)
	return w
}

// play is what a kubelet does, once: pods with a node are ready, unless sick says otherwise, and pods that end are gone.
func (b *bench) play(sick func(*corev1.Pod) bool) {
	b.t.Helper()
	pods, err := b.admin.CoreV1().Pods(b.namespace).List(b.t.Context(), metav1.ListOptions{})
	b.must(err)
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			now := int64(0)
			_ = b.admin.CoreV1().Pods(b.namespace).Delete(b.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
			continue
		}
		if pod.Spec.NodeName == "" || sick != nil && sick(&pod) || pod.Status.Phase == corev1.PodRunning {
			continue
		}
		now := metav1.NewTime(time.Now().Add(-time.Minute))
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now}}
		if _, err := b.admin.CoreV1().Pods(b.namespace).UpdateStatus(b.t.Context(), &pod, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			b.t.Fatal(err)
		}
	}
}

// up waits until a workload is complete.
func (b *bench) up(kind string, names ...string) {
	b.t.Helper()
	for _, name := range names {
		clustertest.Eventually(b.t, kind+" "+name+" is up", func() error {
			b.play(nil)
			w := b.workload(kind, name)
			if !w.health.complete() {
				return fmt.Errorf("%s (%+v)", w.health, w.health)
			}
			return nil
		})
	}
}

// step takes one, and says how the workloads are: "a Restarting, b Waiting".
func (b *bench) step() (string, time.Duration) {
	b.t.Helper()
	statuses, again, err := b.restarter.Step(b.t.Context(), b.namespace, b.rotation, b.used, b.statuses)
	b.must(err)
	b.statuses = statuses
	var all []string
	for _, s := range statuses {
		all = append(all, s.Name+" "+s.State)
	}
	return strings.Join(all, ", "), again
}

func (b *bench) wantStep(want string) time.Duration {
	b.t.Helper()
	got, again := b.step()
	if got != want {
		b.t.Errorf("got %q, want %q: %s", got, want, b.messages())
	}
	return again
}

// until takes steps, with pods that become ready, until the workloads are as wanted.
func (b *bench) until(want string, sick func(*corev1.Pod) bool) {
	b.t.Helper()
	clustertest.Eventually(b.t, want, func() error {
		b.play(sick)
		if got, _ := b.step(); got != want {
			return fmt.Errorf("got %q: %s", got, b.messages())
		}
		return nil
	})
}

func (b *bench) messages() string {
	var all []string
	for _, s := range b.statuses {
		all = append(all, s.Name+": "+s.Message)
	}
	return strings.Join(all, "; ")
}

// generation is that of a workload's spec: it counts changes.
func (b *bench) generation(kind, name string) int64 {
	b.t.Helper()
	var meta metav1.ObjectMeta
	switch kind {
	case deployment:
		d, err := b.admin.AppsV1().Deployments(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
		b.must(err)
		meta = d.ObjectMeta
	case statefulSet:
		s, err := b.admin.AppsV1().StatefulSets(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
		b.must(err)
		meta = s.ObjectMeta
	case daemonSet:
		d, err := b.admin.AppsV1().DaemonSets(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
		b.must(err)
		meta = d.ObjectMeta
	}
	return meta.Generation
}
