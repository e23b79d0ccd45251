package doctor

import (
	"context"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func guard() Check {
	return Check{
		Name: "guard", About: "the API server itself guards our namespace and objects while the webhook is down: ValidatingAdmissionPolicies and Pod Security",
		Why:  "Whoever stops the webhook could otherwise change what it is made of before it comes back.",
		look: lookAtGuard,
	}
}

func lookAtGuard(ctx context.Context, p *patient, r *Result) {
	p.podSecurity(ctx, r)
	own := metav1.ListOptions{LabelSelector: installation.PartOfLabel + "=" + installation.PartOf, Limit: 100}
	list, err := p.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, own)
	if r.unread(err, "the ValidatingAdmissionPolicies", "list validatingadmissionpolicies") {
		return
	}
	bindings, err := p.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{Limit: 1000})
	if r.unread(err, "their bindings", "list validatingadmissionpolicybindings") {
		return
	}
	if len(list.Items) == 0 {
		r.warn("install the chart with guard.enabled=true", "No ValidatingAdmissionPolicy guards Portcullis while its webhook is down")
		return
	}
	guarded := 0
	for n := range list.Items {
		policy := &list.Items[n]
		next := "kubectl get validatingadmissionpolicy,validatingadmissionpolicybinding " + policy.Name + " --output yaml"
		switch {
		case !denies(policy.Name, bindings.Items):
			r.problem(next, "The ValidatingAdmissionPolicy %s denies nothing: no binding of it has the action Deny", policy.Name)
		case policy.Spec.FailurePolicy != nil && *policy.Spec.FailurePolicy == admissionregistrationv1.Ignore:
			r.warn(next, "The ValidatingAdmissionPolicy %s fails open", policy.Name)
		case policy.Status.TypeChecking != nil && len(policy.Status.TypeChecking.ExpressionWarnings) > 0:
			r.warn(next, "The ValidatingAdmissionPolicy %s has an expression that may fail: %s", policy.Name, policy.Status.TypeChecking.ExpressionWarnings[0].Warning)
		default:
			guarded++
		}
	}
	if guarded > 0 {
		r.ok("%s, and %s", number(guarded, "ValidatingAdmissionPolicy guards Portcullis", "ValidatingAdmissionPolicies guard Portcullis"), "each denies")
	}
}

func denies(policy string, bindings []admissionregistrationv1.ValidatingAdmissionPolicyBinding) bool {
	for n := range bindings {
		if bindings[n].Spec.PolicyName != policy {
			continue
		}
		for _, action := range bindings[n].Spec.ValidationActions {
			if action == admissionregistrationv1.Deny {
				return true
			}
		}
	}
	return false
}

// podSecurity is about the label by which the API server holds our own pods to the restricted standard.
func (p *patient) podSecurity(ctx context.Context, r *Result) {
	namespace, err := p.Client.CoreV1().Namespaces().Get(ctx, p.Namespace, getOptions)
	if r.unread(err, "the namespace "+p.Namespace, "get namespace "+p.Namespace) {
		return
	}
	const label = "pod-security.kubernetes.io/enforce" // https://kubernetes.io/docs/concepts/security/pod-security-admission/
	if level := namespace.Labels[label]; level != "restricted" {
		r.warn("kubectl label --overwrite namespace "+p.Namespace+" "+label+"=restricted", "The API server does not hold pods of %s to the restricted standard (%s is %q)", p.Namespace, label, level)
		return
	}
	r.ok("The API server holds pods of %s to the restricted standard", p.Namespace)
}
