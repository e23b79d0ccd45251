package falco

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/falco/spool"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Defaults of [QueueOptions].
const (
	// DefaultMaxBytes are some 700,000 events of 1.5 KB.
	DefaultMaxBytes = 1 << 30
	// DefaultMaxWaiting is ten seconds of what the busiest nodes can send.
	DefaultMaxWaiting = 100_000
	// DefaultWindow is much longer than Falco tries to send one event.
	DefaultWindow = 5 * time.Minute
	// What is kept in memory beside the log, since most events are taken at once.
	maxCached      = 4096
	maxCachedBytes = 16 << 20
	// What is kept in memory alone when the log takes nothing: urgent events only.
	maxVolatile      = 4096
	maxVolatileBytes = 32 << 20
)

// Reasons of lost events: labels of portcullis_falco_events_dropped_total.
const (
	dropShed       = "shed"
	dropEvicted    = "evicted"
	dropFull       = "full"
	dropBusy       = "busy"
	dropUnreadable = "unreadable"
)

// Errors of [Queue.Put].
var (
	// ErrShed says that too many events wait for one of this priority to be kept. Critical ones and above never meet it.
	ErrShed = errors.New("too many events wait: those of low priority are not kept; make rules quieter, or give the responder more processors")
	// ErrFull says that an event was not kept for want of room.
	ErrFull = errors.New("there is no room on the disk: make the volume of the responder larger, or see why events are not dealt with")
	// ErrVolatile says that an event is kept in memory only: it will be dealt with, unless this process ends before.
	ErrVolatile = errors.New("the event is kept in memory only, since the log on disk does not take it: see the responder's log and its disk")
	// ErrBusy says that the disk has not answered in time.
	ErrBusy = errors.New("the disk of the responder has not answered in time")
	// ErrClosed says that the process is ending.
	ErrClosed = errors.New("the responder is ending: send to another one")
)

// urgent says whether events of a priority are never shed.
func urgent(p response.Priority) bool { return p <= response.Critical }

// shares are how full a queue may be for an event of a priority to be kept. Noise goes first, so that there is room for what is not.
var shares = map[response.Priority]float64{
	response.Debug: 0.5, response.Informational: 0.6, response.Notice: 0.7, response.Warning: 0.85, response.Error: 1,
}

// QueueOptions of a [Queue]. Dir is required.
type QueueOptions struct {
	// Dir is the folder of the log, made if it is not there. One process has it at a time.
	Dir string
	// MaxBytes is what the log may take on disk. Half of it is for events below Critical; graver ones may have it all. A sender that has an eighth gets
	// nothing of the last quarter.
	MaxBytes int64
	// MaxWaiting is how many events below Critical may wait or be under way.
	MaxWaiting int
	// Window is how long an event is remembered for recognising it when it comes again.
	Window time.Duration
	// Flush is after what time events are on the disk, not in the kernel only.
	Flush time.Duration
	// Segment is how many bytes of events go from the disk together.
	Segment int64
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Metrics count what becomes of events; nil counts for nobody.
	Metrics *Metrics
	// Logger hears of what is lost and why; nil discards.
	Logger *slog.Logger
}

func (o *QueueOptions) setDefaults() {
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), DefaultMaxBytes)
	o.MaxWaiting = cmp.Or(max(o.MaxWaiting, 0), DefaultMaxWaiting)
	o.Window = cmp.Or(max(o.Window, 0), DefaultWindow)
	o.Segment = cmp.Or(max(o.Segment, 0), min(spool.DefaultSegment, max(o.MaxBytes/16, 1)))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Queue holds events between their receipt and their being dealt with. Each is in a log on disk before Put returns, and
// there until it is done: at least once it is taken, by this process or the next. It is for use by several goroutines.
//
// Events of Critical and above have a log and a lane of their own, which is taken from first and which events below
// cannot fill.
type Queue struct {
	options QueueOptions
	metrics *Metrics

	jobs   chan *job
	stuck  atomic.Bool // the disk has not answered somebody in time
	seen   seen        // the writer's
	buffer []byte      // the writer's

	mu               sync.Mutex
	urgent, ordinary lane
	cached           int // messages in memory beside the log, and their bytes
	cachedBytes      int
	volatile         int // messages in memory alone, and their bytes
	volatileBytes    int
	pending          map[string]int64 // bytes of urgent events that are not done, by sender
	closed           bool

	complaints throttle

	ready  chan struct{} // something waits
	ending chan struct{}
}

