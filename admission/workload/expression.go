package workload

import (
	"regexp"
	"slices"
	"strconv"
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
	return s.openIn(value, n.path, nil), nil
}

func (s syntax) openIn(value any, path string, found []Unresolved) []Unresolved {
	switch value := value.(type) {
	case string:
		if expression := s.expression(value); expression != "" {
			found = append(found, Unresolved{path, expression, s.reason()})
		}
	case []any:
		for i, item := range value {
			found = s.openIn(item, path+"["+strconv.Itoa(i)+"]", found)
		}
	case map[string]any:
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if text, ok := value[name].(string); ok && text != "" && slices.Contains(notInNormalForm, name) {
				continue
			}
			found = s.openIn(value[name], join(path, name), found)
		}
	}
	return found
}
