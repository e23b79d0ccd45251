package revision

import (
	"cmp"
	"slices"

	"github.com/open-policy-agent/opa/v1/cover"
)

// PolicyCoverage is how many lines of a policy its tests and samples reach, counted as "opa test --coverage" does: the
// lines of heads and of expressions.
type PolicyCoverage struct {
	// Policy is the policy's id, "" for shared Rego. File is where it stands.
	Policy string `json:"policy,omitempty"`
	File   string `json:"file"`
	// Covered of Lines are reached; NotCovered are the others.
	Covered    int         `json:"covered"`
	Lines      int         `json:"lines"`
	NotCovered []LineRange `json:"notCovered,omitempty"`
}

// LineRange are lines of a file, the last one included.
type LineRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Percent is how much of it is reached, 100 where there is nothing to reach.
func (c PolicyCoverage) Percent() float64 { return percent(c.Covered, c.Lines) }

func percent(covered, lines int) float64 {
	if lines == 0 {
		return 100
	}
	return 100 * float64(covered) / float64(lines)
}

// Percent is how much of the bundle's own policies its tests reach; shared Rego is not counted.
func (r *Report) Percent() float64 {
	covered, lines := 0, 0
	for _, c := range r.Coverage {
		covered, lines = covered+c.Covered, lines+c.Lines
	}
	return percent(covered, lines)
}

// cover counts the lines of the bundle's own Rego.
func (t *testRun) cover() {
	modules := t.bundle.OwnModules()
	policy := map[string]string{} // id by file
	for _, id := range t.bundle.OwnPolicies() {
		policy[t.bundle.Policies[id].File] = id
	}
	found := t.tracer.Report(modules)
	for file := range modules {
		if !t.included(file) {
			continue
		}
		one := coverageOf(file, found.Files[file])
		if one.Policy = policy[file]; one.Policy == "" {
			t.report.Shared = append(t.report.Shared, one)
		} else {
			t.report.Coverage = append(t.report.Coverage, one)
		}
	}
	byName := func(a, b PolicyCoverage) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.File, b.File))
	}
	slices.SortFunc(t.report.Coverage, byName)
	slices.SortFunc(t.report.Shared, byName)
}

func coverageOf(file string, found *cover.FileReport) PolicyCoverage {
	one := PolicyCoverage{File: file}
	if found == nil {
		return one
	}
	one.Covered, one.Lines = found.CoveredLines, found.CoveredLines+found.NotCoveredLines
	for _, r := range found.NotCovered {
		one.NotCovered = append(one.NotCovered, LineRange{From: r.Start.Row, To: r.End.Row})
	}
	one.NotCovered = joined(one.NotCovered)
	return one
}

// joined merges ranges that overlap or follow each other.
func joined(ranges []LineRange) []LineRange {
	slices.SortFunc(ranges, func(a, b LineRange) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	var all []LineRange
	for _, r := range ranges {
		if last := len(all) - 1; last >= 0 && r.From <= all[last].To+1 {
			all[last].To = max(all[last].To, r.To)
			continue
		}
		all = append(all, r)
	}
	return all
}
