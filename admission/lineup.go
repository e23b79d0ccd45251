package admission

import (
	"github.com/portcullis-dev/portcullis/policies"
)

// Lineup are the bundles that judge, together: a request is admitted if none of them objects. It is immutable;
// to change anything install another one. The empty lineup judges nothing, and denies.
type Lineup struct {
	Members []Member
	// Exceptions are those that the cluster grants. Each bundle takes those that it allows.
	Exceptions []policies.Exception
}

// Member is one bundle of a lineup, with the revision that is active and, while another one is tried, that.
type Member struct {
	Active Ready
	// Candidate is the revision on trial, nil for none.
	Candidate *Ready
	// Enforced says in which namespaces the candidate's verdict counts, instead of that of the active revision; ""
	// stands for objects without a namespace. Nil is nowhere: the candidate is only compared.
	Enforced func(namespace string) bool
	// Namespaces says which namespaces a tenant's bundle judges. Nil is all of them, and objects without one. The Namespace
	// objects themselves it judges, too, and patches none.
	Namespaces func(namespace string) bool
	// Refuses says that it stands in for a bundle that could not be loaded: what that one is about is not known.
	Refuses bool
}

// Solo is a lineup of one engine.
func Solo(engine *policies.Engine) *Lineup {
	return &Lineup{Members: []Member{{Active: ReadyEngine(engine)}}}
}

// concerns says whether a member judges a request at all. Whose a Namespace will be that the API server has yet to name is not
// known before its object is looked at: until then it may be any tenant's.
func (m *Member) concerns(request *Request) bool {
	return m.Namespaces == nil || isNamespace(request) && request.Name == "" && len(request.Object)+len(request.OldObject) == 0 || m.Namespaces(request.Scope())
}

func isNamespace(request *Request) bool {
	return request.Resource.Group == "" && request.Resource.Resource == "namespaces"
}

// mutates says whether patches of a member count for a request that concerns it. Those of a tenant do not for a Namespace,
// not even his own: its labels say what other bundles, and the API server's Pod Security, demand of what is in it.
func (m *Member) mutates(request *Request) bool {
	return m.Namespaces == nil || !isNamespace(request)
}

// sides are the revision whose verdict counts for a request, and the one that is only compared, nil for none.
func (m *Member) sides(request *Request) (enforced, compared *Ready) {
	if m.Candidate == nil {
		return &m.Active, nil
	}
	if m.Enforced != nil && m.Enforced(request.Scope()) {
		return m.Candidate, &m.Active
	}
	return &m.Active, m.Candidate
}

// matches says whether any judge that could count for a request wants it.
func (l *Lineup) matches(request *Request) bool {
	for n := range l.Members {
		member := &l.Members[n]
		if !member.concerns(request) {
			continue
		}
		if enforced, compared := member.sides(request); enforced.matches(request) || compared != nil && compared.matches(request) {
			return true
		}
	}
	return len(l.Members) == 0 // nobody can judge it: it is denied
}

// interests are those of all members, both sides of each.
func (l *Lineup) interests(profile string) []policies.Interest {
	var all [][]policies.Interest
	for n := range l.Members {
		member := &l.Members[n]
		for _, ready := range []*Ready{&member.Active, member.Candidate} {
			if ready == nil {
				continue
			}
			for _, judge := range ready.Judges {
				all = append(all, judge.Interests(profile))
			}
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return policies.MergeInterests(all...)
}

// only is the judge of a lineup that has a single one, so that the common case costs nothing.
func (l *Lineup) only() (Judge, *Ready) {
	if len(l.Members) != 1 {
		return nil, nil
	}
	member := &l.Members[0]
	if member.Candidate != nil || member.Namespaces != nil || len(member.Active.Judges) != 1 {
		return nil, nil
	}
	return member.Active.Judges[0], &member.Active
}
