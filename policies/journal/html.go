package journal

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

//go:embed replay.html
var pageSource string

// maxPageChanges is how many decisions a page lists: the JSON has more.
const maxPageChanges = 500

// WriteHTML writes a report as one page that needs nothing else: no script, no font, no picture from elsewhere. Its charts are
// SVG. Everything that comes from a request is escaped, and characters that do not show as themselves are spelled out.
func WriteHTML(w io.Writer, report *Report) error {
	page, err := template.New("replay").Funcs(template.FuncMap{
		"show": show, "count": thousands, "moment": moment, "scope": scopeName, "policy": policyName, "effect": effectName, "percent": percent,
	}).Parse(pageSource)
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	if err := page.Execute(w, newPage(report)); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	*Report
	Tiles    []tile
	Shares   []bar
	Timeline chart
	Rows     []policyRow
	Spaces   []namespaceRow
	Listed   []Change
	Hidden   int // changes that are not listed
}

// tile is one number with its name.
type tile struct {
	Class, Name string
	Count       int
	Share       string
}

// bar is a rectangle of a chart, in its units.
type bar struct {
	Class               string
	X, Y, Width, Height float64
	Title               string
}

// chart is a picture of bars.
type chart struct {
	Width, Height float64
	Bars          []bar
	Lines         []rule
	Labels        []label
	Summary       string // for whoever cannot see it
}

// rule is a horizontal line at a value.
type rule struct {
	Y     float64
	Value string
}

// label is a text below the chart.
type label struct {
	X      float64
	Anchor string
	Text   string
}

type policyRow struct {
	PolicyReport
	Bars []bar
}

type namespaceRow struct {
	NamespaceReport
	Bars []bar
}

// part is one kind of change with its class in the style sheet.
type part struct {
	class, name string
	count       int
}

func (c *Counts) parts() []part {
	return []part{
		{"denied", "newly denied", c.NewlyDenied}, {"admitted", "newly admitted", c.NewlyAdmitted},
		{"changed", "changed otherwise", c.Changed}, {"open", "not replayable", c.NotReplayable},
	}
}

func (c *PolicyCounts) parts() []part {
	return []part{
		{"denied", "new denials", c.NewDenials}, {"admitted", "denials lifted", c.LiftedDenials},
		{"changed", "changed otherwise", c.Changed}, {"open", "not replayable", c.NotReplayable},
	}
}

func newPage(report *Report) *page {
	p := &page{Report: report}
	all := append(report.Counts.parts(), part{"same", "unchanged", report.Unchanged})
	for _, one := range all {
		p.Tiles = append(p.Tiles, tile{one.class, one.name, one.count, percent(one.count, report.Decisions)})
	}
	p.Shares = stack(all, report.Decisions, 1000, 28)
	p.Timeline = timelineChart(report.Timeline)
	most := 1
	for n := range report.Policies {
		most = max(most, report.Policies[n].total())
	}
	for n := range report.Policies {
		p.Rows = append(p.Rows, policyRow{report.Policies[n], stack(report.Policies[n].PolicyCounts.parts(), most, 240, 14)})
	}
	most = 1
	for n := range report.Namespaces {
		most = max(most, report.Namespaces[n].Decisions-report.Namespaces[n].Unchanged)
	}
	for n := range report.Namespaces {
		p.Spaces = append(p.Spaces, namespaceRow{report.Namespaces[n], stack(report.Namespaces[n].Counts.parts(), most, 240, 14)})
	}
	listed := slices.Clone(report.Changes)
	slices.SortStableFunc(listed, func(a, b Change) int { return weightOf(a.Effect) - weightOf(b.Effect) })
	p.Listed = listed[:min(len(listed), maxPageChanges)]
	p.Hidden = len(report.Changes) - len(p.Listed) + report.Omitted
	return p
}

// weightOf puts what costs most first.
func weightOf(effect Effect) int {
	return slices.Index([]Effect{EffectNewlyDenied, EffectNewlyAdmitted, EffectNotReplayable, EffectChanged}, effect)
}

