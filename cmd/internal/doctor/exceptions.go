package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func exceptions() Check {
	return Check{
		Name: "exceptions", About: "exceptions of the cluster that have expired, or will within a week",
		Why:  "From the day that an exception expires, what it let through is denied: at the next rollout, or when a node is lost.",
		look: lookAtExceptions,
	}
}

func lookAtExceptions(ctx context.Context, p *patient, r *Result) {
	list, err := p.List(ctx, v1alpha1.Exceptions)
	if apierrors.IsNotFound(err) {
		r.ok("The cluster does not serve PolicyExceptions: there are none")
		return
	}
	if r.unread(err, "the PolicyExceptions", "list policyexceptions --all-namespaces") {
		return
	}
	now, valid := p.Now(), 0
	for n := range list.Items {
		var e v1alpha1.PolicyException
		if err := decode(&list.Items[n], &e); err != nil {
			r.unknown("kubectl get policyexceptions --all-namespaces --output yaml", "A PolicyException cannot be read: %v", err)
			continue
		}
		name := e.Namespace + "/" + e.Name
		get := fmt.Sprintf("kubectl --namespace %s get policyexception %s --output yaml", e.Namespace, e.Name)
		expires, err := expiry(e.Spec.Expires)
		switch left := expires.Sub(now); {
		case err != nil:
			r.warn(get, "The exception %s waives nothing: its date %.40q cannot be read", name, e.Spec.Expires)
		case left <= 0:
			r.warn(fmt.Sprintf("kubectl --namespace %s delete policyexception %s # or have it granted anew", e.Namespace, e.Name), "The exception %s from %s expired %s, and waives nothing any more", name, e.Spec.Policy, ago(now, expires))
		case left < soon:
			r.warn(get+" # ask "+e.Spec.Owner, "The exception %s from %s expires on %s (owner: %s)", name, e.Spec.Policy, expires.UTC().Format(time.DateOnly), e.Spec.Owner)
		default:
			valid++
		}
	}
	if list.Cut {
		r.unknown("kubectl get policyexceptions --all-namespaces", "There are more exceptions than are looked at")
	}
	r.ok("%s valid for a week or more", number(valid, "exception is", "exceptions are"))
}

// expiry reads a date (the start of that day in UTC) or a time, as bundles do.
func expiry(text string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, text)
}
