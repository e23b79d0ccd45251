package redaction

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lastApplied holds what kubectl apply was given, values included
// (k8s.io/api/core/v1.LastAppliedConfigAnnotation).
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Redactor replaces values.
type Redactor struct {
	// Replace gives what stands in the place of a value. "[redacted]" does if it is nil.
	Replace func(value []byte) string
}

// Redacted stands in the place of a value where nothing else is asked for.
const Redacted = "[redacted]"

func (r *Redactor) replace(value []byte) string {
	if r.Replace == nil {
		return Redacted
	}
	return r.Replace(value)
}

// Redaction is one object with what was replaced.
type Redaction struct {
	Object json.RawMessage
	// Paths are those of what was replaced, relative to the object: "data", "spec.containers[0].env[1].value". "" is all of it.
	Paths []string
	// Values are what was replaced, in all forms in which it could be said again.
	Values []string
}

// Object redacts a raw object; secret says that it is a Secret or a TokenReview. One that is no JSON is replaced as a whole: what it
// holds cannot be told.
func (r *Redactor) Object(raw []byte, secret bool) Redaction {
	if len(bytes.TrimSpace(raw)) == 0 {
		return Redaction{}
	}
	if needed, valid := mayHoldCredentials(raw); !valid {
		return r.whole(raw)
	} else if !needed && !secret {
		return Redaction{Object: raw}
	}
	return r.edited(raw, secret)
}

// edited builds the object, replaces what is to be replaced and writes it again.
func (r *Redactor) edited(raw []byte, secret bool) Redaction {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object any
	if err := decoder.Decode(&object); err != nil {
		return r.whole(raw)
	}
	edit := &edit{redactor: r}
	if secret {
		edit.secret(object)
	}
	edit.variables("", object, 0)
	edit.annotation(object, secret)
	if len(edit.paths) == 0 {
		return Redaction{Object: raw}
	}
	written, err := json.Marshal(object)
	if err != nil {
		return r.whole(raw)
	}
	slices.Sort(edit.paths)
	return Redaction{Object: written, Paths: slices.Compact(edit.paths), Values: edit.values}
}

// whole replaces all of an object. The path "" stands for it.
func (r *Redactor) whole(raw []byte) Redaction {
	written, _ := json.Marshal(r.replace(raw)) // a string always has a form
	return Redaction{Object: written, Paths: []string{""}}
}

// mayHoldCredentials says, without building the object, whether it has anything that is replaced outside of Secrets, and whether
// it is JSON at all: without names that come twice, of which one reader would see the first and another one the last.
func mayHoldCredentials(raw []byte) (needed, valid bool) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for {
		token, err := decoder.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			_, documents := decoder.StackIndex(0)
			return needed, documents == 1
		case err != nil:
			return needed, false
		case needed || token.Kind() != '"' || !readName(decoder):
			continue
		}
		switch token.String() {
		case lastApplied:
			needed = true
		case "env":
			value, err := decoder.ReadValue()
			if err != nil {
				return needed, false
			}
			needed = holdsCredential(value)
		}
	}
}

// readName says whether the token that was read last is the name of a field.
func readName(decoder *jsontext.Decoder) bool {
	kind, length := decoder.StackIndex(decoder.StackDepth())
	return kind == '{' && length%2 == 1
}

// holdsCredential looks at the value of a field env.
func holdsCredential(value jsontext.Value) bool {
	if value.Kind() != '[' {
		needed, _ := mayHoldCredentials(value)
		return needed
	}
	var variables []struct {
		Name  string         `json:"name"`
		Value jsontext.Value `json:"value"`
		Rest  jsontext.Value `json:",unknown"`
	}
	if jsonv2.Unmarshal(value, &variables) != nil {
		return true // it is no list of variables: whoever builds the object looks at each
	}
	for n := range variables {
		one := &variables[n]
		if kind := one.Value.Kind(); kind == '{' || kind == '[' {
			return true
		} else if kind == '"' {
			var text string
			if jsonv2.Unmarshal(one.Value, &text) != nil || text != "" && Credential(one.Name, text) {
				return true
			}
		}
		if bytes.Contains(one.Rest, []byte(`env"`)) || bytes.Contains(one.Rest, []byte(`\u`)) {
			return true // a list in the list
		}
	}
	return false
}

// edit is one object being redacted.
type edit struct {
	redactor *Redactor
	paths    []string
	values   []string
}

