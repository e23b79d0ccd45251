package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// secret must not be found in anything that is kept.
const secret = "hunter2hunter2"

const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: a, env: [{name: DB_PASSWORD, value: hunter2hunter2}]}]}}
`

func replicaSet(uid string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: %s, controller: true}]}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: a}]}}}
`, uid)
}

func podOfReplicaSet(uid string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: web-1-a
  labels: {app: web}
  annotations: {note: "token=hunter2hunter2"}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: %s, controller: true}]
spec:
  nodeName: node-1
  containers:
  - {name: app, image: a, command: [run, --password, hunter2hunter2], args: ["--url=https://ann:hunter2hunter2@db"], env: [{name: API_TOKEN, value: hunter2hunter2}, {name: LEVEL, value: debug}]}
  - {name: side, image: b}
  - {name: waiting, image: c}
`, uid)
}

const others = `
apiVersion: v1
kind: Secret
metadata: {name: of-web}
stringData: {password: hunter2hunter2}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: selects}
spec: {podSelector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: does-not}
spec: {podSelector: {matchLabels: {app: db}}}
`

// incident is a pod of a Deployment with everything around it.
func (b *bench) incident() (*corev1.Pod, *v1alpha1.Quarantine) {
	b.t.Helper()
	b.apply(podOfReplicaSet(b.apply(replicaSet(b.apply(workload)))))
	b.apply(others)
	b.ran("web-1-a", map[string]int32{"app": 1, "side": 0})
	pod := b.pod("web-1-a")
	for _, event := range []struct{ uid, reason string }{{string(pod.UID), "Started"}, {"another", "Other"}} {
		_, err := b.kube.CoreV1().Events(b.namespace).Create(b.t.Context(), &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: "e." + strings.ToLower(event.reason)},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: b.namespace, Name: pod.Name, UID: types.UID(event.uid)}, Reason: event.reason, Message: "started with password=" + secret,
		}, metav1.CreateOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.logs.set("web-1-a/app", text("2026-11-28T12:00:00Z listening\n2026-11-28T12:00:01Z Authorization: Bearer "+secret+"\n"))
	b.logs.set("web-1-a/app/previous", text("2026-11-28T11:00:00Z it crashed\n"))
	b.logs.set("web-1-a/side", text("2026-11-28T12:00:00Z side\n"))
	return pod, b.quarantine(pod)
}

// capture keeps all evidence, trying again what a slow machine did not give in time, as the controller does.
func (b *bench) capture(q *v1alpha1.Quarantine) (kept []v1alpha1.EvidenceReference) {
	b.t.Helper()
	clustertest.Eventually(b.t, "all evidence is kept", func() (err error) {
		kept, err = b.collector.Capture(b.t.Context(), q, nil)
		return err
	})
	return kept
}

func keys(kept []v1alpha1.EvidenceReference) []string {
	var all []string
	for _, one := range kept {
		all = append(all, strings.TrimSuffix(one.Kind+"/"+one.Container, "/"))
	}
	return all
}

func TestEverythingAboutAPodIsKeptWithoutCredentials(t *testing.T) {
	b := newBench(t)
	_, q := b.incident()
	kept := b.capture(q)
	want := []string{"pod", "falco", "owner", "namespace", "events", "policies", "log/app", "log/side", "previousLog/app"}
	if got := keys(kept); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	pieces, err := b.collector.Read(t.Context(), q.Name)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for n, piece := range pieces {
		if piece.EvidenceReference != kept[n] {
			t.Errorf("got %+v read, want %+v", piece.EvidenceReference, kept[n])
		}
		if bytes.Contains(piece.Data, []byte(secret)) {
			t.Errorf("got a credential in %s:\n%s", piece.Kind, piece.Data)
		}
		if piece.Captured.IsZero() || piece.Truncated {
			t.Errorf("got %+v", piece)
		}
		content[keys(kept)[n]] = string(piece.Data)
	}
	for key, parts := range map[string][]string{
		"pod":             {`"name": "web-1-a"`, `"[redacted]"`, `"value": "debug"`, `--url=https://ann:[redacted]@db`},
		"falco":           {"Terminal shell in container", "mysql -p[redacted]"},
		"owner":           {`"kind": "ReplicaSet"`, `"kind": "Deployment"`},
		"namespace":       {b.namespace},
		"events":          {"Started"},
		"policies":        {`"name": "selects"`},
		"log/app":         {"listening", "Authorization: [redacted]"},
		"log/side":        {"side"},
		"previousLog/app": {"it crashed"},
	} {
		for _, part := range parts {
			if !strings.Contains(content[key], part) {
				t.Errorf("got %s of %s, want %q in it", content[key], key, part)
			}
		}
	}
	if strings.Contains(content["events"], "Other") || strings.Contains(content["policies"], "does-not") || strings.Contains(content["pod"], "managedFields") {
		t.Error("got what is of other pods")
	}
	if !json.Valid([]byte(content["pod"])) {
		t.Errorf("got %s, want JSON", content["pod"])
	}
	object, err := b.admin.Resource(v1alpha1.Evidences).Get(t.Context(), kept[0].Name, metav1.GetOptions{})
	if err != nil || len(object.GetOwnerReferences()) != 1 || object.GetOwnerReferences()[0].Name != q.Name || object.GetLabels()[v1alpha1.QuarantineLabel] != q.Name {
		t.Errorf("got %+v, %v, want it to be deleted with its quarantine", object, err)
	}
}

