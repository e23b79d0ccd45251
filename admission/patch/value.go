package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// value is one JSON value. It stays text until somebody looks inside, and only
// what was looked into is written anew.
type value struct {
	text    jsontext.Value // valid JSON without surrounding space
	opened  bool
	members []member // of an opened object
	items   []*value // of an opened list
}

type member struct {
	name  string
	value *value
}

// parse checks that text is one JSON object, without duplicate names and in UTF-8.
func parse(text []byte) (*value, error) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(text))
	raw, err := decoder.ReadValue()
	if err != nil {
		return nil, err
	}
	if raw.Kind() != '{' {
		return nil, errors.New("it is not a JSON object")
	}
	end := decoder.InputOffset()
	root := newValue(text[int(end)-len(raw) : end])
	if _, err := decoder.ReadToken(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return root, nil
}

// newValue takes text that is known to be valid.
func newValue(text []byte) *value { return &value{text: text} }

// encode writes v as JSON that json.Number, big integers and <>& come through unharmed.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// kind is '{', '[', '"', '0', 't', 'f' or 'n'.
func (v *value) kind() jsontext.Kind { return v.text.Kind() }

// isAbsent is true for no value and for null.
func (v *value) isAbsent() bool { return v == nil || v.kind() == 'n' }

func (v *value) describe() string {
	switch v.kind() {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	}
	return "a boolean"
}

// open splits an object or list into its members or items, one level deep.
func (v *value) open() {
	if v.opened {
		return
	}
	v.opened = true
	// parse has looked for duplicate names already.
	decoder := jsontext.NewDecoder(bytes.NewBuffer(v.text), jsontext.AllowDuplicateNames(true))
	_, _ = decoder.ReadToken() // the bracket; nothing here can fail, the text is valid
	for {
		switch decoder.PeekKind() {
		case '}', ']', 0:
			return
		}
		var name string
		if v.kind() == '{' {
			token, _ := decoder.ReadToken()
			name = token.String()
		}
		raw, err := decoder.ReadValue()
		if err != nil {
			return
		}
		end := int(decoder.InputOffset())
		inner := newValue(v.text[end-len(raw) : end])
		if v.kind() == '{' {
			v.members = append(v.members, member{name, inner})
		} else {
			v.items = append(v.items, inner)
		}
	}
}

func (v *value) length() int {
	v.open()
	return len(v.members) + len(v.items)
}

// member returns a member of an object, nil if there is none or v is no object.
func (v *value) member(name string) *value {
	if v == nil || v.kind() != '{' {
		return nil
	}
	v.open()
	for _, m := range v.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// setMember replaces or adds a member of an object, or with nil removes it.
func (v *value) setMember(name string, to *value) {
	v.open()
	i := slices.IndexFunc(v.members, func(m member) bool { return m.name == name })
	switch {
	case to == nil && i >= 0:
		v.members = slices.Delete(v.members, i, i+1)
	case to == nil:
	case i >= 0:
		v.members[i].value = to
	default:
		v.members = append(v.members, member{name, to})
	}
}

// item returns an item of a list, nil if there is none or v is no list.
func (v *value) item(index int) *value {
	if v == nil || v.kind() != '[' {
		return nil
	}
	v.open()
	if index >= len(v.items) {
		return nil
	}
	return v.items[index]
}

// setItem replaces an item of a list; the index equal to the length appends.
func (v *value) setItem(index int, to *value) {
	v.open()
	if index == len(v.items) {
		v.items = append(v.items, to)
		return
	}
	v.items[index] = to
}

func (v *value) removeItem(index int) {
	v.open()
	v.items = slices.Delete(v.items, index, index+1)
}

// appendTo writes the value: as it was read where it was not looked into.
func (v *value) appendTo(b []byte) []byte {
	switch {
	case !v.opened:
		return append(b, v.text...)
	case v.kind() == '{':
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, m.name)
			b = append(b, ':')
			b = m.value.appendTo(b)
		}
		return append(b, '}')
	default:
		b = append(b, '[')
		for i, item := range v.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendTo(b)
		}
		return append(b, ']')
	}
}

// equal compares as JSON does: members in any order, numbers by their exact value.
func equal(a, b *value) bool {
	aText, bText := a.appendTo(nil), b.appendTo(nil)
	return bytes.Equal(aText, bText) || equalTree(decode(aText), decode(bText))
}

func decode(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	_ = decoder.Decode(&v) // the text is valid
	return v
}

func equalTree(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, inner := range a {
			other, ok := b[key]
			if !ok || !equalTree(inner, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalTree)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && normalNumber(a.String()) == normalNumber(b.String())
	}
	return a == b
}

// decimal is a number as sign, digits without leading and trailing zeros, and the
// power of ten that goes with them: exact, whatever the size.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

// normalNumber brings a JSON number into the one form that equal numbers share. A
// number whose exponent is beyond int64 is only equal to the same text.
func normalNumber(text string) decimal {
	number, negative := strings.CutPrefix(text, "-")
	mantissa, power, _ := strings.Cut(strings.ToLower(number), "e")
	exponent, ok := parseExponent(power)
	if !ok {
		return decimal{digits: text}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exponent -= int64(len(fraction))
	digits := strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return decimal{}
	}
	return decimal{negative, trimmed, exponent + int64(len(digits)-len(trimmed))}
}
