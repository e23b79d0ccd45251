package main

import (
	"fmt"
	"slices"
	"strings"
)

// maxPoints is how many runs the chart over time draws: more than there are pixels to tell them apart.
const maxPoints = 200

// historyOf are the runs over one cluster, oldest first.
func historyOf(all []historyEntry, of string) []historyEntry {
	var own []historyEntry
	for _, entry := range all {
		if entry.Of == of {
			own = append(own, entry)
		}
	}
	slices.SortStableFunc(own, func(a, b historyEntry) int { return a.At.Compare(b.At) })
	return own[max(0, len(own)-maxPoints):]
}

// The chart over time is drawn in a plane of this size and stretched to its place.
const (
	planeWidth  = 1000
	planeHeight = 240
)

// area is one layer of the chart over time.
type area struct{ Class, Points string }

// timeline is the chart over time.
type timeline struct {
	Areas []area
	// Gaps are the places of runs that were not complete.
	Gaps []int
	// Ticks are heights with their number, from above.
	Ticks []tick
}

type tick struct {
	Y     int
	Label string
}

// Timeline stacks the findings of each run by severity, the gravest at the bottom; nil for fewer than two runs.
func (p *auditPage) Timeline() *timeline {
	runs := p.History
	if len(runs) < 2 || !runs[len(runs)-1].At.After(runs[0].At) {
		return nil
	}
	top := 1
	for n := range runs {
		top = max(top, runs[n].standing())
	}
	top = roundUp(top)
	chart := &timeline{}
	x := func(n int) int {
		whole := runs[len(runs)-1].At.Sub(runs[0].At)
		return int(float64(runs[n].At.Sub(runs[0].At)) / float64(whole) * planeWidth)
	}
	y := func(count int) int { return planeHeight - int(int64(count)*planeHeight/int64(top)) }
	below := make([]int, len(runs))
	for _, layer := range []struct {
		class string
		of    func(*historyEntry) int
	}{
		{"critical", func(e *historyEntry) int { return e.Critical }}, {"high", func(e *historyEntry) int { return e.High }},
		{"medium", func(e *historyEntry) int { return e.Medium }}, {"low", func(e *historyEntry) int { return e.Low }},
	} {
		var upper, lower []string
		for n := range runs {
			lower = append(lower, fmt.Sprintf("%d,%d", x(n), y(below[n])))
			below[n] += layer.of(&runs[n])
			upper = append(upper, fmt.Sprintf("%d,%d", x(n), y(below[n])))
		}
		slices.Reverse(lower)
		chart.Areas = append(chart.Areas, area{layer.class, strings.Join(append(upper, lower...), " ")})
	}
	for n := range runs {
		if !runs[n].Complete {
			chart.Gaps = append(chart.Gaps, x(n))
		}
	}
	for part := 4; part >= 0; part-- {
		if n := top * part / 4; n*4 == top*part {
			chart.Ticks = append(chart.Ticks, tick{y(n), fmt.Sprint(n)})
		}
	}
	return chart
}

// roundUp is the next number that people like at an axis: 1, 2, 4, 8, 12, 20, 40 and so on.
func roundUp(n int) int {
	for size := 1; ; size *= 10 {
		for _, step := range []int{1, 2, 4, 8} {
			if n <= step*size {
				return step * size
			}
		}
	}
}
