package restart

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func TestWorkloadsAreRestartedOnceInOrderAndOneAtATime(t *testing.T) {
	b := newBench(t)
	b.rotate(v1alpha1.RestartReferencing, v1alpha1.WorkloadRef{Kind: statefulSet, Name: "z"})
	b.deployment("a", 2, env("db", "password"))
	b.deployment("other", 1, env("db", "user")) // uses a key that does not change
	b.deployment("none", 1, nil)
	b.statefulSet("z", 2, env("db", "password"))
	b.daemonSet("d", env("db", "password"))
	b.up(deployment, "a", "other")
	b.up(statefulSet, "z")
	b.up(daemonSet, "d")

	if again := b.wantStep("z Restarting, a Waiting, other Unneeded, d Waiting"); again != watch {
		t.Errorf("got %s until the next look, want %s", again, watch)
	}
	b.wantStep("z Restarting, a Waiting, other Unneeded, d Waiting") // nothing happens before it is available
	if b.generation(deployment, "a") != 1 {
		t.Error("got a restarted before z was available")
	}
	b.until("z Restarted, a Restarting, other Unneeded, d Waiting", nil)
	b.until("z Restarted, a Restarted, other Unneeded, d Restarting", nil)
	b.until("z Restarted, a Restarted, other Unneeded, d Restarted", nil)
	if _, again := b.step(); again != 0 {
		t.Errorf("got %s, want done", again)
	}
	for name, kind := range map[string]string{"a": deployment, "z": statefulSet, "d": daemonSet} {
		if g := b.generation(kind, name); g != 2 {
			t.Errorf("%s was changed %d times, want once", name, g-1)
		}
	}
	if b.generation(deployment, "other") != 1 || b.generation(deployment, "none") != 1 {
		t.Error("got workloads restarted that do not use the key")
	}

	// Another operator, with the status lost: each has its mark.
	b.statuses = nil
	b.wantStep("z Unneeded, a Unneeded, other Unneeded, d Unneeded")
	// A tool takes the marks away: the status knows.
	b.statuses[1].State = Restarted
	_, err := b.admin.AppsV1().Deployments(b.namespace).Patch(t.Context(), "a", types.MergePatchType, []byte(`{"spec":{"template":{"metadata":{"annotations":null}}}}`), metav1.PatchOptions{})
	b.must(err)
	b.wantStep("z Unneeded, a Restarted, other Unneeded, d Unneeded")
	if g := b.generation(deployment, "a"); g != 3 {
		t.Errorf("got generation %d, want no change but the tool's", g)
	}
}

// quiet says that a step restarts nothing.
func (b *bench) quiet(why string) {
	b.t.Helper()
	before := b.generation(deployment, "app")
	for range 3 {
		b.step()
	}
	if after := b.generation(deployment, "app"); after != before {
		b.t.Errorf("%s: got it restarted", why)
	}
}

// VSO #285: an operator that was restarted rolled out every workload, since it did not know what they had.
func TestVSO285AnOperatorThatStartsRestartsNothing(t *testing.T) {
	b := newBench(t)
	b.deployment("app", 1, env("db", "password"))
	b.up(deployment, "app")
	b.used.Before = nil // the first sync, a lost status, or another hash key
	b.quiet("a baseline")
	if _, again := b.step(); again != 0 {
		t.Errorf("got %s, want nothing to do", again)
	}
}

// VSO #582, #1212 and PR #1299: workloads were rolled out at each refresh, reconcile or rotation that brought the same values.
func TestVSO582AndVSO1212AndVSO1299TheSameValuesRestartNothing(t *testing.T) {
	b := newBench(t)
	b.deployment("app", 1, env("db", "password"))
	b.up(deployment, "app")
	b.used.Before = b.used.Keys
	b.quiet("the same values")
	b.used.Before, b.used.Keys = b.hashes("password=one", "user=shop"), b.hashes("password=one", "user=other", "ttl=59") // static roles: a ttl that counts down
	b.quiet("values that it does not use")
}

