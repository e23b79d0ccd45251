package output

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// sarifHandler writes SARIF 2.1.0 (OASIS standard, errata 01), the format of
// GitHub code scanning and of most editors.
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html
type sarifHandler struct {
	w             io.Writer
	run           gate.Run
	rules         []sarifRule
	index         map[string]int  // rule id to its place in rules
	scored        map[string]bool // rules whose severity is that of a finding
	seen          map[string]int  // how often a fingerprint occurred
	results       []sarifResult
	notifications []sarifNotification
}

type sarifMessage struct {
	Text     string `json:"text"`
	Markdown string `json:"markdown,omitempty"`
}

type sarifRule struct {
	ID                   string         `json:"id"`
	Name                 string         `json:"name,omitempty"`
	ShortDescription     *sarifMessage  `json:"shortDescription,omitempty"`
	FullDescription      *sarifMessage  `json:"fullDescription,omitempty"`
	Help                 *sarifMessage  `json:"help,omitempty"`
	HelpURI              string         `json:"helpUri,omitempty"`
	DefaultConfiguration sarifConfig    `json:"defaultConfiguration"`
	Properties           map[string]any `json:"properties,omitempty"`
}

type sarifConfig struct {
	Level string `json:"level"`
}

type sarifResult struct {
	RuleID              string             `json:"ruleId"`
	RuleIndex           int                `json:"ruleIndex"`
	Kind                string             `json:"kind,omitempty"`
	Level               string             `json:"level"`
	Message             sarifMessage       `json:"message"`
	Locations           []sarifLocation    `json:"locations"`
	PartialFingerprints map[string]string  `json:"partialFingerprints"`
	BaselineState       string             `json:"baselineState,omitempty"`
	Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
	Properties          map[string]any     `json:"properties,omitempty"`
}

type sarifLocation struct {
	PhysicalLocation *sarifPhysical `json:"physicalLocation,omitempty"`
	LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
	Message          *sarifMessage  `json:"message,omitempty"`
}

type sarifPhysical struct {
	ArtifactLocation sarifArtifact `json:"artifactLocation"`
	Region           *sarifRegion  `json:"region,omitempty"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn,omitempty"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Kind               string `json:"kind"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}

type sarifNotification struct {
	Level     string          `json:"level"`
	Message   sarifMessage    `json:"message"`
	Locations []sarifLocation `json:"locations,omitempty"`
}

func (h *sarifHandler) Start(run gate.Run) error {
	h.run = run
	h.index, h.scored, h.seen = map[string]int{}, map[string]bool{}, map[string]int{}
	h.results = []sarifResult{} // a run without findings has an empty list, not null
	return nil
}

func (h *sarifHandler) Result(result gate.Result) error {
	for _, finding := range result.Findings {
		r := h.result(h.ruleOf(finding), finding.Location, result.Object, finding.Path, finding.Message)
		r.Level = sarifLevel(finding.Weight())
		r.Properties = map[string]any{"severity": finding.Severity, "effect": finding.Weight(), "security-severity": findingSeverity(finding)}
		if print, ok := finding.ImageFingerprint(); ok {
			h.imageFingerprint(&r, print)
		}
		if h.run.Baseline != "" {
			r.BaselineState = baselineState(finding)
		}
		if finding.Remediation != "" {
			r.Message.Text += ". " + finding.Remediation
		}
		if len(finding.Fix) > 0 {
			r.Properties["fix"] = finding.Fix
		}
		if finding.ExceptedBy != "" {
			r.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: "exception " + Plain(finding.ExceptedBy)}}
		}
		h.results = append(h.results, r)
	}
	for _, open := range result.Undecided {
		// "open": the evaluation concluded that more information is needed (3.27.9).
		r := h.result(documentation(h.run, orEngine(open.Policy)), open.Location, result.Object, open.Path, "undecided: "+open.Reason)
		r.Kind, r.Level = "open", "none"
		h.results = append(h.results, r)
	}
	for _, fault := range result.Faults {
		text := Plain(fmt.Sprintf("%s: %s: %s", result.Object, orEngine(fault.Policy), faultText(fault)))
		h.notifications = append(h.notifications, sarifNotification{
			Level: sarifLevel(faultWeight(fault)), Message: sarifMessage{Text: text},
			Locations: []sarifLocation{physical(result.Location)},
		})
	}
	return nil
}

