package workload

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// node is a part of an object and its path; raw is empty where the part is absent
// or null. Known custom resources are read through it: their pods lie in many
// places, and they need not be as fast as pods.
type node struct {
	path string
	raw  jsontext.Value
}

// decode reads the part into a Go value, which stays as it is where the part is absent.
func (n node) decode(into any) error {
	if len(n.raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(n.raw, into); err != nil {
		return explain(n.path, err)
	}
	return nil
}

// present says that the part is there.
func (n node) present() bool { return len(n.raw) > 0 }

// child is a field of an object, absent where it is null.
func (n node) child(name string) (node, error) {
	var fields map[string]jsontext.Value
	if err := n.decode(&fields); err != nil {
		return node{}, err
	}
	return n.field(name, fields[name]), nil
}

func (n node) field(name string, raw jsontext.Value) node {
	child := node{join(n.path, name), raw}
	if raw.Kind() == 'n' {
		child.raw = nil
	}
	return child
}

// items are those of a list that are not null.
func (n node) items() ([]node, error) {
	var values []jsontext.Value
	if err := n.decode(&values); err != nil {
		return nil, err
	}
	items := make([]node, 0, len(values))
	for i, raw := range values {
		if raw.Kind() != 'n' {
			items = append(items, node{n.path + "[" + strconv.Itoa(i) + "]", raw})
		}
	}
	return items, nil
}

// entries are the values of a map, by key.
func (n node) entries() ([]node, error) {
	var values map[string]jsontext.Value
	if err := n.decode(&values); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(values))
	for key := range values {
		if len(key) > maxKey {
			return nil, fmt.Errorf("%s has the key %q of %d bytes: shorten it", n.path, abbreviate(key), len(key))
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	entries := make([]node, 0, len(keys))
	for _, key := range keys {
		if entry := n.field(key, values[key]); entry.present() {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// find returns the parts a pattern leads to that are present: "spec.template",
// "spec.tasks[].taskSpec" through all items of a list, "spec.replicaSpecs{}.template"
// through all entries of a map.
func (n node) find(pattern string) ([]node, error) {
	found := []node{n}
	for step := range strings.SplitSeq(pattern, ".") {
		name := strings.TrimRight(step, "[]{}")
		var next []node
		for _, from := range found {
			child, err := from.child(name)
			if err != nil {
				return nil, err
			}
			inner, err := child.through(step[len(name):])
			if err != nil {
				return nil, err
			}
			next = append(next, inner...)
		}
		found = next
	}
	return found, nil
}

// through applies the "[]" and "{}" behind a name.
func (n node) through(suffix string) ([]node, error) {
	if !n.present() {
		return nil, nil
	}
	if suffix == "" {
		return []node{n}, nil
	}
	inner, err := n.items, error(nil)
	if suffix[0] == '{' {
		inner = n.entries
	}
	nodes, err := inner()
	if err != nil {
		return nil, err
	}
	var found []node
	for _, item := range nodes {
		further, err := item.through(suffix[2:])
		if err != nil {
			return nil, err
		}
		found = append(found, further...)
	}
	return found, nil
}

// join writes parent.name, or parent[name] for what is no identifier.
func join(parent, name string) string {
	for _, r := range name {
		if !(r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return parent + "[" + name + "]"
		}
	}
	switch {
	case name == "":
		return parent + "[]"
	case parent == "":
		return name
	}
	return parent + "." + name
}
