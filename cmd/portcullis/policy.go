package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/spf13/cobra"
)

func (p *program) policyCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "policy",
		Short: "List, show, test and export policies",
		Args:  knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("policy needs to know what to do: use policy list, policy show ID, policy test PATH or policy export")
		},
	}
	command.AddCommand(p.policyListCommand(), p.policyShowCommand(), p.policyTestCommand(), p.policyExportCommand())
	return command
}

// listed is a policy with what the profiles of its bundle make of it.
type listed struct {
	ID          string                       `json:"id"`
	Title       string                       `json:"title"`
	Severity    string                       `json:"severity"`
	Effects     []policies.Effect            `json:"effects"`
	Profiles    map[string]map[string]string `json:"profiles"` // profile: instance: enforcement
	Match       policies.Matching            `json:"match"`
	Doors       []policies.Door              `json:"doors,omitempty"`
	Reads       []policies.ReadDeclaration   `json:"reads,omitempty"`
	Controls    map[string][]string          `json:"controls,omitempty"`
	Description string                       `json:"description"`
	Remediation string                       `json:"remediation"`
	Parameters  map[string]any               `json:"parameters,omitempty"`
	Links       []string                     `json:"links,omitempty"`
	FixReason   string                       `json:"fixReason,omitempty"`
}

// inventory is what policy list --format json writes.
type inventory struct {
	Bundle     string         `json:"bundle"`
	Count      int            `json:"count"`
	BySeverity map[string]int `json:"bySeverity"`
	ByGroup    map[string]int `json:"byGroup"`
	Profiles   []string       `json:"profiles"`
	Policies   []listed       `json:"policies"`
}

func newInventory(of *revision.Revision) inventory {
	bundle, engine := of.Bundle, of.Engine
	all := inventory{
		Bundle: of.Ready.Revision, Count: len(bundle.Policies), Profiles: engine.Profiles(),
		BySeverity: map[string]int{}, ByGroup: map[string]int{}, Policies: []listed{},
	}
	for _, id := range slices.Sorted(maps.Keys(bundle.Policies)) {
		policy := bundle.Policies[id]
		group, _, _ := strings.Cut(id, "/")
		all.BySeverity[policy.Severity]++
		all.ByGroup[group]++
		all.Policies = append(all.Policies, listed{
			ID: id, Title: policy.Title, Severity: policy.Severity, Effects: policy.Effects,
			Profiles: enforcements(engine, id), Match: policy.Subject, Doors: policy.Doors, Reads: policy.Reads,
			Controls: policy.Controls, Description: policy.Description, Remediation: policy.Remediation,
			Parameters: policy.Parameters, Links: policy.Related, FixReason: policy.FixReason,
		})
	}
	return all
}

// enforcements says what each profile makes of a policy.
func enforcements(engine *policies.Engine, id string) map[string]map[string]string {
	found := map[string]map[string]string{}
	for _, profile := range engine.Profiles() {
		for name, enforcement := range engine.Enforcements(profile) {
			if policyOf(engine.Bundle(), name) != id {
				continue
			}
			if found[profile] == nil {
				found[profile] = map[string]string{}
			}
			found[profile][name] = enforcement.String()
		}
	}
	return found
}

// policyOf is the id of the policy behind an instance's name.
func policyOf(bundle *policies.Bundle, name string) string {
	if _, ok := bundle.Policies[name]; ok {
		return name
	}
	lists := [][]policies.Instance{bundle.Manifest.Policies}
	for _, profile := range bundle.Manifest.Profiles {
		lists = append(lists, profile.Policies)
	}
	for _, instance := range slices.Concat(lists...) {
		if instance.Name == name {
			return instance.Policy
		}
	}
	return ""
}

// jsonText is a value as JSON on one line.
func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// checkFormat refuses formats that a command does not have.
func checkFormat(format string) error {
	if format != "text" && format != "json" {
		return usagef("choosing the format %q: no such format: use text or json", format)
	}
	return nil
}
