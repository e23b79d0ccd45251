package redaction

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Document is any value as indented JSON without credentials: neither those that objects of Kubernetes have in known places ([Redactor.Object]), nor what looks
// like one in any of its text ([Redactor.Text]). Names of fields stay as they are.
func (r *Redactor) Document(value any) ([]byte, error) {
	written, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding a document: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(r.Object(written, false).Object))
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return nil, fmt.Errorf("decoding a redacted document: %w", err)
	}
	return json.MarshalIndent(r.texts(plain), "", " ")
}

// texts redacts all text in a value. Text in a list may be an argument of a command.
func (r *Redactor) texts(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, held := range value {
			value[key] = r.texts(held)
		}
	case []any:
		before := ""
		for n, held := range value {
			text, isText := held.(string)
			if isText {
				value[n] = r.Argument(before, text)
			} else {
				value[n] = r.texts(held)
			}
			before = text
		}
	case string:
		return r.Text(value)
	}
	return value
}
