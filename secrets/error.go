package secrets

import (
	"errors"
	"fmt"
	"time"
)

// Reason says in one word why something could not be done: it is the reason of a condition, the label of a metric, and what
// decides when to try again. The zero Reason is unknown, and is treated as Failed.
type Reason string

// The reasons of Vault.
const (
	Sealed       Reason = "Sealed"       // 503 of a sealed Vault, or sys/seal-status
	Unreachable  Reason = "Unreachable"  // no connection: refused, reset, no such host
	Slow         Reason = "Slow"         // no answer in time
	Truncated    Reason = "Truncated"    // half an answer
	Malformed    Reason = "Malformed"    // an answer that is not Vault's
	Untrusted    Reason = "Untrusted"    // its certificate has expired, is of another authority, or for another name
	Forbidden    Reason = "Forbidden"    // 403 with a token that is good: Vault's policy does not allow it
	LoginFailed  Reason = "LoginFailed"  // the identity is refused: role, audience, credentials
	TokenRevoked Reason = "TokenRevoked" // 403 with a token that has ended, and a new one could not be had
	NotFound     Reason = "NotFound"     // 404 of an authority that could know: path, version or mount is not there
	RateLimited  Reason = "RateLimited"  // 429
	Behind       Reason = "Behind"       // 412: a standby that does not have the newest state yet
	Failed       Reason = "Failed"       // 5xx, and what nobody foresaw
	Refused      Reason = "Refused"      // 400: what was asked for makes no sense to Vault
)

// The reasons of everything else.
const (
	Denied           Reason = "Denied"           // a policy denies it, or none allows it
	Undecided        Reason = "Undecided"        // policies could not be evaluated: as good as denied, and tried again
	NamespaceBarred  Reason = "NamespaceBarred"  // the VaultConnection does not list the namespace
	Misconfigured    Reason = "Misconfigured"    // the object makes no sense: nothing is tried until it changes
	MissingReference Reason = "MissingReference" // a VaultAuth, VaultConnection, Secret or service account is not there
	KeyMissing       Reason = "KeyMissing"       // the secret lacks a key that is asked for
	TemplateFailed   Reason = "TemplateFailed"   // a template does not evaluate, or not within its bounds
	Unfit            Reason = "Unfit"            // what was read is nothing that the type of the Secret takes: a key of another certificate, JSON that is none
	NotOurs          Reason = "NotOurs"          // the Secret exists and is somebody else's
	ClusterForbidden Reason = "ClusterForbidden" // the API server refuses what is needed: a Role is missing
	ClusterFailed    Reason = "ClusterFailed"    // the API server could not
	LeaseLost        Reason = "LeaseLost"        // a lease ended before it was renewed
)

// Retries says whether trying again can help without anybody changing the object: everything but Misconfigured. What is denied is
// asked again when bundles change and at the refresh interval.
func (r Reason) Retries() bool { return r != Misconfigured }

// Outage says that Vault as a whole does not answer as it should: what waits for it is queued again at once when it does.
func (r Reason) Outage() bool {
	switch r {
	case Sealed, Unreachable, Slow, Untrusted, Truncated, Malformed, Failed:
		return true
	}
	return false
}

// Error is a failure with its reason. Its text is for conditions and logs and must hold no value: not a body of Vault's, not a URL
// with a query. Doing is a gerund: "reading secret/data/shop/db".
type Error struct {
	Reason Reason
	Doing  string
	// Message is what people need to know and do, without values. Vault's own words are in it only where they cannot hold any.
	Message string
	// Status is the one of HTTP, 0 for none. After is the earliest time to try again that was asked for (Retry-After), 0 for none.
	Status int
	After  time.Duration
	// Cause is kept for errors.Is of contexts only; it is never printed.
	Cause error
}

func (e *Error) Error() string {
	text := e.Doing
	if text != "" {
		text += ": "
	}
	text += e.Message
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// ReasonOf is the reason of an error, Failed for one of another type and "" for nil.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	if failed := (*Error)(nil); errors.As(err, &failed) && failed.Reason != "" {
		return failed.Reason
	}
	return Failed
}
