package scanner

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// PredicateType is that of attested scans: cosign's vulnerability predicate
// (https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md).
const PredicateType = "https://cosign.sigstore.dev/attestation/vuln/v1"

// ReportSchema names the form of scanner.result in predicates of this package: an object with "schema", this text, and
// "report", a [Report] as report.schema.json describes it. Fields may be added to a version and are never removed or
// given another meaning; that would be v2.
const ReportSchema = "https://portcullis.dev/schema/scan-report/v1"

// reportSchemas is what the names of all versions begin with.
const reportSchemas = "https://portcullis.dev/schema/scan-report/"

// Limits of a predicate. The largest images in use have some thousand findings of about 400 bytes; what is larger was
// not made by a scanner.
const (
	MaxPredicate       = 16 << 20
	maxVulnerabilities = 50_000
	maxReasons         = 200
)

// Invocation says how a scan came about. No field decides anything.
type Invocation struct {
	// Parameters are what was asked for: platforms, secrets.
	Parameters []string
	// URI is where the scan ran, EventID which run of it.
	URI, EventID string
	// Builder is the program, with its version.
	Builder string
	// DatabaseURI is where the vulnerability database came from: "oci://mirror.example.com/trivy-db:2".
	DatabaseURI string
}

// predicate is the wire form. scanner.db is what other tools leave empty, and without it nobody can tell how old the
// knowledge is that a scan was made with.
type predicate struct {
	Invocation struct {
		Parameters jsontext.Value `json:"parameters,omitzero"` // of any kind in those of others
		URI        string         `json:"uri"`
		EventID    string         `json:"event_id"`
		Builder    string         `json:"builder.id"`
	} `json:"invocation"`
	Scanner struct {
		URI     string `json:"uri"`
		Version string `json:"version"`
		DB      struct {
			URI     string `json:"uri"`
			Version string `json:"version"`
		} `json:"db"`
		Result jsontext.Value `json:"result"`
	} `json:"scanner"`
	Metadata struct {
		Started  string `json:"scanStartedOn"`
		Finished string `json:"scanFinishedOn"`
	} `json:"metadata"`
}

// result is scanner.result of this package's predicates.
type result struct {
	Schema string `json:"schema"`
	Report Report `json:"report"`
}

// NewPredicate writes a report as the predicate of an attestation. What does not belong to the scan is left out: who
// signed it, what was queued, VEX statements and ignores. A report without times is an error.
func NewPredicate(report Report, invocation Invocation) ([]byte, error) {
	report = scanned(report)
	if err := report.check(); err != nil {
		return nil, fmt.Errorf("writing the scan: %w", err)
	}
	var p predicate
	parameters, err := json.Marshal(invocation.Parameters)
	if err != nil {
		return nil, fmt.Errorf("writing the scan: %w", err)
	}
	p.Invocation.Parameters = parameters
	p.Invocation.URI, p.Invocation.EventID, p.Invocation.Builder = invocation.URI, invocation.EventID, invocation.Builder
	p.Scanner.URI = "pkg:generic/" + report.Scanner.Name + "@" + report.Scanner.Version
	p.Scanner.Version = report.Scanner.Version
	p.Scanner.DB.URI = databaseURI(invocation.DatabaseURI, report.Database.Digest)
	p.Scanner.DB.Version = report.Database.UpdatedAt
	p.Metadata.Started, p.Metadata.Finished = report.StartedAt, report.FinishedAt
	encoded, err := json.Marshal(result{Schema: ReportSchema, Report: report})
	if err != nil {
		return nil, fmt.Errorf("writing the scan: %w", err)
	}
	p.Scanner.Result = encoded
	all, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("writing the scan: %w", err)
	}
	if len(all) > MaxPredicate {
		return nil, fmt.Errorf("writing the scan: it has %d bytes, and readers take %d", len(all), MaxPredicate)
	}
	return all, nil
}

func databaseURI(uri, digest string) string {
	if digest == "" || strings.Contains(uri, digest) {
		return uri
	}
	return uri + "@" + digest
}

// scanned is the part of a report that a scan can say.
func scanned(r Report) Report {
	r.Authority, r.Queued, r.RetryAfter = "", false, 0
	r.Reasons = append([]string{}, r.Reasons...)
	r.Vulnerabilities = append([]Vulnerability{}, r.Vulnerabilities...)
	r.Secrets = append([]Secret{}, r.Secrets...)
	for i := range r.Vulnerabilities {
		r.Vulnerabilities[i].VEX, r.Vulnerabilities[i].Ignore = nil, nil
	}
	return r
}

// ParsePredicate reads an attested scan: one of this package without loss, those of Trivy and Grype as far as they
// go. A foreign scan is never complete, since its form does not say whether all of the image could be read.
// The predicate must be signed by somebody who is believed; what it says is checked all the same.
func ParsePredicate(raw []byte) (Report, error) {
	report, err := parsePredicate(raw)
	if err != nil {
		return Report{}, fmt.Errorf("reading the scan: %w", err)
	}
	return report, nil
}