// OpenQueue opens the queue of a folder. What was not done when the process before ended is taken again.
func OpenQueue(o QueueOptions) (*Queue, error) {
	if o.Dir == "" {
		return nil, errors.New("opening the queue: it has no folder: name one")
	}
	o.setDefaults()
	q := &Queue{
		options: o, metrics: o.Metrics,
		pending: map[string]int64{}, jobs: make(chan *job), seen: seen{window: o.Window},
		urgent: lane{name: "urgent"}, ordinary: lane{name: "ordinary"},
		ready: make(chan struct{}, 1), ending: make(chan struct{}),
	}
	for _, l := range []*lane{&q.urgent, &q.ordinary} {
		if err := q.openLane(l); err != nil {
			q.closeLogs()
			return nil, fmt.Errorf("opening the queue: %w", err)
		}
	}
	q.metrics.watch(q)
	q.announce()
	go q.writeJobs()
	return q, nil
}

func (q *Queue) openLane(l *lane) error {
	var unreadable []spool.Position
	log, recovery, err := spool.Open(filepath.Join(q.options.Dir, l.name), spool.Options{Segment: q.options.Segment, Flush: q.options.Flush, Synced: q.synced}, func(p spool.Position, record []byte) {
		m, received, err := unseal(record)
		if err != nil || m.Event == nil {
			q.options.Logger.Error("an event of the log cannot be read: it is left out", "error", err)
			unreadable = append(unreadable, p)
			return
		}
		q.seen.add(identityOf(m), q.options.Now())
		e := entry{position: p, priority: m.Event.Priority, received: received, sender: senderOf(m), size: len(record), replayed: true}
		q.hold(e)
		l.push(e)
	})
	if err != nil {
		return err
	}
	l.log = log
	for _, p := range unreadable {
		q.metrics.drop(dropUnreadable, response.Emergency, 1) // what it was nobody knows
		q.done(l, p)
	}
	q.metrics.replayed.Add(float64(recovery.Records - len(unreadable)))
	q.metrics.lost.WithLabelValues("torn_bytes").Add(float64(recovery.Torn))
	q.metrics.lost.WithLabelValues("damaged_records").Add(float64(recovery.Damaged))
	if recovery != (spool.Recovery{}) {
		q.options.Logger.Warn("events of the process before are taken again", "lane", l.name, "events", recovery.Records-len(unreadable),
			"torn_bytes", recovery.Torn, "damaged", recovery.Damaged, "unreadable", len(unreadable))
	}
	return nil
}

func (q *Queue) synced(took time.Duration, err error) {
	q.metrics.synced.Observe(took.Seconds())
	if err != nil {
		q.metrics.failures.WithLabelValues("sync").Inc()
		q.complain("events may not be on the disk", "error", err)
	}
}

// Put keeps a message: when it returns nil, an event survives the end of this process. A duplicate is counted and dropped,
// which is no error. Health is counted. An error is one of ErrShed, ErrFull, ErrVolatile, ErrBusy (where the context ends before
// the disk has answered) and ErrClosed, maybe wrapped. The message is not to be changed afterwards.
func (q *Queue) Put(ctx context.Context, m *Message) error {
	if m.Event == nil {
		q.metrics.health(m.Health, q.options.Now())
		return nil
	}
	j := &job{message: m, result: make(chan error, 1)}
	if q.stuck.Load() {
		// Whoever came before has waited long enough for both: Falco sends nothing while it waits.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, stuckPatience)
		defer cancel()
	}
	select {
	case q.jobs <- j:
	case <-ctx.Done():
		return q.abandon(j)
	case <-q.ending:
		return ErrClosed
	}
	select {
	case err := <-j.result:
		return err
	case <-ctx.Done():
		return q.abandon(j)
	case <-q.ending:
		return ErrClosed
	}
}

// stuckPatience is how long a disk that has not answered in time is waited for by the next.
const stuckPatience = 10 * time.Millisecond

// job is an event on its way to the log.
type job struct {
	message *Message
	result  chan error
	// left says that nobody waits for the result any more: an urgent event is in memory by then, another one is lost
	// unless it has been begun.
	left atomic.Bool
}

// abandon ends the waiting for a disk that hangs. Urgent events wait in memory instead.
func (q *Queue) abandon(j *job) error {
	q.stuck.Store(true)
	j.left.Store(true)
	e := entry{priority: j.message.Event.Priority, received: q.options.Now(), sender: senderOf(j.message), message: j.message, size: len(j.message.Raw)}
	if urgent(e.priority) {
		return q.keepVolatile(e, ErrBusy)
	}
	q.metrics.drop(dropBusy, e.priority, 1)
	return ErrBusy
}

// writeJobs takes jobs until the queue is closed. It is a goroutine of its own so that nobody else waits for a disk.
func (q *Queue) writeJobs() {
	for {
		select {
		case <-q.ending:
			return
		case j := <-q.jobs:
			if !j.left.Load() {
				j.result <- q.accept(j)
				q.stuck.Store(false)
			}
		}
	}
}

