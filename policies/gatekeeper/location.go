package gatekeeper

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// step is one step of a location: into a field of an object, or to items of a list of objects.
type step struct {
	field string // "" for an item
	// key is the field that tells items apart, value what it is in the item meant (a string or an int64); all means
	// every item.
	key   string
	value any
	all   bool
}

func (s step) isItem() bool { return s.key != "" }

// location says which value of an object a mutator changes: spec.containers[name: *].image.
type location []step

// Limits of a location.
const (
	maxLocation = 1024 // bytes
	maxSteps    = 64
)

// parseLocation reads a location
// (https://open-policy-agent.github.io/gatekeeper/website/docs/mutation#mutation-path-syntax): fields divided by dots,
// each followed, where it is a list, by [key: value] or [key: *]. Names that hold other characters than letters, digits,
// "-" and "_" stand in quotes, in which a backslash takes the next character as it is.
func parseLocation(text string) (location, error) {
	if len(text) > maxLocation || !utf8.ValidString(text) {
		return nil, fmt.Errorf("the location has more than %d bytes, or is not UTF-8", maxLocation)
	}
	p := &locationParser{rest: text, whole: text}
	parsed, err := p.parse()
	if err != nil {
		return nil, fmt.Errorf("the location %q: %w", text, err)
	}
	return parsed, nil
}

type locationParser struct {
	rest, whole string
}

func (p *locationParser) parse() (location, error) {
	var steps location
	for {
		name, err := p.name("the name of a field")
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{field: name})
		if p.take('[') {
			item, err := p.item()
			if err != nil {
				return nil, err
			}
			steps = append(steps, item)
		}
		if len(steps) > maxSteps {
			return nil, fmt.Errorf("it has more than %d steps", maxSteps)
		}
		if p.space(); p.rest == "" {
			return steps, nil
		}
		if !p.take('.') {
			return nil, p.expected("a dot or the end")
		}
	}
}

// item reads what stands in brackets.
func (p *locationParser) item() (step, error) {
	key, err := p.name("the field that tells items apart")
	if err != nil {
		return step{}, err
	}
	if !p.take(':') {
		return step{}, p.expected("a colon")
	}
	made := step{key: key}
	switch {
	case p.take('*'):
		made.all = true
	case p.rest != "" && isDigit(p.rest[0]):
		digits := p.run(isDigit)
		if made.value, err = strconv.ParseInt(digits, 10, 64); err != nil {
			return step{}, fmt.Errorf("the number %s is too large", digits)
		}
	default:
		if made.value, err = p.text("a value, a number or *"); err != nil {
			return step{}, err
		}
	}
	if !p.take(']') {
		return step{}, p.expected("a closing bracket")
	}
	return made, nil
}

// name is a text that is not empty.
func (p *locationParser) name(what string) (string, error) {
	name, err := p.text(what)
	if err == nil && name == "" {
		return "", p.expected(what)
	}
	return name, err
}

// text reads a name, in quotes or not. Without quotes it does not begin with a digit.
func (p *locationParser) text(what string) (string, error) {
	p.space()
	switch {
	case p.rest == "" || isDigit(p.rest[0]):
		return "", p.expected(what)
	case p.rest[0] == '"' || p.rest[0] == '\'':
		return p.quoted()
	}
	name := p.run(func(c byte) bool {
		return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-'
	})
	if name == "" {
		return "", p.expected(what)
	}
	return name, nil
}

func (p *locationParser) quoted() (string, error) {
	quote := p.rest[0]
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("the quote at character %d is not closed", p.at())
}

// run takes bytes as long as they are of a class.
func (p *locationParser) run(class func(byte) bool) string {
	end := 0
	for end < len(p.rest) && class(p.rest[end]) {
		end++
	}
	taken := p.rest[:end]
	p.rest = p.rest[end:]
	return taken
}

// take takes a character and the space before and behind it.
func (p *locationParser) take(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	p.space()
	return true
}

func (p *locationParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// at counts characters from 1.
func (p *locationParser) at() int {
	return utf8.RuneCountInString(p.whole[:len(p.whole)-len(p.rest)]) + 1
}

func (p *locationParser) expected(what string) error {
	if p.rest == "" {
		return fmt.Errorf("it ends where %s is wanted", what)
	}
	next, _ := utf8.DecodeRuneInString(p.rest)
	return fmt.Errorf("%q at character %d: want %s", next, p.at(), what)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// String writes the location so that parseLocation reads it again.
func (l location) String() string {
	var b strings.Builder
	for n, s := range l {
		switch {
		case s.isItem():
			fmt.Fprintf(&b, "[%s: %s]", quoteName(s.key), s.valueText())
		case n > 0:
			b.WriteString("." + quoteName(s.field))
		default:
			b.WriteString(quoteName(s.field))
		}
	}
	return b.String()
}

func (s step) valueText() string {
	if s.all {
		return "*"
	}
	if text, ok := s.value.(string); ok {
		return quoteName(text)
	}
	return fmt.Sprint(s.value)
}

// quoteName writes a name, in quotes where it needs them.
func quoteName(name string) string {
	p := &locationParser{rest: name, whole: name}
	if read, err := p.text(""); err == nil && read == name && p.rest == "" {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// begins says whether a location is the beginning of another one.
func (l location) begins(longer location) bool {
	if len(l) > len(longer) {
		return false
	}
	for n := range l {
		if l[n] != longer[n] {
			return false
		}
	}
	return true
}
