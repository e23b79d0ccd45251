package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// denied is a decision about the creation of a pod.
func denied(namespace, metadata string, change ...func(*admission.Decision)) *admission.Decision {
	d := &admission.Decision{
		ID: "0d1b0e2c", Time: noon, Outcome: "denied",
		Request: admission.Request{
			Operation: "CREATE", Namespace: namespace, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Object: []byte(`{"kind":"Pod","apiVersion":"v1","metadata":` + metadata + `,"spec":{"containers":[]}}`),
		},
		Verdict: admission.Verdict{Findings: []policies.Finding{{Policy: "pods/privileged", Effect: policies.EffectDeny, Message: "is privileged"}}},
	}
	for _, c := range change {
		c(d)
	}
	return d
}

const owned = `{"generateName":"web-","namespace":"shop","ownerReferences":[{"apiVersion":"v1","kind":"Thing","name":"other","uid":"1"},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","uid":"2","controller":true}]}`

func TestWhatAnEventIsAbout(t *testing.T) {
	update := func(d *admission.Decision) {
		d.Request.Operation, d.Request.Name, d.Request.OldObject = "UPDATE", "web", d.Request.Object
	}
	sub := func(subresource, kind string) func(*admission.Decision) {
		return func(d *admission.Decision) {
			d.Request.SubResource, d.Request.Kind.Kind, d.Request.Name = subresource, kind, "web"
		}
	}
	admitted := func(d *admission.Decision) { d.Verdict.Admitted = true }
	for name, test := range map[string]struct {
		decision *admission.Decision
		want     string // kind namespace/name uid
		related  string
	}{
		"a pod that is created is told of at its controller": {denied("shop", owned), "ReplicaSet shop/web-1 2", "Pod shop/web- "},
		"without an owner at its namespace":                  {denied("shop", `{"name":"web","uid":"9"}`), "Namespace shop/shop ", "Pod shop/web "},
		"nodes own pods of other namespaces than theirs":     {denied("shop", `{"name":"web","ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"3"}]}`), "Namespace shop/shop ", "Pod shop/web "},
		"an owner whose name is no name":                     {denied("shop", `{"name":"web","ownerReferences":[{"apiVersion":"v1","kind":"A","name":"`+strings.Repeat("x", 300)+`","uid":"3"}]}`), "Namespace shop/shop ", "Pod shop/web "},
		"an object that is changed is there":                 {denied("shop", `{"name":"web","uid":"9"}`, update), "Pod shop/web 9", ""},
		"one that is admitted with warnings will be there":   {denied("shop", `{"name":"web","uid":"9"}`, admitted), "Pod shop/web 9", ""},
		"exec is about the pod":                              {denied("shop", `null`, update, sub("exec", "PodExecOptions")), "Pod shop/web ", ""},
		"an eviction is about the pod":                       {denied("shop", `{"name":"web"}`, sub("eviction", "Eviction")), "Pod shop/web ", ""},
		"metadata that make no sense":                        {denied("shop", `"x"`), "Namespace shop/shop ", "Pod shop/ "},
		"an object that is no JSON":                          {denied("shop", `{{{`), "Namespace shop/shop ", "Pod shop/ "},
		"what is of no namespace": {denied("", `{"name":"admin:all"}`, func(d *admission.Decision) {
			d.Request.Resource, d.Request.Kind = metav1.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, metav1.GroupVersionKind{Kind: "ClusterRole"}
		}), "ClusterRole /admin:all ", ""},
		"a namespace": {denied("new", `{"name":"new"}`, func(d *admission.Decision) {
			d.Request.Resource, d.Request.Kind, d.Request.Name = metav1.GroupVersionResource{Version: "v1", Resource: "namespaces"}, metav1.GroupVersionKind{Kind: "Namespace"}, "new"
		}), "Namespace /new ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			regarding, related := about(&test.decision.Request, test.decision.Verdict.Admitted)
			text := func(r corev1.ObjectReference) string {
				return fmt.Sprintf("%s %s/%s %s", r.Kind, r.Namespace, r.Name, r.UID)
			}
			if got := text(regarding); got != test.want {
				t.Errorf("it regards %q, want %q", got, test.want)
			}
			if got := related; got == nil && test.related != "" || got != nil && text(*got) != test.related {
				t.Errorf("it relates to %v, want %q", got, test.related)
			}
		})
	}
}

