package output

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies"
)

// textHandler writes for people: tables with colour on a terminal, and elsewhere
// one line per finding that begins with file:line:column, as compilers do.
type textHandler struct {
	w     *printer
	style Style
	run   gate.Run
	// rights are those that the user of the context lacks.
	rights []string
	// cluster is set when something is not known of the cluster, and not only of images.
	cluster bool
}

// The colours of a terminal (ECMA-48, SGR).
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

func (h *textHandler) paint(colour, s string) string {
	if !h.style.Colour {
		return s
	}
	return colour + s + reset
}

// Start names what nothing is decided about: at the end of a long report nobody would see it.
func (h *textHandler) Start(run gate.Run) error {
	h.run = run
	manifests, _ := gate.SplitSkips(run.Skipped)
	for _, skip := range manifests {
		if h.style.Table {
			h.w.printf("%s %s\n", h.paint(yellow, "–"), Plain(skip.File))
			h.wrapped("    ", "not judged: "+Plain(skip.Reason))
			h.w.printf("\n")
			continue
		}
		h.w.printf("%s: not judged: %s\n", Plain(skip.File), Plain(skip.Reason))
	}
	return h.w.err
}

func (h *textHandler) Result(result gate.Result) error {
	for _, open := range result.Undecided {
		h.cluster = h.cluster || !strings.HasSuffix(open.Path, ".image")
		if right := gate.MissingRight(open.Reason); right != "" && !slices.Contains(h.rights, right) {
			h.rights = append(h.rights, right)
		}
	}
	if h.style.Table {
		h.table(result)
	} else {
		h.lines(result)
	}
	return h.w.err
}

func (h *textHandler) Problem(problem gate.Problem) error {
	if h.style.Table {
		h.w.printf("%s %s\n", h.paint(red, "✗"), Plain(problem.Location.String()))
		h.wrapped("    ", Plain(problem.Message))
		h.w.printf("\n")
		return h.w.err
	}
	h.w.printf("%s: unreadable: %s\n", Plain(problem.Location.String()), Plain(problem.Message))
	return h.w.err
}

// lines writes one line for each thing there is to say about an object.
func (h *textHandler) lines(result gate.Result) {
	object := Plain(result.Object.String())
	for _, finding := range result.Findings {
		h.w.printf("%s: %s: %s: %s [%s, %s]\n", Plain(finding.Location.String()), finding.Weight(), object,
			Plain(finding.Message), Plain(instance(finding.Policy, finding.Instance)), Plain(finding.Severity))
		if waived := waiver(finding); waived != "" {
			h.w.printf("    %s\n", Plain(waived))
		} else if finding.Remediation != "" {
			h.w.printf("    fix: %s\n", Plain(finding.Remediation))
		}
	}
	for _, fault := range policies.CollapseFaults(result.Faults) {
		h.w.printf("%s: fault: %s: %s [%s]\n", Plain(result.Location.String()), object, Plain(faultText(fault)), Plain(orEngine(fault.Policy)))
	}
	for _, open := range collapseUndecided(result.Undecided) {
		h.w.printf("%s: undecided: %s: %s [%s]\n", Plain(open.Location.String()), object, Plain(open.Reason), Plain(orEngine(open.Policy)))
	}
}

// collapseUndecided joins policies that are undecided for the same reason at the same place: the
// reason stands once, and the policies are listed, each once however many instances of it there are.
func collapseUndecided(all []gate.UndecidedPolicy) []gate.UndecidedPolicy {
	type cause struct{ path, reason string }
	type listed struct {
		cause
		policy string
	}
	var collapsed []gate.UndecidedPolicy
	place, seen := map[cause]int{}, map[listed]bool{}
	for _, open := range all {
		c := cause{open.Path, open.Reason}
		at, again := place[c]
		if !again || open.Policy == "" {
			if open.Policy != "" {
				place[c] = len(collapsed)
			}
			seen[listed{c, open.Policy}] = true
			collapsed = append(collapsed, open)
			continue
		}
		if !seen[listed{c, open.Policy}] {
			seen[listed{c, open.Policy}] = true
			collapsed[at].Policy += ", " + open.Policy
		}
	}
	return collapsed
}

