package falco

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Versions of a record of the log, which begins with one, so that a later version can tell its own from these. A record with a trace has it before the
// sender; what has none is written as before there were any.
const (
	envelopeVersion = 1
	envelopeTraced  = 2
)

// errEnvelope says that a record is none of this version.
var errEnvelope = errors.New("it is none that this version wrote")

// seal is a record of the log: when an event came, in which trace, who had proved to send it, and its JSON.
func seal(out []byte, received time.Time, trace, sender string, raw []byte) []byte {
	version := byte(envelopeVersion)
	if trace != "" {
		version = envelopeTraced
	}
	out = append(out, version)
	out = binary.AppendVarint(out, received.UnixNano())
	if trace != "" {
		out = appendText(out, trace)
	}
	out = appendText(out, sender)
	return append(out, raw...)
}

func appendText(out []byte, text string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(text))), text...)
}

// cutText reads what appendText wrote.
func cutText(in []byte) (text string, rest []byte, err error) {
	length, n := binary.Uvarint(in)
	if n <= 0 || length > uint64(len(in)-n) {
		return "", nil, fmt.Errorf("reading a record: %w", errEnvelope)
	}
	return string(in[n : n+int(length)]), in[n+int(length):], nil
}

// unseal reads a record. The message shares memory with it.
func unseal(record []byte) (m *Message, received time.Time, err error) {
	if len(record) == 0 || record[0] != envelopeVersion && record[0] != envelopeTraced {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", errEnvelope)
	}
	rest := record[1:]
	nanoseconds, n := binary.Varint(rest)
	if n <= 0 {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", errEnvelope)
	}
	rest = rest[n:]
	trace := ""
	if record[0] == envelopeTraced {
		if trace, rest, err = cutText(rest); err != nil {
			return nil, time.Time{}, err
		}
	}
	sender, raw, err := cutText(rest)
	if err != nil {
		return nil, time.Time{}, err
	}
	if m, err = Decode(raw); err != nil {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", err)
	}
	m.From(sender)
	m.Trace = trace
	return m, time.Unix(0, nanoseconds), nil
}
