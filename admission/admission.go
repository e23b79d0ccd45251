package admission

import (
	"encoding/json"

	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Door says at which door a request is judged.
type Door string

// The doors. All use the same [Reviewer]; they differ in how facts are gathered.
const (
	DoorGate      Door = "gate"
	DoorAdmission Door = "admission"
	DoorAudit     Door = "audit"
)

// Request is one change of a cluster to be judged, whatever the door. It has the
// shape of the request of an AdmissionReview v1 (k8s.io/api/admission/v1).
type Request struct {
	Door        Door
	UID         string
	Operation   string // CREATE, UPDATE, DELETE, CONNECT
	Resource    metav1.GroupVersionResource
	Kind        metav1.GroupVersionKind
	SubResource string
	Namespace   string
	Name        string // empty for generateName and deletecollection
	DryRun      bool
	Subject     Subject
	// Object, OldObject and Options are raw JSON, nil when absent (DELETE has no
	// Object, CREATE no OldObject). They are never modified.
	Object, OldObject, Options json.RawMessage
}

// Subject is who asks.
type Subject struct {
	Username string
	UID      string
	Groups   []string
	Extra    map[string][]string
}

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
	// Bundle is the revision of the bundle that judged: name, serial and digest.
	Bundle string `json:"bundle"`
	// Profile is the profile that applied.
	Profile string `json:"profile"`
	// Patched is the object after the patch rules, nil where nothing changed; Patch
	// the same as RFC 6902 operations. Only from Mutate.
	Patched json.RawMessage `json:"patched,omitempty"`
	Patch   json.RawMessage `json:"patch,omitempty"`
	// Matched counts the policies that were evaluated.
	Matched int `json:"matched"`
}
