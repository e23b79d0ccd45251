// Package admission decides: it turns a request into a verdict by gathering the
// facts that the matching policies read and evaluating the bundle once. It knows
// neither HTTP nor a cluster client; the webhook, the gate and the audit bring
// their own facts and share the decision.
package admission

import (
	"encoding/json"

	"github.com/portcullis-dev/portcullis/policies"
)

// Request is one change of a cluster to be judged, Subject who asks for it, Door
// where it is judged.
type (
	Request = policies.Request
	Subject = policies.Subject
	Door    = policies.Door
)

// The doors.
const (
	DoorGate      = policies.DoorGate
	DoorAdmission = policies.DoorAdmission
	DoorAudit     = policies.DoorAudit
	DoorResponder = policies.DoorResponder
	DoorSecrets   = policies.DoorSecrets
)

// Verdict is the answer to a Request. The zero value denies.
type Verdict struct {
	// Admitted is true when nothing enforced objects and nothing enforced failed.
	Admitted bool `json:"admitted"`
	// Findings are all findings, sorted by severity, policy, path and message: those
	// that deny, those that warn, those only recorded and those waived by an exception.
	Findings []policies.Finding `json:"findings,omitempty"`
	// Faults are failures to judge; Undecided what could not be known.
	Faults    []policies.Fault     `json:"faults,omitempty"`
	Undecided []policies.Undecided `json:"undecided,omitempty"`
	// Bundle is the revision of the bundle that judged: name, serial and digest; where several did, theirs with
	// commas between.
	Bundle string `json:"bundle"`
	// Profile is the profile that applied.
	Profile string `json:"profile"`
	// Patched is the object after the patch rules, nil where nothing changed; Patch
	// the same as RFC 6902 operations. Only from Mutate.
	Patched json.RawMessage `json:"patched,omitempty"`
	Patch   json.RawMessage `json:"patch,omitempty"`
	// Responses are the actions that respond rules ask for, those in audit and those waived by an exception among them. Only from
	// Respond.
	Responses []policies.Response `json:"responses,omitempty"`
	// Permits are what allow_sync rules permit, those of policies on trial among them. Only from Sync.
	Permits []policies.Permit `json:"permits,omitempty"`
	// Matched counts the policies that were evaluated.
	Matched int `json:"matched"`
	// Parts are what went into the verdict, by judge. Nil where nobody was asked.
	Parts []Part `json:"-"`

	lineup *Lineup // that judged
}
