package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Limits of what is shown.
const (
	// DefaultSeries is how many series a metric has at most: ten times what the largest bundle that we know makes of one.
	DefaultSeries = 2000
	// DefaultSamples is how many samples all metrics have together, each bucket of a histogram being one: about 12 MB of text.
	DefaultSamples = 100_000
	// longestValue is how many bytes the value of a label may have: the names of Kubernetes have up to 253.
	longestValue = 256
)

// otherValue is that of all labels of the series that counters are folded into.
const otherValue = "other"

// most are metrics with another limit than DefaultSeries, and why.
var most = map[string]int{
	// One for each node, see the label sensor; two of them for each in the second.
	"portcullis_falco_sensor_kernel_drops_total":          5_001,
	"portcullis_falco_sensor_dropped":                     10_002,
	"portcullis_falco_sensor_last_seen_timestamp_seconds": 5_001,
	// Each is of one object.
	"portcullis_exception_expiry_timestamp_seconds": 1_000,
}

func mostOf(name string, otherwise int) int {
	if n, special := most[name]; special {
		return n
	}
	return otherwise
}

// guard leaves out what exceeds limits. Who came first stays: a newcomer must not push out a series that alerts are about.
type guard struct {
	most     func(name string) int
	samples  int
	dropped  *prometheus.CounterVec
	mu       sync.Mutex
	families map[string]*family
}

// family is what the guard remembers of a metric that comes near its limit.
type family struct {
	shown map[string]bool
	// folded is the sum of the series that were left out last, lost what had gone from that sum before. Their sum never falls, as
	// counters must not.
	folded, lost float64
}

// limit changes families so that they are within the limits.
func (g *guard) limit(families []*dto.MetricFamily) []*dto.MetricFamily {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := g.samples
	within := families[:0]
	for _, f := range families {
		weight := weigh(f)
		g.cut(f, min(g.most(f.GetName()), left/weight))
		left -= weight * len(f.Metric)
		if len(f.Metric) > 0 {
			within = append(within, f)
		}
	}
	return within
}

// weigh is how many samples a series of a metric has.
func weigh(f *dto.MetricFamily) int {
	const sumAndCount = 2
	if len(f.Metric) > 0 && f.Metric[0].Histogram != nil {
		return len(f.Metric[0].Histogram.Bucket) + 1 + sumAndCount // the bucket +Inf
	}
	if len(f.Metric) > 0 && f.Metric[0].Summary != nil {
		return len(f.Metric[0].Summary.Quantile) + sumAndCount
	}
	return 1
}

// cut leaves as many series of a metric as it may have, and one more for what is folded.
func (g *guard) cut(f *dto.MetricFamily, most int) {
	known := g.families[f.GetName()]
	if known == nil {
		known = &family{}
		g.families[f.GetName()] = known
	}
	fits, tooLong := []*dto.Metric{}, []*dto.Metric{}
	for _, m := range f.Metric {
		if longValue(m) {
			tooLong = append(tooLong, m)
			continue
		}
		fits = append(fits, m)
	}
	if len(fits) <= most/2 && len(tooLong) == 0 && known.folded == 0 && known.lost == 0 {
		known.shown = nil // all that is there is shown, and there is room for as many again
		return
	}
	shown, left := known.choose(fits, most)
	left = append(left, tooLong...)
	if len(left) > 0 {
		g.dropped.WithLabelValues(f.GetName()).Add(float64(len(left)))
	}
	if f.GetType() == dto.MetricType_COUNTER {
		shown = known.fold(shown, left)
	}
	f.Metric = shown
}

// choose takes those that were shown before, and then others in their order.
func (k *family) choose(all []*dto.Metric, most int) (shown, left []*dto.Metric) {
	keys := make([]string, len(all))
	before := 0
	for n, m := range all {
		keys[n] = key(m)
		if k.shown[keys[n]] {
			before++
		}
	}
	room := max(most-before, 0)
	next := make(map[string]bool, min(len(all), most))
	for n, m := range all {
		switch {
		case k.shown[keys[n]] && len(next) < most:
		case !k.shown[keys[n]] && room > 0:
			room--
		default:
			left = append(left, m)
			continue
		}
		next[keys[n]] = true
		shown = append(shown, m)
	}
	k.shown = next
	return shown, left
}

// fold adds the counters that are left out to one whose labels are other.
func (k *family) fold(shown, left []*dto.Metric) []*dto.Metric {
	sum := 0.0
	for _, m := range left {
		sum += m.Counter.GetValue()
	}
	if sum < k.folded { // some are gone, or are shown again
		k.lost += k.folded - sum
	}
	k.folded = sum
	total := k.folded + k.lost
	if total == 0 && len(left) == 0 {
		return shown
	}
	for _, m := range shown {
		if isOther(m) {
			*m.Counter.Value += total
			return shown
		}
	}
	var like *dto.Metric
	switch {
	case len(left) > 0:
		like = left[0]
	case len(shown) > 0:
		like = shown[0]
	default:
		return shown
	}
	other := &dto.Metric{Counter: &dto.Counter{Value: &total}}
	for _, pair := range like.Label {
		value := otherValue
		other.Label = append(other.Label, &dto.LabelPair{Name: pair.Name, Value: &value})
	}
	return append(shown, other)
}

func isOther(m *dto.Metric) bool {
	for _, pair := range m.Label {
		if pair.GetValue() != otherValue {
			return false
		}
	}
	return true
}

func longValue(m *dto.Metric) bool {
	for _, pair := range m.Label {
		if len(pair.GetValue()) > longestValue {
			return true
		}
	}
	return false
}

// key tells series of one metric apart. Labels come sorted.
func key(m *dto.Metric) string {
	var all strings.Builder
	for _, pair := range m.Label {
		all.WriteString(pair.GetValue())
		all.WriteByte(0xff) // in no text that is UTF-8
	}
	return all.String()
}
