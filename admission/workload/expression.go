package workload

// syntax is that of the expressions which a kind's controller resolves before it
// makes pods. The zero value has none: in a Kubernetes object "{{x}}" is just text.
type syntax int

const (
	noExpressions     syntax = iota
	argoExpressions          // {{inputs.parameters.x}}
	tektonExpressions        // $(params.x)
)

func (s syntax) isOpen(text string) bool       { return s != noExpressions && s.expression(text) != "" }
func (s syntax) expression(text string) string { return "" }
