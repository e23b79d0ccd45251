package falco

import (
	"errors"
	"fmt"
)

// Reasons why something is refused: labels of the metric portcullis_falco_refused_total.
const (
	ReasonMethod      = "method"       // another than POST
	ReasonPath        = "path"         // nothing is there, or the secret is wrong
	ReasonCertificate = "certificate"  // none, or one that is not trusted
	ReasonSender      = "sender"       // a trusted certificate of nobody who may send
	ReasonContentType = "content_type" // not JSON
	ReasonTooLarge    = "too_large"    // more bytes, fields, elements or digits than there may be, or deeper
	ReasonBody        = "body"         // it did not arrive whole
	ReasonEncoding    = "encoding"     // not UTF-8
	ReasonSyntax      = "syntax"       // not one object of JSON
	ReasonDuplicate   = "duplicate_key"
	ReasonType        = "type"     // a key with a value of another type
	ReasonMissing     = "missing"  // no rule, priority or time
	ReasonPriority    = "priority" // none that there is
	ReasonTime        = "time"     // none that there is
)

// Fault says why something is no event. It is the sender's: sending it again changes nothing.
type Fault struct {
	// Reason is one of the constants.
	Reason string
	Err    error
}

// Error implements error.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap gives what is underneath.
func (f *Fault) Unwrap() error { return f.Err }

func faultf(reason, format string, arguments ...any) *Fault {
	return &Fault{Reason: reason, Err: fmt.Errorf(format, arguments...)}
}

// reasonOf is the reason of a fault, "" for other errors.
func reasonOf(err error) string {
	var fault *Fault
	if errors.As(err, &fault) {
		return fault.Reason
	}
	return ""
}
