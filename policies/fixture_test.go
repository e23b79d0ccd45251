package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// namespaceResource is that of Namespace objects.
var namespaceResource = metav1.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// noon is the clock of tests.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// regoPolicy is a policy's file. custom is YAML for metadata beyond what is always
// needed; a policy that names no match is about any workload.
func regoPolicy(id, custom, rules string) string {
	if !strings.Contains(custom, "match:") {
		custom = "match: {workload: any}\n" + custom
	}
	text := "# METADATA\n# title: Title of " + id + "\n# description: What it is about.\n# custom:\n"
	for line := range strings.Lines("severity: high\nremediation: Mend it.\n" + custom) {
		text += "#   " + strings.TrimRight(line, "\n") + "\n"
	}
	group, name, _ := strings.Cut(strings.ReplaceAll(id, "-", "_"), "/")
	return text + "package portcullis." + group + "." + name + "\n\n" + rules + "\n"
}

// regoLibrary is a file of shared Rego.
func regoLibrary(name, rules string) string {
	return "package portcullis.lib." + name + "\n\n" + rules + "\n"
}

// bundleFiles is a bundle: bundle.yaml with a manifest below its name, and files given as
// name, content, name, content.
func bundleFiles(manifest string, others ...string) fstest.MapFS {
	fsys := fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\n" + manifest)}}
	for i := 0; i < len(others); i += 2 {
		fsys[others[i]] = &fstest.MapFile{Data: []byte(others[i+1])}
	}
	return fsys
}

// onePolicy is a bundle of the policy pods/x.
func onePolicy(custom, rules string) fstest.MapFS {
	return bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", custom, rules))
}

// compileFiles loads and compiles a bundle.
func compileFiles(fsys fstest.MapFS) (*Engine, error) {
	bundle, err := Load(fsys)
	if err != nil {
		return nil, err
	}
	return NewEngine(bundle)
}

func mustCompile(t testing.TB, fsys fstest.MapFS) *Engine {
	t.Helper()
	engine, err := compileFiles(fsys)
	if err != nil {
		t.Fatalf("got error %v, want an engine", err)
	}
	return engine
}

// plainPod runs one container, named app.
const plainPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"shop"},"spec":{"containers":[{"name":"app","image":"app:1"}]}}`

// podRequest creates a pod in the namespace shop.
func podRequest(object string) *Request {
	return objectRequest("", "v1", "pods", "Pod", object)
}

func objectRequest(group, version, resource, kind, object string) *Request {
	return &Request{
		Door: DoorAdmission, Operation: "CREATE", Namespace: "shop", Name: "shop",
		Resource: metav1.GroupVersionResource{Group: group, Version: version, Resource: resource},
		Kind:     metav1.GroupVersionKind{Group: group, Version: version, Kind: kind},
		Object:   []byte(object),
	}
}

// updateRequest makes a request an update from an old object.
func updateRequest(r *Request, old string) *Request {
	r.Operation, r.OldObject = "UPDATE", []byte(old)
	return r
}

// judge evaluates the deny and warn rules at noon, with a deadline no test should come near.
func judge(t testing.TB, e *Engine, r *Request, facts *Facts) Result {
	t.Helper()
	return judgeAt(t, e, r, facts, noon)
}

func judgeAt(t testing.TB, e *Engine, r *Request, facts *Facts, now time.Time) Result {
	t.Helper()
	if facts == nil {
		facts = &Facts{Namespace: &Namespace{Name: r.namespace()}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return e.Evaluate(ctx, r, facts, now, PhaseValidate)
}

// spoken are the findings that no exception waives, as "instance: message", with the
// faults and undecided policies, so that none of them goes unnoticed.
func spoken(result Result) []string {
	said := []string{}
	for _, f := range result.Findings {
		name := f.Policy
		if f.Instance != "" {
			name = f.Instance
		}
		if f.ExceptedBy == "" {
			said = append(said, name+": "+f.Message)
		}
	}
	for _, f := range result.Faults {
		said = append(said, fmt.Sprintf("%s fault: %s", f.Policy, f.Kind))
	}
	for _, u := range result.Undecided {
		said = append(said, u.Policy+" undecided")
	}
	return said
}

func wantSpoken(t testing.TB, result Result, want ...string) {
	t.Helper()
	if got := spoken(result); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q (faults %+v, undecided %+v)", got, want, result.Faults, result.Undecided)
	}
}

// wantRefusal says that an error names all of some texts.
func wantRefusal(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one that says %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got error %q, want it to say %q", err, text)
		}
	}
}
