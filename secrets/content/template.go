package content

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/secrets"
)

// template is one that was parsed, for one key.
type template struct {
	name string
	text string
	root *parse.ListNode
}

// known are the names of the functions for the parser, which refuses all others.
var known = func() map[string]any {
	names := map[string]any{"and": true, "or": true}
	for name := range functions {
		names[name] = true
	}
	return names
}()

// parseTemplate reads one. What it says of a mistake is its place and kind: not the text, in which somebody may have written a password.
func parseTemplate(name, text string) (*template, error) {
	wrong := func(line int, message string) error {
		return &secrets.Error{Reason: secrets.Misconfigured, Doing: fmt.Sprintf("reading the template %s", name), Message: place(line) + message}
	}
	if len(text) > MaxTemplate {
		return nil, wrong(0, fmt.Sprintf("it has %d bytes, and at most %d are taken", len(text), MaxTemplate))
	}
	if !utf8.ValidString(text) {
		return nil, wrong(0, "it is not UTF-8")
	}
	trees, err := parse.Parse("t", text, "", "", known)
	if err != nil {
		return nil, wrong(parserMessage(err))
	}
	for other := range trees {
		if other != "t" {
			return nil, wrong(0, "define, block and template are not taken: write what they stand for")
		}
	}
	t := &template{name: name, text: text}
	if tree := trees["t"]; tree != nil {
		t.root = tree.Root
	}
	if node := forbidden(t.root, 0); node != nil {
		return nil, wrong(t.line(node.node), node.why)
	}
	return t, nil
}

// line is that of a node, from 1; 0 for none.
func (t *template) line(node parse.Node) int {
	if node == nil {
		return 0
	}
	return 1 + strings.Count(t.text[:min(int(node.Position()), len(t.text))], "\n")
}

func place(line int) string {
	if line == 0 {
		return ""
	}
	return "line " + strconv.Itoa(line) + ": "
}

var (
	parserPlace     = regexp.MustCompile(`^template: t:(\d+): ?`)
	unknownFunction = regexp.MustCompile(`^function "([A-Za-z0-9_]{1,64})" not defined$`)
)

// parserMessage is the line and the kind of the parser's errors, without what they quote.
func parserMessage(err error) (int, string) {
	message, line := err.Error(), 0
	if at := parserPlace.FindStringSubmatch(message); at != nil {
		line, _ = strconv.Atoi(at[1])
		message = message[len(at[0]):]
	}
	if function := unknownFunction.FindStringSubmatch(message); function != nil {
		return line, fmt.Sprintf("there is no function %s: use %s", function[1], strings.Join(Functions(), ", "))
	}
	for _, kind := range parserKinds {
		if strings.Contains(message, kind) {
			return line, kind
		}
	}
	return line, "it does not parse as a Go template"
}

// parserKinds are what the parser's messages hold that is no part of a template (text/template/parse, Go 1.26).
var parserKinds = []string{
	"unclosed action", "unclosed left paren", "unexpected right paren", "unexpected EOF", "unterminated quoted string", "unterminated raw quoted string", "unterminated character constant",
	"unclosed comment", "comment ends before closing delimiter", "missing value for", "non executable command in pipeline stage", "undefined variable", "bad number syntax", "bad character",
	"unexpected {{else}}", "unexpected {{end}}", "expected end; found {{else}}", "empty command", "{{break}} outside {{range}}", "{{continue}} outside {{range}}", "too many declarations",
	"illegal number syntax", "unexpected dot", "nil is not a command", "max expression depth",
}

// refusal is a node that is not evaluated, and why.
type refusal struct {
	node parse.Node
	why  string
}

// forbidden finds what the parser takes and this package does not: other templates, complex numbers, nesting without end.
func forbidden(node parse.Node, depth int) *refusal {
	if depth > maxNesting {
		return &refusal{node, fmt.Sprintf("more than %d blocks and parentheses are nested", maxNesting)}
	}
	all := func(nodes ...parse.Node) *refusal {
		for _, n := range nodes {
			if found := forbidden(n, depth+1); found != nil {
				return found
			}
		}
		return nil
	}
	branch := func(b *parse.BranchNode) *refusal {
		if b.ElseList == nil {
			return all(b.Pipe, b.List)
		}
		return all(b.Pipe, b.List, b.ElseList)
	}
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if found := forbidden(child, depth+1); found != nil {
				return found
			}
		}
	case *parse.ActionNode:
		return all(n.Pipe)
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.RangeNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			if found := forbidden(command, depth+1); found != nil {
				return found
			}
		}
	case *parse.CommandNode:
		return all(n.Args...)
	case *parse.ChainNode:
		return all(n.Node)
	case *parse.NumberNode:
		if _, ok := constant(n); !ok {
			return &refusal{n, "a number is complex or too large"}
		}
	case *parse.TemplateNode:
		return &refusal{n, "define, block and template are not taken: write what they stand for"}
	case *parse.TextNode, *parse.BreakNode, *parse.ContinueNode, *parse.CommentNode, *parse.FieldNode, *parse.VariableNode, *parse.DotNode, *parse.NilNode,
		*parse.BoolNode, *parse.StringNode, *parse.IdentifierNode:
	default:
		return &refusal{node, "it holds something that is not evaluated here"}
	}
	return nil
}

// failure is why an evaluation stopped. Its text is of this package and of the template; it holds nothing of values.
type failure struct {
	reason secrets.Reason
	text   string
	cause  error
}

func (f *failure) Error() string { return f.text }

func failed(format string, args ...any) error {
	return &failure{reason: secrets.TemplateFailed, text: fmt.Sprintf(format, args...)}
}

// evaluate gives what the template makes of root.
func (t *template) evaluate(root any, b *budget) ([]byte, error) {
	e := &evaluator{budget: b, out: &output{budget: b}, variables: []variable{{"$", root}}}
	err := e.list(root, t.root)
	if err == nil {
		return e.out.text, nil
	}
	clear(e.out.text)
	stopped := &secrets.Error{Reason: secrets.TemplateFailed, Doing: "evaluating the template " + t.name, Message: place(t.line(e.at)) + "it fails"}
	if f := (*failure)(nil); errors.As(err, &f) {
		stopped.Reason, stopped.Message, stopped.Cause = f.reason, place(t.line(e.at))+f.text, f.cause
	}
	return nil, stopped
}
