package journal

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
)

// Journal writes decisions. It may be used by any number of goroutines.
type Journal struct {
	options Options
	encoder *encoder
	counts  *counts
	feeds   []*feed
	lock    *os.File

	queue chan *pending
	bytes atomic.Int64 // of what is in the queue

	closing sync.RWMutex // held for reading while something is put into the queue
	closed  bool

	files    *files // the writer's
	flushing *flusher
	writer   sync.WaitGroup
}

// pending is a line on its way to the kernel.
type pending struct {
	encoded
	entry   Entry
	written chan struct{} // closed when the kernel has it, or it is lost
}

// Open opens or makes a journal, mends its end where a writer was stopped in the middle of a line, and goes on from
// there.
func Open(options Options) (*Journal, error) {
	options = options.withDefaults()
	if options.Dir == "" {
		return nil, errors.New("opening the journal: it has no folder: name one")
	}
	if !(options.Allows >= 0 && options.Allows <= 1) {
		return nil, fmt.Errorf("opening the journal: %v is no share of admissions: give a number from 0 to 1", options.Allows)
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the journal: %w: name a folder that can be written to", err)
	}
	held, err := lock(filepath.Join(options.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	j, err := open(options)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	j.lock = held
	return j, nil
}

func open(options Options) (*Journal, error) {
	key, err := openKey(options.KeyFile)
	if err != nil {
		return nil, err
	}
	redactor := &redactor{key: key}
	j := &Journal{
		options: options,
		encoder: &encoder{redactor: redactor, inline: options.Inline, facts: newFactEncoder(redactor)},
		queue:   make(chan *pending, options.Queue),
	}
	j.flushing = newFlusher(options.Flush)
	if j.files, err = openFiles(options, j.flushing.retire); err != nil {
		return nil, err
	}
	j.flushing.facts = j.files.facts
	j.flushing.use(j.files.file)
	j.counts = newCounts(j, options)
	for _, sink := range options.Sinks {
		j.feeds = append(j.feeds, newFeed(sink, j.counts, options))
	}
	j.flushing.failed = func(err error) { j.counts.failed(reasonSync, err) }
	j.flushing.start()
	j.writer.Go(j.write)
	return j, nil
}

// Record keeps a decision, if it is one to keep. It returns when the kernel has it, and anyway after [Options.Wait] or
// when ctx ends; then it is written later. It never fails: what is lost is counted.
//
// The objects of the request are copied before it returns.
func (j *Journal) Record(ctx context.Context, d *admission.Decision) {
	if !j.keeps(d) {
		j.counts.sampled.Inc()
		return
	}
	made, err := j.encoder.decision(d)
	if err != nil {
		j.counts.dropped(reasonEncoding, 1, err)
		return
	}
	j.submit(ctx, made, Entry{Kind: KindDecision, Time: d.Time, ID: d.ID, Trace: d.Trace, Outcome: d.Outcome})
}

// Transition keeps a step of a rollout. It is for what happens rarely, and waits as Record does.
func (j *Journal) Transition(ctx context.Context, t Transition) {
	now := j.options.now()
	made, err := transitionLine(Line{Time: now, Transition: &t})
	if err != nil {
		j.counts.dropped(reasonEncoding, 1, err)
		return
	}
	j.submit(ctx, made, Entry{Kind: KindTransition, Time: now, Outcome: t.Step})
}

// keeps says whether a decision is kept: all but plain admissions are, and of those a share.
func (j *Journal) keeps(d *admission.Decision) bool {
	switch d.Outcome {
	case "ignored":
		return chosen(d.Request.UID, j.options.Allows)
	case "unmatched":
		return j.options.Unmatched && chosen(d.Request.UID, j.options.Allows)
	case "admitted":
		v := &d.Verdict
		return len(v.Faults)+len(v.Undecided) > 0 || slices.ContainsFunc(v.Findings, admission.Warns) || chosen(d.Request.UID, j.options.Allows)
	}
	return true
}

// chosen says whether a share of all uids has this one in it, the same on every replica.
func chosen(uid string, share float64) bool {
	if share >= 1 {
		return true
	}
	hash := fnv.New64a()
	hash.Write([]byte(uid))
	// The low bits of FNV are well mixed, the high ones of short texts are not.
	return float64(hash.Sum64()&math.MaxUint32) < share*float64(1<<32)
}

// submit puts a line into the queue and waits for it.
func (j *Journal) submit(ctx context.Context, made encoded, entry Entry) {
	line := &pending{encoded: made, entry: entry, written: make(chan struct{})}
	if !j.enqueue(line) {
		return
	}
	timer := time.NewTimer(j.options.Wait)
	defer timer.Stop()
	select {
	case <-line.written:
	case <-timer.C:
		j.counts.late.Inc()
	case <-ctx.Done():
		j.counts.late.Inc()
	}
}

// enqueue never waits.
func (j *Journal) enqueue(line *pending) bool {
	j.closing.RLock()
	defer j.closing.RUnlock()
	if j.closed {
		j.counts.dropped(reasonClosed, 1, nil)
		return false
	}
	size := line.size()
	if j.bytes.Add(size) > j.options.QueueBytes {
		j.bytes.Add(-size)
		j.counts.dropped(reasonQueue, 1, nil)
		return false
	}
	select {
	case j.queue <- line:
		return true
	default:
		j.bytes.Add(-size)
		j.counts.dropped(reasonQueue, 1, nil)
		return false
	}
}

func (p *pending) size() int64 {
	size := len(p.rest)
	for n := range p.facts {
		if !p.facts[n].shared {
			size += len(p.facts[n].content)
		}
	}
	return int64(size)
}

// Bounds of a batch, which is one write.
const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20
)

// write takes lines out of the queue until it is closed.
func (j *Journal) write() {
	for first := range j.queue {
		batch, size := []*pending{first}, first.size()
	more:
		for len(batch) < maxBatch && size < maxBatchBytes {
			select {
			case next, ok := <-j.queue:
				if !ok {
					break more
				}
				batch = append(batch, next)
				size += next.size()
			default:
				break more
			}
		}
		j.writeBatch(batch)
		j.bytes.Add(-size)
	}
}

// writeBatch stores the facts of some lines, and then the lines.
func (j *Journal) writeBatch(batch []*pending) {
	defer func() {
		for _, line := range batch {
			close(line.written)
		}
	}()
	size := int64(0)
	for _, line := range batch {
		size += int64(len(line.rest) + placeSize)
	}
	if err := j.files.makeRoom(size); err != nil {
		j.counts.dropped(reasonWrite, len(batch), err)
		return
	}
	j.flushing.use(j.files.file)
	var kept []*pending
	var rests [][]byte
	for _, line := range batch {
		if err := j.storeFacts(line); err != nil {
			j.counts.dropped(reasonFacts, 1, err)
			continue
		}
		kept = append(kept, line)
		rests = append(rests, line.rest)
	}
	if len(kept) == 0 {
		return
	}
	first := j.files.sequence + 1
	lines, err := j.files.append(rests)
	if err != nil {
		j.counts.dropped(reasonWrite, len(kept), err)
		return
	}
	j.flushing.touch()
	for n, line := range kept {
		j.counts.lines.WithLabelValues(line.entry.Kind).Inc()
		line.entry.Line, line.entry.Sequence = lines[n], first+uint64(n)
		for _, feed := range j.feeds {
			feed.offer(line.entry)
		}
	}
	j.counts.size.Store(j.files.total())
}

func (j *Journal) storeFacts(line *pending) error {
	for _, fact := range line.facts {
		if err := j.files.facts.put(fact, j.files.current()); err != nil {
			return err
		}
	}
	return nil
}

// Close writes what is in the queue, synchronises it, and gives sinks until ctx ends to send what they have.
func (j *Journal) Close(ctx context.Context) error {
	j.closing.Lock()
	if j.closed {
		j.closing.Unlock()
		return nil
	}
	j.closed = true
	close(j.queue)
	j.closing.Unlock()
	j.writer.Wait()
	err := j.flushing.stop()
	for _, feed := range j.feeds {
		feed.close(ctx)
	}
	return errors.Join(err, j.files.file.Close(), j.lock.Close())
}
