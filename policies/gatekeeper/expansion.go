package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// expansion is an ExpansionTemplate: it makes of a workload the object that the workload will make, so that constraints
// about pods object to the Deployment already.
type expansion struct {
	name      string
	applyTo   []applyTo
	source    []string // the path of the template in the workload
	generated gvk
	// enforcement replaces that of the constraints, nil to keep theirs.
	enforcement *policies.Enforcement
}

// Limits of expansion: of templates, and of the objects that they make of one, as they can expand what others have made.
const (
	maxExpansions = 100
	maxGenerated  = 100
)

type expansionSpec struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Status     map[string]any `json:"status"`
	Spec       struct {
		ApplyTo           []applyTo `json:"applyTo"`
		TemplateSource    string    `json:"templateSource"`
		GeneratedGVK      gvk       `json:"generatedGVK"`
		EnforcementAction string    `json:"enforcementAction"`
	} `json:"spec"`
}

func newExpansion(d *document) (*expansion, error) {
	made, err := parseExpansion(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.title, err)
	}
	return made, nil
}

func parseExpansion(d *document) (*expansion, error) {
	if d.kind != "ExpansionTemplate" {
		return nil, fmt.Errorf("%s has no such kind: there is ExpansionTemplate", d.group)
	}
	var spec expansionSpec
	if err := d.decode(&spec, true); err != nil {
		return nil, err
	}
	x := &expansion{name: d.name, applyTo: spec.Spec.ApplyTo, generated: spec.Spec.GeneratedGVK}
	switch {
	case d.name == "" || len(d.name) > 63:
		return nil, errors.New("metadata.name is required, of at most 63 characters")
	case spec.Spec.TemplateSource == "":
		return nil, errors.New("spec.templateSource is required, like spec.template")
	case x.generated.Kind == "" || x.generated.Version == "":
		return nil, errors.New("spec.generatedGVK is required")
	case len(x.applyTo) == 0:
		return nil, errors.New("spec.applyTo is required")
	}
	x.source = strings.Split(spec.Spec.TemplateSource, ".")
	for n := range x.applyTo {
		if err := x.applyTo[n].check(); err != nil {
			return nil, err
		}
		if x.applyTo[n].takes(x.generated) {
			return nil, fmt.Errorf("it expands what it generates, %s: take that out of applyTo", x.generated.Kind)
		}
	}
	if action := spec.Spec.EnforcementAction; action != "" {
		enforcement, ok := actions[action]
		if !ok {
			return nil, fmt.Errorf("enforcementAction %q: want deny, warn or dryrun", action)
		}
		x.enforcement = &enforcement
	}
	return x, nil
}

func (x *expansion) takes(k gvk) bool {
	return slices.ContainsFunc(x.applyTo, func(a applyTo) bool { return a.takes(k) })
}

// expand makes the object that a workload will make. Its name is made up of the workload's.
func (x *expansion) expand(workload map[string]any, namespace string) (map[string]any, error) {
	var at any = workload
	for _, name := range x.source {
		object, ok := at.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is not in the object", strings.Join(x.source, "."))
		}
		at = object[name]
	}
	found, ok := at.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not in the object", strings.Join(x.source, "."))
	}
	made := runtime.DeepCopyJSON(found)
	made["kind"], made["apiVersion"] = x.generated.Kind, x.generated.apiVersion()
	metadata, _ := made["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	made["metadata"] = metadata
	parent, _ := workload["metadata"].(map[string]any)
	name, _ := parent["name"].(string)
	metadata["name"] = strings.ToLower(name + "-" + x.generated.Kind)
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	own(metadata, workload, name)
	return made, nil
}

