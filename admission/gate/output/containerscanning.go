package output

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// containerScanningVersion is the version of the report format, the oldest that GitLab 16 to
// 18 all take.
const containerScanningVersion = "15.0.7"

// Limits of the format.
const (
	containerScanningName     = 255  // vulnerabilities[].name
	containerScanningSolution = 7000 // vulnerabilities[].solution
)

// containerScanningHandler writes a GitLab container scanning report. It holds the findings
// about vulnerabilities of images; everything else that keeps something from being admitted
// is a message of the scan, as the format has no other place for it.
// https://docs.gitlab.com/development/integrations/secure/#report
type containerScanningHandler struct {
	w        io.Writer
	run      gate.Run
	found    vulnerabilities
	messages []scanMessage
}

type scanReport struct {
	Version         string              `json:"version"`
	Schema          string              `json:"schema"`
	Scan            scanHead            `json:"scan"`
	Vulnerabilities []scanVulnerability `json:"vulnerabilities"`
}

type scanHead struct {
	Analyzer  scanTool      `json:"analyzer"`
	Scanner   scanTool      `json:"scanner"`
	Type      string        `json:"type"`
	StartTime string        `json:"start_time"`
	EndTime   string        `json:"end_time"`
	Status    string        `json:"status"`
	Messages  []scanMessage `json:"messages,omitempty"`
}

type scanTool struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	URL     string            `json:"url"`
	Version string            `json:"version"`
	Vendor  map[string]string `json:"vendor"`
}

type scanMessage struct {
	Level string `json:"level"` // info, warn, fatal
	Value string `json:"value"`
}

type scanVulnerability struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Severity    string           `json:"severity"`
	Solution    string           `json:"solution,omitempty"`
	Identifiers []scanIdentifier `json:"identifiers"`
	Links       []scanLink       `json:"links,omitempty"`
	Location    scanLocation     `json:"location"`
}

type scanIdentifier struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Value string `json:"value"`
	URL   string `json:"url,omitempty"`
}

type scanLink struct {
	URL string `json:"url"`
}

type scanLocation struct {
	Dependency      scanDependency `json:"dependency"`
	OperatingSystem string         `json:"operating_system"`
	Image           string         `json:"image"`
}

type scanDependency struct {
	Package map[string]string `json:"package"`
	Version string            `json:"version"`
}

func (h *containerScanningHandler) Start(run gate.Run) error {
	h.run = run
	return nil
}

func (h *containerScanningHandler) Result(result gate.Result) error {
	for _, finding := range result.Findings {
		if h.found.add(finding) {
			continue
		}
		text := fmt.Sprintf("%s: %s [%s]", result.Object, finding.Message, instance(finding.Policy, finding.Instance))
		switch finding.Weight() {
		case gate.Denies:
			h.message("warn", "denied: "+text)
		case gate.Warns:
			h.message("warn", "warning: "+text)
		case gate.Records, gate.Excepted, gate.Known:
			h.message("info", "not counted: "+text)
		}
	}
	for _, fault := range result.Faults {
		h.message("warn", fmt.Sprintf("fault: %s: %s [%s]", result.Object, faultText(fault), orEngine(fault.Policy)))
	}
	for _, open := range result.Undecided {
		h.message("warn", fmt.Sprintf("undecided: %s: %s [%s]", result.Object, open.Reason, orEngine(open.Policy)))
	}
	return nil
}

func (h *containerScanningHandler) Problem(problem gate.Problem) error {
	h.message("fatal", fmt.Sprintf("unreadable: %s: %s", problem.Location, problem.Message))
	return nil
}

func (h *containerScanningHandler) message(level, text string) {
	h.messages = append(h.messages, scanMessage{level, Plain(text)})
}