// ricoberger #367: certificates were issued anew, and workloads restarted, when the operator was.
func TestRicoberger367WhatWasRestartedForAValueIsNotRestartedForItAgain(t *testing.T) {
	b := newBench(t)
	b.deployment("app", 1, env("db", "password"))
	b.up(deployment, "app")
	b.wantStep("app Restarting")
	b.up(deployment, "app")
	b.statuses = nil // a crash between the patch and the status, and Before that was not written either
	b.quiet("after a crash")
	b.wantStep("app Unneeded")
	// Two replicas that both believe to lead.
	other := New(b.client, b.clock, b.hasher)
	if _, _, err := other.Step(t.Context(), b.namespace, b.rotation, b.used, nil); err != nil {
		t.Fatal(err)
	}
	if g := b.generation(deployment, "app"); g != 2 {
		t.Errorf("got %d changes, want one", g-1)
	}
	// A later value restarts it once more, and the one of before, too.
	b.used.Before, b.used.Keys = b.used.Keys, b.hashes("password=one", "user=shop")
	b.wantStep("app Restarting")
}

func TestACredentialThatIsBadDoesNotTakeAllDown(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"a", "b"} {
		b.deployment(name, 2, env("db", "password"))
	}
	b.up(deployment, "a", "b")
	b.wantStep("a Restarting, b Waiting")
	sick := func(pod *corev1.Pod) bool { return pod.Annotations[v1alpha1.RestartAnnotation] != "" }
	clustertest.Until(t, "the rollout is under way", func() bool {
		b.play(sick)
		pods, err := b.admin.CoreV1().Pods(b.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=a"})
		b.must(err)
		for _, pod := range pods.Items {
			if sick(&pod) {
				return true
			}
		}
		return false
	})
	b.wantStep("a Restarting, b Waiting")
	b.clock.SetTime(b.clock.Now().Add(11 * time.Minute))
	b.wantStep("a Stuck, b Waiting")
	if !strings.Contains(b.statuses[0].Message, "correct the value in Vault") || !strings.Contains(b.statuses[1].Message, "Deployment a is stuck") {
		t.Errorf("got %s, want what to do", b.messages())
	}
	if b.generation(deployment, "b") != 1 {
		t.Error("got b restarted after a was stuck")
	}
	b.until("a Restarted, b Restarting", nil) // people helped it
}

func TestAWorkloadThatIsNotWellIsNotRestarted(t *testing.T) {
	b := newBench(t)
	b.statefulSet("app", 2, env("db", "password"), func(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement })
	clustertest.Until(t, "one of its pods is available", func() bool {
		b.play(func(pod *corev1.Pod) bool { return pod.Name == "app-1" })
		return b.workload(statefulSet, "app").health.available == 1
	})
	b.wantStep("app Waiting")
	b.clock.SetTime(b.clock.Now().Add(time.Hour)) // however long: half of it works
	b.wantStep("app Waiting")
	if !strings.Contains(b.messages(), "1 of 2 pods are available") || b.generation(statefulSet, "app") != 1 {
		t.Errorf("got %s", b.messages())
	}
	b.until("app Restarting", nil)

	// With nothing left to lose the new value may be what it lacks.
	c := newBench(t)
	c.deployment("app", 1, env("db", "password"))
	clustertest.Until(t, "the controller has made its pods", func() bool { return c.workload(deployment, "app").health.rolled })
	c.wantStep("app Waiting")
	c.clock.SetTime(c.clock.Now().Add(unwellTimeout))
	c.wantStep("app Restarting")
}

