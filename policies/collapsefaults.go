package policies

import (
	"fmt"
	"slices"
)

// CollapseFaults joins faults of several policies that say the same of one object, as where
// none of them can read it, into one whose Policy is their number: "13 policies". It is for
// people; reports for programs name each policy.
func CollapseFaults(faults []Fault) []Fault {
	type cause struct {
		kind    FaultKind
		message string
	}
	var collapsed []Fault
	place := map[cause]int{}
	blamed := map[cause][]string{}
	for _, fault := range faults {
		if fault.Policy == "" {
			collapsed = append(collapsed, fault)
			continue
		}
		c := cause{fault.Kind, fault.Message}
		if len(blamed[c]) == 0 {
			place[c] = len(collapsed)
			collapsed = append(collapsed, fault)
		}
		if !slices.Contains(blamed[c], fault.Policy) {
			blamed[c] = append(blamed[c], fault.Policy)
		}
	}
	for c, names := range blamed {
		if len(names) > 1 {
			collapsed[place[c]].Policy = fmt.Sprintf("%d policies", len(names))
		}
	}
	return collapsed
}
