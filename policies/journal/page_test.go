package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := mustRead(t, path); !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// busy is the journal of a day of a cluster, with something of everything.
func busy(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	namespaces := []string{"shop", "bank", "kube-system", "ci", "observability"}
	reviewer := reviewerOf(t, cluster{Namespace: &policies.Namespace{Name: "x"}},
		"pods/latest", "", deniesLatest,
		"pods/owner", "", `warn contains "no owner" if not input.object.metadata.labels.owner`)
	j := openIn(t, dir, func(o *Options) { o.Allows = 0.95 })
	for n := range 120 {
		spec := plainSpec
		switch {
		case n%11 == 0:
			spec = hostSpec
		case n%13 == 0:
			spec = `{"containers":[{"name":"a","image":"registry.example/a:latest"}]}`
		case n%17 == 0:
			spec = `{"containers":[{"name":"a","image":"registry.example/a:1","env":[{"name":"DB_PASSWORD","value":"correct horse"}]}]}`
		}
		request := pod(fmt.Sprint("web-", n), spec)
		if n%5 > 0 {
			request.Object = bytes.Replace(request.Object, []byte(`"metadata":{`), []byte(`"metadata":{"labels":{"owner":"ann"},`), 1)
		}
		request.Namespace = namespaces[n*n%31%5]
		if n == 11 {
			request.Name = "<script>alert(1)</script>\u202egnp"
			request.Subject.Username = `"><img src=x onerror=alert(1)>`
		}
		d := decide(reviewer, request)
		d.Time = noon.Add(time.Duration(n*n%997) * time.Minute)
		j.Record(context.Background(), d)
	}
	j.Record(context.Background(), &admission.Decision{ID: "shed", Time: noon, Outcome: "shed", Request: pod("late", plainSpec)})
	closeNow(t, j)
	return dir
}

// candidate is what the day is judged by again.
func candidate(t testing.TB) *admission.Lineup {
	return admission.Solo(engineOf(t, 2, "",
		"pods/host", "", `deny contains {"msg": "the pod uses the network of its node", "path": "spec.hostNetwork"} if input.workload.hostNetwork`,
		"pods/secret", "", `deny contains "a password in plain text" if { some e in input.workload.containers[_].env; e.value == "x" }`,
		"pods/owner", "", `warn contains "nobody owns it" if not input.object.metadata.labels.owner`))
}

func TestGoldenPageAndReport(t *testing.T) {
	report := replay(t, busy(t), ReplayOptions{After: candidate(t)})
	var page bytes.Buffer
	if err := WriteHTML(&page, report); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "replay.html"), page.Bytes())
	document, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "replay.json"), append(document, '\n'))
}

func TestAPageShowsNothingThatARequestMadeUpAsMarkup(t *testing.T) {
	var page bytes.Buffer
	if err := WriteHTML(&page, replay(t, busy(t), ReplayOptions{After: candidate(t)})); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, hostile := range []string{"<script", "<img", "\u202e"} {
		if strings.Contains(text, hostile) {
			t.Errorf("got %q in the page", hostile)
		}
	}
	if !strings.Contains(text, `&lt;script&gt;`) || !strings.Contains(text, `\u202e`) {
		t.Error("got a page without the name of the pod, want it escaped")
	}
	for _, elsewhere := range []string{"http://", "https://", "src=", "href=", "url("} {
		if strings.Contains(strings.ReplaceAll(text, "&#34;&gt;&lt;img src=x", ""), elsewhere) {
			t.Errorf("got %q in the page, want it to need nothing else", elsewhere)
		}
	}
}
