package admission

import (
	"context"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
)

// Comparison is what the two revisions of a bundle say of one request, as far as they differ in what they enforce.
type Comparison struct {
	Bundle            string
	Active, Candidate string // digests
	// ActiveDenies and CandidateDenies say how each of the two answers the request as a whole.
	ActiveDenies, CandidateDenies bool
	Differences                   []Difference
}

// Difference is a policy because of which one revision denies what the other one admits as far as this policy goes.
type Difference struct {
	// Policy is the id of the policy, or the kind of a fault that is nobody's.
	Policy string
	// NewDenial is true where the candidate denies and the active revision does not; otherwise it is the other way round.
	NewDenial bool
	// Message is that of the finding or fault.
	Message string
}

// NewDenial says whether the candidate denies what the active revision admits. Where the active one denies for another
// reason a policy of the candidate may still be new: see Differences.
func (c *Comparison) NewDenial() bool { return c.CandidateDenies && !c.ActiveDenies }

// NewAdmission says whether the candidate admits what the active revision denies.
func (c *Comparison) NewAdmission() bool { return c.ActiveDenies && !c.CandidateDenies }

// Trial is a bundle with a revision on trial, by which a request could be compared.
type Trial struct {
	Bundle            string
	Active, Candidate string // digests
}

// Trials are the bundles on trial, of the lineup that a verdict is of, that judge a request: those that [Reviewer.Compare]
// compares. It costs next to nothing where no revision is on trial.
func (v Verdict) Trials(request *Request) []Trial {
	if v.lineup == nil {
		return nil
	}
	var trials []Trial
	for n := range v.lineup.Members {
		if member := &v.lineup.Members[n]; member.compares(request) {
			trials = append(trials, member.trial())
		}
	}
	return trials
}

// compares says whether one side of a trial is about a request.
func (m *Member) compares(request *Request) bool {
	return m.Candidate != nil && m.concerns(request) && (m.Active.matches(request) || m.Candidate.matches(request))
}

func (m *Member) trial() Trial {
	return Trial{Bundle: m.Active.Bundle, Active: m.Active.Digest, Candidate: m.Candidate.Digest}
}

// Trials are the bundles of a lineup with a revision on trial.
func (l *Lineup) Trials() []Trial {
	var trials []Trial
	for n := range l.Members {
		if l.Members[n].Candidate != nil {
			trials = append(trials, l.Members[n].trial())
		}
	}
	return trials
}

// Compare lets the other side of each bundle on trial judge a request that was answered by a verdict, and says where
// the two differ. It judges by the lineup that the verdict is of, asks for facts as any review does, and is for
// after the answer: what it finds changes no verdict. There is one comparison for each of [Verdict.Trials], also where the
// two say the same. Where ctx ends meanwhile a side may have failed because of that: what is returned then means nothing.
func (r *Reviewer) Compare(ctx context.Context, request Request, verdict Verdict) []Comparison {
	lineup := verdict.lineup
	if lineup == nil {
		return nil
	}
	r.choose(&request)
	var comparisons []Comparison
	for n := range lineup.Members {
		member := &lineup.Members[n]
		if !member.compares(&request) {
			continue
		}
		enforced, compared := member.sides(&request)
		before := stanceOf(verdict.Parts, enforced)
		after := stanceOf(r.askSide(ctx, lineup, compared, &request), compared)
		if enforced == member.Candidate {
			before, after = after, before
		}
		comparisons = append(comparisons, Comparison{
			Bundle: member.Active.Bundle, Active: member.Active.Digest, Candidate: member.Candidate.Digest,
			ActiveDenies: len(before) > 0, CandidateDenies: len(after) > 0,
			Differences: differences(before, after),
		})
	}
	return comparisons
}

// askSide asks one revision, one judge after the other: nobody waits for it.
func (r *Reviewer) askSide(ctx context.Context, lineup *Lineup, ready *Ready, request *Request) []Part {
	var parts []Part
	now := r.now()
	for _, judge := range ready.Judges {
		if judge.Matches(request) {
			part := Part{Ready: ready}
			r.ask(ctx, judge, request, lineup, now, policies.PhaseValidate, &part)
			parts = append(parts, part)
		}
	}
	return parts
}

// stanceOf are the policies because of which a revision denies, with what the first finding of each says.
func stanceOf(parts []Part, ready *Ready) map[string]string {
	stance := map[string]string{}
	deny := func(policy, message string) {
		if _, known := stance[policy]; !known {
			stance[policy] = message
		}
	}
	for n := range parts {
		if parts[n].Ready != ready {
			continue
		}
		result := &parts[n].Result
		for _, finding := range result.Findings {
			if Denies(finding) {
				deny(finding.Policy, finding.Message)
			}
		}
		for _, fault := range result.Faults {
			if FaultDenies(fault) {
				deny(policyOr(fault.Policy, string(fault.Kind)), fault.Message)
			}
		}
		for _, undecided := range result.Undecided {
			if UndecidedCounts(undecided) {
				deny(undecided.Policy, undecided.Reason)
			}
		}
	}
	return stance
}

func policyOr(policy, otherwise string) string {
	if policy != "" {
		return policy
	}
	return otherwise
}

func differences(before, after map[string]string) []Difference {
	var found []Difference
	for policy, message := range after {
		if _, also := before[policy]; !also {
			found = append(found, Difference{Policy: policy, NewDenial: true, Message: message})
		}
	}
	for policy, message := range before {
		if _, also := after[policy]; !also {
			found = append(found, Difference{Policy: policy, Message: message})
		}
	}
	slices.SortFunc(found, compareDifferences)
	return found
}

func compareDifferences(a, b Difference) int { return strings.Compare(a.Policy, b.Policy) }
