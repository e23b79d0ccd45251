package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// scraped are the values of a metric by its labels, "a=b,c=d".
func scraped(t *testing.T, r *Registry, name string) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var labels []string
			for _, pair := range m.Label {
				labels = append(labels, pair.GetName()+"="+pair.GetValue())
			}
			of := strings.Join(labels, ",")
			if _, twice := values[of]; twice {
				t.Errorf("%s{%s} is there twice", name, of)
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				values[of] = m.Counter.GetValue()
			case dto.MetricType_HISTOGRAM:
				values[of] = float64(m.Histogram.GetSampleCount())
			default:
				values[of] = m.Gauge.GetValue()
			}
		}
	}
	return values
}

func sum(values map[string]float64) (all float64) {
	for _, v := range values {
		all += v
	}
	return all
}

const things = "portcullis_webhook_things_total"

func limited(most int) (*Registry, *prometheus.CounterVec) {
	r := NewRegistry("test")
	r.guard.most = func(name string) int {
		if strings.HasPrefix(name, "portcullis_webhook_things") {
			return most
		}
		return DefaultSeries
	}
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: things, Help: "Things."}, []string{"policy", "kind"})
	r.MustRegister(c)
	return r, c
}

func TestCountersBeyondTheLimitAreAddedUp(t *testing.T) {
	r, c := limited(3)
	for _, policy := range []string{"x", "y", "z"} {
		c.WithLabelValues(policy, "k").Inc()
	}
	if got := scraped(t, r, things); len(got) != 3 || got["kind=k,policy=x"] != 1 {
		t.Fatalf("within the limit: got %v", got)
	}
	for n := range 5 { // their names are before those of the first
		c.WithLabelValues(fmt.Sprint("a", n), "k").Add(2)
	}
	got := scraped(t, r, things)
	if len(got) != 4 || got["kind=k,policy=x"] != 1 || got["kind=k,policy=z"] != 1 || got["kind=other,policy=other"] != 10 {
		t.Errorf("who came first must stay, and the others be added up: got %v", got)
	}
	if got := scraped(t, r, "portcullis_metrics_dropped_series_total")["metric="+things]; got != 5 {
		t.Errorf("got %v counted as left out, want 5", got)
	}
	if got := scraped(t, r, "portcullis_metrics_dropped_series_total")["metric="+things]; got != 10 {
		t.Errorf("got %v counted as left out at the next reading, want 10", got)
	}
}

func TestTheSumNeverFalls(t *testing.T) {
	r, c := limited(2)
	c.WithLabelValues("x", "k").Inc()
	c.WithLabelValues("y", "k").Inc()
	scraped(t, r, things)
	last := 0.0
	step := func(name string) {
		t.Helper()
		other := scraped(t, r, things)["kind=other,policy=other"]
		if other < last {
			t.Errorf("%s: got %v after %v", name, other, last)
		}
		last = other
	}
	c.WithLabelValues("a", "k").Add(5)
	c.WithLabelValues("b", "k").Add(7)
	step("two are folded")
	c.DeleteLabelValues("b", "k")
	step("one of them is gone")
	c.DeleteLabelValues("x", "k")
	step("one of them is shown instead")
	c.WithLabelValues("d", "k").Add(3)
	step("another one comes")
	if last != 5+7+3 {
		t.Errorf("got %v, want what all of them had counted", last)
	}
}

func TestAPolicyThatIsCalledOther(t *testing.T) {
	r, c := limited(2)
	c.WithLabelValues("other", "other").Add(4)
	c.WithLabelValues("x", "k").Inc()
	scraped(t, r, things)
	c.WithLabelValues("y", "k").Add(2)
	if got := scraped(t, r, things); got["kind=other,policy=other"] != 6 || sum(got) != 7 {
		t.Errorf("got %v", got)
	}
	if got := scraped(t, r, things); got["kind=other,policy=other"] != 6 {
		t.Errorf("read again: got %v", got)
	}
}

func TestGaugesAndHistogramsBeyondTheLimitAreLeftOut(t *testing.T) {
	r, _ := limited(3)
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "portcullis_webhook_things", Help: "Things."}, []string{"kind"})
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "portcullis_webhook_things_seconds", Help: "Things."}, []string{"kind"})
	r.MustRegister(g, h)
	for n := range 5 {
		g.WithLabelValues(fmt.Sprint(n)).Set(1)
		h.WithLabelValues(fmt.Sprint(n)).Observe(1)
	}
	for _, name := range []string{"portcullis_webhook_things", "portcullis_webhook_things_seconds"} {
		if got := scraped(t, r, name); len(got) != 3 || got["kind=0"] != 1 {
			t.Errorf("%s: got %v, want three", name, got)
		}
	}
}

func TestAllMetricsTogetherAreLimited(t *testing.T) {
	r, c := limited(1000)
	for n := range 500 {
		c.WithLabelValues(fmt.Sprint(n), "k").Inc()
	}
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "portcullis_webhook_things_seconds", Help: "Things.", Buckets: prometheus.LinearBuckets(1, 1, 97)}, []string{"kind"})
	r.MustRegister(h)
	for n := range 500 {
		h.WithLabelValues(fmt.Sprint(n)).Observe(1)
	}
	r.guard.samples = 2000
	if got := len(scraped(t, r, "portcullis_webhook_things_seconds")); got == 0 || got > 20 {
		t.Errorf("got %d histograms of 100 samples, want at most 20", got)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for _, f := range families {
		all += weigh(f) * len(f.Metric)
	}
	if all > 2000+len(families) {
		t.Errorf("got %d samples", all)
	}
}

func TestAValueThatIsTooLongIsFolded(t *testing.T) {
	r, c := limited(10)
	c.WithLabelValues(strings.Repeat("x", longestValue+1), "k").Add(3)
	c.WithLabelValues(strings.Repeat("x", longestValue), "k").Inc()
	got := scraped(t, r, things)
	if len(got) != 2 || got["kind=other,policy=other"] != 3 {
		t.Errorf("got %v", got)
	}
}
