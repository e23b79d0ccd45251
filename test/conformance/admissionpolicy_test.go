package conformance

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy/celtest"
	"github.com/portcullis-dev/portcullis/policies/library"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// carriers are the kinds that carry pods, each with the resource and where the pod lies.
var carriers = map[string]struct {
	group, version, resource string
	path                     []string
}{
	"Pod":                   {"", "v1", "pods", nil},
	"PodTemplate":           {"", "v1", "podtemplates", []string{"template"}},
	"ReplicationController": {"", "v1", "replicationcontrollers", []string{"spec", "template"}},
	"Deployment":            {"apps", "v1", "deployments", []string{"spec", "template"}},
	"ReplicaSet":            {"apps", "v1", "replicasets", []string{"spec", "template"}},
	"StatefulSet":           {"apps", "v1", "statefulsets", []string{"spec", "template"}},
	"DaemonSet":             {"apps", "v1", "daemonsets", []string{"spec", "template"}},
	"Job":                   {"batch", "v1", "jobs", []string{"spec", "template"}},
	"CronJob":               {"batch", "v1", "cronjobs", []string{"spec", "jobTemplate", "spec", "template"}},
}

// carried is a request for an object of a kind that makes such pods.
func carried(t *testing.T, kind string, pod *corev1.Pod) admission.Request {
	t.Helper()
	c := carriers[kind]
	object := map[string]any{"metadata": pod.ObjectMeta, "spec": pod.Spec}
	for _, field := range slices.Backward(c.path) {
		object = map[string]any{field: object}
	}
	object["apiVersion"], object["kind"] = c.version, kind
	if c.group != "" {
		object["apiVersion"] = c.group + "/" + c.version
	}
	if kind != "Pod" {
		object["metadata"] = metav1.ObjectMeta{Name: "test", Namespace: "test"}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	request := podRequest(admission.DoorAdmission, raw)
	request.Resource = metav1.GroupVersionResource{Group: c.group, Version: c.version, Resource: c.resource}
	request.Kind = metav1.GroupVersionKind{Group: c.group, Version: c.version, Kind: kind}
	return request
}

// everyList has the containers of a pod be of each kind in turn, by what makes it so.
var everyList = map[string]func(*corev1.PodSpec){
	"app": func(*corev1.PodSpec) {},
	"init": func(spec *corev1.PodSpec) {
		spec.InitContainers, spec.Containers = append(spec.InitContainers, spec.Containers...), []corev1.Container{}
	},
	"ephemeral": func(spec *corev1.PodSpec) {
		for _, c := range spec.Containers {
			spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(withoutRestart(c))})
		}
		spec.Containers = []corev1.Container{} // an API server has no null here
	},
}

// exportedStandards are the policies of the Pod Security Standards as API servers judge by them, by id.
func exportedStandards(t *testing.T) map[string]*celtest.Policy {
	t.Helper()
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	bundle.Manifest = policies.Manifest{APIVersion: policies.APIVersion, Kind: "Bundle", Name: "pss", Serial: 1}
	controls := pssPolicies(t, bundle)
	for _, ids := range controls {
		for _, id := range ids {
			bundle.Manifest.Policies = append(bundle.Manifest.Policies, policies.Instance{Policy: id})
		}
	}
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	server, err := celtest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	compiled := map[string]*celtest.Policy{}
	for n := range result.Exported {
		if compiled[result.Exported[n].Policy], err = server.Compile(&result.Exported[n]); err != nil {
			t.Fatal(err)
		}
	}
	if len(compiled) < len(controls) {
		t.Fatalf("got %d exported, want one of each of %d controls: left %v", len(compiled), len(controls), result.Left)
	}
	return compiled
}

// refusing are the policies that refuse a request, sorted.
func refusing(t *testing.T, compiled map[string]*celtest.Policy, request *admission.Request, typed bool) []string {
	t.Helper()
	read, err := celtest.Read(request, typed)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for id, policy := range compiled {
		answer, err := policy.Judge(t.Context(), read)
		if err != nil {
			t.Fatalf("%s: %s: %v", id, request.Object, err)
		}
		if answer.Refused {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestEveryPodSecurityFixtureGetsTheSameVerdictFromExportedPolicies(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	compiled := exportedStandards(t)
	compared := 0
	for _, f := range fixtures(t) {
		if f.version != latest {
			continue
		}
		for kind := range carriers {
			for list, move := range everyList {
				if list != "app" && kind != "Pod" {
					continue // they are one list by then, whatever the kind
				}
				pod := f.pod.DeepCopy()
				move(&pod.Spec)
				request := carried(t, kind, pod)
				want := admission.Policies(reviewer.Review(t.Context(), request).Findings)
				compared++
				if got := refusing(t, compiled, &request, true); !slices.Equal(got, want) {
					t.Errorf("%s as %s, %s containers: refused by %v, by their rules %v", f.file, kind, list, got, want)
				}
			}
		}
	}
	if compared < 1000 {
		t.Errorf("got %d comparisons, want a thousand at least", compared)
	}
	t.Logf("%d requests", compared)
}

// An update is judged, and passed over, as the webhook does it (docs/adr/0005).
func TestUpdatesAreJudgedByExportedPoliciesWhereTheRulesJudgeThem(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	compiled := exportedStandards(t)
	yes := true
	old := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "test", Namespace: "test", Annotations: map[string]string{"a": "b"}}, Spec: corev1.PodSpec{
		HostNetwork: true, SchedulingGates: []corev1.PodSchedulingGate{{Name: "a"}}, Containers: []corev1.Container{{Name: "app", Image: "app:1", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}},
	}}
	for name, change := range map[string]func(*corev1.Pod){
		"nothing changes":  func(*corev1.Pod) {},
		"a label changes":  func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} },
		"an image changes": func(p *corev1.Pod) { p.Spec.Containers[0].Image = "app:2" },
		"a container is added": func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "b", Image: "b"})
		},
		"an ephemeral container is added": func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "b", Image: "b"}}}
		},
		"a toleration is added":        func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "a"}} },
		"a node is chosen by affinity": func(p *corev1.Pod) { p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}} },
		"a scheduling gate goes":       func(p *corev1.Pod) { p.Spec.SchedulingGates = nil },
		"an annotation sets AppArmor": func(p *corev1.Pod) {
			p.Annotations["container.apparmor.security.beta.kubernetes.io/app"] = "unconfined"
		},
		"another annotation changes":       func(p *corev1.Pod) { p.Annotations["a"] = "c" },
		"a field of the pod is taken away": func(p *corev1.Pod) { p.Spec.HostNetwork = false },
	} {
		t.Run(name, func(t *testing.T) {
			pod := old.DeepCopy()
			change(pod)
			for kind := range carriers {
				request, before := carried(t, kind, pod), carried(t, kind, old)
				request.Operation, request.OldObject = "UPDATE", before.Object
				want := admission.Policies(reviewer.Review(t.Context(), request).Findings)
				for _, typed := range []bool{true, false} {
					if got := refusing(t, compiled, &request, typed); !slices.Equal(got, want) {
						t.Errorf("%s: refused by %v, by their rules %v", kind, got, want)
					}
				}
			}
		})
	}
}
