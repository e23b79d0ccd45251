package bench

import (
	"math"
	"runtime/metrics"
	"slices"
	"time"
)

// Contender is one of the things compared.
type Contender struct {
	Name string
	Call func()
}

// Figures are what one contender needs for a call: each the median of the rounds.
type Figures struct {
	Mean, P99, CPU time.Duration
	Bytes, Allocs  float64

	means []time.Duration // by round
}

// Compare runs contenders in turns: rounds of calls each, in an order that rotates, so
// that what else happens on the machine hits all of them.
func Compare(rounds, calls int, contenders ...Contender) map[string]*Figures {
	collected := make([][]round, len(contenders))
	for n := range rounds {
		for i := range contenders {
			at := (i + n) % len(contenders)
			collected[at] = append(collected[at], measure(calls, contenders[at].Call))
		}
	}
	figures := map[string]*Figures{}
	for i, c := range contenders {
		figures[c.Name] = summarise(collected[i])
	}
	return figures
}

// round is what one round of calls needed, per call.
type round struct {
	mean, p99, cpu time.Duration
	bytes, allocs  float64
}

func measure(calls int, call func()) round {
	for range min(calls, 10) { // so that caches of the processor are its own
		call()
	}
	durations := make([]time.Duration, calls)
	bytes, objects := allocated()
	cpu := processTime()
	for i := range durations {
		start := time.Now()
		call()
		durations[i] = time.Since(start)
	}
	cpu = processTime() - cpu
	bytesAfter, objectsAfter := allocated()
	var total time.Duration
	for _, d := range durations {
		total += d
	}
	n := time.Duration(calls)
	return round{
		mean: total / n, p99: percentile(durations, 99), cpu: cpu / n,
		bytes: float64(bytesAfter-bytes) / float64(calls), allocs: float64(objectsAfter-objects) / float64(calls),
	}
}

// percentile sorts the durations.
func percentile(durations []time.Duration, p float64) time.Duration {
	slices.Sort(durations)
	return durations[min(len(durations)-1, int(math.Ceil(float64(len(durations))*p/100))-1)]
}

// allocated is what the process has allocated since it began. Small objects are
// counted when their span is full, which evens out over a round.
func allocated() (bytes, objects uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/allocs:objects"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}

func summarise(rounds []round) *Figures {
	f := &Figures{
		Mean:   median(rounds, func(r round) time.Duration { return r.mean }),
		P99:    median(rounds, func(r round) time.Duration { return r.p99 }),
		CPU:    median(rounds, func(r round) time.Duration { return r.cpu }),
		Bytes:  median(rounds, func(r round) float64 { return r.bytes }),
		Allocs: median(rounds, func(r round) float64 { return r.allocs }),
	}
	for _, r := range rounds {
		f.means = append(f.means, r.mean)
	}
	return f
}

func median[R any, T ~int64 | ~float64](rounds []R, of func(R) T) T {
	values := make([]T, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// Ratio says how many times as long as the other a contender takes: the median over
// rounds, each compared with the other's round beside it.
func (f *Figures) Ratio(other *Figures) float64 {
	ratios := make([]float64, len(f.means))
	for i := range ratios {
		ratios[i] = float64(f.means[i]) / float64(other.means[i])
	}
	return median(ratios, func(r float64) float64 { return r })
}
