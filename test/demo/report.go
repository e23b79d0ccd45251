package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// outcome is a case with the answers of both doors.
type outcome struct {
	demoCase
	live, gate answer
	problem    error // the case is not as expected
}

// report prints a table of verdicts and then each reason. live is what the first door
// is called.
func report(w io.Writer, live string, outcomes []outcome) error {
	table := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintf(table, "\nMANIFEST\tWHAT IT IS\t%s\tGATE\tAS EXPECTED\n", strings.ToUpper(live))
	for _, o := range outcomes {
		expected := "yes"
		if o.problem != nil {
			expected = "NO"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", o.file, o.what, o.live.word(), o.gate.word(), expected)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	wrong := 0
	for _, o := range outcomes {
		fmt.Fprintf(w, "\n%s: %s\n", o.file, o.live.word())
		for _, reason := range o.live.reasons {
			fmt.Fprintf(w, "  - %s at %s: %s\n", reason.policy, reason.path, reason.message)
		}
		if o.live.admitted {
			for _, change := range o.live.patched {
				fmt.Fprintf(w, "  + %s: %s\n", change.path, change.value)
			}
		}
		if o.problem != nil {
			fmt.Fprintf(w, "  ! not as expected: %v\n", o.problem)
			wrong++
		}
	}
	if wrong > 0 {
		fmt.Fprintf(w, "\n%d of %d verdicts are not as expected.\n", wrong, len(outcomes))
		return nil
	}
	fmt.Fprintf(w, "\nAll %d verdicts are as expected, and %s and gate agree, word for word.\n", len(outcomes), live)
	return nil
}

func (a answer) word() string {
	switch {
	case !a.admitted:
		return "denied"
	case len(a.patched) > 0:
		return "admitted, patched"
	}
	return "admitted"
}
