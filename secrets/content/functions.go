package content

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/secrets"
)

// function is one that templates can call. Each is pure: its result follows from its arguments. It reads no environment, file, clock, random number
// or network (Sprig's getHostByName carried secrets out as names, CVE-2026-34984), looks at no cluster (GHSA-77v3-r3jw-j2v2), calls no
// other, and says what it makes before it makes it.
type function struct {
	least, most int // arguments; most below 0 is without end
	call        func(*budget, []any) (any, error)
}

func (f function) arity() string {
	switch {
	case f.most < 0:
		return fmt.Sprintf("at least %d arguments", f.least)
	case f.least != f.most:
		return fmt.Sprintf("%d to %d arguments", f.least, f.most)
	case f.least == 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", f.least)
}

// Functions are the names of those that templates can call, sorted.
func Functions() []string { return slices.Sorted(maps.Keys(known)) }

// functions are all but and and or, which evaluate what they need. Where Go's templates have one of the name, it means the same; so does
// Sprig's, but for split, which gives a list here, and quote, which writes JSON.
//
// Left out of Go's: call, since nothing here is a function; html and js, since nobody writes a page.
var functions = map[string]function{
	"b64dec":     text1(b64dec),
	"b64enc":     text1(b64enc),
	"default":    {2, 2, orElse},
	"eq":         {2, -1, equal},
	"fromJSON":   text1(fromJSON),
	"ge":         {2, 2, ordered(func(c int) bool { return c >= 0 })},
	"gt":         {2, 2, ordered(func(c int) bool { return c > 0 })},
	"hasKey":     {2, 2, hasKey},
	"indent":     {2, 2, indent},
	"index":      {1, -1, index},
	"join":       {2, 2, join},
	"le":         {2, 2, ordered(func(c int) bool { return c <= 0 })},
	"len":        {1, 1, length},
	"lower":      text1(func(b *budget, s string) (any, error) { return strings.ToLower(s), b.produce(3 * len(s)) }),
	"lt":         {2, 2, ordered(func(c int) bool { return c < 0 })},
	"ne":         {2, 2, func(b *budget, a []any) (any, error) { same, err := equal(b, a); return same != true, err }},
	"not":        {1, 1, func(_ *budget, a []any) (any, error) { return !truth(a[0]), nil }},
	"print":      {0, -1, print},
	"printf":     {1, -1, printf},
	"println":    {0, -1, println},
	"quote":      text1(quote),
	"replace":    {3, 3, replace},
	"sha256sum":  text1(sha256sum),
	"slice":      {1, 3, slice},
	"split":      {2, 2, split},
	"toJSON":     {1, 1, toJSON},
	"trim":       text1(func(_ *budget, s string) (any, error) { return strings.TrimSpace(s), nil }),
	"trimPrefix": text2(func(_ *budget, prefix, s string) (any, error) { return strings.TrimPrefix(s, prefix), nil }),
	"trimSuffix": text2(func(_ *budget, suffix, s string) (any, error) { return strings.TrimSuffix(s, suffix), nil }),
	"upper":      text1(func(b *budget, s string) (any, error) { return strings.ToUpper(s), b.produce(3 * len(s)) }),
	"urlescape":  text1(urlescape),
	"urlquery":   text1(func(b *budget, s string) (any, error) { return url.QueryEscape(s), b.produce(3 * len(s)) }),
}

func text1(of func(*budget, string) (any, error)) function {
	return function{1, 1, func(b *budget, a []any) (any, error) {
		s, err := asText(a[0])
		if err != nil {
			return nil, err
		}
		return of(b, s)
	}}
}

func text2(of func(b *budget, one, other string) (any, error)) function {
	return function{2, 2, func(b *budget, a []any) (any, error) {
		one, err := asText(a[0])
		if err != nil {
			return nil, err
		}
		other, err := asText(a[1])
		if err != nil {
			return nil, err
		}
		return of(b, one, other)
	}}
}

func asText(value any) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	return "", failed("an argument is %s, and a text is wanted", kindOf(value))
}

func asInt(value any) (int64, error) {
	if i, ok := value.(int64); ok {
		return i, nil
	}
	return 0, failed("an argument is %s, and a whole number is wanted", kindOf(value))
}

func b64enc(b *budget, s string) (any, error) {
	if err := b.produce(base64.StdEncoding.EncodedLen(len(s))); err != nil {
		return nil, err
	}
	return base64.StdEncoding.EncodeToString([]byte(s)), nil
}

func b64dec(b *budget, s string) (any, error) {
	if err := b.produce(base64.StdEncoding.DecodedLen(len(s))); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, failed("that is not base64 (RFC 4648, with padding)")
	}
	return string(raw), nil
}

