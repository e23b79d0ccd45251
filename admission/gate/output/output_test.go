package output

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// event is one call of a handler.
type event any

// replay tells a handler a run.
func replay(t testing.TB, handler gate.Handler, run gate.Run, events []event, summary gate.Summary) {
	t.Helper()
	errs := []error{handler.Start(run)}
	for _, e := range events {
		switch e := e.(type) {
		case gate.Result:
			errs = append(errs, handler.Result(e))
		case gate.Problem:
			errs = append(errs, handler.Problem(e))
		}
	}
	errs = append(errs, handler.Finish(summary))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

var testRun = gate.Run{
	Version: "1.2.3", Bundle: "library@7 (sha256:0123456789ab)", Profile: "restricted", Context: "the directory live", Started: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	BundleName: "library", BundleDigest: "sha256:0123456789abcdef",
	Rules: []gate.Rule{
		{ID: "pods/privileged", Title: "Privileged containers", Description: "Owns the node.\n", Severity: "critical", Remediation: "Remove privileged.",
			Links: []string{"https://kubernetes.io/docs/"}, Controls: map[string][]string{"pss": {"baseline/privileged"}, "cis": {"5.2.2"}}},
		{ID: "pods/probes", Title: "Probes", Severity: "low", Remediation: "Add probes."},
	},
}

// denied is one result with everything a result can hold.
func denied() gate.Result {
	web := gate.Location{File: "deploy/web.yaml", Line: 3, Column: 1}
	return gate.Result{
		Object:   gate.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"},
		Location: web, Outcome: gate.Denied, Profile: "restricted", Matched: 12,
		Findings: []gate.Finding{
			{Location: gate.Location{File: "deploy/web.yaml", Line: 14, Column: 9}, Finding: policies.Finding{
				Policy: "pods/privileged", Title: "Privileged containers", Severity: "critical", Effect: policies.EffectDeny,
				Message: `container "app" is privileged`, Path: "spec.template.spec.containers[0].securityContext.privileged",
				Remediation: "Remove securityContext.privileged, or set it to false.", Details: map[string]any{"container": "app"},
				Fix: []policies.Change{{Op: "remove", Path: "spec.template.spec.containers[0].securityContext.privileged"}},
			}},
			{Location: web, Finding: policies.Finding{Policy: "pods/probes", Severity: "low", Effect: policies.EffectWarn, Message: "no readiness probe", Remediation: "Add probes."}},
			{Location: web, Finding: policies.Finding{Policy: "pods/replicas", Instance: "pods/replicas-prod", Severity: "medium", Effect: policies.EffectDeny, Enforcement: policies.EnforceAudit, Message: "one replica"}},
			{Location: web, Finding: policies.Finding{Policy: "pods/digest", Severity: "high", Effect: policies.EffectDeny, Message: "image without digest", ExceptedBy: "legacy-web"}},
		},
		Undecided: []gate.UndecidedPolicy{{Location: web, Undecided: policies.Undecided{Policy: "network/isolated", Reason: "only the documents of this run are known"}}},
		Faults:    []policies.Fault{{Policy: "pods/slow", Kind: policies.FaultDeadline, Message: "5 s", FailMode: policies.FailOpen}},
		Patch:     json.RawMessage(`[{"op":"add","path":"/spec/x","value":1}]`),
	}
}

// passedOver is a file on which nothing was decided.
var passedOver = gate.Skip{File: "k/extra.yaml", Reason: "the kustomization beside it does not use it", Manifest: true}

// everything is a run in which everything happens.
func everything() ([]event, gate.Summary) {
	chart := gate.Location{File: "chart/templates/pod.yaml", RenderedLine: 7}
	events := []event{
		gate.Problem{Location: gate.Location{File: "broken.yaml", Line: 2, Column: 4}, Message: "did not find expected node content: correct the YAML"},
		denied(),
		gate.Result{Object: gate.Object{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "web"}, Location: gate.Location{File: "deploy/web.yaml", Line: 30, Column: 1}, Outcome: gate.Admitted, Matched: 3},
		gate.Result{Object: gate.Object{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "rendered"}, Location: chart, Outcome: gate.Faulty,
			Faults: []policies.Fault{{Kind: policies.FaultInput, Message: "containers is a string"}}},
		gate.Result{Object: gate.Object{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "open"}, Location: chart, Outcome: gate.Undecided,
			Undecided: []gate.UndecidedPolicy{{Location: chart, Undecided: policies.Undecided{Policy: "pods/user", Reason: "spec.x is a template", Path: "spec.x"}}}},
		gate.Result{Object: gate.Object{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "warned"}, Location: chart, Outcome: gate.Warned,
			Findings: []gate.Finding{{Location: chart, Finding: policies.Finding{Policy: "pods/probes", Severity: "low", Effect: policies.EffectDeny, Enforcement: policies.EnforceWarn, Message: "no probe"}}}},
	}
	summary := gate.Summary{
		Objects: 5, Problems: 1, Undecided: 2, Faults: 2, Exit: gate.ExitDenied,
		Outcomes:   map[gate.Outcome]int{gate.Denied: 1, gate.Admitted: 1, gate.Faulty: 1, gate.Undecided: 1, gate.Warned: 1},
		Effects:    map[gate.Effect]int{gate.Denies: 1, gate.Warns: 2, gate.Records: 1, gate.Excepted: 1},
		Severities: map[string]int{"critical": 1, "low": 2},
		Skipped:    []gate.Skip{passedOver, {File: "deploy/values.yaml", Reason: "not a Kubernetes manifest: no apiVersion and kind"}},
	}
	return events, summary
}

// images is a run about images, with a baseline.
func images() ([]event, gate.Summary) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	place := gate.Location{File: "ghcr.io/acme/app:1"}
	about := func(vulnerability, name, purl, version, fixed, severity string, score int) map[string]any {
		details := map[string]any{"image": "ghcr.io/acme/app:1", "digest": digest, "vulnerability": vulnerability, "package": name,
			"purl": purl, "version": version, "fixed": fixed, "severity": severity}
		if score > 0 {
			details["score"] = json.Number(fmt.Sprint(score))
		}
		return details
	}
	finding := func(policy, message string, details map[string]any) gate.Finding {
		return gate.Finding{Location: place, Fingerprint: gate.Hash(policy, message), Finding: policies.Finding{
			Policy: policy, Title: "Vulnerabilities", Severity: "high", Effect: policies.EffectDeny, Message: message,
			Path: "spec.containers[0].image", Remediation: "Rebuild the image.", Details: details}}
	}
	openssl := about("CVE-2022-0778", "openssl", "pkg:deb/debian/openssl@1.1.1k-1?arch=amd64&distro=debian-11.2", "1.1.1k-1", "1.1.1k-1+deb11u2", "high", 75)
	known := finding("images/vulnerabilities", "minimist 1.2.5 has CVE-2021-44906 (critical)", about("CVE-2021-44906", "minimist", "pkg:npm/minimist@1.2.5", "1.2.5", "1.2.6", "critical", 98))
	known.Known = true
	excepted := finding("images/vulnerabilities", "lodash 4.17.20 has GHSA-35jh-r3h4-6jhm (high)", about("GHSA-35jh-r3h4-6jhm", "lodash", "pkg:npm/%40acme/lodash@4.17.20", "4.17.20", "", "high", 0))
	excepted.ExceptedBy = "lodash-until-may"
	warned := finding("images/known-exploited", "openssl 1.1.1k-1 has CVE-2022-0778, which is exploited", openssl)
	warned.Effect = policies.EffectWarn
	recorded := finding("images/vulnerabilities", "zlib1g 1:1.2 has CVE-2023-45853 (unknown)", about("CVE-2023-45853", "zlib1g", "pkg:deb/debian/zlib@1:1.2", "1:1.2", "", "unknown", 0))
	recorded.Enforcement = policies.EnforceAudit
	results := []event{
		gate.Result{
			Object: gate.Object{APIVersion: source.ImageVersion, Kind: "Image", Name: "ghcr.io/acme/app:1"}, Location: place, Outcome: gate.Denied, Profile: "restricted", Matched: 3,
			Image: &source.Image{Argument: "ghcr.io/acme/app:1", Ref: "ghcr.io/acme/app:1", Digest: digest},
			Findings: []gate.Finding{
				finding("images/vulnerabilities", "openssl 1.1.1k-1 has CVE-2022-0778 (high), fixed in 1.1.1k-1+deb11u2", openssl),
				finding("images/vulnerabilities", "libssl1.1 1.1.1k-1 has CVE-2022-0778 (high)", about("CVE-2022-0778", "libssl1.1", "pkg:deb/debian/libssl1.1@1.1.1k-1?arch=amd64&distro=debian-11.2", "1.1.1k-1", "", "high", 81)),
				warned, known, excepted, recorded,
				finding("images/signed", "no trusted authority signed ghcr.io/acme/app:1", map[string]any{"image": "ghcr.io/acme/app:1", "digest": digest}),
			},
		},
		gate.Result{Object: gate.Object{APIVersion: source.ImageVersion, Kind: "Image", Name: "oci:dist"}, Location: gate.Location{File: "oci:dist"}, Outcome: gate.Undecided,
			Undecided: []gate.UndecidedPolicy{{Location: gate.Location{File: "oci:dist"}, Undecided: policies.Undecided{Policy: "images/scanned", Path: "spec.containers[0].image", Reason: "there is no scan; leave --offline out"}}}},
	}
	return results, gate.Summary{
		Objects: 2, Undecided: 1, Gone: 2, Exit: gate.ExitDenied, Finished: time.Date(2026, 1, 2, 3, 4, 9, 0, time.UTC),
		Outcomes:   map[gate.Outcome]int{gate.Denied: 1, gate.Undecided: 1},
		Effects:    map[gate.Effect]int{gate.Denies: 3, gate.Warns: 1, gate.Records: 1, gate.Excepted: 1, gate.Known: 1},
		Severities: map[string]int{"high": 4},
	}
}

