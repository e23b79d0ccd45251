package admission

import (
	"strings"
)

// Judges are those whose verdict counts for a request, of all bundles of the lineup, and that are about it.
func (l *Lineup) Judges(request *Request) []Judge {
	if judge, _ := l.only(); judge != nil {
		return []Judge{judge}
	}
	var judges []Judge
	for n := range l.Members {
		member := &l.Members[n]
		if !member.concerns(request) {
			continue
		}
		enforced, _ := member.sides(request)
		for _, judge := range enforced.Judges {
			if judge.Matches(request) {
				judges = append(judges, judge)
			}
		}
	}
	return judges
}

// Select is the lineup with other judges in the place of its own, those left out for which choose gives nil.
func (l *Lineup) Select(choose func(Judge) Judge) *Lineup {
	selected := &Lineup{Exceptions: l.Exceptions}
	ready := func(r Ready) Ready {
		var judges []Judge
		for _, judge := range r.Judges {
			if chosen := choose(judge); chosen != nil {
				judges = append(judges, chosen)
			}
		}
		r.Judges = judges
		return r
	}
	for _, member := range l.Members {
		member.Active = ready(member.Active)
		if member.Candidate != nil {
			candidate := ready(*member.Candidate)
			member.Candidate = &candidate
		}
		selected.Members = append(selected.Members, member)
	}
	return selected
}

// String names the active revisions for people.
func (l *Lineup) String() string {
	var names []string
	for n := range l.Members {
		names = append(names, l.Members[n].Active.Revision)
	}
	return strings.Join(names, ", ")
}
