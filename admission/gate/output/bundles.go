package output

import (
	"slices"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// qualifying names the bundle of each policy in front of it, where several judge together, for formats that have no field
// for it: "acme:pods/privileged".
type qualifying struct{ gate.Handler }

// Result implements [gate.Handler].
func (q qualifying) Result(result gate.Result) error {
	if !bundled(&result) {
		return q.Handler.Result(result)
	}
	result.Findings, result.Faults, result.Undecided = slices.Clone(result.Findings), slices.Clone(result.Faults), slices.Clone(result.Undecided)
	for n := range result.Findings {
		finding := &result.Findings[n]
		if finding.Instance == finding.Policy {
			finding.Instance = ""
		}
		finding.Policy = gate.Qualified(finding.Bundle, finding.Policy)
	}
	for n := range result.Faults {
		result.Faults[n].Policy = gate.Qualified(result.Faults[n].Bundle, result.Faults[n].Policy)
	}
	for n := range result.Undecided {
		result.Undecided[n].Policy = gate.Qualified(result.Undecided[n].Bundle, result.Undecided[n].Policy)
	}
	return q.Handler.Result(result)
}

// bundled says whether anything in a result names its bundle.
func bundled(result *gate.Result) bool {
	for n := range result.Findings {
		if result.Findings[n].Bundle != "" {
			return true
		}
	}
	for n := range result.Faults {
		if result.Faults[n].Bundle != "" {
			return true
		}
	}
	for n := range result.Undecided {
		if result.Undecided[n].Bundle != "" {
			return true
		}
	}
	return false
}
