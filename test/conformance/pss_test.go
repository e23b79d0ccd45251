// Package conformance holds Portcullis against the programs whose rules it
// claims to apply.
package conformance

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psa "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// upstream is the latest version of each Pod Security check, by "level/id".
func upstream() map[string]psa.CheckPodFn {
	checks := map[string]psa.CheckPodFn{}
	for _, check := range psa.DefaultChecks() {
		checks[string(check.Level)+"/"+string(check.ID)] = check.Versions[len(check.Versions)-1].CheckPod
	}
	return checks
}

// pssPolicies maps each Pod Security control to the policies that claim it.
func pssPolicies(t testing.TB, bundle *policies.Bundle) map[string][]string {
	t.Helper()
	controls := map[string][]string{}
	for id, policy := range bundle.Policies {
		for _, control := range policy.Controls["pss"] {
			if slices.Contains(policy.Effects, policies.EffectDeny) {
				controls[control] = append(controls[control], id)
			}
		}
	}
	return controls
}

// pssReviewer judges with the Pod Security policies and nothing else.
func pssReviewer(t testing.TB) (*admission.Reviewer, map[string][]string) {
	t.Helper()
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	controls := pssPolicies(t, bundle)
	bundle.Manifest = policies.Manifest{APIVersion: policies.APIVersion, Kind: "Bundle", Name: "pss", Serial: 1}
	for _, ids := range controls {
		for _, id := range ids {
			bundle.Manifest.Policies = append(bundle.Manifest.Policies, policies.Instance{Policy: id})
		}
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return admission.NewReviewer(engine, nil, time.Now), controls
}

// fixture is one pod of the upstream test data.
type fixture struct {
	level, version string
	fails          bool
	file           string
	pod            *corev1.Pod
	raw            []byte
}

// fixtureRoot is the folder of the upstream test data.
func fixtureRoot(t testing.TB) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatalf("finding the module of the fixtures: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "test", "testdata")
}

// fixtures reads all pods that k8s.io/pod-security-admission is tested with.
func fixtures(t testing.TB) []fixture {
	t.Helper()
	root := fixtureRoot(t)
	files, err := filepath.Glob(filepath.Join(root, "*", "*", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []fixture
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{file: strings.TrimPrefix(file, root+"/"), pod: &corev1.Pod{}}
		parts := strings.Split(f.file, "/")
		f.level, f.version, f.fails = parts[0], parts[1], parts[2] == "fail"
		if f.raw, err = yaml.YAMLToJSON(content); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(f.raw, f.pod); err != nil {
			t.Fatal(err)
		}
		defaultVolumes(f.pod)
		all = append(all, f)
	}
	return all
}

// defaultVolumes does what the API server does before any admission plugin sees a
// pod (SetDefaults_Volume in k8s.io/kubernetes/pkg/apis/core/v1): a volume without
// a source is an emptyDir. Upstream's checks rely on it, our normal form does it.
func defaultVolumes(pod *corev1.Pod) {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.VolumeSource == (corev1.VolumeSource{}) {
			v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
}

func podRequest(door admission.Door, raw []byte) admission.Request {
	return admission.Request{
		Door: door, Operation: "CREATE", Namespace: "test", Name: "test",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:   raw,
	}
}

// difference compares our findings with upstream's checks, control by control.
func difference(controls map[string][]string, checks map[string]psa.CheckPodFn, pod *corev1.Pod, verdict admission.Verdict) []string {
	found := admission.Policies(verdict.Findings)
	var differences []string
	for control, check := range checks {
		want := !check(&pod.ObjectMeta, &pod.Spec).Allowed
		got := slices.ContainsFunc(controls[control], func(id string) bool { return slices.Contains(found, id) })
		if want != got {
			differences = append(differences, control+": upstream denies "+yes(want)+", we deny "+yes(got))
		}
	}
	for _, fault := range verdict.Faults {
		differences = append(differences, "fault: "+fault.Policy+": "+fault.Message)
	}
	slices.Sort(differences)
	return differences
}

// latest is the version of the standards that the library's policies implement.
const latest = "v1.37"

// deniedAt says whether a level refuses the pod; restricted includes baseline.
func deniedAt(level string, controls map[string][]string, verdict admission.Verdict) bool {
	found := admission.Policies(verdict.Findings)
	for control, ids := range controls {
		if level == "baseline" && strings.HasPrefix(control, "restricted/") {
			continue
		}
		if slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(found, id) }) {
			return true
		}
	}
	return false
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func TestEachPodSecurityControlIsAPolicyOfItsOwn(t *testing.T) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	controls := pssPolicies(t, bundle)
	for control := range upstream() {
		if len(controls[control]) != 1 {
			t.Errorf("control %s: want one policy, got %v", control, controls[control])
		}
		delete(controls, control)
	}
	for control, ids := range controls {
		t.Errorf("policies %v claim %s, which upstream does not have", ids, control)
	}
}

func TestEveryPodSecurityFixtureGetsUpstreamsVerdictControlByControl(t *testing.T) {
	reviewer, controls := pssReviewer(t)
	checks := upstream()
	all := fixtures(t)
	if len(all) < 4537 {
		t.Errorf("got %d fixtures, want at least the 4,537 of v0.37.2", len(all))
	}
	for _, f := range all {
		verdict := reviewer.Review(context.Background(), podRequest(admission.DoorAdmission, f.raw))
		for _, d := range difference(controls, checks, f.pod, verdict) {
			t.Errorf("%s: %s", f.file, d)
		}
		if f.version == latest && f.fails != deniedAt(f.level, controls, verdict) {
			t.Errorf("%s: got denied %s", f.file, yes(!f.fails))
		}
	}
}