func TestWhatThereIsToTell(t *testing.T) {
	warned := []policies.Finding{{Policy: "pods/limits", Effect: policies.EffectWarn, Enforcement: policies.EnforceWarn, Message: "has no limits"}}
	for name, test := range map[string]struct {
		change func(*admission.Decision)
		reason string // "" for nothing
		note   string
	}{
		"a denial":          {func(*admission.Decision) {}, ReasonDenied, "denied CREATE of pods: pods/privileged: is privileged (decision 0d1b0e2c)"},
		"a dry run":         {func(d *admission.Decision) { d.Request.DryRun = true }, "", ""},
		"what was shed":     {func(d *admission.Decision) { d.Reason, d.Verdict.Findings = "overloaded", nil }, "", ""},
		"what was not read": {func(d *admission.Decision) { d.Request = admission.Request{UID: "x"} }, "", ""},
		"what nobody keeps": {func(d *admission.Decision) { d.ID = "" }, ReasonDenied, "denied CREATE of pods: pods/privileged: is privileged"},
		"an admission":      {func(d *admission.Decision) { d.Verdict = admission.Verdict{Admitted: true} }, "", ""},
		"a warning":         {func(d *admission.Decision) { d.Verdict = admission.Verdict{Admitted: true, Findings: warned} }, ReasonWarned, "admitted with warnings: CREATE of pods: pods/limits: has no limits (decision 0d1b0e2c)"},
		"a warning of a patch": {func(d *admission.Decision) {
			d.Mutation, d.Verdict = true, admission.Verdict{Admitted: true, Findings: warned}
		}, "", ""},
		"an exception": {func(d *admission.Decision) {
			d.Verdict.Admitted, d.Verdict.Findings[0].ExceptedBy = true, "shop/legacy"
		}, "", ""},
		"a fault": {func(d *admission.Decision) {
			d.Verdict = admission.Verdict{Faults: []policies.Fault{{Kind: policies.FaultDeadline, Message: "too slow"}}}
		}, ReasonNotJudged, "denied CREATE of pods: all policies: " + string(policies.FaultDeadline) + ": too slow (decision 0d1b0e2c)"},
		"credentials and lines": {func(d *admission.Decision) {
			d.Request.SubResource, d.Request.Name = "exec", "web"
			d.Verdict.Findings[0].Message = "runs --password=hunter2\nand more"
		}, ReasonDenied, "denied CREATE of pods/exec web: pods/privileged: runs --password=[redacted] and more (decision 0d1b0e2c)"},
	} {
		t.Run(name, func(t *testing.T) {
			d := denied("shop", `{"name":"web"}`)
			test.change(d)
			reason, ok := reasonOf(d)
			if reason != test.reason || ok != (test.reason != "") {
				t.Fatalf("the reason is %q, want %q", reason, test.reason)
			}
			if !ok {
				return
			}
			if note, _ := noteOf(d, reason); note != test.note {
				t.Errorf("the note is %q, want %q", note, test.note)
			}
		})
	}
}

func TestANoteFits(t *testing.T) {
	d := denied("shop", `{}`)
	for range 200 {
		d.Verdict.Findings = append(d.Verdict.Findings, policies.Finding{Policy: "pods/ü", Effect: policies.EffectDeny, Message: strings.Repeat("ü", 700)})
	}
	note, _ := noteOf(d, ReasonDenied)
	if len(note) > maxNote || !strings.HasSuffix(note, "… (decision 0d1b0e2c)") {
		t.Errorf("the note has %d bytes and ends in %q, want %d and the decision", len(note), note[len(note)-40:], maxNote)
	}
}

