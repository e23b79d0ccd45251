package gatekeeper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/patch"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// mutator is an Assign, AssignMetadata, AssignImage or ModifySet.
type mutator struct {
	kind, name string
	id         string    // gatekeeper/<kind in lower case>/<name>
	applyTo    []applyTo // nil for all kinds, as for AssignMetadata
	match      match
	location   location
	tests      map[int]condition
	assign     assignment
	terminal   valueType
}

// applyTo says which kinds a mutator or an expansion is for. There are no globs: what changes fields must know what they are.
type applyTo struct {
	Groups     []string `json:"groups"`
	Versions   []string `json:"versions"`
	Kinds      []string `json:"kinds"`
	Operations []string `json:"operations"` // of mutators: CREATE, UPDATE, *; none is all
}

func (a *applyTo) takes(k gvk) bool {
	return slices.Contains(a.Groups, k.Group) && slices.Contains(a.Versions, k.Version) && slices.Contains(a.Kinds, k.Kind)
}

// takesOperation says whether an operation is meant; "" is that of generated objects, for which all must be.
func (a *applyTo) takesOperation(operation string) bool {
	if len(a.Operations) == 0 || slices.Contains(a.Operations, "*") {
		return true
	}
	if operation == "" {
		return slices.Contains(a.Operations, "CREATE") && slices.Contains(a.Operations, "UPDATE")
	}
	return slices.Contains(a.Operations, operation)
}

func (a *applyTo) check() error {
	if len(a.Groups) == 0 || len(a.Versions) == 0 || len(a.Kinds) == 0 {
		return errors.New("applyTo: groups, versions and kinds are required")
	}
	for _, operation := range a.Operations {
		if !slices.Contains([]string{"CREATE", "UPDATE", "*"}, operation) {
			return fmt.Errorf("applyTo: the operation %q: want CREATE, UPDATE or *", operation)
		}
	}
	return nil
}

// overlaps says whether two are for one kind and operation.
func (a *applyTo) overlaps(b *applyTo) bool {
	common := func(x, y []string) bool {
		return slices.ContainsFunc(x, func(text string) bool { return slices.Contains(y, text) })
	}
	return common(a.Groups, b.Groups) && common(a.Versions, b.Versions) && common(a.Kinds, b.Kinds) &&
		(a.takesOperation("CREATE") && b.takesOperation("CREATE") || a.takesOperation("UPDATE") && b.takesOperation("UPDATE"))
}

type mutatorSpec struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Status     map[string]any `json:"status"`
	Spec       struct {
		ApplyTo    []applyTo `json:"applyTo"`
		Match      match     `json:"match"`
		Location   string    `json:"location"`
		Parameters struct {
			PathTests []struct {
				SubPath   string    `json:"subPath"`
				Condition condition `json:"condition"`
			} `json:"pathTests"`
			Assign *assignField `json:"assign"`
			// Of ModifySet.
			Operation string `json:"operation"`
			Values    *struct {
				FromList []any `json:"fromList"`
			} `json:"values"`
			// Of AssignImage.
			AssignDomain string `json:"assignDomain"`
			AssignPath   string `json:"assignPath"`
			AssignTag    string `json:"assignTag"`
		} `json:"parameters"`
	} `json:"spec"`
}

type assignField struct {
	Value        json.RawMessage `json:"value"`
	FromMetadata *struct {
		Field string `json:"field"`
	} `json:"fromMetadata"`
	ExternalData json.RawMessage `json:"externalData"`
}

// mutatorKinds are the mutators that there are.
var mutatorKinds = []string{"Assign", "AssignImage", "AssignMetadata", "ModifySet"}

func newMutator(d *document) (*mutator, error) {
	made, err := parseMutator(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.title, err)
	}
	return made, nil
}

