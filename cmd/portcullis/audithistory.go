package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/portcullis-dev/portcullis/admission/audit"
)

const (
	// maxHistory is how many runs a history keeps, the last ones: those of a day for nearly three years.
	maxHistory = 1000
	// maxHistoryLine and maxHistoryFile bound what is read: a line has some 300 bytes.
	maxHistoryLine = 16 << 10
	maxHistoryFile = 8 << 20
)

// historyEntry is what one run came to: a line of a history.
type historyEntry struct {
	At time.Time `json:"at"`
	// Of is the cluster or the dump.
	Of       string `json:"of"`
	Complete bool   `json:"complete"`

	Objects   int `json:"objects"`
	Violating int `json:"violating"`
	Critical  int `json:"critical"`
	High      int `json:"high"`
	Medium    int `json:"medium"`
	Low       int `json:"low"`
	Excepted  int `json:"excepted"`
	Undecided int `json:"undecided"`
	Faulty    int `json:"faulty"`
}

// entryOf is what a run adds to its history.
func entryOf(of string, complete bool, s *audit.Summary) historyEntry {
	return historyEntry{
		At: s.At, Of: of, Complete: complete, Objects: s.Objects, Violating: s.Violating,
		Critical: s.Total.Critical, High: s.Total.High, Medium: s.Total.Medium, Low: s.Total.Low,
		Excepted: s.Total.Excepted, Undecided: s.Undecided, Faulty: s.Faulty,
	}
}

// standing counts the findings that no exception waives.
func (e *historyEntry) standing() int { return e.Critical + e.High + e.Medium + e.Low }

func (e *historyEntry) check() error {
	if e.At.IsZero() || e.At.Year() < 2000 || e.At.Year() > 9999 {
		return errors.New("it does not say when (at)")
	}
	for _, n := range []int{e.Objects, e.Violating, e.Critical, e.High, e.Medium, e.Low, e.Excepted, e.Undecided, e.Faulty} {
		if n < 0 || n > 1<<40 {
			return fmt.Errorf("%d is no count", n)
		}
	}
	return nil
}

// readHistory reads a whole history: JSON lines, oldest first. A line that is none refuses the file: to leave it out would draw
// another history than there was.
func readHistory(r io.Reader) ([]historyEntry, error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxHistoryFile+1))
	lines.Buffer(make([]byte, 0, 4096), maxHistoryLine)
	var entries []historyEntry
	read := 0
	for n := 1; lines.Scan(); n++ {
		read += len(lines.Bytes()) + 1
		if read > maxHistoryFile {
			return nil, fmt.Errorf("it is larger than %d MB", maxHistoryFile>>20)
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var entry historyEntry
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&entry)
		if err == nil && decoder.More() {
			err = errors.New("something follows the object")
		}
		if err == nil {
			err = entry.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		entries = append(entries, entry)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(entries)+1, err)
	}
	return entries[max(0, len(entries)-maxHistory):], nil
}

// readHistory reads the history that --history names; none where the file is not there yet.
func (f *auditReportFlags) readHistory() ([]historyEntry, error) {
	if f.history == "" {
		return nil, nil
	}
	file, err := os.Open(f.history)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		defer file.Close()
		var entries []historyEntry
		if entries, err = readHistory(file); err == nil {
			return entries, nil
		}
	}
	return nil, usagef("reading the history %s: %w: mend it, or name another file with --history", f.history, err)
}

// remember adds this run to the history. An interrupted run is no point of it.
func (r *auditRun) remember() error {
	if r.interrupted {
		return nil
	}
	r.history = append(r.history, entryOf(r.target.name, r.complete, &r.outcome.Posture))
	r.history = r.history[max(0, len(r.history)-maxHistory):]
	if r.flags.report.history == "" {
		return nil
	}
	var b bytes.Buffer
	for _, entry := range r.history {
		line, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return writeFile(r.flags.report.history, "--history", b.Bytes())
}