func parsePredicate(raw []byte) (Report, error) {
	if len(raw) > MaxPredicate {
		return Report{}, fmt.Errorf("it has %d bytes where %d are allowed", len(raw), MaxPredicate)
	}
	var p predicate
	if err := json.Unmarshal(raw, &p); err != nil {
		return Report{}, err
	}
	var kind struct {
		Schema string `json:"schema"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(p.Scanner.Result), []byte("{")) {
		if err := json.Unmarshal(p.Scanner.Result, &kind); err != nil {
			return Report{}, err
		}
	}
	switch {
	case kind.Schema == ReportSchema:
		return readOwn(&p)
	case strings.HasPrefix(kind.Schema, reportSchemas):
		return Report{}, fmt.Errorf("its form is %q, which this release does not know: update the reader", kind.Schema)
	}
	return readForeign(&p)
}

// readOwn reads a predicate of [NewPredicate], which says everything important twice.
func readOwn(p *predicate) (Report, error) {
	var own result
	if err := json.Unmarshal(p.Scanner.Result, &own); err != nil {
		return Report{}, err
	}
	report := scanned(own.Report)
	if err := report.check(); err != nil {
		return Report{}, err
	}
	for _, pair := range [][3]string{
		{"metadata.scanStartedOn", p.Metadata.Started, report.StartedAt},
		{"metadata.scanFinishedOn", p.Metadata.Finished, report.FinishedAt},
		{"scanner.version", p.Scanner.Version, report.Scanner.Version},
		{"scanner.db.version", p.Scanner.DB.Version, report.Database.UpdatedAt},
	} {
		if pair[1] != pair[2] {
			return Report{}, fmt.Errorf("it contradicts itself: %s is %q, and its result says %q", pair[0], pair[1], pair[2])
		}
	}
	report.demote()
	return report, nil
}

// demote takes away the state complete where the report itself shows that it is not known what is in the image.
func (r *Report) demote() {
	if r.State != StateComplete {
		return
	}
	reasons := slices.Clone(r.Reasons)
	if r.Packages.OS+r.Packages.Language == 0 {
		reasons = append(reasons, "no packages were found, so that nothing could be looked up")
	}
	if r.Packages.OS > 0 && r.Packages.ThirdParty == r.Packages.OS {
		reasons = append(reasons, "all packages of the OS are other vendors', so that none of them could be looked up")
	}
	if r.Database.UpdatedAt == "" {
		reasons = append(reasons, "the scan does not say how old its vulnerability database was")
	}
	if r.Scanner.Name == "" || r.Scanner.Version == "" {
		reasons = append(reasons, "the scan does not say which program made it")
	}
	if len(reasons) > 0 {
		r.State, r.Reasons = StateUnscannable, sortedReasons(reasons)
	}
}

func sortedReasons(reasons []string) []string {
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// The texts that reports may hold.
var (
	severities = []string{"critical", "high", "medium", "low", "unknown"}
	statuses   = []string{"affected", "fixed", "will_not_fix", "fix_deferred", "end_of_life", "under_investigation", "unknown"}
)

// check says what is wrong with the report of a scan.
func (r *Report) check() error {
	switch r.State {
	case StateComplete, StateUnscannable, StateError:
	case StateMissing:
		return errors.New("its state is missing, which is the want of a scan and not one")
	default:
		return fmt.Errorf("its state %q is none", abbreviate(string(r.State)))
	}
	started, err := checkTime("startedAt", r.StartedAt)
	if err != nil {
		return err
	}
	finished, err := checkTime("finishedAt", r.FinishedAt)
	if err != nil {
		return err
	}
	if finished.Before(started) {
		return fmt.Errorf("it finished at %s, before it started at %s", r.FinishedAt, r.StartedAt)
	}
	if r.Database.UpdatedAt != "" {
		if _, err := checkTime("database.updatedAt", r.Database.UpdatedAt); err != nil {
			return err
		}
	}
	switch {
	case r.State != StateComplete && len(r.Reasons) == 0:
		return fmt.Errorf("its state is %s, and it gives no reason", r.State)
	case len(r.Reasons) > maxReasons, len(r.Vulnerabilities) > maxVulnerabilities, len(r.Secrets) > maxVulnerabilities:
		return fmt.Errorf("it has %d reasons, %d vulnerabilities and %d secrets, which is more than a scan can find", len(r.Reasons), len(r.Vulnerabilities), len(r.Secrets))
	case r.Packages.OS < 0, r.Packages.Language < 0, r.Packages.ThirdParty < 0:
		return errors.New("it counts fewer than no packages")
	case r.Packages.ThirdParty > r.Packages.OS:
		return fmt.Errorf("it counts %d packages of other vendors among %d of the OS", r.Packages.ThirdParty, r.Packages.OS)
	}
	for i := range r.Vulnerabilities {
		if err := r.Vulnerabilities[i].check(); err != nil {
			return fmt.Errorf("vulnerabilities[%d]: %w", i, err)
		}
	}
	return nil
}

func (v *Vulnerability) check() error {
	switch {
	case v.ID == "" || v.Package == "":
		return errors.New("it has no id or no package")
	case !slices.Contains(severities, v.Severity):
		return fmt.Errorf("its severity %q is none of %s", abbreviate(v.Severity), strings.Join(severities, ", "))
	case !slices.Contains(statuses, v.Status):
		return fmt.Errorf("its status %q is none of %s", abbreviate(v.Status), strings.Join(statuses, ", "))
	case v.Class != "os" && v.Class != "language":
		return fmt.Errorf("its class %q is neither os nor language", abbreviate(v.Class))
	case v.Score < 0 || v.Score > 100:
		return fmt.Errorf("its score %d is not within 0 and 100", v.Score)
	}
	return nil
}

// checkTime wants RFC 3339 in UTC and whole seconds, so that texts compare as times do.
func checkTime(field, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UTC().Format(time.RFC3339) != text {
		return time.Time{}, fmt.Errorf("%s is %q: RFC 3339 in UTC is expected, in whole seconds, like 2026-01-31T12:00:00Z", field, abbreviate(text))
	}
	return t, nil
}

// abbreviate cuts what a message quotes.
func abbreviate(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
