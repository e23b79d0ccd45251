package patch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Change is one step of the fix of a finding.
type Change struct {
	// Op is "set", "remove" or "add" (append to the list at Path).
	Op string
	// Path is written as Kubernetes does: spec.containers[0].image,
	// metadata.annotations[example.com/key]. In brackets stands a list index where
	// there is a list, or nothing yet and the index is 0; else a key.
	Path string
	// Value is anything encoding/json can write; ignored for remove.
	Value any
}

// ApplyChanges applies changes in order to a JSON object and returns the result.
// set and add create missing parents; an add asked for twice is done once;
// removing what is not there is no error. List items are removed last, from the
// end, so that indices mean the lists as they came in.
func ApplyChanges(object []byte, changes []Change) ([]byte, error) {
	root, err := parse(object)
	if err != nil {
		return nil, fmt.Errorf("reading the object to change: %w", err)
	}
	steps, err := schedule(changes)
	if err != nil {
		return nil, err
	}
	for _, s := range steps {
		if _, err := s.apply(root, s.steps); err != nil {
			return nil, fmt.Errorf("applying %s %s: %w", s.Op, s.Path, err)
		}
	}
	return root.appendTo(nil), nil
}

// scheduled is a change with its path read and its value as JSON.
type scheduled struct {
	Change
	steps []step
	text  []byte
}

// schedule reads the changes and puts them in the order to apply them.
func schedule(changes []Change) ([]scheduled, error) {
	var first, last []scheduled
	added := map[string]bool{}
	for _, change := range changes {
		s, err := read(change)
		if err != nil {
			return nil, fmt.Errorf("reading change %s %s: %w", change.Op, change.Path, err)
		}
		_, isItem := s.steps[len(s.steps)-1].index()
		switch {
		case s.Op == "remove" && isItem:
			if !slices.ContainsFunc(last, func(other scheduled) bool { return other.Path == s.Path }) {
				last = append(last, s)
			}
		case s.Op == "add":
			key := s.Path + "\x00" + string(s.text)
			if !added[key] {
				first = append(first, s)
			}
			added[key] = true
		default:
			first = append(first, s)
		}
	}
	slices.SortStableFunc(last, func(a, b scheduled) int { return fromTheEnd(a.steps, b.steps) })
	return append(first, last...), nil
}

func read(change Change) (scheduled, error) {
	steps, err := parsePath(change.Path)
	if err != nil {
		return scheduled{}, err
	}
	if !utf8.ValidString(change.Path) {
		return scheduled{}, fmt.Errorf("path %q is not UTF-8", change.Path)
	}
	var text []byte
	switch change.Op {
	case "set", "add":
		if text, err = encode(change.Value); err != nil {
			return scheduled{}, fmt.Errorf("writing its value as JSON: %w", err)
		}
	case "remove":
	default:
		return scheduled{}, fmt.Errorf("unknown op %q: use set, remove or add", change.Op)
	}
	return scheduled{change, steps, text}, nil
}

// fromTheEnd orders higher indices before lower ones and what lies inside an item
// before the item.
func fromTheEnd(a, b []step) int {
	for i := range min(len(a), len(b)) {
		aIndex, aOK := a[i].index()
		bIndex, bOK := b[i].index()
		order := strings.Compare(b[i].text, a[i].text)
		if aOK && bOK {
			order = cmp.Compare(bIndex, aIndex)
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(b), len(a))
}

// apply returns what belongs in the place of v once the change is made steps below it.
func (s *scheduled) apply(v *value, steps []step) (*value, error) {
	if len(steps) == 0 {
		return s.applyHere(v)
	}
	if v.isAbsent() {
		if s.Op == "remove" {
			return v, nil
		}
		v = newValue([]byte("{}"))
		if index, ok := steps[0].index(); ok && index == 0 {
			v = newValue([]byte("[]"))
		}
	}
	switch v.kind() {
	case '{':
		return v, s.applyToMember(v, steps)
	case '[':
		return v, s.applyToItem(v, steps)
	}
	return nil, fmt.Errorf("%q leads into %s", steps[0].text, v.describe())
}

func (s *scheduled) applyHere(v *value) (*value, error) {
	switch {
	case s.Op == "remove":
		return nil, nil
	case s.Op == "set":
		return newValue(s.text), nil
	case v.isAbsent():
		v = newValue([]byte("[]"))
	case v.kind() != '[':
		return nil, fmt.Errorf("it is %s, not a list", v.describe())
	}
	v.setItem(v.length(), newValue(s.text))
	return v, nil
}

func (s *scheduled) applyToMember(object *value, steps []step) error {
	key := steps[0].text
	wanted, err := s.apply(object.member(key), steps[1:])
	if err != nil {
		return err
	}
	object.setMember(key, wanted)
	return nil
}

func (s *scheduled) applyToItem(list *value, steps []step) error {
	index, ok := steps[0].index()
	if !ok {
		return fmt.Errorf("%q names a key of a list", steps[0].text)
	}
	if index > list.length() && s.Op != "remove" {
		return fmt.Errorf("index %d is beyond the end of a list of %d", index, list.length())
	}
	old := list.item(index)
	wanted, err := s.apply(old, steps[1:])
	switch {
	case err != nil:
		return err
	case wanted != nil:
		list.setItem(index, wanted)
	case old != nil:
		list.removeItem(index)
	}
	return nil
}
