package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Modes of the HTTP binding of CloudEvents (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md).
const (
	ModeStructured = "structured" // attributes and data in one JSON object
	ModeBinary     = "binary"     // attributes in headers, data in the body
)

// CloudEventType begins the types of events; the kind follows in lower case: "dev.portcullis.runtime.contained".
const CloudEventType = "dev.portcullis.runtime."

// CloudEvents is a receiver that posts each message as an event of CloudEvents 1.0.
type CloudEvents struct {
	name, cluster string
	binary        bool
	poster        *poster
}

// cloudEvent has the attributes of https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, and as an extension severity.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"` // with the source unique: who gets an event twice can tell
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	MediaType   string    `json:"datacontenttype"`
	Schema      string    `json:"dataschema"`
	Severity    string    `json:"severity"`
	Data        cloudData `json:"data"`
}

// cloudData is the data of an event, described by docs/notification.schema.json.
type cloudData struct {
	Title   string `json:"title"`
	Page    bool   `json:"page"`
	Cluster string `json:"cluster,omitempty"`
	Details
}

// SchemaID names the published schema of the data of events, docs/notification.schema.json.
const SchemaID = "https://portcullis.dev/schemas/notification-v1.json"

// cloudSource is the source of events: "/portcullis/CLUSTER/responder".
func cloudSource(cluster string) string {
	if cluster == "" {
		return "/portcullis/responder"
	}
	return "/portcullis/" + url.PathEscape(cluster) + "/responder"
}

// Name implements [Receiver].
func (c *CloudEvents) Name() string { return c.name }

// Send implements [Receiver].
func (c *CloudEvents) Send(ctx context.Context, m Message) error {
	header, body, err := c.encode(m)
	if err != nil {
		return fmt.Errorf("writing the event: %w: %w", err, ErrRefused)
	}
	return c.poster.post(ctx, "", header, body)
}

func (c *CloudEvents) event(m Message) cloudEvent {
	d := m.details
	return cloudEvent{
		SpecVersion: "1.0", ID: m.id, Source: cloudSource(c.cluster), Type: CloudEventType + strings.ToLower(string(d.Kind)), Subject: m.subject(), Time: d.Time.UTC(),
		MediaType: "application/json", Schema: SchemaID, Severity: string(d.Severity), Data: cloudData{Title: m.Title(), Page: m.Page(), Cluster: c.cluster, Details: d},
	}
}

func (c *CloudEvents) encode(m Message) (http.Header, []byte, error) {
	event := c.event(m)
	if !c.binary {
		body, err := json.Marshal(event)
		return http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}, body, err
	}
	body, err := json.Marshal(event.Data)
	header := http.Header{"Content-Type": {event.MediaType}}
	for name, value := range map[string]string{
		"specversion": event.SpecVersion, "id": event.ID, "source": event.Source, "type": event.Type, "subject": event.Subject,
		"time": event.Time.Format(time.RFC3339Nano), "dataschema": event.Schema, "severity": event.Severity,
	} {
		header.Set("Ce-"+name, headerValue(value))
	}
	return header, body, err
}

// headerValue encodes an attribute as section 3.1.3.2 of the binding says: what is no printable ASCII, and space, the double quote and the
// percent sign, as percent-encoded UTF-8.
func headerValue(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Close ends idle connections.
func (c *CloudEvents) Close() { c.poster.close() }
