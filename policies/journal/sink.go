package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Sink gets a copy of the lines of a journal.
type Sink interface {
	// Name is its label in metrics.
	Name() string
	// Send takes some lines, in their order. An error means that they are to be sent again, unless it is
	// [ErrRefused]. It returns when ctx ends.
	Send(ctx context.Context, entries []Entry) error
}

// ErrRefused is wrapped by the errors of a [Sink] that will not take some lines however often they are sent.
var ErrRefused = errors.New("the receiver refuses it")

// Entry is one line for a sink.
type Entry struct {
	// Line is the line as it stands in the journal, without a line feed. It must not be changed.
	Line []byte
	// The rest is in the line, too.
	Sequence  uint64
	Kind      string
	Time      time.Time
	ID, Trace string
	Outcome   string // of a transition its step
}

// Bounds of what waits for a sink, and of what is sent at once.
const (
	maxSinkLines = 8192
	maxSinkBytes = 32 << 20
	maxSend      = 512
	maxSendBytes = 4 << 20
	// sendTimeout bounds one attempt.
	sendTimeout = 30 * time.Second
	// The first pause after a failure, and the longest.
	minPause = 500 * time.Millisecond
	maxPause = 30 * time.Second
)

// feed is the queue of one sink. What finds no place in it is dropped, and counted: a sink that is slow or gone costs its
// own copies, never an admission.
type feed struct {
	sink   Sink
	counts *counts

	mu      sync.Mutex
	entries []Entry
	bytes   int
	closed  bool
	wake    chan struct{}

	ctx     context.Context // of sending
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newFeed(sink Sink, counts *counts, _ Options) *feed {
	f := &feed{sink: sink, counts: counts, wake: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	counts.sinkSent.WithLabelValues(sink.Name())
	counts.sinkDropped.WithLabelValues(sink.Name(), "queue")
	f.running.Go(f.run)
	return f
}

// offer takes a line if there is room. It never waits.
func (f *feed) offer(entry Entry) {
	f.mu.Lock()
	room := !f.closed && len(f.entries) < maxSinkLines && f.bytes+len(entry.Line) <= maxSinkBytes
	if room {
		f.entries = append(f.entries, entry)
		f.bytes += len(entry.Line)
	}
	f.mu.Unlock()
	if !room {
		f.drop("queue", 1, nil)
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) drop(reason string, lines int, cause error) {
	f.counts.sinkDropped.WithLabelValues(f.sink.Name(), reason).Add(float64(lines))
	f.counts.tell("a sink of the journal lacks lines", f.sink.Name()+": "+reason, cause)
}

// take removes what is sent at once. done says that there is nothing, and nothing will come.
func (f *feed) take() (batch []Entry, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := 0
	for len(batch) < len(f.entries) && len(batch) < maxSend && (size == 0 || size+len(f.entries[len(batch)].Line) <= maxSendBytes) {
		size += len(f.entries[len(batch)].Line)
		batch = f.entries[:len(batch)+1]
	}
	f.entries = f.entries[len(batch):]
	f.bytes -= size
	return batch, len(batch) == 0 && f.closed
}

func (f *feed) run() {
	for {
		batch, done := f.take()
		if done {
			return
		}
		if len(batch) == 0 {
			<-f.wake
			continue
		}
		f.send(batch)
	}
}

// send tries until the sink has the lines, refuses them, or there is no time left.
func (f *feed) send(batch []Entry) {
	pause := minPause
	for {
		ctx, cancel := context.WithTimeout(f.ctx, sendTimeout)
		err := f.sink.Send(ctx, batch)
		cancel()
		switch {
		case err == nil:
			f.counts.sinkSent.WithLabelValues(f.sink.Name()).Add(float64(len(batch)))
			return
		case errors.Is(err, ErrRefused):
			f.drop("refused", len(batch), err)
			return
		case f.ctx.Err() != nil:
			f.drop("closed", len(batch), err)
			return
		}
		f.counts.tell("a sink of the journal does not answer", f.sink.Name()+": unreachable", err)
		// Half of the pause is chance, so that replicas do not come back together.
		wait := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-wait.C:
		case <-f.ctx.Done():
			wait.Stop()
		}
		pause = min(2*pause, maxPause)
	}
}

// close lets the sink have what waits, until ctx ends.
func (f *feed) close(ctx context.Context) {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	stop := context.AfterFunc(ctx, f.cancel)
	f.running.Wait()
	stop()
	f.cancel()
	if closer, ok := f.sink.(interface{ Close() error }); ok {
		_ = closer.Close() // what was sent is sent
	}
}
