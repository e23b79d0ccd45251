package shadow_test

import (
	"context"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/test/bench/halfload"
)

// BenchmarkHalfLoad measures the latency of reviews, from when they were to begin, at half of what the machine can do:
// with nothing on trial and with a candidate that is compared, in turns. The budget is 5 % of p99, of which the median of all
// turns is told.
//
//	go test ./admission/shadow -run '^$' -bench HalfLoad -benchtime 15x
func BenchmarkHalfLoad(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	trial, err := halfload.New(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := trial.Turn(time.Second); err != nil {
			b.Fatal(err)
		}
	}
	result := trial.Result()
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) }
	b.ReportMetric(micros(result.Off.P50), "p50-µs-off")
	b.ReportMetric(micros(result.On.P50), "p50-µs-on")
	b.ReportMetric(micros(result.Off.P99), "p99-µs-off")
	b.ReportMetric(micros(result.On.P99), "p99-µs-on")
	b.ReportMetric(100*result.More(), "%p99-more")
	b.ReportMetric(result.PerSecond, "reviews/s")
	b.ReportMetric(100*float64(result.Compared)/float64(max(result.Compared+result.Shed, 1)), "%compared")
	b.ReportMetric(0, "ns/op") // it is the time of the turns
}
