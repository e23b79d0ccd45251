package scanreport_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/cmd/internal/scanreport"
	"github.com/portcullis-dev/portcullis/scanner"
)

const digest = "sha256:0123"

func report() *scanner.Report {
	return &scanner.Report{
		State: scanner.StateComplete, Reasons: []string{}, Database: scanner.Database{UpdatedAt: "2026-11-28T00:00:00Z"},
		OS: scanner.OS{Family: "debian", Name: "12.5"}, Packages: scanner.Packages{OS: 3, Language: 1, ThirdParty: 1},
		Vulnerabilities: []scanner.Vulnerability{
			{ID: "CVE-1", Package: "a", Version: "1", Severity: "low", Status: "will_not_fix"},
			{ID: "CVE-2", Package: "b", Version: "1", Severity: "critical", Fixed: "2", Path: "app/b"},
		},
		Secrets: []scanner.Secret{{Rule: "aws-key", Severity: "high", Path: "etc/key"}},
	}
}

func TestATableHasTheWorstFirst(t *testing.T) {
	got := string(scanreport.Table("ghcr.io/acme/shop:1", digest, report()))
	const want = `ghcr.io/acme/shop:1 (sha256:0123)
complete: 3 OS packages (1 of other vendors, not looked up), 1 of languages, debian 12.5; 2 vulnerabilities, 1 secrets; database of 2026-11-28T00:00:00Z
  SEVERITY  ID       PACKAGE   VERSION  FIXED         WHERE
  critical  CVE-2    b         1        2             app/b
  low       CVE-1    a         1        will not fix  (package database)
  high      aws-key  (secret)                         etc/key
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestATableOfNothingSaysWhy(t *testing.T) {
	got := string(scanreport.Table("a", digest, &scanner.Report{State: scanner.StateUnscannable, Reasons: []string{"there are no packages"}, OS: scanner.OS{Family: "alpine", Name: "3.10", EndOfLife: true}}))
	for _, want := range []string{"unscannable: 0 OS packages", "alpine 3.10 (end of life)", "database of unknown age", "  there are no packages\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
}

func TestAnImageCannotMoveTheCursor(t *testing.T) {
	r := report()
	r.Vulnerabilities[0].Package, r.Secrets[0].Path, r.OS.Name = "a\x1b[2J", "x\u202ey", "12\r\n"
	got := string(scanreport.Table("a\x07", digest, r))
	if strings.ContainsAny(got, "\x1b\x07\r\u202e") {
		t.Errorf("got %q, want no control characters", got)
	}
}

func TestJSONIsALine(t *testing.T) {
	line, err := scanreport.JSON("a", digest, report())
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Image, Digest string
		Report        scanner.Report
	}
	if err := json.Unmarshal(line, &read); err != nil || strings.Count(string(line), "\n") != 1 || read.Image != "a" || read.Digest != digest || len(read.Report.Vulnerabilities) != 2 {
		t.Errorf("got %s (error %v), want one line with image, digest and report", line, err)
	}
}
