package workload

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// TestManifestAndStoredObjectHaveTheSameNormalForm compares manifests with what
// the API server stores of them. The stored objects were made by Kubernetes 1.37.2:
// the defaulting of its scheme, the pod strategy's PrepareForCreate, and for pods the
// ServiceAccount, Priority and DefaultTolerationSeconds admission.
func TestManifestAndStoredObjectHaveTheSameNormalForm(t *testing.T) {
	manifests, err := filepath.Glob("testdata/defaulting/*.yaml")
	if err != nil || len(manifests) < 10 {
		t.Fatalf("got %d manifests (%v), want at least 10", len(manifests), err)
	}
	for _, file := range manifests {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := yaml.YAMLToJSONStrict(text)
			if err != nil {
				t.Fatal(err)
			}
			want := normalForm(t, manifest)
			got := normalForm(t, readFile(t, "defaulting/"+name+".stored.json"))
			if got != want {
				t.Errorf("the stored object differs at %s\ngot  %s\nwant %s", firstDifference(got, want), got, want)
			}
		})
	}
}

// normalForm extracts an object by the type it says it has, and writes the result.
func normalForm(t testing.TB, raw []byte) string {
	t.Helper()
	workloads, err := extractObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(workloads, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func extractObject(raw []byte) ([]Workload, error) {
	var object metav1.TypeMeta
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	return Extract(metav1.GroupVersionKind(schema.FromAPIVersionAndKind(object.APIVersion, object.Kind)), raw)
}

// firstDifference is the first line in which two texts differ.
func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return strings.TrimSpace(a[i]) + " instead of " + strings.TrimSpace(b[i])
		}
	}
	return "the end"
}
