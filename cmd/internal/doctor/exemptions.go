package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

func exemptions() Check {
	return Check{
		Name: "exemptions", About: "no namespace, object or request is exempt from the webhook beyond what Portcullis itself leaves out",
		Why:  "A selector or a match condition that was added by hand is a way past all policies, for everybody who can fulfil it.",
		look: lookAtExemptions,
	}
}

func lookAtExemptions(ctx context.Context, p *patient, r *Result) {
	now := p.seeConfigurations(ctx, r)
	if now == nil {
		return
	}
	known := p.ownConditions(now)
	entries := now.entries()
	for n := range entries {
		e := &entries[n]
		next := fmt.Sprintf("kubectl edit %s %s # take it out, unless you know who put it there and why", strings.ToLower(e.kind), e.configuration)
		if s := e.ObjectSelector; !sameSelector(s, nil) {
			r.problem(next, "%s has an object selector: whoever may label an object chooses whether it is judged", e.title())
		}
		if s := e.NamespaceSelector; !sameSelector(s, nil) && !byName(e) {
			r.problem(next, "%s selects namespaces by labels: whoever may label a namespace takes it out", e.title())
		}
		for _, c := range e.MatchConditions {
			switch expression, ok := known[c.Name]; {
			case !ok && !strings.HasPrefix(c.Name, "not-fails-closed"):
				r.problem(next, "%s has a match condition that is none of Portcullis's: %s: %s", e.title(), c.Name, c.Expression)
			case ok && expression != "" && expression != c.Expression:
				r.problem(next, "%s has a match condition %s that was changed: %s", e.title(), c.Name, c.Expression)
			}
		}
	}
	if len(r.Observations) == 0 && len(entries) > 0 {
		r.ok("%s; what is left out is what Portcullis itself leaves out: %s", number(len(entries), "entry", "entries"), several(configuration.Exemptions))
	}
	if len(entries) == 0 {
		r.unknown("portcullis doctor --only webhook-configuration", "There is no webhook configuration portcullis")
	}
}

// byName says whether an entry selects namespaces by their names, which nobody can change.
func byName(e *entry) bool {
	if len(e.NamespaceSelector.MatchLabels) > 0 {
		return false
	}
	for _, expression := range e.NamespaceSelector.MatchExpressions {
		if expression.Key != "kubernetes.io/metadata.name" || expression.Operator != "In" || !strings.Contains(e.Name, "-namespaces") {
			return false
		}
	}
	return true
}

// ownConditions are the match conditions that Portcullis makes, by name: those of a configuration for everything. "" is one whose expression
// depends on the nodes' namespaces, which are not known here.
func (p *patient) ownConditions(now *registered) map[string]string {
	own := map[string]string{}
	everything := []policies.Interest{
		{Group: "*", Resource: "*/*", Operation: "CREATE", Validates: true, Mutates: true, FailClosed: true},
		{Group: "", Resource: "pods", Operation: "CREATE", Validates: true, Mutates: true, FailClosed: true},
	}
	wanted, err := configuration.Compute(everything, p.place(now))
	if err != nil {
		return own
	}
	all := registered{wanted.Validating, wanted.Mutating}
	for _, e := range all.entries() {
		note(own, e.MatchConditions)
	}
	return own
}

func note(own map[string]string, conditions []admissionregistrationv1.MatchCondition) {
	for _, c := range conditions {
		own[c.Name] = c.Expression
		if strings.HasSuffix(c.Name, "recovery") || strings.HasPrefix(c.Name, "not-own-") || strings.HasPrefix(c.Name, "not-node-") && c.Name != "not-node-finishes-deletion" || c.Name == "not-containment" {
			own[c.Name] = ""
		}
	}
}