func TestWhatHasNoRolloutOfItsOwnHoldsUpNobody(t *testing.T) {
	b := newBench(t)
	b.deployment("a-paused", 1, env("db", "password"))
	b.deployment("b-none", 0, env("db", "password"))
	b.deployment("c", 1, env("db", "password"))
	b.statefulSet("d-manual", 1, env("db", "password"), func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType })
	b.statefulSet("e-partition", 2, env("db", "password"), func(s *appsv1.StatefulSet) {
		s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(1))}
	})
	b.up(deployment, "a-paused", "b-none", "c")
	b.up(statefulSet, "d-manual", "e-partition")
	pause := func(paused string) {
		_, err := b.admin.AppsV1().Deployments(b.namespace).Patch(t.Context(), "a-paused", types.MergePatchType, []byte(`{"spec":{"paused":`+paused+`}}`), metav1.PatchOptions{})
		b.must(err)
	}
	pause("true")
	b.wantStep("a-paused Waiting, b-none Unneeded, c Restarting, d-manual Waiting, e-partition Waiting")
	b.until("a-paused Waiting, b-none Unneeded, c Restarted, d-manual Waiting, e-partition Restarting", nil)
	b.until("a-paused Waiting, b-none Unneeded, c Restarted, d-manual Waiting, e-partition Restarted", nil)
	if !strings.Contains(b.messages(), "kubectl rollout resume") || !strings.Contains(b.messages(), "kubectl delete pod") {
		t.Errorf("got %s, want what to do", b.messages())
	}
	if _, again := b.step(); again != later {
		t.Errorf("got %s, want it looked at again", again)
	}
	b.must(b.admin.CoreV1().Pods(b.namespace).Delete(t.Context(), "d-manual-0", metav1.DeleteOptions{}))
	b.up(statefulSet, "d-manual") // nobody looked while it was down: it is known whose change it was all the same
	b.until("a-paused Waiting, b-none Unneeded, c Restarted, d-manual Restarted, e-partition Restarted", nil)
	pause("false")
	b.until("a-paused Restarted, b-none Unneeded, c Restarted, d-manual Restarted, e-partition Restarted", nil)
}

func TestAWorkloadThatIsYoungerThanTheChangeHasIt(t *testing.T) {
	b := newBench(t)
	b.deployment("app", 1, env("db", "password"))
	b.up(deployment, "app")
	b.used.Changed = time.Now().Add(-time.Hour)
	b.wantStep("app Unneeded")
	b.statuses, b.used.Changed = nil, time.Now().Add(time.Minute)
	b.wantStep("app Restarting")
}

func TestNamedWorkloadsAreRestartedByNameAlone(t *testing.T) {
	b := newBench(t)
	b.rotate(v1alpha1.RestartNamed, v1alpha1.WorkloadRef{Kind: deployment, Name: "reads-it-by-itself"}, v1alpha1.WorkloadRef{Kind: deployment, Name: "missing"})
	b.deployment("reads-it-by-itself", 1, nil)
	b.deployment("uses-it", 1, env("db", "password"))
	b.up(deployment, "reads-it-by-itself", "uses-it")
	b.until("reads-it-by-itself Restarting, missing Unneeded", nil) // the Role that says so may take a moment to count
	b.until("reads-it-by-itself Restarted, missing Unneeded", nil)
	if b.generation(deployment, "uses-it") != 1 || !strings.Contains(b.messages(), "correct rotation.workloads") {
		t.Errorf("got %s", b.messages())
	}
	b.rotation.Restart = v1alpha1.RestartNone
	b.used.Before, b.used.Keys = b.used.Keys, b.used.Before
	if _, again := b.step(); again != 0 {
		t.Error("restart None: got something to do")
	}
	// What the Role does not name is said with what prints the Role.
	b.rotation = &v1alpha1.Rotation{Restart: v1alpha1.RestartNamed, Workloads: []v1alpha1.WorkloadRef{{Kind: daemonSet, Name: "other"}}}
	var err error
	clustertest.Until(t, "the Role of before does not count any more", func() bool {
		_, _, err = b.restarter.Step(t.Context(), b.namespace, b.rotation, b.used, nil)
		return err != nil
	})
	if secrets.ReasonOf(err) != secrets.ClusterForbidden || !strings.Contains(err.Error(), `get daemonsets "other"`) || !strings.Contains(err.Error(), "portcullis-secrets roles --namespace "+b.namespace) {
		t.Errorf("got %v, want the rule that is missing", err)
	}
}

