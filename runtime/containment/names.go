package containment

import (
	"maps"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// The annotations that several quarantines share hold their names, separated by commas.

func nameList(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(name string) bool { return name == "" })
}

func withName(text, name string) string {
	names := append(nameList(text), name)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

func withoutName(text, name string) string {
	return strings.Join(slices.DeleteFunc(nameList(text), func(have string) bool { return have == name }), ",")
}
