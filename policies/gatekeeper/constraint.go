package gatekeeper

import (
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
	"k8s.io/apimachinery/pkg/runtime"
)

// Enforcement points of constraints with scoped actions, by the door they stand for. A policy of the API server's own
// (vap.k8s.io) is no door of ours.
var enforcementPoints = map[policies.Door][]string{
	policies.DoorAdmission: {"validation.gatekeeper.sh", "webhook.gatekeeper.sh"},
	policies.DoorAudit:     {"audit.gatekeeper.sh", "audit"},
	policies.DoorGate:      {"gator.gatekeeper.sh"},
}

// pointVAP is the enforcement point of the API server's own policies.
const pointVAP = "vap.k8s.io"

// actions are the enforcement actions.
var actions = map[string]policies.Enforcement{
	"deny": policies.EnforceDeny, "warn": policies.EnforceWarn, "dryrun": policies.EnforceAudit,
}

// constraint is a template with parameters, and for which objects.
type constraint struct {
	name       string
	template   *template
	match      match
	parameters *ast.Term
	// enforced says what becomes of violations at each door; one that is missing does not ask.
	enforced map[policies.Door]policies.Enforcement

	title, severity, remediation string
}

type constraintSpec struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Status     map[string]any `json:"status"`
	Spec       struct {
		Match                    match          `json:"match"`
		Parameters               map[string]any `json:"parameters"`
		EnforcementAction        string         `json:"enforcementAction"`
		ScopedEnforcementActions []scopedAction `json:"scopedEnforcementActions"`
	} `json:"spec"`
}

type scopedAction struct {
	Action            string `json:"action"`
	EnforcementPoints []struct {
		Name string `json:"name"`
	} `json:"enforcementPoints"`
}

func newConstraint(d *document, t *template) (*constraint, error) {
	made, err := parseConstraint(d, t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.title, err)
	}
	return made, nil
}

func parseConstraint(d *document, t *template) (*constraint, error) {
	if !slices.Contains([]string{"v1beta1", "v1alpha1"}, d.version) {
		return nil, fmt.Errorf("version %q of %s is not known: use v1beta1", d.version, constraintGroup)
	}
	var spec constraintSpec
	if err := d.decode(&spec, true); err != nil {
		return nil, err
	}
	if d.name == "" {
		return nil, errors.New("metadata.name is required")
	}
	c := &constraint{name: d.name, template: t, match: spec.Spec.Match}
	if err := c.match.prepare(); err != nil {
		return nil, err
	}
	var err error
	if c.enforced, err = enforcements(spec.Spec.EnforcementAction, spec.Spec.ScopedEnforcementActions); err != nil {
		return nil, err
	}
	parameters, err := t.schema.apply(spec.Spec.Parameters)
	if err != nil {
		return nil, err
	}
	value, err := ast.InterfaceToValue(runtime.DeepCopyJSON(parameters))
	if err != nil {
		return nil, err
	}
	c.parameters = ast.NewTerm(value)
	annotations, err := annotationsOf(spec.Metadata)
	if err != nil {
		return nil, err
	}
	c.title, c.severity, c.remediation = t.describe(annotations)
	if !slices.Contains(severities, c.severity) {
		return nil, fmt.Errorf("the annotation %s is %q: want critical, high, medium or low", severityAnnotation, c.severity)
	}
	return c, nil
}

// annotationsOf reads the annotations of an object's metadata.
func annotationsOf(metadata map[string]any) (map[string]string, error) {
	given, ok := metadata["annotations"].(map[string]any)
	if !ok {
		return nil, nil
	}
	annotations := map[string]string{}
	for name, value := range given {
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("the annotation %s is not a text: put it in quotes", name)
		}
		annotations[name] = text
	}
	return annotations, nil
}

// enforcements gives the action of each door. Where several scoped actions are for one, the strictest counts.
func enforcements(action string, scoped []scopedAction) (map[policies.Door]policies.Enforcement, error) {
	enforced := map[policies.Door]policies.Enforcement{}
	if action == "" {
		action = "deny"
	}
	if action != "scoped" {
		enforcement, ok := actions[action]
		if !ok {
			return nil, fmt.Errorf("enforcementAction %q: want deny, warn, dryrun or scoped", action)
		}
		for door := range enforcementPoints {
			enforced[door] = enforcement
		}
		return enforced, nil
	}
	if len(scoped) == 0 {
		return nil, errors.New("enforcementAction is scoped: scopedEnforcementActions are required")
	}
	for _, one := range scoped {
		enforcement, ok := actions[one.Action]
		if !ok {
			return nil, fmt.Errorf("the scoped action %q: want deny, warn or dryrun", one.Action)
		}
		if len(one.EnforcementPoints) == 0 {
			return nil, fmt.Errorf("the scoped action %s has no enforcementPoints", one.Action)
		}
		for _, point := range one.EnforcementPoints {
			doors := doorsOf(point.Name)
			if doors == nil && point.Name != pointVAP {
				return nil, fmt.Errorf("the enforcement point %q is not known: use validation.gatekeeper.sh, gator.gatekeeper.sh, audit.gatekeeper.sh or *", point.Name)
			}
			for _, door := range doors {
				if before, ok := enforced[door]; !ok || enforcement < before {
					enforced[door] = enforcement
				}
			}
		}
	}
	return enforced, nil
}

// doorsOf are the doors that an enforcement point stands for.
func doorsOf(point string) []policies.Door {
	var doors []policies.Door
	for door, names := range enforcementPoints {
		if point == "*" || slices.Contains(names, point) {
			doors = append(doors, door)
		}
	}
	return doors
}

// reference names the policy of a fault.
func (c *constraint) reference() string { return c.template.id }