// orElse is Sprig's default: the second, unless it is empty. A key that is absent is an error before: see hasKey.
func orElse(_ *budget, a []any) (any, error) {
	if truth(a[1]) {
		return a[1], nil
	}
	return a[0], nil
}

func hasKey(_ *budget, a []any) (any, error) {
	of, ok := a[0].(map[string]any)
	if !ok {
		return nil, failed("the first argument is %s, and a map is wanted: write .Data first", kindOf(a[0]))
	}
	name, err := asText(a[1])
	if err != nil {
		return nil, err
	}
	_, there := of[name]
	return there, nil
}

func indent(b *budget, a []any) (any, error) {
	by, err := asInt(a[0])
	if err != nil {
		return nil, err
	}
	s, err := asText(a[1])
	if err != nil {
		return nil, err
	}
	if by < 0 || by > 256 {
		return nil, failed("0 to 256 spaces are put before each line")
	}
	if err := b.produce(len(s) + int(by)*(1+strings.Count(s, "\n"))); err != nil {
		return nil, err
	}
	spaces := strings.Repeat(" ", int(by))
	return spaces + strings.ReplaceAll(s, "\n", "\n"+spaces), nil
}

// index is Go's, but what is not there is an error also for maps, and texts have no parts.
func index(_ *budget, a []any) (any, error) {
	value := a[0]
	for _, at := range a[1:] {
		switch of := value.(type) {
		case map[string]any:
			name, err := asText(at)
			if err != nil {
				return nil, err
			}
			there := false
			if value, there = of[name]; !there {
				return nil, keyMissing(name)
			}
		case []any:
			i, err := asInt(at)
			if err != nil {
				return nil, err
			}
			if i < 0 || i >= int64(len(of)) {
				return nil, failed("a list has no element of that number")
			}
			value = of[i]
		default:
			return nil, failed("%s has no elements", kindOf(value))
		}
	}
	return value, nil
}

func slice(_ *budget, a []any) (any, error) {
	size := 0
	switch of := a[0].(type) {
	case string:
		size = len(of)
	case []any:
		size = len(of)
	default:
		return nil, failed("%s has no parts", kindOf(a[0]))
	}
	from, to := int64(0), int64(size)
	var err error
	if len(a) > 1 {
		if from, err = asInt(a[1]); err != nil {
			return nil, err
		}
	}
	if len(a) > 2 {
		if to, err = asInt(a[2]); err != nil {
			return nil, err
		}
	}
	if from < 0 || from > to || to > int64(size) {
		return nil, failed("it has no such part")
	}
	if s, ok := a[0].(string); ok {
		return s[from:to], nil
	}
	return a[0].([]any)[from:to:to], nil
}

func length(_ *budget, a []any) (any, error) {
	switch of := a[0].(type) {
	case string:
		return int64(len(of)), nil
	case []any:
		return int64(len(of)), nil
	case map[string]any:
		return int64(len(of)), nil
	}
	return nil, failed("%s has no length", kindOf(a[0]))
}

func join(b *budget, a []any) (any, error) {
	separator, err := asText(a[0])
	if err != nil {
		return nil, err
	}
	list, ok := a[1].([]any)
	if !ok {
		return nil, failed("the second argument is %s, and a list is wanted", kindOf(a[1]))
	}
	if err := b.charge(16 * len(list)); err != nil {
		return nil, err
	}
	parts, size := make([]string, len(list)), 0
	for i, value := range list {
		if parts[i], err = printed(value); err != nil {
			return nil, err
		}
		if size += len(parts[i]) + len(separator); size > maxText+len(separator) {
			break
		}
	}
	if err := b.produce(size); err != nil {
		return nil, err
	}
	return strings.Join(parts, separator), nil
}

func split(b *budget, a []any) (any, error) {
	separator, err := asText(a[0])
	if err != nil {
		return nil, err
	}
	s, err := asText(a[1])
	if err != nil {
		return nil, err
	}
	parts := 1 + strings.Count(s, separator)
	if err := b.charge(48 * parts); err != nil { // a string, an interface, a pointer
		return nil, err
	}
	list := make([]any, 0, parts)
	for _, part := range strings.Split(s, separator) {
		list = append(list, part)
	}
	return list, nil
}

func replace(b *budget, a []any) (any, error) {
	var of [3]string
	for i := range of {
		var err error
		if of[i], err = asText(a[i]); err != nil {
			return nil, err
		}
	}
	before, after, s := of[0], of[1], of[2]
	if err := b.produce(len(s) + strings.Count(s, before)*(len(after)-len(before))); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(s, before, after), nil
}

