package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// root is one decoded document, before lists are expanded.
type root struct {
	json   []byte
	source *source
}

// decode turns a chunk into documents: none where it has no content, several only
// for JSON, where one value may follow another.
func decode(c chunk, limits Limits) ([]root, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix(c.text, []byte("\xef\xbb\xbf")))
	if len(text) == 0 {
		return nil, nil
	}
	if text[0] != '{' {
		return decodeYAML(c, limits)
	}
	roots, jsonErr := decodeJSON(c, limits)
	if jsonErr == nil {
		return roots, nil
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(jsonErr.cause, &syntax) || errors.Is(syntax, jsontext.ErrDuplicateName) {
		return nil, &jsonErr.Error
	}
	// {a: b} is YAML; what is neither was most likely meant to be JSON.
	roots, err := decodeYAML(c, limits)
	if err != nil && bytes.HasPrefix(bytes.TrimSpace(text[1:]), []byte(`"`)) {
		return nil, &jsonErr.Error
	}
	return roots, err
}

// jsonError is an Error beside the decoder's own.
type jsonError struct {
	Error
	cause error
}

// decodeJSON reads all values of a chunk.
func decodeJSON(c chunk, limits Limits) ([]root, *jsonError) {
	d := jsontext.NewDecoder(bytes.NewBuffer(c.text))
	var roots []root
	for {
		start := valueStart(c.text, int(d.InputOffset()))
		if start == len(c.text) {
			return roots, nil
		}
		if err := walkJSON(d, limits); err != nil {
			return nil, explainJSON(c, d, err)
		}
		value := c.text[start:d.InputOffset()]
		roots = append(roots, root{value, &source{
			file: c.file, text: value, json: true,
			line: c.line + bytes.Count(c.text[:start], []byte("\n")), column: columnAt(c.text, start),
		}})
	}
}

// errLimit is a broken limit; its text completes "the document ".
type errLimit string

func (e errLimit) Error() string { return string(e) }

// walkJSON reads one value to its end, within the limits.
func walkJSON(d *jsontext.Decoder, limits Limits) error {
	for nodes := 1; ; nodes++ {
		_, err := d.ReadToken()
		switch {
		case err != nil:
			return err
		case d.StackDepth() > limits.Depth:
			return errLimit(fmt.Sprintf("is nested deeper than %d levels", limits.Depth))
		case nodes > 2*limits.Nodes: // closing brackets are tokens too
			return errLimit(fmt.Sprintf("has more than %d values", limits.Nodes))
		case d.StackDepth() == 0:
			return nil
		}
	}
}

func explainJSON(c chunk, d *jsontext.Decoder, err error) *jsonError {
	offset := int(d.InputOffset())
	problem, next := err.Error(), "correct the JSON"
	var syntax *jsontext.SyntacticError
	var limit errLimit
	switch {
	case errors.As(err, &limit):
		problem, next = "the document "+problem, "split it or make it flatter"
	case errors.Is(err, jsontext.ErrDuplicateName):
		problem, next = "a key is given twice", "remove one of the two"
		if errors.As(err, &syntax) {
			offset = int(syntax.ByteOffset)
			problem = fmt.Sprintf("the key %q is given twice", abbreviate(syntax.JSONPointer.LastToken()))
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		problem = "the JSON ends too early"
		offset = len(c.text)
	case errors.As(err, &syntax):
		offset = int(syntax.ByteOffset)
		problem = syntax.Err.Error()
	}
	offset = min(offset, len(c.text))
	position := Position{c.file, c.line + bytes.Count(c.text[:offset], []byte("\n")), columnAt(c.text, offset)}
	return &jsonError{Error{position, problem, next}, err}
}

// object is what is read of every document.
type object struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Items      jsontext.Value `json:"items"`
	Metadata   struct {
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
		Namespace    string `json:"namespace"`
	} `json:"metadata"`
}

// documents makes the document of a root, or those of a list's items.
func (r root) documents(file string, index, most int) ([]Document, error) {
	d := Document{File: file, Index: index, JSON: r.json, source: r.source}
	var out []Document
	err := d.expand("", "", func(item Document) error {
		if len(out) >= most {
			return &Error{item.Position(""), "the stream has too many documents", "split it into several files"}
		}
		out = append(out, item)
		return nil
	})
	return out, err
}

// expand reads what a document is and yields it, or all items of a list in turn.
// As kubectl does, items without kind and version get those of a typed list.
func (d Document) expand(listVersion, listKind string, yield func(Document) error) error {
	if kind := jsontext.Value(d.JSON).Kind(); kind != '{' {
		return d.problem("", fmt.Sprintf("the document is a %s, not an object", kindNames[kind]),
			"begin it with apiVersion and kind")
	}
	var o object
	if err := json.Unmarshal(d.JSON, &o); err != nil {
		return d.mistyped(err)
	}
	if o.APIVersion == "" && o.Kind == "" && listKind != "" && listKind != "List" {
		o.APIVersion, o.Kind = listVersion, strings.TrimSuffix(listKind, "List")
		typed, err := withType(d.JSON, o.APIVersion, o.Kind)
		if err != nil {
			return d.mistyped(err)
		}
		d.JSON = typed
	}
	if o.Items != nil {
		return d.expandItems(o, yield)
	}
	d.APIVersion, d.Kind = o.APIVersion, o.Kind
	d.Namespace, d.Name, d.GenerateName = o.Metadata.Namespace, o.Metadata.Name, o.Metadata.GenerateName
	return yield(d)
}

func (d Document) expandItems(list object, yield func(Document) error) error {
	if !strings.HasSuffix(list.Kind, "List") {
		return d.problem("items", fmt.Sprintf("a %q has items, so kubectl takes it for a list and sends nothing else", list.Kind),
			"remove items, or make its kind List")
	}
	if list.Items.Kind() == 'n' {
		return nil
	}
	var items []jsontext.Value
	if err := json.Unmarshal(list.Items, &items); err != nil {
		return d.problem("items", "the items are no list", "write a list of objects")
	}
	for i, value := range items {
		item := d
		item.JSON = value
		item.within = append(append(make([]Segment, 0, len(d.within)+2), d.within...),
			Segment{Key: "items", Index: -1}, Segment{Key: fmt.Sprint(i), Index: i})
		if err := item.expand(list.APIVersion, list.Kind, yield); err != nil {
			return err
		}
	}
	return nil
}

var kindNames = map[jsontext.Kind]string{
	'n': "null", 't': "boolean", 'f': "boolean", '"': "string", '0': "number", '[': "list",
}

// withType sets the type of a list item.
func withType(object []byte, apiVersion, kind string) ([]byte, error) {
	fields := map[string]jsontext.Value{}
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}
	for key, value := range map[string]string{"apiVersion": apiVersion, "kind": kind} {
		text, err := jsontext.AppendQuote(nil, value)
		if err != nil {
			return nil, err
		}
		fields[key] = text
	}
	return json.Marshal(fields, json.Deterministic(true))
}

func (d Document) problem(path, problem, next string) error {
	return &Error{d.Position(path), problem, next}
}

// mistyped explains why the few fields that are read of every object cannot be.
func (d Document) mistyped(err error) error {
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return d.problem("", err.Error(), "correct the document")
	}
	var segments []Segment
	for token := range semantic.JSONPointer.Tokens() {
		segments = append(segments, Segment{Key: token, Index: indexOf(token)})
	}
	path := JoinPath(segments)
	want := "a string: put it in quotes"
	if path == "metadata" {
		want = "an object"
	}
	return d.problem(path, fmt.Sprintf("%s is a %s", path, kindNames[semantic.JSONKind]), "make it "+want)
}
