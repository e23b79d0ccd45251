package monitoring

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

var update = flag.Bool("update", false, "write the dashboards and the list of metrics in docs/metrics.md anew")

func TestDashboardsAreWhatTheyAreMadeFrom(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range dashboards {
		file := filepath.Join(dashboardsDir, d.file+".json")
		seen[file] = true
		want, err := d.JSON()
		must(t, err)
		if *update {
			must(t, os.MkdirAll(dashboardsDir, 0o755))
			must(t, os.WriteFile(file, want, 0o644))
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != string(want) {
			t.Errorf("%s differs from what it is made from (%v): run go test ./test/monitoring -update", file, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dashboardsDir, "*"))
	must(t, err)
	for _, file := range files {
		if !seen[file] {
			t.Errorf("%s is made from nothing", file)
		}
	}
}

func TestPanelsDoNotLieOverEachOther(t *testing.T) {
	for _, d := range dashboards {
		content, err := d.JSON()
		must(t, err)
		taken := map[[2]int]string{}
		for _, p := range panelsOf(t, content) {
			if p.Title == "" || p.Type != "row" && p.Description == "" {
				t.Errorf("%s: a panel has no title or no description: %+v", d.file, p)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if at[0] >= gridWidth || taken[at] != "" {
						t.Fatalf("%s: %s lies over %q or beyond the edge at %v", d.file, p.Title, taken[at], at)
					}
					taken[at] = p.Title
				}
			}
		}
	}
}

// waits is the program that waits for something that does not come, and may give up.
const waits = "portcullis-scanner"

// lateTypes are metrics of libraries that the linter has something against.
var lateTypes = regexp.MustCompile(`^(go|process|promhttp)_`)

func TestMetricsFollowTheConventions(t *testing.T) {
	s := open(t)
	for _, program := range sortedKeys(s.catalogs) {
		if program != waits {
			must(t, s.read(t.Context(), program, ""))
		}
		problems, err := promlint.New(strings.NewReader(s.texts[program])).Lint()
		must(t, err)
		for _, p := range problems {
			if !lateTypes.MatchString(p.Metric) {
				t.Errorf("%s: %s: %s", program, p.Metric, p.Text)
			}
		}
		types := map[string]string{}
		for _, m := range s.catalogs[program] {
			types[m.Name] = m.Type
			for _, label := range m.Labels {
				if m.Type != "" && m.Bounds[label] == "" {
					t.Errorf("%s: %s: nothing says why its label %s has few values: say so in cmd/internal/metrics/labels.go", program, m.Name, label)
				}
			}
		}
		for _, line := range strings.Split(s.texts[program], "\n") {
			var name, kind string
			if n, _ := fmt.Sscanf(line, "# TYPE %s %s", &name, &kind); n == 2 && types[name] != "" && types[name] != kind {
				t.Errorf("%s: %s is a %s, and its name says that it is a %s: rename it", program, name, kind, types[name])
			}
		}
		if len(types) < 30 {
			t.Errorf("%s: got %d metrics, want all of them", program, len(types))
		}
	}
}

// labelsSeen are all labels of metrics by their name, with the series of histograms.
func (s *scene) labelsSeen() map[string][]string {
	all := map[string][]string{}
	for _, catalog := range s.catalogs {
		for _, m := range catalog {
			all[m.Name] = m.Labels
			if m.Type == "histogram" {
				all[m.Name+"_bucket"], all[m.Name+"_sum"], all[m.Name+"_count"] = append(slices.Clone(m.Labels), "le"), m.Labels, m.Labels
			}
		}
	}
	for _, r := range recorded {
		all[r.Record] = recordedLabels
	}
	all["ALERTS"] = []string{"alertname", "alertstate", "severity"}
	all["apiserver_admission_webhook_fail_open_count"] = []string{"name", "type"} // of kube-apiserver, where a webhook's failurePolicy is Ignore
	return all
}

var (
	recorded       []rule
	recordedLabels = []string{"webhook", "outcome"}
	matcher        = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"`)
	grouping       = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
)

// wrongIn says what an expression names that there is not.
func wrongIn(expr string, known map[string][]string) (wrong []string) {
	labels := []string{"instance", "job"} // of Prometheus
	names := metricNames(expr)
	if strings.Contains(expr, "ALERTS") {
		names = append(names, "ALERTS")
	}
	for _, name := range names {
		of, there := known[name]
		if !there {
			wrong = append(wrong, "there is no metric "+name)
		}
		labels = append(labels, of...)
	}
	var used []string
	for _, found := range matcher.FindAllStringSubmatch(expr, -1) {
		used = append(used, found[1])
	}
	for _, found := range grouping.FindAllStringSubmatch(expr, -1) {
		used = append(used, strings.FieldsFunc(found[1], func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	for _, label := range used {
		if !slices.Contains(labels, label) {
			wrong = append(wrong, "no metric of it has the label "+label)
		}
	}
	if len(names) == 0 {
		wrong = append(wrong, "it reads no metric")
	}
	return wrong
}

func TestQueriesThatNameWhatThereIsNotAreFound(t *testing.T) {
	known := map[string][]string{"portcullis_webhook_requests_total": {"webhook", "outcome"}, "portcullis_webhook_request_duration_seconds_bucket": {"webhook", "le"}}
	for expr, want := range map[string]int{
		`sum by (outcome) (rate(portcullis_webhook_requests_total{webhook="validate"}[5m]))`:                                             0,
		`histogram_quantile(0.99, sum by (le, webhook) (rate(portcullis_webhook_request_duration_seconds_bucket[5m]))) > 1 or vector(0)`: 0,
		`sum(rate(portcullis_webhook_request_total[5m]))`:                                                                                1,
		`sum by (verdict) (rate(portcullis_webhook_requests_total[5m]))`:                                                                 1,
		`rate(portcullis_webhook_requests_total{verdict=~"admitted"}[5m])`:                                                               1,
		`vector(0)`: 1,
	} {
		if got := wrongIn(expr, known); len(got) != want {
			t.Errorf("%s: got %q, want %d", expr, got, want)
		}
	}
}

// queriesOf are all queries of dashboards and rules, by where they are.
func queriesOf(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range dashboards {
		for _, r := range d.rows {
			for _, p := range r.panels {
				for n, q := range p.queries {
					all[fmt.Sprintf("%s: %s: %s: %d", d.file, r.title, p.title, n)] = strings.ReplaceAll(q.expr, "$__rate_interval", "1m")
				}
			}
		}
	}
	list, _ := rules(t)
	for _, r := range list {
		all["rule "+r.Alert+r.Record] = r.Expr
		if r.Record != "" {
			recorded = append(recorded, r)
		}
	}
	return all
}

func TestEachQueryIsAnsweredByARealPrometheus(t *testing.T) {
	s := open(t)
	queries := queriesOf(t)
	known := s.labelsSeen()
	for _, where := range sortedKeys(queries) {
		for _, wrong := range wrongIn(queries[where], known) {
			t.Errorf("%s: %s: %s", where, wrong, queries[where])
		}
	}
	if s.prometheus == "" {
		t.Skip("prometheus is not installed (Debian's package prometheus): no query is asked")
	}
	clustertest.Eventually(t, "all programs being read", func() error {
		var up struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
			} `json:"result"`
		}
		if err := s.ask(t.Context(), "query", url.Values{"query": {"count by (program) (portcullis_build_info)"}}, &up); err != nil {
			return err
		}
		if len(up.Result) < len(s.probes)-1 { // all but the one that waits, and may have given up
			return fmt.Errorf("got %v, want %d programs", up.Result, len(s.probes)-1)
		}
		return nil
	})
	for _, where := range sortedKeys(queries) {
		var answer struct {
			ResultType string `json:"resultType"`
		}
		if err := s.ask(t.Context(), "query", url.Values{"query": {queries[where]}}, &answer); err != nil {
			t.Errorf("%s: %v", where, err)
		} else if answer.ResultType != "vector" {
			t.Errorf("%s: got a %s, want a vector: %s", where, answer.ResultType, queries[where])
		}
	}
}

func TestAlertsAreEvaluatedOnWhatProgramsExpose(t *testing.T) {
	s := open(t)
	if s.prometheus == "" {
		t.Skip("prometheus is not installed (Debian's package prometheus): no alert is evaluated")
	}
	list, _ := rules(t)
	clustertest.Eventually(t, "all rules being evaluated", func() error {
		var answer struct {
			Groups []struct {
				Rules []struct {
					Name      string `json:"name"`
					Health    string `json:"health"`
					LastError string `json:"lastError"`
				} `json:"rules"`
			} `json:"groups"`
		}
		if err := s.ask(t.Context(), "rules", nil, &answer); err != nil {
			return err
		}
		healthy := 0
		for _, g := range answer.Groups {
			for _, r := range g.Rules {
				if r.LastError != "" {
					t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if r.Health == "ok" {
					healthy++
				}
			}
		}
		if healthy != len(list) {
			return fmt.Errorf("%d of %d are", healthy, len(list))
		}
		return nil
	})
	clustertest.Eventually(t, "no alert about programs that run", func() error {
		var all struct {
			Alerts []struct {
				Labels map[string]string `json:"labels"`
				State  string            `json:"state"`
			} `json:"alerts"`
		}
		if err := s.ask(t.Context(), "alerts", nil, &all); err != nil {
			return err
		}
		for _, a := range all.Alerts {
			if name := a.Labels["alertname"]; strings.HasSuffix(name, "Down") && name != "PortcullisScannerDown" {
				return fmt.Errorf("%s is %s", name, a.State)
			}
		}
		return nil
	})
}

func TestASlowRequestLeadsToItsTrace(t *testing.T) {
	s := open(t)
	s.review(t)
	if s.prometheus == "" {
		t.Skip("prometheus is not installed (Debian's package prometheus): no exemplar is read")
	}
	clustertest.Eventually(t, "the exemplar in Prometheus", func() error {
		var answer []struct {
			Exemplars []struct {
				Labels map[string]string `json:"labels"`
			} `json:"exemplars"`
		}
		if err := s.ask(t.Context(), "query_exemplars", url.Values{
			"query": {"portcullis_webhook_request_duration_seconds_bucket"}, "start": {"0"}, "end": {"9999999999"},
		}, &answer); err != nil {
			return err
		}
		for _, series := range answer {
			for _, e := range series.Exemplars {
				if e.Labels["trace_id"] == traceID {
					return nil
				}
			}
		}
		return fmt.Errorf("got %+v", answer)
	})
}
