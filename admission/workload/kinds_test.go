package workload

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestEveryKnownKind extracts a sample of each kind and compares a summary.
func TestEveryKnownKind(t *testing.T) {
	missing := map[KnownKind]bool{}
	for _, k := range Known() {
		missing[k] = true
	}
	files, err := filepath.Glob("testdata/kinds/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			raw := manifestJSON(t, file)
			workloads, err := extractObject(raw)
			if err != nil {
				t.Fatal(err)
			}
			kind := typeOf(t, raw)
			for k := range missing {
				if k.Group == kind.Group && k.Kind == kind.Kind {
					delete(missing, k)
				}
			}
			if !Carries(kind.Group, kind.Kind) {
				t.Errorf("Carries(%q, %q): got false, want true", kind.Group, kind.Kind)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", summary(workloads))
		})
	}
	for k := range missing {
		t.Errorf("there is no sample of %v in testdata/kinds", k)
	}
}

// summary writes what of the workloads depends on the kind.
func summary(workloads []Workload) string {
	var b strings.Builder
	for _, w := range workloads {
		fmt.Fprintf(&b, "%s %s (metadata %s)", w.Kind, w.Path, w.MetadataPath)
		if w.Template {
			b.WriteString(" template")
		}
		if w.Replicas != nil {
			fmt.Fprintf(&b, " replicas=%d", *w.Replicas)
		}
		fmt.Fprintf(&b, "\n  account=%s hostNetwork=%t priorityClass=%q labels=%v\n", w.ServiceAccount, w.HostNetwork, w.PriorityClass, w.Labels)
		for _, c := range w.Containers {
			fmt.Fprintf(&b, "  %s %q at %s: %q privileged=%t", c.Role, c.Name, c.Path, c.Image, c.SecurityContext.Privileged)
			if c.SecurityContext.RunAsUser != nil {
				fmt.Fprintf(&b, " user=%d", *c.SecurityContext.RunAsUser)
			}
			fmt.Fprintln(&b)
			for _, e := range c.Env {
				fmt.Fprintf(&b, "    env %s=%s at %s\n", e.Name, e.Value, e.Path)
			}
		}
		for _, i := range w.Images {
			fmt.Fprintf(&b, "  image %s at %s\n", i.Ref, i.Path)
		}
		for _, v := range w.Volumes {
			fmt.Fprintf(&b, "  volume %s %q at %s\n", v.Name, v.Type, v.Path)
		}
		for _, s := range w.SecretRefs {
			fmt.Fprintf(&b, "  secret %s via %s at %s\n", s.Name, s.Via, s.Path)
		}
		for _, u := range w.Unresolved {
			fmt.Fprintf(&b, "  open %s: %s (%s)\n", u.Path, u.Expression, u.Reason)
		}
	}
	return b.String()
}

func TestKindsWithoutPodsGiveNothing(t *testing.T) {
	for _, kind := range []metav1.GroupVersionKind{
		{Version: "v1", Kind: "Service"},
		{Group: "example.com", Version: "v1", Kind: "Deployment"},
		{Group: "apps", Version: "v1", Kind: "deployment"},
		{Group: "autoscaling", Version: "v1", Kind: "Scale"},
	} {
		workloads, err := Extract(kind, []byte(`{"spec":{"template":{"spec":{"containers":[{"image":"?"}]}}}}`))
		if workloads != nil || err != nil {
			t.Errorf("%v: got %v (%v), want nothing", kind, workloads, err)
		}
		if Carries(kind.Group, kind.Kind) {
			t.Errorf("Carries(%v): got true, want false", kind)
		}
	}
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: run with -update if this is meant\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}
