package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Options], and their limits.
const (
	// DefaultSegment is some thousand events: a segment goes as a whole, and is read as a whole.
	DefaultSegment = 8 << 20
	maxSegment     = 1 << 30
	// DefaultFlush is what a power failure may cost.
	DefaultFlush = 20 * time.Millisecond
	// MaxRecord is how many bytes a record may have.
	MaxRecord = 1 << 20
)

// Errors of a log.
var (
	// ErrGone says that a record was dropped, or that the log is closed.
	ErrGone = errors.New("the record is not there any more")
	// ErrTooLarge says that a record has more than [MaxRecord] bytes.
	ErrTooLarge = fmt.Errorf("the record has more than %d bytes", MaxRecord)
)

// Options of a [Log]. All may be left out.
type Options struct {
	// Segment is when a new segment begins, in bytes.
	Segment int64
	// Flush is how long what was appended waits for being synchronised with others.
	Flush time.Duration
	// Synced hears of each synchronisation: how long it took, and why it failed. What failed may not be on disk, and the
	// kernel does not try again: a new segment begins.
	Synced func(took time.Duration, err error)

	create func(path string) (file, error)
}

// Position is where a record stands. It is good while the record is neither done nor dropped.
type Position struct {
	Segment uint64

	offset        int64
	length, index int
}

// Recovery says what [Open] has found.
type Recovery struct {
	// Records were not done.
	Records int
	// Torn are bytes that were cut off, since no whole record stands there: writing was interrupted. Damaged are records whose checksum is
	// wrong although others follow: the disk or somebody has changed them.
	Torn    int64
	Damaged int
}

// Log is a log. It is for use by several goroutines.
type Log struct {
	dir     string
	options Options
	lock    *os.File

	mu       sync.Mutex
	segments []*segment // oldest first; the last one is appended to unless it is sealed
	next     uint64
	buffer   []byte
	closed   bool

	// bytes are read without waiting for a disk that hangs.
	bytes atomic.Int64

	wake    chan struct{} // something is to be synchronised
	ending  chan struct{}
	running sync.WaitGroup
}

// Open opens the log of a folder, which is made if it is not there. Each record that was not done is handed to replay, oldest first, before
// Open returns; its content is good only until replay does. A second process that opens the folder fails.
func Open(dir string, o Options, replay func(Position, []byte)) (*Log, Recovery, error) {
	if o.Segment <= 0 {
		o.Segment = DefaultSegment
	}
	o.Segment = min(o.Segment, maxSegment)
	if o.Flush <= 0 {
		o.Flush = DefaultFlush
	}
	if o.Synced == nil {
		o.Synced = func(time.Duration, error) {}
	}
	if o.create == nil {
		o.create = create
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Recovery{}, fmt.Errorf("opening the log: %w", err)
	}
	held, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, Recovery{}, err
	}
	l := &Log{dir: dir, options: o, lock: held, next: 1, wake: make(chan struct{}, 1), ending: make(chan struct{})}
	recovery, err := l.recover(replay)
	if err != nil {
		return nil, Recovery{}, errors.Join(fmt.Errorf("opening the log %s: %w", dir, err), l.release())
	}
	l.running.Go(l.flush)
	return l, recovery, nil
}

