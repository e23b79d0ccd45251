package policies

import (
	"fmt"
	"slices"
	"testing"
)

func TestFaultsThatSayTheSameAreOneForPeople(t *testing.T) {
	unreadable := func(policy string) Fault { return Fault{Policy: policy, Kind: FaultInput, Message: "m"} }
	open := unreadable("a")
	open.FailMode = FailOpen
	for name, test := range map[string]struct {
		faults []Fault
		want   []string
	}{
		"none":                          {nil, nil},
		"one":                           {[]Fault{unreadable("a")}, []string{"a: unreadable input: m"}},
		"the same of three policies":    {[]Fault{unreadable("a"), unreadable("b"), unreadable("c")}, []string{"3 policies: unreadable input: m"}},
		"one policy in two instances":   {[]Fault{unreadable("a"), open}, []string{"a: unreadable input: m"}},
		"another message":               {[]Fault{unreadable("a"), {Policy: "b", Kind: FaultInput, Message: "n"}, unreadable("c")}, []string{"2 policies: unreadable input: m", "b: unreadable input: n"}},
		"another kind":                  {[]Fault{unreadable("a"), {Policy: "b", Kind: FaultPanic, Message: "m"}}, []string{"a: unreadable input: m", "b: panic: m"}},
		"one that is no policy's fault": {[]Fault{unreadable(""), unreadable("a"), unreadable("b")}, []string{": unreadable input: m", "2 policies: unreadable input: m"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(test.faults)
			var got []string
			for _, f := range CollapseFaults(test.faults) {
				got = append(got, fmt.Sprintf("%s: %s: %s", f.Policy, f.Kind, f.Message))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !slices.Equal(test.faults, before) {
				t.Errorf("the faults became %v, want them as they were", test.faults)
			}
		})
	}
}
