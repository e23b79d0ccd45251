package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/child"
	"github.com/portcullis-dev/portcullis/scanner/database"
	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"
)

// scannerForScripts is the child's side of the scanner with an analysis that knows one
// vulnerability: the protocol, the pulling and the limits are the real ones. It leaves
// a file for each image in the cache of analyses, which scripts look for.
func scannerForScripts() {
	tool := scanner.Tool{Name: "trivy", Version: "test"}
	handle := func(_ context.Context, request child.Request) (child.Result, error) {
		if request.Kind == child.SelfTest {
			return child.Result{}, nil
		}
		if err := os.WriteFile(filepath.Join(request.Cache, request.Digest[7:]), nil, 0o600); err != nil {
			return child.Result{}, err
		}
		now := time.Now().UTC().Format(time.RFC3339)
		return child.Result{Report: scanner.Report{
			State: scanner.StateComplete, Reasons: []string{}, StartedAt: now, FinishedAt: now, Scanner: tool, OS: scanner.OS{Family: "debian", Name: "12.5"},
			Packages: scanner.Packages{OS: 1}, Database: scanner.Database{UpdatedAt: now, Version: 2}, Secrets: []scanner.Secret{},
			Vulnerabilities: []scanner.Vulnerability{{
				ID: "CVE-2022-0778", Package: "openssl", PURL: "pkg:deb/debian/openssl@1.1.1k-1?distro=debian-12.5", Version: "1.1.1k-1",
				Fixed: "1.1.1n-1", Status: "fixed", Severity: "high", Score: 75, Class: "os",
			}},
		}}, nil
	}
	if err := child.Serve(context.Background(), os.Stdin, os.Stdout, tool, handle); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// databaseCommand writes an empty vulnerability database of the real form: database DIR.
func databaseCommand(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	db, err := bbolt.Open(filepath.Join(dir, "trivy.db"), 0o600, nil)
	ts.Check(err)
	ts.Check(db.Close())
	about, err := json.Marshal(map[string]any{"Version": 2, "UpdatedAt": time.Now().UTC(), "NextUpdate": time.Now().UTC()})
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "metadata.json"), about, 0o600))
}

func TestScanReports(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	program := filepath.Join(t.TempDir(), "scanner")
	if err := os.WriteFile(program, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	complete := scanner.Report{State: scanner.StateComplete, FinishedAt: now.Format(time.RFC3339)}
	of := func(state scanner.State) scanner.Report {
		other := complete
		other.State = state
		return other
	}
	for name, test := range map[string]struct {
		report           scanner.Report
		digest, database string
		later            time.Duration
		replaced         bool // the scanner's program
		want             bool
	}{
		"the same image and database":     {report: complete, digest: "a", database: "1", want: true},
		"an image that has no packages":   {report: of(scanner.StateUnscannable), digest: "a", database: "1", want: true},
		"another image":                   {report: complete, digest: "b", database: "1"},
		"another database":                {report: complete, digest: "a", database: "2"},
		"another scanner":                 {report: complete, digest: "a", database: "1", replaced: true},
		"half a day and a second later":   {report: complete, digest: "a", database: "1", later: scanReportAge + time.Second},
		"a second before it was made":     {report: complete, digest: "a", database: "1", later: -time.Second},
		"a scan that failed":              {report: of(scanner.StateError), digest: "a", database: "1"},
		"a report that does not say when": {report: scanner.Report{State: scanner.StateComplete}, digest: "a", database: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			open := func() *scanReports {
				r, err := newScanReports(directory, program)
				if err != nil {
					t.Fatal(err)
				}
				r.now = func() time.Time { return now.Add(test.later) }
				return r
			}
			if err := open().put("a", &database.Lease{Digest: "1"}, test.report); err != nil {
				t.Fatal(err)
			}
			if test.replaced {
				if err := os.Chtimes(program, now, now); err != nil {
					t.Fatal(err)
				}
			}
			if _, got := open().get(test.digest, &database.Lease{Digest: test.database}); got != test.want {
				t.Errorf("got a report: %v, want %v", got, test.want)
			}
		})
	}
}
