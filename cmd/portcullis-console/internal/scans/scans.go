// Package scans reads what an ImageScan says about an image. The console verifies no signature: that is for admission, which believes nothing else. What
// is read here is shown as what the scanner says.
package scans

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/scanner"
)

// maxBundle is how many bytes a statement may unpack to: the predicate in base64, twice.
const maxBundle = 2 * scanner.MaxPredicate

// Severities in the order in which people read them.
var Severities = []string{"critical", "high", "medium", "low", "unknown"}

// Summary is what a scan amounts to.
type Summary struct {
	State      string
	Finished   string
	Scanner    string
	Database   string
	OS         string
	Total      int
	Fixable    int
	Secrets    int
	BySeverity map[string]int
	// Worst are the first findings, the worst first.
	Worst []scanner.Vulnerability
}

// maxWorst is how many findings are named.
const maxWorst = 20

// statement is the part that is read of a Sigstore bundle (https://github.com/sigstore/protobuf-specs) with a DSSE envelope.
type statement struct {
	Envelope struct {
		Payload []byte `json:"payload"`
	} `json:"dsseEnvelope"`
}

// Read reads status.statement of an ImageScan.
func Read(compressed []byte) (*Summary, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("unpacking the scan: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(unpacked, maxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking the scan: %w", err)
	}
	if len(raw) > maxBundle {
		return nil, errors.New("unpacking the scan: it is too large to be one")
	}
	var bundle statement
	if err := json.Unmarshal(raw, &bundle); err != nil {
		return nil, fmt.Errorf("reading the scan's envelope: %w", err)
	}
	var inToto struct {
		Predicate json.RawMessage `json:"predicate"`
	}
	if err := json.Unmarshal(bundle.Envelope.Payload, &inToto); err != nil {
		return nil, fmt.Errorf("reading the scan's statement: %w", err)
	}
	report, err := scanner.ParsePredicate(inToto.Predicate)
	if err != nil {
		return nil, err
	}
	return summarise(&report), nil
}

func summarise(report *scanner.Report) *Summary {
	s := &Summary{
		State: string(report.State), Finished: report.FinishedAt, Scanner: report.Scanner.Name + " " + report.Scanner.Version,
		Database: report.Database.UpdatedAt, OS: report.OS.Family + " " + report.OS.Name, Total: len(report.Vulnerabilities), Secrets: len(report.Secrets), BySeverity: map[string]int{},
	}
	for n := range report.Vulnerabilities {
		found := &report.Vulnerabilities[n]
		s.BySeverity[known(found.Severity)]++
		if found.Fixed != "" {
			s.Fixable++
		}
	}
	for _, severity := range Severities {
		for n := range report.Vulnerabilities {
			if known(report.Vulnerabilities[n].Severity) == severity && len(s.Worst) < maxWorst {
				s.Worst = append(s.Worst, report.Vulnerabilities[n])
			}
		}
	}
	return s
}

func known(severity string) string {
	for _, one := range Severities {
		if severity == one {
			return one
		}
	}
	return "unknown"
}
