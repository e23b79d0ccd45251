package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// shownPanel is a panel as Grafana reads it.
type shownPanel struct {
	Title       string `json:"title"`
	Type        string `json:"type"`
	Description string `json:"description"`
	GridPos     struct{ X, Y, W, H int }
}

func panelsOf(t *testing.T, content []byte) []shownPanel {
	t.Helper()
	var read struct {
		Panels []shownPanel `json:"panels"`
	}
	must(t, json.Unmarshal(content, &read))
	if len(read.Panels) == 0 {
		t.Fatal("the dashboard has no panels")
	}
	return read.Panels
}

// Between these lines of docs/metrics.md stands what is made from the programs' catalogs.
const (
	listBegins = "<!-- The list begins: go test ./test/monitoring -update writes it. -->\n"
	listEnds   = "<!-- The list ends. -->\n"
)

func TestTheHandbookListsAllMetrics(t *testing.T) {
	s := open(t)
	content, err := os.ReadFile(handbook)
	must(t, err)
	before, rest, found := strings.Cut(string(content), listBegins)
	_, after, ended := strings.Cut(rest, listEnds)
	if !found || !ended {
		t.Fatalf("%s has no place for the list", handbook)
	}
	want := before + listBegins + s.list() + listEnds + after
	if *update {
		must(t, os.WriteFile(handbook, []byte(want), 0o644))
	} else if string(content) != want {
		t.Errorf("%s does not list what the programs have: run go test ./test/monitoring -update", handbook)
	}
}

// list is all metrics of ours, and the labels that they have.
func (s *scene) list() string {
	type listed struct {
		metric
		programs []string
	}
	all, labels := map[string]*listed{}, map[string]string{}
	for _, program := range sortedKeys(s.catalogs) {
		for _, m := range s.catalogs[program] {
			if m.Type == "" {
				continue // a library's
			}
			if all[m.Name] == nil {
				all[m.Name] = &listed{metric: m}
			}
			all[m.Name].programs = append(all[m.Name].programs, strings.TrimPrefix(program, "portcullis-"))
			for _, label := range m.Labels {
				labels[label] = m.Bounds[label]
			}
		}
	}
	var out strings.Builder
	fmt.Fprint(&out, "\n| metric | type | of | labels | what |\n|---|---|---|---|---|\n")
	for _, name := range sortedKeys(all) {
		m := all[name]
		of := strings.Join(m.programs, ", ")
		if len(m.programs) == len(s.catalogs) {
			of = "all"
		}
		slices.Sort(m.Labels)
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, of, strings.Join(m.Labels, ", "), strings.ReplaceAll(m.Help, "|", `\|`))
	}
	fmt.Fprint(&out, "\nWhat labels there are, and why none has many values:\n\n| label | values |\n|---|---|\n")
	for _, label := range sortedKeys(labels) {
		fmt.Fprintf(&out, "| `%s` | %s |\n", label, labels[label])
	}
	fmt.Fprintln(&out)
	return out.String()
}
