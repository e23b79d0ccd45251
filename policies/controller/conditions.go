package controller

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/rollout"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// maxMessage is below what the schema allows.
const maxMessage = 8 << 10

// describe completes a status by what is known of the source: conditions say the same in words.
func describe(status *v1alpha1.PolicyBundleStatus, bundle *v1alpha1.PolicyBundle, found *findings, pinFailed error, now metav1.Time) {
	status.ObservedGeneration = bundle.Generation
	if !found.looked.IsZero() {
		looked := metav1.NewTime(found.looked).Rfc3339Copy()
		status.LastFetch = &looked
	}
	for _, c := range []metav1.Condition{fetched(bundle, found), accepted(status, bundle, found, pinFailed), ready(status)} {
		c.ObservedGeneration, c.LastTransitionTime = bundle.Generation, now.Rfc3339Copy()
		if len(c.Message) > maxMessage {
			c.Message = c.Message[:maxMessage]
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
}

func condition(kind string, value metav1.ConditionStatus, reason, format string, arguments ...any) metav1.Condition {
	return metav1.Condition{Type: kind, Status: value, Reason: reason, Message: fmt.Sprintf(format, arguments...)}
}

func fetched(bundle *v1alpha1.PolicyBundle, found *findings) metav1.Condition {
	const kind = v1alpha1.ConditionFetched
	switch {
	case bundle.Spec.Suspend:
		return condition(kind, metav1.ConditionUnknown, "Suspended", "the source is not looked at: suspend says so")
	case found.failed != nil:
		return condition(kind, metav1.ConditionFalse, "FetchFailed", "%v", found.failed)
	case found.looked.IsZero():
		return condition(kind, metav1.ConditionUnknown, reasonNotYetLooked, "the source was not looked at yet")
	}
	return condition(kind, metav1.ConditionTrue, "Fetched", "the source was reached")
}

func accepted(status *v1alpha1.PolicyBundleStatus, bundle *v1alpha1.PolicyBundle, found *findings, pinFailed error) metav1.Condition {
	const kind = v1alpha1.ConditionAccepted
	switch {
	case pinFailed != nil:
		return condition(kind, metav1.ConditionFalse, reasonPin, "%v", pinFailed)
	case bundle.Spec.Pin != "":
		return condition(kind, metav1.ConditionTrue, "Pinned", "pinned to %s, whatever the source has", bundle.Spec.Pin)
	case found.refused != nil:
		return condition(kind, metav1.ConditionFalse, found.reason, "%s", found.refused.Reason)
	case found.offered == nil:
		return condition(kind, metav1.ConditionUnknown, reasonNotYetLooked, "nothing was fetched yet")
	case found.offered.status.Digest == status.Dropped:
		return condition(kind, metav1.ConditionFalse, reasonDropped, "%s is not tried again until the source has another revision: %s", status.Dropped, why(status, status.Dropped))
	case status.Active != nil && status.Active.Digest == found.offered.status.Digest || status.Candidate != nil && status.Candidate.Digest == found.offered.status.Digest:
	case status.Previous != nil && status.Previous.Digest == found.offered.status.Digest && bundle.Spec.Rollout.Strategy == v1alpha1.StrategyBlueGreen:
	case bundle.Spec.Suspend:
		return condition(kind, metav1.ConditionUnknown, "Suspended", "nothing new is rolled out: suspend says so")
	default:
		if reason := rollout.Follows(status, &found.offered.status); reason != "" {
			return condition(kind, metav1.ConditionFalse, reasonSerial, "%s", reason)
		}
	}
	return condition(kind, metav1.ConditionTrue, reasonAccepted, "revision %s with serial %d was verified, loaded, and has passed its tests", found.offered.status.Digest, found.offered.status.Serial)
}

// why a revision was dropped.
func why(status *v1alpha1.PolicyBundleStatus, digest string) string {
	i := slices.IndexFunc(status.Rejected, func(r v1alpha1.Rejection) bool { return r.Digest == digest })
	if i < 0 {
		return "it was dropped"
	}
	return status.Rejected[i].Reason
}

func ready(status *v1alpha1.PolicyBundleStatus) metav1.Condition {
	const kind = v1alpha1.ConditionReady
	switch {
	case status.Active == nil:
		return condition(kind, metav1.ConditionFalse, "NoRevision", "no revision is active: the other conditions say why")
	case status.ReadyReplicas < status.Replicas:
		return condition(kind, metav1.ConditionFalse, "ReplicasPending", "%d of %d replicas have not loaded what they are to load: kubectl get policyreplicas says why", status.Replicas-status.ReadyReplicas, status.Replicas)
	case status.Replicas == 0:
		return condition(kind, metav1.ConditionTrue, "NoReplicas", "a revision is active, and no replica of the webhook reports that it judges by it")
	}
	return condition(kind, metav1.ConditionTrue, "Ready", "all %d replicas judge by it", status.Replicas)
}
