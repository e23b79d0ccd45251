package gatekeeper

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

// condition is what a path test demands of a place on the way.
type condition string

// The conditions: without what they demand a mutator changes nothing.
const (
	mustExist    condition = "MustExist"
	mustNotExist condition = "MustNotExist"
)

// assignment changes a value: it gives the one to put in place of now. exists is false where there is none yet, and keep
// where nothing is to change. object is the whole object, not to be modified.
type assignment func(object map[string]any, now any, exists bool) (value any, keep bool, err error)

// change carries out an assignment at a location of an object, in place. It says whether it put anything.
type change struct {
	location location
	tests    map[int]condition // by the index of the step
	assign   assignment
	object   map[string]any
}

// errKind says that a location does not fit an object.
func errKind(l location, depth int, want string, got any) error {
	return fmt.Errorf("the location %s does not fit the object: at %s want %s, got %s", l, l[:depth], want, describe(got))
}

func describe(value any) string {
	switch value.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case nil:
		return "null"
	}
	return fmt.Sprintf("%v", value)
}

// passes says whether the test of a step lets the walk go on.
func (c *change) passes(depth int, exists bool) bool {
	switch c.tests[depth] {
	case mustExist:
		return exists
	case mustNotExist:
		return !exists
	}
	return true
}

func (c *change) last(depth int) bool { return depth == len(c.location)-1 }

func (c *change) apply() (bool, error) {
	_, changed, err := c.walk(c.object, 0)
	return changed, err
}

// walk goes one step into now. It gives what belongs there, now itself or a longer list.
func (c *change) walk(now any, depth int) (any, bool, error) {
	if c.location[depth].isItem() {
		list, ok := now.([]any)
		if !ok {
			return nil, false, errKind(c.location, depth, "a list", now)
		}
		return c.intoList(list, depth)
	}
	object, ok := now.(map[string]any)
	if !ok {
		return nil, false, errKind(c.location, depth, "an object", now)
	}
	changed, err := c.intoObject(object, depth)
	return object, changed, err
}

func (c *change) intoObject(object map[string]any, depth int) (bool, error) {
	name := c.location[depth].field
	now := object[name]
	exists := now != nil // a field that is null counts as absent, as in Kubernetes
	if !c.passes(depth, exists) {
		return false, nil
	}
	if c.last(depth) {
		value, keep, err := c.assign(c.object, now, exists)
		if err != nil || keep {
			return false, err
		}
		object[name] = value
		return true, nil
	}
	if !exists {
		now = c.missing(depth)
	}
	below, changed, err := c.walk(now, depth+1)
	if err == nil && changed {
		object[name] = below
	}
	return changed, err
}

// missing is what is made where there is nothing, for the next step to go into.
func (c *change) missing(depth int) any {
	if c.location[depth+1].isItem() {
		return []any{}
	}
	return map[string]any{}
}

func (c *change) intoList(list []any, depth int) (any, bool, error) {
	at := c.location[depth]
	if at.all && !c.passes(depth, true) {
		return list, false, nil // that no item at all exists cannot be told of every item
	}
	found, changed := false, false
	for n, item := range list {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, false, errKind(c.location, depth+1, "an object", item)
		}
		if !at.all && object[at.key] != at.value {
			continue
		}
		found = true
		if !c.passes(depth, true) {
			return list, false, nil
		}
		below, changedBelow, err := c.intoItem(object, depth)
		if err != nil {
			return nil, false, err
		}
		list[n], changed = below, changed || changedBelow
	}
	if found || at.all || !c.passes(depth, false) {
		return list, changed, nil
	}
	below, changed, err := c.intoItem(nil, depth)
	if err != nil || !changed {
		return list, false, err
	}
	return append(list, below), true, nil
}

// intoItem changes an item of a list, nil for one that is to be made.
func (c *change) intoItem(item map[string]any, depth int) (any, bool, error) {
	at := c.location[depth]
	if c.last(depth) {
		var now any
		if item != nil {
			now = item
		}
		value, keep, err := c.assign(c.object, now, item != nil)
		if err != nil || keep {
			return now, false, err
		}
		return value, true, nil
	}
	if item == nil {
		item = map[string]any{at.key: at.value}
	}
	return c.walk(item, depth+1)
}

// assigning puts a value.
func assigning(value any) assignment {
	return func(map[string]any, any, bool) (any, bool, error) {
		return runtime.DeepCopyJSONValue(value), false, nil
	}
}

// assigningMetadata puts the name or the namespace of the object.
func assigningMetadata(field string) assignment {
	return func(object map[string]any, _ any, _ bool) (any, bool, error) {
		metadata, _ := object["metadata"].(map[string]any)
		text, _ := metadata[field].(string)
		return text, false, nil
	}
}

// merging adds the values that a list lacks.
func merging(values []any) assignment {
	return func(_ map[string]any, now any, exists bool) (any, bool, error) {
		list, ok := now.([]any)
		if exists && !ok {
			return nil, false, fmt.Errorf("want a list to merge values into, got %s", describe(now))
		}
		merged := slices.Clone(list)
		for _, value := range values {
			if !contains(merged, value) {
				merged = append(merged, runtime.DeepCopyJSONValue(value))
			}
		}
		return merged, exists && len(merged) == len(list), nil
	}
}

// pruning takes values out of a list.
func pruningFrom(values []any) assignment {
	return func(_ map[string]any, now any, exists bool) (any, bool, error) {
		if !exists {
			return nil, true, nil
		}
		list, ok := now.([]any)
		if !ok {
			return nil, false, fmt.Errorf("want a list to prune values from, got %s", describe(now))
		}
		rest := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return contains(values, v) })
		return rest, len(rest) == len(list), nil
	}
}

func contains(list []any, value any) bool {
	return slices.ContainsFunc(list, func(v any) bool { return reflect.DeepEqual(v, value) })
}

// assigningImage puts parts of an image reference in place of its own.
func assigningImage(parts imageParts) assignment {
	return func(_ map[string]any, now any, exists bool) (any, bool, error) {
		text, ok := now.(string)
		if exists && !ok {
			return nil, false, fmt.Errorf("want an image reference, got %s", describe(now))
		}
		return parts.over(text), false, nil
	}
}

// errNotConverging says that mutators undo each other's work.
var errNotConverging = errors.New("the mutators do not come to an end: some undo what others do")
