package policies

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// everyPolicy is an engine of the whole library, each policy once, and the same
// without guards.
func everyPolicy(t testing.TB) (guarded, unguarded *Engine) {
	t.Helper()
	bundle, err := Load(os.DirFS("library"))
	if err != nil {
		t.Fatal(err)
	}
	bundle.Manifest.Profiles, bundle.Manifest.Namespaces, bundle.Manifest.DefaultProfile = nil, nil, ""
	bundle.Manifest.Policies = nil
	for id := range bundle.Policies {
		bundle.Manifest.Policies = append(bundle.Manifest.Policies, Instance{Policy: id})
	}
	if guarded, err = NewEngine(bundle); err != nil {
		t.Fatal(err)
	}
	return guarded, guarded.NoShortcuts()
}

func judgePod(e *Engine, raw []byte) Result {
	r := &Request{
		Door: DoorAudit, Operation: "CREATE", Namespace: "shop", Name: "shop",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:   raw,
	}
	// Nobody signed or scanned the images: guards may spare facts that nobody needs, and the want of
	// some is a fault only where they do not.
	facts := &Facts{Namespace: &Namespace{Name: "shop"}, Images: map[string]ImageFacts{}}
	for _, image := range e.Needs(r, PhaseValidate).Images.Images {
		facts.Images[image.Ref] = ImageFacts{Resolved: appDigest, Scan: scanner.Report{State: scanner.StateMissing}}
	}
	return e.Evaluate(context.Background(), r, facts, time.Unix(1_800_000_000, 0), PhaseValidate)
}

func compareGuarded(t *testing.T, name string, guarded, unguarded *Engine, raw []byte) {
	t.Helper()
	want := judgePod(unguarded, raw)
	for _, time := range []string{"first", "second"} { // the second time from the memo
		if got := judgePod(guarded, raw); !reflect.DeepEqual(got, want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Errorf("%s: with guards and memo, the %s time\n%s\nwithout\n%s", name, time, g, w)
		}
	}
}

// podSamples are all pods among the library's samples, as JSON.
func podSamples(t testing.TB) map[string][]byte {
	t.Helper()
	pods := map[string][]byte{}
	err := fs.WalkDir(os.DirFS("library"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(name, "testdata/") {
			return err
		}
		content, err := os.ReadFile("library/" + name)
		if err != nil {
			return err
		}
		for _, document := range strings.Split(string(content), "\n---") {
			raw, err := yaml.YAMLToJSON([]byte(document))
			if err == nil && strings.Contains(string(raw), `"kind":"Pod"`) && !strings.Contains(string(raw), "AdmissionReview") {
				pods[name] = raw
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

// FuzzGuards holds all pods among the library's samples to one verdict, with guards and memo and without, and looks for another that
// guards or the memo judge otherwise than Rego does.
func FuzzGuards(f *testing.F) {
	guarded, unguarded := everyPolicy(f)
	pods := podSamples(f)
	if len(pods) < 100 {
		f.Errorf("got %d pods among the samples, want at least 100", len(pods))
	}
	for _, raw := range pods {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		compareGuarded(t, "pod", guarded, unguarded, raw)
	})
}

func TestGuardsLeaveMostWorkloadPoliciesOutForAGoodPod(t *testing.T) {
	guarded, _ := everyPolicy(t)
	with, without := 0, 0
	for _, i := range guarded.profiles[noProfile].instances {
		if i.policy.Subject.Workload == "any" && i.policy.has(EffectDeny) {
			if i.unit.guards[EffectDeny] != nil {
				with++
			} else {
				without++
			}
		}
	}
	if with < 4*without {
		t.Errorf("%d policies have a guard and %d have none: want at least four of five guarded", with, without)
	}
}