// nothing is a run without findings.
func nothing() ([]event, gate.Summary) {
	return []event{gate.Result{Object: gate.Object{APIVersion: "v1", Kind: "Pod", Name: "a"}, Location: gate.Location{File: "-", Line: 1, Column: 1}, Outcome: gate.Admitted}},
		gate.Summary{Objects: 1, Outcomes: map[gate.Outcome]int{gate.Admitted: 1}, Effects: map[gate.Effect]int{}, Severities: map[string]int{}}
}

// evil is what a manifest may try to smuggle into a report.
const evil = "a\x1b[2J\x1b]0;t\a\r\n::error::x\n##[error]y\n</testsuite>]]>\"'<img src=x onerror=alert(1)> | `b` ${{ x }} @team #1 \u202e\u2028\x00\xff\ufffe"

// hostile is a run in which every string is evil.
func hostile() ([]event, gate.Summary) {
	place := gate.Location{File: evil, Line: 1, Column: 1}
	return []event{
		gate.Problem{Location: place, Message: evil},
		gate.Result{Object: gate.Object{APIVersion: evil, Kind: evil, Namespace: evil, Name: evil}, Location: place, Outcome: gate.Denied,
			Findings: []gate.Finding{
				{Location: place, Fingerprint: evil, Finding: policies.Finding{Policy: "a/b", Instance: evil, Severity: "high", Effect: policies.EffectDeny, Message: evil, Remediation: evil, Details: map[string]any{
					"image": evil, "digest": evil, "vulnerability": evil, "package": evil, "purl": evil, "version": evil, "fixed": evil, "severity": evil, "score": evil}}},
				{Location: place, Finding: policies.Finding{Policy: "a/b", Instance: evil, Severity: "high", Effect: policies.EffectDeny, Message: evil, Path: evil, Remediation: evil, Title: evil}},
				{Location: place, Finding: policies.Finding{Policy: "a/b", Severity: "high", Effect: policies.EffectDeny, Message: evil, ExceptedBy: evil}},
			},
			Undecided: []gate.UndecidedPolicy{{Location: place, Undecided: policies.Undecided{Policy: "a/b", Reason: evil, Path: evil}}},
			Faults:    []policies.Fault{{Policy: "a/b", Kind: policies.FaultError, Message: evil}}},
	}, gate.Summary{Objects: 1, Outcomes: map[gate.Outcome]int{gate.Denied: 1}, Exit: gate.ExitDenied, Skipped: []gate.Skip{{File: evil, Reason: evil}, {File: evil, Reason: evil, Manifest: true}}}
}

