package response

import (
	"bytes"
	"encoding/json"
	"time"
)

// Event is one thing that was seen at run time, in one form whatever it came by. Its JSON is what samples of
// policies, the embedded log and the journal hold.
//
// Rule, Source, Fields, Output and Hostname are the sender's word. Sender is who it has proved to be.
// Pod, Owner, Container and Recent are what the responder found out.
type Event struct {
	// ID is "sha256:" and the hash of what was received, less what differs when the same event is sent again (uuid).
	ID string `json:"id,omitempty"`
	// Source is "syscall", "k8s_audit" or that of another plugin of Falco.
	Source string `json:"source"`
	Rule   string `json:"rule"`
	// Priority is that of the rule.
	Priority Priority `json:"priority"`
	// Time is when it happened, by the clock of the node.
	Time time.Time `json:"time"`
	// Output is the rule's text with the fields filled in, "" where Falco was told to leave it out.
	Output string   `json:"output,omitempty"`
	Tags   []string `json:"tags,omitempty"` // sorted
	// Fields are the output fields by name ("proc.cmdline", "proc.aname[2]"): strings, booleans, exact numbers
	// (json.Number) and lists of these. What Falco did not know (null, "<NA>") is left out.
	Fields Fields `json:"fields,omitempty"`
	// Hostname is where Falco says that it runs.
	Hostname string `json:"hostname,omitempty"`
	// Sender is the node that the sender's certificate is for, "" where it has none.
	Sender string `json:"sender,omitempty"`

	// Pod is whom it is about, nil while that is not known. Of an event about the node itself it stays nil.
	Pod *Pod `json:"pod,omitempty"`
	// Host says that it is about a process of the node outside any container.
	Host bool `json:"host,omitempty"`
	// Container is where in the pod it happened.
	Container Container `json:"container,omitzero"`
	// Owner is the controller that stands above the pod at last: the Deployment, not its ReplicaSet.
	Owner *Owner `json:"owner,omitempty"`
	// Recent are the events of the same pod within Window before this one, this one included, by rule.
	Recent []Recent `json:"recent,omitempty"`
	// Window is how far back Recent looks, in seconds.
	Window int64 `json:"window,omitempty"`
}

// Pod is the pod that an event is about, as it was resolved.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	Node      string `json:"node,omitempty"`
	// ServiceAccount is its name, in the pod's namespace.
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// Created is when the pod was.
	Created time.Time `json:"created,omitzero"`
	// ResolvedBy is how it was found: "uid", "container" or "name".
	ResolvedBy string `json:"resolvedBy,omitempty"`
	// HostNetwork pods are not subject to network policies; Static ones not to the API (mirror pods,
	// annotation kubernetes.io/config.mirror).
	HostNetwork bool   `json:"hostNetwork,omitempty"`
	HostPID     bool   `json:"hostPID,omitempty"`
	Static      bool   `json:"static,omitempty"`
	Privileged  bool   `json:"privileged,omitempty"` // some container is
	Priority    string `json:"priorityClass,omitempty"`
}

// Container is one container of a pod.
type Container struct {
	// ID is the runtime's, without the scheme that Kubernetes writes before it.
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	// Image is the canonical reference in the pod's specification, Digest what runs ("sha256:…", of the image's manifest).
	Image  string `json:"image,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// Owner is a controller of pods.
type Owner struct {
	// Group, Version and Kind: apps, v1, Deployment.
	Group   string `json:"group,omitempty"`
	Version string `json:"version,omitempty"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	UID     string `json:"uid,omitempty"`
	// Direct is the controller that the pod itself names where that is another one: the ReplicaSet, the Job.
	Direct *Owner `json:"direct,omitempty"`
	// Desired and Ready count pods; of a DaemonSet those that are scheduled. Zero where it has no such number.
	Desired int64 `json:"desired,omitempty"`
	Ready   int64 `json:"ready,omitempty"`
}

// Recent counts the events of one rule.
type Recent struct {
	Rule     string    `json:"rule"`
	Priority Priority  `json:"priority"`
	Count    int64     `json:"count"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// Fields are output fields by name. Their JSON keeps numbers as exact as they are, whatever library reads and writes it: evt.time is in
// nanoseconds, more than a float64 can hold.
type Fields map[string]any

// MarshalJSON writes the fields sorted by name.
func (f Fields) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]any(f)) }

// UnmarshalJSON reads numbers as json.Number.
func (f *Fields) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	fields := map[string]any{}
	if err := decoder.Decode(&fields); err != nil {
		return err
	}
	*f = fields
	return nil
}

// Text is a field as text, "" where it is not there.
func (e *Event) Text(field string) string {
	switch value := e.Fields[field].(type) {
	case nil:
		return ""
	case string:
		return value
	case json.Number:
		return value.String()
	case bool:
		if value {
			return "true"
		}
		return "false"
	default:
		raw, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(raw)
	}
}
