package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// load is what came of a steady stream of requests.
type load struct {
	sent      int
	errors    []error // of requests whose answer was not the right one
	latencies []time.Duration
	took      time.Duration
}

// maxInFlight bounds the requests that wait for an answer at once. With 200 requests
// a second it is reached when answers take over two seconds.
const maxInFlight = 500

// send sends rate requests a second for as long as told, each at its own time whether
// or not earlier ones are answered, so that a slow answer delays no other request and
// is not left out of the count. request is given the request's number; its error
// means that the answer was wrong.
func send(ctx context.Context, rate int, duration time.Duration, request func(context.Context, int) error) *load {
	result := &load{}
	var mu sync.Mutex
	var inFlight sync.WaitGroup
	places := make(chan struct{}, maxInFlight)
	started := time.Now()
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	total, next := int(duration.Seconds()*float64(rate)), 0
	for next < total && ctx.Err() == nil {
		due := min(total, int(time.Since(started).Seconds()*float64(rate))+1)
		for number := next; number < due; number++ {
			places <- struct{}{}
			inFlight.Go(func() {
				defer func() { <-places }()
				asked := time.Now()
				err := request(ctx, number)
				mu.Lock()
				defer mu.Unlock()
				result.latencies = append(result.latencies, time.Since(asked))
				if err != nil {
					result.errors = append(result.errors, fmt.Errorf("request %d, %s after the start: %w", number, asked.Sub(started).Round(time.Millisecond), err))
				}
			})
		}
		next = due
		<-ticker.C
	}
	inFlight.Wait()
	result.sent, result.took = len(result.latencies), time.Since(started)
	slices.Sort(result.latencies)
	return result
}

// percentile of the latencies.
func (l *load) percentile(p float64) time.Duration {
	if len(l.latencies) == 0 {
		return 0
	}
	return l.latencies[min(len(l.latencies)-1, int(float64(len(l.latencies))*p/100))]
}

func (l *load) String() string {
	return fmt.Sprintf("%d requests in %s (%.0f/s), %d errors, p50 %s, p99 %s, longest %s",
		l.sent, l.took.Round(time.Millisecond), float64(l.sent)/l.took.Seconds(), len(l.errors),
		l.percentile(50).Round(10*time.Microsecond), l.percentile(99).Round(10*time.Microsecond), l.percentile(100).Round(10*time.Microsecond))
}
