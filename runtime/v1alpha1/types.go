package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// GroupVersion is that of the package.
var GroupVersion = schema.GroupVersion{Group: "runtime.portcullis.dev", Version: "v1alpha1"}

// The resources. All are cluster-scoped: whoever may edit a namespace must not be able to lift its quarantines.
var (
	Quarantines = GroupVersion.WithResource("quarantines")
	Evidences   = GroupVersion.WithResource("quarantineevidences")
	Incidents   = GroupVersion.WithResource("incidents")
)

// Labels and annotations of what is quarantined, and of what does it. Nobody but the responder may set them.
const (
	// QuarantineLabel is on a pod that is isolated, with the name of its Quarantine; and on the NetworkPolicies that isolate.
	QuarantineLabel = "runtime.portcullis.dev/quarantine"
	// IncidentAnnotation is JSON for people: policy, rule, priority, time, by whom.
	IncidentAnnotation = "runtime.portcullis.dev/incident"
	// RestrictedAnnotation is on a NetworkPolicy of somebody else that was narrowed for a quarantine, with its names.
	RestrictedAnnotation = "runtime.portcullis.dev/restricted-for"
	// CordonedAnnotation is on a node that was cordoned, with the names of the quarantines.
	CordonedAnnotation = "runtime.portcullis.dev/cordoned-for"
	// NetworkPolicyPrefix begins the name of a NetworkPolicy for one Quarantine, whose name follows.
	NetworkPolicyPrefix = "portcullis-q-"
	// DenyTierName is the name of the standing deny objects (ClusterNetworkPolicy, AdminNetworkPolicy, CiliumClusterwideNetworkPolicy, Calico's
	// GlobalNetworkPolicy) on pods with QuarantineLabel.
	DenyTierName = "portcullis-quarantine"
)

// Phase is where a Quarantine is in its life.
type Phase string

// The phases.
const (
	// PhasePending waits to be counted against the limits. It is the zero value, too.
	PhasePending Phase = "Pending"
	// PhaseAwaitingApproval waits for a person.
	PhaseAwaitingApproval Phase = "AwaitingApproval"
	// PhaseContaining takes its actions.
	PhaseContaining Phase = "Containing"
	// PhaseContained has taken all of them. What that amounts to is status.verdict.
	PhaseContained Phase = "Contained"
	// PhaseReleasing takes them back.
	PhaseReleasing Phase = "Releasing"
	// PhaseReleased is over.
	PhaseReleased Phase = "Released"
	// PhaseRefused is over a limit, or what it is about is protected; nothing was done.
	PhaseRefused Phase = "Refused"
	// PhaseAudited only recorded what would be done.
	PhaseAudited Phase = "Audited"
)

// InForce says whether the pod counts as quarantined for admission.
func (p Phase) InForce() bool {
	return p == PhaseContaining || p == PhaseContained || p == PhaseReleasing
}

// Over says that nothing will be done any more.
func (p Phase) Over() bool { return p == PhaseReleased || p == PhaseRefused || p == PhaseAudited }

// Quarantine is what is done about one pod. Its name follows from the pod's UID, so that whoever writes it first wins, and
// nobody acts twice.
type Quarantine struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   QuarantineSpec   `json:"spec"`
	Status QuarantineStatus `json:"status,omitempty"`
}

// QuarantineSpec is the plan, and what people decide about it.
type QuarantineSpec struct {
	Pod   PodReference    `json:"pod"`
	Owner *OwnerReference `json:"owner,omitempty"`
	// Mode: audit, approve or enforce.
	Mode response.Mode `json:"mode"`
	// Branch is hostNetwork or static where network policies or the API do not reach the pod.
	Branch string `json:"branch,omitempty"`
	// Triggers are the policies behind it, each with the first of its events; at most 20.
	Triggers []Trigger `json:"triggers"`
	// Actions are taken in this order. More may be added at the end of their place while it is not over.
	Actions []response.Planned `json:"actions"`
	Refused []response.Refused `json:"refused,omitempty"`
	// TTL is after what time from status.admitted it ends, OnExpiry how: release or delete.
	TTL      metav1.Duration `json:"ttl,omitempty"`
	OnExpiry string          `json:"onExpiry,omitempty"`
	// IncidentTTL is how long incidents of it last.
	IncidentTTL metav1.Duration `json:"incidentTTL,omitempty"`
	// Settings are what holds for it: limits, cooldown and the like, as its bundles had them.
	Settings response.Settings `json:"settings,omitzero"`
	// Approval lets a plan that waits go on. Release ends it.
	Approval *Statement `json:"approval,omitempty"`
	Release  *Statement `json:"release,omitempty"`
	// Revoke names the synced secrets that the pod held; status.revoked answers.
	Revoke []SecretReference `json:"revoke,omitempty"`
	// Reopened counts how often it began anew after it was over, because the pod is still there and was reported again.
	Reopened int64 `json:"reopened,omitempty"`
}

