package secrets

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// Redacted is what stands for a value wherever one would be printed.
const Redacted = "[redacted]"

// Value is a secret. Whatever prints, encodes or logs it gets Redacted: fmt with any verb, encoding/json, YAML, log/slog, and
// panics. Only Reveal gives what it is. The zero Value is empty.
//
// It is a pointer to a pointer inside: fmt calls no method of what is in an unexported field, and follows one pointer to print what it points to
// with a verb that it does not take (%s, %q). Of two it prints an address.
type Value struct{ held **[]byte }

// NewValue takes raw over: the caller must not keep it.
func NewValue(raw []byte) Value {
	held := &raw
	return Value{held: &held}
}

// ValueOf is a value made of a string.
func ValueOf(text string) Value { return NewValue([]byte(text)) }

// Reveal gives the bytes themselves, not a copy. Whoever calls it must neither keep nor print them.
func (v Value) Reveal() []byte {
	if v.held == nil {
		return nil
	}
	return **v.held
}

// Len is the number of bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal compares contents; in time that depends on them, so not for what an attacker chooses.
func (v Value) Equal(other Value) bool { return bytes.Equal(v.Reveal(), other.Reveal()) }

// Clear overwrites the bytes and drops them: for all copies of the Value. Copies that others made of the bytes remain until they are
// collected: Go moves and copies strings, so this shortens the time a value lies in memory and promises no more.
func (v Value) Clear() {
	if v.held == nil {
		return
	}
	clear(**v.held)
	**v.held = nil
}

func (v Value) String() string   { return Redacted }
func (v Value) GoString() string { return Redacted }

// Format answers every verb.
func (v Value) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(Redacted)) }

// MarshalText, MarshalJSON and MarshalYAML write Redacted.
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON writes Redacted.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML writes Redacted.
func (v Value) MarshalYAML() (any, error) { return Redacted, nil }

// LogValue is what log/slog writes.
func (v Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Data are the values of one secret by key.
type Data map[string]Value

// Keys are the names, sorted. Names are not secret.
func (d Data) Keys() []string { return slices.Sorted(maps.Keys(d)) }

// Equal says whether both hold the same.
func (d Data) Equal(other Data) bool { return maps.EqualFunc(d, other, Value.Equal) }

// Clear drops all values.
func (d Data) Clear() {
	for _, v := range d {
		v.Clear()
	}
	clear(d)
}
