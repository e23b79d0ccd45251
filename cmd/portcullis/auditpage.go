package main

import (
	"cmp"
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/proposals/capacity"
	"github.com/portcullis-dev/portcullis/policies"
)

//go:embed audit.html
var auditPageHTML string

const (
	// maxShownFindings is how many findings the page lists, the worst ones: what a browser shows without effort, and people read.
	maxShownFindings = 500
	// maxBars is how many namespaces or policies have a bar of their own.
	maxBars = 25
	// maxShownExceptions is how many exceptions are listed, those that end first.
	maxShownExceptions = 200
)

// auditPageHandler writes the page when all is known. It implements [gate.Handler].
type auditPageHandler struct {
	w    io.Writer
	run  *auditRun
	head gate.Run
}

// Start implements gate.Handler.
func (h *auditPageHandler) Start(run gate.Run) error { h.head = run; return nil }

// Result implements gate.Handler. The page has the findings that the posture keeps.
func (h *auditPageHandler) Result(gate.Result) error { return nil }

// Problem implements gate.Handler.
func (h *auditPageHandler) Problem(gate.Problem) error { return nil }

// Finish implements gate.Handler.
func (h *auditPageHandler) Finish(summary gate.Summary) error {
	return writeAuditPage(h.w, &auditPage{
		Head: h.head, Summary: summary, Outcome: &h.run.outcome, Problems: h.run.target.problems,
		History: historyOf(h.run.history, h.run.target.name), Now: h.run.outcome.Posture.At,
	})
}

// auditPage is what the page shows.
type auditPage struct {
	Head     gate.Run
	Summary  gate.Summary
	Outcome  *auditOutcome
	Problems []gate.Problem
	History  []historyEntry
	Now      time.Time
}

// writeAuditPage writes one page that needs nothing else: no script, no font, no image.
func writeAuditPage(w io.Writer, page *auditPage) error {
	made, err := template.New("audit").Funcs(template.FuncMap{
		"plain": output.Plain, "lower": strings.ToLower, "join": func(list []string) string { return strings.Join(list, ", ") },
		"day":    func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"cpu":    capacity.CPU, "memory": capacity.Memory, "link": func(text string) bool { return strings.HasPrefix(text, "https://") },
		"plural": pluralOf,
	}).Parse(auditPageHTML)
	if err != nil {
		return err
	}
	return made.Execute(w, page)
}

func pluralOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Posture is that of the run.
func (p *auditPage) Posture() *audit.Summary { return &p.Outcome.Posture }

// Verdict is how the run ended, in words, and the class of its colour.
func (p *auditPage) Verdict() (v struct{ Word, Class string }) {
	switch p.Summary.Exit {
	case gate.ExitAdmitted:
		v.Word, v.Class = "nothing enforced objects", "good"
	case gate.ExitDenied:
		v.Word, v.Class = "some objects would be denied", "critical"
	case gate.ExitUndecided:
		v.Word, v.Class = "not everything could be decided", "medium"
	case gate.ExitWarned:
		v.Word, v.Class = "warnings", "medium"
	default:
		v.Word, v.Class = "something failed", "critical"
	}
	return v
}

// chartPart is one piece of a stacked bar: percentages of its width, exact to the hundredth.
type chartPart struct {
	Class, Label string
	N            int
	X, Width     string
}

// chartBar is one row of a chart.
type chartBar struct {
	Label, Note string
	Total       int
	Parts       []chartPart
}

// stacked are the parts of a bar of severities, as shares of the largest total.
func stacked(t audit.Tally, largest int) []chartPart {
	var parts []chartPart
	at := 0
	for _, one := range []struct {
		class string
		n     int
	}{{"critical", t.Critical}, {"high", t.High}, {"medium", t.Medium}, {"low", t.Low}} {
		if one.n > 0 {
			parts = append(parts, chartPart{Class: one.class, Label: one.class, N: one.n, X: share(at, largest), Width: share(one.n, largest)})
			at += one.n
		}
	}
	return parts
}

// share is a part of the whole in hundredths: "33.33".
func share(part, whole int) string {
	if whole <= 0 {
		return "0"
	}
	n := int64(part) * 10_000 / int64(whole)
	return fmt.Sprintf("%d.%02d", n/100, n%100)
}

// Severities is the one bar of all findings.
func (p *auditPage) Severities() chartBar {
	t := p.Posture().Total
	return chartBar{Label: "all", Total: t.Standing, Parts: stacked(t, t.Standing)}
}

// Namespaces are the bars by namespace, the longest first.
func (p *auditPage) Namespaces() []chartBar {
	var rows []tallied
	for _, n := range p.Posture().Namespaces {
		rows = append(rows, tallied{cmp.Or(n.Namespace, "(none)"), fmt.Sprintf("%d of %s", n.Violating, pluralOf(n.Objects, "object", "objects")), n.Tally})
	}
	return bars(rows)
}

// Policies are the bars by policy.
func (p *auditPage) Policies() []chartBar {
	titles := map[string]string{}
	for _, rule := range p.Head.Rules {
		titles[rule.ID] = rule.Title
	}
	var rows []tallied
	for _, one := range p.Posture().Policies {
		rows = append(rows, tallied{one.Policy, titles[one.Policy], one.Tally})
	}
	return bars(rows)
}

