package workload

import (
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// syntax is that of the expressions which a kind's controller resolves before it
// makes pods. The zero value has none: in a Kubernetes object "{{x}}" is just text.
type syntax int

const (
	noExpressions     syntax = iota
	argoExpressions          // {{inputs.parameters.x}}, {{=sprig.lower(x)}}
	tektonExpressions        // $(params.x), but not $(HOME), which the kubelet resolves
)

// tektonExpression lists the roots of Tekton's variables
// (https://tekton.dev/docs/pipelines/variables/).
var tektonExpression = regexp.MustCompile(
	`\$\((params|context|workspaces|results|steps|step|tasks|inputs|outputs|credentials|finally)[.\[][^)]*\)`)

// expression returns the first expression in a text, "" for none.
func (s syntax) expression(text string) string {
	switch s {
	case argoExpressions:
		start := strings.Index(text, "{{")
		if start < 0 {
			return ""
		}
		if end := strings.Index(text[start:], "}}"); end >= 0 {
			return text[start : start+end+2]
		}
	case tektonExpressions:
		if strings.Contains(text, "$(") {
			return tektonExpression.FindString(text)
		}
	}
	return ""
}

// isOpen says that the value of a field is not known yet.
func (s syntax) isOpen(text string) bool {
	return s != noExpressions && s.expression(text) != ""
}

// reason says who resolves the expression.
func (s syntax) reason() string {
	if s == argoExpressions {
		return "Argo fills this in when the workflow runs"
	}
	return "Tekton fills this in when the task runs"
}

// notInNormalForm are fields whose text policies never see: the scripts that run
// in a container.
var notInNormalForm = []string{"script", "source"}

// open lists the strings with expressions in a part of an object.
func (s syntax) open(n node) ([]Unresolved, error) {
	if s == noExpressions || len(n.raw) == 0 {
		return nil, nil
	}
	var value any
	if err := json.Unmarshal(n.raw, &value); err != nil {
		return nil, err
	}
	list := openList{syntax: s, path: n.path}
	list.search(value, nil)
	return list.found, nil
}

// openList collects expressions. Where there are too many to name, the last entry
// is the whole part.
type openList struct {
	syntax
	path  string
	found []Unresolved
	size  int // bytes of all paths
}

func (l *openList) search(value any, at trail) {
	if l.size > maxOpen {
		return
	}
	switch value := value.(type) {
	case string:
		if expression := l.expression(value); expression != "" {
			l.add(at, expression)
		}
	case []any:
		for i, item := range value {
			l.search(item, append(at, step{"", i}))
		}
	case map[string]any:
		for _, name := range sortedKeys(value) {
			if text, ok := value[name].(string); ok && text != "" && slices.Contains(notInNormalForm, name) {
				continue
			}
			l.search(value[name], append(at, step{name, -1}))
		}
	}
}

func (l *openList) add(at trail, expression string) {
	if l.size += at.size() + len(l.path); l.size > maxOpen {
		l.found = append(l.found, Unresolved{l.path, abbreviate(expression), l.reason() + "; further expressions are not listed"})
		return
	}
	l.found = append(l.found, Unresolved{at.path(l.path), abbreviate(expression), l.reason()})
}
