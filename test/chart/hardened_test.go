package chart

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// verdicts collects what the gate objects to.
type verdicts struct {
	judged     int
	objections []string
}

func (v *verdicts) Start(gate.Run) error { return nil }

func (v *verdicts) Result(result gate.Result) error {
	v.judged++
	if result.Outcome == gate.Admitted {
		return nil
	}
	v.objections = append(v.objections, fmt.Sprintf("%s: %s", result.Outcome, result.Object))
	for _, finding := range result.Findings {
		v.objections = append(v.objections, "    "+finding.Policy+": "+finding.Message)
	}
	for _, undecided := range result.Undecided {
		v.objections = append(v.objections, fmt.Sprintf("    undecided: %+v", undecided))
	}
	return nil
}

func (v *verdicts) Problem(problem gate.Problem) error {
	v.objections = append(v.objections, fmt.Sprintf("%s: %s", problem.Location, problem.Message))
	return nil
}

func (v *verdicts) Finish(gate.Summary) error { return nil }

// judge has the gate judge objects by a bundle, as if there were nothing else in the cluster.
func judge(t *testing.T, engine *policies.Engine, profile, manifest string) *verdicts {
	t.Helper()
	load := func() source.Loaded {
		loaded, err := source.Load(t.Context(), []string{"-"}, source.Options{Stdin: strings.NewReader(manifest)})
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	loaded := load()
	g := &gate.Gate{
		Engine: engine, Profile: profile, Namespace: "portcullis-system", Now: time.Now,
		Cluster: gate.NewDirectory("the render", load().Documents, "portcullis-system"),
	}
	found := &verdicts{}
	if _, err := g.Run(context.Background(), loaded, found); err != nil {
		t.Fatal(err)
	}
	return found
}

func compiled(t *testing.T, text string) *policies.Engine {
	t.Helper()
	bundle, err := policies.Load(fstest.MapFS{"bundle.yaml": &fstest.MapFile{Data: []byte(text)}}, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	made, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestEachProfileIsAdmittedByHardenedWithoutExceptions(t *testing.T) {
	bundle, err := os.ReadFile("testdata/hardened/bundle.yaml")
	if err != nil {
		t.Fatal(err)
	}
	hardened := compiled(t, string(bundle))
	for name, options := range profiles {
		rendered, err := Render(options)
		if err != nil {
			t.Errorf("rendering %s: %v", name, err)
			continue
		}
		profile := "configured"
		if name == "single-node" {
			profile = "one-node"
		}
		found := judge(t, hardened, profile, rendered.Manifest+rendered.Hooks)
		if found.judged < 20 || len(found.objections) > 0 {
			t.Errorf("%s: judged %d objects, and hardened objects:\n%s", name, found.judged, strings.Join(found.objections, "\n"))
		}
	}
	worse, err := Render(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if found := judge(t, hardened, "", worse.Manifest); len(found.objections) == 0 {
		t.Error("images without digests are admitted: the test judges nothing")
	}
}

// The chart's bundle judges the next upgrade of the chart itself.
func TestTheBundlesOfTheChartAdmitTheChart(t *testing.T) {
	for _, name := range []string{"default", "large", "other-namespace"} {
		rendered, err := Render(profiles[name])
		if err != nil {
			t.Fatal(err)
		}
		own := compiled(t, configMap(t, rendered.Manifest, "portcullis-bundle", "bundle.yaml"))
		manifest := rendered.Manifest
		if name == "large" { // its images have to be signed, which takes a registry
			var kept []string
			for document := range strings.SplitSeq(manifest, "\n---\n") {
				if !strings.Contains(document, "\nkind: Deployment\n") && !strings.Contains(document, "\nkind: StatefulSet\n") {
					kept = append(kept, document)
				}
			}
			manifest = strings.Join(kept, "\n---\n")
		}
		if found := judge(t, own, "", manifest); len(found.objections) > 0 {
			t.Errorf("%s: its own bundle objects:\n%s", name, strings.Join(found.objections, "\n"))
		}
	}
}

// configMap is the value of a key of a ConfigMap among manifests.
func configMap(t *testing.T, manifest, name, key string) string {
	t.Helper()
	all, err := Split([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range all {
		if object.GetKind() == "ConfigMap" && object.GetName() == name {
			return object.Object["data"].(map[string]any)[key].(string)
		}
	}
	t.Fatalf("there is no ConfigMap %s", name)
	return ""
}
