package journal

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of ExportLogsServiceRequest in OTLP's JSON, as far as lines need them: names in lower camel case, 64 bit numbers
// as strings, trace ids in hexadecimal (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
type (
	otlpRequest struct {
		ResourceLogs []otlpResourceLogs `json:"resourceLogs"`
	}
	otlpResourceLogs struct {
		Resource  otlpResource    `json:"resource"`
		ScopeLogs []otlpScopeLogs `json:"scopeLogs"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeLogs struct {
		Scope      otlpScope    `json:"scope"`
		LogRecords []otlpRecord `json:"logRecords"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	otlpRecord struct {
		TimeUnixNano   string          `json:"timeUnixNano"`
		SeverityNumber int             `json:"severityNumber"`
		SeverityText   string          `json:"severityText"`
		Body           otlpValue       `json:"body"`
		Attributes     []otlpAttribute `json:"attributes"`
		TraceID        string          `json:"traceId,omitempty"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		StringValue string `json:"stringValue"`
	}
)

// encodeOTLP writes each line as the body of a log record.
func encodeOTLP(source string, entries []Entry) ([]byte, error) {
	records := make([]otlpRecord, 0, len(entries))
	for _, entry := range entries {
		number, text := severity(entry)
		records = append(records, otlpRecord{
			TimeUnixNano: strconv.FormatInt(entry.Time.UnixNano(), 10), SeverityNumber: number, SeverityText: text,
			Body: otlpValue{string(entry.Line)}, TraceID: entry.Trace,
			Attributes: []otlpAttribute{
				{"portcullis.kind", otlpValue{entry.Kind}},
				{"portcullis.outcome", otlpValue{entry.Outcome}},
				{"portcullis.sequence", otlpValue{strconv.FormatUint(entry.Sequence, 10)}},
				{"portcullis.id", otlpValue{entry.ID}},
			},
		})
	}
	return json.Marshal(otlpRequest{[]otlpResourceLogs{{
		Resource: otlpResource{[]otlpAttribute{
			{"service.name", otlpValue{"portcullis"}}, {"service.instance.id", otlpValue{source}},
		}},
		ScopeLogs: []otlpScopeLogs{{Scope: otlpScope{"portcullis.dev/journal", strconv.Itoa(Version)}, LogRecords: records}},
	}}}, jsontext.AllowInvalidUTF8(true))
}

// severity is INFO, WARN for denials and ERROR for faults
// (https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber).
func severity(entry Entry) (number int, text string) {
	switch entry.Outcome {
	case "fault", "shed", "rejected":
		return 17, "ERROR"
	case "denied":
		return 13, "WARN"
	}
	return 9, "INFO"
}