func (l *Log) recover(replay func(Position, []byte)) (r Recovery, err error) {
	found, err := numbers(l.dir)
	if err != nil {
		return r, err
	}
	for _, number := range found {
		s, pending, err := loadSegment(l.dir, number, &r)
		if err != nil {
			return r, err
		}
		l.segments = append(l.segments, s)
		l.bytes.Add(s.size)
		l.next = number + 1
		r.Records += len(pending)
		for _, record := range pending {
			replay(record.position, record.content)
		}
		if s.open == 0 {
			if err := l.remove(s); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// Append adds a record. When it returns without an error the kernel has it, and only then does the log have it.
func (l *Log) Append(content []byte) (Position, error) {
	if len(content) > MaxRecord {
		return Position{}, ErrTooLarge
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.active(int64(recordHeader + len(content)))
	if err != nil {
		return Position{}, fmt.Errorf("beginning a segment of the log: %w", err)
	}
	position := Position{Segment: s.number, offset: s.size, length: len(content), index: len(s.finished)}
	l.buffer = appendRecord(l.buffer[:0], s.number, position.index, content)
	if _, err := s.log.WriteAt(l.buffer, s.size); err != nil {
		// What stands there now is no record, and the next one goes in its place: or into another segment if it cannot be cut off.
		if truncated := s.log.Truncate(s.size); truncated != nil {
			s.sealed = true
		}
		return Position{}, fmt.Errorf("appending to the log: %w", err)
	}
	s.size += int64(len(l.buffer))
	l.bytes.Add(int64(len(l.buffer)))
	s.finished = append(s.finished, false)
	s.open++
	s.dirty = true
	l.poke()
	return position, nil
}

// active is the segment to append so many bytes to.
func (l *Log) active(size int64) (*segment, error) {
	if l.closed {
		return nil, ErrGone
	}
	if n := len(l.segments); n > 0 && !l.segments[n-1].sealed {
		last := l.segments[n-1]
		if last.size+size <= l.options.Segment || len(last.finished) == 0 {
			return last, nil
		}
		if err := l.seal(last); err != nil {
			return nil, err
		}
	}
	return l.begin()
}

func (l *Log) begin() (*segment, error) {
	s := &segment{number: l.next, path: segmentPath(l.dir, l.next, logSuffix), size: int64(headerSize), dirty: true}
	// A number is used once, so that nothing left of a failure is taken for the new segment's.
	l.next++
	var err error
	if s.log, err = l.options.create(s.path); err != nil {
		return nil, err
	}
	if _, err = s.log.WriteAt(header(s.number), 0); err != nil {
		return nil, errors.Join(err, s.log.Close(), removeFile(s.path))
	}
	l.segments = append(l.segments, s)
	l.bytes.Add(s.size)
	return s, nil
}

// seal has nothing appended to a segment any more. It goes if all in it is done.
func (l *Log) seal(s *segment) error {
	s.sealed = true
	if s.open == 0 {
		return l.remove(s)
	}
	return nil
}

// remove removes a segment.
func (l *Log) remove(s *segment) error {
	for n, other := range l.segments {
		if other == s {
			l.segments = append(l.segments[:n:n], l.segments[n+1:]...)
			l.bytes.Add(-s.size)
			break
		}
	}
	err := s.log.Close()
	if s.done != nil {
		err = errors.Join(err, s.done.Close())
	}
	// The records first: marks without records harm nobody.
	return errors.Join(err, removeFile(s.path), removeFile(segmentPath(l.dir, s.number, doneSuffix)))
}

func (l *Log) find(number uint64) *segment {
	for _, s := range l.segments {
		if s.number == number {
			return s
		}
	}
	return nil
}

// Read reads a record, into a buffer if it fits. It fails with [ErrGone] for one that was dropped.
func (l *Log) Read(p Position, buffer []byte) ([]byte, error) {
	l.mu.Lock()
	s := l.find(p.Segment)
	l.mu.Unlock()
	if s == nil {
		return nil, ErrGone
	}
	size := recordHeader + p.length
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	buffer = buffer[:size]
	if _, err := s.log.ReadAt(buffer, p.offset); err != nil {
		if errors.Is(err, os.ErrClosed) {
			return nil, ErrGone
		}
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	content := buffer[recordHeader:]
	if binary.LittleEndian.Uint32(buffer[4:]) != checksum(p.Segment, p.index, content) {
		return nil, errors.New("reading the log: the checksum of a record is wrong: the disk, or somebody, has changed it")
	}
	return content, nil
}

// Done says that a record has been dealt with. Saying so again, or of a record that was dropped, changes nothing. If it fails, the record
// is handed out again after a restart.
func (l *Log) Done(p Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.find(p.Segment)
	if s == nil || l.closed || p.index >= len(s.finished) || s.finished[p.index] {
		return nil
	}
	s.finished[p.index] = true
	s.open--
	if s.open == 0 && s.sealed {
		return l.remove(s)
	}
	if err := l.mark(s, p.index); err != nil {
		return fmt.Errorf("marking a record of the log as done: %w", err)
	}
	return nil
}

func (l *Log) mark(s *segment, index int) (err error) {
	if s.done == nil {
		path := segmentPath(l.dir, s.number, doneSuffix)
		if s.done, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			s.done = nil
			return err
		}
	}
	_, err = s.done.WriteAt([]byte{doneMark}, int64(index))
	return err
}

// Oldest is the number of the oldest segment, and how many records in it are not done; false if there is none.
func (l *Log) Oldest() (number uint64, open int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		return 0, 0, false
	}
	return l.segments[0].number, l.segments[0].open, true
}

// Drop removes a segment with all that is in it.
func (l *Log) Drop(number uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.find(number)
	if s == nil {
		return nil
	}
	if err := l.remove(s); err != nil {
		return fmt.Errorf("dropping a segment of the log: %w", err)
	}
	return nil
}

// Bytes are those of all segments.
func (l *Log) Bytes() int64 { return l.bytes.Load() }
