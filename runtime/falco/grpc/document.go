package grpc

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// alert is an event as http_output writes it.
type alert struct {
	Hostname string            `json:"hostname,omitempty"`
	Output   string            `json:"output,omitempty"`
	Priority string            `json:"priority"`
	Rule     string            `json:"rule"`
	Source   string            `json:"source,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Time     string            `json:"time,omitempty"`
	Fields   map[string]string `json:"output_fields,omitempty"`
}

// sources are those of versions before 0.30, which have no name for it in field 9 (schema.proto).
var sources = map[int32]string{0: "syscall", 1: "k8s_audit", 2: internal}

// internal is where Falco has what it says of itself from.
const internal = "internal"

// document is the JSON that http_output would have sent for a response. The numbers of priorities are those of syslog in both.
func document(r *outputs.Response) ([]byte, error) {
	a := alert{
		Hostname: r.GetHostname(), Output: r.GetOutput(), Priority: response.Priority(r.GetPriority()).String(),
		Rule: r.GetRule(), Source: r.GetSource(), Tags: r.GetTags(), Fields: r.GetOutputFields(),
	}
	if a.Source == "" {
		//lint:ignore SA1019 deprecated, and all that old versions have
		a.Source = sources[int32(r.GetSourceDeprecated())]
	}
	if r.GetTime() != nil {
		if err := r.GetTime().CheckValid(); err != nil {
			return nil, fmt.Errorf("the time of an event is none: %w", err)
		}
		a.Time = r.GetTime().AsTime().Format(time.RFC3339Nano)
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("writing an event as JSON: %w", err)
	}
	return raw, nil
}
