package spool

import (
	"errors"
	"os"
	"time"
)

// poke wakes the flusher.
func (l *Log) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flush synchronises what was appended with the disk, until the log is closed.
func (l *Log) flush() {
	for {
		select {
		case <-l.ending:
			return
		case <-l.wake:
		}
		// What comes meanwhile is synchronised together.
		select {
		case <-l.ending:
			return
		case <-time.After(l.options.Flush):
		}
		l.Sync()
	}
}

// Sync synchronises at once. It tells Options.Synced what came of it.
func (l *Log) Sync() error {
	l.mu.Lock()
	var dirty []*segment
	for _, s := range l.segments {
		if s.dirty {
			dirty = append(dirty, s)
			s.dirty = false
		}
	}
	l.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	began := time.Now()
	var problems []error
	for _, s := range dirty {
		// One that was removed meanwhile is closed, and nothing of it is wanted.
		if err := s.log.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			problems = append(problems, err)
			l.distrust(s)
		}
	}
	if err := syncFolder(l.dir); err != nil {
		problems = append(problems, err)
	}
	err := errors.Join(problems...)
	l.options.Synced(time.Since(began), err)
	return err
}

// distrust has nothing appended any more to a segment that could not be synchronised: after a failure the kernel takes its pages for written
// (https://lwn.net/Articles/752063/).
func (l *Log) distrust(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.sealed = true
}

// Close synchronises for the last time and lets another process have the log.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.ending)
	l.running.Wait()
	return errors.Join(l.Sync(), l.release())
}

// release closes all files, the lock at last.
func (l *Log) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problems []error
	for _, s := range l.segments {
		problems = append(problems, s.log.Close())
		if s.done != nil {
			problems = append(problems, s.done.Close())
		}
	}
	l.segments = nil
	return errors.Join(append(problems, l.lock.Close())...)
}
