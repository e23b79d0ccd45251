package output

import (
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// githubHandler writes GitHub workflow commands, which show as annotations on the
// lines of a pull request.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
type githubHandler struct {
	w *printer
}

// Start warns of what nothing is decided about.
func (h *githubHandler) Start(run gate.Run) error {
	manifests, _ := gate.SplitSkips(run.Skipped)
	for _, skip := range manifests {
		h.command("warning", gate.Location{File: skip.File}, "not judged", []string{Plain(skip.Reason)})
	}
	return h.w.err
}

func (h *githubHandler) Result(result gate.Result) error {
	for _, finding := range result.Findings {
		lines := []string{Plain(result.Object.String() + ": " + finding.Message)}
		if waived := waiver(finding); waived != "" {
			lines = append(lines, Plain(strings.ToUpper(waived[:1])+waived[1:]))
		} else if finding.Remediation != "" {
			lines = append(lines, Plain(finding.Remediation))
		}
		title := fmt.Sprintf("%s (%s)", instance(finding.Policy, finding.Instance), finding.Severity)
		h.command(githubLevel(finding.Weight()), finding.Location, title, lines)
	}
	for _, fault := range result.Faults {
		h.command(githubLevel(faultWeight(fault)), result.Location, "fault in "+orEngine(fault.Policy), []string{Plain(result.Object.String() + ": " + faultText(fault))})
	}
	for _, open := range result.Undecided {
		level := "warning"
		if open.Enforced() {
			level = "error"
		}
		h.command(level, open.Location, "undecided: "+orEngine(open.Policy), []string{Plain(result.Object.String() + ": " + open.Reason)})
	}
	return h.w.err
}

func (h *githubHandler) Problem(problem gate.Problem) error {
	h.command("error", problem.Location, "unreadable", []string{Plain(problem.Message)})
	return h.w.err
}

func (h *githubHandler) Finish(summary gate.Summary) error {
	level := "notice"
	if summary.Exit != gate.ExitAdmitted {
		level = "error"
	}
	h.w.printf("::%s title=%s::%s\n", level, workflowProperty("portcullis: "+verdictWord(summary.Exit)), workflowData(Plain(tally(summary))))
	return h.w.err
}

// command writes one annotation. Each line is plain already; only the line breaks
// between them are real.
func (h *githubHandler) command(level string, location gate.Location, title string, lines []string) {
	properties := "file=" + workflowProperty(location.File)
	if location.Line > 0 {
		properties += fmt.Sprintf(",line=%d", location.Line)
	} else if location.RenderedLine > 0 {
		lines = append(lines, Plain(location.String()))
	}
	if location.Column > 0 {
		properties += fmt.Sprintf(",col=%d", location.Column)
	}
	h.w.printf("::%s %s,title=%s::%s\n", level, properties, workflowProperty(title), workflowData(strings.Join(lines, "\n")))
}

func githubLevel(effect gate.Effect) string {
	switch effect {
	case gate.Denies:
		return "error"
	case gate.Warns:
		return "warning"
	}
	return "notice"
}