// orEngine names who is to blame for a fault that no policy caused.
func orEngine(policy string) string {
	if policy == "" {
		return "portcullis"
	}
	return policy
}

// row is one line of an object's table.
type row struct {
	label, colour string // severity, or what stands in its place
	policy, place string
	text, hint    string
}

// table writes an object as a heading and one row for each thing to say about it.
func (h *textHandler) table(result gate.Result) {
	mark, colour := "✓", green
	switch result.Outcome {
	case gate.Denied, gate.Faulty:
		mark, colour = "✗", red
	case gate.Undecided:
		mark, colour = "?", cyan
	case gate.Warned:
		mark, colour = "!", yellow
	}
	h.w.printf("%s %s  %s\n", h.paint(colour, mark), h.paint(bold, Plain(result.Object.String())), h.paint(dim, Plain(result.Location.String())))
	rows := rowsOf(result)
	if len(rows) == 0 {
		return
	}
	labels, names, places := len("SEVERITY"), len("POLICY"), len("LINE")
	for _, r := range rows {
		labels, names, places = max(labels, width(r.label)), max(names, width(r.policy)), max(places, width(r.place))
	}
	h.w.printf("    %s\n", h.paint(dim, pad("SEVERITY", labels)+"  "+pad("POLICY", names)+"  "+pad("LINE", places)+"  FINDING"))
	indent := strings.Repeat(" ", 4+labels+2+names+2+places+2)
	for _, r := range rows {
		text := wrap(r.text, h.room(indent))
		h.w.printf("    %s  %s  %s  %s\n", h.paint(r.colour, pad(r.label, labels)), pad(r.policy, names), pad(r.place, places), text[0])
		for _, line := range text[1:] {
			h.w.printf("%s%s\n", indent, line)
		}
		if r.hint != "" {
			for _, line := range wrap("→ "+r.hint, h.room(indent)) {
				h.w.printf("%s%s\n", indent, h.paint(dim, line))
			}
		}
	}
	h.w.printf("\n")
}

// rowsOf are an object's findings, faults and open questions as table rows.
func rowsOf(result gate.Result) []row {
	var rows []row
	for _, finding := range result.Findings {
		r := row{
			label: Plain(finding.Severity), colour: severityColour(finding.Severity),
			policy: Plain(instance(finding.Policy, finding.Instance)), place: place(finding.Location, result.Location),
			text: Plain(finding.Message), hint: Plain(finding.Remediation),
		}
		switch finding.Weight() {
		case gate.Warns:
			r.text = "warning: " + r.text
		case gate.Records:
			r.text = "only recorded: " + r.text
		case gate.Excepted, gate.Known:
			r.colour, r.hint = dim, Plain(waiver(finding))
		}
		rows = append(rows, r)
	}
	for _, fault := range policies.CollapseFaults(result.Faults) {
		rows = append(rows, row{label: "fault", colour: red, policy: Plain(orEngine(fault.Policy)), text: Plain(faultText(fault))})
	}
	for _, open := range collapseUndecided(result.Undecided) {
		r := row{label: "undecided", colour: cyan, policy: Plain(orEngine(open.Policy)), place: place(open.Location, result.Location), text: Plain(open.Reason)}
		if n := strings.Count(open.Policy, ", "); n > 0 {
			r.policy, r.hint = plural(n+1, "policy"), Plain(open.Policy)
		}
		rows = append(rows, r)
	}
	return rows
}

// place is where in its file a finding points to; the file itself is named only
// where it is another one than the object's.
func place(location, object gate.Location) string {
	text := location.String()
	if location.File == object.File {
		text = strings.TrimPrefix(strings.TrimPrefix(text, location.File), ":")
		text = strings.TrimSuffix(strings.TrimPrefix(text, " (line "), " as rendered)")
		if location.Line == 0 && location.RenderedLine > 0 {
			text += " (rendered)"
		}
	}
	return Plain(text)
}

func severityColour(severity string) string {
	switch severity {
	case "critical":
		return bold + red
	case "high":
		return red
	case "medium":
		return yellow
	}
	return dim
}

