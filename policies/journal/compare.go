package journal

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// Stance is what a policy makes of a request.
type Stance string

// The stances, from the one that matters most.
const (
	StanceDenies        Stance = "denies"
	StanceFails         Stance = "fails"         // a fault, or facts that are missing, denies
	StanceResponds      Stance = "responds"      // it takes actions because of an event
	StanceNotReplayable Stance = "notReplayable" // it reads what was not recorded
	StanceWarns         Stance = "warns"
	StanceRecords       Stance = "records" // findings that nobody is told of
	StanceWaived        Stance = "waived"  // by an exception
	StanceSilent        Stance = "silent"
)

var stances = []Stance{StanceDenies, StanceFails, StanceResponds, StanceNotReplayable, StanceWarns, StanceRecords, StanceWaived, StanceSilent}

// objects says whether a request is refused because of a policy.
func (s Stance) objects() bool { return s == StanceDenies || s == StanceFails }

// view is what a policy says of a request.
type view struct {
	stance Stance
	// message and path are those of the first finding or fault of that stance.
	message, path string
	// said is all that it says, sorted.
	said []string
}

// take lets the more important stance win.
func (v *view) take(stance Stance, message, path string) {
	if v.stance == "" || slices.Index(stances, stance) < slices.Index(stances, v.stance) {
		v.stance, v.message, v.path = stance, message, path
	}
	v.said = append(v.said, string(stance)+" "+path+": "+message)
}

// views are what all policies say that say anything, by name.
func views(v *Verdict) map[string]*view {
	all := map[string]*view{}
	of := func(policy string) *view {
		if all[policy] == nil {
			all[policy] = &view{}
		}
		return all[policy]
	}
	for n := range v.Findings {
		finding := &v.Findings[n]
		of(qualified(finding.Bundle, cmp.Or(finding.Instance, finding.Policy))).take(stanceOf(finding), finding.Message, finding.Path)
	}
	for n := range v.Faults {
		fault := &v.Faults[n]
		stance := StanceWarns
		switch {
		case faultLeftOpen(fault):
			stance = StanceNotReplayable
		case admission.FaultDenies(*fault):
			stance = StanceFails
		}
		of(qualified(fault.Bundle, fault.Policy)).take(stance, string(fault.Kind)+": "+fault.Message, "")
	}
	for n := range v.Undecided {
		open := &v.Undecided[n]
		stance := StanceWarns
		switch {
		case leftOpen(open.Reason):
			stance = StanceNotReplayable
		case admission.UndecidedCounts(*open):
			stance = StanceFails
		}
		of(qualified(open.Bundle, open.Policy)).take(stance, open.Reason, open.Path)
	}
	for n := range v.Responses {
		asked := &v.Responses[n]
		of(qualified(asked.Bundle, cmp.Or(asked.Instance, asked.Policy))).take(stanceOfResponse(asked), string(asked.Action)+": "+asked.Message, "")
	}
	for _, one := range all {
		slices.Sort(one.said)
	}
	return all
}

func faultLeftOpen(f *policies.Fault) bool {
	return f.Kind == policies.FaultFacts && leftOpen(f.Message)
}

// qualified names a policy with its bundle, where several judge.
func qualified(bundle, policy string) string {
	if bundle == "" {
		return policy
	}
	return bundle + ":" + policy
}

func stanceOf(f *policies.Finding) Stance {
	switch {
	case f.ExceptedBy != "":
		return StanceWaived
	case admission.Denies(*f):
		return StanceDenies
	case admission.Warns(*f):
		return StanceWarns
	}
	return StanceRecords
}

func stanceOfResponse(r *policies.Response) Stance {
	switch {
	case r.ExceptedBy != "":
		return StanceWaived
	case r.Enforcement == policies.EnforceDeny:
		return StanceResponds
	case r.Enforcement == policies.EnforceWarn:
		return StanceWarns
	}
	return StanceRecords
}

// answer is what a verdict amounts to, as far as it is known.
type answer int

const (
	answerUnknown answer = iota // it depends on a policy that is not replayable
	answerAdmitted
	answerDenied
)

// answerOf adds up without what is not replayable: what objects anyway denies, whatever that would have said.
func answerOf(v *Verdict) answer {
	open := false
	for n := range v.Findings {
		if admission.Denies(v.Findings[n]) {
			return answerDenied
		}
	}
	for n := range v.Faults {
		switch {
		case !admission.FaultDenies(v.Faults[n]):
		case faultLeftOpen(&v.Faults[n]):
			open = true
		default:
			return answerDenied
		}
	}
	for n := range v.Undecided {
		switch {
		case !admission.UndecidedCounts(v.Undecided[n]):
		case leftOpen(v.Undecided[n].Reason):
			open = true
		default:
			return answerDenied
		}
	}
	switch {
	case open:
		return answerUnknown
	case !v.Admitted:
		return answerDenied // for a reason that nobody gave
	}
	return answerAdmitted
}

// Effect is what becomes of a decision.
type Effect string

// The effects.
const (
	EffectNone          Effect = "unchanged"
	EffectNewlyDenied   Effect = "newlyDenied"
	EffectNewlyAdmitted Effect = "newlyAdmitted"
	// EffectChanged is the same answer for other reasons, or with other warnings or patches.
	EffectChanged Effect = "changed"
	// EffectNotReplayable is a decision whose answer cannot be told.
	EffectNotReplayable Effect = "notReplayable"
)

// PolicyChange is a policy that says something else of a request.
type PolicyChange struct {
	Policy string `json:"policy"`
	Before Stance `json:"before"`
	After  Stance `json:"after"`
	// Message and Path are those of the side that objects, of the later one if both do.
	Message string `json:"message,omitempty"`
	Path    string `json:"path,omitempty"`
}

// open says that it cannot be told whether the policy says something else.
func (c *PolicyChange) open() bool {
	return c.Before == StanceNotReplayable || c.After == StanceNotReplayable
}

// compare says what becomes of a decision, and because of which policies.
func compare(before, after *Verdict) (Effect, []PolicyChange) {
	changes := changesOf(views(before), views(after))
	from, to := answerOf(before), answerOf(after)
	switch {
	case from == answerUnknown || to == answerUnknown:
		return EffectNotReplayable, changes
	case from == answerAdmitted && to == answerDenied:
		return EffectNewlyDenied, changes
	case from == answerDenied && to == answerAdmitted:
		return EffectNewlyAdmitted, changes
	case slices.ContainsFunc(changes, func(c PolicyChange) bool { return !c.open() }) || !bytes.Equal(before.Patch, after.Patch):
		return EffectChanged, changes
	case len(changes) > 0: // only of warnings it cannot be told
		return EffectNotReplayable, changes
	}
	return EffectNone, nil
}

func changesOf(before, after map[string]*view) []PolicyChange {
	names := slices.Collect(maps.Keys(before))
	for name := range after {
		if before[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	silent := &view{stance: StanceSilent}
	var changes []PolicyChange
	for _, name := range names {
		from, to := cmp.Or(before[name], silent), cmp.Or(after[name], silent)
		left := from.stance == StanceNotReplayable || to.stance == StanceNotReplayable
		if from.stance == to.stance && slices.Equal(from.said, to.said) && !left {
			continue
		}
		told := to
		if to.stance == StanceSilent || from.stance == StanceNotReplayable {
			told = from
		}
		changes = append(changes, PolicyChange{Policy: name, Before: from.stance, After: to.stance, Message: told.message, Path: told.path})
	}
	return changes
}
