package conformance

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	corev1 "k8s.io/api/core/v1"
)

// A verdict must not depend on how the same thing is written. Each of these
// rewrites every upstream fixture of the latest version and compares.

// rewritten are the policies that deny the pod after a change of it.
func rewritten(t *testing.T, reviewer *admission.Reviewer, f fixture, change func(*corev1.Pod)) []string {
	t.Helper()
	pod := f.pod.DeepCopy()
	change(pod)
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	verdict := reviewer.Review(context.Background(), podRequest(admission.DoorAdmission, raw))
	if len(verdict.Faults) > 0 {
		t.Errorf("%s: fault: %s", f.file, verdict.Faults[0].Message)
	}
	return admission.Policies(verdict.Findings)
}

func TestAContainerIsJudgedAlikeInEveryList(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	for _, f := range fixtures(t) {
		if f.version != latest || len(f.pod.Spec.Containers) == 0 {
			continue
		}
		want := rewritten(t, reviewer, f, func(*corev1.Pod) {})
		for list, move := range map[string]func(*corev1.PodSpec, corev1.Container){
			"init": func(spec *corev1.PodSpec, c corev1.Container) {
				spec.InitContainers = append(spec.InitContainers, c)
			},
			"sidecar": func(spec *corev1.PodSpec, c corev1.Container) {
				always := corev1.ContainerRestartPolicyAlways
				c.RestartPolicy = &always
				spec.InitContainers = append(spec.InitContainers, c)
			},
			"ephemeral": func(spec *corev1.PodSpec, c corev1.Container) {
				spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{
					EphemeralContainerCommon: corev1.EphemeralContainerCommon(withoutRestart(c)),
				})
			},
		} {
			got := rewritten(t, reviewer, f, func(pod *corev1.Pod) {
				containers := pod.Spec.Containers
				pod.Spec.Containers = nil
				for _, c := range containers {
					move(&pod.Spec, c)
				}
			})
			if !slices.Equal(got, want) {
				t.Errorf("%s: as %s containers denied by %v, as regular ones by %v", f.file, list, got, want)
			}
		}
	}
}

// withoutRestart drops the field that ephemeral containers do not share.
func withoutRestart(c corev1.Container) corev1.Container {
	c.RestartPolicy = nil
	return c
}

func TestAPodIsJudgedAlikeWithItsDefaultsSpelledOut(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	for _, f := range fixtures(t) {
		if f.version != latest {
			continue
		}
		want := rewritten(t, reviewer, f, func(*corev1.Pod) {})
		got := rewritten(t, reviewer, f, spellDefaultsOut)
		if !slices.Equal(got, want) {
			t.Errorf("%s: with defaults spelled out denied by %v, without by %v", f.file, got, want)
		}
	}
}

// spellDefaultsOut writes what the API server would fill in.
func spellDefaultsOut(pod *corev1.Pod) {
	spec := &pod.Spec
	spec.RestartPolicy, spec.DNSPolicy, spec.SchedulerName = corev1.RestartPolicyAlways, corev1.DNSClusterFirst, "default-scheduler"
	if spec.HostUsers == nil {
		hostUsers := true
		spec.HostUsers = &hostUsers
	}
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		c.TerminationMessagePath, c.TerminationMessagePolicy = "/dev/termination-log", corev1.TerminationMessageReadFile
		for p := range c.Ports {
			if c.Ports[p].Protocol == "" {
				c.Ports[p].Protocol = corev1.ProtocolTCP
			}
		}
		if c.SecurityContext != nil && c.SecurityContext.ProcMount == nil {
			mount := corev1.DefaultProcMount
			c.SecurityContext.ProcMount = &mount
		}
	}
}

func TestAnImageIsJudgedAlikeHoweverItsReferenceIsWritten(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	for _, f := range fixtures(t) {
		if f.version != latest {
			continue
		}
		want := rewritten(t, reviewer, f, func(*corev1.Pod) {})
		for _, reference := range []string{"nginx", "library/nginx", "docker.io/nginx", "index.docker.io/library/nginx:latest"} {
			got := rewritten(t, reviewer, f, func(pod *corev1.Pod) {
				for i := range pod.Spec.Containers {
					pod.Spec.Containers[i].Image = reference
				}
			})
			if !slices.Equal(got, want) {
				t.Errorf("%s: with image %s denied by %v, else by %v", f.file, reference, got, want)
			}
		}
	}
}

func TestATemplateIsJudgedAsThePodItMakes(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	for _, f := range fixtures(t) {
		if f.version != latest {
			continue
		}
		want := rewritten(t, reviewer, f, func(*corev1.Pod) {})
		template, err := json.Marshal(map[string]any{"metadata": f.pod.ObjectMeta, "spec": f.pod.Spec})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"} {
			request := podRequest(admission.DoorAdmission, []byte(`{"apiVersion":"apps/v1","kind":"`+kind+`","metadata":{"name":"x"},"spec":{"template":`+string(template)+`}}`))
			request.Kind.Group, request.Kind.Kind = "apps", kind
			request.Resource.Group, request.Resource.Resource = "apps", strings.ToLower(kind)+"s"
			if got := admission.Policies(reviewer.Review(context.Background(), request).Findings); !slices.Equal(got, want) {
				t.Errorf("%s: in a %s denied by %v, as a pod by %v", f.file, kind, got, want)
			}
		}
	}
}
