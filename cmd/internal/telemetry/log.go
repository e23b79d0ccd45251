package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/policies/redaction"
	"go.opentelemetry.io/otel/trace"
)

// Limits of a line: who reads it has to store it.
const (
	// A stack trace of a panic has some KiB.
	maxAttribute = 8 << 10
	// Attributes of a line and of a group in it, and elements of a list.
	maxAttributes = 64
	// How deep groups go into groups.
	maxDepth = 4
)

// redacted stands for a value whose name says that it is a credential.
const redacted = "[redacted]"

// credentials are names of attributes whose values are never written. Names of objects, such as secret, are not among them.
var credentials = []string{
	"password", "passwd", "passphrase", "token", "authorization", "credential", "credentials", "apikey", "api_key", "private_key", "client_secret",
	"bearer", "cookie",
}

// handler adds the trace that a line belongs to, takes credentials out of lines, bounds them, and leaves out those that say the same over and over.
type handler struct {
	next slog.Handler
	*lines
}

func newHandler(next slog.Handler) handler {
	h := handler{next, newLines()}
	h.lines.write = next.Handle
	return h
}

// Enabled implements [slog.Handler].
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs implements [slog.Handler].
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	kept := make([]slog.Attr, 0, len(attrs))
	for _, attr := range attrs[:min(len(attrs), maxAttributes)] {
		kept = append(kept, bounded(attr, 0))
	}
	return handler{h.next.WithAttrs(kept), h.lines}
}

// WithGroup implements [slog.Handler].
func (h handler) WithGroup(name string) slog.Handler { return handler{h.next.WithGroup(name), h.lines} }

// Handle implements [slog.Handler].
func (h handler) Handle(ctx context.Context, record slog.Record) error {
	if !h.allow(record.Level, record.Message) {
		return nil
	}
	kept := slog.NewRecord(record.Time, record.Level, cleaned(record.Message), record.PC)
	if of := trace.SpanContextFromContext(ctx); of.HasTraceID() {
		kept.AddAttrs(slog.String("trace_id", of.TraceID().String()), slog.String("span_id", of.SpanID().String()))
	}
	left := maxAttributes
	record.Attrs(func(attr slog.Attr) bool {
		kept.AddAttrs(bounded(attr, 0))
		left--
		return left > 0
	})
	return h.next.Handle(ctx, kept)
}

// bounded is an attribute as it may be written.
func bounded(attr slog.Attr, depth int) slog.Attr {
	value := attr.Value.Resolve()
	if slices.Contains(credentials, strings.ToLower(attr.Key)) {
		return slog.String(attr.Key, redacted)
	}
	switch value.Kind() {
	case slog.KindString:
		return slog.String(attr.Key, cleaned(value.String()))
	case slog.KindGroup:
		if depth == maxDepth {
			return slog.String(attr.Key, "…")
		}
		group := value.Group()
		kept := make([]slog.Attr, 0, len(group))
		for _, inner := range group[:min(len(group), maxAttributes)] {
			kept = append(kept, bounded(inner, depth+1))
		}
		return slog.Attr{Key: attr.Key, Value: slog.GroupValue(kept...)}
	case slog.KindAny:
		return slog.Attr{Key: attr.Key, Value: plain(value.Any())}
	}
	return slog.Attr{Key: attr.Key, Value: value}
}

// plain is a value of any type as it may be written: errors and what has a String method as text, the rest as it is, or as JSON where that
// holds what must not be written.
func plain(value any) slog.Value {
	switch value := value.(type) {
	case nil:
		return slog.AnyValue(nil)
	case error:
		return slog.StringValue(cleaned(said(func() string { return value.Error() }, value)))
	case fmt.Stringer:
		return slog.StringValue(cleaned(said(func() string { return value.String() }, value)))
	case []string:
		kept := make([]string, 0, min(len(value), maxAttributes))
		for _, text := range value[:min(len(value), maxAttributes)] {
			kept = append(kept, cleaned(text))
		}
		return slog.AnyValue(kept)
	case []byte:
		return slog.StringValue(cleaned(string(value)))
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return slog.StringValue(cleaned(fmt.Sprintf("%+v", value)))
	}
	if text := string(encoded); cleaned(text) != text {
		return slog.StringValue(cleaned(text))
	}
	return slog.AnyValue(json.RawMessage(encoded)) // what was looked at is what is written
}

// said is the text of a value. One whose method panics, such as a nil pointer, must not end the program for a line of the log.
func said(text func() string, of any) (what string) {
	defer func() {
		if cause := recover(); cause != nil {
			what = fmt.Sprintf("a %T that cannot be written: %v", of, cause)
		}
	}()
	return text()
}

// cleaned is a text without credentials, cut at maxAttribute bytes. What is cut off is not looked at.
func cleaned(text string) string {
	var r redaction.Redactor
	if len(text) <= maxAttribute {
		return r.Text(text)
	}
	// Longer by what a credential that is cut in two could need to be known.
	const margin = 1 << 10
	return cut(r.Text(text[:min(len(text), maxAttribute+margin)]), maxAttribute)
}

// cut is a text of so many bytes at most, with an ellipsis where something is missing.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	text = text[:limit-len("…")]
	for len(text) > 0 {
		if r, size := utf8.DecodeLastRuneInString(text); r != utf8.RuneError || size > 1 {
			break
		}
		text = text[:len(text)-1]
	}
	return text + "…"
}
