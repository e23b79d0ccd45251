package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/open-policy-agent/opa/v1/ast"
)

// An encoder turns a Go value into a Rego value, leaving out what nobody reads. It
// is made once per type and read set, so that no field is looked up by name, and
// keys are shared, when requests are judged.
type encoder func(reflect.Value) *ast.Term

var (
	trueTerm        = ast.InternedTerm(true)
	falseTerm       = ast.InternedTerm(false)
	emptyArrayTerm  = ast.ArrayTerm()
	emptyObjectTerm = ast.ObjectTerm()
)

// newEncoder makes the encoder of a type for what is read of it; nil when nothing is.
func newEncoder(t reflect.Type, reads *readSet) encoder {
	if reads == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := newEncoder(t.Elem(), reads)
		return func(v reflect.Value) *ast.Term {
			if v.IsNil() {
				return nil
			}
			return inner(v.Elem())
		}
	case reflect.Struct:
		return structEncoder(t, reads)
	case reflect.Slice:
		return sliceEncoder(t, reads)
	case reflect.Map:
		return mapEncoder
	case reflect.String:
		return func(v reflect.Value) *ast.Term { return stringTerm(v.String()) }
	case reflect.Bool:
		return func(v reflect.Value) *ast.Term {
			if v.Bool() {
				return trueTerm
			}
			return falseTerm
		}
	case reflect.Int64, reflect.Int:
		return func(v reflect.Value) *ast.Term { return integerTerm(v.Int()) }
	case reflect.Interface: // a raw value, which has been decoded already
		return func(v reflect.Value) *ast.Term {
			term, _ := v.Interface().(*ast.Term)
			return term
		}
	}
	panic(fmt.Sprintf("policies: %v has no place in the input", t)) // a mistake in our own types
}

func structEncoder(t reflect.Type, reads *readSet) encoder {
	type field struct {
		index  []int
		key    *ast.Term
		encode encoder
	}
	var fields []field
	for _, f := range fieldsOf(t) {
		if encode := newEncoder(f.typ, reads.field(f.name)); encode != nil {
			fields = append(fields, field{f.index, ast.StringTerm(f.name), encode})
		}
	}
	return func(v reflect.Value) *ast.Term {
		pairs := make([][2]*ast.Term, 0, len(fields))
		for i := range fields {
			if value := fields[i].encode(fieldAt(v, fields[i].index)); value != nil {
				pairs = append(pairs, [2]*ast.Term{fields[i].key, value})
			}
		}
		return ast.ObjectTerm(pairs...)
	}
}

// fieldAt is v.FieldByIndex, fast for the fields that are not embedded.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	if len(index) == 1 {
		return v.Field(index[0])
	}
	return v.FieldByIndex(index)
}

func sliceEncoder(t reflect.Type, reads *readSet) encoder {
	element := newEncoder(t.Elem(), reads.item())
	if element == nil {
		// Somebody reads the list but none of its elements, such as its length by a
		// rule that asks whether an index exists: keep the elements, empty.
		element = func(reflect.Value) *ast.Term { return emptyObjectTerm }
	}
	return func(v reflect.Value) *ast.Term {
		n := v.Len()
		if n == 0 {
			return emptyArrayTerm
		}
		terms := make([]*ast.Term, n)
		for i := range n {
			terms[i] = element(v.Index(i))
		}
		return ast.ArrayTerm(terms...)
	}
}

// mapEncoder encodes map[string]string, whole: labels and annotations are read by
// keys that parameters name.
func mapEncoder(v reflect.Value) *ast.Term {
	pairs := make([][2]*ast.Term, 0, v.Len())
	for key, value := range v.Seq2() {
		pairs = append(pairs, [2]*ast.Term{stringTerm(key.String()), stringTerm(value.String())})
	}
	return ast.ObjectTerm(pairs...)
}

func stringTerm(s string) *ast.Term { return ast.InternedTerm(s) }

func integerTerm(n int64) *ast.Term {
	if n >= 0 && n < 512 {
		return ast.InternedTerm(int(n))
	}
	return ast.NewTerm(ast.Number(strconv.FormatInt(n, 10)))
}

// Limits of a raw object as Rego sees it. The API server itself takes 3 MiB.
const (
	maxJSONDepth  = 200
	maxJSONDigits = 400 // a number's text; 1e999999999 would cost gigabytes in arithmetic
)

// decodeJSON turns raw JSON into a Rego value, skipping what nobody reads. Duplicate
// names and invalid UTF-8 are errors: two parsers that disagree about a
// document are a hole.
func decodeJSON(raw []byte, reads *readSet) (*ast.Term, error) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(raw))
	term, err := decodeValue(decoder, reads, 0)
	if err != nil {
		return nil, fmt.Errorf("decoding JSON: %w", err)
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding JSON: there is more after the object")
	}
	return term, nil
}

func decodeValue(decoder *jsontext.Decoder, reads *readSet, depth int) (*ast.Term, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxJSONDepth)
	}
	switch decoder.PeekKind() {
	case '{':
		return decodeObject(decoder, reads, depth)
	case '[':
		return decodeArray(decoder, reads, depth)
	}
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return ast.NullTerm(), nil
	case 't':
		return trueTerm, nil
	case 'f':
		return falseTerm, nil
	case '"':
		return stringTerm(token.String()), nil
	default:
		return decodeNumber(token.String())
	}
}

func decodeNumber(text string) (*ast.Term, error) {
	if len(text) > maxJSONDigits {
		return nil, fmt.Errorf("number of %d characters: at most %d", len(text), maxJSONDigits)
	}
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return nil, fmt.Errorf("number %s is out of range", text)
	}
	return ast.NumberTerm(json.Number(text)), nil
}

func decodeObject(decoder *jsontext.Decoder, reads *readSet, depth int) (*ast.Term, error) {
	if _, err := decoder.ReadToken(); err != nil {
		return nil, err
	}
	var pairs [][2]*ast.Term
	for decoder.PeekKind() == '"' {
		name, err := decoder.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		below := reads.field(key)
		if below == nil {
			if err := decoder.SkipValue(); err != nil {
				return nil, err
			}
			continue
		}
		value, err := decodeValue(decoder, below, depth+1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]*ast.Term{stringTerm(key), value})
	}
	if _, err := decoder.ReadToken(); err != nil {
		return nil, err
	}
	return ast.ObjectTerm(pairs...), nil
}

func decodeArray(decoder *jsontext.Decoder, reads *readSet, depth int) (*ast.Term, error) {
	if _, err := decoder.ReadToken(); err != nil {
		return nil, err
	}
	below := reads.item()
	var terms []*ast.Term
	for kind := decoder.PeekKind(); kind != ']' && kind != 0; kind = decoder.PeekKind() {
		if below == nil {
			if err := decoder.SkipValue(); err != nil {
				return nil, err
			}
			terms = append(terms, emptyObjectTerm)
			continue
		}
		value, err := decodeValue(decoder, below, depth+1)
		if err != nil {
			return nil, err
		}
		terms = append(terms, value)
	}
	if _, err := decoder.ReadToken(); err != nil {
		return nil, err
	}
	return ast.ArrayTerm(terms...), nil
}
