package web

import (
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/admission/decisions"
)

// chart is a table of bars: the numbers are there, and a picture beside each.
type chart struct {
	Title, Of string
	Rows      []bar
}

type bar struct {
	Label, Text string
	Parts       []part
}

// part of a bar from X, in hundredths of the whole width.
type part struct {
	Tone     string
	X, Width float64
}

// amount is a number with its tone.
type amount struct {
	tone  string
	count int64
}

// newBar is a bar of amounts beside each other; most fills the width.
func newBar(label, text string, most int64, amounts ...amount) bar {
	b := bar{Label: label, Text: text}
	x := 0.0
	for _, a := range amounts {
		if a.count <= 0 || most <= 0 {
			continue
		}
		width := 100 * float64(a.count) / float64(most)
		b.Parts = append(b.Parts, part{a.tone, x, width})
		x += width
	}
	return b
}

// columns is a chart of decisions over time.
type columns struct {
	Title, Summary, From, To string
	Width, Height, Base      int
	Columns                  []column
}

type column struct{ Parts []box }

type box struct {
	Tone          string
	X, Y          float64
	Width, Height float64
	Label         string
}

const (
	chartSpan    = time.Hour
	chartColumns = 60
	columnWidth  = 10
	chartHeight  = 100
)

// overTime draws the decisions of the last hour.
func overTime(entries []decisions.Entry, now time.Time) *columns {
	var counts [chartColumns]struct{ good, bad, warn int }
	start := now.Add(-chartSpan)
	total, denied, most := 0, 0, 1
	for n := range entries {
		slot := int(entries[n].Time.Sub(start) * chartColumns / chartSpan)
		if slot < 0 || slot > chartColumns { // a little clock skew counts as now
			continue
		}
		c := &counts[min(slot, chartColumns-1)]
		total++
		switch entries[n].Verdict {
		case "denied":
			c.bad++
			denied++
		case "fault", "shed", "rejected":
			c.warn++
		default:
			c.good++
		}
		most = max(most, c.good+c.bad+c.warn)
	}
	chart := &columns{
		Title: "Decisions of the last hour, by minute", Summary: fmt.Sprintf("%d decisions in the last hour, of which %d were denied; at most %d in one minute.", total, denied, most),
		From: start.UTC().Format("15:04 UTC"), To: now.UTC().Format("15:04 UTC"), Width: chartColumns * columnWidth, Height: chartHeight + 1, Base: chartHeight,
	}
	for n := range counts {
		c, y := counts[n], float64(chartHeight)
		at := start.Add(time.Duration(n) * chartSpan / chartColumns).UTC().Format("15:04")
		var one column
		for _, p := range []struct {
			tone, word string
			count      int
		}{{"bad", "denied", c.bad}, {"warn", "fault or shed", c.warn}, {"good", "admitted", c.good}} {
			if p.count == 0 {
				continue
			}
			height := max(float64(p.count)*chartHeight/float64(most), 1.5)
			y -= height
			one.Parts = append(one.Parts, box{p.tone, float64(n*columnWidth + 1), max(y, 0), columnWidth - 2, height, fmt.Sprintf("%s: %d %s", at, p.count, p.word)})
		}
		chart.Columns = append(chart.Columns, one)
	}
	return chart
}
