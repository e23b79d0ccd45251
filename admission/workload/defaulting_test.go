package workload

import (
	"path/filepath"
	"strings"
	"testing"
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
			want := normalForm(t, manifestJSON(t, file))
			got := normalForm(t, readFile(t, "defaulting/"+name+".stored.json"))
			if got != want {
				t.Errorf("the stored object differs at %s\ngot  %s\nwant %s", firstDifference(got, want), got, want)
			}
		})
	}
}
