package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func otherWebhooks() Check {
	return Check{
		Name: "other-webhooks", About: "webhooks of others that change pods after ours, or that would keep our own pods from starting",
		Why:  "One that patches after ours may undo our patches; one that fails closed and has no endpoint keeps ours from coming back.",
		look: lookAtOtherWebhooks,
	}
}

func lookAtOtherWebhooks(ctx context.Context, p *patient, r *Result) {
	validating, err := p.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, listOptions)
	if r.unread(err, "the webhook configurations", "list validatingwebhookconfigurations") {
		return
	}
	mutating, err := p.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, listOptions)
	if r.unread(err, "the webhook configurations", "list mutatingwebhookconfigurations") {
		return
	}
	again := true // whether ours is asked again after others have changed something
	var others []entry
	for n := range validating.Items {
		if !isOurs(validating.Items[n].Name) {
			others = append(others, validatingEntries(&validating.Items[n])...)
		}
	}
	for n := range mutating.Items {
		entries := mutatingEntries(&mutating.Items[n])
		if !isOurs(mutating.Items[n].Name) {
			others = append(others, entries...)
			continue
		}
		again = again && !slices.ContainsFunc(entries, func(e entry) bool { return !e.reinvoked })
	}
	var after []string
	for n := range others {
		e := &others[n]
		if !aboutPods(e.Rules) {
			continue
		}
		if e.kind == "MutatingWebhookConfiguration" && e.configuration > configuration.DefaultName {
			after = append(after, e.configuration)
		}
		p.blocks(ctx, r, e)
	}
	after = slices.Compact(after)
	switch {
	case len(after) > 0 && !again:
		r.warn("kubectl get mutatingwebhookconfiguration portcullis --output yaml # reinvocationPolicy must be IfNeeded", "Others change pods after ours, and ours is not asked again: %s", several(after))
	case len(after) > 0:
		r.ok("Others change pods after ours (%s); ours is asked again after them, and what results is judged", several(after))
	case len(r.Observations) == 0:
		r.ok("%s of others, none of which is in the way", number(len(others), "webhook", "webhooks"))
	}
}

func isOurs(name string) bool { return ours(name) || name == "portcullis-quarantine" }

// aboutPods says whether a rule brings the creation of pods.
func aboutPods(rules []admissionregistrationv1.RuleWithOperations) bool {
	return slices.ContainsFunc(rules, func(rule admissionregistrationv1.RuleWithOperations) bool {
		has := func(list []string, any ...string) bool {
			return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(any, s) })
		}
		creates := slices.ContainsFunc(rule.Operations, func(o admissionregistrationv1.OperationType) bool {
			return o == admissionregistrationv1.Create || o == admissionregistrationv1.OperationAll
		})
		return creates && has(rule.APIGroups, "", "*") && has(rule.Resources, "pods", "*", "*/*", "pods/*")
	})
}

// blocks says whether a webhook of others keeps our pods from starting now: it fails closed, is asked about our namespace, and nobody answers.
func (p *patient) blocks(ctx context.Context, r *Result, e *entry) {
	service := e.ClientConfig.Service
	if e.policy() != admissionregistrationv1.Fail || service == nil || service.Namespace == p.Namespace {
		return
	}
	namespace, err := p.Client.CoreV1().Namespaces().Get(ctx, p.Namespace, getOptions)
	if err != nil {
		return // another check says so
	}
	selector, err := metav1.LabelSelectorAsSelector(e.NamespaceSelector)
	if e.NamespaceSelector != nil && (err != nil || !selector.Matches(labelSet(namespace.Labels))) {
		return
	}
	slices, err := p.Client.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name, Limit: 100})
	if err != nil || hasEndpoint(slices.Items) {
		return
	}
	r.problem(fmt.Sprintf("kubectl --namespace %s get pods,service %s # mend it, or have it leave %s out by a namespaceSelector", service.Namespace, service.Name, p.Namespace),
		"%s (%s) fails closed, is asked about pods of %s, and its service has no endpoint that is ready: no pod of Portcullis can start", e.Name, e.configuration, p.Namespace)
}

func hasEndpoint(list []discoveryv1.EndpointSlice) bool {
	for n := range list {
		for _, endpoint := range list[n].Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				return true
			}
		}
	}
	return false
}
