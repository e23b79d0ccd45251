package admissionpolicy

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"
)

// Objects are the policies and their bindings, each policy before its binding, as they are applied: without a status.
func (r *Result) Objects() ([]map[string]any, error) {
	var objects []map[string]any
	for n := range r.Exported {
		pair, err := r.Exported[n].objects()
		if err != nil {
			return nil, err
		}
		objects = append(objects, pair...)
	}
	return objects, nil
}

// YAML writes all objects as a stream to apply.
func (r *Result) YAML() ([]byte, error) {
	var out bytes.Buffer
	for n := range r.Exported {
		if n > 0 {
			out.WriteString("---\n")
		}
		document, err := r.Exported[n].YAML()
		if err != nil {
			return nil, err
		}
		out.Write(document)
	}
	return out.Bytes(), nil
}

// YAML writes a policy and its binding.
func (e *Exported) YAML() ([]byte, error) {
	objects, err := e.objects()
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for _, object := range objects {
		document, err := yaml.Marshal(object)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", e.Name, err)
		}
		documents = append(documents, document)
	}
	return bytes.Join(documents, []byte("---\n")), nil
}

func (e *Exported) objects() ([]map[string]any, error) {
	var objects []map[string]any
	for _, typed := range []any{e.Object, e.Binding} {
		raw, err := json.Marshal(typed)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", e.Name, err)
		}
		var object map[string]any
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, fmt.Errorf("writing %s: %w", e.Name, err)
		}
		delete(object, "status") // the API server's own
		objects = append(objects, object)
	}
	return objects, nil
}
