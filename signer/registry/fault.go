package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of fault it was: whether to wait, to ask an operator or to deny.
type Kind string

// The kinds of faults.
const (
	// NotFound: the registry has no such repository, tag, manifest or blob.
	NotFound Kind = "not found"
	// Unauthorized: the registry demands other credentials, or none were there.
	Unauthorized Kind = "unauthorized"
	// Forbidden: we refuse to do it, whatever the registry says: an address that is not
	// public, a redirect to plain HTTP, a token server that is not the registry's.
	Forbidden Kind = "forbidden"
	// RateLimited: the registry asks to come back later, see [Error.RetryAfter].
	RateLimited Kind = "rate limited"
	// Timeout: the time was up, that of a request or that of the caller's context.
	Timeout Kind = "timeout"
	// TooLarge: there are more bytes than the limit.
	TooLarge Kind = "too large"
	// TooMany: there are more referrers, pages, redirects or layers than the limit.
	TooMany Kind = "too many"
	// Malformed: the answer, or the question, is not what the protocol says.
	Malformed Kind = "malformed"
	// Mismatch: the bytes do not have the digest by which they were asked for.
	Mismatch Kind = "mismatch"
	// Unreachable: no connection, a broken one, or a fault of the server.
	Unreachable Kind = "unreachable"
)

// Error is a fault of a registry or of what it answered.
type Error struct {
	Kind Kind
	// Host is the host that was asked, with its port where it is not 443: a mirror or a token server has its own.
	Host string
	// What was being done, as a gerund phrase: "fetching the manifest of ghcr.io/acme/app:v1".
	What string
	// RetryAfter is how long the registry asks to wait, 0 where it does not say.
	RetryAfter time.Duration
	Err        error

	// hint replaces the next step that follows from Kind.
	hint string
	// transient faults are worth another try.
	transient bool
	// codes are those of the body of an error response.
	codes []string
	// status of the response, 0 without one.
	status int
}

// Error ends with the next step. Where that is an option, it is called as the flag that all programs have for it.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString(e.What)
	if e.Err != nil {
		text.WriteString(": ")
		text.WriteString(e.Err.Error())
	}
	if next := e.next(); next != "" {
		text.WriteString("; ")
		text.WriteString(next)
	}
	return text.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// next is what whoever reads the message can do.
func (e *Error) next() string {
	if e.hint != "" {
		return e.hint
	}
	switch e.Kind {
	case NotFound:
		return "check the name, or push it first"
	case Unauthorized:
		return fmt.Sprintf("give credentials for %s with --registry-config or --credential-provider-config, or in a pull secret", e.Host)
	case Forbidden:
		return fmt.Sprintf("if %s is to be used, give --allow-registry %[1]s", e.Host)
	case RateLimited:
		return fmt.Sprintf("retry in %d s, or use a mirror or credentials with a higher limit", seconds(e.RetryAfter))
	case Timeout:
		return fmt.Sprintf("retry; if it happens again, look at the connection to %s or allow more time", e.Host)
	case TooLarge:
		return "make it smaller; the limit protects this program"
	case TooMany:
		return "remove what is no longer needed; the list is not cut, since that could hide evidence"
	case Mismatch:
		return fmt.Sprintf("do not use it: %s, or something on the way there, changes content", e.Host)
	case Malformed:
		return fmt.Sprintf("check that %s is a registry by the OCI distribution specification", e.Host)
	case Unreachable:
		return fmt.Sprintf("check that %s runs and can be reached from here, then retry", e.Host)
	}
	return ""
}

// withoutTLS is the next step where a host would have to be spoken to without TLS.
func withoutTLS(host string) string {
	return fmt.Sprintf("if it is to be used without, give --plain-http-registry %s", host)
}

func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// KindOf is the kind of an error, "" for nil and for errors that are not of a registry.
func KindOf(err error) Kind {
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Timeout
	}
	return ""
}

// RetryAfter is how long to wait before asking again, 0 where nobody said.
func RetryAfter(err error) time.Duration {
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault.RetryAfter
	}
	return 0
}

// printable shortens and quotes text of a server, which may be hostile.
func printable(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q", text)
}
