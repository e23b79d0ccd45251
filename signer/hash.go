package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// hashOf hashes a configuration by its meaning: lists are sets, keys are their fingerprints.
func hashOf(t *Trust, authorities []*CheckedAuthority) (string, error) {
	normal := struct {
		Authorities  []json.RawMessage
		Requirements []json.RawMessage
		Scanners     []string
		VEX          []string
	}{Scanners: sorted(t.Scanners), VEX: sorted(t.VEX)}
	for _, checked := range authorities {
		encoded, err := encodeAuthority(checked)
		if err != nil {
			return "", fmt.Errorf("hashing the authority %q: %w", checked.Name, err)
		}
		normal.Authorities = append(normal.Authorities, encoded)
	}
	for _, requirement := range t.Requirements {
		requirement.Images, requirement.AnyOf, requirement.AllOf = sorted(requirement.Images), sorted(requirement.AnyOf), sorted(requirement.AllOf)
		if requirement.AtLeast != nil {
			requirement.AtLeast = &AtLeast{Count: requirement.AtLeast.Count, Of: sorted(requirement.AtLeast.Of)}
		}
		encoded, err := json.Marshal(requirement)
		if err != nil {
			return "", fmt.Errorf("hashing the requirement %q: %w", requirement.Name, err)
		}
		normal.Requirements = append(normal.Requirements, encoded)
	}
	slices.SortFunc(normal.Authorities, compareRaw)
	slices.SortFunc(normal.Requirements, compareRaw)
	encoded, err := json.Marshal(normal)
	if err != nil {
		return "", fmt.Errorf("hashing the trust configuration: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func encodeAuthority(checked *CheckedAuthority) (json.RawMessage, error) {
	authority := checked.Authority
	authority.Images = sorted(authority.Images)
	authority.Keys = nil
	for _, key := range checked.PublicKeys {
		authority.Keys = append(authority.Keys, Key{PEM: key.Fingerprint, Name: key.Name})
	}
	slices.SortFunc(authority.Keys, func(a, b Key) int { return strings.Compare(a.PEM, b.PEM) })
	authority.Attestations = slices.SortedFunc(slices.Values(authority.Attestations), func(a, b AttestationRequirement) int {
		return strings.Compare(a.PredicateType, b.PredicateType)
	})
	for i := range authority.Attestations {
		age, err := parseAge(authority.Attestations[i].MaxAge)
		if err != nil {
			return nil, err
		}
		authority.Attestations[i].MaxAge = fmt.Sprint(age)
	}
	identities := make([]json.RawMessage, 0, len(authority.Identities))
	for _, identity := range authority.Identities {
		encoded, err := json.Marshal(identity)
		if err != nil {
			return nil, err
		}
		identities = append(identities, encoded)
	}
	slices.SortFunc(identities, compareRaw)
	authority.Identities = nil
	return json.Marshal(struct {
		Authority  Authority
		Identities []json.RawMessage
	}{authority, identities})
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func compareRaw(a, b json.RawMessage) int { return bytes.Compare(a, b) }
