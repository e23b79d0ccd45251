package secrets

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"
)

// Call is one request to Vault's HTTP API.
type Call struct {
	Method string // GET, LIST, PUT, POST, PATCH, DELETE
	Path   string // without /v1/ and without a query: "secret/data/shop/db"
	Query  url.Values
	// Body may hold values: it is never printed.
	Body map[string]any
	// Shared says that others who ask for the same path with the same token may have the same answer: reads of KV only.
	Shared bool
}

// Reply is Vault's answer. Data may hold values: whoever has it must not print it.
type Reply struct {
	Data map[string]any
	// LeaseID, LeaseDuration and Renewable are of dynamic secrets; Accessor and Policies of logins are not here: a login's token stays
	// with the client.
	LeaseID       string
	LeaseDuration time.Duration
	Renewable     bool
	Warnings      []string
}

// Format answers every verb: a Call is its method and path, a Reply nothing. JSON and logs get the same.
func (c Call) Format(state fmt.State, _ rune)  { _, _ = io.WriteString(state, c.String()) }
func (r Reply) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, r.String()) }

func (c Call) String() string {
	return "secrets.Call{" + c.Method + " " + c.Path + " " + Redacted + "}"
}
func (r Reply) String() string { return "secrets.Reply{" + Redacted + "}" }

// MarshalText is what encodings write.
func (c Call) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// MarshalText is what encodings write.
func (r Reply) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// LogValue is what log/slog writes.
func (c Call) LogValue() slog.Value { return slog.StringValue(c.String()) }

// LogValue is what log/slog writes.
func (r Reply) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Access is a path that something needs, and what for: a capability of Vault's ("read", "update" …; sys/capabilities-self).
type Access struct {
	Path       string `json:"path"`
	Capability string `json:"capability"`
}

// Lease is a dynamic secret's, or what else ends by itself and can be revoked: a certificate's serial, the accessor of a secret id.
type Lease struct {
	// ID is Vault's lease id; for certificates and secret ids, which have none, Serial or Accessor and the Mount and Role they are of.
	ID       string `json:"id,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Accessor string `json:"accessor,omitempty"`
	Mount    string `json:"mount,omitempty"`
	Role     string `json:"role,omitempty"`

	Issued    time.Time     `json:"issued"`
	Expires   time.Time     `json:"expires"`
	Duration  time.Duration `json:"duration"` // as last granted
	Renewable bool          `json:"renewable,omitempty"`
}
