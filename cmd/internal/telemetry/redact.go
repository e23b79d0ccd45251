package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// maxValue bounds a text of a span, in bytes.
const maxValue = 512

// redactedSpan is a span as it leaves the program: without credentials, its texts bounded. It is looked at where it is sent and not where it is made: nothing
// of that is on the way of a request.
type redactedSpan struct{ sdk.ReadOnlySpan }

// Name implements [sdk.ReadOnlySpan].
func (s redactedSpan) Name() string { return text(s.ReadOnlySpan.Name()) }

// Attributes implements [sdk.ReadOnlySpan].
func (s redactedSpan) Attributes() []attribute.KeyValue {
	return attributes(s.ReadOnlySpan.Attributes())
}

// Status implements [sdk.ReadOnlySpan].
func (s redactedSpan) Status() sdk.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = text(status.Description)
	return status
}

// Events implements [sdk.ReadOnlySpan].
func (s redactedSpan) Events() []sdk.Event {
	events := s.ReadOnlySpan.Events()
	kept := make([]sdk.Event, len(events))
	for n, event := range events {
		event.Name, event.Attributes = text(event.Name), attributes(event.Attributes)
		kept[n] = event
	}
	return kept
}

func attributes(all []attribute.KeyValue) []attribute.KeyValue {
	kept := make([]attribute.KeyValue, len(all))
	for n, one := range all {
		switch one.Value.Type() {
		case attribute.STRING:
			one.Value = attribute.StringValue(text(one.Value.AsString()))
		case attribute.STRINGSLICE:
			values := one.Value.AsStringSlice() // a copy
			values = values[:min(len(values), maxAttributes)]
			for i := range values {
				values[i] = text(values[i])
			}
			one.Value = attribute.StringSliceValue(values)
		}
		kept[n] = one
	}
	return kept
}

// text is a text of a span.
func text(value string) string {
	return cut(cleaned(value), maxValue)
}
