package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/revision"
)

// maxValue is how much of a value is shown; JSON has all of it.
const maxValue = 60

// diffRow is one line of a difference, for text and Markdown alike.
type diffRow struct {
	change    revision.Change
	name      string
	where     string // profiles
	what      string
	direction revision.Direction
}

// diffSection is a part of the report.
type diffSection struct {
	title string
	rows  []diffRow
}

// diffSections are the parts that have something to say.
func diffSections(d *revision.Difference) []diffSection {
	all := []diffSection{
		{"Policies", policyRows(d.Policies)}, {"Configured", instanceRows(d.Instances)}, {"Exceptions", exceptionRows(d.Exceptions)},
		{"Settings", settingRows(d.Settings)}, {"Shared code", fileRows(d.Shared)}, {"Other files", fileRows(d.Files)},
	}
	var sections []diffSection
	for _, section := range all {
		if len(section.rows) > 0 {
			sections = append(sections, section)
		}
	}
	return sections
}

func policyRows(entries []revision.Entry) []diffRow {
	var rows []diffRow
	for _, entry := range entries {
		rows = append(rows, entryRow(entry, entry.Title))
	}
	return rows
}

// entryRow says what has changed of an entry, or what it is where it comes or goes.
func entryRow(entry revision.Entry, what string) diffRow {
	if entry.Change == revision.Changed {
		what = fieldsText(entry.Fields)
	}
	return diffRow{change: entry.Change, name: entry.Name, what: what, direction: entry.Direction}
}

func instanceRows(entries []revision.InstanceEntry) []diffRow {
	var rows []diffRow
	for _, entry := range entries {
		row := diffRow{change: entry.Change, name: entry.Name, where: strings.Join(entry.Profiles, ", "), direction: entry.Direction, what: fieldsText(entry.Fields)}
		if entry.Change != revision.Changed {
			row.what = settingsText(entry.Fields)
		}
		rows = append(rows, row)
	}
	return rows
}

func exceptionRows(entries []revision.Entry) []diffRow {
	var rows []diffRow
	for _, entry := range entries {
		rows = append(rows, entryRow(entry, settingsText(entry.Fields)))
	}
	return rows
}

func settingRows(fields []revision.Field) []diffRow {
	var rows []diffRow
	for _, field := range fields {
		row := diffRow{change: revision.Changed, name: field.Field, what: valueText(field.Before) + " → " + valueText(field.After)}
		switch {
		case field.Before == nil:
			row.change, row.what = revision.Added, valueText(field.After)
		case field.After == nil:
			row.change, row.what = revision.Removed, valueText(field.Before)
		}
		rows = append(rows, row)
	}
	return rows
}

func fileRows(entries []revision.Entry) []diffRow {
	var rows []diffRow
	for _, entry := range entries {
		rows = append(rows, diffRow{change: entry.Change, name: entry.Name})
	}
	return rows
}

// fieldsText says what changed of something: "enforcement warn → deny; rules".
func fieldsText(fields []revision.Field) string {
	var parts []string
	for _, field := range fields {
		switch field.Field {
		case "rules", "description":
			parts = append(parts, field.Field) // too long to be shown
		default:
			parts = append(parts, field.Field+" "+valueText(field.Before)+" → "+valueText(field.After))
		}
	}
	return strings.Join(parts, "; ")
}

// settingsText says how something that comes or goes is configured: "enforcement deny; parameters.max 3". That the policy goes
// by the name of the entry is not said again.
func settingsText(fields []revision.Field) string {
	var parts []string
	for _, field := range fields {
		value := field.After
		if value == nil {
			value = field.Before
		}
		if field.Field != "policy" || len(fields) > 4 {
			parts = append(parts, field.Field+" "+valueText(value))
		}
	}
	return strings.Join(parts, "; ")
}

// valueText is a JSON value for people, cut to maxValue.
func valueText(value json.RawMessage) string {
	if value == nil {
		return "none"
	}
	text := string(value)
	var plain string
	if json.Unmarshal(value, &plain) == nil && plain != "" {
		text = plain
	}
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxValue {
		text = string(runes[:maxValue]) + "…"
	}
	return text
}

// signs stand for changes.
var signs = map[revision.Change]string{revision.Added: "+", revision.Removed: "-", revision.Changed: "~"}

func sideText(side revision.Side) string {
	return fmt.Sprintf("%s@%d (%.19s)", side.Name, side.Serial, side.Digest)
}

func writeDiffText(w io.Writer, d *bundleDifference) error {
	var b strings.Builder
	fmt.Fprintf(&b, "before  %s\nafter   %s\n", output.Plain(sideText(d.Before)), output.Plain(sideText(d.After)))
	sections := diffSections(d.Difference)
	if len(sections) == 0 {
		b.WriteString("\nThey judge alike: nothing differs that matters.\n")
	}
	for _, section := range sections {
		fmt.Fprintf(&b, "\n%s\n", section.title)
		for _, row := range section.rows {
			line := fmt.Sprintf("  %s %s", signs[row.change], row.name)
			if row.where != "" {
				line += " in " + row.where
			}
			if row.what != "" {
				line += ": " + row.what
			}
			if row.direction != "" {
				line += " (" + string(row.direction) + ")"
			}
			fmt.Fprintln(&b, output.Plain(line))
		}
	}
	if d.Effect != nil {
		b.WriteString("\nEffect on the journal\n\n")
		if err := writeReplayText(&b, d.Effect); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeDiffMarkdown(w io.Writer, d *bundleDifference) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Policies: %s → %s\n\n", output.Markdown(sideText(d.Before)), output.Markdown(sideText(d.After)))
	sections := diffSections(d.Difference)
	if len(sections) == 0 {
		b.WriteString("They judge alike: nothing differs that matters.\n")
	}
	for _, section := range sections {
		fmt.Fprintf(&b, "### %s\n\n| | name | profiles | what | |\n|---|---|---|---|---|\n", section.title)
		for _, row := range section.rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", markdownSigns[row.change], output.Markdown(row.name), output.Markdown(row.where), output.Markdown(row.what), markdownDirection(row.direction))
		}
		b.WriteString("\n")
	}
	if d.Effect != nil {
		writeEffectMarkdown(&b, d.Effect)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var markdownSigns = map[revision.Change]string{revision.Added: "➕", revision.Removed: "➖", revision.Changed: "✏️"}

func markdownDirection(d revision.Direction) string {
	if d == "" {
		return ""
	}
	return "**" + string(d) + "**"
}

// writeEffectMarkdown sums up a replay.
func writeEffectMarkdown(b *strings.Builder, report *journal.Report) {
	fmt.Fprintf(b, "### Effect on %s of the journal\n\n| newly denied | newly admitted | changed | not replayable | unchanged |\n|---:|---:|---:|---:|---:|\n", counted(report.Decisions, "decision"))
	fmt.Fprintf(b, "| %d | %d | %d | %d | %d |\n\n", report.NewlyDenied, report.NewlyAdmitted, report.Changed, report.NotReplayable, report.Unchanged)
	if len(report.Policies) == 0 {
		return
	}
	b.WriteString("| policy | effect |\n|---|---|\n")
	for n := range report.Policies {
		policy := &report.Policies[n]
		name := policy.Policy
		if name == "" {
			name = "no single policy"
		}
		fmt.Fprintf(b, "| %s | %s |\n", output.Markdown(name), output.Markdown(policyCounts(&policy.PolicyCounts)))
	}
}
