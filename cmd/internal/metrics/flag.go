package metrics

import (
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// Bounds of the flag: below, not even the policies of the built-in library are told apart; above, one program is more than a small Prometheus
// should keep.
const leastSeries, mostSeries = 100, 50_000

// Series is the flag --metrics-max-series, which says how many series a metric has at most. The zero value is [DefaultSeries].
type Series int

// Register adds the flag to a set.
func (s *Series) Register(set *pflag.FlagSet) {
	*s = DefaultSeries
	set.Var(s, "metrics-max-series", "`number` of series that a metric shows at most; further counters are added up as other, further gauges and histograms left out, and portcullis_metrics_dropped_series_total says so")
}

// String implements [pflag.Value].
func (s *Series) String() string { return strconv.Itoa(int(*s)) }

// Type implements [pflag.Value].
func (s *Series) Type() string { return "int" }

// Set implements [pflag.Value].
func (s *Series) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < leastSeries || n > mostSeries {
		return fmt.Errorf("give a whole number from %d to %d", leastSeries, mostSeries)
	}
	*s = Series(n)
	return nil
}

// NewRegistry is [NewRegistry] with this limit. Those of metrics that have one of their own stay.
func (s *Series) NewRegistry(program string) *Registry {
	r := NewRegistry(program)
	if *s > 0 {
		r.limit(int(*s))
	}
	return r
}
