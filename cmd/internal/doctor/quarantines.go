package doctor

import (
	"context"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func quarantines() Check {
	return Check{
		Name: "quarantines", About: "no quarantine is stuck, waits for an approval, or leaves traffic possible",
		Why:  "A pod that is quarantined and not isolated goes on doing what it was quarantined for.",
		look: lookAtQuarantines,
	}
}

func lookAtQuarantines(ctx context.Context, p *patient, r *Result) {
	list, err := p.List(ctx, v1alpha1.Quarantines)
	if apierrors.IsNotFound(err) {
		r.ok("The cluster does not serve Quarantines: there are none")
		return
	}
	if r.unread(err, "the Quarantines", "list quarantines --all-namespaces") {
		return
	}
	contained := 0
	for n := range list.Items {
		var q v1alpha1.Quarantine
		if err := decode(&list.Items[n], &q); err != nil {
			r.unknown("kubectl get quarantines --output yaml", "A Quarantine cannot be read: %v", err)
			continue
		}
		show := "portcullis quarantine show " + q.Name
		age := p.Now().Sub(q.CreationTimestamp.Time)
		switch {
		case q.Status.Phase == v1alpha1.PhaseAwaitingApproval:
			r.warn("portcullis quarantine approve "+q.Name+" # or release it", "The quarantine %s waits for somebody to approve it since %s", q.Name, ago(p.Now(), q.CreationTimestamp.Time))
		case (q.Status.Phase == "" || q.Status.Phase == v1alpha1.PhasePending || q.Status.Phase == v1alpha1.PhaseContaining || q.Status.Phase == v1alpha1.PhaseReleasing) && age > grace && q.Status.Ended == nil:
			r.problem(show+"; portcullis doctor --only leases", "The quarantine %s is not done (%s): %s", q.Name, q.Status.Phase, q.Status.Reason)
		case q.Status.Phase == v1alpha1.PhaseContained && !q.Status.PodGone && q.Status.Verdict != "" && q.Status.Verdict != "Isolated":
			r.problem(show, "The pod of the quarantine %s is not isolated (%s): %s", q.Name, q.Status.Verdict, several(q.Status.Residual))
		case q.Status.Phase == v1alpha1.PhaseContained:
			contained++
		}
	}
	r.ok("%s contained", number(contained, "pod is", "pods are"))
}
