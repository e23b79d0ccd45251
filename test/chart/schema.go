package chart

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// schemaFile is values.schema.json, by which Helm refuses values that are misspelt or of a wrong type.
func schemaFile(dir string) (map[string][]byte, error) {
	values, err := readValues(dir)
	if err != nil {
		return nil, err
	}
	schema, err := object(values)
	if err != nil {
		return nil, err
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Values of the chart portcullis"
	// Helm puts these in for subcharts and parents.
	schema["properties"].(map[string]any)["global"] = map[string]any{"type": "object"}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return map[string][]byte{"values.schema.json": append(text, '\n')}, nil
}

func object(values []*value) (map[string]any, error) {
	properties := map[string]any{}
	for _, v := range values {
		one, err := v.schema()
		if err != nil {
			return nil, err
		}
		properties[v.key()] = one
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}, nil
}

func (v *value) schema() (map[string]any, error) {
	types, err := v.types()
	if err != nil {
		return nil, err
	}
	schema := map[string]any{"type": types[0]}
	if len(types) > 1 {
		schema["type"] = types
	}
	if v.node.Kind == yaml.MappingNode && !v.free() {
		if schema, err = object(v.children); err != nil {
			return nil, err
		}
	}
	if v.description != "" {
		schema["description"] = v.description
	}
	if v.has("enum") {
		schema["enum"] = list(v.directives["enum"])
	}
	if v.has("pattern") {
		schema["pattern"] = v.directives["pattern"]
	}
	if v.has("duration") {
		schema["pattern"] = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	}
	for directive, keyword := range map[string]string{"min": "minimum", "max": "maximum"} {
		if v.has(directive) {
			if schema[keyword], err = v.number(directive); err != nil {
				return nil, err
			}
		}
	}
	if types[0] == "array" {
		if !v.has("items") {
			return nil, fmt.Errorf("reading %s: it does not say what its items are: write @items TYPE into its comment", v.name)
		}
		schema["items"] = map[string]any{"type": v.directives["items"]}
	}
	if v.has("resources") {
		quantities := map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"string", "integer", "number"}}}
		schema["additionalProperties"] = false
		schema["properties"] = map[string]any{"requests": quantities, "limits": quantities, "claims": map[string]any{"type": "array"}}
	}
	return schema, nil
}
