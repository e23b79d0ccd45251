package quarantine

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// maxConditionMessage is below what the schema allows.
const maxConditionMessage = 4 << 10

func (c *Controller) condition(s *v1alpha1.QuarantineStatus, one metav1.Condition) {
	one.LastTransitionTime, one.Message = metav1.NewTime(c.o.Now()).Rfc3339Copy(), cut(one.Message, maxConditionMessage)
	meta.SetStatusCondition(&s.Conditions, one)
}

// isolatedCondition says the verdict in words.
func isolatedCondition(s *v1alpha1.QuarantineStatus, r *isolation.Report) metav1.Condition {
	one := metav1.Condition{Type: v1alpha1.ConditionIsolated, Status: metav1.ConditionFalse, Reason: string(r.Verdict)}
	switch r.Verdict {
	case isolation.Isolated:
		one.Status, one.Message = metav1.ConditionTrue, "no traffic remains possible, but with the pod's own node and with itself"
		if r.Connections == isolation.MayPersist {
			one.Message += "; connections that were open may persist: end the pod if that matters"
		}
	case isolation.Residual:
		one.Message = fmt.Sprintf("%d kinds of traffic remain possible: %s", len(r.Residual), strings.Join(s.Residual, "; "))
	case isolation.Unenforceable:
		one.Message = "network policies do not reach the pod, or nothing enforces them: end the pod"
	default:
		one.Status, one.Reason, one.Message = metav1.ConditionUnknown, string(isolation.Unverified), "the provider of the network is not known: give --cni"
	}
	if len(r.Notes) > 0 {
		one.Message += " (" + strings.Join(r.Notes, "; ") + ")"
	}
	return one
}

// completeCondition says which actions were not taken, and why.
func (c *Controller) completeCondition(q *v1alpha1.Quarantine) metav1.Condition {
	one := metav1.Condition{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: "Done", Message: "all actions were taken"}
	var open []string
	for _, a := range q.Spec.Actions {
		step := stepOf(&q.Status, string(a.Action))
		switch {
		case !acts(a):
			open = append(open, string(a.Action)+": its policy is in audit")
		case step != nil && givenUp(step):
			one.Status, one.Reason = metav1.ConditionFalse, "Failed"
			open = append(open, string(a.Action)+": "+step.Result)
		case step != nil && step.State == v1alpha1.StepSkipped:
			open = append(open, string(a.Action)+": "+step.Result)
		case waitsForApproval(a) && q.Spec.Approval == nil:
			if one.Status == metav1.ConditionTrue {
				one.Status, one.Reason = metav1.ConditionFalse, "AwaitingApproval"
			}
			open = append(open, string(a.Action)+": waits for a person; portcullis quarantine approve "+q.Name)
		}
	}
	for _, r := range q.Spec.Refused {
		open = append(open, string(r.Action)+": "+r.Reason)
	}
	if len(open) > 0 {
		one.Message = "not taken: " + strings.Join(open, "; ")
	}
	return one
}

// stableCondition says that somebody undoes a step.
func stableCondition(step *v1alpha1.Step, undone string) metav1.Condition {
	one := metav1.Condition{
		Type: v1alpha1.ConditionStable, Status: metav1.ConditionFalse, Reason: "Reverted",
		Message: fmt.Sprintf("%s: %s; it was done again, %d times by now", step.Name, undone, step.Reapplied),
	}
	if step.Reapplied > maxReapplied {
		one.Reason, one.Message = "GivenUp", fmt.Sprintf("%s: %s after it was done again %d times: stop what does that (an autoscaler, what applies a repository)", step.Name, undone, maxReapplied)
	}
	return one
}
