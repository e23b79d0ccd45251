package falco

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// envelopeVersion begins a record of the log, so that a later version can tell its own from this one's.
const envelopeVersion = 1

// errEnvelope says that a record is none of this version.
var errEnvelope = errors.New("it is none that this version wrote")

// seal is a record of the log: when an event came, who had proved to send it, and its JSON.
func seal(out []byte, received time.Time, sender string, raw []byte) []byte {
	out = append(out, envelopeVersion)
	out = binary.AppendVarint(out, received.UnixNano())
	out = binary.AppendUvarint(out, uint64(len(sender)))
	out = append(out, sender...)
	return append(out, raw...)
}

// unseal reads a record. The message shares memory with it.
func unseal(record []byte) (m *Message, received time.Time, err error) {
	if len(record) == 0 || record[0] != envelopeVersion {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", errEnvelope)
	}
	rest := record[1:]
	nanoseconds, n := binary.Varint(rest)
	if n <= 0 {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", errEnvelope)
	}
	rest = rest[n:]
	length, n := binary.Uvarint(rest)
	if n <= 0 || length > uint64(len(rest)-n) {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", errEnvelope)
	}
	sender, raw := string(rest[n:n+int(length)]), rest[n+int(length):]
	if m, err = Decode(raw); err != nil {
		return nil, time.Time{}, fmt.Errorf("reading a record: %w", err)
	}
	m.From(sender)
	return m, time.Unix(0, nanoseconds), nil
}