func parseMutator(d *document) (*mutator, error) {
	if !slices.Contains(mutatorKinds, d.kind) || !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, d.version) {
		return nil, fmt.Errorf("%s/%s has no such mutator: there are %s", d.group, d.version, strings.Join(mutatorKinds, ", "))
	}
	var spec mutatorSpec
	if err := d.decode(&spec, true); err != nil {
		return nil, err
	}
	if d.name == "" || len(d.name) > 63 {
		return nil, errors.New("metadata.name is required, of at most 63 characters")
	}
	m := &mutator{
		kind: d.kind, name: d.name, id: "gatekeeper/" + strings.ToLower(d.kind) + "/" + d.name,
		applyTo: spec.Spec.ApplyTo, match: spec.Spec.Match,
	}
	var err error
	if m.location, err = parseLocation(spec.Spec.Location); err != nil {
		return nil, err
	}
	return m, errors.Join(m.match.prepare(), m.readApplyTo(), m.readTests(&spec), m.readAssignment(&spec))
}

// readApplyTo checks what the mutator is for. AssignMetadata is for everything, as all objects have metadata.
func (m *mutator) readApplyTo() error {
	inMetadata := m.location[0].field == "metadata"
	if m.kind == "AssignMetadata" {
		if len(m.applyTo) > 0 {
			return errors.New("applyTo: an AssignMetadata is for all kinds: limit it by match")
		}
		if len(m.location) != 3 || !inMetadata || !slices.Contains([]string{"labels", "annotations"}, m.location[1].field) || m.location[2].isItem() {
			return fmt.Errorf("the location %s: an AssignMetadata changes metadata.labels.NAME or metadata.annotations.NAME", m.location)
		}
		return nil
	}
	if inMetadata {
		return fmt.Errorf("the location %s: only an AssignMetadata changes metadata", m.location)
	}
	if len(m.applyTo) == 0 {
		return errors.New("applyTo is required")
	}
	var problems []error
	for n := range m.applyTo {
		problems = append(problems, m.applyTo[n].check())
	}
	return errors.Join(problems...)
}

// readTests reads pathTests: conditions of places on the way to the location.
func (m *mutator) readTests(spec *mutatorSpec) error {
	m.tests = map[int]condition{}
	if m.kind == "AssignMetadata" { // it adds and never changes
		m.tests[len(m.location)-1] = mustNotExist
	}
	for _, test := range spec.Spec.Parameters.PathTests {
		path, err := parseLocation(test.SubPath)
		if err != nil {
			return fmt.Errorf("pathTests: %w", err)
		}
		if !path.begins(m.location) {
			return fmt.Errorf("pathTests: %s is not a beginning of the location %s", path, m.location)
		}
		if test.Condition != mustExist && test.Condition != mustNotExist {
			return fmt.Errorf("pathTests: the condition %q: want MustExist or MustNotExist", test.Condition)
		}
		at := len(path) - 1
		if other, ok := m.tests[at]; ok && other != test.Condition {
			return fmt.Errorf("pathTests: %s is to exist and not to exist", path)
		}
		m.tests[at] = test.Condition
	}
	for forbidden, c := range m.tests {
		for needed, other := range m.tests {
			if c == mustNotExist && other == mustExist && needed > forbidden {
				return fmt.Errorf("pathTests: %s is to exist below %s, which is not to", m.location[:needed+1], m.location[:forbidden+1])
			}
		}
	}
	return nil
}

func (m *mutator) readAssignment(spec *mutatorSpec) error {
	parameters := &spec.Spec.Parameters
	lastStep := m.location[len(m.location)-1]
	switch m.kind {
	case "ModifySet":
		m.terminal = typeSet
		if lastStep.isItem() {
			return fmt.Errorf("the location %s: a ModifySet changes a list of values, not an item", m.location)
		}
		if parameters.Values == nil {
			return errors.New("parameters.values.fromList is required")
		}
		switch cmp.Or(parameters.Operation, "merge") {
		case "merge":
			m.assign = merging(parameters.Values.FromList)
		case "prune":
			m.assign = pruningFrom(parameters.Values.FromList)
		default:
			return fmt.Errorf("parameters.operation %q: want merge or prune", parameters.Operation)
		}
		return nil
	case "AssignImage":
		m.terminal = typeText
		if lastStep.isItem() {
			return fmt.Errorf("the location %s: an AssignImage changes an image, not an item", m.location)
		}
		parts := imageParts{parameters.AssignDomain, parameters.AssignPath, parameters.AssignTag}
		m.assign = assigningImage(parts)
		return parts.check()
	}
	return m.readAssign(parameters.Assign)
}