func TestReferencesToEarlierSlotsNameTheNewOne(t *testing.T) {
	b := newBench(t)
	all := func(secret string) func(*corev1.PodSpec) {
		ref := corev1.LocalObjectReference{Name: secret}
		return func(spec *corev1.PodSpec) {
			env(secret, "password")(spec)
			spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}
			spec.InitContainers = []corev1.Container{{Name: "init", Image: "app", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}}
			spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "another"}, ref}
			spec.Volumes = []corev1.Volume{
				{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}},
				{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: ref, Items: []corev1.KeyToPath{{Key: "password", Path: "p"}}}}}}}},
			}
		}
	}
	b.deployment("a", 1, all("db-0"))
	b.deployment("b", 1, env("db-0", "user")) // keeps the slot: its key did not change
	b.deployment("c", 1, env("db-2", "password"))
	b.deployment("d", 0, env("db-1", "password"))
	b.up(deployment, "a", "b", "c", "d")
	b.used.Name, b.used.Earlier, b.used.Immutable = "db-2", []string{"db-0", "db-1"}, true
	b.wantStep("a Restarting, b Unneeded, c Unneeded, d Waiting")
	b.until("a Restarted, b Unneeded, c Unneeded, d Restarted", nil)
	for _, ref := range references(&b.workload(deployment, "a").template.Spec) {
		if ref.name != "db-2" && ref.name != "another" {
			t.Errorf("got %s at %s, want the new slot", ref.name, ref.path)
		}
	}
	if n := len(references(&b.workload(deployment, "a").template.Spec)); n != 7 {
		t.Errorf("got %d references, want all 7", n)
	}
	for name, want := range map[string]bool{"db-0": true, "db-2": true, "db-5": false} {
		if uses, err := b.restarter.Uses(t.Context(), b.namespace, name); err != nil || uses != want {
			t.Errorf("%s: got used %t %v, want %t", name, uses, err, want)
		}
	}
	// Fields that we do not change are not ours: who applies them meets no conflict.
	d, err := b.admin.AppsV1().Deployments(b.namespace).Get(t.Context(), "a", metav1.GetOptions{})
	b.must(err)
	for _, entry := range d.ManagedFields {
		if entry.Manager == v1alpha1.FieldManager && strings.Contains(entry.FieldsV1.GetRawString(), "f:image\"") {
			t.Errorf("got %s as ours, want only what was changed", entry.FieldsV1.GetRawString())
		}
	}
}

func TestTwoSecretsOfOneWorkloadKeepTheirMarks(t *testing.T) {
	b := newBench(t)
	b.deployment("app", 1, func(spec *corev1.PodSpec) { env("db", "password")(spec); env("tls", "password")(spec) })
	b.up(deployment, "app")
	b.wantStep("app Restarting")
	b.up(deployment, "app")
	first := b.used
	b.statuses, b.used.Name = nil, "tls"
	b.wantStep("app Restarting")
	b.up(deployment, "app")
	b.statuses, b.used = nil, first
	b.wantStep("app Unneeded")
}

func TestKeysThatAreUsed(t *testing.T) {
	has, names := map[string]bool{"a": true, "b": true}, map[string]bool{"db": true, "db-0": true}
	ref := corev1.LocalObjectReference{Name: "db"}
	for _, c := range []struct {
		what string
		spec corev1.PodSpec
		want string
	}{
		{"none", corev1.PodSpec{}, ""},
		{"a key in an environment", corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: "b"}}}}}}}, "b"},
		{"an optional key that is not there", corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: "c", Optional: new(true)}}}}}}}, "c"},
		{"all in an environment", corev1.PodSpec{InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}}}, "a b"},
		{"an ephemeral container", corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}}}}, "a b"},
		{"a volume", corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db-0"}}}}}, "a b"},
		{"items of a volume", corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db", Items: []corev1.KeyToPath{{Key: "a"}}}}}}}, "a"},
		{"items of a projection", corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: ref, Items: []corev1.KeyToPath{{Key: "b"}}}}}}}}}}, "b"},
		{"pulling images", corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{ref}}, ".dockercfg .dockerconfigjson"},
		{"another Secret", corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "x"}}}, ""},
		{"storage", corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &ref}}}}}, "a b"},
	} {
		if got := strings.Join(keysOf(references(&c.spec), names, has), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

func TestStatusesAreCutToWhatAnObjectHolds(t *testing.T) {
	var many []v1alpha1.RestartStatus
	for range 60 {
		many = append(many, v1alpha1.RestartStatus{State: Unneeded}, v1alpha1.RestartStatus{State: Restarted})
	}
	many = append(many, v1alpha1.RestartStatus{State: Stuck}, v1alpha1.RestartStatus{State: Restarting})
	got := short(many)
	if len(got) != MostStatuses || got[len(got)-1].State != Restarting || got[len(got)-2].State != Stuck {
		t.Errorf("got %d, the last %+v, want %d with what is going on", len(got), got[len(got)-1], MostStatuses)
	}
}
