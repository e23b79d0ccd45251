package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

func webhookConfiguration() Check {
	return Check{
		Name: "webhook-configuration", About: "the API server is told to ask the webhook about what the active policies are about, and to fail closed",
		Why:  "What the API server is not told to ask is admitted without any policy; an entry that fails open admits everything while the webhook is down.",
		look: lookAtWebhookConfiguration,
	}
}

// register is how the configurations come back.
const register = "kubectl --namespace %s logs --selector app.kubernetes.io/component=controller --tail 50 # it writes them, with --webhook-service; without it: portcullis-webhook --print-config … | kubectl apply -f -"

func lookAtWebhookConfiguration(ctx context.Context, p *patient, r *Result) {
	now := p.seeConfigurations(ctx, r)
	if now == nil {
		return
	}
	next := fmt.Sprintf(register, p.Namespace)
	if now.validating == nil || len(now.validating.Webhooks) == 0 {
		r.problem(next, "There is no ValidatingWebhookConfiguration portcullis with entries: nothing is judged")
	}
	entries := now.entries()
	for n := range entries {
		p.settings(r, &entries[n])
	}
	wanted, from, err := p.expected(ctx, now)
	if err != nil {
		r.unknown("give the right to read PolicyBundles and PolicyRevisions, or compare by hand: portcullis-webhook --print-config …", "Whether the rules are those that the policies need is not known: %v", err)
	} else {
		need := registered{wanted.Validating, wanted.Mutating}
		compareRules(r, need.entries(), entries, from, next)
	}
	if len(r.Observations) == 0 {
		r.ok("%s with the rules that %s needs", number(len(entries), "entry", "entries"), from)
	}
}

// settings says what is wrong with how an entry is called.
func (p *patient) settings(r *Result, e *entry) {
	edit := fmt.Sprintf("kubectl edit %s %s # the controller sets it back by itself where it runs", strings.ToLower(e.kind), e.configuration)
	if e.failsClosed() && e.policy() != admissionregistrationv1.Fail {
		r.problem(edit, "%s has failurePolicy %s: while the webhook is down, everything is admitted", e.title(), e.policy())
	}
	seconds := int32(10) // the API's own default
	if e.TimeoutSeconds != nil {
		seconds = *e.TimeoutSeconds
	}
	switch {
	case seconds < 3:
		r.warn(edit, "%s waits %d s for an answer: policies that ask registries need more", e.title(), seconds)
	case seconds > 20:
		r.warn(edit, "%s waits %d s for an answer: requests hang that long where the webhook does not answer, and clients give up at 30 s", e.title(), seconds)
	}
	if e.ClientConfig.Service == nil && e.ClientConfig.URL == nil {
		r.problem(edit, "%s names neither a service nor a URL", e.title())
	}
	if e.SideEffects != nil && *e.SideEffects != admissionregistrationv1.SideEffectClassNone && *e.SideEffects != admissionregistrationv1.SideEffectClassNoneOnDryRun {
		r.problem(edit, "%s has sideEffects %s: the API server refuses each dry run", e.title(), *e.SideEffects)
	}
}

// compareRules says which requests the policies need to see and no entry brings.
func compareRules(r *Result, want, got []entry, from, next string) {
	have := requests(got, nil)
	closed := requests(got, func(e *entry) bool { return e.policy() == admissionregistrationv1.Fail })
	var unseen, open []string
	for request := range requests(want, nil) {
		if !covered(have, request) {
			unseen = append(unseen, request.String())
		}
	}
	for request := range requests(want, func(e *entry) bool { return e.failsClosed() }) {
		if covered(have, request) && !covered(closed, request) {
			open = append(open, request.String())
		}
	}
	slices.Sort(unseen)
	slices.Sort(open)
	if len(unseen) > 0 {
		r.problem(next, "The API server does not ask about what %s needs to see: %s", from, several(unseen))
	}
	if len(open) > 0 {
		r.problem(next, "Policies that fail closed are asked by entries that fail open: %s", several(open))
	}
	var more []string
	needed := requests(want, nil)
	for request := range have {
		if !covered(needed, request) {
			more = append(more, request.String())
		}
	}
	if len(more) > 0 {
		slices.Sort(more)
		r.warn(next, "The API server asks about what no policy of %s is about: %s. It costs time, and holds these up while the webhook is down", from, several(more))
	}
}

// request is one kind of request, as a rule of an entry has it.
type request struct{ door, operation, group, resource, namespaces string }

// String is the request for people: "CREATE pods (validating)".
func (q request) String() string {
	where := ""
	if q.namespaces != "" {
		where = " in " + q.namespaces
	}
	return strings.TrimSuffix(fmt.Sprintf("%s %s.%s", q.operation, q.resource, q.group), ".") + where + " (" + q.door + ")"
}

// requests are those that entries bring, as far as choose says.
func requests(entries []entry, choose func(*entry) bool) map[request]bool {
	all := map[request]bool{}
	for n := range entries {
		e := &entries[n]
		if choose != nil && !choose(e) {
			continue
		}
		door := "validating"
		if strings.HasPrefix(e.kind, "Mutating") {
			door = "mutating"
		}
		for _, rule := range e.Rules {
			for _, operation := range rule.Operations {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						all[request{door, string(operation), group, resource, namespacesOf(e)}] = true
					}
				}
			}
		}
	}
	return all
}

// namespacesOf are the names of the namespaces that an entry is limited to, "" for all.
func namespacesOf(e *entry) string {
	if e.NamespaceSelector == nil {
		return ""
	}
	var names []string
	for _, expression := range e.NamespaceSelector.MatchExpressions {
		names = append(names, expression.Values...)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// covered says whether some rule brings a request: the same, or a wider one.
func covered(by map[request]bool, q request) bool {
	for _, operation := range []string{q.operation, "*"} {
		for _, group := range []string{q.group, "*"} {
			for _, resource := range wider(q.resource) {
				for _, namespaces := range slices.Compact([]string{q.namespaces, ""}) {
					if by[request{q.door, operation, group, resource, namespaces}] {
						return true
					}
				}
			}
		}
	}
	return false
}

// wider are the forms of a rule that match a resource.
func wider(resource string) []string {
	name, sub, isSub := strings.Cut(resource, "/")
	if !isSub {
		return []string{resource, "*", "*/*", name + "/*"}
	}
	return []string{resource, "*/*", name + "/*", cmp.Or("*/"+sub, "")}
}