// PodReference names one pod, and no other one of its name.
type PodReference struct {
	Namespace      string `json:"namespace"`
	Name           string `json:"name"`
	UID            string `json:"uid"`
	Node           string `json:"node,omitempty"`
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// Images are the digests that the pod ran ("sha256:…"), sorted.
	Images []string `json:"images,omitempty"`
}

// OwnerReference names a controller of pods; Direct is the one that the pod itself names, where it is another one.
type OwnerReference struct {
	Group   string          `json:"group,omitempty"`
	Version string          `json:"version,omitempty"`
	Kind    string          `json:"kind"`
	Name    string          `json:"name"`
	UID     string          `json:"uid,omitempty"`
	Direct  *OwnerReference `json:"direct,omitempty"`
	// Desired and Ready are the numbers of pods when it was planned.
	Desired int64 `json:"desired,omitempty"`
	Ready   int64 `json:"ready,omitempty"`
}

// Trigger is a policy, and the event that it judged.
type Trigger struct {
	Policy   string `json:"policy"`
	Instance string `json:"instance,omitempty"`
	Bundle   string `json:"bundle,omitempty"`
	Revision string `json:"revision,omitempty"`
	Severity string `json:"severity,omitempty"`
	Message  string `json:"message"`
	// Event is its id, Rule, Priority, Time and Output (redacted) say what it was. Count is how many like it came.
	Event    string            `json:"event"`
	Rule     string            `json:"rule"`
	Priority response.Priority `json:"priority"`
	Time     metav1.MicroTime  `json:"time"`
	Output   string            `json:"output,omitempty"`
	Count    int64             `json:"count,omitempty"`
	// Received is when the responder had it, by its own clock.
	Received *metav1.MicroTime `json:"received,omitempty"`
}

// Statement is what a person says.
type Statement struct {
	By     string      `json:"by"`
	Reason string      `json:"reason"`
	Time   metav1.Time `json:"time"`
}

// SecretReference names a Secret.
type SecretReference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// QuarantineStatus is how far it is.
type QuarantineStatus struct {
	Phase Phase `json:"phase,omitempty"`
	// Reason says why it is there, for people.
	Reason string `json:"reason,omitempty"`
	// Admitted is when the limits were passed, Contained when all actions were taken, Ended when it was over.
	Admitted  *metav1.MicroTime `json:"admitted,omitempty"`
	Contained *metav1.MicroTime `json:"contained,omitempty"`
	Ended     *metav1.MicroTime `json:"ended,omitempty"`
	Steps     []Step            `json:"steps,omitempty"`
	// Originals are what was there before, to be put back.
	Originals *Originals `json:"originals,omitempty"`
	// Verdict is what isolation.Evaluate proves: Isolated, Residual, Unenforceable or Unverified. Residual are the flows that remain, at most 50.
	Verdict  string   `json:"verdict,omitempty"`
	Residual []string `json:"residual,omitempty"`
	// Connections says what becomes of connections that were open: Cut, MayPersist or "" where nothing was isolated.
	Connections string `json:"connections,omitempty"`
	// Evidence are the pieces that were kept.
	Evidence []EvidenceReference `json:"evidence,omitempty"`
	// PodGone says that the pod does not exist any more.
	PodGone bool `json:"podGone,omitempty"`
	// Incidents are the names of those that it made.
	Incidents []string `json:"incidents,omitempty"`
	// Revoked answers spec.revoke.
	Revoked    []Revocation       `json:"revoked,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Reopened is the spec.reopened that this is the status of; Earlier says how it ended before, the last at most 5.
	Reopened int64     `json:"reopened,omitempty"`
	Earlier  []Earlier `json:"earlier,omitempty"`
}

// The conditions of a Quarantine.
const (
	// ConditionIsolated is True where it is proved that no traffic remains possible.
	ConditionIsolated = "Isolated"
	// ConditionComplete is True where each action was taken; its message names those that were not, and why.
	ConditionComplete = "Complete"
	// ConditionStable is False where somebody undoes what was done.
	ConditionStable = "Stable"
)

// Earlier is how a quarantine went that was reopened.
type Earlier struct {
	Phase    Phase             `json:"phase"`
	Reason   string            `json:"reason,omitempty"`
	Admitted *metav1.MicroTime `json:"admitted,omitempty"`
	Ended    *metav1.MicroTime `json:"ended,omitempty"`
	Verdict  string            `json:"verdict,omitempty"`
	Release  *Statement        `json:"release,omitempty"`
}

// StepState is how far a step is.
type StepState string

// The states of a step.
const (
	StepRunning StepState = "Running" // begun; after a crash it is begun again
	StepDone    StepState = "Done"
	StepFailed  StepState = "Failed"  // and tried again, until it is given up: then Reason says so
	StepSkipped StepState = "Skipped" // it was not to be done after all; Result says why
	StepUndone  StepState = "Undone"  // taken back at release
)

// Step is one action as it was taken.
type Step struct {
	// Name tells it apart: that of the action, or "release/" and that.
	Name  string    `json:"name"`
	State StepState `json:"state"`
	// Precondition is what was asked of the API server to be so, Result what came of it. Both are for people.
	Precondition string `json:"precondition,omitempty"`
	Result       string `json:"result,omitempty"`
	Attempts     int64  `json:"attempts,omitempty"`
	// Next is when a step that failed is tried again, nil where it was given up.
	Next *metav1.MicroTime `json:"next,omitempty"`
	// Reapplied counts how often it was done again because somebody had undone it.
	Reapplied int64             `json:"reapplied,omitempty"`
	Started   *metav1.MicroTime `json:"started,omitempty"`
	Finished  *metav1.MicroTime `json:"finished,omitempty"`
}

// Originals are what actions have changed, as it was before. Each is written before the change.
type Originals struct {
	Labels          map[string]string       `json:"labels,omitempty"`
	Annotations     map[string]string       `json:"annotations,omitempty"` // those that were overwritten
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences,omitempty"`
	// Replicas of what was scaled, Suspended of what was suspended and Unschedulable of the node.
	Replicas      *int32 `json:"replicas,omitempty"`
	Suspended     *bool  `json:"suspended,omitempty"`
	Unschedulable *bool  `json:"unschedulable,omitempty"`
	// Policies are the NetworkPolicies that were narrowed: "namespace/name" to the JSON of the podSelector before.
	Policies map[string]string `json:"policies,omitempty"`
}

