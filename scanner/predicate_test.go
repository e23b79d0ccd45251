package scanner

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// sample is a complete report with one of everything.
func sample() Report {
	return Report{
		State: StateComplete, Reasons: []string{}, StartedAt: "2026-11-28T10:00:00Z", FinishedAt: "2026-11-28T10:00:03Z",
		Scanner:  Tool{Name: "trivy", Version: "0.74.0"},
		Database: Database{UpdatedAt: "2026-11-28T06:00:00Z", Digest: "sha256:" + strings.Repeat("d", 64), Version: 2},
		OS:       OS{Family: "debian", Name: "12.5"}, Packages: Packages{OS: 90, Language: 12, ThirdParty: 3},
		Vulnerabilities: []Vulnerability{{
			ID: "CVE-2021-23337", Package: "lodash", PURL: "pkg:npm/lodash@4.17.20", Version: "4.17.20", Fixed: "4.17.21", Status: "fixed",
			Severity: "high", Score: 72, Class: "language", Path: "app/node_modules/lodash/package.json", Title: "command injection", Link: "https://avd.aquasec.com/nvd/cve-2021-23337",
		}},
		Secrets: []Secret{{Rule: "aws-access-key-id", Severity: "critical", Path: "/app/.env"}},
	}
}

func TestAReportSurvivesThePredicateWithoutLoss(t *testing.T) {
	want := sample()
	raw, err := NewPredicate(want, Invocation{Parameters: []string{"platform=linux/amd64"}, Builder: "portcullis-scanner v1", DatabaseURI: "oci://mirror.example.com/trivy-db:2"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePredicate(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Trivy leaves scanner.db empty, and nobody can tell from such an attestation how old the database was.
func TestThePredicateSaysHowOldTheDatabaseIsWhereOthersLook(t *testing.T) {
	raw, err := NewPredicate(sample(), Invocation{DatabaseURI: "oci://mirror.example.com/trivy-db:2"})
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Scanner  struct{ DB struct{ URI, Version string } }
		Metadata struct{ ScanStartedOn, ScanFinishedOn time.Time }
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	if want := "2026-11-28T06:00:00Z"; p.Scanner.DB.Version != want {
		t.Errorf("scanner.db.version is %q, want %q", p.Scanner.DB.Version, want)
	}
	if want := "oci://mirror.example.com/trivy-db:2@sha256:" + strings.Repeat("d", 64); p.Scanner.DB.URI != want {
		t.Errorf("scanner.db.uri is %q, want %q", p.Scanner.DB.URI, want)
	}
	if got := p.Metadata.ScanFinishedOn.Sub(p.Metadata.ScanStartedOn); got != 3*time.Second {
		t.Errorf("the scan took %s, want 3s", got)
	}
}

func TestThePredicateLeavesOutWhatIsNotOfTheScan(t *testing.T) {
	report := sample()
	report.Authority, report.Queued, report.RetryAfter = "scanners", true, 30
	report.Vulnerabilities[0].VEX = &Statement{Status: "not_affected"}
	report.Vulnerabilities[0].Ignore = &Ignore{ID: "CVE-2021-23337"}
	raw, err := NewPredicate(report, Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePredicate(raw)
	if err != nil {
		t.Fatal(err)
	}
	if want := sample(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if report.Vulnerabilities[0].VEX == nil {
		t.Error("the report itself was modified")
	}
}

func TestTheSchemaDescribesWhatIsWritten(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	result := func(r Report) any {
		raw, err := NewPredicate(r, Invocation{})
		if err != nil {
			t.Fatal(err)
		}
		var p predicate
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(p.Scanner.Result))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	value := result(sample())
	if err := schema.Validate(value); err != nil {
		t.Errorf("a report is not of the schema: %v", err)
	}
	report := value.(map[string]any)["report"].(map[string]any)
	report["surprise"] = true
	if err := schema.Validate(value); err == nil {
		t.Error("the schema takes a field that no report has: it describes nothing")
	}
	delete(report, "surprise")
	delete(report, "state")
	if err := schema.Validate(value); err == nil {
		t.Error("the schema takes a report without state")
	}
}

func TestPredicatesThatContradictThemselvesOrSayTooLittle(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p map[string]any)
		state  State  // "" for a mistake
		says   string // in the mistake or a reason
	}{
		"a finish that the metadata give otherwise is refused": {change: set("2026-11-29T10:00:00Z", "metadata", "scanFinishedOn"), says: "contradicts itself"},
		"a database that scanner.db gives otherwise is refused": {
			change: set("2026-11-29T10:00:00Z", "scanner", "db", "version"), says: "contradicts itself"},
		"a form of a later release is refused":            {change: set("https://portcullis.dev/schema/scan-report/v2", "scanner", "result", "schema"), says: "update the reader"},
		"a result of no known form is refused":            {change: set(map[string]any{"clean": true}, "scanner", "result"), says: "no known form"},
		"a result that is null is refused":                {change: set(nil, "scanner", "result"), says: "no known form"},
		"a result that is a list is refused":              {change: set([]any{}, "scanner", "result"), says: "no known form"},
		"the state missing is no scan":                    {change: set("missing", "scanner", "result", "report", "state"), says: "want of a scan"},
		"a state of another name is refused":              {change: set("clean", "scanner", "result", "report", "state"), says: "is none"},
		"a severity of another name is refused":           {change: setFinding("HIGH", "severity"), says: "severity"},
		"an empty severity is refused":                    {change: setFinding("", "severity"), says: "severity"},
		"a state in another case of its name is no state": {change: set("complete", "scanner", "result", "report", "State"), state: StateComplete},
		"complete with no packages is unscannable": {
			change: set(map[string]any{"os": 0, "language": 0}, "scanner", "result", "report", "packages"), state: StateUnscannable, says: "no packages"},
		"complete with packages of other vendors alone is unscannable": {
			change: set(90, "scanner", "result", "report", "packages", "thirdParty"), state: StateUnscannable, says: "other vendors'"},
		"complete with one package of the distribution's own stays complete": {
			change: set(89, "scanner", "result", "report", "packages", "thirdParty"), state: StateComplete},
		"a scan of before packages of other vendors were counted is read": {
			change: set(map[string]any{"os": 90, "language": 12}, "scanner", "result", "report", "packages"), state: StateComplete},
		"complete with reasons is unscannable": {
			change: set([]any{"a jar could not be read"}, "scanner", "result", "report", "reasons"), state: StateUnscannable, says: "a jar"},
		"complete without the program is unscannable": {
			change: func(p map[string]any) {
				set("", "scanner", "result", "report", "scanner", "version")(p)
				set("", "scanner", "version")(p)
			}, state: StateUnscannable, says: "which program"},
		"complete without the database's time is unscannable": {
			change: func(p map[string]any) {
				set("", "scanner", "result", "report", "database", "updatedAt")(p)
				set("", "scanner", "db", "version")(p)
			}, state: StateUnscannable, says: "how old"},
		"unscannable without a reason is refused": {change: set("unscannable", "scanner", "result", "report", "state"), says: "gives no reason"},
		"fewer than no packages are refused":      {change: set(-1, "scanner", "result", "report", "packages", "os"), says: "fewer than no packages"},
		"fewer than no packages of other vendors are refused": {
			change: set(-1, "scanner", "result", "report", "packages", "thirdParty"), says: "fewer than no packages"},
		"more packages of other vendors than packages are refused": {
			change: set(91, "scanner", "result", "report", "packages", "thirdParty"), says: "91 packages of other vendors among 90"},
		"a time with an offset is refused": {change: set("2026-11-28T12:00:03+02:00", "scanner", "result", "report", "finishedAt"), says: "finishedAt"},
		"a time with a fraction is refused, as texts must compare like times": {
			change: set("2026-11-28T10:00:03.5Z", "scanner", "result", "report", "finishedAt"), says: "whole seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := NewPredicate(sample(), Invocation{})
			if err != nil {
				t.Fatal(err)
			}
			var p map[string]any
			if err := json.Unmarshal(raw, &p); err != nil {
				t.Fatal(err)
			}
			c.change(p)
			raw, err = json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParsePredicate(raw)
			said := strings.Join(got.Reasons, "; ")
			if err != nil {
				said = err.Error()
			}
			if (c.state == "") != (err != nil) || err == nil && got.State != c.state {
				t.Fatalf("got state %q, error %v, want state %q", got.State, err, c.state)
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("it says %q, want %q in it", said, c.says)
			}
		})
	}
}

// set changes one field of a decoded predicate.
func set(value any, path ...string) func(map[string]any) {
	return func(p map[string]any) {
		for _, step := range path[:len(path)-1] {
			p = p[step].(map[string]any)
		}
		p[path[len(path)-1]] = value
	}
}

func setFinding(value any, field string) func(map[string]any) {
	return func(p map[string]any) {
		report := p["scanner"].(map[string]any)["result"].(map[string]any)["report"].(map[string]any)
		report["vulnerabilities"].([]any)[0].(map[string]any)[field] = value
	}
}

func TestAPredicateWithAKeyTwiceIsRefused(t *testing.T) {
	raw, err := NewPredicate(sample(), Invocation{})
	if err != nil {
		t.Fatal(err)
	}
	twice := bytes.Replace(raw, []byte(`"state":"complete"`), []byte(`"state":"error","state":"complete"`), 1)
	if bytes.Equal(twice, raw) {
		t.Fatal("the predicate has no state where this test changes it")
	}
	if got, err := ParsePredicate(twice); err == nil {
		t.Errorf("got state %q, want an error: readers would disagree about which one counts", got.State)
	}
}

func TestAPredicateOfEndlessSizeIsRefusedUnread(t *testing.T) {
	if _, err := ParsePredicate(bytes.Repeat([]byte("["), MaxPredicate+1)); err == nil || !strings.Contains(err.Error(), "allowed") {
		t.Errorf("got %v, want a complaint about its size", err)
	}
}

func TestForeignScansAreReadAndNeverComplete(t *testing.T) {
	for name, c := range map[string]struct {
		file     string
		tool     string
		first    Vulnerability
		findings int
		os       OS
	}{
		"Trivy's cosign-vuln": {file: "trivy.json", tool: "trivy", findings: 2, os: OS{Family: "debian", Name: "9.9", EndOfLife: true}, first: Vulnerability{
			ID: "CVE-2019-1549", Package: "libssl1.1", PURL: "pkg:deb/debian/libssl1.1@1.1.0k-1~deb9u1?arch=amd64&distro=debian-9.9", Version: "1.1.0k-1~deb9u1", Fixed: "1.1.1d-0+deb10u1",
			Status: "fixed", Severity: "medium", Score: 53, Class: "os", Title: "openssl: information disclosure in fork()", Link: "https://avd.aquasec.com/nvd/cve-2019-1549"}},
		"Grype's JSON in the predicate": {file: "grype.json", tool: "grype", findings: 1, os: OS{Family: "alpine", Name: "3.10.4"}, first: Vulnerability{
			ID: "CVE-2019-14697", Package: "musl", PURL: "pkg:apk/alpine/musl@1.1.22-r3?arch=x86_64&distro=alpine-3.10.4", Version: "1.1.22-r3", Fixed: "1.1.22-r4",
			Status: "fixed", Severity: "critical", Score: 98, Class: "os", Link: "https://security.alpinelinux.org/vuln/CVE-2019-14697"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "foreign", c.file))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParsePredicate(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got.State != StateUnscannable || len(got.Reasons) == 0 {
				t.Errorf("got state %q with reasons %q, want unscannable and why", got.State, got.Reasons)
			}
			if got.Scanner.Name != c.tool || got.OS != c.os || len(got.Vulnerabilities) != c.findings {
				t.Fatalf("got scanner %+v, OS %+v and %d findings, want %s, %+v and %d", got.Scanner, got.OS, len(got.Vulnerabilities), c.tool, c.os, c.findings)
			}
			if got.Vulnerabilities[0] != c.first {
				t.Errorf("got  %+v\nwant %+v", got.Vulnerabilities[0], c.first)
			}
		})
	}
}

func FuzzParsePredicate(f *testing.F) {
	raw, err := NewPredicate(sample(), Invocation{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	for _, file := range []string{"trivy.json", "grype.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata", "foreign", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		report, err := ParsePredicate(raw)
		if err != nil {
			return
		}
		if report.State == StateComplete && (report.Packages.OS+report.Packages.Language == 0 || report.Database.UpdatedAt == "" || len(report.Reasons) > 0) {
			t.Errorf("complete without knowledge: %+v", report)
		}
		again, err := NewPredicate(report, Invocation{})
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if got, err := ParsePredicate(again); err != nil || !reflect.DeepEqual(got, report) {
			t.Errorf("reading again: got %+v, %v\nwant %+v", got, err, report)
		}
	})
}

func BenchmarkParsePredicate(b *testing.B) {
	report := sample()
	for len(report.Vulnerabilities) < 200 {
		report.Vulnerabilities = append(report.Vulnerabilities, report.Vulnerabilities[0])
	}
	raw, err := NewPredicate(report, Invocation{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := ParsePredicate(raw); err != nil {
			b.Fatal(err)
		}
	}
}
