package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/spf13/cobra"
)

func (p *program) policyShowCommand() *cobra.Command {
	var bundle bundleFlags
	var format string
	command := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a policy's documentation",
		Example: "  portcullis policy show pods/privileged",
		Args:    arguments(cobra.ExactArgs(1), "name one policy; policy list has them all"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.policyShow(command.Context(), &bundle, format, args[0])
		},
		ValidArgsFunction: func(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			loaded, err := bundle.load(command.Context())
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return slices.Sorted(maps.Keys(loaded.Policies)), cobra.ShellCompDirectiveNoFileComp
		},
	}
	bundle.registerBundle(command.Flags(), nil)
	command.Flags().StringVar(&format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

func (p *program) policyShow(ctx context.Context, bundle *bundleFlags, format, id string) error {
	if err := checkFormat(format); err != nil {
		return err
	}
	loaded, err := bundle.revision(ctx)
	if err != nil {
		return err
	}
	all := newInventory(loaded).Policies
	at := slices.IndexFunc(all, func(l listed) bool { return l.ID == id })
	if group, _, _ := strings.Cut(id, "/"); at < 0 && (group == "gatekeeper" || group == "conftest") {
		return usagef("%s is written for another tool, and only a bundle's own policies are shown: look into the folder %s of the bundle", id, group)
	}
	if at < 0 {
		return usagef("there is no policy %q in %s%s", id, loaded.Ready.Revision, suggestion(all, id))
	}
	if format == "json" {
		encoder := json.NewEncoder(p.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all[at])
	}
	_, err = fmt.Fprint(p.stdout, documentation(&all[at]))
	return err
}

// suggestion is the next step after an unknown id: policies with a similar name.
func suggestion(all []listed, id string) string {
	_, name, _ := strings.Cut("/"+id, "/")
	var similar []string
	for _, policy := range all {
		if name != "" && (strings.Contains(policy.ID, name) || strings.Contains(policy.ID, id[strings.LastIndex(id, "/")+1:])) {
			similar = append(similar, policy.ID)
		}
	}
	if len(similar) == 0 || len(similar) > 5 {
		return ": policy list has them all"
	}
	return ": did you mean " + strings.Join(similar, ", ") + "?"
}

// documentation is a policy's page, from its metadata.
func documentation(policy *listed) string {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, output.Plain(text))
		}
	}
	fmt.Fprintf(&b, "%s: %s\n\n", output.Plain(policy.ID), output.Plain(policy.Title))
	for text := range strings.Lines(strings.TrimSpace(policy.Description) + "\n") {
		fmt.Fprintf(&b, "  %s\n", output.Plain(strings.TrimRight(text, "\n")))
	}
	b.WriteString("\n")
	line("severity", policy.Severity)
	line("matches", matchText(policy.Match))
	line("remediation", policy.Remediation)
	line("no fix", policy.FixReason)
	line("profiles", strings.Join(profilesOf(*policy), ", "))
	line("controls", strings.Join(controlsOf(policy.Controls), ", "))
	for _, door := range policy.Doors {
		line("door", string(door))
	}
	for _, read := range policy.Reads {
		line("reads", strings.TrimSuffix(read.Resource+"."+read.Group, ".")+" of the "+read.Scope)
	}
	for _, name := range slices.Sorted(maps.Keys(properties(policy.Parameters))) {
		line("parameter", parameterText(name, properties(policy.Parameters)[name]))
	}
	for _, link := range policy.Links {
		line("see", link)
	}
	return b.String()
}

func matchText(match policies.Matching) string {
	var parts []string
	switch match.Workload {
	case "any":
		parts = append(parts, "pods and every pod template")
	case "pods":
		parts = append(parts, "pods")
	}
	for _, group := range match.Resources {
		for _, resource := range group.Resources {
			parts = append(parts, strings.TrimSuffix(resource+"."+group.Group, "."))
		}
	}
	operations := match.Operations
	if len(operations) == 0 {
		operations = []string{"CREATE", "UPDATE"}
	}
	return strings.Join(parts, ", ") + " on " + strings.Join(operations, ", ")
}

// properties are those of a JSON schema of type object.
func properties(schema map[string]any) map[string]any {
	if found, ok := schema["properties"].(map[string]any); ok {
		return found
	}
	return nil
}

func parameterText(name string, schema any) string {
	described, _ := schema.(map[string]any)
	text := name
	if kind, ok := described["type"].(string); ok {
		text += " (" + kind + ")"
	}
	if value, ok := described["default"]; ok {
		text += " = " + jsonText(value)
	} else {
		text += ", required"
	}
	if description, ok := described["description"].(string); ok {
		text += ": " + description
	}
	return text
}
