package schemas

import (
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// module is the path of this module, root its folder as tests of this package see it.
const (
	module = "github.com/portcullis-dev/portcullis/"
	root   = "../../"
)

// generator makes schemas of types, with the comments of their sources.
type generator struct {
	comments map[string]map[string]string // folder: "Type" or "Type.Field": comment
	defined  map[string]any               // definitions of the schema at hand
}

// document is the schema of a file that holds a type. A value of an enumeration that is the only one is a constant.
func (g *generator) document(title string, of reflect.Type, required map[string]any, without ...string) map[string]any {
	g.defined = map[string]any{}
	schema := g.object(of)
	properties := schema["properties"].(map[string]any)
	for _, name := range without {
		delete(properties, name)
	}
	var names []string
	for name, value := range required {
		names = append(names, name)
		if value != nil {
			properties[name].(map[string]any)["const"] = value
		}
	}
	schema["$schema"], schema["title"] = "http://json-schema.org/draft-07/schema#", title
	if len(names) > 0 {
		schema["required"] = sorted(names)
	}
	if len(g.defined) > 0 {
		schema["definitions"] = g.defined
	}
	return schema
}

var (
	textual     = reflect.TypeFor[encoding.TextMarshaler]()
	enforcement = reflect.TypeFor[policies.Enforcement]()
	failMode    = reflect.TypeFor[policies.FailMode]()
	durationOf  = reflect.TypeFor[metav1.Duration]()
	timeOf      = reflect.TypeFor[time.Time]()
	priorityOf  = reflect.TypeFor[response.Priority]()
	modeOf      = reflect.TypeFor[response.Mode]()
)

// of is the schema of a value.
func (g *generator) of(t reflect.Type) map[string]any {
	switch t {
	case enforcement:
		return map[string]any{"type": "string", "enum": []any{"deny", "warn", "audit", "off"}}
	case failMode:
		return map[string]any{"type": "string", "enum": []any{"closed", "open"}}
	case priorityOf:
		return map[string]any{"type": "string", "enum": []any{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}}
	case modeOf:
		return map[string]any{"type": "string", "enum": []any{"audit", "approve", "enforce"}}
	case durationOf:
		return map[string]any{"type": "string"}
	case timeOf:
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return map[string]any{"type": "object"}
		}
		return map[string]any{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		return g.reference(t)
	}
	panic(fmt.Sprintf("there is no schema for %v: add it to generate_test.go", t))
}

// reference defines a struct once and refers to it.
func (g *generator) reference(t reflect.Type) map[string]any {
	if _, done := g.defined[t.Name()]; !done {
		g.defined[t.Name()] = nil // a type may hold itself
		g.defined[t.Name()] = g.object(t)
	}
	return map[string]any{"$ref": "#/definitions/" + t.Name()}
}

func (g *generator) object(t reflect.Type) map[string]any {
	if t.Implements(textual) {
		panic(fmt.Sprintf("%v is written as text: add it to generate_test.go", t))
	}
	properties, required := map[string]any{}, []string{}
	for _, field := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || field.Anonymous || name == "" || name == "-" {
			continue
		}
		property := g.of(field.Type)
		if text := g.comment(t, field.Name); text != "" {
			if property["$ref"] != nil {
				property = map[string]any{"allOf": []any{property}} // what stands beside $ref is ignored
			}
			property["description"] = text
		}
		properties[name] = property
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = sorted(required)
	}
	if text := g.comment(t, ""); text != "" {
		schema["description"] = text
	}
	return schema
}

// comment is that of a type or of a field, as it stands in the source.
func (g *generator) comment(t reflect.Type, field string) string {
	folder, ours := strings.CutPrefix(t.PkgPath()+"/", module)
	if !ours {
		return ""
	}
	if g.comments == nil {
		g.comments = map[string]map[string]string{}
	}
	if g.comments[folder] == nil {
		g.comments[folder] = commentsOf(root + folder)
	}
	name := t.Name()
	if field != "" {
		name += "." + field
	}
	return g.comments[folder][name]
}

// commentsOf reads the comments of a folder's types.
func commentsOf(folder string) map[string]string {
	found := map[string]string{}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		panic(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			panic(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if declaration, ok := node.(*ast.GenDecl); ok {
				for _, spec := range declaration.Specs {
					addComments(found, declaration, spec)
				}
			}
			return true
		})
	}
	return found
}

func addComments(found map[string]string, declaration *ast.GenDecl, spec ast.Spec) {
	named, ok := spec.(*ast.TypeSpec)
	if !ok {
		return
	}
	structure, ok := named.Type.(*ast.StructType)
	if !ok {
		return
	}
	doc := named.Doc
	if doc == nil {
		doc = declaration.Doc
	}
	found[named.Name.Name] = oneLine(doc.Text())
	for _, field := range structure.Fields.List {
		text := field.Doc.Text()
		if text == "" {
			text = field.Comment.Text()
		}
		for _, name := range field.Names {
			found[named.Name.Name+"."+name.Name] = oneLine(text)
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func sorted(names []string) []any {
	var all []any
	for _, name := range sortedStrings(names) {
		all = append(all, name)
	}
	return all
}

// encode writes a schema as it is published.
func encode(schema any) ([]byte, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(schema)
	return []byte(b.String()), err
}
