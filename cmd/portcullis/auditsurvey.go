package main

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/admission/proposals/capacity"
	"github.com/portcullis-dev/portcullis/admission/proposals/defaultdeny"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// auditProposals are what an audit proposes.
type auditProposals struct {
	Capacity *capacity.Report       `json:"capacity,omitempty"`
	Network  []defaultdeny.Proposal `json:"networkPolicies,omitempty"`
	Notes    []string               `json:"notes,omitempty"`
}

// auditSurvey gathers what proposals are made of, as objects go by. Its parts are nil where nobody asks for them.
type auditSurvey struct {
	capacity *capacity.Ledger
	network  *defaultdeny.Survey
	listed   map[string]bool // by group and resource
	notes    []string
}

func newAuditSurvey(f *auditFlags) *auditSurvey {
	s := &auditSurvey{listed: map[string]bool{}}
	if f.capacity.wanted() {
		s.capacity = capacity.NewLedger()
	}
	if f.network.directory != "" {
		s.network = defaultdeny.NewSurvey()
	}
	return s
}

// see takes an object that is judged.
func (s *auditSurvey) see(o audit.Object) {
	if s.capacity != nil && o.Group != "metrics.k8s.io" {
		s.capacity.Add(o.Group, o.Kind, o.Namespace, o.Raw)
	}
	if s.network != nil {
		s.network.Add(o.Group, o.Kind, o.Namespace, o.Raw)
	}
	if s.capacity != nil || s.network != nil {
		s.listed[o.GroupResource()] = true
	}
}

// surveyed are the resources that proposals are made of; a kind that lacks is no proposal.
func (s *auditSurvey) surveyed() (required, welcome []schema.GroupResource) {
	if s.capacity != nil {
		required = append(required, schema.GroupResource{Resource: "pods"})
		welcome = append(welcome, schema.GroupResource{Resource: "replicationcontrollers"}, schema.GroupResource{Group: "apps", Resource: "deployments"},
			schema.GroupResource{Group: "apps", Resource: "statefulsets"}, schema.GroupResource{Group: "apps", Resource: "daemonsets"}, schema.GroupResource{Group: "metrics.k8s.io", Resource: "pods"})
	}
	if s.network != nil {
		required = append(required, schema.GroupResource{Resource: "pods"}, schema.GroupResource{Resource: "namespaces"}, schema.GroupResource{Group: "networking.k8s.io", Resource: "networkpolicies"})
		welcome = append(welcome, schema.GroupResource{Resource: "services"}, schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"})
		for _, resource := range isolation.Resources() {
			welcome = append(welcome, resource.GroupResource())
		}
	}
	return required, welcome
}

// finish reads what the proposals take and the audit has not listed. What is missing is no proposal, and a gap; known are those
// of the audit.
func (s *auditSurvey) finish(ctx context.Context, target *auditTarget, known []audit.Gap) (gaps []audit.Gap, err error) {
	required, welcome := s.surveyed()
	if len(required) == 0 {
		return nil, nil
	}
	if target.client == nil {
		s.finishDump(target)
		return nil, nil
	}
	missing := func(resource schema.GroupResource, err error) {
		if slices.Contains(required, resource) {
			s.capacity, s.network = nil, nil
			gaps = append(gaps, audit.Gap{What: "proposals", Reason: fmt.Sprintf("nothing is proposed, as %s could not be listed (%v): grant get and list on it, or leave the proposals out", resource, err)})
			return
		}
		s.notes = append(s.notes, fmt.Sprintf("%s could not be listed, so that proposals know nothing of them.", resource))
	}
	var interests []policies.Interest
	for _, resource := range append(slices.Clone(required), welcome...) {
		switch {
		case slices.ContainsFunc(known, func(gap audit.Gap) bool { return gap.What == resource.String() }):
			missing(resource, errNotListed)
		case !s.listed[resource.String()]:
			interests = append(interests, policies.Interest{Group: resource.Group, Resource: resource.Resource, Operation: "CREATE", Validates: true})
		}
	}
	kinds, _, err := target.client.Kinds(ctx, interests)
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if len(gaps) > 0 {
			break
		}
		if err := s.list(ctx, target, kind); err != nil {
			missing(schema.GroupResource{Group: kind.Group, Resource: kind.Resource}, err)
		}
	}
	return gaps, nil
}

// list reads one kind for the proposals.
func (s *auditSurvey) list(ctx context.Context, target *auditTarget, kind stored.Kind) error {
	see := func(o audit.Object) error {
		if s.capacity != nil {
			s.capacity.Add(o.Group, o.Kind, o.Namespace, o.Raw)
		}
		if s.network != nil {
			s.network.Add(o.Group, o.Kind, o.Namespace, o.Raw)
		}
		return nil
	}
	namespaces := target.flags.namespaces
	if kind.Group == "" && kind.Resource == "namespaces" && len(namespaces) > 0 {
		for _, name := range namespaces {
			object, ok, err := target.client.Get(ctx, kind, "", name)
			if err != nil {
				return err
			}
			if ok {
				_ = see(object)
			}
		}
		return nil
	}
	if len(namespaces) == 0 || !kind.Namespaced {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		if _, err := target.client.List(ctx, kind, namespace, see); err != nil {
			return err
		}
	}
	return nil
}

// finishDump takes what a dump has beside what was judged.
func (s *auditSurvey) finishDump(target *auditTarget) {
	for n := range target.objects {
		object := target.objects[n]
		if target.chooses(object.Reference) && object.Group != "metrics.k8s.io" {
			continue // seen
		}
		if len(target.flags.namespaces) > 0 && !slices.Contains(target.flags.namespaces, object.Scope()) {
			continue
		}
		if s.capacity != nil {
			s.capacity.Add(object.Group, object.Kind, object.Namespace, object.Raw)
		}
		if s.network != nil {
			s.network.Add(object.Group, object.Kind, object.Namespace, object.Raw)
		}
	}
}

// proposals are what it comes to.
func (s *auditSurvey) proposals(f *auditFlags) (auditProposals, error) {
	out := auditProposals{Notes: s.notes}
	if s.capacity != nil {
		report := s.capacity.Report(f.capacity.thresholds(), f.capacity.prices)
		out.Capacity = &report
	}
	if s.network == nil {
		return out, nil
	}
	network, notes, err := s.network.Proposals(f.network.options(f.target.namespaces))
	out.Network, out.Notes = network, append(out.Notes, notes...)
	return out, err
}
