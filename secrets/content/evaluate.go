package content

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/portcullis-dev/portcullis/secrets"
)

// budget is what all templates of one Secret may use together.
type budget struct {
	ctx    context.Context
	steps  int
	work   int
	output int
}

func newBudget(ctx context.Context) *budget {
	return &budget{ctx: ctx, steps: maxSteps, work: maxWork, output: MaxSize}
}

// step counts one node, round or call, and looks at the clock from time to time.
func (b *budget) step() error {
	b.steps--
	if b.steps < 0 {
		return failed("it takes more than %d steps: loop over less", maxSteps)
	}
	if b.steps%64 == 0 {
		return b.alive()
	}
	return nil
}

func (b *budget) alive() error {
	if err := b.ctx.Err(); err != nil {
		text := fmt.Sprintf("it was not done in %s", evaluationTime)
		if errors.Is(err, context.Canceled) {
			text = "it was stopped before it was done"
		}
		return &failure{reason: secrets.TemplateFailed, text: text, cause: err}
	}
	return nil
}

// charge counts bytes that a function reads or makes: before it does.
func (b *budget) charge(size int) error {
	b.work -= size
	if size < 0 || b.work < 0 {
		return failed("its functions handle more than %d bytes: use less", maxWork)
	}
	if size > 4096 { // what takes long is asked about first
		return b.alive()
	}
	return nil
}

// produce counts a text that a function is about to make.
func (b *budget) produce(size int) error {
	if size < 0 || size > maxText {
		return failed("a text has more than %d bytes", maxText)
	}
	return b.charge(size)
}

// output is what a template has written. It never holds more than a Secret can.
type output struct {
	budget *budget
	text   []byte
}

func (o *output) write(text string) error {
	o.budget.output -= len(text)
	if o.budget.output < 0 {
		return failed("it makes more than %d bytes, which is what a Secret holds", MaxSize)
	}
	o.text = append(o.text, text...)
	return nil
}

// rootOf is what templates see: .Data with a text for each key, and .Keys, which are their names in order.
func rootOf(source secrets.Data) any {
	data := make(map[string]any, len(source))
	keys := make([]any, 0, len(source))
	for _, key := range source.Keys() {
		data[key] = string(source[key].Reveal())
		keys = append(keys, key)
	}
	return map[string]any{"Data": data, "Keys": keys}
}

// evaluator walks one template. Values are nil, string, bool, int64, float64, []any and map[string]any, and nothing else. None is ever
// changed.
//
// What it does follows text/template/exec.go; where that goes on in silence (an absent key is "<no value>", an index that is not there an
// empty text, a map is printed as Go does), this fails.
type evaluator struct {
	budget    *budget
	out       *output
	variables []variable
	at        parse.Node // where it is, for errors
}

type variable struct {
	name  string
	value any
}

// absent stands for the value that a command does not get from one before it.
type absent struct{}

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

func (e *evaluator) list(dot any, list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, node := range list.Nodes {
		if err := e.node(dot, node); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluator) node(dot any, node parse.Node) error {
	e.at = node
	if err := e.budget.step(); err != nil {
		return err
	}
	switch n := node.(type) {
	case *parse.TextNode:
		return e.out.write(string(n.Text))
	case *parse.ActionNode:
		value, err := e.pipeline(dot, n.Pipe)
		if err != nil || len(n.Pipe.Decl) > 0 {
			return err
		}
		text, err := printed(value)
		if err != nil {
			e.at = n
			return err
		}
		return e.out.write(text)
	case *parse.IfNode:
		return e.branch(dot, &n.BranchNode, false)
	case *parse.WithNode:
		return e.branch(dot, &n.BranchNode, true)
	case *parse.RangeNode:
		return e.loop(dot, n)
	case *parse.BreakNode:
		return errBreak
	case *parse.ContinueNode:
		return errContinue
	case *parse.CommentNode:
		return nil
	}
	return failed("it holds something that is not evaluated here")
}

func (e *evaluator) branch(dot any, n *parse.BranchNode, with bool) error {
	mark := len(e.variables)
	defer func() { e.variables = e.variables[:mark] }()
	value, err := e.pipeline(dot, n.Pipe)
	switch {
	case err != nil:
		return err
	case !truth(value):
		return e.list(dot, n.ElseList)
	case with:
		return e.list(value, n.List)
	}
	return e.list(dot, n.List)
}

// loop ranges over a list, a map in the order of its keys, or the numbers below one.
func (e *evaluator) loop(dot any, n *parse.RangeNode) error {
	mark := len(e.variables)
	defer func() { e.variables = e.variables[:mark] }()
	value, err := e.pipeline(dot, n.Pipe)
	if err != nil {
		return err
	}
	inner := len(e.variables)
	rounds := 0
	round := func(index, element any) error {
		rounds++
		if err := e.budget.step(); err != nil {
			e.at = n
			return err
		}
		defer func() { e.variables = e.variables[:inner] }()
		if err := e.declare(n.Pipe, index, element); err != nil {
			return err
		}
		if err := e.list(element, n.List); !errors.Is(err, errContinue) {
			return err
		}
		return nil
	}
	switch over := value.(type) {
	case nil:
	case []any:
		for i := 0; i < len(over) && err == nil; i++ {
			err = round(int64(i), over[i])
		}
	case map[string]any:
		if err := e.budget.charge(32 * len(over)); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(over)) {
			if err = round(key, over[key]); err != nil {
				break
			}
		}
	case int64:
		if len(n.Pipe.Decl) > 1 {
			return failed("range over a number has one variable")
		}
		for i := int64(0); i < over && err == nil; i++ {
			err = round(nil, i)
		}
	default:
		return failed("range goes over lists, maps and numbers, and this is %s", kindOf(value))
	}
	if errors.Is(err, errBreak) {
		err = nil
	}
	if err != nil || rounds > 0 {
		return err
	}
	return e.list(dot, n.ElseList)
}