// readAssign reads parameters.assign, in which exactly one source of the value is given.
func (m *mutator) readAssign(given *assignField) error {
	switch {
	case given == nil:
		return errors.New("parameters.assign is required")
	case len(given.ExternalData) > 0:
		return errors.New("parameters.assign.externalData: what a provider says at the moment cannot be replayed: give a value")
	case (len(given.Value) > 0) == (given.FromMetadata != nil):
		return errors.New("parameters.assign: give one of value and fromMetadata")
	case given.FromMetadata != nil:
		return m.readFromMetadata(given.FromMetadata.Field)
	}
	var value any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(given.Value, &value); err != nil {
		return fmt.Errorf("parameters.assign.value: %w", err)
	}
	if _, ok := value.(string); m.kind == "AssignMetadata" && !ok {
		return errors.New("parameters.assign.value: metadata are texts: put the value in quotes")
	}
	m.assign = assigning(value)
	return m.checkItem(value)
}

func (m *mutator) readFromMetadata(field string) error {
	if field != "name" && field != "namespace" {
		return fmt.Errorf("parameters.assign.fromMetadata.field %q: want name or namespace", field)
	}
	if m.location[len(m.location)-1].isItem() {
		return fmt.Errorf("the location %s: an item cannot be a text", m.location)
	}
	m.assign = assigningMetadata(field)
	return m.checkItem(nil)
}

// checkItem refuses what would change by which field items are told apart.
func (m *mutator) checkItem(value any) error {
	last := m.location[len(m.location)-1]
	if !last.isItem() {
		if len(m.location) > 1 && m.location[len(m.location)-2].isItem() && m.location[len(m.location)-2].key == last.field {
			return fmt.Errorf("the location %s: the field that tells items apart cannot be changed", m.location)
		}
		return nil
	}
	if last.all {
		return fmt.Errorf("the location %s: all items of a list cannot be one", m.location)
	}
	object, ok := value.(map[string]any)
	if !ok || object[last.key] != last.value {
		return fmt.Errorf("parameters.assign.value: want an object in which %s is %v", last.key, last.value)
	}
	return nil
}

// takes says whether the mutator is for a kind and operation.
func (m *mutator) takes(k gvk, operation string) bool {
	if m.applyTo == nil {
		return m.match.matchesKind(k.Group, k.Kind)
	}
	return slices.ContainsFunc(m.applyTo, func(a applyTo) bool { return a.takes(k) && a.takesOperation(operation) }) &&
		m.match.matchesKind(k.Group, k.Kind)
}

// compareMutators is the order in which they are applied, as in Gatekeeper: by kind and name.
func compareMutators(a, b *mutator) int {
	return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
}

// valueType is what a mutator takes a value for.
type valueType string

// The types of values.
const (
	typeUnknown valueType = "" // any
	typeObject  valueType = "an object"
	typeList    valueType = "a list of objects"
	typeSet     valueType = "a set"
	typeText    valueType = "a text"
)

// typeAt is what the mutator takes the value at a step for.
func (m *mutator) typeAt(at int) valueType {
	switch {
	case at == len(m.location)-1:
		return m.terminal
	case m.location[at+1].isItem():
		return typeList
	}
	return typeObject
}

