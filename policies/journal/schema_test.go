package journal

import (
	"bytes"
	textual "encoding"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas are the published forms, by file in docs.
var schemas = map[string]struct {
	id, title string
	of        reflect.Type
}{
	"journal.schema.json": {SchemaID, "Line of a journal of decisions", reflect.TypeFor[Line]()},
	"replay.schema.json":  {ReplaySchemaID, "Report of portcullis replay --format json", reflect.TypeFor[Report]()},
}

func schemaPath(name string) string { return filepath.Join("..", "..", "docs", name) }

// TestGoldenSchemas holds the published schemas to the types.
func TestGoldenSchemas(t *testing.T) {
	for name, published := range schemas {
		g := &generator{comments: commentsOf(t, ".", ".."), definitions: map[string]any{}}
		root := g.schema(published.of).(map[string]any)
		document := map[string]any{
			"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": published.id, "title": published.title,
			"description": "New fields may be added; fields listed here keep their name and meaning within version 1.",
			"$ref":        root["$ref"], "$defs": g.definitions,
		}
		written, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, schemaPath(name), append(written, '\n'))
	}
}

func compileSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaPath(name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, document []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("got %v of %s", err, document)
	}
}

func TestLinesAndReportsFitTheirPublishedSchemas(t *testing.T) {
	dir := busy(t)
	schema := compileSchema(t, "journal.schema.json")
	for line := range bytes.Lines(mustRead(t, newest(t, dir))) {
		validate(t, schema, line)
	}
	document, err := json.Marshal(replay(t, dir, ReplayOptions{After: candidate(t)}))
	if err != nil {
		t.Fatal(err)
	}
	validate(t, compileSchema(t, "replay.schema.json"), document)
}

// generator makes JSON schemas (draft 2020-12) of Go types.
type generator struct {
	comments    map[string]map[string]string // of fields by type
	definitions map[string]any
}

func (g *generator) schema(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return true
	case t == reflect.TypeFor[policies.Enforcement]():
		return map[string]any{"enum": texts(policies.EnforceDeny, policies.EnforceWarn, policies.EnforceAudit, policies.EnforceOff)}
	case t == reflect.TypeFor[policies.FailMode]():
		return map[string]any{"enum": texts(policies.FailClosed, policies.FailOpen)}
	case t == reflect.TypeFor[response.Priority]():
		return map[string]any{"enum": texts(response.Emergency, response.Alert, response.Critical, response.Error, response.Warning, response.Notice, response.Informational, response.Debug)}
	case t == reflect.TypeFor[response.Fields]():
		return map[string]any{"type": "object", "additionalProperties": true}
	case t == reflect.TypeFor[Stance]():
		return map[string]any{"enum": stances}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.schema(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.schema(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Struct:
		return g.reference(t)
	}
	return true
}

func texts(values ...textual.TextMarshaler) (names []string) {
	for _, value := range values {
		text, err := value.MarshalText()
		if err != nil {
			panic(err)
		}
		names = append(names, string(text))
	}
	return names
}

// reference defines a struct once.
func (g *generator) reference(t reflect.Type) any {
	name := strings.ToLower(t.Name()[:1]) + t.Name()[1:]
	if _, known := g.definitions[name]; !known {
		definition := map[string]any{"type": "object"}
		g.definitions[name] = definition
		properties, required := map[string]any{}, []string{}
		g.fields(t, properties, &required)
		definition["properties"], definition["required"] = properties, required
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (g *generator) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for n := range t.NumField() {
		field := t.Field(n)
		if field.Anonymous {
			g.fields(field.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		property := g.schema(field.Type)
		if comment := g.comments[t.Name()][field.Name]; comment != "" {
			if described, ok := property.(map[string]any); ok {
				described["description"] = comment
			} else {
				property = map[string]any{"description": comment}
			}
		}
		properties[name] = property
		if options == "" {
			*required = append(*required, name)
		}
	}
}

// commentsOf reads what is said of the fields of all structs in some folders.
func commentsOf(t *testing.T, folders ...string) map[string]map[string]string {
	t.Helper()
	comments := map[string]map[string]string{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if spec, ok := node.(*ast.TypeSpec); ok {
					if structure, ok := spec.Type.(*ast.StructType); ok && comments[spec.Name.Name] == nil {
						comments[spec.Name.Name] = fieldComments(structure)
					}
				}
				return true
			})
		}
	}
	return comments
}

func fieldComments(structure *ast.StructType) map[string]string {
	all := map[string]string{}
	for _, field := range structure.Fields.List {
		text := field.Doc.Text()
		if text == "" {
			text = field.Comment.Text()
		}
		for _, name := range field.Names {
			all[name.Name] = strings.Join(strings.Fields(text), " ")
		}
	}
	return all
}
