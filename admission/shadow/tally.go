package shadow

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of what is told of a trial: it is kept in an object of the cluster, one for each replica.
const (
	maxPolicies = 50
	maxSamples  = 3
	maxMessage  = 512 // runes of a sample's message
)

// tally is what was seen of one trial.
type tally struct {
	compared, shed            int64
	newDenials, newAdmissions int64
	policies                  map[string]*policyTally
}

// policyTally is how often one policy is why. Denials are what a candidate is judged by: their samples come first.
type policyTally struct {
	newDenials, newAdmissions int64
	denials, admissions       []v1alpha1.Sample
}

func newTally() *tally { return &tally{policies: map[string]*policyTally{}} }

// add counts a comparison.
func (t *tally) add(c *admission.Comparison, request *admission.Request, now time.Time) {
	t.compared++
	if c.NewDenial() {
		t.newDenials++
	}
	if c.NewAdmission() {
		t.newAdmissions++
	}
	for _, difference := range c.Differences {
		policy := t.policies[difference.Policy]
		if policy == nil {
			policy = &policyTally{}
			t.policies[difference.Policy] = policy
		}
		sample := sampleOf(request, difference.Message, now)
		if difference.NewDenial {
			policy.newDenials++
			policy.denials = addSample(policy.denials, sample)
		} else {
			policy.newAdmissions++
			policy.admissions = addSample(policy.admissions, sample)
		}
	}
}

// notShown stands for what a policy says of a Secret: whoever may read PolicyBundles may read samples, and a message can repeat
// what it is about.
const notShown = "(not shown: it is about a Secret)"

// sampleOf says which request it was, and nothing of its objects.
func sampleOf(request *admission.Request, message string, now time.Time) v1alpha1.Sample {
	resource := request.Resource.Resource
	if request.Resource.Group != "" {
		resource += "." + request.Resource.Group
	}
	if request.SubResource != "" {
		resource += "/" + request.SubResource
	}
	if resource == "secrets" {
		message = notShown
	}
	return v1alpha1.Sample{
		Operation: request.Operation, Resource: resource, Namespace: request.Namespace, Name: request.Name,
		Message: clean(message), Time: metav1.NewTime(now),
	}
}

// addSample keeps the first few that are not alike: a controller that tries again would be all of them.
func addSample(samples []v1alpha1.Sample, sample v1alpha1.Sample) []v1alpha1.Sample {
	if len(samples) == maxSamples {
		return samples
	}
	for _, known := range samples {
		known.Time = sample.Time
		if known == sample {
			return samples
		}
	}
	return append(samples, sample)
}

// clean keeps a message on a line, and bounded.
func clean(message string) string {
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, message)
	if utf8.RuneCountInString(message) <= maxMessage {
		return message
	}
	return string([]rune(message)[:maxMessage-1]) + "…"
}

// comparison is the tally as the cluster keeps it.
func (t *tally) comparison(candidate string) *v1alpha1.Comparison {
	c := &v1alpha1.Comparison{
		Candidate: candidate, Compared: t.compared, Shed: t.shed,
		NewDenials: t.newDenials, NewAdmissions: t.newAdmissions,
	}
	for name, policy := range t.policies {
		samples := slices.Concat(policy.denials, policy.admissions)
		c.Policies = append(c.Policies, v1alpha1.PolicyComparison{
			Policy: name, NewDenials: policy.newDenials, NewAdmissions: policy.newAdmissions,
			Samples: samples[:min(len(samples), maxSamples)],
		})
	}
	slices.SortFunc(c.Policies, func(a, b v1alpha1.PolicyComparison) int {
		return cmp.Or(cmp.Compare(b.NewDenials+b.NewAdmissions, a.NewDenials+a.NewAdmissions), cmp.Compare(a.Policy, b.Policy))
	})
	c.Policies = c.Policies[:min(len(c.Policies), maxPolicies)]
	return c
}