// own adds the workload to the owners of what it makes.
func own(metadata, workload map[string]any, name string) {
	if name == "" || workload["apiVersion"] == nil || workload["kind"] == nil {
		return
	}
	owners, _ := metadata["ownerReferences"].([]any)
	for _, owner := range owners {
		reference, _ := owner.(map[string]any)
		if reference["apiVersion"] == workload["apiVersion"] && reference["kind"] == workload["kind"] && reference["name"] == name {
			return
		}
	}
	metadata["ownerReferences"] = append(slices.Clone(owners), map[string]any{
		"apiVersion": workload["apiVersion"], "kind": workload["kind"], "name": name, "uid": "",
	})
}

func (k gvk) apiVersion() string {
	if k.Group == "" {
		return k.Version
	}
	return k.Group + "/" + k.Version
}

// expansionError says which template failed.
type expansionError struct {
	expansion *expansion
	err       error
}

func (e *expansionError) Error() string {
	return fmt.Sprintf("ExpansionTemplate %s: %v", e.expansion.name, e.err)
}

func (e *expansionError) Unwrap() error { return e.err }

// checkCycles refuses templates that expand in the end what they have made themselves.
func checkCycles(expansions []*expansion) error {
	var problems []error
	for _, start := range expansions {
		kinds := []gvk{start.generated}
		for n := 0; n < len(kinds); n++ {
			for _, x := range expansions {
				if x.takes(kinds[n]) && !slices.Contains(kinds, x.generated) {
					kinds = append(kinds, x.generated)
				}
			}
		}
		if slices.ContainsFunc(kinds, start.takes) {
			problems = append(problems, fmt.Errorf("ExpansionTemplate %s: with others it expands what it generates itself, %s: break the circle", start.name, start.generated.Kind))
		}
	}
	return errors.Join(problems...)
}

// expand gives the reviews of what the object of a review will make, and of what that will make in turn, after the
// mutators.
func (e *Engine) expand(base *review) ([]*review, error) {
	if len(e.expansions) == 0 || base.request.SubResource != "" || base.request.Operation == "DELETE" {
		return nil, nil
	}
	reviews := []*review{base}
	for n := 0; n < len(reviews); n++ {
		made, err := e.expandOnce(reviews[n])
		if err != nil {
			return nil, err
		}
		if reviews = append(reviews, made...); len(reviews) > maxGenerated {
			return nil, fmt.Errorf("the ExpansionTemplates make more than %d objects of this one", maxGenerated)
		}
	}
	return reviews[1:], nil
}

// expandOnce gives the reviews of what the object of a review will make itself.
func (e *Engine) expandOnce(base *review) ([]*review, error) {
	var made []*review
	var workload map[string]any
	for _, x := range e.expansions {
		if !x.takes(gvk(base.request.Kind)) {
			continue
		}
		if workload == nil {
			if err := kjson.UnmarshalCaseSensitivePreserveInts(base.object, &workload); err != nil {
				return nil, &expansionError{x, err}
			}
		}
		one, err := e.generated(base, x, workload)
		if err != nil {
			return nil, &expansionError{x, err}
		}
		made = append(made, one)
	}
	return made, nil
}

// generated is the review of the object that one template makes.
func (e *Engine) generated(base *review, x *expansion, workload map[string]any) (*review, error) {
	object, err := x.expand(workload, base.request.Namespace)
	if err != nil {
		return nil, err
	}
	request := *base.request
	request.Kind = metav1.GroupVersionKind(x.generated)
	request.Resource = resourceOf(x.generated)
	request.Options, request.OldObject = nil, nil
	metadata := object["metadata"].(map[string]any)
	request.Name = metadata["name"].(string)
	made := &review{request: &request, namespace: base.namespace, source: sourceGenerated, implied: x}
	taking := func(m *mutator, object map[string]any) (bool, error) { return e.takesObject(m, made, "", object) }
	if _, err := mutate(e.mutators, object, taking); err != nil {
		return nil, err
	}
	if made.object, err = json.Marshal(object); err != nil {
		return nil, err
	}
	request.Object = made.object
	return made, made.readSubjects()
}

// impliedBy is what Gatekeeper puts before the message of a violation of a generated object.
func (x *expansion) impliedBy(message string) string {
	return "[Implied by " + x.name + "] " + message
}
