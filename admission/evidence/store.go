package evidence

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Files of the evidence cache.
const (
	suffix = ".evidence"
	// A transcript with more than this is not kept: it is mostly one SBOM.
	maxTranscript = 16 << 20
	// Base64 and the rest of a file.
	maxFile = 2 * maxTranscript
)

// store keeps transcripts in a folder, one file for each, until they are too old or there are too many. Several
// processes may share the folder. Damaged files are no transcripts.
type store struct {
	folder string
	max    int64
	age    time.Duration
	now    func() time.Time

	mu    sync.Mutex
	bytes int64 // of the files, as far as this process knows
}

func openStore(folder string, maxBytes int64, age time.Duration, now func() time.Time) (*store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	probe, err := os.CreateTemp(folder, "writable-*.tmp")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return nil, err
	}
	s := &store{folder: folder, max: maxBytes, age: age, now: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.prune()
}

// path is the file for what a key is about. Names say nothing: a reference can be longer than a file name may be.
func (s *store) path(p part, k key) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s", p, k.repository.Registry, k.repository.Path, k.subject, k.scope))
	return filepath.Join(s.folder, hex.EncodeToString(sum[:])+suffix)
}

// get reads a transcript that is not too old; nil for none.
func (s *store) get(p part, k key) *transcript {
	if s == nil {
		return nil
	}
	content, err := readFile(s.path(p, k))
	if err != nil {
		return nil
	}
	t, err := decodeTranscript(content)
	if err != nil || t.Part != p || t.Repository != k.repository || t.Digest != k.subject || t.Scope != k.scope {
		s.remove(p, k)
		return nil
	}
	// A time to come is no time at which a registry can have answered.
	if age := s.now().Sub(t.Fetched); age < 0 || age >= s.age {
		return nil
	}
	return t
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = errDamaged
	}
	return content, err
}

// put writes a transcript in place of the one before, all of it or nothing.
func (s *store) put(p part, k key, t *transcript) error {
	content, err := encodeTranscript(t)
	if err != nil {
		return fmt.Errorf("writing evidence down: %w", err)
	}
	if len(content) > maxFile {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes += int64(len(content)); s.bytes > s.max {
		if err := s.prune(); err != nil {
			return err
		}
		s.bytes += int64(len(content))
	}
	file, err := os.CreateTemp(s.folder, "new-*.tmp")
	if err != nil {
		return fmt.Errorf("writing evidence down: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close(), os.Chtimes(file.Name(), t.Fetched, t.Fetched)); err == nil {
		err = os.Rename(file.Name(), s.path(p, k))
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error says what is wrong
		return fmt.Errorf("writing evidence down: %w", err)
	}
	return nil
}

// remove forgets what no longer holds.
func (s *store) remove(p part, k key) {
	if s != nil {
		_ = os.Remove(s.path(p, k)) // where it cannot be removed, it expires
	}
}

// prune removes what is too old, what was left unfinished and, of the rest, the oldest beyond three quarters of what may be
// kept. The lock is held.
func (s *store) prune() error {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return fmt.Errorf("reading the evidence cache: %w", err)
	}
	var kept []fs.FileInfo
	s.bytes = 0
	for _, entry := range entries {
		info, err := entry.Info()
		ours := strings.HasSuffix(entry.Name(), suffix) || strings.HasSuffix(entry.Name(), ".tmp")
		if err != nil || !ours || !info.Mode().IsRegular() {
			continue
		}
		age := s.now().Sub(info.ModTime())
		if age >= s.age || strings.HasSuffix(entry.Name(), ".tmp") && age > time.Minute {
			_ = os.Remove(filepath.Join(s.folder, entry.Name())) // another process may have been faster
			continue
		}
		kept = append(kept, info)
		s.bytes += info.Size()
	}
	slices.SortFunc(kept, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, oldest := range kept {
		if s.bytes <= s.max*3/4 {
			break
		}
		_ = os.Remove(filepath.Join(s.folder, oldest.Name()))
		s.bytes -= oldest.Size()
	}
	return nil
}
