package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valuesMark stands in the README's text where the tables of values go.
const valuesMark = "<!-- values -->\n"

// readmeFile is the chart's README: the text in testdata, and a table of values for each of their groups.
func readmeFile(dir string) (map[string][]byte, error) {
	values, err := readValues(dir)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "..", "..", "test", "chart", "testdata", "README.md"))
	if err != nil {
		return nil, fmt.Errorf("reading the text of the README: %w", err)
	}
	before, after, found := strings.Cut(string(text), valuesMark)
	if !found {
		return nil, fmt.Errorf("reading the text of the README: it has no line %q for the values", strings.TrimSpace(valuesMark))
	}
	var out bytes.Buffer
	out.WriteString(before)
	for _, group := range values {
		if err := table(&out, group); err != nil {
			return nil, err
		}
	}
	out.WriteString(after)
	return map[string][]byte{"README.md": out.Bytes()}, nil
}

// table writes one group.
func table(out *bytes.Buffer, group *value) error {
	fmt.Fprintf(out, "### %s\n\n", group.name)
	if group.description != "" {
		fmt.Fprintf(out, "%s\n\n", cell(group.description))
	}
	out.WriteString("| value | default | what |\n|---|---|---|\n")
	rows := group.children
	if len(rows) == 0 {
		rows = []*value{group}
	}
	for _, row := range rows {
		if err := writeRow(out, row, row == group); err != nil {
			return err
		}
	}
	out.WriteByte('\n')
	return nil
}

func writeRow(out *bytes.Buffer, v *value, alone bool) error {
	if len(v.children) > 0 {
		if v.description != "" {
			fmt.Fprintf(out, "| `%s` | | %s |\n", v.name, cell(v.description))
		}
		for _, child := range v.children {
			if err := writeRow(out, child, false); err != nil {
				return err
			}
		}
		return nil
	}
	standard, err := standard(v.node)
	if err != nil {
		return fmt.Errorf("writing the default of %s: %w", v.name, err)
	}
	what := v.description
	if alone {
		what = "see above"
	}
	if v.has("enum") {
		what = strings.TrimSpace(what + " One of `" + strings.Join(list(v.directives["enum"]), "`, `") + "`.")
	}
	fmt.Fprintf(out, "| `%s` | `%s` | %s |\n", v.name, standard, cell(strings.ReplaceAll(what, "``", `""`)))
	return nil
}

// standard is the default as JSON in one line.
func standard(node *yaml.Node) (string, error) {
	var decoded any
	if err := node.Decode(&decoded); err != nil {
		return "", err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(decoded)
	return strings.TrimSpace(text.String()), err
}

// cell escapes what would end a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