// conflicts says in which way two mutators take one value for different things, "" for no conflict.
func (m *mutator) conflicts(other *mutator) string {
	for at := range min(len(m.location), len(other.location)) {
		mine, theirs := m.location[at], other.location[at]
		if mine.isItem() != theirs.isItem() { // then their types differed at the step before, or one was unknown
			return ""
		}
		if mine.isItem() && mine.key != theirs.key {
			return fmt.Sprintf("the items of %s are told apart by %s, and by %s", m.location[:at], mine.key, theirs.key)
		}
		if mine.field != theirs.field {
			return ""
		}
		a, b := m.typeAt(at), other.typeAt(at)
		if a != b && a != typeUnknown && b != typeUnknown {
			return fmt.Sprintf("%s is %s, and %s", m.location[:at+1], a, b)
		}
	}
	return ""
}

// checkConflicts refuses mutators that take one field for different things. Gatekeeper does not apply such.
func checkConflicts(mutators []*mutator) error {
	var problems []error
	for n, m := range mutators {
		for _, other := range mutators[:n] {
			overlap := slices.ContainsFunc(m.applyTo, func(a applyTo) bool {
				return slices.ContainsFunc(other.applyTo, func(b applyTo) bool { return a.overlaps(&b) })
			})
			if !overlap {
				continue
			}
			if how := other.conflicts(m); how != "" {
				problems = append(problems, fmt.Errorf("the mutators %s %s and %s %s exclude each other: %s: align their locations", other.kind, other.name, m.kind, m.name, how))
			}
		}
	}
	return errors.Join(problems...)
}

// mutate applies mutators to an object, in place and over and over, until nothing changes. It gives those that changed
// something. takes says which are for the object as it is by now.
func mutate(mutators []*mutator, object map[string]any, takes func(*mutator, map[string]any) (bool, error)) ([]*mutator, error) {
	var changing []*mutator
	for range len(mutators) + 1 {
		before := runtime.DeepCopyJSON(object)
		for _, m := range mutators {
			taken, err := takes(m, object)
			if err != nil {
				return nil, &mutatorError{m, err}
			}
			if !taken {
				continue
			}
			changed, err := (&change{m.location, m.tests, m.assign, object}).apply()
			if err != nil {
				return nil, &mutatorError{m, err}
			}
			if changed && !slices.Contains(changing, m) {
				changing = append(changing, m)
			}
		}
		if reflect.DeepEqual(before, object) {
			return changing, nil
		}
	}
	return nil, errNotConverging
}

// mutatorError says which mutator failed.
type mutatorError struct {
	mutator *mutator
	err     error
}

func (e *mutatorError) Error() string {
	return fmt.Sprintf("mutator %s %s: %v", e.mutator.kind, e.mutator.name, e.err)
}
func (e *mutatorError) Unwrap() error { return e.err }

// edits are the differences between two objects. Lists of different lengths are put as a whole.
func edits(policy string, before, after map[string]any) []patch.Edit {
	return appendEdits(nil, policy, nil, before, after)
}

func appendEdits(all []patch.Edit, policy string, path []any, before, after any) []patch.Edit {
	if reflect.DeepEqual(before, after) {
		return all
	}
	switch after := after.(type) {
	case map[string]any:
		old, ok := before.(map[string]any)
		if !ok {
			break
		}
		for _, name := range sortedKeys(old) {
			if _, kept := after[name]; !kept {
				all = append(all, patch.Edit{Policy: policy, Path: append(slices.Clone(path), name), Op: patch.Remove})
			}
		}
		for _, name := range sortedKeys(after) {
			all = appendEdits(all, policy, append(slices.Clone(path), name), old[name], after[name])
		}
		return all
	case []any:
		old, ok := before.([]any)
		if !ok || len(old) != len(after) {
			break
		}
		for n := range after {
			all = appendEdits(all, policy, append(slices.Clone(path), n), old[n], after[n])
		}
		return all
	}
	return append(all, patch.Edit{Policy: policy, Path: path, Op: patch.Set, Value: after})
}
