package backup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	object := &unstructured.Unstructured{}
	if err == nil {
		err = object.UnmarshalJSON(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// put restores one object where another one of its name may be, and returns it as it is then.
func put(t *testing.T, was, there string, change func(*Restore)) (*restoring, *unstructured.Unstructured) {
	t.Helper()
	object := parse(t, was)
	kind := Find(object.GetKind())
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{kind.Resource: kind.Kind + "List"})
	if there != "" {
		if err := client.Tracker().Create(kind.Resource, parse(t, there), object.GetNamespace()); err != nil {
			t.Fatal(err)
		}
	}
	r := Restore{Dynamic: client, Namespace: own, Apply: true, Now: func() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }}
	if change != nil {
		change(&r)
	}
	run := &restoring{Restore: r, report: &Report{}, kind: kind, count: map[Outcome]int{}, uids: map[types.UID]types.UID{}}
	if err := run.object(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	now, err := run.at(object).Get(t.Context(), object.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return run, now
}

const (
	aBundle    = `{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyBundle, metadata: {name: p}, spec: {interval: 10s}`
	quarantine = `{apiVersion: runtime.portcullis.dev/v1alpha1, kind: Quarantine, metadata: {name: q}, spec: {pod: {namespace: shop, name: web, uid: u, node: a}`
	push       = `{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultPush, metadata: {name: p, namespace: shop}, spec: {auth: vault, destination: {path: `
	contained  = `}, status: {phase: Contained}}`
)

func first(told []Told) string {
	if len(told) == 0 {
		return ""
	}
	return told[0].Why
}

// Without the status an old serial would be the first one.
func TestAStatusIsRestoredWhereTheSpecHasChangedSince(t *testing.T) {
	const active = `, status: {active: {digest: "sha256:1"}, maxSerial: 7, rejected: [{digest: "sha256:0"}]}}`
	run, now := put(t, aBundle+active, strings.Replace(aBundle, "10s", "20s", 1)+`, status: {conditions: []}}`, nil)
	serial, _, _ := unstructured.NestedInt64(now.Object, "status", "maxSerial")
	rejected, _, _ := unstructured.NestedSlice(now.Object, "status", "rejected")
	interval, _, _ := unstructured.NestedString(now.Object, "spec", "interval")
	if run.count[Completed] != 1 || serial != 7 || len(rejected) != 1 || interval != "20s" || !strings.Contains(first(run.report.Differing), "its status, which said nothing, is that of the archive") {
		t.Errorf("got %v, the serial %d, %v rejected, the interval %s, and %v is told; want the status alone to be restored, and that to be said", run.count, serial, rejected, interval, run.report.Differing)
	}
	run, now = put(t, aBundle+active, strings.Replace(aBundle, "10s", "20s", 1)+`, status: {active: {digest: "sha256:2"}, maxSerial: 8}}`, nil)
	if serial, _, _ := unstructured.NestedInt64(now.Object, "status", "maxSerial"); run.count[Differs] != 1 || serial != 8 {
		t.Errorf("got %v and the serial %d, want a status that says something to stay", run.count, serial)
	}
	// A version is one of a path: of another path it would have what somebody else wrote overwritten.
	run, now = put(t, push+`old}}, status: {version: 3, hash: h}}`, push+`new}}}`, nil)
	if _, there := now.Object["status"]; there || run.count[Failed] != 1 || !strings.Contains(first(run.report.Failures), "see which of them is right") {
		t.Errorf("got %v, %v is told, and its status is %v; want it to be refused", run.count, run.report.Failures, now.Object["status"])
	}
}

func TestWhatWasTakenBackIsListedAndStaysTakenBack(t *testing.T) {
	only := func(r *Restore) { r.Overwrite, r.Only = true, []*Kind{Find("Quarantine")} }
	overwrite := func(r *Restore) { r.Overwrite = true }
	const came = "Contained, about the pod shop/web on the node a"
	for name, test := range map[string]struct {
		was, there string
		change     func(*Restore)
		outcome    Outcome
		phase      string
		returning  string
		differing  string
	}{
		"one that is not there":                 {quarantine + contained, "", nil, Created, "Contained", came, ""},
		"one that is over":                      {quarantine + `}, status: {phase: Released}}`, "", nil, Created, "Released", "", ""},
		"one without a status":                  {quarantine + contained, quarantine + `}}`, nil, Completed, "Contained", came, ""},
		"one that was released since":           {quarantine + contained, quarantine + `, release: {by: ada}}, status: {phase: Released}}`, overwrite, Differs, "Released", "", "it is over here"},
		"one that is being released":            {quarantine + contained, quarantine + `, release: {by: ada}}, status: {phase: Contained}}`, overwrite, Differs, "Contained", "", "it is over here"},
		"one whose release waits for a status":  {quarantine + contained, quarantine + `, release: {by: ada}}}`, overwrite, Completed, "Contained", came, "its spec says something else here, and stays"},
		"one that expired":                      {quarantine + contained, quarantine + `}, status: {phase: Released}}`, nil, Differs, "Released", "", "--overwrite together with --only quarantines"},
		"one that was released, and is named":   {quarantine + contained, quarantine + `, release: {by: ada}}, status: {phase: Released}}`, only, Overwritten, "Contained", came + "; it said something else here", ""},
		"one that says something else in force": {quarantine + contained, quarantine + `}, status: {phase: Containing}}`, overwrite, Overwritten, "Contained", came + "; it said something else here", ""},
	} {
		t.Run(name, func(t *testing.T) {
			run, now := put(t, test.was, test.there, test.change)
			if got := string(phaseOf(now)); run.count[test.outcome] != 1 || got != test.phase {
				t.Errorf("got %v and the phase %s, want the outcome %d and the phase %s; failures: %v", run.count, got, test.outcome, test.phase, run.report.Failures)
			}
			if got := first(run.report.Returning); got != test.returning {
				t.Errorf("%q is said to come back, want %q", got, test.returning)
			}
			if got := first(run.report.Differing); (got == "") != (test.differing == "") || !strings.Contains(got, test.differing) {
				t.Errorf("%q is said to differ, want %q", got, test.differing)
			}
		})
	}
}

// A day in which nobody judged is no day of a trial.
func TestATrialBeginsAnew(t *testing.T) {
	const trial = `, status: {phase: Shadow, active: {digest: "sha256:1"}, candidate: {digest: "sha256:2", since: "2026-11-27T12:00:00Z"}, comparison: {requests: 9}}}`
	run, now := put(t, aBundle+trial, "", nil)
	since, _, _ := unstructured.NestedString(now.Object, "status", "candidate", "since")
	if _, compared, _ := unstructured.NestedMap(now.Object, "status", "comparison"); run.count[Created] != 1 || compared || since != "2026-11-29T12:00:00Z" {
		t.Errorf("got %v and the trial since %s, compared: %t; want it to begin now, with nothing compared", run.count, since, compared)
	}
	run, now = put(t, aBundle+trial, aBundle+strings.Replace(trial, "27T", "28T", 1), func(r *Restore) { r.Overwrite = true })
	if since, _, _ := unstructured.NestedString(now.Object, "status", "candidate", "since"); run.count[Kept] != 1 || since != "2026-11-28T12:00:00Z" {
		t.Errorf("got %v and the trial since %s, want one that goes on to be left alone", run.count, since)
	}
}

func TestALeaseIsHeldIfItIsRenewedWhileItIsObserved(t *testing.T) {
	lease := func(holder string, renewed time.Time, seconds int32) *coordinationv1.Lease {
		at := metav1.NewMicroTime(renewed)
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "portcullis-responder", Namespace: own}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &at, LeaseDurationSeconds: &seconds}}
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		lease  *coordinationv1.Lease
		after  time.Duration // when changed is written
		change *coordinationv1.Lease
		acting bool
		waits  time.Duration
	}{
		"none":                              {},
		"one that was released":             {lease: lease("", now, 15)},
		"renewed by a clock that is behind": {lease: lease("one", now.Add(-time.Hour), 15), after: 4 * time.Second, change: lease("one", now.Add(-time.Hour+4*time.Second), 15), acting: true, waits: 4 * time.Second},
		"taken over":                        {lease: lease("one", now, 15), after: 14 * time.Second, change: lease("two", now, 15), acting: true, waits: 14 * time.Second},
		"left by a clock that is ahead":     {lease: lease("one", now.Add(time.Hour), 15), waits: 16 * time.Second},
		"released meanwhile":                {lease: lease("one", now, 15), after: 2 * time.Second, change: lease("", now, 15), waits: 2 * time.Second},
		"of a duration that nobody sets":    {lease: lease("one", now, 0), waits: 16 * time.Second},
		"for longer than anybody waits":     {lease: lease("one", now.Add(-time.Hour), 600), acting: true},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: own}})
			if test.lease != nil {
				if err := client.Tracker().Add(test.lease); err != nil {
					t.Fatal(err)
				}
			}
			var waited time.Duration
			r := Restore{Client: client, Namespace: own, Sleep: func(_ context.Context, d time.Duration) error {
				waited += d
				if test.change != nil && waited == test.after {
					if _, err := client.CoordinationV1().Leases(own).Update(t.Context(), test.change, metav1.UpdateOptions{}); err != nil {
						t.Error(err)
					}
				}
				return nil
			}}
			acting, err := r.acting(t.Context(), []*Kind{Find("Quarantine"), Find("PolicyException")})
			if err != nil || slices.Contains(acting, "portcullis-responder") != test.acting || waited != test.waits {
				t.Errorf("got %v after %s, %v; want it to be held: %t, after %s", acting, waited, err, test.acting, test.waits)
			}
		})
	}
	t.Run("a wait that is interrupted", func(t *testing.T) {
		stopped := errors.New("stopped")
		client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: own}}, lease("one", now, 15))
		_, err := (Restore{Client: client, Namespace: own, Sleep: func(context.Context, time.Duration) error { return stopped }}).acting(t.Context(), []*Kind{Find("Quarantine")})
		if !errors.Is(err, stopped) {
			t.Errorf("got %v, want %v", err, stopped)
		}
	})
	t.Run("in a namespace that is not there", func(t *testing.T) {
		_, err := (Restore{Client: fake.NewClientset(), Namespace: "wrong"}).acting(t.Context(), []*Kind{Find("Quarantine")})
		if err == nil || !strings.Contains(err.Error(), "the namespace wrong is not there") || !strings.Contains(err.Error(), "by --namespace") {
			t.Errorf("got %v, want the namespace to be named", err)
		}
	})
}
