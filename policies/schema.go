package policies

import (
	"reflect"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/secrets"
)

// inputShape is input as the schema and the encoder see it: what each section of
// it holds. Raw Kubernetes objects are "any".
type inputShape struct {
	Request   requestShape      `json:"request"`
	Subject   subjectShape      `json:"subject"`
	Workload  workload.Workload `json:"workload"`
	Object    any               `json:"object"`
	OldObject any               `json:"oldObject"`
	Namespace Namespace         `json:"namespace"`
	Cluster   []objectShape     `json:"cluster"`
	Images    []fullImageShape  `json:"images"`
	Incidents []incidentShape   `json:"incidents"`
	Event     eventShape        `json:"event"`
	Sync      secrets.Sync      `json:"sync"`
	Now       string            `json:"now"`
}

type requestShape struct {
	Operation   string        `json:"operation"`
	DryRun      bool          `json:"dryRun"`
	Door        string        `json:"door"`
	Resource    resourceShape `json:"resource"`
	SubResource string        `json:"subresource"`
	Kind        kindShape     `json:"kind"`
	Namespace   string        `json:"namespace"`
	Name        string        `json:"name"`
	Options     any           `json:"options"`
}

type resourceShape struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
}

type kindShape struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

type subjectShape struct {
	Username       string               `json:"username"`
	UID            string               `json:"uid"`
	Groups         []string             `json:"groups"`
	Extra          []extraShape         `json:"extra"`
	ServiceAccount *serviceAccountShape `json:"serviceAccount,omitempty"`
}

type extraShape struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

type serviceAccountShape struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type objectShape struct {
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Object    any    `json:"object"`
}

// InputSchema is the JSON schema of input. The compiler refuses a policy that reads
// a path it does not have. It is kept as policies/input.schema.json.
func InputSchema() map[string]any {
	schema := schemaOf(reflect.TypeFor[inputShape]())
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["title"] = "Portcullis policy input"
	return schema
}

// inputField is a field of a Go type as policies see it.
type inputField struct {
	name  string
	index []int // for reflect.Value.FieldByIndex
	typ   reflect.Type
}

// fieldsOf are the fields of a struct, those of embedded structs among its own.
func fieldsOf(t reflect.Type) []inputField {
	var fields []inputField
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.Anonymous {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fields = append(fields, inputField{name, field.Index, field.Type})
			continue
		}
		for _, below := range fieldsOf(field.Type) {
			below.index = append([]int{i}, below.index...)
			fields = append(fields, below)
		}
	}
	return fields
}

func schemaOf(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		properties := map[string]any{}
		for _, field := range fieldsOf(t) {
			properties[field.name] = schemaOf(field.typ)
		}
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int64, reflect.Int:
		return map[string]any{"type": "integer"}
	default:
		return map[string]any{}
	}
}