// clock is what a test sets.
type clock struct {
	mu   sync.Mutex
	now  time.Time
	tick chan time.Time
}

func (c *clock) at(after time.Duration) { c.mu.Lock(); c.now = noon.Add(after); c.mu.Unlock() }
func (c *clock) read() time.Time        { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

// running is a Writer that writes to a fake cluster.
func running(t *testing.T, options Options) (*Writer, *fake.Clientset, *clock) {
	t.Helper()
	cluster, c := fake.NewClientset(), &clock{now: noon, tick: make(chan time.Time)}
	options.Client, options.Now, options.Tick, options.Instance = cluster.EventsV1(), c.read, func(time.Duration) <-chan time.Time { return c.tick }, "webhook-0"
	w, err := NewWriter(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return w, cluster, c
}

// counts waits until so many decisions have become something.
func counts(t *testing.T, w *Writer, want map[string]float64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // polls a condition
		wrong := ""
		for result, n := range want {
			if got := testutil.ToFloat64(w.results.WithLabelValues(result)); got != n {
				wrong += fmt.Sprintf("%s is %v, want %v; ", result, got, n)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
	}
}

func written(t *testing.T, cluster *fake.Clientset, namespace string) []eventsv1.Event {
	t.Helper()
	list, err := cluster.EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestRepeatsAreOneEvent(t *testing.T) {
	w, cluster, c := running(t, Options{})
	for n := range 5 {
		w.Record(t.Context(), denied("shop", strings.ReplaceAll(owned, `"generateName":"web-"`, fmt.Sprintf(`"generateName":"web-","name":"web-%d"`, n))))
	}
	w.Record(t.Context(), denied("shop", `{"name":"other"}`))
	counts(t, w, map[string]float64{resultCreated: 2, resultCounted: 4})
	c.tick <- noon // too early for a write
	c.at(seriesEvery)
	c.tick <- noon
	c.tick <- noon // the one before has been dealt with
	patched := 0
	for _, action := range cluster.Actions() {
		if patch, ok := action.(clienttesting.PatchAction); ok {
			patched++
			var body struct{ Series eventsv1.EventSeries }
			if err := json.Unmarshal(patch.GetPatch(), &body); err != nil || body.Series.Count != 5 || !body.Series.LastObservedTime.Time.Equal(noon) {
				t.Errorf("the patch is %s, want a series of 5", patch.GetPatch())
			}
		}
	}
	if patched != 1 {
		t.Errorf("the series is written %d times, want once", patched)
	}
	d := denied("shop", owned)
	d.Time = noon.Add(seriesEnd)
	w.Record(t.Context(), d)
	counts(t, w, map[string]float64{resultCreated: 3})
	for _, e := range written(t, cluster, "shop") {
		if e.ReportingController != ReportingController || e.ReportingInstance != "webhook-0" || e.EventTime.IsZero() || e.Action != "Create" || e.Type != corev1.EventTypeWarning {
			t.Errorf("an Event is %+v", e)
		}
	}
}

func TestNamespacesHaveTheirLimitAndAllHaveOne(t *testing.T) {
	w, cluster, c := running(t, Options{NamespaceRate: 1, NamespaceBurst: 3, Rate: 1, Burst: 5})
	many := func(namespace string, from, n int) {
		for i := range n {
			w.Record(t.Context(), denied(namespace, fmt.Sprintf(`{"name":"web-%d"}`, from+i)))
		}
	}
	many("loud", 0, 20)
	counts(t, w, map[string]float64{resultCreated: 3, resultDropped: 17})
	many("quiet", 0, 3)
	counts(t, w, map[string]float64{resultCreated: 5, resultDropped: 18})
	c.at(2 * time.Second)
	many("loud", 20, 20)
	counts(t, w, map[string]float64{resultCreated: 7, resultDropped: 36})
	if got := len(written(t, cluster, "loud")); got != 5 {
		t.Errorf("%d Events are in the loud namespace, want 5", got)
	}
}

func TestWhoeverDecidesNeverWaits(t *testing.T) {
	w, err := NewWriter(Options{Client: fake.NewClientset().EventsV1()}) // nobody runs it
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * maxQueue {
		w.Record(t.Context(), denied("shop", owned))
	}
	counts(t, w, map[string]float64{resultDropped: 2 * maxQueue})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	cluster := fake.NewClientset()
	cluster.PrependReactor("create", "events", func(action clienttesting.Action) (bool, k8sruntime.Object, error) {
		return true, action.(clienttesting.CreateAction).GetObject(), nil
	})
	w, err := NewWriter(Options{Client: cluster.EventsV1(), NamespaceRate: 1e6, NamespaceBurst: 1e6, Rate: 1e6, Burst: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 * maxSeries {
		w.tell(t.Context(), telling{key: fmt.Sprint(n), regarding: corev1.ObjectReference{Namespace: fmt.Sprint("ns-", n), Name: "x"}, at: noon})
	}
	if len(w.series) != maxSeries || w.recent.Len() != maxSeries || len(w.limits) > maxNamespaces {
		t.Errorf("%d series, %d in order, limits of %d namespaces are kept, want %d at most", len(w.series), w.recent.Len(), len(w.limits), maxSeries)
	}
}

func TestAClusterThatTakesNoEventsIsSaidOnce(t *testing.T) {
	var log strings.Builder
	w, cluster, _ := running(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	var mu sync.Mutex
	fails := true
	cluster.PrependReactor("create", "events", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		if fails {
			return true, nil, errors.New("no answer")
		}
		return false, nil, nil
	})
	w.Record(t.Context(), denied("shop", `{"name":"a"}`))
	w.Record(t.Context(), denied("shop", `{"name":"b"}`))
	counts(t, w, map[string]float64{resultFailed: 2})
	mu.Lock()
	fails = false
	mu.Unlock()
	w.Record(t.Context(), denied("shop", `{"name":"b"}`)) // one that failed is not counted in an Event that is not there
	counts(t, w, map[string]float64{resultFailed: 2, resultCreated: 1})
	if got := log.String(); strings.Count(got, "was not written") != 1 || strings.Count(got, "written again") != 1 {
		t.Errorf("the log is %s, want when it began and when it ended", got)
	}
}

func TestNamesAreThoseOfTheAPI(t *testing.T) {
	for _, regarding := range []string{"", "web", "admin:ALL", "-.-", strings.Repeat("a.", 200), "ü"} {
		name := nameOf(regarding)
		if len(name) > 253 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || strings.ContainsAny(name[:1], ".-") || strings.Contains(name, "..") {
			t.Errorf("the name for %q is %q, want one of a DNS subdomain", regarding, name)
		}
	}
}

func FuzzReadMetadata(f *testing.F) {
	for _, raw := range []string{"", "{", `{"metadata":` + owned + `}`, `{"a":[{}],"metadata":null}`, `{"metadata":{"name":1}}`, `[]`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		request := &admission.Request{Operation: "CREATE", Namespace: "shop", Resource: metav1.GroupVersionResource{Resource: "pods"}, Object: raw}
		regarding, related := about(request, false)
		for _, r := range []*corev1.ObjectReference{&regarding, related} {
			if r != nil && (r.Namespace != "shop" || len(r.Name) > maxName || len(r.Kind) > maxKind || len(r.UID) > maxUID) {
				t.Errorf("of %q it is about %+v", raw, r)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	w, err := NewWriter(Options{Client: fake.NewClientset().EventsV1()}) // nobody runs it
	if err != nil {
		b.Fatal(err)
	}
	admitted := denied("shop", owned)
	admitted.Verdict = admission.Verdict{Admitted: true}
	for _, bench := range []struct {
		name     string
		decision *admission.Decision
	}{{"admitted", admitted}, {"denied", denied("shop", owned)}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Record(b.Context(), bench.decision)
			}
		})
	}
}