// sha256sum is in hexadecimal digits: for what keeps hashes of passwords in its configuration. Nobody but the Secret gets it.
func sha256sum(b *budget, s string) (any, error) {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:]), b.produce(2 * len(sum))
}

// urlescape escapes all but the unreserved characters (RFC 3986, 2.3) by percent signs, so that the result has its place in any part of a URL; urlquery
// writes a space as +, which a password does not take.
func urlescape(b *budget, s string) (any, error) {
	if err := b.produce(3 * len(s)); err != nil {
		return nil, err
	}
	var escaped strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			escaped.WriteByte(c)
		default:
			fmt.Fprintf(&escaped, "%%%02X", c)
		}
	}
	return escaped.String(), nil
}

// quote writes a string of JSON, which is one of YAML too: what neither takes as it is (RFC 8259, 7; YAML 1.2, 5.1) is \u and four digits.
func quote(b *budget, s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, failed("that is not UTF-8: use b64enc")
	}
	size := 2
	for _, r := range s {
		size += max(utf8.RuneLen(r), len(escape(r)))
	}
	if err := b.produce(size); err != nil {
		return nil, err
	}
	var quoted strings.Builder
	quoted.Grow(size)
	quoted.WriteByte('"')
	for _, r := range s {
		if escaped := escape(r); escaped != "" {
			quoted.WriteString(escaped)
		} else {
			quoted.WriteRune(r)
		}
	}
	quoted.WriteByte('"')
	return quoted.String(), nil
}

// escape is how a character is written in a quoted text, "" for as it is.
func escape(r rune) string {
	switch r {
	case '"':
		return `\"`
	case '\\':
		return `\\`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	case '\u2028', '\u2029', '\ufeff', '\ufffe', '\uffff':
		return fmt.Sprintf(`\u%04x`, r)
	}
	if r < 0x20 || 0x7f <= r && r <= 0x9f {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return ""
}

func toJSON(b *budget, a []any) (any, error) {
	if err := weigh(b, a[0], 0); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a[0]); err != nil {
		return nil, failed("that cannot be written as JSON")
	}
	made := strings.TrimSuffix(text.String(), "\n")
	return made, b.produce(len(made))
}

