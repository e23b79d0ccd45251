package main

import (
	_ "embed" // for the page
	"html/template"
	"io"
	"strings"
)

//go:embed handbook.html
var handbookPage string

// writeHandbookHTML writes the handbook as one page that needs nothing else: no script, no font, no image.
func writeHandbookHTML(w io.Writer, book *handbook) error {
	page, err := template.New("handbook").Funcs(template.FuncMap{
		"anchor": func(id string) string { return strings.NewReplacer("/", "-", " ", "-").Replace(id) },
		"join":   func(list []string) string { return strings.Join(list, ", ") },
		"sample": func(kind string) string { return sampleWords[kind] },
		"groups": groups, "paragraphs": paragraphs,
		"link": func(text string) bool { return strings.HasPrefix(text, "https://") },
	}).Parse(handbookPage)
	if err != nil {
		return err
	}
	return page.Execute(w, book)
}

// handbookGroup are the policies of one group.
type handbookGroup struct {
	Name     string
	Policies []handbookPolicy
}

// groups puts policies together by the first part of their ids.
func groups(all []handbookPolicy) []handbookGroup {
	var found []handbookGroup
	for _, policy := range all {
		name, _, _ := strings.Cut(policy.ID, "/")
		if last := len(found) - 1; last >= 0 && found[last].Name == name {
			found[last].Policies = append(found[last].Policies, policy)
			continue
		}
		found = append(found, handbookGroup{name, []handbookPolicy{policy}})
	}
	return found
}

// paragraphs are those of a text, whose lines are broken where its author broke them.
func paragraphs(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, "\n\n") {
		all = append(all, strings.Join(strings.Fields(part), " "))
	}
	return all
}
