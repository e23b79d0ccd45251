package gatekeeper

import (
	"context"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
)

// guide is the page whose files are a bundle: a file's name in a line of its own before the block.
const guide = "../../docs/gatekeeper.md"

var (
	guideFile   = regexp.MustCompile("(?m)^`([a-z0-9./_-]+)`:\n\n```yaml\n((?s:.*?))^```$")
	guideOutput = regexp.MustCompile("(?m)^```text\n((?s:.*?))^```$")
)

func TestTheGuidesExampleDoesWhatItSays(t *testing.T) {
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, match := range guideFile.FindAllSubmatch(page, -1) {
		files[string(match[1])] = &fstest.MapFile{Data: match[2]}
	}
	if len(files) != 9 {
		t.Fatalf("got %d files on the page, want 9", len(files))
	}
	outputs := guideOutput.FindAllSubmatch(page, -1)
	if len(outputs) != 1 {
		t.Fatalf("got %d outputs on the page, want 1", len(outputs))
	}
	deployment := string(files["deployment.yaml"].Data)
	delete(files, "deployment.yaml") // it is judged, and not in the bundle
	if _, err := policies.Load(files); err != nil {
		t.Fatal(err)
	}
	own, err := fs.Sub(files, "gatekeeper")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Load(own, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := said(evaluate(e, requestFor(t, deployment), noFacts())), string(outputs[0][1]); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	results, err := Test(context.Background(), own)
	if err != nil || len(results) != 1 {
		t.Fatalf("got %d suites and %v, want one", len(results), err)
	}
	if run, _ := results[0].Count(); run != 2 || len(results[0].Failures()) > 0 {
		t.Errorf("got %d cases and the failures %s, want 2 and none", run, results[0].Failures())
	}
	object, _ := patched(t, e, requestFor(t, string(files["gatekeeper/samples/owned.yaml"].Data)), noFacts())
	if !strings.Contains(object, `"imagePullPolicy":"Always"`) {
		t.Errorf("got %s, want the images always pulled", object)
	}
	ingress := requestFor(t, "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: mine, namespace: shop}\nspec: {rules: [{host: a.example}]}\n")
	other := policies.Object{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress", Resource: "ingresses", Namespace: "web", Name: "theirs",
		Raw: []byte(`{"metadata":{"name":"theirs","namespace":"web"},"spec":{"rules":[{"host":"a.example"}]}}`)}
	want := "gatekeeper/k8suniqueingresshost unique-ingress-host deny: the host a.example is that of Ingress theirs in namespace web\n"
	if got := said(evaluate(e, ingress, &policies.Facts{Cluster: []policies.Object{other}})); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