// EvidenceReference names one QuarantineEvidence.
type EvidenceReference struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Container string `json:"container,omitempty"`
	// Size is in bytes before compression, Digest "sha256:…" of that. Truncated says that there was more.
	Size      int64  `json:"size"`
	Digest    string `json:"digest"`
	Truncated bool   `json:"truncated,omitempty"`
}

// Revocation says what became of one secret.
type Revocation struct {
	SecretReference `json:",inline"`
	State           string      `json:"state"` // Revoked, Rotating or Failed
	Message         string      `json:"message,omitempty"`
	Time            metav1.Time `json:"time"`
}

// QuarantineEvidence is one piece of evidence, or a part of it. It is never changed.
type QuarantineEvidence struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Quarantine is the name of the Quarantine that it belongs to and is deleted with.
	Quarantine string `json:"quarantine"`
	// Piece is pod, owner, namespace, events, log, previousLog, falco or policies. It is not called kind: that is the object's.
	Piece     string `json:"piece"`
	Container string `json:"container,omitempty"`
	// Data is compressed with gzip; Size and Digest are of what it unpacks to.
	Data      []byte           `json:"data"`
	Size      int64            `json:"size"`
	Digest    string           `json:"digest"`
	Truncated bool             `json:"truncated,omitempty"`
	Captured  metav1.MicroTime `json:"captured"`
}

// Incident is what admission remembers: until it expires, policies see it as one of input.incidents.
type Incident struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec IncidentSpec `json:"spec"`
}

// IncidentSpec is the subject of an incident. Which field is set follows from Scope.
type IncidentSpec struct {
	Scope          string                   `json:"scope"` // digest, owner or serviceAccount
	Digest         string                   `json:"digest,omitempty"`
	Owner          *IncidentOwner           `json:"owner,omitempty"`
	ServiceAccount *ServiceAccountReference `json:"serviceAccount,omitempty"`
	// Namespaces are globs of those where it counts, none is all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Effect is what the policy that made it asks for: warn or deny. What it comes to is for runtime/incidents to decide.
	Effect   string `json:"effect"`
	Policy   string `json:"policy,omitempty"`
	Severity string `json:"severity,omitempty"`
	// Reason is for the developer whose pod is refused.
	Reason     string      `json:"reason"`
	Quarantine string      `json:"quarantine,omitempty"`
	Expires    metav1.Time `json:"expires"`
}

// IncidentOwner names a controller of pods.
type IncidentOwner struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// ServiceAccountReference names a service account.
type ServiceAccountReference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}
