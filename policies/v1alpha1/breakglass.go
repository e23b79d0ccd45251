package v1alpha1

import (
	_ "embed" // for the guard
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BreakGlasses is the resource of [BreakGlass].
var BreakGlasses = GroupVersion.WithResource("breakglasses")

// BreakGlassGuard is a ValidatingAdmissionPolicy with its binding, which the API server itself evaluates, whether or not a webhook
// answers: a BreakGlass ends within [MaxBreakGlass] of its creation, and names the user who creates it, and no other. The schema of
// a custom resource can say neither: its rules see no creation time and no user.
//
//go:embed breakglass.yaml
var BreakGlassGuard []byte

// MaxBreakGlass is the longest time for which admission fails open, from the creation of a [BreakGlass]: long enough to mend a webhook,
// too short to be forgotten.
const MaxBreakGlass = 4 * time.Hour

// BreakGlassUntilAnnotation on a webhook configuration is the way to break the glass where neither webhook nor controller works:
// an RFC 3339 time until which the controller does not undo what is done to the configurations. It counts for at most
// [MaxBreakGlass] after it was first seen.
const BreakGlassUntilAnnotation = "policy.portcullis.dev/break-glass-until"

// BreakGlassMode is what becomes of requests while the glass is broken.
type BreakGlassMode string

// The modes.
const (
	// BreakGlassIgnore admits requests that the webhook does not answer; those that it answers are judged as ever. It is the default.
	BreakGlassIgnore BreakGlassMode = "Ignore"
	// BreakGlassAdmit takes the webhook configurations away: nothing is judged.
	BreakGlassAdmit BreakGlassMode = "Admit"
)

// BreakGlass has admission fail open for a while. It is cluster-scoped and never changes: to go on, open another; to end it, delete it.
type BreakGlass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BreakGlassSpec   `json:"spec"`
	Status BreakGlassStatus `json:"status,omitempty"`
}

// BreakGlassSpec says why and until when.
type BreakGlassSpec struct {
	// Reason is a sentence that others will read.
	Reason string `json:"reason"`
	// Until is when it ends, at most [MaxBreakGlass] after the creation.
	Until metav1.Time `json:"until"`
	// Mode is [BreakGlassIgnore] where empty.
	Mode BreakGlassMode `json:"mode,omitempty"`
	// OpenedBy is the user who creates it. [BreakGlassGuard] holds it to the truth.
	OpenedBy string `json:"openedBy"`
}

// BreakGlassStatus is what the controller has made of it.
type BreakGlassStatus struct {
	// Phase is InForce or Over.
	Phase BreakGlassPhase `json:"phase,omitempty"`
	// Until is when it ends, or ended, by the controller's reckoning.
	Until *metav1.Time `json:"until,omitempty"`
}

// BreakGlassPhase says whether it counts.
type BreakGlassPhase string

// The phases.
const (
	BreakGlassInForce BreakGlassPhase = "InForce"
	BreakGlassOver    BreakGlassPhase = "Over"
)

// Ends is when it ends, whatever it says: no later than [MaxBreakGlass] after the API server created it.
func (b *BreakGlass) Ends() time.Time {
	if latest := b.CreationTimestamp.Add(MaxBreakGlass); b.Spec.Until.After(latest) {
		return latest
	}
	return b.Spec.Until.Time
}

// Open says whether it counts at a time.
func (b *BreakGlass) Open(now time.Time) bool {
	return now.Before(b.Ends()) && b.DeletionTimestamp == nil
}

// Wants is its mode, with the default filled in. What is not known is the lesser one.
func (b *BreakGlass) Wants() BreakGlassMode {
	if b.Spec.Mode == BreakGlassAdmit {
		return BreakGlassAdmit
	}
	return BreakGlassIgnore
}
