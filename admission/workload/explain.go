package workload

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// explain says what is wrong with an object in the words of its author, not of the
// decoder. path is that of the part that was decoded.
func explain(path string, err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		at := or(pointerPath(path, semantic.JSONPointer), "the object")
		if semantic.Err != nil {
			return fmt.Errorf("%s cannot be read: %w", at, semantic.Err)
		}
		return fmt.Errorf("%s is a %s: make it a %s, as the API wants it", at, kindName(semantic.JSONKind), typeName(semantic.GoType))
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at := or(pointerPath(path, syntax.JSONPointer), "the object")
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Errorf("%s is given twice: remove one of the two", at)
		}
		return fmt.Errorf("%s is no valid JSON: %w", at, syntax.Err)
	}
	return err
}

// pointerPath writes a JSON pointer as a path.
func pointerPath(path string, pointer jsontext.Pointer) string {
	const most = 200
	for token := range pointer.Tokens() {
		if len(path) > most {
			return path[:most] + "…"
		}
		if strings.Trim(token, "0123456789") == "" && token != "" {
			path += "[" + token + "]"
			continue
		}
		path = join(path, token)
	}
	return path
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case '{':
		return "map"
	case '[':
		return "list"
	case '"':
		return "string"
	case '0':
		return "number"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "value of another type"
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "value of another type"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int64:
		return "whole number"
	case reflect.Pointer:
		return typeName(t.Elem())
	}
	return "map"
}