func TestGoldens(t *testing.T) {
	for runName, story := range map[string]func() ([]event, gate.Summary){"everything": everything, "nothing": nothing, "hostile": hostile, "images": images} {
		for name, style := range map[string]Style{"": {}, "-table": {Table: true, Width: 100}, "-colour": {Table: true, Colour: true, Width: 60}} {
			for _, format := range Formats() {
				if name != "" && format != "text" {
					continue
				}
				t.Run(runName+" as "+format+name, func(t *testing.T) {
					var b bytes.Buffer
					handler, err := New(format, &b, style)
					if err != nil {
						t.Fatal(err)
					}
					events, summary := story()
					run := testRun
					run.Skipped = summary.Skipped
					if runName == "images" {
						run.Baseline = "baseline.json"
					}
					replay(t, handler, run, events, summary)
					check(t, format, style, b.Bytes())
					golden(t, runName+name+"."+format, b.Bytes())
				})
			}
		}
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run the test with -update to write it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s\nrun the test with -update if the change is meant", got, want)
	}
}

// check validates a report against the schema of its format, and for bytes that no
// report may hold.
func check(t *testing.T, format string, style Style, report []byte) {
	t.Helper()
	if !utf8.Valid(report) {
		t.Error("the report is not UTF-8")
	}
	text := string(report)
	if style.Colour {
		text = regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(text, "")
	}
	for _, r := range text {
		if r != '\n' && r != ' ' && hidden(r) && r != '\u200b' && r != '\ufe0f' {
			t.Errorf("the report holds the character %U", r)
		}
	}
	switch format {
	case "json":
		validate(t, "../../../docs/gate-report.schema.json", report)
	case "sarif":
		validate(t, "testdata/schema/sarif-schema-2.1.0.json", report)
		checkSarif(t, report)
	case "gitlab-container-scanning":
		validate(t, "testdata/schema/gitlab-container-scanning-15.0.7.json", report)
		checkUnique(t, report)
	case "cyclonedx-vex":
		validateCycloneDX(t, report)
	case "gitlab":
		validate(t, "testdata/schema/gitlab-code-quality.json", report)
	case "junit":
		checkJUnit(t, report)
	case "github":
		for line := range strings.Lines(text) {
			if !regexp.MustCompile(`^::(error|warning|notice) [^:]*::[^\r\n]*\n$`).MatchString(line) {
				t.Errorf("got the line %q, want one workflow command", line)
			}
		}
	case "text":
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
				t.Errorf("got the line %q, which a runner takes for a command", line)
			}
		}
	case "markdown":
		outside := regexp.MustCompile("(?U)`{2}.+`{2}|`[^`]+`").ReplaceAllString(text, "")
		if strings.Contains(outside, "<img") || strings.Contains(outside, "@team") {
			t.Errorf("the report holds markup of an object outside code:\n%s", outside)
		}
	}
}