// accept keeps an event, or says why not.
func (q *Queue) accept(j *job) error {
	m, now := j.message, q.options.Now()
	priority, key := m.Event.Priority, identityOf(m)
	if q.seen.has(key, now) {
		q.metrics.duplicates.Inc()
		return nil
	}
	if !urgent(priority) && q.fill() >= shares[priority] {
		q.metrics.drop(dropShed, priority, 1)
		return ErrShed
	}
	if err := q.keep(j, now); err != nil {
		return err
	}
	q.seen.add(key, now)
	q.metrics.kept.WithLabelValues(priority.String()).Inc()
	return nil
}

// complain logs an error, once a second of each kind.
func (q *Queue) complain(message string, arguments ...any) {
	if q.complaints.may(message, q.options.Now()) {
		q.options.Logger.Error(message, arguments...)
	}
}

// fill is how full the queue is of events below Critical, 1 for full.
func (q *Queue) fill() float64 {
	q.mu.Lock()
	waiting := q.ordinary.length() + q.ordinary.held
	q.mu.Unlock()
	return max(float64(waiting)/float64(q.options.MaxWaiting), float64(q.ordinary.log.Bytes())/float64(q.options.MaxBytes/2))
}

// keep writes an event to its log and has it wait. Urgent ones that the log does not take wait all the same.
func (q *Queue) keep(j *job, now time.Time) error {
	m, l := j.message, &q.ordinary
	if urgent(m.Event.Priority) {
		l = &q.urgent
	}
	q.buffer = seal(q.buffer[:0], now, m.Trace, m.Event.Sender, m.Raw)
	e := entry{priority: m.Event.Priority, received: now, sender: senderOf(m), message: m, size: len(q.buffer)}
	if l == &q.urgent && q.hoards(e.sender) {
		q.complain("a sender has its part of the log: its events are in memory only until some are dealt with", "sender", e.sender)
		return q.keepVolatile(e, errShare)
	}
	position, err := q.write(l, q.buffer)
	switch {
	case errors.Is(err, spool.ErrGone):
		return ErrClosed
	case err != nil && l == &q.ordinary:
		q.metrics.drop(dropFull, e.priority, 1)
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case err != nil:
		return q.keepVolatile(e, err)
	}
	if j.left.Load() && l == &q.urgent {
		q.done(l, position) // it waits in memory since it took too long
		return ErrVolatile
	}
	e.position = position
	q.mu.Lock()
	q.cache(&e)
	q.hold(e)
	l.push(e)
	q.mu.Unlock()
	q.announce()
	return nil
}

// write appends to a log. For an urgent record room is made: events below Critical go, the oldest first.
func (q *Queue) write(l *lane, record []byte) (spool.Position, error) {
	for {
		p, err := q.append(l, record)
		if err == nil || errors.Is(err, spool.ErrGone) {
			return p, err
		}
		q.metrics.failures.WithLabelValues("write").Inc()
		if l != &q.urgent || !noRoom(err) || !q.evict() {
			q.complain("an event cannot be written to disk", "lane", l.name, "error", err)
			return spool.Position{}, err
		}
	}
}

// errBound says that the log is as large as it may become.
var errBound = errors.New("the log is as large as it may become")

func (q *Queue) append(l *lane, record []byte) (spool.Position, error) {
	if q.urgent.log.Bytes()+q.ordinary.log.Bytes()+int64(len(record)) > q.options.MaxBytes {
		return spool.Position{}, errBound
	}
	return l.log.Append(record)
}

