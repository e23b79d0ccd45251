package event

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/redaction"
)

// Reasons of Events.
const (
	ReasonDenied    = "PolicyDenied"    // some policy objects
	ReasonNotJudged = "PolicyNotJudged" // denied, because something could not be judged
	ReasonWarned    = "PolicyWarned"    // admitted with warnings
)

// maxNote is the limit of events.k8s.io/v1 for notes, in bytes (k8s.io/kubernetes/pkg/apis/core/validation/events.go).
const maxNote = 1024

// reasonOf says whether there is anything to tell of a decision, and what.
func reasonOf(d *admission.Decision) (string, bool) {
	verdict := &d.Verdict
	switch {
	case d.Request.DryRun || d.Request.Resource.Resource == "":
		return "", false // nothing was to become of it, or nothing of it could be read
	case d.Reason != "":
		return "", false // shed: an Event for each would be one more load
	case verdict.Denied():
		return ReasonDenied, true
	case !verdict.Admitted:
		return ReasonNotJudged, true
	case !d.Mutation && slices.ContainsFunc(verdict.Findings, admission.Warns):
		return ReasonWarned, true
	}
	return "", false
}

// noteOf says in a few words what was wanted and what speaks against it. It names nobody: whoever reads Events of a namespace need not know who acts in it. whom are the
// policies that it tells of.
func noteOf(d *admission.Decision, reason string) (note string, whom []string) {
	verdict := &d.Verdict
	var text strings.Builder
	switch reason {
	case ReasonDenied, ReasonNotJudged:
		text.WriteString("denied ")
	default:
		text.WriteString("admitted with warnings: ")
	}
	what := d.Request.Resource.Resource
	if d.Request.SubResource != "" {
		what += "/" + d.Request.SubResource
	}
	fmt.Fprintf(&text, "%s of %s", d.Request.Operation, what)
	if d.Request.Name != "" {
		text.WriteString(" " + d.Request.Name)
	}
	counts := admission.Denies
	if reason == ReasonWarned {
		counts = admission.Warns
	}
	separator := ": "
	add := func(policy, message string) {
		whom = append(whom, policy)
		if text.Len() < 4*maxNote { // it is cut anyway
			text.WriteString(separator + policy + ": " + message)
		}
		separator = "; "
	}
	for n := range verdict.Findings {
		if finding := &verdict.Findings[n]; counts(*finding) {
			add(cmp.Or(finding.Instance, finding.Policy), finding.Message)
		}
	}
	if reason != ReasonWarned {
		for _, fault := range verdict.Faults {
			if admission.FaultDenies(fault) {
				add(cmp.Or(fault.Policy, "all policies"), string(fault.Kind)+": "+fault.Message)
			}
		}
		for _, open := range verdict.Undecided {
			if admission.UndecidedCounts(open) {
				add(open.Policy, "undecided: "+open.Reason)
			}
		}
	}
	if d.ID != "" {
		end := fmt.Sprintf(" (decision %s)", d.ID) // which the journal and the API server's audit log have, too
		return cut(clean(text.String()), maxNote-len(end)) + end, whom
	}
	return cut(clean(text.String()), maxNote), whom
}

// clean takes credentials and control characters out of a text.
func clean(text string) string {
	var r redaction.Redactor
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, r.Text(text))
}

// cut is a text of so many bytes at most, with an ellipsis where something is missing.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}
