package scans

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/scanner"
)

func packed(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func envelope(payload string) string {
	return `{"dsseEnvelope":{"payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `"}}`
}

func TestAScanIsSummarised(t *testing.T) {
	report := scanner.Report{State: "complete", StartedAt: "2026-11-29T10:00:00Z", FinishedAt: "2026-11-29T10:00:30Z", Scanner: scanner.Tool{Name: "trivy", Version: "0.74.0"}}
	for n, severity := range []string{"low", "critical", "unknown", "high"} {
		report.Vulnerabilities = append(report.Vulnerabilities, scanner.Vulnerability{ID: "CVE-2026-000" + string(rune('1'+n)), Package: "p", Version: "1", Severity: severity, Status: "affected", Class: "os", Fixed: map[bool]string{true: "2"}[n%2 == 0]})
	}
	predicate, err := scanner.NewPredicate(report, scanner.Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(packed(t, envelope(`{"predicate":`+string(predicate)+`}`)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != 4 || got.Fixable != 2 || got.BySeverity["critical"] != 1 || got.BySeverity["unknown"] != 1 || got.Worst[0].Severity != "critical" {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNoScanIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		statement []byte
		says      string
	}{
		"nothing":         {nil, "unpacking"},
		"no gzip":         {[]byte("x"), "unpacking"},
		"a bomb":          {packed(t, strings.Repeat("a", maxBundle+2)), "too large"},
		"no bundle":       {packed(t, "x"), "envelope"},
		"no statement":    {packed(t, envelope("x")), "statement"},
		"another subject": {packed(t, envelope(`{"predicate":{"x":1}}`)), "reading the scan"},
	} {
		if _, err := Read(test.statement); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want %q", name, err, test.says)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(packed(f, envelope(`{"predicate":{}}`)))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, statement []byte) {
		if s, err := Read(statement); err == nil && len(s.Worst) > maxWorst {
			t.Errorf("%d are named", len(s.Worst))
		}
	})
}
