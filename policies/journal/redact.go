package journal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/portcullis-dev/portcullis/policies/redaction"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// redactor replaces values by a keyed hash: equal values stay equal within a journal, and whoever has the journal and
// not the key cannot try out guesses.
type redactor struct{ key []byte }

// hash is what stands in the place of a value.
func (r *redactor) hash(value []byte) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write(value)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// object redacts a raw object; secret says that it is a Secret or a TokenReview.
func (r *redactor) object(raw []byte, secret bool) redaction.Redaction {
	return (&redaction.Redactor{Replace: r.hash}).Object(raw, secret)
}

// event redacts what a sensor saw: command lines and variables hold passwords. paths are those of what was replaced, values what
// was.
func (r *redactor) event(e *response.Event) (redacted *response.Event, paths, values []string) {
	texts := &redaction.Redactor{Replace: func(value []byte) string {
		values = append(values, string(value))
		return r.hash(value)
	}}
	copied := *e
	if copied.Output = texts.Text(e.Output); copied.Output != e.Output {
		paths = append(paths, "event.output")
	}
	if len(e.Fields) > 0 {
		fields, changed := textsIn(map[string]any(e.Fields), texts.Text)
		copied.Fields, _ = fields.(map[string]any)
		if changed {
			paths = append(paths, "event.fields")
		}
	}
	return &copied, paths, values
}

// textsIn is a decoded value with each text in it replaced by what replace makes of it, and whether any differs.
func textsIn(value any, replace func(string) string) (any, bool) {
	switch value := value.(type) {
	case string:
		text := replace(value)
		return text, text != value
	case []any:
		items, changed := make([]any, len(value)), false
		for n, item := range value {
			made, differs := textsIn(item, replace)
			items[n], changed = made, changed || differs
		}
		return items, changed
	case map[string]any:
		fields, changed := make(map[string]any, len(value)), false
		for name, item := range value {
			made, differs := textsIn(item, replace)
			fields[name], changed = made, changed || differs
		}
		return fields, changed
	}
	return value, false
}

// scrub replaces values that a policy has repeated in a message, a detail or a patch, in the JSON of those.
func (r *redactor) scrub(document []byte, values []string) []byte {
	return (&redaction.Redactor{Replace: r.hash}).Scrub(document, values)
}
