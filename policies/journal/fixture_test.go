package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// noon is the clock of tests.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// rego is a policy's file. custom is YAML for metadata.
func rego(id, custom, rules string) string {
	if !strings.Contains(custom, "match:") {
		custom = "match: {workload: any}\n" + custom
	}
	text := "# METADATA\n# title: Title of " + id + "\n# description: What it is about.\n# custom:\n"
	for line := range strings.Lines("severity: high\nremediation: Mend it.\n" + custom) {
		text += "#   " + strings.TrimRight(line, "\n") + "\n"
	}
	return text + "package portcullis." + strings.ReplaceAll(id, "/", ".") + "\n\n" + rules + "\n"
}

// engineOf compiles a bundle: the rest of bundle.yaml, and policies given as id, metadata, rules.
func engineOf(t testing.TB, serial int, manifest string, given ...string) *policies.Engine {
	t.Helper()
	var ids []string
	files := fstest.MapFS{}
	for n := 0; n < len(given); n += 3 {
		ids = append(ids, "{policy: "+given[n]+"}")
		files[given[n]+".rego"] = &fstest.MapFile{Data: []byte(rego(given[n], given[n+1], given[n+2]))}
	}
	files["bundle.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: %d\npolicies: [%s]\n%s", serial, strings.Join(ids, ", "), manifest)}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// cluster is what a test's cluster holds.
type cluster policies.Facts

// Gather implements admission.Facts: everything there is, of what is needed.
func (c cluster) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	gathered := policies.Facts{Partial: map[policies.Read]string{}, Images: map[string]policies.ImageFacts{}}
	if needs.Namespace != "" {
		gathered.Namespace, gathered.NamespaceMissing = c.Namespace, c.NamespaceMissing
	}
	for _, read := range needs.Reads {
		for _, object := range c.Cluster {
			if object.Group == read.Group && object.Resource == read.Resource && (read.Namespace == "" || read.Namespace == object.Namespace) {
				gathered.Cluster = append(gathered.Cluster, object)
			}
		}
		if reason, partial := c.Partial[read]; partial {
			gathered.Partial[read] = reason
		}
	}
	for _, image := range needs.Images.Images {
		if known, ok := c.Images[image.Ref]; ok {
			gathered.Images[image.Ref] = known
		}
	}
	return gathered
}

// pod is a request to create a pod in the namespace shop.
func pod(name, spec string) admission.Request {
	return admission.Request{
		Door: admission.DoorAdmission, UID: "uid-" + name, Operation: "CREATE",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Namespace: "shop", Name: name, Subject: admission.Subject{Username: "ann", Groups: []string{"dev"}},
		Object: json.RawMessage(fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"shop"},"spec":%s}`, name, spec)),
	}
}

const plainSpec = `{"containers":[{"name":"a","image":"registry.example/a:1"}]}`

// decide is what a webhook does with a request: judge, and say what was decided.
func decide(reviewer *admission.Reviewer, request admission.Request) *admission.Decision {
	d := &admission.Decision{ID: "id-" + request.UID, Time: noon, Duration: 3 * time.Millisecond, Request: request}
	switch d.Verdict = reviewer.Review(context.Background(), request); {
	case d.Verdict.Admitted:
		d.Outcome = "admitted"
	case d.Verdict.Denied():
		d.Outcome = "denied"
	default:
		d.Outcome = "fault"
	}
	return d
}

// open opens a journal that keeps everything.
func openIn(t testing.TB, dir string, change func(*Options)) *Journal {
	t.Helper()
	options := Options{Dir: dir, Now: clock, Allows: 1, Wait: time.Minute}
	if change != nil {
		change(&options)
	}
	j, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeNow(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// lines are all decisions of a journal.
func lines(t testing.TB, dir string, filter Filter) []*Line {
	t.Helper()
	var all []*Line
	for line, err := range Read(dir, filter) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return all
}

// intact verifies a journal.
func intact(t testing.TB, dir string) *Verification {
	t.Helper()
	v, err := Verify(context.Background(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if !v.Intact() {
		t.Fatalf("got a break at %+v, missing facts %v, want none", v.Break, v.Missing)
	}
	return v
}

func newest(t testing.TB, dir string) string {
	t.Helper()
	numbers, err := listFiles(dir)
	if err != nil || len(numbers) == 0 {
		t.Fatalf("got files %v, %v, want some", numbers, err)
	}
	return filepath.Join(dir, fileName(numbers[len(numbers)-1]))
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