// replaced notes a value and gives what stands for it.
func (e *edit) replaced(value string) string {
	e.values = append(e.values, value)
	return e.redactor.replace([]byte(value))
}

// secret replaces the values of a Secret, and keeps the names of its keys, and the token that a TokenReview asks about.
func (e *edit) secret(object any) {
	fields, _ := object.(map[string]any)
	for name, held := range fields {
		if strings.EqualFold(name, "spec") {
			e.token(name, held)
		}
	}
	for section, held := range fields {
		// Whoever reads the journal may care less about upper and lower case than an API server does.
		if held == nil || !strings.EqualFold(section, "data") && !strings.EqualFold(section, "stringData") {
			continue
		}
		e.paths = append(e.paths, section)
		values, ok := held.(map[string]any)
		if !ok {
			fields[section] = e.replaced(textOf(held))
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			text := textOf(values[key])
			if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
				e.values = append(e.values, string(decoded))
			}
			values[key] = e.replaced(text)
		}
	}
}

// token replaces a field token.
func (e *edit) token(path string, spec any) {
	fields, _ := spec.(map[string]any)
	for name, held := range fields {
		if strings.EqualFold(name, "token") && held != nil {
			fields[name] = e.replaced(textOf(held))
			e.paths = append(e.paths, joinPath(path, name))
		}
	}
}

func textOf(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	written, _ := json.Marshal(value) // it was read from JSON
	return string(written)
}

// maxNesting is deeper than any object that an API server takes (k8s.io/apimachinery/pkg/util/json limits to 10,000
// levels, custom resources have some dozen).
const maxNesting = 1000

// variables replaces the values of variables that look like credentials, wherever in the object a list env is.
func (e *edit) variables(path string, value any, depth int) {
	if depth > maxNesting {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			at := joinPath(path, key)
			if list, ok := value[key].([]any); ok && key == "env" {
				e.environment(at, list)
			}
			e.variables(at, value[key], depth+1)
		}
	case []any:
		for n, item := range value {
			e.variables(fmt.Sprintf("%s[%d]", path, n), item, depth+1)
		}
	}
}

func (e *edit) environment(path string, list []any) {
	for n, item := range list {
		variable, _ := item.(map[string]any)
		name, _ := variable["name"].(string)
		value, isText := variable["value"].(string)
		if isText && value != "" && Credential(name, value) {
			variable["value"] = e.replaced(value)
			e.paths = append(e.paths, fmt.Sprintf("%s[%d].value", path, n))
		}
	}
}

// annotation replaces what kubectl apply has left where it may hold what is replaced elsewhere.
func (e *edit) annotation(object any, secret bool) {
	fields, _ := object.(map[string]any)
	metadata, _ := fields["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	text, ok := annotations[lastApplied].(string)
	if !ok || text == "" {
		return
	}
	if !secret && len(e.paths) == 0 && !e.applied(text) {
		return
	}
	annotations[lastApplied] = e.redactor.replace([]byte(text))
	e.paths = append(e.paths, "metadata.annotations["+lastApplied+"]")
}

// applied says whether what was applied holds anything to replace.
func (e *edit) applied(text string) bool {
	var object any
	if json.Unmarshal([]byte(text), &object) != nil {
		return true
	}
	within := &edit{redactor: e.redactor}
	within.variables("", object, 0)
	e.values = append(e.values, within.values...)
	return len(within.paths) > 0
}

func joinPath(path, key string) string {
	if strings.ContainsAny(key, ".[]/") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// minScrubbed is the length from which a replaced value is looked for in what policies say: shorter ones are words of
// every message.
const minScrubbed = 4

// Scrub replaces values that a policy has repeated in a message, a detail or a patch, in the JSON of those.
func (r *Redactor) Scrub(document []byte, values []string) []byte {
	for _, value := range values {
		if len(value) < minScrubbed {
			continue
		}
		quoted, err := json.Marshal(value)
		if err != nil {
			continue
		}
		mark := []byte(r.replace([]byte(value)))
		for _, form := range [][]byte{quoted[1 : len(quoted)-1], unescaped(value)} {
			if len(form) >= minScrubbed && bytes.Contains(document, form) {
				document = bytes.ReplaceAll(document, form, mark)
			}
		}
	}
	return document
}

// unescaped is a value as an encoder writes it in JSON that leaves <, > and & as they are.
func unescaped(value string) []byte {
	quoted, err := jsontext.AppendQuote(nil, value)
	if err != nil {
		return nil
	}
	return quoted[1 : len(quoted)-1]
}
