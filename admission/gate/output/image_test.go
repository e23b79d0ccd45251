package output

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validateCycloneDX validates against the schema that the Go module of CycloneDX ships, and
// checks what it cannot say: that references lead somewhere.
func validateCycloneDX(t *testing.T, report []byte) {
	t.Helper()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatalf("finding the schema: %v", err)
	}
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(module)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, schema); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
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
	var bom vexDocument
	if err := json.Unmarshal(report, &bom); err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, component := range bom.Components {
		if slices.Contains(refs, component.Ref) {
			t.Errorf("got the reference %q twice", component.Ref)
		}
		refs = append(refs, component.Ref)
	}
	for _, vulnerability := range bom.Vulnerabilities {
		if !slices.Contains(refs, vulnerability.Affects[0].Ref) {
			t.Errorf("%s: got the reference %q, want one of %q", vulnerability.ID, vulnerability.Affects[0].Ref, refs)
		}
	}
}

// checkUnique checks that no two vulnerabilities have one id: GitLab would drop one.
func checkUnique(t *testing.T, report []byte) {
	t.Helper()
	var parsed scanReport
	if err := json.Unmarshal(report, &parsed); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, vulnerability := range parsed.Vulnerabilities {
		if seen[vulnerability.ID] {
			t.Errorf("got the id %s twice", vulnerability.ID)
		}
		seen[vulnerability.ID] = true
	}
}

// sarifOf is what a run about images says in SARIF.
func sarifOf(t *testing.T, change func(*gate.Finding)) (results []sarifResult, rules map[string]string) {
	t.Helper()
	events, summary := images()
	first := events[0].(gate.Result)
	first.Findings = slices.Clone(first.Findings)
	for i := range first.Findings {
		change(&first.Findings[i])
	}
	var b bytes.Buffer
	handler, err := New("sarif", &b, Style{})
	if err != nil {
		t.Fatal(err)
	}
	replay(t, handler, testRun, []event{first}, summary)
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []sarifRule }
			}
			Results []sarifResult
		}
	}
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	rules = map[string]string{}
	for _, rule := range log.Runs[0].Tool.Driver.Rules {
		rules[rule.ID], _ = rule.Properties[securitySeverityKey].(string)
	}
	return log.Runs[0].Results, rules
}

func TestSarifHasTheSeverityOfEachVulnerability(t *testing.T) {
	_, got := sarifOf(t, func(*gate.Finding) {})
	for rule, want := range map[string]string{
		"images/vulnerabilities/CVE-2022-0778":       "8.1", // the higher of two packages
		"images/known-exploited/CVE-2022-0778":       "7.5",
		"images/vulnerabilities/CVE-2021-44906":      "9.8",
		"images/vulnerabilities/GHSA-35jh-r3h4-6jhm": "8.0", // no score: the scanner's severity
		"images/vulnerabilities/CVE-2023-45853":      "8.0", // severity unknown: the policy's
		"images/signed":                              "5.5", // a policy without documentation
	} {
		if got[rule] != want {
			t.Errorf("%s: got security-severity %q, want %q", rule, got[rule], want)
		}
	}
}

// TestSarifFingerprintsOutliveBuilds: a new tag, digest, package version or line makes no new alert; another
// repository, package, vulnerability or policy does.
func TestSarifFingerprintsOutliveBuilds(t *testing.T) {
	prints := func(change func(*gate.Finding)) []string {
		results, _ := sarifOf(t, change)
		var all []string
		for _, result := range results {
			if result.PartialFingerprints["portcullis/image/v1"] == "" || result.PartialFingerprints["primaryLocationLineHash"] == "" {
				t.Fatalf("got the fingerprints %v, want one for the image and one that GitHub reads", result.PartialFingerprints)
			}
			all = append(all, result.PartialFingerprints["primaryLocationLineHash"])
		}
		return all
	}
	set := func(key, value string) func(*gate.Finding) {
		return func(f *gate.Finding) {
			details := map[string]any{}
			for k, v := range f.Details {
				details[k] = v
			}
			if key == "image" { // messages name it
				f.Message = strings.ReplaceAll(f.Message, f.Details[key].(string), value)
			}
			details[key] = value
			f.Details = details
		}
	}
	before := prints(func(*gate.Finding) {})
	for what, change := range map[string]func(*gate.Finding){
		"another tag":    set("image", "ghcr.io/acme/app:2"),
		"another digest": set("digest", "sha256:"+strings.Repeat("1", 64)),
		"another line":   func(f *gate.Finding) { f.Location.Line += 7 },
		"another version of the package": func(f *gate.Finding) {
			if purl, ok := f.Details["purl"].(string); ok {
				set("purl", regexp.MustCompile(`@[^@?]*(\?|$)`).ReplaceAllString(purl, "@9.9$1"))(f)
			}
		},
	} {
		if got := prints(change); !slices.Equal(got, before) {
			t.Errorf("%s: got %v, want %v", what, got, before)
		}
	}
	for what, change := range map[string]func(*gate.Finding){
		"another repository":    set("image", "ghcr.io/acme/other:1"),
		"another package":       set("purl", "pkg:npm/other@1"),
		"another vulnerability": set("vulnerability", "CVE-1999-0001"),
		"another policy":        func(f *gate.Finding) { f.Policy += "x" },
	} {
		for i, print := range prints(change) {
			if slices.Contains(before, print) {
				t.Errorf("%s: got the fingerprint %s again for finding %d", what, print, i)
			}
		}
	}
}

func TestBaselinesFollowTheirSchema(t *testing.T) {
	events, summary := images()
	var b bytes.Buffer
	replay(t, NewBaseline(&b), testRun, events, summary)
	validate(t, "../../../docs/gate-baseline.schema.json", b.Bytes())
	golden(t, "images.baseline", b.Bytes())
}