type tallied struct {
	label, note string
	tally       audit.Tally
}

// bars are the longest rows, and what the others come to.
func bars(rows []tallied) []chartBar {
	rows = slices.DeleteFunc(rows, func(r tallied) bool { return r.tally.Standing == 0 })
	slices.SortStableFunc(rows, func(a, b tallied) int { return cmp.Compare(b.tally.Standing, a.tally.Standing) })
	if len(rows) > maxBars {
		var others tallied
		for _, r := range rows[maxBars:] {
			others.tally.Standing += r.tally.Standing
			others.tally.Critical += r.tally.Critical
			others.tally.High += r.tally.High
			others.tally.Medium += r.tally.Medium
			others.tally.Low += r.tally.Low
		}
		others.label = fmt.Sprintf("%d more", len(rows)-maxBars)
		rows = append(rows[:maxBars:maxBars], others)
	}
	largest := 0
	for _, r := range rows {
		largest = max(largest, r.tally.Standing)
	}
	var all []chartBar
	for _, r := range rows {
		all = append(all, chartBar{r.label, r.note, r.tally.Standing, stacked(r.tally, largest)})
	}
	return all
}

// shownException is an exception on the page.
type shownException struct {
	audit.ExceptionSummary
	Days  int
	Class string
}

// Exceptions are those that waive something, those that end first at the beginning.
func (p *auditPage) Exceptions() []shownException {
	var shown []shownException
	for _, e := range p.Posture().Exceptions {
		if len(shown) == maxShownExceptions {
			break
		}
		days, class := daysLeft(e.Until, p.Now)
		shown = append(shown, shownException{e, days, class})
	}
	return shown
}

// ages are the columns of the ageing of exceptions.
var ages = []struct {
	label, class string
	days         int
}{{"up to 7 days", "critical", 7}, {"up to 30 days", "high", 30}, {"up to 90 days", "medium", 90}, {"longer", "low", 1 << 30}}

// daysLeft is how many days an exception has, begun ones counted, and the class of its colour.
func daysLeft(until string, now time.Time) (days int, class string) {
	end, err := policies.ParseMoment(until)
	if err != nil {
		return 0, ages[0].class
	}
	days = int((end.Sub(now) + 24*time.Hour - 1) / (24 * time.Hour))
	for _, age := range ages {
		if days <= age.days {
			return days, age.class
		}
	}
	return days, ages[len(ages)-1].class
}

// Ageing are exceptions by the time that they have left.
func (p *auditPage) Ageing() []chartBar {
	counts := make([]int, len(ages))
	largest := 0
	for _, e := range p.Posture().Exceptions {
		days, _ := daysLeft(e.Until, p.Now)
		at := slices.IndexFunc(ages, func(age struct {
			label, class string
			days         int
		}) bool {
			return days <= age.days
		})
		counts[at]++
		largest = max(largest, counts[at])
	}
	if largest == 0 {
		return nil
	}
	var all []chartBar
	for n, age := range ages {
		bar := chartBar{Label: age.label, Total: counts[n]}
		if counts[n] > 0 {
			bar.Parts = []chartPart{{Class: age.class, Label: age.label, N: counts[n], X: "0", Width: share(counts[n], largest)}}
		}
		all = append(all, bar)
	}
	return all
}

// Findings are the worst ones.
func (p *auditPage) Findings() []audit.Sample { return p.Posture().Samples }

// Hidden is how many findings the page does not list.
func (p *auditPage) Hidden() int { return p.Posture().Total.Standing - len(p.Posture().Samples) }

// capacityBar is a namespace's requests and what is used of them.
type capacityBar struct {
	capacity.Namespace
	CPUWidth, CPUUsed, MemoryWidth, MemoryUsed string
}

// Capacity are the namespaces by requests, the largest first.
func (p *auditPage) Capacity() []capacityBar {
	namespaces := slices.Clone(p.Outcome.Capacity.Namespaces)
	slices.SortStableFunc(namespaces, func(a, b capacity.Namespace) int {
		return cmp.Or(cmp.Compare(b.Requests.MilliCPU, a.Requests.MilliCPU), cmp.Compare(b.Requests.MemoryBytes, a.Requests.MemoryBytes))
	})
	var cpu, memory int64
	for _, n := range namespaces {
		cpu, memory = max(cpu, n.Requests.MilliCPU, n.Usage.MilliCPU), max(memory, n.Requests.MemoryBytes, n.Usage.MemoryBytes)
	}
	// Shares of memory are computed in kibibytes, so that nothing runs over.
	of := func(n, whole int64) string { return share(int(n>>10), int(max(whole>>10, 1))) }
	var all []capacityBar
	for _, n := range namespaces {
		all = append(all, capacityBar{n, share(int(n.Requests.MilliCPU), int(cpu)), share(int(n.Usage.MilliCPU), int(cpu)), of(n.Requests.MemoryBytes, memory), of(n.Usage.MemoryBytes, memory)})
	}
	return all
}
