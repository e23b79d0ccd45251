package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/policies"
)

// shownDecisions keeps the last decisions for those who may see them.
type shownDecisions struct{ ring *decisions.Ring }

// decisions are the last decisions and what shows them, nil without --decisions.
func (f *flags) decisions(ctx context.Context, config *rest.Config, logger *slog.Logger) (*shownDecisions, map[string]http.Handler, error) {
	if !f.showDecisions {
		return nil, nil, nil
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("reaching the cluster to ask who may see decisions: %w", err)
	}
	host, _ := os.Hostname()
	shown := &shownDecisions{decisions.NewRing(decisions.DefaultSize, cmp.Or(host, "webhook"))}
	handler, err := decisions.NewHandler(shown.ring, decisions.Options{Client: client, Closing: ctx.Done(), Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	return shown, map[string]http.Handler{decisions.Path: handler}, nil
}

// recorders gives each decision to several, in order.
type recorders []webhook.Recorder

// Record implements [webhook.Recorder].
func (r recorders) Record(ctx context.Context, decision *admission.Decision) {
	for _, one := range r {
		one.Record(ctx, decision)
	}
}

// beside adds those who see decisions to whoever hears of them already, nil for nobody.
func (s *shownDecisions) beside(recorder webhook.Recorder) webhook.Recorder {
	switch {
	case s == nil:
		return recorder
	case recorder == nil:
		return s
	}
	return recorders{recorder, s}
}

// Record implements [webhook.Recorder].
func (s *shownDecisions) Record(_ context.Context, decision *admission.Decision) {
	s.ring.Add(entryOf(decision))
}

// entryOf is a decision without what is in the object.
func entryOf(d *admission.Decision) decisions.Entry {
	request, verdict := &d.Request, &d.Verdict
	entry := decisions.Entry{
		Time: d.Time.UTC(), ID: d.ID, Trace: d.Trace, Operation: request.Operation,
		Group: request.Resource.Group, Resource: request.Resource.Resource, SubResource: request.SubResource, Kind: request.Kind.Kind,
		Namespace: request.Namespace, Name: request.Name, DryRun: request.DryRun, User: request.Subject.Username,
		Door: "validate", Verdict: d.Outcome, Bundle: verdict.Bundle, Profile: verdict.Profile, Microseconds: d.Duration.Microseconds(),
	}
	if d.Mutation {
		entry.Door = "mutate"
	}
	if d.Reason != "" {
		entry.Reasons = append(entry.Reasons, decisions.Reason{Effect: "fault", Message: d.Reason})
	}
	for _, denies := range []bool{true, false} {
		for n := range verdict.Findings {
			if finding := &verdict.Findings[n]; admission.Denies(*finding) == denies {
				add(&entry, decisions.Reason{Effect: effectOf(finding), Policy: cmp.Or(finding.Instance, finding.Policy), Severity: finding.Severity, Message: finding.Message})
			}
		}
		if !denies {
			break
		}
		for _, fault := range verdict.Faults {
			add(&entry, decisions.Reason{Effect: "fault", Policy: fault.Policy, Message: string(fault.Kind) + ": " + fault.Message})
		}
		for _, open := range verdict.Undecided {
			add(&entry, decisions.Reason{Effect: "undecided", Policy: open.Policy, Message: open.Reason})
		}
	}
	return entry
}

// add adds a reason, or counts it where there are many.
func add(entry *decisions.Entry, reason decisions.Reason) {
	if len(entry.Reasons) >= decisions.MaxReasons {
		entry.More++
		return
	}
	entry.Reasons = append(entry.Reasons, reason)
}

// effectOf is what becomes of a finding.
func effectOf(finding *policies.Finding) string {
	switch {
	case finding.ExceptedBy != "":
		return "excepted"
	case admission.Denies(*finding):
		return "deny"
	case finding.Enforcement == policies.EnforceAudit:
		return "audit"
	}
	return "warn"
}
