package output

import (
	"github.com/portcullis-dev/portcullis/admission/gate"
)

// markdownHandler writes a comment for a pull request or a step summary: one line
// with the verdict, a table of what matters, the rest folded away.
type markdownHandler struct {
	w        *printer
	run      gate.Run
	rows     int
	dropped  int
	results  []gate.Result
	problems []gate.Problem
}

// maxMarkdownRows keeps a comment below the 65,536 characters that GitHub accepts.
const maxMarkdownRows = 200

func (h *markdownHandler) Start(run gate.Run) error {
	h.run = run
	return nil
}

// Result keeps what is to be shown: the verdict comes first, and is known last.
func (h *markdownHandler) Result(result gate.Result) error {
	rows := len(result.Findings) + len(result.Faults) + len(result.Undecided)
	if h.rows+rows > maxMarkdownRows {
		h.dropped += rows
		return nil
	}
	h.rows += rows
	if rows > 0 {
		h.results = append(h.results, result)
	}
	return nil
}

func (h *markdownHandler) Problem(problem gate.Problem) error {
	h.problems = append(h.problems, problem)
	return nil
}

func (h *markdownHandler) Finish(summary gate.Summary) error {
	icon := "❌"
	switch summary.Exit {
	case gate.ExitAdmitted:
		icon = "✅"
	case gate.ExitUndecided:
		icon = "❔"
	case gate.ExitWarned:
		icon = "⚠️"
	}
	h.w.printf("### %s Portcullis: %s\n\n%s\n", icon, verdictWord(summary.Exit), Markdown(tally(summary)))
	if graded := severities(summary.Severities); graded != "" {
		h.w.printf("\nFindings: %s\n", graded)
	}
	h.table()
	h.listProblems()
	h.listSkips(summary.Skipped)
	h.w.printf("\n<sub>bundle %s, profile %s</sub>\n", Markdown(h.run.Bundle), Markdown(h.run.Profile))
	return h.w.err
}

func (h *markdownHandler) table() {
	if h.rows == 0 {
		return
	}
	h.w.printf("\n| | Severity | Object | Finding | Where |\n|---|---|---|---|---|\n")
	for _, result := range h.results {
		object := markdownCode(result.Object.String())
		for _, finding := range result.Findings {
			text := Markdown(finding.Message) + " " + markdownCode(instance(finding.Policy, finding.Instance))
			if finding.ExceptedBy != "" {
				text += "<br>waived by the exception " + markdownCode(finding.ExceptedBy)
			} else if finding.Known {
				text += "<br>" + Markdown(waiver(finding))
			} else if finding.Remediation != "" {
				text += "<br>" + Markdown(finding.Remediation)
			}
			h.w.printf("| %s | %s | %s | %s | %s |\n", effectIcon(finding.Weight()), Markdown(finding.Severity), object, text, markdownCode(finding.Location.String()))
		}
		for _, fault := range result.Faults {
			h.w.printf("| 💥 | fault | %s | %s %s | %s |\n", object, Markdown(faultText(fault)), markdownCode(orEngine(fault.Policy)), markdownCode(result.Location.String()))
		}
		for _, open := range result.Undecided {
			h.w.printf("| ❔ | undecided | %s | %s %s | %s |\n", object, Markdown(open.Reason), markdownCode(orEngine(open.Policy)), markdownCode(open.Location.String()))
		}
	}
	if h.dropped > 0 {
		h.w.printf("\n… and %d more that do not fit in a comment; the json format has all of them.\n", h.dropped)
	}
}

func effectIcon(effect gate.Effect) string {
	switch effect {
	case gate.Denies:
		return "❌"
	case gate.Warns:
		return "⚠️"
	}
	return "ℹ️"
}

func (h *markdownHandler) listProblems() {
	if len(h.problems) == 0 {
		return
	}
	h.w.printf("\n**Not readable**\n\n")
	for _, problem := range h.problems {
		h.w.printf("- %s: %s\n", markdownCode(problem.Location.String()), Markdown(problem.Message))
	}
}

func (h *markdownHandler) listSkips(skips []gate.Skip) {
	manifests, others := gate.SplitSkips(skips)
	if len(manifests) > 0 {
		h.w.printf("\n**Not judged, though like manifests**\n\n")
	}
	for _, skip := range manifests {
		h.w.printf("- %s: %s\n", markdownCode(skip.File), Markdown(skip.Reason))
	}
	if len(others) == 0 {
		return
	}
	h.w.printf("\n<details><summary>%s skipped</summary>\n\n", plural(len(others), "file"))
	for i, skip := range others {
		if i == maxSkips {
			h.w.printf("- … and %d more\n", len(others)-i)
			break
		}
		h.w.printf("- %s: %s\n", markdownCode(skip.File), Markdown(skip.Reason))
	}
	h.w.printf("\n</details>\n")
}
