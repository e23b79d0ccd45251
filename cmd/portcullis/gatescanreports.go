package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/database"
)

const (
	// scanReportAge is how long a report may take the place of a scan with the same database, which would
	// find the same. Policies about the age of scans see when it was made.
	scanReportAge = 12 * time.Hour
	// maxScanReport is above a report of an image with 20,000 findings.
	maxScanReport = 64 << 20
)

// scanReports are the gate's own scans, kept for the next run. Whoever can write to the
// directory could run another scanner as well: it is the user's.
type scanReports struct {
	directory string
	// program identifies the scanner that made them.
	program string
	now     func() time.Time
}

// keptReport is a report and what it is of, whole: the file's name is only a hash of it.
type keptReport struct {
	Digest   string         `json:"digest"`
	Database string         `json:"database"`
	Program  string         `json:"program"`
	Report   scanner.Report `json:"report"`
}

func newScanReports(directory, program string) (*scanReports, error) {
	info, err := os.Stat(program)
	if err != nil {
		return nil, fmt.Errorf("looking at the scanner: %w: check --scanner", err)
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for scans: %w: name another one with --cache-dir", err)
	}
	identity := fmt.Sprintf("%s %d %d", program, info.Size(), info.ModTime().UnixNano())
	return &scanReports{directory: directory, program: identity, now: time.Now}, nil
}

func (r *scanReports) file(digest, database string) string {
	hash := sha256.Sum256([]byte(digest + "\n" + database + "\n" + r.program))
	return filepath.Join(r.directory, hex.EncodeToString(hash[:])+".json")
}

// get finds a report of a digest made with a database.
func (r *scanReports) get(digest string, lease *database.Lease) (scanner.Report, bool) {
	raw, err := readLimited(r.file(digest, lease.Digest), maxScanReport)
	if err != nil {
		return scanner.Report{}, false
	}
	var kept keptReport
	if json.Unmarshal(raw, &kept) != nil || kept.Digest != digest || kept.Database != lease.Digest || kept.Program != r.program {
		return scanner.Report{}, false
	}
	finished, err := time.Parse(time.RFC3339, kept.Report.FinishedAt)
	age := r.now().Sub(finished)
	if err != nil || age < 0 || age > scanReportAge || !lasting(kept.Report.State) {
		return scanner.Report{}, false
	}
	return kept.Report, true
}

// put keeps a report. Another run never sees half of one.
func (r *scanReports) put(digest string, lease *database.Lease, report scanner.Report) error {
	if !lasting(report.State) || lease.Digest == "" {
		return nil
	}
	raw, err := json.Marshal(keptReport{digest, lease.Digest, r.program, report})
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(r.directory, ".report-*")
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), r.file(digest, lease.Digest))
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// lasting says that scanning again would come to the same: an error may pass.
func lasting(state scanner.State) bool {
	return state == scanner.StateComplete || state == scanner.StateUnscannable
}
