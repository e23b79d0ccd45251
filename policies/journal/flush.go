package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// flusher synchronises a journal with the disk, beside whoever writes.
type flusher struct {
	every  time.Duration
	facts  *factWriter
	failed func(error)

	mu      sync.Mutex
	file    *os.File
	dirty   bool
	retired []*os.File
	// listed is the file whose name is known to be on the disk.
	listed *os.File

	ending  chan struct{}
	running sync.WaitGroup
}

func newFlusher(every time.Duration) *flusher {
	return &flusher{every: every, ending: make(chan struct{})}
}

// use names the file that is being written.
func (f *flusher) use(file *os.File) {
	f.mu.Lock()
	f.file = file
	f.mu.Unlock()
}

// touch says that something was written.
func (f *flusher) touch() {
	f.mu.Lock()
	f.dirty = true
	f.mu.Unlock()
}

// retire takes over a file that is written to no more.
func (f *flusher) retire(file *os.File) {
	f.mu.Lock()
	f.retired = append(f.retired, file)
	f.mu.Unlock()
}

func (f *flusher) start() {
	f.running.Go(func() {
		ticker := time.NewTicker(f.every)
		defer ticker.Stop()
		for {
			select {
			case <-f.ending:
				return
			case <-ticker.C:
				if err := f.flush(); err != nil {
					f.failed(err)
				}
			}
		}
	})
}

// flush synchronises facts before the lines that name them.
func (f *flusher) flush() error {
	f.mu.Lock()
	file, dirty, retired := f.file, f.dirty, f.retired
	f.dirty, f.retired = false, nil
	f.mu.Unlock()
	var problems []error
	if dirty || len(retired) > 0 {
		problems = append(problems, f.facts.sync())
	}
	for _, old := range retired {
		problems = append(problems, old.Sync(), old.Close())
	}
	// The file may be retired meanwhile, and closed by nobody but this goroutine.
	if dirty && !slices.Contains(retired, file) {
		problems = append(problems, file.Sync())
	}
	if dirty && file != f.listed {
		problems = append(problems, syncPath(filepath.Dir(file.Name())))
		f.listed = file
	}
	return errors.Join(problems...)
}

// stop flushes for the last time.
func (f *flusher) stop() error {
	close(f.ending)
	f.running.Wait()
	return f.flush()
}
