package patch

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// merger carries out claims on a tree of values and notes each change as an operation.
type merger struct {
	operations operations
}

// apply carries out what the claims want at one place and below it. now is the
// value there, nil for none. It returns the value that belongs there: now itself,
// perhaps changed inside and then noted; another value; or nil for none. The
// caller notes and makes the exchange.
func (m *merger) apply(c *claim, now *value, at pointer) (*value, error) {
	if remove, ok := c.find(Remove); ok {
		if other, ok := c.wanting(); ok {
			return nil, conflict(remove, other)
		}
		return nil, nil
	}
	if set, ok := c.find(Set); ok {
		wanted := newValue(set.text)
		if err := c.agree(set, wanted); err != nil {
			return nil, err
		}
		if now != nil && equal(now, wanted) {
			return now, nil
		}
		return wanted, nil
	}
	if absent, ok := c.find(SetIfAbsent); ok && now.isAbsent() {
		wanted := newValue(absent.text)
		if err := c.agree(absent, wanted); err != nil {
			return nil, err
		}
		return new(merger).applyBelow(c, wanted, at)
	}
	return m.applyBelow(c, now, at)
}

// agree checks that all claims here and below can live with the value that owner
// puts here. What a Set puts is exactly that; what a SetIfAbsent puts may be
// added to. A SetIfAbsent yields to any value that a Set puts.
func (c *claim) agree(owner asked, v *value) error {
	for _, edit := range c.edits {
		var agrees bool
		switch {
		case edit.Op == Remove:
			agrees = v == nil
		case v.isAbsent() && edit.Op == SetIfAbsent, v == nil:
			agrees = owner.Op == SetIfAbsent
		case edit.Op == SetIfAbsent && owner.Op == Set:
			agrees = true
		default:
			agrees = equal(v, newValue(edit.text))
		}
		if !agrees {
			return conflict(owner, edit)
		}
	}
	for key, child := range c.keys() {
		if err := child.agree(owner, v.member(key)); err != nil {
			return err
		}
	}
	for index, child := range c.indices() {
		if err := child.agree(owner, v.item(index)); err != nil {
			return err
		}
	}
	return nil
}

// applyBelow carries out the claims on the members or items of now.
func (m *merger) applyBelow(c *claim, now *value, at pointer) (*value, error) {
	switch {
	case len(c.byKey) == 0 && len(c.byIndex) == 0:
		return now, nil
	case now.isAbsent():
		return c.create(now, at)
	case len(c.byKey) > 0 && (len(c.byIndex) > 0 || now.kind() != '{'):
		return nil, misfit("a key", now, c.keys())
	case len(c.byIndex) > 0 && now.kind() != '[':
		return nil, misfit("an index", now, c.indices())
	case len(c.byKey) > 0:
		return now, m.applyToObject(c, now, at)
	default:
		return now, m.applyToList(c, now, at)
	}
}

// create makes the object or list that the claims below need; now where they only remove.
func (c *claim) create(now *value, at pointer) (*value, error) {
	fresh := newValue([]byte("{}"))
	if len(c.byIndex) > 0 {
		fresh = newValue([]byte("[]"))
	}
	if _, err := new(merger).applyBelow(c, fresh, at); err != nil {
		return nil, err
	}
	if fresh.length() == 0 {
		return now, nil
	}
	return fresh, nil
}

func (m *merger) applyToObject(c *claim, object *value, at pointer) error {
	for key, child := range c.keys() {
		place := at.key(key)
		old := object.member(key)
		wanted, err := m.apply(child, old, place)
		switch {
		case err != nil:
			return err
		case wanted == old:
			continue
		case wanted == nil:
			m.operations.remove(place)
		// For appliers that cannot replace a null, which the API server's is; adding
		// a member that exists replaces it (RFC 6902, section 4.1).
		case old == nil, old.isAbsent():
			m.operations.add(place, wanted)
		default:
			m.operations.replace(place, wanted)
		}
		object.setMember(key, wanted)
	}
	return nil
}

// applyToList first changes items in place and appends, then removes from the
// end, so that every index means the list as it came in.
func (m *merger) applyToList(c *claim, list *value, at pointer) error {
	length := list.length()
	var removed []int
	for index, child := range c.indices() {
		place := at.index(index)
		old := list.item(index)
		wanted, err := m.apply(child, old, place)
		switch {
		case err != nil:
			return err
		case wanted == old:
			continue
		case wanted == nil:
			removed = append(removed, index)
			continue
		case index > length:
			edit, _ := child.wanting()
			return fmt.Errorf("applying a patch of policy %s: %s is beyond the end of a list of %d: use index %d to append",
				edit.Policy, FormatPath(edit.Path), length, length)
		case old == nil:
			m.operations.add(place, wanted)
		case old.isAbsent():
			m.operations.remove(place)
			m.operations.add(place, wanted)
		default:
			m.operations.replace(place, wanted)
		}
		list.setItem(index, wanted)
	}
	for _, index := range slices.Backward(removed) {
		m.operations.remove(at.index(index))
		list.removeItem(index)
	}
	return nil
}

// misfit says that an edit names a key where there is no object, or an index where there is no list.
func misfit[K string | int](segment string, now *value, children iter.Seq2[K, *claim]) error {
	for _, child := range children {
		for edit := range child.all() {
			return fmt.Errorf("applying a patch of policy %s: %s names %s of %s: mend the path",
				edit.Policy, FormatPath(edit.Path), segment, now.describe())
		}
	}
	return nil
}

func (c *claim) keys() iter.Seq2[string, *claim] { return sorted(c.byKey) }
func (c *claim) indices() iter.Seq2[int, *claim] { return sorted(c.byIndex) }

// all yields the edits here and below.
func (c *claim) all() iter.Seq[asked] {
	return func(yield func(asked) bool) { c.yieldAll(yield) }
}

func (c *claim) yieldAll(yield func(asked) bool) bool {
	for _, edit := range c.edits {
		if !yield(edit) {
			return false
		}
	}
	for _, child := range c.keys() {
		if !child.yieldAll(yield) {
			return false
		}
	}
	for _, child := range c.indices() {
		if !child.yieldAll(yield) {
			return false
		}
	}
	return true
}

func sorted[K string | int](children map[K]*claim) iter.Seq2[K, *claim] {
	return func(yield func(K, *claim) bool) {
		for _, segment := range slices.Sorted(maps.Keys(children)) {
			if !yield(segment, children[segment]) {
				return
			}
		}
	}
}

// conflict names the deeper of the two paths: that is where they disagree.
func conflict(owner, other asked) *ConflictError {
	policies := [2]string{owner.Policy, other.Policy}
	slices.Sort(policies[:])
	return &ConflictError{Policies: policies, Path: other.Path}
}
