package policies

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Effect says from which rule of a policy a finding came.
type Effect string

// The effects a policy's rules can have.
const (
	EffectDeny  Effect = "deny"
	EffectWarn  Effect = "warn"
	EffectPatch Effect = "patch"
	// EffectRespond asks for actions at run time: see Response.
	EffectRespond Effect = "respond"
	// EffectAllowSync permits a sync of secrets: see Permit.
	EffectAllowSync Effect = "allow_sync"
)

// Finding is one thing a policy objects to. The policy says what is wrong and
// where; the engine adds who says so.
type Finding struct {
	// Policy is the id of the policy, "pods/privileged"; Instance the name of the
	// configured instance of it, equal to Policy unless the bundle names it otherwise.
	Policy   string `json:"policy"`
	Instance string `json:"instance,omitempty"`
	// Bundle is the bundle of the policy, where several judge together.
	Bundle   string `json:"bundle,omitempty"`
	Title    string `json:"title"`
	Severity string `json:"severity"` // critical, high, medium, low
	// Effect is the rule it came from and Enforcement what the bundle makes of it here.
	Effect      Effect      `json:"effect"`
	Enforcement Enforcement `json:"enforcement"`
	Message     string      `json:"message"`
	// Path is the field it is about, as Kubernetes writes it, "" for the whole object.
	Path        string         `json:"path,omitempty"`
	Remediation string         `json:"remediation,omitempty"`
	Details     map[string]any `json:"details,omitempty"`
	// Fix is the smallest change that would pass, in order; empty where none is known.
	Fix []Change `json:"fix,omitempty"`
	// ExceptedBy names the exception that waives this finding; such a finding has no effect.
	ExceptedBy string `json:"exceptedBy,omitempty"`
	// ExceptedUntil is when that exception ends, in UTC: "2027-01-31" for the beginning of a day, or an RFC 3339 time.
	ExceptedUntil string `json:"exceptedUntil,omitempty"`
}

// Change is one step of a fix.
type Change struct {
	Op    string `json:"op"`   // "set", "remove" or "add" (append to the list at Path)
	Path  string `json:"path"` // as Finding.Path
	Value any    `json:"value,omitempty"`
}

// FaultKind says what kind of thing went wrong while judging.
type FaultKind string

// The kinds of faults. A fault never becomes an allow unless the policy's fail
// mode says so, and then it is a warning.
const (
	FaultError    FaultKind = "evaluation error"
	FaultPanic    FaultKind = "panic"
	FaultDeadline FaultKind = "deadline exceeded"
	FaultLimit    FaultKind = "limit exceeded"
	FaultFacts    FaultKind = "facts not available"
	FaultInput    FaultKind = "unreadable input"
	FaultPatch    FaultKind = "conflicting patches"
)

// Fault is a failure to judge. Policy is empty when no single policy is to blame.
type Fault struct {
	Policy   string    `json:"policy,omitempty"`
	Bundle   string    `json:"bundle,omitempty"` // as Finding.Bundle
	Kind     FaultKind `json:"kind"`
	Message  string    `json:"message"`
	FailMode FailMode  `json:"failMode"`
	// Enforcement of the policy that failed: a fault of one that only warns does not deny.
	Enforcement Enforcement `json:"enforcement"`
}

// Undecided is a policy that could not be decided because of what is not known.
// Live it denies as a fault does; at the gate it is listed by name.
type Undecided struct {
	Policy      string      `json:"policy"`
	Bundle      string      `json:"bundle,omitempty"` // as Finding.Bundle
	Reason      string      `json:"reason"`
	Path        string      `json:"path,omitempty"`
	Enforcement Enforcement `json:"enforcement"`
}

// Enforcement is what the bundle makes of a policy's denials. The zero value enforces.
type Enforcement int

// The enforcements, strictest first.
const (
	EnforceDeny  Enforcement = iota // denials deny
	EnforceWarn                     // denials become warnings
	EnforceAudit                    // findings are only recorded
	EnforceOff                      // not evaluated
)

// FailMode is what a fault of a policy means. The zero value denies.
type FailMode int

// The fail modes.
const (
	FailClosed FailMode = iota // a fault denies
	FailOpen                   // a fault warns
)

var (
	enforcementNames = [...]string{"deny", "warn", "audit", "off"}
	failModeNames    = [...]string{"closed", "open"}
)

func (e Enforcement) String() string { return enforcementNames[e] }
func (m FailMode) String() string    { return failModeNames[m] }

// MarshalText writes "deny", "warn", "audit" or "off".
func (e Enforcement) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalJSON reads an enforcement. YAML 1.1 reads a bare off as false, so false is off.
func (e *Enforcement) UnmarshalJSON(value []byte) error {
	if string(value) == "false" {
		*e = EnforceOff
		return nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return fmt.Errorf("reading the enforcement %s: want one of %s", value, strings.Join(enforcementNames[:], ", "))
	}
	return e.UnmarshalText([]byte(text))
}

// UnmarshalText reads what MarshalText writes; anything else is an error.
func (e *Enforcement) UnmarshalText(text []byte) error {
	i, err := lookup("enforcement", enforcementNames[:], string(text))
	*e = Enforcement(i)
	return err
}

// MarshalText writes "closed" or "open".
func (m FailMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes; anything else is an error.
func (m *FailMode) UnmarshalText(text []byte) error {
	i, err := lookup("fail mode", failModeNames[:], string(text))
	*m = FailMode(i)
	return err
}
