package rollout

import (
	"cmp"
	"math"
	"slices"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// Limits of a comparison; the schema of the custom resource has the same.
const (
	maxPolicies = 50
	maxSamples  = 3
	// maxMessage bounds what a sample says: there are up to 150 of them in an object that each replica reads.
	maxMessage = 512
)

// Tally adds up what all replicas saw of one candidate, those that are gone among them. The zero value is ready. It is for one
// goroutine.
type Tally struct {
	candidate string
	// seen is what each replica said last, by its name.
	seen map[string]*v1alpha1.Comparison
}

// Add takes the reports about a bundle and gives the sum. Reports about other candidates than this one do not count, and with a new
// candidate everything begins anew.
func (t *Tally) Add(bundle, candidate string, replicas []v1alpha1.PolicyReplica) *v1alpha1.Comparison {
	if candidate == "" {
		*t = Tally{}
		return nil
	}
	if t.candidate != candidate {
		*t = Tally{candidate: candidate, seen: map[string]*v1alpha1.Comparison{}}
	}
	for i := range replicas {
		for _, b := range replicas[i].Status.Bundles {
			if b.Name == bundle && b.Comparison != nil && b.Comparison.Candidate == candidate {
				t.seen[replicas[i].Name] = atLeast(b.Comparison, t.seen[replicas[i].Name])
			}
		}
	}
	sum := &v1alpha1.Comparison{Candidate: candidate}
	for _, name := range sortedNames(t.seen) {
		sum = merge(sum, t.seen[name], add)
	}
	return sum
}

// add stops at the largest number: a replica that reports nonsense makes no sum small.
func add(a, b int64) int64 {
	if a, b = max(a, 0), max(b, 0); a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func sortedNames(seen map[string]*v1alpha1.Comparison) []string {
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// atLeast is a comparison with no count below that of an earlier one about the same candidate.
func atLeast(now, before *v1alpha1.Comparison) *v1alpha1.Comparison {
	if before == nil || before.Candidate != now.Candidate {
		before = &v1alpha1.Comparison{Candidate: now.Candidate}
	}
	return merge(now, before, func(a, b int64) int64 { return max(a, b) })
}

// merge puts two comparisons together, count by count.
func merge(a, b *v1alpha1.Comparison, count func(a, b int64) int64) *v1alpha1.Comparison {
	merged := &v1alpha1.Comparison{
		Candidate: a.Candidate,
		Compared:  count(a.Compared, b.Compared), Shed: count(a.Shed, b.Shed),
		NewDenials: count(a.NewDenials, b.NewDenials), NewAdmissions: count(a.NewAdmissions, b.NewAdmissions),
	}
	policies := map[string]v1alpha1.PolicyComparison{}
	for _, p := range a.Policies {
		policies[p.Policy] = p
	}
	for _, p := range b.Policies {
		other := policies[p.Policy]
		policies[p.Policy] = v1alpha1.PolicyComparison{
			Policy:     p.Policy,
			NewDenials: count(other.NewDenials, p.NewDenials), NewAdmissions: count(other.NewAdmissions, p.NewAdmissions),
			Samples: newest(other.Samples, p.Samples),
		}
	}
	for _, p := range policies {
		merged.Policies = append(merged.Policies, bounded(p))
	}
	slices.SortFunc(merged.Policies, func(a, b v1alpha1.PolicyComparison) int {
		return cmp.Or(cmp.Compare(b.NewDenials+b.NewAdmissions, a.NewDenials+a.NewAdmissions), cmp.Compare(a.Policy, b.Policy))
	})
	merged.Policies = merged.Policies[:min(len(merged.Policies), maxPolicies)]
	return merged
}

// bounded keeps samples within the schema's limits.
func bounded(p v1alpha1.PolicyComparison) v1alpha1.PolicyComparison {
	p.Samples = newest(p.Samples, nil)
	p.Samples = p.Samples[:min(len(p.Samples), maxSamples)]
	for i := range p.Samples {
		p.Samples[i].Message = cut(p.Samples[i].Message, maxMessage)
	}
	return p
}

// newest are the newest of two lists of samples, each once.
func newest(a, b []v1alpha1.Sample) []v1alpha1.Sample {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(a, b v1alpha1.Sample) int { return b.Time.Compare(a.Time.Time) })
	return slices.CompactFunc(all, func(a, b v1alpha1.Sample) bool {
		return a.Time.Equal(&b.Time) && a.Resource == b.Resource && a.Namespace == b.Namespace && a.Name == b.Name && a.Message == b.Message
	})
}
