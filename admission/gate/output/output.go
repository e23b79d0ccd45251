// Package output writes a gate run in the format its reader understands: a table
// for people, or the format of a CI system. Each format is one file and one
// implementation of [gate.Handler]; they differ in form only, never in what they
// say or in the exit code.
//
// Whatever comes from a manifest (names, messages, paths, file names) is hostile:
// it may hold terminal escape sequences, workflow commands or markup. Nothing of it
// reaches the output but through the functions of escape.go.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies"
)

// Style says what the reader of the text format can show.
type Style struct {
	// Table draws tables and a summary for people; otherwise one line per finding.
	Table bool
	// Colour allows ANSI colours. Only with Table.
	Colour bool
	// Width is that of the terminal in columns, 0 for unlimited.
	Width int
}

// Formats are the names that [New] knows, the default first.
func Formats() []string {
	return []string{"text", "json", "sarif", "junit", "github", "gitlab", "gitlab-container-scanning", "cyclonedx-vex", "markdown"}
}

// New returns the handler that writes a format to w. The style matters to text only.
func New(format string, w io.Writer, style Style) (gate.Handler, error) {
	if format == "json" {
		return &jsonHandler{w: &printer{w: w}}, nil // it has a field for the bundle
	}
	handler, err := newHandler(format, w, style)
	if err != nil {
		return nil, err
	}
	return qualifying{handler}, nil
}

func newHandler(format string, w io.Writer, style Style) (gate.Handler, error) {
	switch format {
	case "text":
		return &textHandler{w: &printer{w: w}, style: style}, nil
	case "sarif":
		return &sarifHandler{w: w}, nil
	case "junit":
		return &junitHandler{w: w}, nil
	case "github":
		return &githubHandler{w: &printer{w: w}}, nil
	case "gitlab":
		return &gitlabHandler{w: w}, nil
	case "gitlab-container-scanning":
		return &containerScanningHandler{w: w}, nil
	case "cyclonedx-vex":
		return &vexHandler{w: w}, nil
	case "markdown":
		return &markdownHandler{w: &printer{w: w}}, nil
	}
	return nil, fmt.Errorf("choosing the format %q: no such format: use one of %s", Plain(format), strings.Join(Formats(), ", "))
}

// printer remembers the first error, so that a format is written as a story and
// the error is looked at once.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) write(data []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(data)
	}
}

// writeJSON writes a whole document, indented.
func writeJSON(w io.Writer, document any) error {
	encoded, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeJSON(encoded), '\n'))
	return err
}

// plural is "1 object", "2 objects".
func plural(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	if before, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, before)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// instance is the name a finding goes by: that of the policy, with that of the
// configured instance where the bundle has several.
func instance(policy, instance string) string {
	if instance == "" || instance == policy {
		return policy
	}
	return policy + " (" + instance + ")"
}

// waiver says why a finding that would object does not, "" for one that does.
func waiver(finding gate.Finding) string {
	switch finding.Weight() {
	case gate.Excepted:
		if finding.ExceptedUntil != "" {
			return "waived by the exception " + finding.ExceptedBy + " until " + finding.ExceptedUntil
		}
		return "waived by the exception " + finding.ExceptedBy
	case gate.Known:
		return "known by the baseline"
	}
	return ""
}

// faultWeight is what a fault means in this run.
func faultWeight(fault policies.Fault) gate.Effect {
	if admission.FaultDenies(fault) {
		return gate.Denies
	}
	return gate.Warns
}

// faultText is a fault in one sentence.
func faultText(fault policies.Fault) string {
	return fmt.Sprintf("%s: %s", fault.Kind, fault.Message)
}

// tally is a run in one sentence: "4 objects: 2 admitted, 1 denied, 1 undecided".
func tally(summary gate.Summary) string {
	var parts []string
	for _, outcome := range []gate.Outcome{gate.Admitted, gate.Warned, gate.Undecided, gate.Faulty, gate.Denied} {
		if n := summary.Outcomes[outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, outcomeWord(outcome)))
		}
	}
	if summary.Problems > 0 {
		parts = append(parts, plural(summary.Problems, "unreadable input"))
	}
	sentence := plural(summary.Objects, "object")
	if len(parts) > 0 {
		sentence += ": " + strings.Join(parts, ", ")
	}
	return sentence
}

func outcomeWord(outcome gate.Outcome) string {
	switch outcome {
	case gate.Warned:
		return "admitted with warnings"
	case gate.Faulty:
		return "not judged for a fault"
	}
	return string(outcome)
}

// bySeverity are the severities, gravest first.
var bySeverity = []string{"critical", "high", "medium", "low"}

// severities is "2 critical, 1 low", "" for none.
func severities(counts map[string]int) string {
	var parts []string
	for _, severity := range bySeverity {
		if n := counts[severity]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	return strings.Join(parts, ", ")
}

// sortedKeys are a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
