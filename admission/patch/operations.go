package patch

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// operations are RFC 6902 operations in the order in which they apply.
type operations []operation

type operation struct {
	op    string
	path  pointer
	value []byte // nil for remove
}

func (o *operations) add(at pointer, v *value) {
	*o = append(*o, operation{"add", at, v.appendTo(nil)})
}

func (o *operations) replace(at pointer, v *value) {
	*o = append(*o, operation{"replace", at, v.appendTo(nil)})
}

func (o *operations) remove(at pointer) {
	*o = append(*o, operation{"remove", at, nil})
}

// appendTo writes the JSON array.
func (o operations) appendTo(b []byte) []byte {
	b = append(b, '[')
	for i, operation := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"op":"`...)
		b = append(b, operation.op...)
		b = append(b, `","path":`...)
		b = appendQuoted(b, string(operation.path))
		if operation.value != nil {
			b = append(b, `,"value":`...)
			b = append(b, operation.value...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// pointer is a JSON pointer (RFC 6901).
type pointer string

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

func (p pointer) key(key string) pointer { return p + "/" + pointer(escapePointer.Replace(key)) }
func (p pointer) index(index int) pointer {
	return p + "/" + pointer(strconv.Itoa(index))
}

// appendQuoted writes a JSON string. Strings come from JSON or were checked to be
// UTF-8, the only thing quoting can object to.
func appendQuoted(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
