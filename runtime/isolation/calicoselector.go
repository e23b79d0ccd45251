package isolation

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a Calico selector. The API allows 1,024 characters.
const (
	maxSelector      = 8 << 10
	maxSelectorDepth = 64
)

// parseCalicoSelector reads an expression of Calico's selectors (GlobalNetworkPolicySpec.Selector), in which labels are those of a
// domain. An empty one holds for everything.
func parseCalicoSelector(text string, of domain) (condition, error) {
	if len(text) > maxSelector {
		return condition{}, fmt.Errorf("reading a selector: it has %d characters, more than %d", len(text), maxSelector)
	}
	tokens, err := calicoTokens(text)
	if err != nil {
		return condition{}, fmt.Errorf("reading the selector %q: %w", text, err)
	}
	if len(tokens) == 0 {
		return condition{}, nil
	}
	p := calicoParser{tokens: tokens, of: of}
	c, err := p.or(0)
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q is left over", p.tokens[0].text)
	}
	if err != nil {
		return condition{}, fmt.Errorf("reading the selector %q: %w", text, err)
	}
	return c, nil
}

// calicoToken is a word, a quoted string, or an operator.
type calicoToken struct {
	text   string
	quoted bool
}

func calicoTokens(text string) ([]calicoToken, error) {
	var tokens []calicoToken
	for text = strings.TrimLeft(text, " \t\r\n"); text != ""; text = strings.TrimLeft(text, " \t\r\n") {
		token, rest, err := calicoNext(text)
		if err != nil {
			return nil, err
		}
		tokens, text = append(tokens, token), rest
	}
	return tokens, nil
}

func calicoNext(text string) (calicoToken, string, error) {
	if text[0] == '"' || text[0] == '\'' {
		end := strings.IndexByte(text[1:], text[0])
		if end < 0 {
			return calicoToken{}, "", errors.New("a string does not end")
		}
		return calicoToken{text[1 : 1+end], true}, text[end+2:], nil
	}
	for _, operator := range []string{"&&", "||", "==", "!=", "!", "(", ")", "{", "}", ","} {
		if rest, ok := strings.CutPrefix(text, operator); ok {
			return calicoToken{operator, false}, rest, nil
		}
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !isCalicoWord(r) })
	switch end {
	case -1:
		end = len(text)
	case 0:
		return calicoToken{}, "", fmt.Errorf("%q is not understood", text[:1])
	}
	return calicoToken{text[:end], false}, text[end:], nil
}

func isCalicoWord(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_./-", r)
}

type calicoParser struct {
	tokens []calicoToken
	of     domain
}

var errSelectorEnds = errors.New("it ends too early")

func (p *calicoParser) next() (calicoToken, error) {
	if len(p.tokens) == 0 {
		return calicoToken{}, errSelectorEnds
	}
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token, nil
}

// take takes operators or words that come next, all of them or none.
func (p *calicoParser) take(texts ...string) bool {
	if len(p.tokens) < len(texts) {
		return false
	}
	for i, text := range texts {
		if p.tokens[i].quoted || p.tokens[i].text != text {
			return false
		}
	}
	p.tokens = p.tokens[len(texts):]
	return true
}

func (p *calicoParser) expect(text string) error {
	if p.take(text) {
		return nil
	}
	if len(p.tokens) == 0 {
		return errSelectorEnds
	}
	return fmt.Errorf("%q where %q belongs", p.tokens[0].text, text)
}

func (p *calicoParser) or(depth int) (condition, error) {
	return p.list(depth, "||", p.and, or)
}

func (p *calicoParser) and(depth int) (condition, error) {
	return p.list(depth, "&&", p.unary, and)
}

func (p *calicoParser) list(depth int, operator string, part func(int) (condition, error), join func(...condition) condition) (condition, error) {
	var parts []condition
	for {
		c, err := part(depth)
		if err != nil {
			return condition{}, err
		}
		parts = append(parts, c)
		if !p.take(operator) {
			return join(parts...), nil
		}
	}
}

func (p *calicoParser) unary(depth int) (condition, error) {
	if depth > maxSelectorDepth {
		return condition{}, errors.New("it is nested too deep")
	}
	switch {
	case p.take("!"):
		c, err := p.unary(depth + 1)
		return c.not(), err
	case p.take("("):
		c, err := p.or(depth + 1)
		if err != nil {
			return condition{}, err
		}
		return c, p.expect(")")
	case p.take("all", "(", ")"):
		return condition{}, nil
	case p.take("global", "(", ")"):
		return nobody(), nil // what has no namespace, which no pod is
	case p.take("has", "("):
		token, err := p.next()
		if err != nil {
			return condition{}, err
		}
		return condition{op: opHas, on: calicoAttribute(token.text, p.of)}, p.expect(")")
	default:
		return p.comparison()
	}
}

func (p *calicoParser) comparison() (condition, error) {
	label, err := p.next()
	if err != nil {
		return condition{}, err
	}
	if label.quoted || !isCalicoWord(rune(label.text[0])) {
		return condition{}, fmt.Errorf("%q where a label belongs", label.text)
	}
	on := calicoAttribute(label.text, p.of)
	switch {
	case p.take("=="):
		value, err := p.text()
		return in(on, value), err
	case p.take("!="):
		value, err := p.text()
		return notIn(on, value), err
	case p.take("in"):
		values, err := p.set()
		return in(on, values...), err
	case p.take("not", "in"):
		values, err := p.set()
		return notIn(on, values...), err
	case p.take("contains"):
		value, err := p.text()
		return condition{op: opText, on: on, text: contains, values: []string{value}}, err
	case p.take("starts", "with"):
		value, err := p.text()
		return condition{op: opText, on: on, text: startsWith, values: []string{value}}, err
	case p.take("ends", "with"):
		value, err := p.text()
		return condition{op: opText, on: on, text: endsWith, values: []string{value}}, err
	default:
		return condition{}, fmt.Errorf("after %q comes no comparison", label.text)
	}
}

func (p *calicoParser) text() (string, error) {
	token, err := p.next()
	if err == nil && !token.quoted {
		err = fmt.Errorf("%q is not in quotes", token.text)
	}
	return token.text, err
}

func (p *calicoParser) set() ([]string, error) {
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	var values []string
	for !p.take("}") {
		if len(values) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		value, err := p.text()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// calicoAttribute is a label as Calico sees it: some of them it makes itself (docs.tigera.io, "Labels" of the resources).
func calicoAttribute(name string, of domain) attribute {
	if rest, ok := strings.CutPrefix(name, "pcns."); ok {
		name, of = rest, namespaceLabel
	} else if rest, ok := strings.CutPrefix(name, "pcsa."); ok {
		name, of = rest, hidden
	}
	switch {
	case of == podLabel && name == "projectcalico.org/namespace", of == namespaceLabel && name == "projectcalico.org/name":
		return attribute{namespaceLabel, namespaceName}
	case of == podLabel && name == "projectcalico.org/serviceaccount", of == hidden && name == "projectcalico.org/name":
		return attribute{domain: serviceAccountName}
	case of == podLabel && strings.HasPrefix(name, "projectcalico.org/"):
		return attribute{hidden, name}
	default:
		return attribute{of, name}
	}
}
