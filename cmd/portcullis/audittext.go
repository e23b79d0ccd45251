package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/proposals/capacity"
	"github.com/portcullis-dev/portcullis/admission/proposals/defaultdeny"
)

// maxTextHints is how many hints of one kind the text lists; the json format and the page have them all.
const maxTextHints = 10

// auditText is the gate's text without the objects that nothing is said about, which a cluster has thousands of, and with what an
// audit says beyond them.
type auditText struct {
	gate.Handler
	w   io.Writer
	run *auditRun
}

// Result implements [gate.Handler].
func (t *auditText) Result(result gate.Result) error {
	if len(result.Findings)+len(result.Undecided)+len(result.Faults) == 0 {
		return nil
	}
	return t.Handler.Result(result)
}

// Finish implements [gate.Handler].
func (t *auditText) Finish(summary gate.Summary) error {
	if err := t.Handler.Finish(summary); err != nil {
		return err
	}
	b := &strings.Builder{}
	outcome := &t.run.outcome
	if folded := outcome.Posture.Folded; folded > 0 {
		fmt.Fprintf(b, "  counted at owners: %d findings that objects have from what controls them\n", folded)
	}
	if t.run.flags.exceptions.file != "" && !t.run.interrupted {
		fmt.Fprintf(b, "  exceptions written: %d, into %s\n", outcome.Exceptions, output.Plain(t.run.flags.exceptions.file))
	}
	if report := outcome.Capacity; report != nil {
		capacityText(b, report)
	}
	networkText(b, outcome.Network, t.run.flags.network.directory)
	for _, note := range outcome.Notes {
		fmt.Fprintf(b, "  %s\n", output.Plain(note))
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

func capacityText(b *strings.Builder, report *capacity.Report) {
	fmt.Fprint(b, "\ncapacity\n")
	rows := [][]string{{"NAMESPACE", "PODS", "CPU REQUESTED", "USED", "MEMORY REQUESTED", "USED", "PER MONTH"}}
	row := func(name string, t *capacity.Totals) []string {
		usedCPU, usedMemory := "-", "-"
		if t.Measured > 0 {
			usedCPU, usedMemory = capacity.CPU(t.Usage.MilliCPU), capacity.Memory(t.Usage.MemoryBytes)
		}
		return []string{output.Plain(name), fmt.Sprint(t.Pods), capacity.CPU(t.Requests.MilliCPU), usedCPU, capacity.Memory(t.Requests.MemoryBytes), usedMemory, orDash(t.Cost.String())}
	}
	for n := range report.Namespaces {
		rows = append(rows, row(report.Namespaces[n].Name, &report.Namespaces[n].Totals))
	}
	columns(b, append(rows, row("all", &report.Total)))
	if report.Total.Measured > 0 {
		fmt.Fprintf(b, "  requested and not used: %s processors, %s memory", capacity.CPU(report.Idle.MilliCPU), capacity.Memory(report.Idle.MemoryBytes))
		if report.Saving != nil {
			fmt.Fprintf(b, ", %s per month", report.Saving)
		}
		fmt.Fprintln(b)
	}
	for _, kind := range capacity.HintKinds() {
		hints := slices.DeleteFunc(slices.Clone(report.Hints), func(h capacity.Hint) bool { return h.Kind != kind })
		if report.Counts[kind] == 0 {
			continue
		}
		fmt.Fprintf(b, "  %s: %d\n", kind, report.Counts[kind])
		for n, hint := range hints {
			if n == maxTextHints {
				break
			}
			fmt.Fprintf(b, "    %s, container %s: %s\n", output.Plain(hint.Namespace+" "+hint.Workload), output.Plain(hint.Container), output.Plain(hint.Message))
		}
		if more := report.Counts[kind] - min(len(hints), maxTextHints); more > 0 {
			fmt.Fprintf(b, "    … and %d more: --format json and --html list them\n", more)
		}
	}
	for _, note := range report.Notes {
		fmt.Fprintf(b, "  %s\n", output.Plain(note))
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// columns writes rows with each column as wide as it has to be; all but the first are numbers, and stand to the right.
func columns(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for n, cell := range row {
			widths[n] = max(widths[n], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(b, "  %-*s", widths[0], row[0])
		for n, cell := range row[1:] {
			fmt.Fprintf(b, "  %*s", widths[n+1], cell)
		}
		fmt.Fprintln(b)
	}
}

func networkText(b *strings.Builder, proposals []defaultdeny.Proposal, directory string) {
	if len(proposals) == 0 {
		return
	}
	fmt.Fprintf(b, "\nproposed NetworkPolicies, in %s\n", output.Plain(directory))
	for n := range proposals {
		p := &proposals[n]
		fmt.Fprintf(b, "  %s: denies %s to %s; ", p.Namespace, strings.ToLower(strings.Join(p.Directions, " and ")), pluralOf(p.Pods, "pod", "pods"))
		if len(p.Hints) == 0 {
			fmt.Fprintln(b, "nothing that we know of would be cut off")
		} else {
			fmt.Fprintf(b, "%s would lose something\n", pluralOf(len(p.Hints), "workload", "workloads"))
		}
	}
}