// weigh counts what writing a value will take, and finds what JSON cannot say: encoding/json would write other bytes instead.
func weigh(b *budget, value any, depth int) error {
	if depth > maxNesting {
		return failed("it is nested more than %d deep", maxNesting)
	}
	if err := b.charge(16); err != nil {
		return err
	}
	switch v := value.(type) {
	case string:
		if !utf8.ValidString(v) {
			return failed("a text is not UTF-8: use b64enc")
		}
		return b.charge(2 * len(v))
	case []any:
		for _, element := range v {
			if err := weigh(b, element, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, element := range v {
			if !utf8.ValidString(name) {
				return failed("a name is not UTF-8")
			}
			if err := b.charge(2 * len(name)); err != nil {
				return err
			}
			if err := weigh(b, element, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// fromJSON reads one value, counting what it makes. Whole numbers are int64; what does not fit keeps its text.
func fromJSON(b *budget, s string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(s))
	decoder.UseNumber()
	value, err := readJSON(b, decoder, 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, failed("there is more after the JSON value")
	}
	return value, nil
}

var errNotJSON = &failure{reason: secrets.TemplateFailed, text: "that is not JSON"}

func readJSON(b *budget, decoder *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, failed("it is nested more than %d deep", maxNesting)
	}
	if err := b.charge(64); err != nil {
		return nil, err
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch t := token.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(string(t), 10, 64); err == nil {
			return i, nil
		}
		if f, err := t.Float64(); err == nil && strings.ContainsAny(string(t), ".eE") {
			return f, nil
		}
		return string(t), nil
	case json.Delim:
		switch t {
		case '[':
			list := []any{}
			for decoder.More() {
				element, err := readJSON(b, decoder, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, element)
			}
			if _, err := decoder.Token(); err != nil {
				return nil, errNotJSON
			}
			return list, nil
		case '{':
			object := map[string]any{}
			for decoder.More() {
				name, err := decoder.Token()
				key, ok := name.(string)
				if err != nil || !ok {
					return nil, errNotJSON
				}
				if object[key], err = readJSON(b, decoder, depth+1); err != nil {
					return nil, err
				}
			}
			if _, err := decoder.Token(); err != nil {
				return nil, errNotJSON
			}
			return object, nil
		}
		return nil, errNotJSON
	case string, bool, nil:
		return t, nil
	}
	return nil, errNotJSON
}

// equal is whether the first is the same as any of the others: of one kind, as Go's eq; a value is compared with nothing, too.
func equal(_ *budget, a []any) (any, error) {
	for _, other := range a[1:] {
		if a[0] == nil || other == nil {
			if a[0] == other {
				return true, nil
			}
			continue
		}
		same, err := compare(a[0], other)
		if err != nil {
			return nil, err
		}
		if same == 0 {
			return true, nil
		}
	}
	return false, nil
}

func ordered(holds func(int) bool) func(*budget, []any) (any, error) {
	return func(_ *budget, a []any) (any, error) {
		if _, ok := a[0].(bool); ok {
			return nil, failed("true and false have no order")
		}
		c, err := compare(a[0], a[1])
		if err != nil {
			return nil, err
		}
		return holds(c), nil
	}
}

func compare(one, other any) (int, error) {
	switch v := one.(type) {
	case string:
		if w, ok := other.(string); ok {
			return strings.Compare(v, w), nil
		}
	case int64:
		if w, ok := other.(int64); ok {
			return cmp.Compare(v, w), nil
		}
	case float64:
		if w, ok := other.(float64); ok {
			return cmp.Compare(v, w), nil
		}
	case bool:
		if w, ok := other.(bool); ok {
			if v == w {
				return 0, nil
			}
			return 1, nil
		}
	}
	return 0, failed("%s and %s cannot be compared", kindOf(one), kindOf(other))
}

func scalars(b *budget, a []any) error {
	size := 0
	for _, value := range a {
		text, err := printed(value)
		if err != nil {
			return err
		}
		size += len(text) + 1
	}
	return b.produce(size)
}

func print(b *budget, a []any) (any, error) {
	if err := scalars(b, a); err != nil {
		return nil, err
	}
	return fmt.Sprint(a...), nil
}

func println(b *budget, a []any) (any, error) {
	if err := scalars(b, a); err != nil {
		return nil, err
	}
	return fmt.Sprintln(a...), nil
}

// verbs are what printf takes, by the kind of value. A verb for another kind, or without a value, or a value without a verb, is an error,
// where fmt writes "%!d(string=…)" into the Secret.
var verbs = map[byte]func(any) bool{
	's': func(v any) bool { _, ok := v.(string); return ok },
	'q': func(v any) bool { _, ok := v.(string); return ok },
	'x': func(v any) bool { _, f := v.(float64); _, t := v.(bool); return !f && !t },
	'X': func(v any) bool { _, f := v.(float64); _, t := v.(bool); return !f && !t },
	'd': func(v any) bool { _, ok := v.(int64); return ok },
	't': func(v any) bool { _, ok := v.(bool); return ok },
	'f': func(v any) bool { _, ok := v.(float64); return ok },
	'g': func(v any) bool { _, ok := v.(float64); return ok },
	'v': func(any) bool { return true },
}

func printf(b *budget, a []any) (any, error) {
	format, err := asText(a[0])
	if err != nil {
		return nil, err
	}
	if err := scalars(b, a[1:]); err != nil {
		return nil, err
	}
	rest := a[1:]
	var made strings.Builder
	for at := 0; at < len(format); {
		if format[at] != '%' {
			next := strings.IndexByte(format[at:], '%')
			if next < 0 {
				next = len(format) - at
			}
			made.WriteString(format[at : at+next])
			at += next
			continue
		}
		spec, number := at, 0
		for at++; at < len(format) && strings.IndexByte("+-# 0123456789.", format[at]) >= 0; at++ {
			if c := format[at]; c < '0' || c > '9' {
				number = 0
			} else if number = 10*number + int(c-'0'); number > 256 {
				return nil, failed("a width or precision is more than 256")
			}
		}
		if at == len(format) {
			return nil, failed("the format ends within a verb")
		}
		verb := format[at]
		at++
		if verb == '%' {
			made.WriteByte('%')
			continue
		}
		takes, ok := verbs[verb]
		if !ok {
			return nil, failed("the format has a verb that is none of %%s %%q %%v %%d %%x %%X %%t %%f %%g %%%%")
		}
		if len(rest) == 0 {
			return nil, failed("the format has more verbs than there are values")
		}
		if !takes(rest[0]) {
			return nil, failed("the format has a verb that is not for %s", kindOf(rest[0]))
		}
		if text, ok := rest[0].(string); ok {
			if err := b.produce(6*len(text) + 256); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(&made, format[spec:at], rest[0])
		rest = rest[1:]
		if made.Len() > maxText {
			break
		}
	}
	if len(rest) > 0 && made.Len() <= maxText {
		return nil, failed("the format has fewer verbs than there are values")
	}
	return made.String(), b.produce(made.Len())
}