func (h *sarifHandler) Problem(problem gate.Problem) error {
	h.notifications = append(h.notifications, sarifNotification{
		Level: "error", Message: sarifMessage{Text: Plain(problem.Message)},
		Locations: []sarifLocation{physical(problem.Location)},
	})
	return nil
}

func (h *sarifHandler) Finish(summary gate.Summary) error {
	for _, skip := range summary.Skipped {
		h.notifications = append(h.notifications, sarifNotification{
			Level: "note", Message: sarifMessage{Text: "skipped: " + Plain(skip.Reason)},
			Locations: []sarifLocation{physical(gate.Location{File: skip.File})},
		})
	}
	invocation := map[string]any{
		"executionSuccessful": summary.Faults == 0 && summary.Problems == 0,
		"exitCode":            summary.Exit,
		"exitCodeDescription": summary.Exit.String(),
	}
	if len(h.notifications) > 0 {
		invocation["toolExecutionNotifications"] = h.notifications
	}
	driver := map[string]any{
		"name":           "portcullis",
		"informationUri": "https://github.com/portcullis-dev/portcullis",
		"rules":          append([]sarifRule{}, h.rules...),
		"properties":     map[string]any{"bundle": h.run.Bundle, "profile": h.run.Profile},
	}
	if h.run.Version != "" {
		driver["version"] = h.run.Version
	}
	return writeJSON(h.w, map[string]any{
		"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		"version": "2.1.0",
		"runs": []any{map[string]any{
			"tool":        map[string]any{"driver": driver},
			"invocations": []any{invocation},
			"results":     h.results,
			"columnKind":  "unicodeCodePoints",
		}},
	})
}

// result is what all results have in common. The fingerprint holds no line, so that
// a finding stays the same one when lines are added above it.
func (h *sarifHandler) result(rule gate.Rule, location gate.Location, object gate.Object, path, message string) sarifResult {
	place := physical(location)
	place.LogicalLocations = []sarifLogical{{FullyQualifiedName: Plain(strings.TrimSuffix(object.String()+" "+path, " ")), Kind: "resource"}}
	return sarifResult{
		RuleID:    rule.ID,
		RuleIndex: h.rule(rule),
		Message:   sarifMessage{Text: Plain(object.String()) + ": " + Plain(message)},
		Locations: []sarifLocation{place},
		PartialFingerprints: map[string]string{
			"portcullis/v1": gate.Hash(rule.ID, location.File, object.APIVersion, object.String(), path, message),
		},
	}
}

// rule is the index of a rule in the list, which holds only those that are spoken of.
func (h *sarifHandler) rule(rule gate.Rule) int {
	if i, ok := h.index[rule.ID]; ok {
		return i
	}
	h.index[rule.ID] = len(h.rules)
	h.rules = append(h.rules, sarifRuleOf(rule))
	return h.index[rule.ID]
}

// ruleOf is the rule of a finding. Each vulnerability is one of its own below its policy
// (hierarchical ids, 3.5.4), since GitHub shows and sorts by the severity of the rule only.
func (h *sarifHandler) ruleOf(finding gate.Finding) gate.Rule {
	rule := documentation(h.run, finding.Policy)
	details, ok := finding.Image()
	if !ok || details.Vulnerability == "" {
		return rule
	}
	rule.ID += "/" + Plain(details.Vulnerability)
	rule.Title = Plain(details.Vulnerability) + ": " + rule.Title
	if link := vulnerabilityLink(details.Vulnerability); link != "" {
		rule.Links = append([]string{link}, rule.Links...)
	}
	// Packages of one source may be scored differently: the rule has the gravest.
	i := h.rule(rule)
	if severity := findingSeverity(finding); graver(severity, h.rules[i].Properties[securitySeverityKey]) || !h.scored[rule.ID] {
		h.rules[i].Properties[securitySeverityKey] = severity
		h.scored[rule.ID] = true
	}
	return rule
}

// securitySeverityKey is the property that GitHub reads.
// https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
const securitySeverityKey = "security-severity"

// graver says whether a score is above another one, both as SARIF has them.
func graver(score string, than any) bool {
	a, _ := strconv.ParseFloat(score, 64)
	b, _ := strconv.ParseFloat(fmt.Sprint(than), 64)
	return a > b
}

// findingSeverity is the CVSS base score of a finding's vulnerability, or one in the band
// of what the scanner, and after it the policy, says of the severity.
func findingSeverity(finding gate.Finding) string {
	details, ok := finding.Image()
	switch {
	case ok && details.Score > 0:
		return fmt.Sprintf("%d.%d", details.Score/10, details.Score%10)
	case ok && slices.Contains(bySeverity, details.Severity):
		return securitySeverity(details.Severity)
	}
	return securitySeverity(finding.Severity)
}

