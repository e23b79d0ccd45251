package doctor

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
)

// colours of states: red, yellow, magenta, green (ECMA-48, 8.3.117).
var colours = map[State]string{Problem: "31;1", Warning: "33", Unknown: "35", OK: "32"}

// defaultWidth is for what is no terminal: people read it later.
const defaultWidth = 120

// WriteText writes a report for people: what is wrong first, with what to do; then what could not be looked at; what is fine last, in a line each.
func WriteText(w io.Writer, report *Report, style output.Style) error {
	t := &text{style: style}
	if t.style.Width <= 0 {
		t.style.Width = defaultWidth
	}
	t.line("", "Portcullis in %s of %s, looked at on %s", report.Namespace, report.Cluster, report.Time.Format("2006-01-02 15:04 MST"))
	results := slices.Clone(report.Results)
	slices.SortStableFunc(results, func(a, b Result) int { return cmp.Compare(rank(b.State), rank(a.State)) })
	for n := range results {
		if results[n].State != OK {
			t.trouble(&results[n])
		}
	}
	if report.Count(OK) > 0 {
		t.blank()
	}
	for n := range results {
		if results[n].State == OK {
			t.fine(&results[n])
		}
	}
	t.blank()
	t.summary(report, results)
	_, err := io.WriteString(w, t.b.String())
	return err
}

// text is what is written.
type text struct {
	b     strings.Builder
	style output.Style
}

func (t *text) blank() { t.b.WriteByte('\n') }

// line writes a line, cut into several below each other.
func (t *text) line(indent, format string, arguments ...any) {
	rest := output.Plain(fmt.Sprintf(format, arguments...))
	hang := indent
	for _, word := range []string{"  - ", "    do: "} {
		if strings.HasPrefix(rest, word) {
			hang = indent + strings.Repeat(" ", len(word))
		}
	}
	for n, part := range wrap(rest, t.style.Width-len(indent)-8) {
		if n == 0 {
			t.b.WriteString(indent + part + "\n")
			continue
		}
		t.b.WriteString(hang + part + "\n")
	}
}

// trouble is a check that is not fine.
func (t *text) trouble(r *Result) {
	t.blank()
	t.b.WriteString(t.coloured(r.State, strings.ToUpper(r.State.String())) + "  " + r.Check + "\n")
	for n := range r.Observations {
		o := &r.Observations[n]
		if o.State == OK {
			continue
		}
		mark := ""
		if o.State != r.State {
			mark = o.State.String() + ": "
		}
		t.line("", "  - %s%s", mark, o.Seen)
		if o.Next != "" {
			// Not wrapped: it is there to be copied.
			t.b.WriteString("    do: " + output.Plain(o.Next) + "\n")
		}
	}
	if r.Left > 0 {
		t.line("", "  - and %d more", r.Left)
	}
	if r.State != Unknown {
		t.line("    ", "why: %s", r.Why)
	}
	t.line("    ", "see: %s", r.Docs)
}

// fine is a check that is: one line, or several where it saw several things.
func (t *text) fine(r *Result) {
	label := t.coloured(OK, "ok") + "  " + fmt.Sprintf("%-22s", r.Check) + "  "
	seen := r.Observations[0].Seen
	if more := len(r.Observations) - 1 + r.Left; more > 0 {
		seen += fmt.Sprintf(" (and %d more)", more)
	}
	for n, part := range wrap(output.Plain(seen), t.style.Width-30) {
		if n > 0 {
			label = strings.Repeat(" ", 28)
		}
		t.b.WriteString(label + part + "\n")
	}
}

func (t *text) coloured(state State, word string) string {
	if !t.style.Colour {
		return word
	}
	return "\x1b[" + colours[state] + "m" + word + "\x1b[0m"
}

// summary counts, and says where to begin.
func (t *text) summary(report *Report, sorted []Result) {
	var counts []string
	for _, state := range []State{Problem, Warning, Unknown, OK} {
		switch n := report.Count(state); {
		case n == 0:
		case state == Problem:
			counts = append(counts, number(n, "problem", "problems"))
		case state == Warning:
			counts = append(counts, number(n, "warning", "warnings"))
		default:
			counts = append(counts, fmt.Sprintf("%d %s", n, state))
		}
	}
	begin := ""
	if len(sorted) > 0 && sorted[0].State == Problem {
		begin = " Begin with " + sorted[0].Check + ": the others may follow from it."
	}
	t.line("", "%s.%s", strings.Join(counts, ", "), begin)
	if report.Count(Unknown) > 1 {
		t.line("", "What is unknown is not fine: it could not be looked at.")
	}
}

// wrap cuts a text into lines of at most width, at spaces. A word that is longer keeps its line.
func wrap(text string, width int) []string {
	const least = 40
	width = max(width, least)
	var lines []string
	line := leading(text)
	for word := range strings.FieldsSeq(text) {
		switch {
		case strings.TrimSpace(line) == "":
			line += word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

func leading(text string) string {
	return text[:len(text)-len(strings.TrimLeft(text, " "))]
}