func validate(t *testing.T, schema string, report []byte) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiled, err := compiler.Compile(schema)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(document); err != nil {
		t.Error(err)
	}
}

// checkSarif checks what the schema cannot say: that indices and ids agree.
func checkSarif(t *testing.T, report []byte) {
	t.Helper()
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Kind      string
				Level     string
			}
		}
	}
	if err := json.Unmarshal(report, &log); err != nil {
		t.Fatal(err)
	}
	for _, result := range log.Runs[0].Results {
		if got := log.Runs[0].Tool.Driver.Rules[result.RuleIndex].ID; got != result.RuleID {
			t.Errorf("got rule %s at the index of a result of %s", got, result.RuleID)
		}
		if (result.Kind == "open") != (result.Level == "none") { // 3.27.10
			t.Errorf("got kind %q with level %q", result.Kind, result.Level)
		}
	}
}

// checkJUnit reads the report strictly, as the schema of Jenkins' xUnit plugin
// (junit-10.xsd) has it: the elements and attributes that occur, their order, and
// that the numbers are right.
func checkJUnit(t *testing.T, report []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(report))
	elements := map[string]string{ // element: its attributes
		"testsuites": "name tests failures errors", "testsuite": "name tests failures errors skipped",
		"testcase": "name classname file line time", "failure": "message type", "error": "message type", "system-out": "",
	}
	children := map[string]string{"": "testsuites", "testsuites": "testsuite", "testsuite": "testcase", "testcase": "error failure system-out"}
	stack := []string{""}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			if !strings.Contains(" "+children[stack[len(stack)-1]]+" ", " "+name+" ") {
				t.Errorf("got <%s> in <%s>", name, stack[len(stack)-1])
			}
			for _, attribute := range token.Attr {
				if !strings.Contains(" "+elements[name]+" ", " "+attribute.Name.Local+" ") {
					t.Errorf("got the attribute %s of <%s>", attribute.Name.Local, name)
				}
			}
			stack = append(stack, name)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
	var suites junitSuites
	if err := xml.Unmarshal(report, &suites); err != nil {
		t.Fatal(err)
	}
	tests, failures, errs := 0, 0, 0
	for _, suite := range suites.Suites {
		tests += len(suite.Cases)
		for _, test := range suite.Cases {
			if test.Failure != nil {
				failures++
			}
			if test.Error != nil {
				errs++
			}
		}
	}
	if suites.Tests != tests || suites.Failures != failures || suites.Errors != errs {
		t.Errorf("got %d tests, %d failures, %d errors in the head, want %d, %d, %d", suites.Tests, suites.Failures, suites.Errors, tests, failures, errs)
	}
}

