package chart

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// profiles are the renders that are kept and judged: what users install.
var profiles = map[string]Options{
	"default":         {Files: []string{"testdata/digests.yaml"}},
	"single-node":     {Files: []string{"testdata/digests.yaml", Dir + "/values-single-node.yaml"}},
	"large":           {Files: []string{"testdata/digests.yaml", "testdata/everything.yaml", Dir + "/values-large.yaml"}, APIVersions: []string{"monitoring.coreos.com/v1", "cert-manager.io/v1"}},
	"openshift":       {Files: []string{"testdata/digests.yaml", Dir + "/values-openshift.yaml"}},
	"eks":             {Files: []string{"testdata/digests.yaml", Dir + "/values-eks.yaml"}},
	"aks":             {Files: []string{"testdata/digests.yaml", Dir + "/values-aks.yaml"}},
	"gke":             {Files: []string{"testdata/digests.yaml", Dir + "/values-gke.yaml"}},
	"other-namespace": {Files: []string{"testdata/digests.yaml", "testdata/other-namespace.yaml"}, Namespace: "security"},
}

func TestProfilesRenderAsBefore(t *testing.T) {
	for name, options := range profiles {
		// Definitions are generated and compared elsewhere.
		options.Values = map[string]any{"crds": map[string]any{"install": false}}
		rendered, err := Render(options)
		if err != nil {
			t.Errorf("rendering %s: %v", name, err)
			continue
		}
		compare(t, "testdata/renders/"+name+".yaml", rendered.Manifest+rendered.Hooks)
		compare(t, "testdata/renders/"+name+".txt", rendered.Notes)
	}
}

// compare compares with a golden file, or writes it with -update.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the chart renders to: %s\nlook at what changed, then run go test ./test/chart -update", file, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "line " + strconv.Itoa(i+1) + " is " + a[i] + ", not " + b[i]
		}
	}
	return "it has " + strconv.Itoa(len(a)) + " lines, not " + strconv.Itoa(len(b))
}
