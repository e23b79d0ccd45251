// Package patch changes JSON objects as policies ask.
//
// [Merge] joins the patch elements of many policies into one patched object and
// the RFC 6902 operations that lead to it, as a mutating admission response
// needs them. [ApplyChanges] applies the fixes of findings.
//
// Whatever no edit touches keeps its text byte for byte: no number is rounded, no
// key reordered. The package is pure and does not modify its arguments.
package patch

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Op says what an [Edit] does.
type Op int

// The ops of edits. A field that is null counts as absent, as in Kubernetes.
const (
	Set         Op = iota + 1 // the value at the path is to be this one
	SetIfAbsent               // the path is to have a value, this one where it has none
	Remove                    // the path is to have no value
)

// Edit is one patch element of one policy.
type Edit struct {
	// Policy is who asks, for messages.
	Policy string
	// Path leads to the value: strings are object keys, ints are list indices in
	// the object as it came in. The index equal to a list's length appends.
	// Missing parents are created.
	Path []any
	Op   Op
	// Value is anything encoding/json can write; ignored for Remove.
	Value any
}

// ConflictError says that no object could please two edits at once: they set
// different values at one path, or one lies inside what the other removes or
// replaces.
type ConflictError struct {
	// Policies are the two who disagree (one name twice if a policy contradicts itself).
	Policies [2]string
	// Path is where they disagree.
	Path []any
}

// Error names both policies and the path.
func (e *ConflictError) Error() string {
	if e.Policies[0] == e.Policies[1] {
		return fmt.Sprintf("policy %s contradicts itself about %s: let one of its patches go", e.Policies[0], FormatPath(e.Path))
	}
	return fmt.Sprintf("policies %s and %s patch %s in ways that exclude each other: turn one of them off or align their parameters",
		e.Policies[0], e.Policies[1], FormatPath(e.Path))
}

// Merge applies all edits to a JSON object. It returns the patched object and the
// RFC 6902 operations that make it, in order; both are nil when the edits change
// nothing. The order of the edits does not matter. A contradiction is a
// [*ConflictError]; a path that does not fit the object is another error.
func Merge(object []byte, edits []Edit) (patched, operations []byte, err error) {
	if len(edits) == 0 {
		return nil, nil, nil
	}
	root, err := parse(object)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the object to patch: %w", err)
	}
	claims, err := gather(edits)
	if err != nil {
		return nil, nil, err
	}
	var m merger
	if _, err := m.apply(claims, root, ""); err != nil {
		return nil, nil, err
	}
	if len(m.operations) == 0 {
		return nil, nil, nil
	}
	return root.appendTo(nil), m.operations.appendTo(nil), nil
}

// gather sorts the edits into a tree of claims.
func gather(edits []Edit) (*claim, error) {
	// By policy, so that the order in which policies were asked changes nothing.
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int { return strings.Compare(a.Policy, b.Policy) })
	root := new(claim)
	for i := range edits {
		if err := root.insert(&edits[i]); err != nil {
			return nil, fmt.Errorf("reading a patch of policy %s: %w", edits[i].Policy, err)
		}
	}
	return root, nil
}

// claim is what the edits want at one place of the object and below it.
type claim struct {
	edits   []asked
	byKey   map[string]*claim
	byIndex map[int]*claim
}

// asked is an edit with its value as JSON.
type asked struct {
	*Edit
	text []byte
}

func (c *claim) insert(edit *Edit) error {
	if len(edit.Path) == 0 {
		return fmt.Errorf("its path is empty: name the field to change")
	}
	for _, segment := range edit.Path {
		next, err := c.child(segment)
		if err != nil {
			return fmt.Errorf("its path %v: %w", edit.Path, err)
		}
		c = next
	}
	var text []byte
	switch edit.Op {
	case Set, SetIfAbsent:
		var err error
		if text, err = encode(edit.Value); err != nil {
			return fmt.Errorf("writing its value for %s as JSON: %w", FormatPath(edit.Path), err)
		}
		if edit.Op == SetIfAbsent && string(text) == "null" {
			return fmt.Errorf("its default for %s is null, which counts as absent: give a value", FormatPath(edit.Path))
		}
	case Remove:
	default:
		return fmt.Errorf("unknown op %d: use Set, SetIfAbsent or Remove", edit.Op)
	}
	c.edits = append(c.edits, asked{edit, text})
	return nil
}

// child returns the claim one segment below, making it if need be.
func (c *claim) child(segment any) (*claim, error) {
	switch segment := segment.(type) {
	case string:
		if !utf8.ValidString(segment) {
			return nil, fmt.Errorf("key %q is not UTF-8", segment)
		}
		return childOf(&c.byKey, segment), nil
	case int:
		if segment < 0 {
			return nil, fmt.Errorf("index %d is negative", segment)
		}
		return childOf(&c.byIndex, segment), nil
	}
	return nil, fmt.Errorf("segment %v is neither a key (string) nor an index (int)", segment)
}

func childOf[K comparable](children *map[K]*claim, segment K) *claim {
	if *children == nil {
		*children = make(map[K]*claim)
	}
	child := (*children)[segment]
	if child == nil {
		child = new(claim)
		(*children)[segment] = child
	}
	return child
}

// find returns the first edit with op at this very place.
func (c *claim) find(op Op) (asked, bool) {
	for _, edit := range c.edits {
		if edit.Op == op {
			return edit, true
		}
	}
	return asked{}, false
}

// wanting returns an edit here or below that wants a value to be there.
func (c *claim) wanting() (asked, bool) {
	for edit := range c.all() {
		if edit.Op != Remove {
			return edit, true
		}
	}
	return asked{}, false
}