// imageFingerprint replaces the fingerprint by the one of image, vulnerability and package,
// so that a new tag or digest makes no new alert. GitHub compares primaryLocationLineHash,
// which it can't compute where there is no file; the number tells repeats apart, as there.
func (h *sarifHandler) imageFingerprint(r *sarifResult, print string) {
	h.seen[print]++
	numbered := fmt.Sprintf("%s:%d", print, h.seen[print])
	r.PartialFingerprints = map[string]string{"portcullis/image/v1": print, "primaryLocationLineHash": numbered}
}

// baselineState says whether a finding is new (3.27.24).
func baselineState(finding gate.Finding) string {
	if finding.Known {
		return "unchanged"
	}
	return "new"
}

// documentation is that of a policy of the run; a policy that the run does not
// know has just its name.
func documentation(run gate.Run, id string) gate.Rule {
	for _, rule := range run.Rules {
		if rule.ID == id {
			return rule
		}
	}
	return gate.Rule{ID: id, Title: id, Severity: "medium"}
}

func sarifRuleOf(rule gate.Rule) sarifRule {
	out := sarifRule{
		ID: rule.ID, Name: rule.Title,
		ShortDescription:     &sarifMessage{Text: rule.Title},
		DefaultConfiguration: sarifConfig{Level: severityLevel(rule.Severity)},
		Properties: map[string]any{
			"tags": ruleTags(rule), "precision": "very-high", "problem.severity": problemSeverity(rule.Severity),
			"security-severity": securitySeverity(rule.Severity),
		},
	}
	if rule.Description != "" {
		out.FullDescription = &sarifMessage{Text: strings.TrimSpace(rule.Description)}
	}
	if rule.Remediation != "" {
		help := strings.TrimSpace(rule.Description + "\n\n" + rule.Remediation)
		markdown := help
		for _, link := range rule.Links {
			markdown += "\n\n<" + link + ">"
		}
		out.Help = &sarifMessage{Text: help, Markdown: markdown}
	}
	if len(rule.Links) > 0 {
		out.HelpURI = rule.Links[0]
	}
	return out
}

// ruleTags are "security" and the controls a policy maps to: "pss:baseline/privileged".
func ruleTags(rule gate.Rule) []string {
	tags := []string{"security", "kubernetes"}
	for _, framework := range sortedKeys(rule.Controls) {
		for _, control := range rule.Controls[framework] {
			tags = append(tags, framework+":"+control)
		}
	}
	return tags
}

func sarifLevel(effect gate.Effect) string {
	switch effect {
	case gate.Denies, gate.Excepted:
		return "error"
	case gate.Warns:
		return "warning"
	}
	return "note"
}

func severityLevel(severity string) string {
	switch severity {
	case "critical", "high":
		return "error"
	case "medium":
		return "warning"
	}
	return "note"
}

func problemSeverity(severity string) string {
	if level := severityLevel(severity); level != "note" {
		return level
	}
	return "recommendation"
}

// securitySeverity is a CVSS-like score within the band that GitHub shows under
// the same name: critical above 9.0, high from 7.0, medium from 4.0, low above 0.
func securitySeverity(severity string) string {
	switch severity {
	case "critical":
		return "9.5"
	case "high":
		return "8.0"
	case "medium":
		return "5.5"
	}
	return "2.0"
}

// physical is a place in a file. A place known only in rendered output has no
// region; the message says which line it is there.
func physical(location gate.Location) sarifLocation {
	out := sarifLocation{PhysicalLocation: &sarifPhysical{ArtifactLocation: sarifArtifact{URI: fileURI(location.File)}}}
	if location.Line > 0 {
		out.PhysicalLocation.Region = &sarifRegion{StartLine: location.Line, StartColumn: location.Column}
	} else if location.RenderedLine > 0 {
		out.Message = &sarifMessage{Text: fmt.Sprintf("line %d of the rendered output of this file", location.RenderedLine)}
	}
	return out
}

// fileURI is a file name as a relative URI reference, or an absolute one for an
// absolute name (RFC 3986).
func fileURI(file string) string {
	if file == "-" {
		file = "stdin"
	}
	if strings.HasPrefix(file, "/") {
		return (&url.URL{Scheme: "file", Path: file}).String()
	}
	return (&url.URL{Path: file}).String()
}
