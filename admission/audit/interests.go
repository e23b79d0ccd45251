package audit

import (
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// Interests are the resources that policies of a lineup are about, those that judge objects that exist: what an audit has to
// list.
func Interests(lineup *admission.Lineup) []policies.Interest {
	return merged(lineup, func(judge admission.Judge) []policies.Interest {
		if engine, ok := judge.(*policies.Engine); ok {
			return engine.Audited()
		}
		return judge.Interests("")
	})
}

// ImageInterests are those of Interests that are judged by what is known of images.
func ImageInterests(lineup *admission.Lineup) []policies.Interest {
	return merged(lineup, func(judge admission.Judge) []policies.Interest {
		if engine, ok := judge.(*policies.Engine); ok {
			return engine.AuditedByImages()
		}
		return nil
	})
}

// ReadInterests are those of Interests that are judged by reading other objects of a resource.
func ReadInterests(lineup *admission.Lineup, group, resource string) []policies.Interest {
	return merged(lineup, func(judge admission.Judge) []policies.Interest {
		if engine, ok := judge.(*policies.Engine); ok {
			return engine.AuditedBy(group, resource)
		}
		return nil
	})
}

// ChangedInterests are the resources about whose objects a lineup may say something else than the one before. A bundle that is
// the same, down to the digest, has none.
func ChangedInterests(before, after *admission.Lineup) []policies.Interest {
	var all [][]policies.Interest
	was := map[string]*admission.Member{}
	for n := range before.Members {
		was[before.Members[n].Active.Bundle] = &before.Members[n]
	}
	for n := range after.Members {
		member := &after.Members[n]
		old := was[member.Active.Bundle]
		delete(was, member.Active.Bundle)
		switch {
		case old == nil:
			all = append(all, of(member))
		case member.Candidate != nil || old.Candidate != nil:
			// Whose verdict counts where is not known from outside: all that either says.
			if member.Active.Digest != old.Active.Digest || digest(member.Candidate) != digest(old.Candidate) || member.Enforced != nil || old.Enforced != nil {
				all = append(all, of(member), of(old))
			}
		case member.Active.Digest != old.Active.Digest:
			all = append(all, changed(&old.Active, &member.Active))
		}
	}
	for _, gone := range was {
		all = append(all, of(gone))
	}
	return policies.MergeInterests(all...)
}

func digest(ready *admission.Ready) string {
	if ready == nil {
		return ""
	}
	return ready.Digest
}

func of(member *admission.Member) []policies.Interest {
	return Interests(&admission.Lineup{Members: []admission.Member{*member}})
}

// changed compares two revisions of a bundle: policy by policy where it has nothing but its own.
func changed(before, after *admission.Ready) []policies.Interest {
	if len(before.Judges) == 1 && len(after.Judges) == 1 {
		old, ok := before.Judges[0].(*policies.Engine)
		now, also := after.Judges[0].(*policies.Engine)
		if ok && also {
			return now.AuditedSince(old)
		}
	}
	return policies.MergeInterests(of(&admission.Member{Active: *before}), of(&admission.Member{Active: *after}))
}

// NextRamp is when a ramp of a bundle rises next, zero where none does after now.
func NextRamp(lineup *admission.Lineup, now time.Time) time.Time {
	var next time.Time
	merged(lineup, func(judge admission.Judge) []policies.Interest {
		if engine, ok := judge.(*policies.Engine); ok {
			if at := engine.NextRamp(now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		return nil
	})
	return next
}

// merged asks all judges of a lineup, both sides of each member.
func merged(lineup *admission.Lineup, ask func(admission.Judge) []policies.Interest) []policies.Interest {
	var all [][]policies.Interest
	for n := range lineup.Members {
		for _, ready := range []*admission.Ready{&lineup.Members[n].Active, lineup.Members[n].Candidate} {
			if ready == nil {
				continue
			}
			for _, judge := range ready.Judges {
				all = append(all, ask(judge))
			}
		}
	}
	return policies.MergeInterests(all...)
}
