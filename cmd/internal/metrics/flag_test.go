package metrics

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestTheFlagLimitsMetrics(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want int    // series of an ordinary metric
		says string // in the error, "" for none
	}{
		"by default":          {nil, DefaultSeries, ""},
		"a number":            {[]string{"--metrics-max-series=500"}, 500, ""},
		"the least":           {[]string{"--metrics-max-series=100"}, 100, ""},
		"less than the least": {[]string{"--metrics-max-series=99"}, 0, "give a whole number from 100 to 50000"},
		"more than the most":  {[]string{"--metrics-max-series=50001"}, 0, "give a whole number from 100 to 50000"},
		"no number":           {[]string{"--metrics-max-series=many"}, 0, "give a whole number from 100 to 50000"},
	} {
		t.Run(name, func(t *testing.T) {
			var series Series
			set := pflag.NewFlagSet("test", pflag.ContinueOnError)
			set.SetOutput(io.Discard)
			series.Register(set)
			err := set.Parse(test.args)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %q in it", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := series.NewRegistry("test")
			r.Gauge("portcullis_exception_expiry_timestamp_seconds", "When it ends.", func() float64 { return 0 })
			for _, d := range r.Catalog() {
				want := test.want
				if d.Name == "portcullis_exception_expiry_timestamp_seconds" {
					want = 1000 // its own
				}
				if d.Series != want || r.guard.most(d.Name) != want {
					t.Errorf("%s: got %d and %d, want %d", d.Name, d.Series, r.guard.most(d.Name), want)
				}
			}
		})
	}
}
