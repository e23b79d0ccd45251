package response

import "time"

// Ask is one action that a policy asks for, with who asks and why.
type Ask struct {
	// Policy is its id, Instance its configured name where that is another one, Bundle where it comes from.
	Policy   string `json:"policy"`
	Instance string `json:"instance,omitempty"`
	Bundle   string `json:"bundle,omitempty"`
	Severity string `json:"severity,omitempty"`
	Message  string `json:"message"`
	// Mode is how far the policy goes: enforcement deny is enforce, warn is approve, audit is audit.
	Mode       Mode       `json:"mode"`
	Action     Action     `json:"action"`
	Parameters Parameters `json:"parameters,omitzero"`
}

// Planned is one action of a plan.
type Planned struct {
	Ask `json:",inline"`
	// Reason says why it is here though nobody asked for it, or differs from what was asked for; "" otherwise.
	Reason string `json:"reason,omitempty"`
	// Digest is the image that condemn is about where the scope is digest: that of the container in which it happened. "" is all of the pod's.
	Digest string `json:"digest,omitempty"`
}

// Refused is an action that was asked for and will not be taken.
type Refused struct {
	Action Action `json:"action"`
	Policy string `json:"policy"`
	// Reason is for people and ends with what they can do.
	Reason string `json:"reason"`
}

// Plan is what will be done about one pod.
type Plan struct {
	// Name is that of the Quarantine: the same for the same pod, whoever plans.
	Name  string `json:"name"`
	Event Event  `json:"event"`
	// Mode is how far it goes: audit where nothing that contains is left, or everything that does is asked for in audit.
	Mode Mode `json:"mode"`
	// Actions are in the order in which they are taken, each at most once. The mode of each says how far that one goes: in a plan of
	// mode audit, too, those that contain nothing may be enforced, so that people are told. In a plan of another mode no action that contains
	// is of mode audit.
	Actions []Planned `json:"actions"`
	Refused []Refused `json:"refused,omitempty"`
	// TTL is after what time it ends by itself, OnExpiry what happens then.
	TTL      time.Duration `json:"ttl"`
	OnExpiry string        `json:"onExpiry"`
	// Branch says that isolation by the API is impossible: "hostNetwork", "static" or "host"; "" otherwise.
	Branch string `json:"branch,omitempty"`
}
