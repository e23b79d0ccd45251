package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
)

// writeHandbookMarkdown writes the handbook for repositories and wikis.
func writeHandbookMarkdown(w io.Writer, book *handbook) error {
	var b strings.Builder
	md := output.Markdown
	fmt.Fprintf(&b, "# Policies of %s\n\nRevision %s: %s.\n\n", md(book.Name), md(book.Revision), countPolicies(len(book.Policies)+len(book.Foreign)))
	for n := range book.Profiles {
		writeProfileMarkdown(&b, &book.Profiles[n])
	}
	if len(book.Foreign) > 0 {
		b.WriteString("## Policies for other tools\n\n")
		for _, name := range book.Foreign {
			fmt.Fprintf(&b, "- %s\n", md(name))
		}
		b.WriteString("\n")
	}
	b.WriteString("## Exceptions\n\n")
	if book.Grants != "" {
		fmt.Fprintf(&b, "In the cluster %s.\n\n", md(book.Grants))
	}
	writeExceptionsMarkdown(&b, book.Exceptions)
	b.WriteString("## All policies\n\n")
	for n := range book.Policies {
		writePolicyMarkdown(&b, &book.Policies[n])
	}
	if book.Spare > 0 {
		fmt.Fprintf(&b, "%d more are there to be configured: portcullis policy list shows them.\n", book.Spare)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeProfileMarkdown(b *strings.Builder, profile *handbookProfile) {
	md := output.Markdown
	fmt.Fprintf(b, "## Profile %s\n\n", md(profile.Name))
	if profile.Description != "" {
		fmt.Fprintf(b, "%s\n\n", md(profile.Description))
	}
	fmt.Fprintf(b, "%s\n\n", md(profile.where()))
	if len(profile.Rows) == 0 {
		return
	}
	b.WriteString("| policy | severity | enforcement | what |\n|---|---|---|---|\n")
	for _, row := range profile.Rows {
		name := md(row.ID)
		if row.Instance != "" {
			name += " (" + md(row.Instance) + ")"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, md(row.Severity), md(joined(", ", row.Enforcement, row.Ramp)), md(row.Title))
	}
	b.WriteString("\n")
}

// where says which namespaces have the profile.
func (p *handbookProfile) where() string {
	switch {
	case len(p.Namespaces) > 0 && p.Default:
		return "For the namespaces " + strings.Join(p.Namespaces, ", ") + ", for all that no other profile names, and for objects without a namespace."
	case len(p.Namespaces) > 0:
		return "For the namespaces " + strings.Join(p.Namespaces, ", ") + "."
	case p.Default:
		return "For all namespaces that no other profile names, and for objects without a namespace."
	}
	return "No namespace has it."
}

// Where is where for the template of the page.
func (p handbookProfile) Where() string { return p.where() }

// joined joins what is not empty.
func joined(separator string, parts ...string) string {
	var kept []string
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, separator)
}

func writeExceptionsMarkdown(b *strings.Builder, exceptions []handbookException) {
	if len(exceptions) == 0 {
		b.WriteString("There are none.\n\n")
		return
	}
	md := output.Markdown
	b.WriteString("| exception | policy | expires | owner | reason |\n|---|---|---|---|---|\n")
	for _, e := range exceptions {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", md(e.Name), md(e.Policy), md(joined(" ", e.Expires, e.state())), md(e.Owner), md(e.Reason))
	}
	b.WriteString("\n")
}

// state is a word on the expiry, "" where there is time.
func (e *handbookException) state() string {
	switch {
	case e.Expired:
		return "(expired: it waives nothing any more)"
	case e.Soon:
		return "(soon)"
	}
	return ""
}

func writePolicyMarkdown(b *strings.Builder, policy *handbookPolicy) {
	md := output.Markdown
	fmt.Fprintf(b, "### %s: %s\n\n%s\n\n", md(policy.ID), md(policy.Title), md(policy.Description))
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "- %s: %s\n", name, md(text))
		}
	}
	line("severity", policy.Severity)
	line("about", policy.Matches)
	line("to mend it", policy.Remediation)
	line("no change of the manifest helps", policy.FixReason)
	line("reads", strings.Join(policy.Reads, ", "))
	line("asked at", strings.Join(policy.Doors, ", "))
	line("controls", strings.Join(policy.Controls, ", "))
	for _, link := range policy.Links {
		line("see", link)
	}
	for _, use := range policy.Uses {
		line("profile "+md(strings.Join(use.Profiles, ", ")), joined(", ", use.Instance, use.Enforcement, use.Ramp, failText(use.Fail)))
		fencedBelow(b, "match", use.Match)
		fencedBelow(b, "parameters", use.Parameters)
	}
	for _, parameter := range policy.Parameters {
		line("parameter "+md(parameter.Name), joined(", ", parameter.Type, "by default "+parameter.Default, parameter.Description))
	}
	for _, e := range policy.Exceptions {
		line("exception "+md(e.Name), joined(" ", "until "+e.Expires, e.state())+": "+e.Reason)
	}
	b.WriteString("\n")
	for _, sample := range policy.Samples {
		fmt.Fprintf(b, "%s, %s:\n\n%s\n", sampleWords[sample.Kind], md(sample.Name), fenced(sample.Content, ""))
	}
}

// sampleWords say what a sample is for.
var sampleWords = map[string]string{"allow": "Allowed", "deny": "Refused", "patch": "Patched"}

func failText(mode string) string {
	if mode == "" {
		return ""
	}
	return "fails " + mode
}

func fencedBelow(b *strings.Builder, name, content string) {
	if content != "" {
		fmt.Fprintf(b, "\n  %s:\n\n%s\n", name, fenced(content, "  "))
	}
}

// fenced is a block of code that its content cannot end.
func fenced(content, indent string) string {
	fence := "```"
	for strings.Contains(content, fence) {
		fence += "`"
	}
	var b strings.Builder
	for line := range strings.Lines(fence + "yaml\n" + content + "\n" + fence + "\n") {
		b.WriteString(indent + output.Plain(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}