func TestWhatIsKeptIsNotCapturedAgainAndWhatWasNotIs(t *testing.T) {
	b := newBench(t)
	_, q := b.incident()
	b.logs.set("web-1-a/side", nil)
	kept, err := b.collector.Capture(t.Context(), q, nil)
	if err == nil || !strings.Contains(err.Error(), "container side") || len(kept) != 8 {
		t.Fatalf("got %q, %v, want all but the log that could not be read, and to be told", keys(kept), err)
	}
	b.logs.set("web-1-a/side", text("it is there now\n"))
	b.logs.set("web-1-a/app", text("another log\n"))
	asked := b.logs.asked()
	again := b.capture(q)
	if len(again) != 9 || b.logs.asked() != asked+1 {
		t.Errorf("got %q and %d logs read, want the missing one alone", keys(again), b.logs.asked()-asked)
	}
	for _, one := range kept {
		if !slices.Contains(again, one) {
			t.Errorf("got %+v changed", one)
		}
	}
	// A quarantine that was reopened has evidence of its own.
	q.Spec.Reopened = 1
	if reopened := b.capture(q); len(reopened) != 9 || slices.Contains(reopened, kept[0]) {
		t.Errorf("got %q", keys(reopened))
	}
	pieces, err := b.collector.Read(t.Context(), q.Name)
	if err != nil || len(pieces) != 18 {
		t.Errorf("got %d pieces, %v, want those of both", len(pieces), err)
	}
}

func TestEvidenceOfTwoReplicasAtOnceIsKeptOnce(t *testing.T) {
	b := newBench(t)
	_, q := b.incident()
	type outcome struct {
		kept []v1alpha1.EvidenceReference
		err  error
	}
	results := make(chan outcome, 3)
	for range cap(results) {
		go func() {
			kept, err := b.collector.Capture(t.Context(), q, nil)
			results <- outcome{kept, err}
		}()
	}
	first := <-results
	for range cap(results) - 1 {
		if next := <-results; next.err != nil || !slices.Equal(next.kept, first.kept) {
			t.Errorf("got %v, %v, want %v", next.kept, next.err, first.kept)
		}
	}
	if first.err != nil || len(first.kept) != 9 {
		t.Errorf("got %q, %v", keys(first.kept), first.err)
	}
}

