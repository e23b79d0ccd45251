package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value is one key of values.yaml with what its comment says.
type value struct {
	name, description string
	// directives are the comment's lines that begin with @, by name.
	directives map[string]string
	node       *yaml.Node
	// children are the keys below, where it is a mapping whose keys are known.
	children []*value
}

// directiveNames are all that there are.
var directiveNames = []string{"type", "enum", "pattern", "min", "max", "items", "open", "resources", "duration"}

// readValues reads values.yaml.
func readValues(dir string) ([]*value, error) {
	text, err := os.ReadFile(filepath.Join(dir, "values.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the chart's values: %w", err)
	}
	return parseValues(text)
}

func parseValues(text []byte) ([]*value, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("reading the chart's values: %w", err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("reading the chart's values: they are no mapping")
	}
	if err := unique("", document.Content[0]); err != nil {
		return nil, err
	}
	return children("", document.Content[0])
}

// unique refuses a key that is there twice: of those Helm takes the last, and says nothing.
func unique(path string, node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		for _, item := range node.Content {
			if err := unique(path, item); err != nil {
				return err
			}
		}
		return nil
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		if before := lines[key.Value]; before > 0 {
			return fmt.Errorf("reading the chart's values: line %d: %s is there a second time, after line %d: put both together", key.Line, name, before)
		}
		lines[key.Value] = key.Line
		if err := unique(name, node.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func children(path string, mapping *yaml.Node) ([]*value, error) {
	var all []*value
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		one := &value{name: strings.TrimPrefix(path+"."+key.Value, "."), node: node, directives: map[string]string{}}
		if err := one.comment(key.HeadComment); err != nil {
			return nil, err
		}
		if node.Kind == yaml.MappingNode && !one.free() {
			var err error
			if one.children, err = children(one.name, node); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// comment takes the last paragraph above the key apart: one that is set off is about what follows as a whole.
func (v *value) comment(text string) error {
	paragraphs := strings.Split(text, "\n\n")
	var words []string
	for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		directive, found := strings.CutPrefix(line, "@")
		if !found {
			if line != "" {
				words = append(words, line)
			}
			continue
		}
		name, argument, _ := strings.Cut(directive, " ")
		if !slices.Contains(directiveNames, name) {
			return fmt.Errorf("reading the comment of %s: there is no directive @%s; there are @%s", v.name, name, strings.Join(directiveNames, ", @"))
		}
		v.directives[name] = strings.TrimSpace(argument)
	}
	v.description = sentence(words)
	return nil
}

// free says that the keys below are the user's.
func (v *value) free() bool { return v.has("open") || v.has("resources") }

func (v *value) has(directive string) bool {
	_, found := v.directives[directive]
	return found
}

// key is the last part of the name.
func (v *value) key() string { return v.name[strings.LastIndex(v.name, ".")+1:] }

// types are those of JSON Schema that it may have.
func (v *value) types() ([]string, error) {
	if named, ok := v.directives["type"]; ok {
		return list(named), nil
	}
	switch v.node.Kind {
	case yaml.MappingNode:
		return []string{"object"}, nil
	case yaml.SequenceNode:
		return []string{"array"}, nil
	}
	switch v.node.Tag {
	case "!!str":
		return []string{"string"}, nil
	case "!!bool":
		return []string{"boolean"}, nil
	case "!!int":
		return []string{"integer"}, nil
	case "!!float":
		return []string{"number"}, nil
	}
	return nil, fmt.Errorf("reading %s: its value says no type: write @type TYPE into its comment", v.name)
}

func list(text string) []string {
	var all []string
	for item := range strings.SplitSeq(text, ",") {
		all = append(all, strings.Trim(strings.TrimSpace(item), `"`))
	}
	return all
}

func (v *value) number(directive string) (any, error) {
	number, err := strconv.Atoi(v.directives[directive])
	if err != nil {
		return nil, fmt.Errorf("reading @%s of %s: %q is no whole number", directive, v.name, v.directives[directive])
	}
	return number, nil
}