// stack lays parts of a whole side by side. What is there at all can be seen.
func stack(parts []part, whole int, width, height float64) []bar {
	const least = 2
	var bars []bar
	x := 0.0
	for _, one := range parts {
		if one.count == 0 || whole == 0 {
			continue
		}
		wide := max(width*float64(one.count)/float64(whole), least)
		wide = min(wide, width-x)
		bars = append(bars, bar{one.class, round(x), 0, round(wide), height, thousands(one.count) + " " + one.name})
		x += wide
	}
	return bars
}

// timelineChart draws what changes in each span of time.
func timelineChart(spans []Span) chart {
	const width, height, left, gap = 1000.0, 180.0, 44.0, 2.0
	c := chart{Width: width, Height: height}
	most, changes := 0, 0
	for n := range spans {
		changed := spans[n].Decisions - spans[n].Unchanged
		most, changes = max(most, changed), changes+changed
	}
	if most == 0 {
		return c
	}
	top := ceiling(most)
	c.Summary = fmt.Sprintf("%s decisions change in %d spans of time, at most %s in one", thousands(changes), len(spans), thousands(most))
	for _, value := range []int{0, top / 2, top} {
		c.Lines = append(c.Lines, rule{round(height - height*float64(value)/float64(top)), thousands(value)})
	}
	step := (width - left) / float64(len(spans))
	for n := range spans {
		y := height
		for _, one := range spans[n].parts() {
			if one.count == 0 {
				continue
			}
			tall := height * float64(one.count) / float64(top)
			y -= tall
			c.Bars = append(c.Bars, bar{
				one.class, round(left + float64(n)*step + gap/2), round(y), round(max(step-gap, 1)), round(tall),
				fmt.Sprintf("%s: %s %s of %s decisions", moment(spans[n].Start), thousands(one.count), one.name, thousands(spans[n].Decisions)),
			})
		}
	}
	c.Labels = []label{{left, "start", moment(spans[0].Start)}, {width, "end", moment(spans[len(spans)-1].Start)}}
	if len(spans) > 2 {
		c.Labels = append(c.Labels, label{left + (width-left)/2, "middle", moment(spans[len(spans)/2].Start)})
	}
	return c
}

// ceiling is the next number with one digit that is not zero, and even: half of it is a whole number.
func ceiling(most int) int {
	if most <= 10 {
		return most + most%2
	}
	unit := 10
	for 9*unit < most {
		unit *= 10
	}
	return (most + unit - 1) / unit * unit
}

// round keeps pages small: a tenth of a unit is less than can be seen.
func round(value float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(value, 'f', 1, 64), 64) // it was just written
	return rounded
}

// show spells out characters that do not show as themselves, or reorder others (CVE-2021-42574).
func show(s any) string {
	var b strings.Builder
	for _, r := range fmt.Sprint(s) {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || r == '\u2028' || r == '\u2029' {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func percent(part, whole int) string {
	switch {
	case whole == 0 || part == 0:
		return "0 %"
	case part == whole:
		return "100 %"
	}
	share := 100 * float64(part) / float64(whole)
	if share < 0.1 {
		return "< 0.1 %"
	}
	return strconv.FormatFloat(min(share, 99.9), 'f', 1, 64) + " %"
}

func moment(at any) string {
	switch at := at.(type) {
	case time.Time:
		return at.UTC().Format("2006-01-02 15:04")
	case *time.Time:
		if at != nil {
			return moment(*at)
		}
	}
	return "never"
}

func scopeName(namespace string) string {
	if namespace == "" {
		return "no namespace"
	}
	return show(namespace)
}

func policyName(policy string) string {
	if policy == "" {
		return "no single policy"
	}
	return show(policy)
}

func effectName(effect Effect) string {
	switch effect {
	case EffectNewlyDenied:
		return "newly denied"
	case EffectNewlyAdmitted:
		return "newly admitted"
	case EffectChanged:
		return "changed"
	case EffectNotReplayable:
		return "not replayable"
	}
	return "unchanged"
}
