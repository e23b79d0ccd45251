package workload

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// Search finds what looks like a pod spec anywhere in an object of a kind that
// [Extract] does not know: an object with a list of containers of which at least
// one has an image. It is for the gate, where a custom resource is better judged by
// resemblance than not at all; what it cannot read is Unresolved, never an error.
// Kind is empty: the caller knows it.
func Search(raw []byte) []Workload {
	var object any
	if checkSize(raw) != nil {
		return []Workload{unread("", "", "the object is too large to be searched")}
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil
	}
	var found []Workload
	search(object, nil, nil, 0, &found)
	return found
}

// maxWithin bounds pod specs within each other: each is read with all that is in it.
const maxWithin = 8

// search walks down; parent is the object that has value as its field. What
// resembles a pod spec may be there to hide another one in it; within counts those
// around value.
func search(value any, at trail, parent map[string]any, within int, found *[]Workload) {
	switch value := value.(type) {
	case map[string]any:
		if resemblesPodSpec(value) {
			if within++; within > maxWithin {
				*found = append(*found, unread("", "", "it resembles a pod within too many others"))
				return
			}
			*found = append(*found, resembling(value, at, parent))
		}
		for _, name := range sortedKeys(value) {
			search(value[name], append(at, step{name, -1}), value, within, found)
		}
	case []any:
		for i, item := range value {
			search(item, append(at, step{"", i}), nil, within, found)
		}
	}
}

// unread is the normal form of what cannot be read: all of it is left open.
func unread(path, metadataPath, reason string) Workload {
	w, _ := build(&pod{path: path, metadataPath: metadataPath, template: true, lenient: true,
		unresolved: []Unresolved{{Path: path, Reason: reason}}})
	return w
}

// trail leads to a value deep in an object. It becomes a path only when needed:
// writing one at each level would cost the square of the depth.
type trail []step

// step is a key, or an index where that is not negative.
type step struct {
	key   string
	index int
}

// size is about the length of the path.
func (t trail) size() int {
	size := 0
	for _, s := range t {
		size += len(s.key) + 4
	}
	return size
}

func (t trail) path(parent string) string {
	for _, s := range t {
		if s.index >= 0 {
			parent += "[" + strconv.Itoa(s.index) + "]"
		} else {
			parent = join(parent, s.key)
		}
	}
	return parent
}

func sortedKeys(fields map[string]any) []string {
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func resemblesPodSpec(fields map[string]any) bool {
	for _, name := range []string{"containers", "initContainers", "ephemeralContainers"} {
		containers, _ := fields[name].([]any)
		for _, c := range containers {
			c, _ := c.(map[string]any)
			if _, ok := c["image"].(string); ok {
				return true
			}
		}
	}
	return false
}

// resembling is the normal form of what resembles a pod spec.
func resembling(spec map[string]any, at trail, parent map[string]any) Workload {
	const longest = 1000
	if at.size() > longest {
		return unread("", "", "it resembles a pod but its path is too long")
	}
	path := at.path("")
	p := pod{path: path, metadataPath: "metadata", template: true, lenient: true}
	if owner, ok := strings.CutSuffix(path, ".spec"); ok {
		p.metadataPath = join(owner, "metadata")
		_ = convert(parent["metadata"], &p.metadata) // what is not like labels is none
	}
	err := convert(spec, &p.spec)
	if err == nil {
		p.place()
		w, buildErr := build(&p)
		if buildErr == nil {
			return w
		}
		err = buildErr
	}
	return unread(path, p.metadataPath, "it resembles a pod but cannot be read as one: "+err.Error())
}

// convert reads a decoded value as a Go type.
func convert(value, into any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
