package falco

import (
	"encoding/json"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Message is what one request of a sensor holds: an event, or word of the sensor's own health. One of the two is set.
type Message struct {
	Event  *response.Event
	Health *Health
	// Raw is the JSON that it was decoded from.
	Raw []byte
	// Trace is the traceparent header that it came with (W3C Trace Context), "" for none.
	Trace string
}

// Health is what Falco says of itself (source "internal"): that it had to drop events of the kernel, or a snapshot of its
// metrics. It is counted and never judged.
type Health struct {
	// Rule is "Falco internal: syscall event drop", "Falco internal: metrics snapshot" or another of these.
	Rule string
	Time time.Time
	// Hostname is where Falco says that it runs, Sender the node that the sender's certificate is for.
	Hostname, Sender string
	// Numbers are the output fields that are numbers, by name.
	Numbers map[string]json.Number
}

// From notes the node that the sender has proved to speak for, "" for none.
func (m *Message) From(sender string) {
	if m.Event != nil {
		m.Event.Sender = sender
	}
	if m.Health != nil {
		m.Health.Sender = sender
	}
}
