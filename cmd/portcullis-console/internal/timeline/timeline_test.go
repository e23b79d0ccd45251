package timeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scan "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secret "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// at is some minutes after noon.
func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func micro(minutes int) *metav1.MicroTime {
	t := metav1.NewMicroTime(at(minutes))
	return &t
}

func meta(minutes int) metav1.Time { return metav1.NewTime(at(minutes)) }

func TestATimelineTellsTheStoryInOrder(t *testing.T) {
	finished, synced := meta(3), meta(4)
	got := Of(Facts{
		Kind: "Deployment", Meta: metav1.ObjectMeta{Name: "web", CreationTimestamp: meta(2), Annotations: map[string]string{GateAnnotation: "admitted 2026-11-29T12:01:00Z run 4711"}},
		Pods:    []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "web-1", CreationTimestamp: meta(5)}}},
		Scans:   []scan.ImageScan{{Spec: scan.ImageScanSpec{RequestedAt: meta(0)}, Status: scan.ImageScanStatus{Phase: scan.PhaseDone, State: "complete", FinishedAt: &finished}}},
		Secrets: []secret.VaultSecret{{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Status: secret.VaultSecretStatus{LastSync: &synced}}},
		Quarantines: []v1alpha1.Quarantine{{
			ObjectMeta: metav1.ObjectMeta{Name: "q", CreationTimestamp: meta(8)},
			Spec:       v1alpha1.QuarantineSpec{Triggers: []v1alpha1.Trigger{{Rule: "Shell", Time: *micro(7)}}, Approval: &v1alpha1.Statement{By: "ann", Time: meta(9)}, Release: &v1alpha1.Statement{By: "ann", Time: meta(12)}},
			Status:     v1alpha1.QuarantineStatus{Steps: []v1alpha1.Step{{Name: "isolate", State: v1alpha1.StepDone, Finished: micro(10)}, {Name: "never begun"}}, Contained: micro(11), Verdict: "Isolated", Ended: micro(13), Phase: v1alpha1.PhaseReleased},
		}},
		Decisions:      []decisions.Entry{{Time: at(6), Operation: "CREATE", Kind: "Pod", Name: "web-1", Verdict: "admitted"}},
		Events:         []corev1.Event{{Reason: "Pulled", LastTimestamp: meta(14)}, {Reason: "Undated"}},
		QuarantineLink: func(name string) string { return "/" + name },
	})
	var titles []string
	for n, event := range got {
		if n > 0 && event.Time.Before(got[n-1].Time) {
			t.Errorf("%q is before %q", event.Title, got[n-1].Title)
		}
		if event.Source == SourceQuarantine && event.Link != "/q" {
			t.Errorf("%q leads to %q", event.Title, event.Link)
		}
		titles = append(titles, event.Title)
	}
	want := []string{
		"Scan asked for", "The gate, as an annotation says", "Deployment created", "Scan finished: complete", "Secret synced from Vault", "Pod created", "CREATE Pod web-1 admitted", "Falco: Shell",
		"Quarantine planned", "Approved by ann", "Step isolate: Done", "Contained: Isolated", "Released by ann", "Quarantine over: Released", "Event Pulled:  ",
	}
	if !slices.Equal(titles, want) {
		t.Errorf("got\n%q\nwant\n%q", titles, want)
	}
}

func TestATimelineIsBoundedAndKeepsTheNewest(t *testing.T) {
	var f Facts
	for n := range 2 * maxEvents {
		f.Events = append(f.Events, corev1.Event{Reason: fmt.Sprint(n), LastTimestamp: meta(n)})
	}
	got := Of(f)
	if len(got) != maxEvents || !strings.Contains(got[len(got)-1].Title, fmt.Sprint(2*maxEvents-1)) {
		t.Errorf("got %d, the last %q", len(got), got[len(got)-1].Title)
	}
}

func TestSecretsThatAPodRefersTo(t *testing.T) {
	name := func(n string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: n} }
	spec := corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{name("pull")},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: name("projected")}}}}}},
		},
		InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: name("all")}}}}},
		Containers:     []corev1.Container{{Env: []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: name("key")}}}, {Value: "plain"}}}},
	}
	if got, want := SecretsOf(&spec), []string{"all", "key", "projected", "pull", "volume"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatConcernsAWorkload(t *testing.T) {
	web := Workload{"shop", "Deployment", "web"}
	of := func(namespace, pod string, owner *v1alpha1.OwnerReference) *v1alpha1.Quarantine {
		return &v1alpha1.Quarantine{Spec: v1alpha1.QuarantineSpec{Pod: v1alpha1.PodReference{Namespace: namespace, Name: pod}, Owner: owner}}
	}
	deployment := &v1alpha1.OwnerReference{Kind: "Deployment", Name: "web"}
	for name, test := range map[string]struct {
		q    *v1alpha1.Quarantine
		want bool
	}{
		"of a pod of it":              {of("shop", "web-1", nil), true},
		"of a pod that is gone":       {of("shop", "web-0", deployment), true},
		"of a pod by its direct one":  {of("shop", "web-0", &v1alpha1.OwnerReference{Kind: "X", Name: "x", Direct: deployment}), true},
		"of another":                  {of("shop", "api-1", &v1alpha1.OwnerReference{Kind: "Deployment", Name: "api"}), false},
		"of its name in another room": {of("bank", "web-1", deployment), false},
	} {
		if got := web.OfQuarantine(test.q, []string{"web-1"}); got != test.want {
			t.Errorf("a quarantine %s: got %t", name, got)
		}
	}
	for name, test := range map[string]struct {
		spec v1alpha1.IncidentSpec
		want bool
	}{
		"of its image":                   {v1alpha1.IncidentSpec{Digest: "sha256:1"}, true},
		"of its image elsewhere":         {v1alpha1.IncidentSpec{Digest: "sha256:1", Namespaces: []string{"bank*"}}, false},
		"of its image in such places":    {v1alpha1.IncidentSpec{Digest: "sha256:1", Namespaces: []string{"sho?"}}, true},
		"of another image":               {v1alpha1.IncidentSpec{Digest: "sha256:2"}, false},
		"of nothing":                     {v1alpha1.IncidentSpec{}, false},
		"of its service account":         {v1alpha1.IncidentSpec{ServiceAccount: &v1alpha1.ServiceAccountReference{Namespace: "shop", Name: "web"}}, true},
		"of an account of another place": {v1alpha1.IncidentSpec{ServiceAccount: &v1alpha1.ServiceAccountReference{Namespace: "bank", Name: "web"}}, false},
		"of itself":                      {v1alpha1.IncidentSpec{Owner: &v1alpha1.IncidentOwner{Namespace: "shop", Kind: "Deployment", Name: "web"}}, true},
	} {
		if got := web.OfIncident(&v1alpha1.Incident{Spec: test.spec}, []string{"sha256:1"}, []string{"web"}); got != test.want {
			t.Errorf("an incident %s: got %t", name, got)
		}
	}
}
