package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/policies"
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

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChangedBundleIsActivatedAndABadOneIsNot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, bundleText("5", "red"))
	engine, err := compileBundle(os.DirFS(dir), "")
	if err != nil {
		t.Fatal(err)
	}
	reviewer := admission.NewReviewer(engine, informer.None{Reason: "test"}, time.Now)
	var log bytes.Buffer
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, func(*policies.Bundle) error { return nil }, slog.New(slog.NewJSONHandler(&log, nil)))

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
		{"reads that nobody follows", map[string]string{
			"bundle.yaml": bundleText("8", "")["bundle.yaml"],
			"node.rego":   strings.Replace(bundleText("8", "red")["node.rego"], "#   severity: low\n", "#   severity: low\n#   reads: [{group: '', resource: nodes, scope: cluster}]\n", 1),
		}, "green", "restart the webhook"},
	} {
		log.Reset()
		write(t, dir, step.files)
		watch.look()
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
	}
}

func TestABundleThatIsGoneForAMomentChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, bundleText("1", "red"))
	engine, err := compileBundle(os.DirFS(dir), "")
	if err != nil {
		t.Fatal(err)
	}
	reviewer := admission.NewReviewer(engine, informer.None{Reason: "test"}, time.Now)
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, func(*policies.Bundle) error { return nil }, slog.New(slog.DiscardHandler))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	watch.look()
	if reviewer.Engine() != engine {
		t.Error("the engine was replaced though there is no bundle")
	}
}

// TestABundleThatIsNotAcceptedIsNotActivated: this process cannot judge by it.
func TestABundleThatIsNotAcceptedIsNotActivated(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, bundleText("5", "red"))
	engine, err := compileBundle(os.DirFS(dir), "")
	if err != nil {
		t.Fatal(err)
	}
	reviewer := admission.NewReviewer(engine, informer.None{Reason: "test"}, time.Now)
	var log bytes.Buffer
	watch := newBundleWatch(&flags{bundle: dir}, reviewer, func(*policies.Bundle) error { return errors.New("give --trusted-root") }, slog.New(slog.NewJSONHandler(&log, nil)))
	write(t, dir, bundleText("6", "blue"))
	watch.look()
	if got := reviewer.Engine().Bundle().Manifest.Serial; got != 5 || !strings.Contains(log.String(), "give --trusted-root") {
		t.Errorf("serial %d is active, the log is %s, want 5 and --trusted-root", got, &log)
	}
}
