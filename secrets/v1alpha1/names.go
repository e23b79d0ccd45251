package v1alpha1

import (
	"slices"
	"strconv"
)

// DestinationName is the name of the Secret or ConfigMap of a VaultSecret; for immutable ones, what its slots begin with.
func DestinationName(s *VaultSecret) string {
	if s.Spec.Destination.Name != "" {
		return s.Spec.Destination.Name
	}
	return s.Name
}

// DestinationNames are all names that its Secret or ConfigMap can have: one, or the slots of an immutable one.
func DestinationNames(s *VaultSecret) []string {
	name := DestinationName(s)
	if !s.Spec.Destination.Immutable {
		return []string{name}
	}
	names := make([]string, ImmutableSlots)
	for slot := range names {
		names[slot] = SlotName(name, slot)
	}
	return names
}

// SlotName is the name of one of the Secrets that an immutable one is in turn; slot counts from 0 and begins again after the last.
func SlotName(name string, slot int) string {
	return name + "-" + strconv.Itoa(((slot%ImmutableSlots)+ImmutableSlots)%ImmutableSlots)
}

// writtenNames are those a VaultSecret can have and those it had: what it still holds by its status is to be deleted or given up.
func writtenNames(s *VaultSecret) []string {
	names := DestinationNames(s)
	if written := s.Status.Destination; written != nil && kindOf(written.Kind) == kindOf(s.Spec.Destination.Kind) {
		names = append(append(names, written.Name), written.Slots...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

func kindOf(kind string) string {
	if kind == "" {
		return KindSecret
	}
	return kind
}