// noRoom says whether an error goes away when something is deleted.
func noRoom(err error) bool {
	return errors.Is(err, errBound) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// evict drops the oldest segment of events below Critical; false if there is none.
func (q *Queue) evict() bool {
	segment, _, ok := q.ordinary.log.Oldest()
	if !ok {
		return false
	}
	count := 0
	q.mu.Lock()
	q.ordinary.evict(segment, func(e entry) {
		count++
		q.uncache(e)
		q.metrics.drop(dropEvicted, e.priority, 1)
	})
	q.mu.Unlock()
	if err := q.ordinary.log.Drop(segment); err != nil {
		q.complain("the oldest events cannot be dropped", "error", err)
		return false
	}
	q.options.Logger.Error("events below Critical were dropped: there is no room on the disk for graver ones", "events", count)
	return true
}

// keepVolatile has an urgent event wait in memory alone.
func (q *Queue) keepVolatile(e entry, cause error) error {
	e.volatile = true
	q.mu.Lock()
	room := q.volatile < maxVolatile && q.volatileBytes+e.size <= maxVolatileBytes
	if room {
		q.volatile++
		q.volatileBytes += e.size
		q.hold(e)
		q.urgent.push(e)
	}
	q.mu.Unlock()
	if !room {
		q.metrics.drop(dropFull, e.priority, 1)
		return fmt.Errorf("%w (%w)", ErrFull, cause)
	}
	q.announce()
	return fmt.Errorf("%w (%w)", ErrVolatile, cause)
}

// cache counts a message of the log into memory, or leaves it on the disk where there is enough in memory. The caller has the lock.
func (q *Queue) cache(e *entry) {
	if q.cached >= maxCached || q.cachedBytes+e.size > maxCachedBytes {
		e.message = nil
		return
	}
	q.cached++
	q.cachedBytes += e.size
}

// uncache counts a message out of memory. The caller has the lock.
func (q *Queue) uncache(e entry) {
	switch {
	case e.volatile:
		q.volatile--
		q.volatileBytes -= e.size
	case e.message != nil:
		q.cached--
		q.cachedBytes -= e.size
	}
}

// announce wakes one who takes.
func (q *Queue) announce() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Take waits for the next event: Critical ones and above first, of each kind the oldest. It returns the context's error when that
// ends, and ErrClosed after Close.
func (q *Queue) Take(ctx context.Context) (Item, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Item{}, err
		}
		e, l, ok := q.next()
		if ok {
			if item, ok := q.item(e, l); ok {
				return item, nil
			}
			continue
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
		case <-q.ending:
			return Item{}, ErrClosed
		}
	}
}

// next takes the first event out. Others that wait are announced to others who take.
func (q *Queue) next() (entry, *lane, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return entry{}, nil, false
	}
	l := &q.urgent
	e, ok := l.pop()
	if !ok {
		l = &q.ordinary
		e, ok = l.pop()
	}
	if !ok {
		return entry{}, nil, false
	}
	q.uncache(e)
	l.held++
	if q.urgent.length()+q.ordinary.length() > 0 {
		q.announce()
	}
	return e, l, true
}

// item reads an event from the log if it is not in memory. One that is gone, or cannot be read, is counted.
func (q *Queue) item(e entry, l *lane) (Item, bool) {
	if e.message == nil {
		record, err := l.log.Read(e.position, nil)
		if err == nil {
			e.message, _, err = unseal(record)
		}
		if err != nil {
			q.unreadable(e, l, err)
			return Item{}, false
		}
	}
	return Item{Message: e.message, Received: e.received, Replayed: e.replayed, entry: e, lane: l, queue: q}, true
}

func (q *Queue) unreadable(e entry, l *lane, err error) {
	q.mu.Lock()
	l.held--
	closed := q.closed
	q.mu.Unlock()
	q.unhold(e)
	switch {
	case closed: // the next process has it
	case errors.Is(err, spool.ErrGone):
		q.metrics.drop(dropEvicted, e.priority, 1)
	default:
		q.metrics.failures.WithLabelValues("read").Inc()
		q.metrics.drop(dropUnreadable, e.priority, 1)
		q.options.Logger.Error("an event of the log cannot be read: it is left out", "error", err)
		q.done(l, e.position)
	}
}

func (q *Queue) done(l *lane, p spool.Position) {
	if err := l.log.Done(p); err != nil {
		q.metrics.failures.WithLabelValues("done").Inc()
		q.options.Logger.Warn("an event that has been dealt with is taken again after a restart", "error", err)
	}
}

// Close writes what is left to disk. What is not done is taken again by the next process.
func (q *Queue) Close() error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	lost := q.volatile
	q.mu.Unlock()
	close(q.ending)
	if lost > 0 {
		q.options.Logger.Error("events that were in memory only are lost", "events", lost)
	}
	return q.closeLogs()
}

func (q *Queue) closeLogs() error {
	var problems []error
	for _, l := range []*lane{&q.urgent, &q.ordinary} {
		if l.log != nil {
			problems = append(problems, l.log.Close())
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("closing the queue: %w", err)
	}
	return nil
}

// Status is how a queue stands.
type Status struct {
	Lanes map[string]LaneStatus // "urgent", "ordinary"
	// Held are events that are taken and not done, those that will be taken again among them.
	Held int
	// Volatile are events in memory alone.
	Volatile int
}

// LaneStatus is how a lane stands.
type LaneStatus struct {
	Waiting int
	// Age is how long the oldest has waited.
	Age   time.Duration
	Bytes int64
}

// Status says how the queue stands now.
func (q *Queue) Status() Status {
	now := q.options.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Status{Lanes: map[string]LaneStatus{}, Held: q.urgent.held + q.ordinary.held, Volatile: q.volatile}
	for _, l := range []*lane{&q.urgent, &q.ordinary} {
		s.Lanes[l.name] = LaneStatus{Waiting: l.length(), Age: l.oldest(now), Bytes: l.log.Bytes()}
	}
	return s
}