func (h *textHandler) Finish(summary gate.Summary) error {
	if h.style.Table {
		h.w.printf("\n")
	}
	colour := green
	if summary.Exit != gate.ExitAdmitted {
		colour = red
	}
	h.w.printf("%s%s\n", h.paint(colour, h.paint(bold, verdictWord(summary.Exit))+": "), Plain(tally(summary)))
	if graded := severities(summary.Severities); graded != "" {
		h.w.printf("  findings: %s\n", graded)
	}
	if n := summary.Effects[gate.Excepted]; n > 0 {
		h.w.printf("  waived by exceptions: %s\n", plural(n, "finding"))
	}
	for _, exception := range slices.Sorted(maps.Keys(summary.Expiring)) {
		h.w.printf("  exception %s ends soon: %s\n", Plain(exception), Plain(summary.Expiring[exception]))
	}
	if h.run.Baseline != "" {
		h.w.printf("  known by the baseline %s: %s%s\n", Plain(h.run.Baseline), plural(summary.Effects[gate.Known], "finding"), gone(summary))
	}
	if summary.Undecided > 0 {
		h.w.printf("  not decided: %s; %s\n", plural(summary.Undecided, "policy"), Plain(h.whatIsMissing()))
	}
	if summary.Exit == gate.ExitUsage {
		h.w.printf("  no Kubernetes object was found: name a manifest, or a directory with some (*.yaml, *.yml, *.json), a chart or a kustomization, or pipe manifests into portcullis gate -\n")
	}
	h.skipped(summary.Skipped)
	h.w.printf("  judged by bundle %s, profile %s\n", Plain(h.run.Bundle), Plain(h.run.Profile))
	return h.w.err
}

// gone says that the baseline knows more than there is.
func gone(summary gate.Summary) string {
	if summary.Gone == 0 {
		return ""
	}
	return "; " + plural(summary.Gone, "finding") + " of it did not occur again: write it anew with --write-baseline"
}

// whatIsMissing says how the policies that are undecided could be decided.
func (h *textHandler) whatIsMissing() string {
	switch {
	case !h.cluster:
		return "each reason is given above, with what to do"
	case h.run.Context == "":
		return "give what is missing with --context DIR or --context KUBECONFIG"
	case len(h.rights) > 0:
		return "the user of the context needs the right to " + strings.Join(h.rights, ", to ")
	}
	return "the context does not tell what is missing; each reason is given above"
}

// verdictWord is how a run ended, in one word.
func verdictWord(code gate.ExitCode) string {
	if code == gate.ExitUsage {
		return "nothing judged"
	}
	return code.String()
}

// maxSkips is how many passed-over files are listed; the rest is counted.
const maxSkips = 10

func (h *textHandler) skipped(skips []gate.Skip) {
	manifests, others := gate.SplitSkips(skips)
	if len(manifests) > 0 {
		h.w.printf("  not judged, though like manifests: %s, named at the beginning; --fail-on-skip makes that an error\n", plural(len(manifests), "path"))
	}
	for i, skip := range others {
		if i == maxSkips {
			h.w.printf("  … and %s more skipped\n", plural(len(others)-i, "file"))
			return
		}
		h.w.printf("  skipped %s: %s\n", Plain(skip.File), Plain(skip.Reason))
	}
}

// room is how many columns are left beside an indentation, never fewer than 30.
func (h *textHandler) room(indent string) int {
	if h.style.Width == 0 {
		return 0
	}
	return max(30, h.style.Width-len(indent))
}

func (h *textHandler) wrapped(indent, text string) {
	for _, line := range wrap(text, h.room(indent)) {
		h.w.printf("%s%s\n", indent, line)
	}
}

// wrap breaks text at spaces into lines of at most columns; a longer word stands
// alone. It returns at least one line.
func wrap(text string, columns int) []string {
	if columns <= 0 || width(text) <= columns {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case width(line)+1+width(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// width is how many columns a string takes, counting each character as one.
func width(s string) int { return utf8.RuneCountInString(s) }

func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-width(s)))
}
