package gatekeeper

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// originals are Gatekeeper's own files.
func originals(folder string) fs.FS { return os.DirFS(path.Join("testdata/gatekeeper", folder)) }

// noon is the clock of the tests.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// folder makes files of documents, one each.
func folder(documents ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for n, document := range documents {
		files[string(rune('a'+n))+".yaml"] = &fstest.MapFile{Data: []byte(document)}
	}
	return files
}

func load(t testing.TB, documents ...string) *Engine {
	t.Helper()
	e, err := Load(folder(documents...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// merge puts several folders into one.
func merge(t testing.TB, folders ...fs.FS) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for n, one := range folders {
		err := fs.WalkDir(one, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := fs.ReadFile(one, name)
			files[string(rune('a'+n))+"/"+name] = &fstest.MapFile{Data: content}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// template is a ConstraintTemplate with this Rego.
func templateOf(kind, rego string) string {
	return "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: " + strings.ToLower(kind) + "}\n" +
		"spec:\n  crd: {spec: {names: {kind: " + kind + "}}}\n  targets:\n  - target: admission.k8s.gatekeeper.sh\n    rego: |\n" +
		"      " + strings.ReplaceAll(rego, "\n", "\n      ") + "\n"
}

// constraintOf is a constraint with this spec, in flow style.
func constraintOf(kind, name, spec string) string {
	return "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

// alwaysRego objects to everything.
const alwaysRego = "package always\nviolation[{\"msg\": \"no\"}] { true }"

// requestFor is a creation of an object at the admission door.
func requestFor(t testing.TB, object string) *policies.Request {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	var metadata objectMetadata
	if err := json.Unmarshal(raw, &metadata); err != nil {
		t.Fatal(err)
	}
	group, version, ok := strings.Cut(metadata.APIVersion, "/")
	if !ok {
		group, version = "", metadata.APIVersion
	}
	kind := gvk{group, version, metadata.Kind}
	return &policies.Request{
		Door: policies.DoorAdmission, UID: "1", Operation: "CREATE", Kind: metav1.GroupVersionKind(kind), Resource: resourceOf(kind),
		Namespace: metadata.Metadata.Namespace, Name: metadata.Metadata.Name, Object: raw,
		Subject: policies.Subject{Username: "alice", Groups: []string{"dev"}},
	}
}

func evaluate(e *Engine, r *policies.Request, facts *policies.Facts) policies.Result {
	return e.Evaluate(context.Background(), r, facts, noon, policies.PhaseValidate)
}

// said is a result in a few words, for comparing.
func said(result policies.Result) string {
	var b strings.Builder
	for _, f := range result.Findings {
		b.WriteString(f.Policy + " " + f.Instance + " " + f.Enforcement.String() + ": " + f.Message + "\n")
	}
	for _, f := range result.Faults {
		b.WriteString("fault " + f.Policy + " " + f.Enforcement.String() + " " + string(f.Kind) + ": " + f.Message + "\n")
	}
	for _, u := range result.Undecided {
		b.WriteString("undecided " + u.Policy + " " + u.Enforcement.String() + ": " + u.Reason + "\n")
	}
	return b.String()
}

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\nspec: {containers: [{name: web, image: nginx}]}\n"

// objectsIn are the documents of a file, as YAML each.
func objectsIn(t testing.TB, fsys fs.FS, name string) []string {
	t.Helper()
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	var objects []string
	for _, one := range bytes.Split(content, []byte("\n---\n")) {
		objects = append(objects, string(one))
	}
	return objects
}

func noFacts() *policies.Facts { return &policies.Facts{} }
