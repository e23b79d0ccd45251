package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Limits of what waits for the collector. A span with its attributes takes about 2 KiB.
const (
	maxQueue = 4096
	maxBatch = 512
	// How long a span waits for others to be sent with.
	batchEvery = 2 * time.Second
	// How long sending one batch may take, with its tries.
	exportTimeout = 10 * time.Second
)

// What becomes of spans: values of the label result.
const (
	resultExported = "exported"
	resultFailed   = "failed"  // the collector did not take them
	resultDropped  = "dropped" // too many waited
)

// queue takes ended spans and sends them in batches. OnEnd never waits: where too many are waiting, a span is dropped and counted. It is one
// of our own, since that of the SDK does not say how many it drops.
type queue struct {
	to      sdk.SpanExporter
	failed  func(error) // hears of each batch that was not taken, and of nil for the first that is again
	spans   chan sdk.ReadOnlySpan
	results map[string]prometheus.Counter
	vector  *prometheus.CounterVec

	end   chan struct{}
	once  sync.Once
	ended chan struct{}
}

func newQueue(to sdk.SpanExporter, size int, every time.Duration, failed func(error)) *queue {
	q := &queue{
		to: to, failed: failed, spans: make(chan sdk.ReadOnlySpan, size), end: make(chan struct{}), ended: make(chan struct{}),
		vector: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_tracing_spans_total",
			Help: "Spans that ended: exported, failed where the collector did not take them, dropped where too many waited for it.",
		}, []string{"result"}),
		results: map[string]prometheus.Counter{},
	}
	for _, result := range []string{resultExported, resultFailed, resultDropped} {
		q.results[result] = q.vector.WithLabelValues(result)
	}
	go q.run(every)
	return q
}

// OnStart implements [sdk.SpanProcessor].
func (q *queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements [sdk.SpanProcessor].
func (q *queue) OnEnd(span sdk.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}
	select {
	case <-q.end:
		q.results[resultDropped].Inc()
	case q.spans <- span:
	default:
		q.results[resultDropped].Inc()
	}
}

// Shutdown implements [sdk.SpanProcessor]: what waits is sent, as far as ctx allows.
func (q *queue) Shutdown(ctx context.Context) error {
	q.once.Do(func() { close(q.end) })
	select {
	case <-q.ended:
		return q.to.Shutdown(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ForceFlush implements [sdk.SpanProcessor]. Nobody calls it.
func (q *queue) ForceFlush(context.Context) error { return nil }

func (q *queue) run(every time.Duration) {
	defer close(q.ended)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	batch := make([]sdk.ReadOnlySpan, 0, maxBatch)
	send := func() {
		if len(batch) > 0 {
			q.send(batch)
			batch = batch[:0]
		}
	}
	for {
		select {
		case span := <-q.spans:
			if batch = append(batch, span); len(batch) == maxBatch {
				send()
			}
		case <-ticker.C:
			send()
		case <-q.end:
			for {
				select {
				case span := <-q.spans:
					if batch = append(batch, span); len(batch) == maxBatch {
						send()
					}
					continue
				default:
				}
				send()
				return
			}
		}
	}
}

func (q *queue) send(batch []sdk.ReadOnlySpan) {
	clean := make([]sdk.ReadOnlySpan, len(batch))
	for n, span := range batch {
		clean[n] = redactedSpan{span}
	}
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	err := q.to.ExportSpans(ctx, clean)
	q.failed(err)
	if err != nil {
		q.results[resultFailed].Add(float64(len(batch)))
		return
	}
	q.results[resultExported].Add(float64(len(batch)))
}
