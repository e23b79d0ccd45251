package controller

import (
	"context"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// mostStatements is how many a status holds: the most important come first.
const mostStatements = 20

// judgement is what policies say of a sync.
type judgement struct {
	Admitted   bool
	Statements []v1alpha1.PolicyStatement
	// Bundles are the revisions that were asked.
	Bundles []string
	// Reason is "" where it is admitted; Message says who objects, and what to do.
	Reason  secrets.Reason
	Message string
}

// judge asks the policies. An error is of an object that does not encode.
func (c *Controller) judge(ctx context.Context, sync *secrets.Sync, object any) (judgement, error) {
	request, err := inquiry.NewRequest(sync, object, c.o.Namespace)
	if err != nil {
		return judgement{}, err
	}
	verdict := c.o.Judge.Sync(ctx, request)
	c.o.Record(ctx, request, verdict)
	made := judgementOf(&verdict)
	if !made.Admitted {
		c.metrics.denied(sync.Vault.Engine, made.Reason)
	}
	return made, nil
}

func judgementOf(verdict *admission.Verdict) judgement {
	made := judgement{Admitted: verdict.Admitted}
	if verdict.Bundle != "" {
		for _, bundle := range strings.Split(verdict.Bundle, ", ") {
			made.Bundles = append(made.Bundles, cut(bundle, 256))
		}
	}
	var objections []string
	for n := range verdict.Findings {
		finding := &verdict.Findings[n]
		effect := ""
		switch {
		case admission.Denies(*finding):
			effect = "deny"
			text := finding.Message
			if finding.Policy != "" {
				text = finding.Policy + ": " + text
			}
			if finding.Remediation != "" {
				text += " (" + finding.Remediation + ")"
			}
			objections = append(objections, text)
		case admission.Warns(*finding):
			effect = "warn"
		default:
			continue
		}
		made.say(v1alpha1.PolicyStatement{Policy: finding.Policy, Bundle: finding.Bundle, Effect: effect, Message: finding.Message, Remediation: finding.Remediation})
	}
	var faults []string
	for _, fault := range verdict.Faults {
		made.say(v1alpha1.PolicyStatement{Policy: fault.Policy, Bundle: fault.Bundle, Effect: "fault", Message: string(fault.Kind) + ": " + fault.Message})
		faults = append(faults, strings.TrimPrefix(fault.Policy+": "+string(fault.Kind), ": "))
	}
	for _, undecided := range verdict.Undecided {
		made.say(v1alpha1.PolicyStatement{Policy: undecided.Policy, Bundle: undecided.Bundle, Effect: "fault", Message: undecided.Reason})
		faults = append(faults, strings.TrimPrefix(undecided.Policy+": "+undecided.Reason, ": "))
	}
	for n := range verdict.Permits {
		if permit := &verdict.Permits[n]; permit.Counts() {
			made.say(v1alpha1.PolicyStatement{Policy: permit.Policy, Bundle: permit.Bundle, Effect: string(policies.EffectAllowSync), Message: permit.Message})
		}
	}
	switch {
	case verdict.Admitted:
	case len(objections) > 0:
		made.Reason, made.Message = secrets.Denied, listed(objections)
	case len(faults) > 0:
		made.Reason, made.Message = secrets.Undecided, "policies could not be evaluated, which allows nothing; it is tried again: "+listed(faults)
	default:
		made.Reason, made.Message = secrets.Denied, "no policy allows it: a policy with an allow_sync rule has to; see which there are by portcullis secrets why"
	}
	return made
}

func (j *judgement) say(statement v1alpha1.PolicyStatement) {
	if len(j.Statements) == mostStatements {
		return
	}
	statement.Message, statement.Remediation = cut(statement.Message, 512), cut(statement.Remediation, 512)
	j.Statements = append(j.Statements, statement)
}

// listed is the first three of some texts.
func listed(texts []string) string {
	if len(texts) > 3 {
		return strings.Join(texts[:3], "; ") + fmt.Sprintf("; and %d more in status.policies", len(texts)-3)
	}
	return strings.Join(texts, "; ")
}