// declare gives a loop's variables their values for one round.
func (e *evaluator) declare(pipe *parse.PipeNode, index, element any) error {
	values := []any{element}
	if len(pipe.Decl) > 1 {
		values = []any{index, element}
	}
	for i, declared := range pipe.Decl {
		if pipe.IsAssign {
			if err := e.assign(declared.Ident[0], values[i]); err != nil {
				return err
			}
			continue
		}
		e.variables[len(e.variables)-len(pipe.Decl)+i].value = values[i]
	}
	return nil
}

func (e *evaluator) assign(name string, value any) error {
	for i := len(e.variables) - 1; i >= 0; i-- {
		if e.variables[i].name == name {
			e.variables[i].value = value
			return nil
		}
	}
	return failed("the variable %s is not declared", name)
}

func (e *evaluator) pipeline(dot any, pipe *parse.PipeNode) (any, error) {
	if pipe == nil {
		return nil, nil
	}
	e.at = pipe
	var value any = absent{}
	for _, command := range pipe.Cmds {
		var err error
		if value, err = e.command(dot, command, value); err != nil {
			return nil, err
		}
	}
	for _, declared := range pipe.Decl {
		if pipe.IsAssign {
			if err := e.assign(declared.Ident[0], value); err != nil {
				return nil, err
			}
			continue
		}
		e.variables = append(e.variables, variable{declared.Ident[0], value})
	}
	return value, nil
}

// command evaluates one part of a pipeline; last is what the part before it gave.
func (e *evaluator) command(dot any, command *parse.CommandNode, last any) (any, error) {
	if err := e.budget.step(); err != nil {
		return nil, err
	}
	first := command.Args[0]
	if function, ok := first.(*parse.IdentifierNode); ok {
		return e.call(dot, function, command.Args[1:], last)
	}
	e.at = first
	if _, none := last.(absent); !none || len(command.Args) > 1 {
		return nil, failed("an argument is given to what is not a function")
	}
	if _, ok := first.(*parse.NilNode); ok {
		return nil, failed("nil is not a command")
	}
	return e.argument(dot, first)
}

func (e *evaluator) argument(dot any, node parse.Node) (any, error) {
	e.at = node
	if err := e.budget.step(); err != nil {
		return nil, err
	}
	switch n := node.(type) {
	case *parse.DotNode:
		return dot, nil
	case *parse.NilNode:
		return nil, nil
	case *parse.BoolNode:
		return n.True, nil
	case *parse.StringNode:
		return n.Text, nil
	case *parse.NumberNode:
		value, ok := constant(n)
		if !ok {
			return nil, failed("a number is complex or too large")
		}
		return value, nil
	case *parse.FieldNode:
		return fields(dot, n.Ident)
	case *parse.VariableNode:
		for i := len(e.variables) - 1; i >= 0; i-- {
			if e.variables[i].name == n.Ident[0] {
				return fields(e.variables[i].value, n.Ident[1:])
			}
		}
		return nil, failed("the variable %s is not declared", n.Ident[0])
	case *parse.PipeNode:
		return e.pipeline(dot, n)
	case *parse.ChainNode:
		value, err := e.argument(dot, n.Node)
		if err != nil {
			return nil, err
		}
		e.at = n
		return fields(value, n.Field)
	case *parse.IdentifierNode:
		return e.call(dot, n, nil, absent{})
	}
	return nil, failed("it holds something that is not evaluated here")
}

