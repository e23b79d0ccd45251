package conftest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

// Limits of what is taken from one rule, as from a policy of a bundle.
const (
	maxFindings     = 100
	maxDetailsBytes = 16 << 10
)

// Severities of findings. Conftest knows no more than failures and warnings.
const (
	failureSeverity = "high"
	warningSeverity = "medium"
)

// findings are what a rule objects to: a set or list of texts, or of objects with msg, nil for a rule that is not defined.
func (r *rule) findings(value ast.Value) ([]policies.Finding, error) {
	elements, err := elementsOf(value)
	if err != nil {
		return nil, fmt.Errorf("the rule %w", err)
	}
	var findings []policies.Finding
	var problems []error
	for n, element := range elements {
		if n == maxFindings {
			more := r.finding()
			more.Message = fmt.Sprintf("and %d more findings of this rule", len(elements)-maxFindings)
			return append(findings, more), errors.Join(problems...)
		}
		finding, err := r.read(element)
		switch {
		case err != nil:
			problems = append(problems, err)
		case finding.Message != "": // Conftest takes an empty message for none
			findings = append(findings, finding)
		}
	}
	return findings, errors.Join(problems...)
}

func elementsOf(value ast.Value) ([]*ast.Term, error) {
	var elements []*ast.Term
	take := func(element *ast.Term) { elements = append(elements, element) }
	switch value := value.(type) {
	case nil:
	case ast.Set:
		value.Sorted().Foreach(take)
	case *ast.Array:
		value.Foreach(take)
	case ast.Null:
	default:
		return nil, fmt.Errorf("gave a value of type %s: it has to give a set or a list of messages", ast.ValueName(value))
	}
	return elements, nil
}

func (r *rule) finding() policies.Finding {
	severity := failureSeverity
	if r.effect == policies.EffectWarn {
		severity = warningSeverity
	}
	return policies.Finding{Policy: r.id, Title: r.title, Severity: severity, Effect: r.effect, Enforcement: r.enforcement()}
}

// read takes one element. What an object has beside msg and _loc are details.
func (r *rule) read(element *ast.Term) (policies.Finding, error) {
	finding := r.finding()
	if text, ok := element.Value.(ast.String); ok {
		finding.Message = shorten(string(text))
		return finding, nil
	}
	value, err := ast.JSON(element.Value)
	if err != nil {
		return finding, fmt.Errorf("reading a result: %w", err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return finding, fmt.Errorf("a result is of type %s: it has to be a text, or an object with msg", ast.ValueName(element.Value))
	}
	message, ok := object["msg"].(string)
	if !ok {
		return finding, errors.New("a result has no msg that is a text")
	}
	finding.Message = shorten(message)
	delete(object, "msg")
	if location, ok := object["_loc"]; ok {
		delete(object, "_loc")
		object["location"] = location
	}
	if encoded, err := json.Marshal(object); err == nil && len(object) > 0 && len(encoded) <= maxDetailsBytes {
		finding.Details = object
	}
	return finding, nil
}

// shorten keeps messages within their limit and in valid UTF-8.
func shorten(text string) string {
	return policies.Shorten(strings.ToValidUTF8(text, "\uFFFD"))
}
