package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/spf13/cobra"
)

func (p *program) policyListCommand() *cobra.Command {
	var bundle bundleFlags
	var format string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the policies of a bundle with severity, profiles and, as JSON, control mappings",
		Example: `  portcullis policy list
  portcullis policy list --format json | jq .count`,
		Args: arguments(cobra.NoArgs, "list takes no arguments"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.policyList(command.Context(), &bundle, format)
		},
	}
	bundle.registerBundle(command.Flags(), nil)
	command.Flags().StringVar(&format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

func (p *program) policyList(ctx context.Context, bundle *bundleFlags, format string) error {
	if err := checkFormat(format); err != nil {
		return err
	}
	loaded, err := bundle.revision(ctx)
	if err != nil {
		return err
	}
	all := newInventory(loaded)
	if format == "json" {
		encoder := json.NewEncoder(p.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POLICY\tSEVERITY\tEFFECTS\tPROFILES\tTITLE")
	for _, policy := range all.Policies {
		var effects []string
		for _, effect := range policy.Effects {
			effects = append(effects, string(effect))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", output.Plain(policy.ID), policy.Severity, strings.Join(effects, ","),
			output.Plain(strings.Join(profilesOf(policy), ",")), output.Plain(policy.Title))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n%s in %s\n", cutLines(text.String(), style(p.stdout).Width), countPolicies(all.Count), output.Plain(all.Bundle))
	if err == nil && len(loaded.Judges) > 1 {
		_, err = fmt.Fprintln(p.stdout, "Policies for other tools, in its folders gatekeeper and conftest, judge with them and are not listed.")
	}
	return err
}

// cutLines cuts the lines of a text that are wider than a terminal; 0 is no terminal.
func cutLines(text string, width int) string {
	if width <= 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if runes := []rune(strings.TrimSuffix(line, "\n")); len(runes) > width {
			line = string(runes[:width-1]) + "…\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// profilesOf are the profiles in which a policy is on, with its enforcement where
// that is not deny.
func profilesOf(policy listed) []string {
	var names []string
	for _, profile := range slices.Sorted(maps.Keys(policy.Profiles)) {
		for _, enforcement := range slices.Sorted(maps.Values(policy.Profiles[profile])) {
			switch enforcement {
			case "off":
			case "deny":
				names = append(names, profile)
			default:
				names = append(names, profile+":"+enforcement)
			}
		}
	}
	return slices.Compact(names)
}

// controlsOf are control mappings in short: "pss:baseline/privileged".
func controlsOf(controls map[string][]string) []string {
	var names []string
	for _, framework := range slices.Sorted(maps.Keys(controls)) {
		for _, control := range controls[framework] {
			names = append(names, framework+":"+control)
		}
	}
	return names
}

func countPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}
