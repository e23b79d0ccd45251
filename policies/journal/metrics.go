package journal

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a line was lost.
const (
	reasonQueue    = "queue"    // no place in the queue: the disk is too slow
	reasonEncoding = "encoding" // it could not be written as JSON
	reasonFacts    = "facts"    // its facts could not be stored
	reasonWrite    = "write"    // it could not be written: no room, no disk
	reasonClosed   = "closed"   // it came after the end
	reasonSync     = "sync"     // not lost, but not known to be on the disk
)

// quiet is how long nothing more is said of a reason that was told.
const quiet = time.Minute

// counts is what happens in a journal, as Prometheus and the log see it.
type counts struct {
	logger *slog.Logger
	now    func() time.Time
	size   atomic.Int64

	lines       *prometheus.CounterVec
	drops       *prometheus.CounterVec
	late        prometheus.Counter
	sampled     prometheus.Counter
	unsynced    prometheus.Counter
	sinkSent    *prometheus.CounterVec
	sinkDropped *prometheus.CounterVec
	waiting     prometheus.GaugeFunc
	onDisk      prometheus.GaugeFunc

	mu   sync.Mutex
	told map[string]time.Time
}

func newCounts(j *Journal, options Options) *counts {
	c := &counts{logger: options.Logger, now: options.Now, told: map[string]time.Time{}}
	c.lines = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "portcullis_journal_lines_total", Help: "Lines that the kernel has taken, by kind.",
	}, []string{"kind"})
	c.drops = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "portcullis_journal_dropped_total", Help: "Lines that are lost, by reason.",
	}, []string{"reason"})
	c.late = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "portcullis_journal_late_total", Help: "Decisions that were answered before the kernel had their line.",
	})
	c.sampled = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "portcullis_journal_left_out_total", Help: "Plain admissions that are left out by configuration.",
	})
	c.unsynced = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "portcullis_journal_sync_errors_total", Help: "Failures to synchronise the journal with its disk.",
	})
	c.sinkSent = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "portcullis_journal_sink_sent_total", Help: "Lines that a sink has taken.",
	}, []string{"sink"})
	c.sinkDropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "portcullis_journal_sink_dropped_total", Help: "Lines that a sink never got, by reason: queue, refused, closed.",
	}, []string{"sink", "reason"})
	c.waiting = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "portcullis_journal_waiting_lines", Help: "Lines that wait for being written.",
	}, func() float64 { return float64(len(j.queue)) })
	c.onDisk = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "portcullis_journal_bytes", Help: "What the journal takes on disk, lines and facts.",
	}, func() float64 { return float64(c.size.Load()) })
	c.size.Store(j.files.total())
	for _, reason := range []string{reasonQueue, reasonEncoding, reasonFacts, reasonWrite, reasonClosed} {
		c.drops.WithLabelValues(reason) // zero is a value, too
	}
	return c
}

func (c *counts) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.lines, c.drops, c.late, c.sampled, c.unsynced, c.sinkSent, c.sinkDropped, c.waiting, c.onDisk}
}

// Describe implements [prometheus.Collector].
func (j *Journal) Describe(into chan<- *prometheus.Desc) {
	for _, collector := range j.counts.collectors() {
		collector.Describe(into)
	}
}

// Collect implements [prometheus.Collector].
func (j *Journal) Collect(into chan<- prometheus.Metric) {
	for _, collector := range j.counts.collectors() {
		collector.Collect(into)
	}
}

// dropped counts lines that are lost.
func (c *counts) dropped(reason string, lines int, cause error) {
	c.drops.WithLabelValues(reason).Add(float64(lines))
	c.tell("the journal has lost decisions", reason, cause)
}

// failed counts what went wrong without a loss.
func (c *counts) failed(reason string, cause error) {
	c.unsynced.Inc()
	c.tell("the journal is not on its disk", reason, cause)
}

func (c *counts) tell(what, reason string, cause error) {
	now := c.now()
	c.mu.Lock()
	last, before := c.told[reason]
	recent := before && now.Sub(last) < quiet && !now.Before(last)
	if !recent {
		c.told[reason] = now
	}
	c.mu.Unlock()
	if recent {
		return
	}
	attributes := []any{"reason", reason}
	if cause != nil {
		attributes = append(attributes, "error", cause.Error())
	}
	c.logger.Error(what, attributes...)
}