func TestAPodThatWasMadeAnewIsNotTakenForTheOld(t *testing.T) {
	b := newBench(t)
	pod, q := b.incident()
	now := int64(0)
	if err := b.kube.CoreV1().Pods(b.namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	b.apply(`{apiVersion: v1, kind: Pod, metadata: {name: web-1-a}, spec: {nodeName: node-1, containers: [{name: app, image: innocent}]}}`)
	b.ran("web-1-a", map[string]int32{"app": 0})
	asked := b.logs.asked()
	kept, err := b.collector.Capture(t.Context(), q, nil)
	if err == nil || !strings.Contains(err.Error(), "does not exist any more") {
		t.Errorf("got %v, want to be told", err)
	}
	if got := keys(kept); slices.Contains(got, "pod") || slices.Contains(got, "log/app") || b.logs.asked() != asked || !slices.Contains(got, "falco") || !slices.Contains(got, "events") {
		t.Errorf("got %q, want what is known of the old one and nothing of the new", got)
	}
}

func TestAPodThatIsDetachedStillHasItsOwnersAndPolicies(t *testing.T) {
	b := newBench(t)
	pod, q := b.incident()
	q.Status.Originals = &v1alpha1.Originals{Labels: pod.Labels, OwnerReferences: pod.OwnerReferences}
	if _, err := b.kube.CoreV1().Pods(b.namespace).Patch(t.Context(), pod.Name, types.MergePatchType, []byte(`{"metadata":{"labels":null,"ownerReferences":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	b.capture(q)
	pieces, err := b.collector.Read(t.Context(), q.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range pieces {
		if piece.Kind == KindOwner && !bytes.Contains(piece.Data, []byte(`"kind": "Deployment"`)) || piece.Kind == KindPolicies && !bytes.Contains(piece.Data, []byte(`"name": "selects"`)) {
			t.Errorf("got %s", piece.Data)
		}
	}
}

func TestEvidenceIsBoundedAndOfALogTheEndIsKept(t *testing.T) {
	b := newBench(t)
	_, q := b.incident()
	b.logs.set("web-1-a/app", func(w http.ResponseWriter, _ *http.Request) {
		for n := range 20000 {
			fmt.Fprintf(w, "line %06d %s\n", n, strings.Repeat("ż", 50))
		}
	})
	endless := 0
	b.logs.set("web-1-a/side", func(w http.ResponseWriter, r *http.Request) {
		for ; r.Context().Err() == nil && endless < 64<<20; endless += 100 {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 99)); err != nil {
				return
			}
			_, _ = w.Write([]byte("\n"))
		}
	})
	kept, err := b.collector.Capture(t.Context(), q, nil)
	if err == nil || !strings.Contains(err.Error(), "more than can be read") {
		t.Errorf("got %v, want to be told of the log without end", err)
	}
	pieces, readError := b.collector.Read(t.Context(), q.Name)
	if readError != nil {
		t.Fatal(readError)
	}
	for _, piece := range pieces {
		if piece.Size > maxPiece {
			t.Errorf("got %d bytes of %s, want at most %d", piece.Size, piece.Kind, maxPiece)
		}
		if piece.Kind == KindLog && piece.Container == "app" {
			if !piece.Truncated || !strings.HasPrefix(string(piece.Data), "line ") || !strings.HasSuffix(string(piece.Data), "\n") || !bytes.Contains(piece.Data, []byte("line 019999")) || piece.Size < maxPiece/2 {
				t.Errorf("got %d bytes from %.20q on, truncated: %v, want whole lines from the end", piece.Size, piece.Data, piece.Truncated)
			}
		}
	}
	if len(kept) != 9 {
		t.Errorf("got %q", keys(kept))
	}
}

func TestAllEvidenceTogetherIsBounded(t *testing.T) {
	b := newBench(t)
	var containers []string
	restarts := map[string]int32{}
	for n := range 20 {
		name := fmt.Sprintf("c%02d", n)
		containers = append(containers, fmt.Sprintf("{name: %s, image: a}", name))
		restarts[name] = 0
		b.logs.set("many/"+name, text(strings.Repeat("0123456789abcdef\n", 1<<15)))
	}
	b.apply(fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: many}, spec: {nodeName: node-1, containers: [%s]}}", strings.Join(containers, ", ")))
	b.ran("many", restarts)
	kept, err := b.collector.Capture(t.Context(), b.quarantine(b.pod("many")), nil)
	var size int64
	for _, one := range kept {
		size += one.Size
	}
	if size > maxAll || size < maxAll*3/4 || err == nil || !strings.Contains(err.Error(), "kept already") {
		t.Errorf("got %d bytes, %v, want at most %d and to be told what is missing", size, err, maxAll)
	}
}

func TestASlowNodeKeepsNobodyWaitingForLong(t *testing.T) {
	b := newBench(t)
	_, q := b.incident()
	b.logs.set("web-1-a/app", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("the first line\n"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	kept, err := b.collector.Capture(ctx, q, nil)
	if err == nil || !slices.Contains(keys(kept), "pod") {
		t.Errorf("got %q, %v, want the objects, and to be told of the log", keys(kept), err)
	}
}

func TestEvidenceThatSomebodyHasChangedIsNotRead(t *testing.T) {
	b := newBench(t)
	_, q := b.incident()
	kept := b.capture(q)
	for what, patch := range map[string]string{
		"a changed digest": fmt.Sprintf(`{"digest":"sha256:%064d"}`, 1), "another piece": `{"piece":"log"}`, "another size": `{"size":1}`, "another quarantine": `{"quarantine":"q-x"}`,
	} {
		if _, err := b.admin.Resource(v1alpha1.Evidences).Patch(t.Context(), kept[0].Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err == nil {
			t.Errorf("%s: got it taken by the API server", what)
		}
	}
	if _, err := b.admin.Resource(v1alpha1.Evidences).Patch(t.Context(), kept[0].Name, types.MergePatchType, []byte(`{"data":"H4sIAAAAAAAA/8pIzcnJVyjPL8pJAQQAAP//hRFKDQsAAAA="}`), metav1.PatchOptions{}); err != nil {
		return // the API server has refused it, which is better still
	}
	if _, err := b.collector.Read(t.Context(), q.Name); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v, want to be told", err)
	}
}

// endless reads for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for n := range p {
		p[n] = 'x'
	}
	return len(p), nil
}

func TestTheTailOfALog(t *testing.T) {
	for name, test := range map[string]struct {
		log       io.Reader
		length    int
		truncated bool
		fails     bool
	}{
		"nothing":            {strings.NewReader(""), 0, false, false},
		"a short one":        {strings.NewReader("a\nb\n"), 4, false, false},
		"one that is long":   {strings.NewReader(strings.Repeat("x", 3*window)), 2 * window, true, false},
		"one without an end": {endless{}, 2 * window, true, true},
		"one that breaks":    {io.MultiReader(strings.NewReader("a"), failing{}), 1, false, true},
	} {
		data, truncated, err := tail(test.log)
		if len(data) > 2*window || test.length < 2*window && len(data) != test.length || truncated != test.truncated || (err != nil) != test.fails {
			t.Errorf("%s: got %d bytes, %v, %v", name, len(data), truncated, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the node is gone") }
