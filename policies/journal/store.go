package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// factSuffix ends the names of facts: they are compressed (RFC 8878).
const factSuffix = ".zst"

// maxFact bounds a fact, unpacked. An object is at most what a request can hold, a list of digests or what is known of an
// image with its SBOM may be more.
const maxFact = 256 << 20

// sum is a digest as a key.
type sum [32]byte

// parseDigest reads "sha256:" and 64 hexadecimal digits, in lower case.
func parseDigest(digest string) (s sum, err error) {
	text, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(text) != 2*len(s) || strings.ToLower(text) != text {
		return s, fmt.Errorf("%.80q is no digest of a fact", digest)
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return s, fmt.Errorf("%.80q is no digest of a fact", digest)
	}
	return s, nil
}

func (s sum) String() string { return "sha256:" + hex.EncodeToString(s[:]) }

// factPath is where a fact lies in a journal's folder.
func factPath(dir string, s sum) string {
	name := hex.EncodeToString(s[:])
	return filepath.Join(dir, "facts", "sha256", name[:2], name[2:]+factSuffix)
}

// factWriter keeps facts as long as a file of lines names them. It is for one goroutine, but for unsynced.
type factWriter struct {
	dir     string
	packer  *zstd.Encoder
	reader  *factReader
	last    map[sum]uint64 // the last file that names a fact
	folders map[byte]bool  // that are there
	bytes   int64

	mu       sync.Mutex
	unsynced []string
}

func newFactWriter(dir string) (*factWriter, error) {
	// Facts are small: a window of their size, and one goroutine at a time.
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	reader, err := newFactReader(dir)
	if err != nil {
		return nil, err
	}
	return &factWriter{dir: dir, packer: packer, reader: reader, last: map[sum]uint64{}, folders: map[byte]bool{}}, nil
}

// put stores a fact that a file names, unless it is there.
func (w *factWriter) put(f fact, file uint64) error {
	s := f.sum
	if _, known := w.last[s]; known {
		w.last[s] = file
		return nil
	}
	if !w.folders[s[0]] {
		if err := os.MkdirAll(filepath.Dir(factPath(w.dir, s)), 0o700); err != nil {
			return fmt.Errorf("storing a fact: %w", err)
		}
		w.folders[s[0]] = true
	}
	packed := w.packer.EncodeAll(f.content, nil)
	path := factPath(w.dir, s)
	if err := writeWhole(path, packed, false); err != nil {
		return fmt.Errorf("storing a fact: %w", err)
	}
	w.last[s] = file
	w.bytes += int64(len(packed))
	w.mu.Lock()
	w.unsynced = append(w.unsynced, path)
	w.mu.Unlock()
	return nil
}

// sync synchronises what was stored since it was called last. Whoever writes meanwhile is not held up.
func (w *factWriter) sync() error {
	w.mu.Lock()
	paths := w.unsynced
	w.unsynced = nil
	w.mu.Unlock()
	folders := map[string]bool{}
	var problems []error
	for _, path := range paths {
		folders[filepath.Dir(path)] = true
		problems = append(problems, syncPath(path))
	}
	for folder := range folders {
		problems = append(problems, syncPath(folder))
	}
	return errors.Join(problems...)
}

// syncPath synchronises a file or a folder. One that is gone again needs no more.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// forget removes the facts that no file after the one with a number names.
func (w *factWriter) forget(file uint64) error {
	var problems []error
	for s, last := range w.last {
		if last <= file {
			delete(w.last, s)
			problems = append(problems, w.remove(factPath(w.dir, s)))
		}
	}
	return errors.Join(problems...)
}

func (w *factWriter) remove(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	w.bytes -= info.Size()
	return os.Remove(path)
}

// sweep takes stock of what is there, once all files of lines have been asked what they name. What none of them names, as
// facts whose line was never written, is removed; so is what is damaged: its line finds it missing, and the
// next one that names it stores it again.
func (w *factWriter) sweep() error {
	root := filepath.Join(w.dir, "facts", "sha256")
	present := map[sum]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && entry.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		s, err := parseDigest("sha256:" + filepath.Base(filepath.Dir(path)) + strings.TrimSuffix(entry.Name(), factSuffix))
		if _, named := w.last[s]; err != nil || !named || info.Size() == 0 {
			return os.Remove(path)
		}
		present[s] = true
		w.bytes += info.Size()
		return nil
	})
	for s := range w.last {
		if !present[s] {
			delete(w.last, s)
		}
	}
	return err
}

// maxLists is how many lists of objects are kept: those of some kinds, as they were lately.
const maxLists = 64

// factReader reads facts of a journal's folder. It may be used by any number of goroutines.
type factReader struct {
	dir      string
	unpacker *zstd.Decoder
	lists    *remembered[string, []string]
}

func newFactReader(dir string) (*factReader, error) {
	unpacker, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxFact))
	if err != nil {
		return nil, err
	}
	return &factReader{dir: dir, unpacker: unpacker, lists: newRemembered[string, []string](maxLists)}, nil
}

// get reads a fact and checks that it is the one that was named.
func (r *factReader) get(digest string) ([]byte, error) {
	s, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	packed, err := os.ReadFile(factPath(r.dir, s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("fact %s is not in the journal", digest)
	}
	if err != nil {
		return nil, fmt.Errorf("reading fact %s: %w", digest, err)
	}
	content, err := r.unpacker.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("reading fact %s: %w", digest, err)
	}
	if got := digestOf(content); got != digest {
		return nil, fmt.Errorf("reading fact %s: the file has the content of %s", digest, got)
	}
	return content, nil
}