func (h *containerScanningHandler) Finish(summary gate.Summary) error {
	// A run that could not judge has not found nothing: GitLab shows a failed scan as such.
	status := "success"
	if summary.Outcomes[gate.Undecided]+summary.Outcomes[gate.Faulty]+summary.Problems+summary.Faults > 0 || summary.Exit == gate.ExitUsage {
		status = "failure"
	}
	tool := scanTool{
		ID: "portcullis", Name: "Portcullis", URL: "https://github.com/portcullis-dev/portcullis",
		Version: cmp.Or(h.run.Version, "unknown"), Vendor: map[string]string{"name": "Portcullis"},
	}
	report := scanReport{
		Version: containerScanningVersion,
		Schema:  "https://gitlab.com/gitlab-org/security-products/security-report-schemas/-/raw/v" + containerScanningVersion + "/dist/container-scanning-report-format.json",
		Scan: scanHead{
			Analyzer: tool, Scanner: tool, Type: "container_scanning", Status: status, Messages: h.messages,
			StartTime: scanTime(h.run.Started), EndTime: scanTime(summary.Finished),
		},
		Vulnerabilities: []scanVulnerability{},
	}
	for _, found := range h.found.list {
		report.Vulnerabilities = append(report.Vulnerabilities, scanVulnerabilityOf(found))
	}
	return writeJSON(h.w, report)
}

// scanTime is a time as the format has it: UTC without a zone.
func scanTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

func scanVulnerabilityOf(found *vulnerability) scanVulnerability {
	worst := found.worst()
	var said []string
	for _, finding := range found.findings {
		line := fmt.Sprintf("%s [%s]", Plain(finding.Message), Plain(instance(finding.Policy, finding.Instance)))
		if waived := waiver(finding); waived != "" {
			line += " (" + Plain(waived) + ")"
		}
		if !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	id := Plain(found.Vulnerability)
	out := scanVulnerability{
		ID:          uuid(found.Vulnerability, found.PURL, found.Package, found.Version, found.Image, found.Digest),
		Name:        cut(fmt.Sprintf("%s in %s", id, Plain(cmp.Or(found.Package, found.PURL, "the image"))), containerScanningName),
		Description: Markdown(strings.Join(said, "; ")),
		Severity:    scanSeverity(found, worst),
		Identifiers: []scanIdentifier{{Type: scanIdentifierType(found.Vulnerability), Name: id, Value: id, URL: vulnerabilityLink(found.Vulnerability)}},
		Location: scanLocation{
			Dependency:      scanDependency{map[string]string{"name": Plain(cmp.Or(found.Package, found.PURL))}, Plain(found.Version)},
			OperatingSystem: Plain(operatingSystem(found.PURL)),
			Image:           Plain(found.Image),
		},
	}
	switch {
	case found.Fixed != "":
		out.Solution = cut(fmt.Sprintf("Upgrade %s to %s.", Plain(found.Package), Plain(found.Fixed)), containerScanningSolution)
	case worst.Remediation != "":
		out.Solution = cut(Plain(worst.Remediation), containerScanningSolution)
	}
	if link := vulnerabilityLink(found.Vulnerability); link != "" {
		out.Links = []scanLink{{link}}
	}
	return out
}

// scanSeverity is the scanner's severity, "Info" where nothing objects to the vulnerability:
// GitLab's approval rules count severities.
func scanSeverity(found *vulnerability, worst gate.Finding) string {
	if weight := worst.Weight(); weight != gate.Denies && weight != gate.Warns {
		return "Info"
	}
	switch cmp.Or(found.Severity, worst.Severity) {
	case "critical":
		return "Critical"
	case "high":
		return "High"
	case "medium":
		return "Medium"
	case "low":
		return "Low"
	}
	return "Unknown"
}

func scanIdentifierType(id string) string {
	switch source := vulnerabilitySource(id); source {
	case "CVE", "GHSA":
		return strings.ToLower(source)
	}
	return "portcullis"
}

// cut shortens text to a number of bytes, at the border of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

// uuid is the same UUID for the same strings (RFC 9562, section 5.8: version 8).
func uuid(parts ...string) string {
	h := []byte(gate.Hash(parts...))
	h[12] = '8'                       // version
	h[16] = "89ab"[hexValue(h[16])&3] // variant
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:32])
}

// hexValue is the value of a hexadecimal digit.
func hexValue(digit byte) byte {
	if digit >= 'a' {
		return digit - 'a' + 10
	}
	return digit - '0'
}
