package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsThatBreakARuleAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		metric string
		labels []string
		help   string
		want   string // in the error, "" for none
	}{
		"a good one":                      {"portcullis_webhook_things_total", []string{"outcome"}, "Things.", ""},
		"another product's name":          {"things_total", nil, "Things.", "its name is not portcullis_"},
		"a capital":                       {"portcullis_webhook_Things_total", nil, "Things.", "its name is not portcullis_"},
		"no subsystem of ours":            {"portcullis_stuff_things_total", nil, "Things.", "no subsystem is called that"},
		"a subsystem that only begins so": {"portcullis_webhooks_total", nil, "Things.", "no subsystem is called that"},
		"no help":                         {"portcullis_webhook_things_total", nil, "", "it has no help"},
		"a label for pods":                {"portcullis_webhook_things_total", []string{"pod"}, "Things.", "its label pod has a value for each pod"},
		"a label for digests":             {"portcullis_webhook_things_total", []string{"policy", "digest"}, "Things.", "its label digest"},
		"a label for users":               {"portcullis_webhook_things_total", []string{"user"}, "Things.", "its label user"},
		"a label for messages":            {"portcullis_webhook_things_total", []string{"message"}, "Things.", "its label message is a text"},
		"a label for images":              {"portcullis_webhook_things_total", []string{"image"}, "Things.", "its label image"},
		"a label for UIDs":                {"portcullis_webhook_things_total", []string{"uid"}, "Things.", "its label uid"},
		"a label for paths":               {"portcullis_webhook_things_total", []string{"path"}, "Things.", "its label path"},
		"a label for traces":              {"portcullis_webhook_things_total", []string{"trace_id"}, "Things.", "give it as an exemplar"},
		"such a label of a library":       {"go_things", []string{"path"}, "Things.", "its label path"},
		"a library's name":                {"go_things", nil, "Things.", ""},
		"quotes and braces in the help":   {"portcullis_webhook_things", nil, `A "thing", variableLabels: {pod}}.`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRegistry("test")
			err := r.Register(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: test.metric, Help: test.help}, test.labels))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			listed := false
			for _, d := range r.Catalog() {
				listed = listed || d.Name == test.metric && d.Help == test.help && strings.Join(d.Labels, ",") == strings.Join(test.labels, ",")
			}
			if listed != (test.want == "") {
				t.Errorf("got in the catalog %v, want %v: %+v", listed, test.want == "", r.Catalog())
			}
		})
	}
}

// silent says nothing of what it collects.
type silent struct{ prometheus.Counter }

func (silent) Describe(chan<- *prometheus.Desc) {}

func TestACollectorThatDescribesNothingIsRefused(t *testing.T) {
	err := NewRegistry("test").Register(silent{prometheus.NewCounter(prometheus.CounterOpts{Name: "portcullis_webhook_things_total", Help: "Things."})})
	if err == nil || !strings.Contains(err.Error(), "does not say which it has") {
		t.Errorf("got %v", err)
	}
}

func TestEveryProgramSaysWhichBuildItIs(t *testing.T) {
	families, err := NewRegistry("portcullis-test").Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		seen[f.GetName()] = true
		if f.GetName() != "portcullis_build_info" {
			continue
		}
		labels := map[string]string{}
		for _, pair := range f.Metric[0].Label {
			labels[pair.GetName()] = pair.GetValue()
		}
		if labels["program"] != "portcullis-test" || labels["version"] == "" || labels["revision"] == "" || !strings.HasPrefix(labels["go_version"], "go") {
			t.Errorf("got %q", labels)
		}
	}
	for _, want := range []string{"portcullis_build_info", "go_goroutines", "process_start_time_seconds"} {
		if !seen[want] {
			t.Errorf("there is no %s", want)
		}
	}
}

func TestTheTypesOfNames(t *testing.T) {
	for name, want := range map[string]string{
		"portcullis_webhook_requests_total":                       "counter",
		"portcullis_webhook_request_duration_seconds":             "histogram",
		"portcullis_quarantine_isolation_seconds":                 "histogram",
		"portcullis_falco_queue_age_seconds":                      "gauge",
		"portcullis_secrets_lease_expiry_seconds":                 "gauge",
		"portcullis_webhook_certificate_expiry_timestamp_seconds": "gauge",
		"portcullis_quarantines":                                  "gauge",
		"portcullis_journal_bytes":                                "gauge",
	} {
		if got := TypeOf(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestOwnMetricsPassTheLinter(t *testing.T) {
	r := NewRegistry("test")
	r.guard.dropped.WithLabelValues("x")
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "portcullis_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func FuzzDescriptionsAreReadAsTheyWereWritten(f *testing.F) {
	f.Add("portcullis_webhook_things_total", "Things.", "outcome")
	f.Add("a", `", help: "x", variableLabels: {b}}`, "c")
	f.Add("a_b", "}", "")
	f.Fuzz(func(t *testing.T, name, help, label string) {
		var labels []string
		if label != "" {
			labels = []string{label, label + "_more"}
		}
		desc := prometheus.NewDesc(name, help, labels, nil)
		if desc.Err() != nil || strings.ContainsAny(label, ",{}") {
			t.Skip()
		}
		got, err := read(desc)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != name || got.Help != help || strings.Join(got.Labels, ",") != strings.Join(labels, ",") {
			t.Errorf("got %+v of %q, %q, %q", got, name, help, labels)
		}
	})
}