// TestFingerprintsOutliveLines: a finding stays the same one when lines are added above it.
func TestFingerprintsOutliveLines(t *testing.T) {
	for _, format := range []string{"sarif", "gitlab"} {
		prints := func(line int) []string {
			result := denied()
			for i := range result.Findings {
				result.Findings[i].Location.Line += line
			}
			result.Findings = append(result.Findings, result.Findings[0])
			var b bytes.Buffer
			handler, _ := New(format, &b, Style{})
			replay(t, handler, testRun, []event{result}, gate.Summary{})
			return regexp.MustCompile(`"[0-9a-f]{32}"`).FindAllString(b.String(), -1)
		}
		before, after := prints(0), prints(10)
		if len(before) < 5 || strings.Join(before, " ") != strings.Join(after, " ") {
			t.Errorf("%s: got %v after lines were added, want %v", format, after, before)
		}
		unique := map[string]bool{}
		for _, print := range before {
			unique[print] = true
		}
		if format == "gitlab" && len(unique) != len(before) {
			t.Errorf("got fingerprints %v, want no two the same: GitLab drops one", before)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	_, err := New("yaml", io.Discard, Style{})
	if err == nil || !strings.Contains(err.Error(), "use one of text, json, sarif") {
		t.Errorf("got %v, want an error that lists the formats", err)
	}
}

func TestWriteErrorIsReported(t *testing.T) {
	for _, format := range Formats() {
		handler, _ := New(format, failing{}, Style{})
		err := handler.Start(testRun)
		err = errors.Join(err, handler.Result(denied()), handler.Finish(gate.Summary{}))
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: got %v, want %v", format, err, os.ErrClosed)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func FuzzPlain(f *testing.F) {
	for _, seed := range []string{"", "a b", evil, "::x", " ::x", "##[x", "é\u0301", "👩‍👩‍👧"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		plain := Plain(s)
		if !utf8.ValidString(plain) || strings.ContainsFunc(plain, hidden) || strings.ContainsAny(plain, "\n\r\x1b") {
			t.Errorf("Plain(%q): got %q, which holds hidden characters", s, plain)
		}
		if strings.HasPrefix(strings.TrimSpace(plain), "::") || strings.Contains(plain, "##[") {
			t.Errorf("Plain(%q): got %q, which is a workflow command", s, plain)
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	for _, seed := range []string{"", "a|b", evil, "`", "``a`", "[x](y)", "<b>", "@x", "a\\|b"} {
		f.Add(seed)
	}
	active := regexp.MustCompile("(^|[^\\\\])(\\\\\\\\)*[`*_\\[\\]|<>#!~$]|@[^\u200b]|@$")
	f.Fuzz(func(t *testing.T, s string) {
		if got := Markdown(s); active.MatchString(got) || strings.Contains(got, "\n") {
			t.Errorf("Markdown(%q): got %q, which holds markup", s, got)
		}
		code := markdownCode(s)
		fence := len(code) - len(strings.TrimLeft(code, "`"))
		if inner := strings.Trim(code, "`"); strings.Contains(inner, strings.Repeat("`", max(1, fence))) || regexp.MustCompile(`(^|[^\\])\|`).MatchString(code) {
			t.Errorf("markdownCode(%q): got %q, which ends early", s, code)
		}
	})
}

func FuzzWorkflowCommand(f *testing.F) {
	f.Add(evil, evil, evil)
	f.Add("a:b,c", "%0A", "::")
	f.Fuzz(func(t *testing.T, file, title, message string) {
		var b bytes.Buffer
		h := &githubHandler{w: &printer{w: &b}}
		h.command("error", gate.Location{File: file, Line: 1}, title, []string{Plain(message)})
		if !regexp.MustCompile(`^::error file=[^:,\r\n]*,line=1,title=[^:,\r\n]*::[^\r\n]*\n$`).Match(b.Bytes()) {
			t.Errorf("got %q, want one command with three properties", b.String())
		}
	})
}

func FuzzJUnit(f *testing.F) {
	f.Add(evil)
	f.Add("\x00\x01]]>&lt;")
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		h := &junitHandler{w: &b}
		result := denied()
		result.Object.Name, result.Findings[0].Message, result.Location.File = s, s, s
		replay(t, h, testRun, []event{result}, gate.Summary{})
		checkJUnit(t, b.Bytes())
	})
}
