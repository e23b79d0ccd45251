package supportbundle

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/redaction"
)

// cleaner takes credentials out of what is gathered. It remembers them, so that they are taken out of where they are said again.
type cleaner struct {
	// known are values of variables that are called like credentials, and of annotations.
	known    []string
	replaced int
}

// redactor counts what it replaces.
func (c *cleaner) redactor() *redaction.Redactor {
	return &redaction.Redactor{Replace: func([]byte) string {
		c.replaced++
		return redaction.Redacted
	}}
}

// text replaces what looks like a credential in free text. What is no UTF-8 is made so.
func (c *cleaner) text(text []byte) []byte {
	return []byte(c.redactor().Text(string(bytes.ToValidUTF8(text, []byte("\uFFFD")))))
}

// document writes a value as JSON, its text without credentials.
func (c *cleaner) document(value any) ([]byte, error) {
	return c.redactor().Document(value)
}

// minKnown is from how many bytes on a value is looked for elsewhere: shorter ones are words of every log.
const minKnown = 6

// scrub takes values that were replaced in one place out of another.
func (c *cleaner) scrub(content []byte) []byte {
	for _, value := range c.known {
		forms := [][]byte{[]byte(value)}
		if quoted, err := json.Marshal(value); err == nil {
			forms = append(forms, quoted[1:len(quoted)-1])
		}
		for _, form := range forms {
			if bytes.Contains(content, form) {
				c.replaced++
				content = bytes.ReplaceAll(content, form, []byte(redaction.Redacted))
			}
		}
	}
	return content
}

// remember notes a value that is not to be said anywhere.
func (c *cleaner) remember(value string) {
	if len(value) >= minKnown && !slices.Contains(c.known, value) {
		c.known = append(c.known, value)
	}
}

// object leaves out of an object what nobody who helps needs, in place: managed fields, data, values of variables, annotations.
func (c *cleaner) object(object map[string]any) map[string]any {
	for _, field := range []string{"data", "stringData", "binaryData"} {
		if _, has := object[field]; has {
			object[field] = redaction.Redacted
			c.replaced++
		}
	}
	if spec, ok := object["spec"].(map[string]any); ok && object["kind"] == "PolicyRevision" {
		delete(spec, "data")
	}
	c.walk(object)
	return object
}

// walk looks for metadata and lists of variables, wherever they are: in pods, templates, and templates of templates.
func (c *cleaner) walk(value any) {
	switch value := value.(type) {
	case map[string]any:
		delete(value, "managedFields")
		for key, held := range value {
			switch list, isList := held.([]any); {
			case key == "annotations":
				c.annotations(held)
			case key == "env" && isList:
				c.variables(list)
			case key == "clientConfig":
				c.secretPath(held)
			}
			c.walk(held)
		}
	case []any:
		for _, item := range value {
			c.walk(item)
		}
	}
}

// secretPath replaces what the API server shows a webhook as its first path segment (--caller=secret-path): whoever knows it may ask.
func (c *cleaner) secretPath(held any) {
	config, _ := held.(map[string]any)
	service, _ := config["service"].(map[string]any)
	if path, ok := service["path"].(string); ok {
		service["path"] = c.withoutSecret(path)
	}
	if text, ok := config["url"].(string); ok {
		host, path, found := strings.Cut(strings.TrimPrefix(text, "https://"), "/")
		if found {
			config["url"] = "https://" + host + c.withoutSecret("/"+path)
		}
	}
}

// withoutSecret is a path without its first segment, where there is another one after it.
func (c *cleaner) withoutSecret(path string) string {
	secret, rest, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !found {
		return path
	}
	c.remember(secret)
	c.replaced++
	return "/" + redaction.Redacted + "/" + rest
}

// variables replaces all values, whatever they are called.
func (c *cleaner) variables(list []any) {
	for _, item := range list {
		variable, _ := item.(map[string]any)
		value, ok := variable["value"].(string)
		if !ok || value == "" {
			continue
		}
		if name, _ := variable["name"].(string); redaction.Credential(name, value) {
			c.remember(value)
		}
		variable["value"] = redaction.Redacted
		c.replaced++
	}
}

// harmless are annotations whose values are kept: those that say how something is rolled out, and ours.
var harmless = []string{"deployment.kubernetes.io/", "kubernetes.io/config.", "kubectl.kubernetes.io/restartedAt", "meta.helm.sh/", "policy.portcullis.dev/", "runtime.portcullis.dev/", "secrets.portcullis.dev/", "scan.portcullis.dev/", "api-approved.kubernetes.io"}

func (c *cleaner) annotations(held any) {
	fields, _ := held.(map[string]any)
	for key, value := range fields {
		if slices.ContainsFunc(harmless, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			continue
		}
		if text, ok := value.(string); ok && redaction.Credential(key, text) {
			c.remember(text)
		}
		fields[key] = redaction.Redacted
		c.replaced++
	}
}
