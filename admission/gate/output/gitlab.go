package output

import (
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// gitlabHandler writes a GitLab Code Quality report, which shows in the merge request.
// https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
type gitlabHandler struct {
	w      io.Writer
	issues []gitlabIssue
	seen   map[string]int
}

type gitlabIssue struct {
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"` // info, minor, major, critical, blocker
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string      `json:"path"`
	Lines gitlabLines `json:"lines"`
}

type gitlabLines struct {
	Begin int `json:"begin"`
}

func (h *gitlabHandler) Start(gate.Run) error {
	h.issues = []gitlabIssue{}
	h.seen = map[string]int{}
	return nil
}

func (h *gitlabHandler) Result(result gate.Result) error {
	for _, finding := range result.Findings {
		description := fmt.Sprintf("%s: %s", result.Object, finding.Message)
		switch waived := waiver(finding); {
		case waived != "":
			description += " (" + waived + ")"
		case finding.Remediation != "":
			description += ". " + finding.Remediation
		}
		h.issue(finding.Policy, description, gitlabSeverity(finding), finding.Location, result.Object.String(), finding.Path, finding.Message)
	}
	for _, fault := range result.Faults {
		h.issue(orEngine(fault.Policy), fmt.Sprintf("%s: %s", result.Object, faultText(fault)), "blocker", result.Location, result.Object.String(), faultText(fault))
	}
	for _, open := range result.Undecided {
		severity := "info"
		if open.Enforced() {
			severity = "major"
		}
		h.issue(orEngine(open.Policy), fmt.Sprintf("%s: undecided: %s", result.Object, open.Reason), severity, open.Location, result.Object.String(), open.Path, open.Reason)
	}
	return nil
}

func (h *gitlabHandler) Problem(problem gate.Problem) error {
	h.issue("portcullis/unreadable", problem.Message, "blocker", problem.Location, problem.Message)
	return nil
}

func (h *gitlabHandler) Finish(gate.Summary) error {
	return writeJSON(h.w, h.issues)
}

// issue adds one entry. GitLab drops entries with equal fingerprints, so repeats
// are numbered; the line is not part of it, so that a finding stays the same one
// when lines are added above it.
func (h *gitlabHandler) issue(check, description, severity string, location gate.Location, identity ...string) {
	if location.Line == 0 && location.RenderedLine > 0 {
		description += fmt.Sprintf(" (line %d of the rendered output)", location.RenderedLine)
	}
	print := gate.Hash(append([]string{check, location.File}, identity...)...)
	h.seen[print]++
	if n := h.seen[print]; n > 1 {
		print = gate.Hash(print, fmt.Sprint(n))
	}
	h.issues = append(h.issues, gitlabIssue{
		Description: Plain(description), CheckName: Plain(check), Fingerprint: print, Severity: severity,
		Location: gitlabLocation{Path: location.File, Lines: gitlabLines{Begin: max(1, location.Line)}},
	})
}

func gitlabSeverity(finding gate.Finding) string {
	if weight := finding.Weight(); weight != gate.Denies && weight != gate.Warns {
		return "info"
	}
	switch finding.Severity {
	case "critical":
		return "blocker"
	case "high":
		return "critical"
	case "medium":
		return "major"
	}
	return "minor"
}
