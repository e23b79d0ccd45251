package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bundleText is a bundle of one policy that denies pods on a node named so.
func bundleText(serial, node string) map[string]string {
	return map[string]string{
		"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: " + serial + "\npolicies: [{policy: pods/node}]\n",
		"node.rego": `# METADATA
# title: Nodes
# description: A node that is kept free.
# custom:
#   severity: low
#   match: {workload: any}
#   remediation: Leave nodeName out.
package portcullis.pods.node

deny contains "the node is kept free" if input.workload.nodeName == "` + node + `"
`,
	}
}

// newTree is a bundle of such files.
func newTree(t *testing.T, files map[string]string) *archive.Tree {
	t.Helper()
	contents := map[string][]byte{}
	for name, text := range files {
		contents[name] = []byte(text)
	}
	tree, err := archive.New(contents)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// emptyCluster is one that has nothing.
type emptyCluster struct{}

func (emptyCluster) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

func TestAChangedBundleIsActivatedAndABadOneIsNot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, bundleText("5", "red"))
	first, err := (&flags{bundle: dir}).load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	reviewer := newRecent(admission.NewReviewer(first.Engine, emptyCluster{}, time.Now))
	var log bytes.Buffer
	var followed []policies.Read
	follow := func(_ context.Context, reads []policies.Read) error { followed = reads; return nil }
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, first, follow, func(*policies.Bundle) error { return nil }, slog.New(slog.NewJSONHandler(&log, nil)))

	for _, step := range []struct {
		what  string
		files map[string]string
		free  string // the node that is kept free afterwards
		log   string // a word of what is logged
	}{
		{"nothing has changed", nil, "red", ""},
		{"a new rule", bundleText("6", "blue"), "blue", "activated a new bundle"},
		{"a rule that does not compile", map[string]string{"node.rego": "package portcullis.pods.node\ndeny contains"}, "blue", "the last good one stays"},
		{"mended", bundleText("7", "green"), "green", "activated a new bundle"},
		{"an older serial", bundleText("6", "red"), "green", "a serial never decreases"},
		{"reads that nobody followed", map[string]string{
			"bundle.yaml": bundleText("8", "")["bundle.yaml"],
			"node.rego":   strings.Replace(bundleText("8", "red")["node.rego"], "#   severity: low\n", "#   severity: low\n#   reads: [{group: '', resource: nodes, scope: cluster}]\n", 1),
		}, "red", "activated a new bundle"},
		{"other requests", map[string]string{
			"bundle.yaml": bundleText("9", "")["bundle.yaml"],
			"node.rego":   strings.Replace(bundleText("9", "blue")["node.rego"], "{workload: any}", "{workload: any, operations: [CREATE]}", 1),
		}, "blue", "apply the output of --print-config again"},
	} {
		log.Reset()
		write(t, dir, step.files)
		watch.look(t.Context())
		if !strings.Contains(log.String(), step.log) || (step.log == "" && log.Len() > 0) {
			t.Errorf("%s: got log %s, want %q", step.what, log.String(), step.log)
		}
		for _, node := range []string{"red", "blue", "green"} {
			object, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "x"},
				"spec": map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "x", "image": "x"}}}})
			if err != nil {
				t.Fatal(err)
			}
			verdict := reviewer.Review(context.Background(), admission.Request{
				Door: admission.DoorAdmission, Operation: "CREATE", Namespace: "x",
				Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
				Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
				Object:   object,
			})
			if verdict.Admitted != (node != step.free) {
				t.Errorf("%s: node %s: got admitted %v, want %v", step.what, node, verdict.Admitted, node != step.free)
			}
		}
		if want := []policies.Read{{Resource: "nodes"}}; strings.HasPrefix(step.what, "reads") && !slices.Equal(followed, want) {
			t.Errorf("%s: followed %+v, want %+v", step.what, followed, want)
		}
	}
}

// TestPoliciesForOtherToolsInAFolderAreSeenToChange though the digest of a bundle leaves them out.
func TestPoliciesForOtherToolsInAFolderAreSeenToChange(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, bundleText("1", "red"))
	policy := func(word string) {
		t.Helper()
		write(t, dir, map[string]string{"conftest/policy.rego": "package main\n\ndeny contains \"" + word + "\" if input.kind == \"Pod\"\n"})
	}
	if err := os.Mkdir(filepath.Join(dir, "conftest"), 0o700); err != nil {
		t.Fatal(err)
	}
	policy("first")
	first, err := (&flags{bundle: dir}).load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	reviewer := newRecent(admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: first.Ready}}}, informer.None{Reason: "test"}, time.Now))
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, first, nil, func(*policies.Bundle) error { return nil }, slog.New(slog.DiscardHandler))
	for _, word := range []string{"first", "second"} {
		policy(word)
		watch.look(t.Context())
		verdict := reviewer.Review(t.Context(), admission.Request{
			Door: admission.DoorAdmission, Operation: "CREATE", Namespace: "x", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"x","image":"x"}]}}`),
		})
		if len(verdict.Findings) != 1 || verdict.Findings[0].Message != word {
			t.Errorf("got %+v, want %q", verdict.Findings, word)
		}
	}
}

func TestABundleThatIsGoneForAMomentChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, bundleText("1", "red"))
	first, err := (&flags{bundle: dir}).load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	reviewer := newRecent(admission.NewReviewer(first.Engine, informer.None{Reason: "test"}, time.Now))
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, first, nil, func(*policies.Bundle) error { return nil }, slog.New(slog.DiscardHandler))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	watch.look(t.Context())
	if reviewer.Lineup().Members[0].Active.Judges[0] != first.Judges[0] {
		t.Error("the engine was replaced though there is no bundle")
	}
}

// TestABundleThatIsNotAcceptedIsNotActivated: this process cannot judge by it.
func TestABundleThatIsNotAcceptedIsNotActivated(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, bundleText("5", "red"))
	first, err := (&flags{bundle: dir}).load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	reviewer := newRecent(admission.NewReviewer(first.Engine, informer.None{Reason: "test"}, time.Now))
	var log bytes.Buffer
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, first, nil, func(*policies.Bundle) error { return errors.New("give --trusted-root") }, slog.New(slog.NewJSONHandler(&log, nil)))
	write(t, dir, bundleText("6", "blue"))
	watch.look(t.Context())
	if got := watch.active.Bundle.Manifest.Serial; got != 5 || !strings.Contains(log.String(), "give --trusted-root") {
		t.Errorf("serial %d is active, the log is %s, want 5 and --trusted-root", got, &log)
	}
}
