package conftest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

// podCompanions are subresources through which a pod itself is updated: whoever judges pods judges these.
var podCompanions = []string{"ephemeralcontainers", "resize"}

// unjudged are resources that Conftest's policies are never asked about: reviews, which are questions and not objects, and
// what the control plane renews all the time. Only where conftest.toml names one is it judged.
var unjudged = map[groupResource]bool{
	{"authentication.k8s.io", "tokenreviews"}:             true,
	{"authentication.k8s.io", "selfsubjectreviews"}:       true,
	{"authorization.k8s.io", "subjectaccessreviews"}:      true,
	{"authorization.k8s.io", "selfsubjectaccessreviews"}:  true,
	{"authorization.k8s.io", "localsubjectaccessreviews"}: true,
	{"authorization.k8s.io", "selfsubjectrulesreviews"}:   true,
	{"coordination.k8s.io", "leases"}:                     true,
	{"", "events"}:                                        true,
	{"events.k8s.io", "events"}:                           true,
}

// Matches says that objects are judged when they are created or updated, as Conftest judges files of them: those that
// conftest.toml names as portcullis.resources, or else all. Of subresources only those count that hold a pod.
func (e *Engine) Matches(r *policies.Request) bool {
	if r.Operation != "CREATE" && r.Operation != "UPDATE" {
		return false
	}
	resource := groupResource{r.Resource.Group, r.Resource.Resource}
	if r.SubResource != "" && (resource != groupResource{"", "pods"} || !slices.Contains(podCompanions, r.SubResource)) {
		return false
	}
	if e.resources != nil {
		return e.resources[resource]
	}
	return !unjudged[resource]
}

// Needs are none: Conftest's policies see the object and the data of the bundle.
func (e *Engine) Needs(*policies.Request, policies.Phase) policies.Needs { return policies.Needs{} }

// Interests are what [Engine.Matches] takes, the same in all profiles.
func (e *Engine) Interests(string) []policies.Interest {
	resources := []groupResource{{"*", "*"}}
	if e.resources != nil {
		resources = slices.SortedFunc(maps.Keys(e.resources), compareResources)
	}
	var interests []policies.Interest
	add := func(group, resource, operation string) {
		interests = append(interests, policies.Interest{
			Group: group, Resource: resource, Operation: operation, Validates: true, FailClosed: e.denies(),
		})
	}
	for _, resource := range resources {
		add(resource.group, resource.resource, "CREATE")
		add(resource.group, resource.resource, "UPDATE")
	}
	if e.resources == nil || e.resources[groupResource{"", "pods"}] {
		for _, companion := range podCompanions {
			add("", "pods/"+companion, "UPDATE")
		}
	}
	return policies.MergeInterests(interests)
}

// denies says whether any rule can refuse a request.
func (e *Engine) denies() bool {
	return slices.ContainsFunc(e.namespaces, func(one namespace) bool {
		return slices.ContainsFunc(one.rules, func(r rule) bool { return r.effect == policies.EffectDeny })
	})
}

// Evaluate judges the object of a request: input is the object, as in a file. It reads nothing but its arguments. In the
// phase of patches there is nothing to do: Conftest has none.
func (e *Engine) Evaluate(ctx context.Context, r *policies.Request, facts *policies.Facts, now time.Time, phase policies.Phase) policies.Result {
	if phase != policies.PhaseValidate || !e.Matches(r) {
		return policies.Result{}
	}
	v := &evaluation{engine: e, now: now.UTC(), store: e.store, transaction: e.transaction}
	if path := redacted(r); path != "" {
		v.notReplayable(path)
		return v.result
	}
	if trimmed := bytes.TrimSpace(r.Object); len(trimmed) == 0 || string(trimmed) == "null" {
		v.all(policies.FaultInput, fmt.Sprintf("the request has no object, which one to %s must have: nothing can be judged", r.Operation))
		return v.result
	}
	input, err := policies.RawValue(r.Object)
	if err != nil {
		v.all(policies.FaultInput, err.Error())
		return v.result
	}
	v.input = input
	v.judge(ctx)
	v.result.Sort()
	if e.waive != nil {
		e.waive(r, facts, now, v.result.Findings)
	}
	return v.result
}

// redacted is a path of the object that a journal did not keep: any rule could read it.
func redacted(r *policies.Request) string {
	for _, path := range r.Redacted {
		if path == "object" || strings.HasPrefix(path, "object.") {
			return path
		}
	}
	return ""
}

// notReplayable leaves all rules undecided.
func (v *evaluation) notReplayable(path string) {
	for _, one := range v.engine.namespaces {
		for n := range one.rules {
			v.result.Matched++
			v.result.Undecided = append(v.result.Undecided, policies.Undecided{
				Policy: one.rules[n].id, Path: path, Enforcement: one.rules[n].enforcement(),
				Reason: "not replayable: it can read " + path + ", which the journal does not keep",
			})
		}
	}
	v.result.Sort()
}
