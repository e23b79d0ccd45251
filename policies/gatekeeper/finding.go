package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

// Limits of what is taken from one constraint, as from any other policy.
const (
	maxFindings     = 100
	maxDetailsBytes = 16 << 10
)

// findings turns violations, a set of {msg, details}, into findings. One without a text for msg would go unseen in
// Gatekeeper; here it is an error, beside the others.
func (c *constraint) findings(violations ast.Value) ([]policies.Finding, error) {
	set, ok := violations.(ast.Set)
	if !ok {
		if violations == nil {
			return nil, errors.New("violation has no value: define it as a set, violation[{\"msg\": msg}]")
		}
		return nil, fmt.Errorf("violation is %s, not a set", ast.ValueName(violations))
	}
	var findings []policies.Finding
	var problems []error
	for n, element := range set.Slice() {
		if n == maxFindings {
			more := c.finding()
			more.Message = fmt.Sprintf("and %d more violations of this constraint", set.Len()-maxFindings)
			findings = append(findings, more)
			break
		}
		finding, err := c.read(element)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		findings = append(findings, finding)
	}
	return findings, errors.Join(problems...)
}

func (c *constraint) finding() policies.Finding {
	return policies.Finding{
		Policy: c.template.id, Instance: c.name, Title: c.title, Severity: c.severity,
		Effect: policies.EffectDeny, Remediation: c.remediation,
	}
}

func (c *constraint) read(violation *ast.Term) (policies.Finding, error) {
	finding := c.finding()
	object, ok := violation.Value.(ast.Object)
	if !ok {
		return finding, fmt.Errorf("a violation is %s, not {msg, details}", ast.ValueName(violation.Value))
	}
	message := object.Get(ast.StringTerm("msg"))
	if message == nil {
		return finding, errors.New("a violation has no msg")
	}
	text, ok := message.Value.(ast.String)
	if !ok {
		return finding, fmt.Errorf("the msg of a violation is %s, not a text", ast.ValueName(message.Value))
	}
	finding.Message = policies.Shorten(string(text))
	finding.Details = readDetails(object.Get(ast.StringTerm("details")))
	return finding, nil
}

// readDetails reads details that are an object and not too large; others are left out.
func readDetails(term *ast.Term) map[string]any {
	if term == nil {
		return nil
	}
	value, err := ast.JSON(term.Value)
	if err != nil {
		return nil
	}
	details, ok := value.(map[string]any)
	if !ok || len(details) == 0 {
		return nil
	}
	if raw, err := json.Marshal(details); err != nil || len(raw) > maxDetailsBytes {
		return nil
	}
	return details
}
