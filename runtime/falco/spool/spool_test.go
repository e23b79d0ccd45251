package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// open opens a log and says what it handed out.
func open(t testing.TB, dir string, o Options) (*Log, []string, []Position, Recovery) {
	t.Helper()
	var contents []string
	var positions []Position
	l, recovery, err := Open(dir, o, func(p Position, content []byte) {
		contents = append(contents, string(content))
		positions = append(positions, p)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, contents, positions, recovery
}

func add(t testing.TB, l *Log, contents ...string) (positions []Position) {
	t.Helper()
	for _, content := range contents {
		p, err := l.Append([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, p)
	}
	return positions
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantContents(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got the records %.200q, want %.200q", got, want)
	}
}

func TestWhatIsNotDoneIsHandedOutAgainInOrder(t *testing.T) {
	dir := t.TempDir()
	l, _, _, _ := open(t, dir, Options{})
	positions := add(t, l, "a", "b", "", "d", "e")
	for _, n := range []int{1, 3} {
		if err := l.Done(positions[n]); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range []string{"a", "b", "", "d", "e"} {
		if got, err := l.Read(positions[n], nil); err != nil || string(got) != want {
			t.Errorf("record %d: got %q, %v, want %q", n, got, err, want)
		}
	}
	closeLog(t, l)
	l, got, positions, recovery := open(t, dir, Options{})
	wantContents(t, got, "a", "", "e")
	if recovery != (Recovery{Records: 3}) {
		t.Errorf("got %+v, want three records and nothing lost", recovery)
	}
	// Those of an earlier process can be read and done as one's own, and again without harm.
	for n, p := range positions {
		if read, err := l.Read(p, nil); err != nil || string(read) != got[n] {
			t.Errorf("got %q, %v, want %q", read, err, got[n])
		}
		if err := errors.Join(l.Done(p), l.Done(p)); err != nil {
			t.Error(err)
		}
	}
	if got := files(t, dir, "*.*"); len(got) != 0 {
		t.Errorf("got the files %v, want none: everything in them is done", got)
	}
	closeLog(t, l)
	_, got, _, _ = open(t, dir, Options{})
	wantContents(t, got)
}

func TestSegmentsGoWhenAllInThemIsDone(t *testing.T) {
	dir := t.TempDir()
	l, _, _, _ := open(t, dir, Options{Segment: 100})
	record := strings.Repeat("x", 60)
	positions := add(t, l, record, record, record)
	if got := len(files(t, dir, "*.log")); got != 3 || l.Bytes() != 3*(16+8+60) {
		t.Fatalf("got %d segments of %d bytes, want 3 of 252", got, l.Bytes())
	}
	if err := l.Done(positions[1]); err != nil {
		t.Fatal(err)
	}
	number, waiting, ok := l.Oldest()
	if got := len(files(t, dir, "*.log")); got != 2 || number != 1 || waiting != 1 || !ok || l.Bytes() != 2*84 {
		t.Errorf("got %d segments of %d bytes, the oldest number %d with %d records, want 2 of 168, number 1 with 1", got, l.Bytes(), number, waiting)
	}
	if err := l.Drop(number); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(positions[0], nil); !errors.Is(err, ErrGone) {
		t.Errorf("reading what was dropped: got %v, want %v", err, ErrGone)
	}
	if err := l.Done(positions[0]); err != nil {
		t.Errorf("got %v for a record that was dropped, want nothing", err)
	}
	closeLog(t, l)
	_, got, _, _ := open(t, dir, Options{})
	wantContents(t, got, record)
}

// TestAnyTornTailIsCutOff cuts a log at every byte: a process can be killed, and a machine lose its power, at any.
func TestAnyTornTailIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l, _, _, _ := open(t, dir, Options{})
	contents := []string{"first", strings.Repeat("second", 10), "third"}
	add(t, l, contents...)
	closeLog(t, l)
	path := segmentPath(dir, 1, logSuffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{headerSize}
	for _, content := range contents {
		ends = append(ends, ends[len(ends)-1]+recordHeader+len(content))
	}
	for size := range whole {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1, logSuffix), whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		intact := 0
		for intact < len(contents) && ends[intact+1] <= size {
			intact++
		}
		torn := size - ends[intact]
		if size < headerSize {
			torn = size
		}
		l, got, _, recovery := open(t, dir, Options{})
		wantContents(t, got, contents[:intact]...)
		if recovery.Torn != int64(torn) || recovery.Damaged != 0 {
			t.Errorf("cut at %d: got %+v, want %d torn bytes", size, recovery, torn)
		}
		// What is written next does not follow the torn end, and the cut is told once.
		add(t, l, "later")
		closeLog(t, l)
		l, got, _, recovery = open(t, dir, Options{})
		wantContents(t, got, append(slices.Clone(contents[:intact]), "later")...)
		if recovery.Torn != 0 {
			t.Errorf("cut at %d: got %+v the second time, want nothing torn", size, recovery)
		}
		closeLog(t, l)
	}
}

// TestAnyChangedByteIsNoticed changes every byte in turn: no record comes out that did not go in.
func TestAnyChangedByteIsNoticed(t *testing.T) {
	dir := t.TempDir()
	l, _, _, _ := open(t, dir, Options{})
	contents := []string{"first", "second", "third"}
	add(t, l, contents...)
	closeLog(t, l)
	whole, err := os.ReadFile(segmentPath(dir, 1, logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		changed := bytes.Clone(whole)
		changed[at] ^= 0x40
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1, logSuffix), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		l, got, _, recovery := open(t, dir, Options{})
		for _, content := range got {
			if !slices.Contains(contents, content) {
				t.Errorf("byte %d: got the record %q, which nobody wrote", at, content)
			}
		}
		if recovery.Torn == 0 && recovery.Damaged == 0 {
			t.Errorf("byte %d: got %+v, want the change noticed", at, recovery)
		}
		closeLog(t, l)
	}
	// The content of the first record begins at byte 24: only that record is lost.
	whole[24] ^= 1
	dir = t.TempDir()
	if err := os.WriteFile(segmentPath(dir, 1, logSuffix), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	_, got, _, recovery := open(t, dir, Options{})
	wantContents(t, got, "second", "third")
	if recovery != (Recovery{Records: 2, Damaged: 1}) {
		t.Errorf("got %+v, want two records and a damaged one", recovery)
	}
}

func TestARecordIsValidOnlyWhereItWasWritten(t *testing.T) {
	record1 := appendRecord(header(7), 7, 0, []byte("content"))
	if content, _, ok := record(record1, headerSize, 7, 0); !ok || string(content) != "content" {
		t.Fatalf("got %q, %v, want the record", content, ok)
	}
	if _, _, ok := record(record1, headerSize, 7, 1); ok {
		t.Error("got a valid record at another place")
	}
	if _, _, ok := record(record1, headerSize, 8, 0); ok {
		t.Error("got a valid record in another segment")
	}
}

func TestASecondProcessCannotOpenTheLog(t *testing.T) {
	dir := t.TempDir()
	l, _, _, _ := open(t, dir, Options{})
	_, _, err := Open(dir, Options{}, nil)
	if err == nil || !strings.Contains(err.Error(), "another process writes to it") {
		t.Fatalf("got %v, want that another process has it", err)
	}
	closeLog(t, l)
	open(t, dir, Options{})
}

func TestALogThatIsClosedTakesNothing(t *testing.T) {
	l, _, _, _ := open(t, t.TempDir(), Options{})
	p := add(t, l, "a")[0]
	closeLog(t, l)
	if _, err := l.Append([]byte("b")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	if _, err := l.Read(p, nil); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	if err := errors.Join(l.Done(p), l.Close()); err != nil {
		t.Errorf("got %v, want nothing", err)
	}
}

// disk makes files that fail on demand.
type disk struct {
	mu sync.Mutex
	// room is how many more bytes can be written, without end if it is negative.
	room                int
	noTruncate, noSync  bool
	synced, failedSyncs int
}

func (d *disk) create(path string) (file, error) {
	f, err := create(path)
	return &unreliable{f, d}, err
}

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

type unreliable struct {
	file
	disk *disk
}

func (u *unreliable) WriteAt(p []byte, offset int64) (int, error) {
	u.disk.mu.Lock()
	defer u.disk.mu.Unlock()
	if room := u.disk.room; room >= 0 && len(p) > room {
		u.disk.room = 0
		n, err := u.file.WriteAt(p[:room], offset)
		return n, errors.Join(err, syscall.ENOSPC)
	}
	if u.disk.room >= 0 {
		u.disk.room -= len(p)
	}
	return u.file.WriteAt(p, offset)
}

func (u *unreliable) Truncate(size int64) error {
	u.disk.mu.Lock()
	defer u.disk.mu.Unlock()
	if u.disk.noTruncate {
		return syscall.EIO
	}
	return u.file.Truncate(size)
}

func (u *unreliable) Sync() error {
	u.disk.mu.Lock()
	defer u.disk.mu.Unlock()
	if u.disk.noSync {
		u.disk.failedSyncs++
		return syscall.EIO
	}
	u.disk.synced++
	return u.file.Sync()
}

func TestOnAFullDiskNothingIsTakenAndNothingLost(t *testing.T) {
	for name, cannotTruncate := range map[string]bool{"what was half written is cut off": false, "what was half written stays": true} {
		t.Run(name, func(t *testing.T) {
			for room := range 40 {
				dir := t.TempDir()
				d := &disk{room: -1}
				l, _, _, _ := open(t, dir, Options{create: d.create})
				add(t, l, "before")
				d.set(func(d *disk) { d.room, d.noTruncate = room%30, cannotTruncate })
				if _, err := l.Append([]byte("refused, for 30 bytes are few")); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("got %v, want that the disk is full", err)
				}
				d.set(func(d *disk) { d.room = -1 })
				positions := add(t, l, "after", "and after that")
				if got, err := l.Read(positions[0], nil); err != nil || string(got) != "after" {
					t.Errorf("got %q, %v, want what was written after the failure", got, err)
				}
				closeLog(t, l)
				l, got, _, _ := open(t, dir, Options{})
				wantContents(t, got, "before", "after", "and after that")
				closeLog(t, l)
			}
		})
	}
}

func TestNoSegmentBeginsOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	d := &disk{room: 3}
	l, _, _, _ := open(t, dir, Options{create: d.create})
	if _, err := l.Append([]byte("a")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want that the disk is full", err)
	}
	if got := files(t, dir, "*.log"); len(got) != 0 || l.Bytes() != 0 {
		t.Errorf("got %v and %d bytes, want nothing left", got, l.Bytes())
	}
	d.set(func(d *disk) { d.room = -1 })
	add(t, l, "b")
}

func TestAFailedSynchronisationIsToldAndNotTrusted(t *testing.T) {
	dir := t.TempDir()
	d := &disk{room: -1, noSync: true}
	told := make(chan error, 10)
	l, _, _, _ := open(t, dir, Options{create: d.create, Flush: time.Millisecond, Synced: func(_ time.Duration, err error) { told <- err }})
	add(t, l, "a")
	if err := <-told; !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure", err)
	}
	d.set(func(d *disk) { d.noSync = false })
	add(t, l, "b")
	if err := <-told; err != nil {
		t.Errorf("got %v, want nothing: it goes into another file", err)
	}
	if got := len(files(t, dir, "*.log")); got != 2 {
		t.Errorf("got %d segments, want a new one after the failure", got)
	}
	closeLog(t, l)
	_, got, _, _ := open(t, dir, Options{})
	wantContents(t, got, "a", "b")
}

func TestManyRecordsAreSynchronisedTogether(t *testing.T) {
	d := &disk{room: -1}
	var took []time.Duration
	l, _, _, _ := open(t, t.TempDir(), Options{create: d.create, Flush: 10 * time.Millisecond, Synced: func(d time.Duration, err error) { took = append(took, d) }})
	began := time.Now()
	for time.Since(began) < 100*time.Millisecond {
		add(t, l, "record")
	}
	passed := time.Since(began)
	closeLog(t, l) // the last synchronisation
	if most := int(passed/(10*time.Millisecond)) + 2; len(took) < 1 || len(took) > most {
		t.Errorf("got %d synchronisations in %s, want 1 to %d", len(took), passed, most)
	}
}

func TestSeveralAppendAtOnce(t *testing.T) {
	dir := t.TempDir()
	l, _, _, _ := open(t, dir, Options{Segment: 2000, Flush: time.Millisecond})
	var want []string
	var mu sync.Mutex
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for n := range 200 {
				content := fmt.Sprintf("%d-%d", worker, n)
				p, err := l.Append([]byte(content))
				if err != nil {
					t.Error(err)
					return
				}
				if read, err := l.Read(p, nil); err != nil || string(read) != content {
					t.Errorf("got %q, %v, want %q", read, err, content)
				}
				if n%3 == 0 {
					if err := l.Done(p); err != nil {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				want = append(want, content)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	closeLog(t, l)
	_, got, _, _ := open(t, dir, Options{})
	slices.Sort(got)
	slices.Sort(want)
	wantContents(t, got, want...)
}

func TestARecordIsBounded(t *testing.T) {
	l, _, _, _ := open(t, t.TempDir(), Options{Segment: 100})
	if _, err := l.Append(make([]byte, MaxRecord+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
	// One that is larger than a segment has one of its own.
	p := add(t, l, strings.Repeat("x", MaxRecord))[0]
	if got, err := l.Read(p, nil); err != nil || len(got) != MaxRecord {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, MaxRecord)
	}
}

// FuzzSegment opens segments that anybody may have written: nothing but what has the right checksum comes out, and the log works.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(appendRecord(header(1), 1, 0, []byte("content")), []byte{doneMark})
	f.Add(appendRecord(appendRecord(header(1), 1, 0, []byte("a")), 1, 1, []byte("b")), []byte{0, doneMark})
	f.Add(append(header(1), 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4), []byte{})
	f.Fuzz(func(t *testing.T, data, marks []byte) {
		dir := t.TempDir()
		if err := errors.Join(os.WriteFile(segmentPath(dir, 1, logSuffix), data, 0o600), os.WriteFile(segmentPath(dir, 1, doneSuffix), marks, 0o600)); err != nil {
			t.Fatal(err)
		}
		l, got, positions, _ := open(t, dir, Options{})
		for n, p := range positions {
			if read, err := l.Read(p, nil); err != nil || string(read) != got[n] {
				t.Fatalf("got %q, %v, want %q as it was handed out", read, err, got[n])
			}
		}
		add(t, l, "later")
		closeLog(t, l)
		_, again, _, _ := open(t, dir, Options{})
		wantContents(t, again, append(got, "later")...)
	})
}

func BenchmarkAppend(b *testing.B) {
	l, _, _, _ := open(b, b.TempDir(), Options{})
	content := bytes.Repeat([]byte("x"), 1500)
	b.ReportAllocs()
	for b.Loop() {
		p, err := l.Append(content)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Done(p); err != nil {
			b.Fatal(err)
		}
	}
}