// fields goes down by names. They are written in the template: naming them gives nothing away.
func fields(value any, path []string) (any, error) {
	for _, name := range path {
		of, ok := value.(map[string]any)
		if !ok {
			return nil, failed("%s has no field %s", kindOf(value), name)
		}
		if value, ok = of[name]; !ok {
			return nil, keyMissing(name)
		}
	}
	return value, nil
}

func keyMissing(name string) error {
	return &failure{reason: secrets.KeyMissing, text: fmt.Sprintf("there is no key %s: correct the name, or ask with hasKey first", printable(name))}
}

func (e *evaluator) call(dot any, name *parse.IdentifierNode, nodes []parse.Node, last any) (any, error) {
	if name.Ident == "and" || name.Ident == "or" {
		return e.junction(dot, name, nodes, last)
	}
	function, ok := functions[name.Ident]
	if !ok {
		return nil, failed("there is no function %s", name.Ident)
	}
	arguments := make([]any, 0, len(nodes)+1)
	for _, node := range nodes {
		value, err := e.argument(dot, node)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, value)
	}
	if _, none := last.(absent); !none {
		arguments = append(arguments, last)
	}
	e.at = name
	if len(arguments) < function.least || function.most >= 0 && len(arguments) > function.most {
		return nil, failed("%s takes %s, and is given %d", name.Ident, function.arity(), len(arguments))
	}
	size := 0
	for _, argument := range arguments {
		if text, ok := argument.(string); ok {
			size += len(text)
		}
	}
	if err := e.budget.charge(size); err != nil {
		return nil, err
	}
	value, err := function.call(e.budget, arguments)
	if f := (*failure)(nil); errors.As(err, &f) && f.reason == secrets.KeyMissing && !literal(nodes) {
		return nil, &failure{reason: f.reason, text: "there is no key of the name that is asked for: ask with hasKey first"} // the name may be a value
	} else if errors.As(err, &f) && f.cause == nil && f.reason != secrets.KeyMissing {
		return nil, &failure{reason: f.reason, text: name.Ident + ": " + f.text}
	}
	return value, err
}

// literal says that all arguments but the first are written in the template.
func literal(nodes []parse.Node) bool {
	if len(nodes) < 2 {
		return false
	}
	for _, node := range nodes[1:] {
		switch node.(type) {
		case *parse.StringNode, *parse.NumberNode:
		default:
			return false
		}
	}
	return true
}

// junction is and and or, which evaluate no more than they need.
func (e *evaluator) junction(dot any, name *parse.IdentifierNode, nodes []parse.Node, last any) (any, error) {
	var value any = absent{}
	for _, node := range nodes {
		var err error
		if value, err = e.argument(dot, node); err != nil {
			return nil, err
		}
		if truth(value) == (name.Ident == "or") {
			return value, nil
		}
	}
	if _, none := last.(absent); !none {
		value = last
	}
	if _, none := value.(absent); none {
		e.at = name
		return nil, failed("%s takes at least one argument", name.Ident)
	}
	return value, nil
}

// constant is the value of a number, by the rules of text/template (idealConstant): false for what is not one of int64 and float64.
func constant(n *parse.NumberNode) (any, bool) {
	hexadecimal := len(n.Text) > 2 && n.Text[0] == '0' && (n.Text[1] == 'x' || n.Text[1] == 'X') && !strings.ContainsAny(n.Text, "pP")
	switch {
	case n.IsComplex:
		return nil, false
	case n.IsFloat && !hexadecimal && n.Text[0] != '\'' && strings.ContainsAny(n.Text, ".eEpP"):
		return n.Float64, true
	case n.IsInt:
		return n.Int64, true
	}
	return nil, false
}

// truth is that of text/template.IsTrue.
func truth(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case int64:
		return v != 0
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// printed is the text of a value, as fmt prints it. What has none that anybody wants in a Secret is an error.
func printed(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return fmt.Sprint(v), nil
	case nil:
		return "", failed("there is no value to write: use default")
	}
	return "", failed("%s is not written as such: use toJSON, join or range", kindOf(value))
}

func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	}
	return "a map"
}
