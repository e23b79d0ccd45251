package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/timeline"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

type quarantinesData struct {
	Problem, Other string
	All            bool
	Rows           []quarantineRow
	Pager          pager
}

type quarantineRow struct {
	Name, Pod, Phase, Verdict, Link string
	Policies                        []string
	Since                           time.Time
}

func (v *visit) quarantines() error {
	list, err := kube.List[v1alpha1.Quarantine](v.r.Context(), v.caller, v1alpha1.Quarantines, kube.Query{})
	if kube.LoggedOut(err) {
		return err
	}
	data := quarantinesData{Problem: text(err), All: v.query.Get("all") != "", Other: address("/quarantines", "namespace", v.namespace, "all", "1")}
	if data.All {
		data.Other = address("/quarantines", "namespace", v.namespace)
	}
	var rows []quarantineRow
	for n := range list.Items {
		q := &list.Items[n]
		if v.namespace != "" && q.Spec.Pod.Namespace != v.namespace || !data.All && q.Status.Phase.Over() && q.Status.Reopened == q.Spec.Reopened {
			continue
		}
		row := quarantineRow{
			Name: q.Name, Pod: q.Spec.Pod.Namespace + "/" + q.Spec.Pod.Name, Phase: phaseOf(q), Verdict: q.Status.Verdict, Since: q.CreationTimestamp.Time,
			Link: address("/quarantine", "name", q.Name, "namespace", v.namespace),
		}
		for _, trigger := range q.Spec.Triggers {
			if !slices.Contains(row.Policies, trigger.Policy) {
				row.Policies = append(row.Policies, trigger.Policy)
			}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b quarantineRow) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Name, b.Name)) })
	data.Rows, data.Pager = cutPage(rows, "/quarantines", v.query, list.More)
	return v.show("quarantines", "Quarantines", data)
}

func phaseOf(q *v1alpha1.Quarantine) string {
	return cmp.Or(string(q.Status.Phase), string(v1alpha1.PhasePending))
}

type quarantineData struct {
	Problem, Phase, Cannot string
	Q                      *v1alpha1.Quarantine
	Decide                 []decision
	Events                 []timeline.Event
}

// decision is a form by which a person decides.
type decision struct{ ID, Action, Title, Text, Tone, Name string }

func (v *visit) quarantine() error {
	name := v.query.Get("name")
	if name == "" || !isName(name) {
		return v.show("quarantine", "Quarantine", quarantineData{Problem: "There is no such quarantine: choose one of the list."})
	}
	q, err := kube.Get[v1alpha1.Quarantine](v.r.Context(), v.caller, v1alpha1.Quarantines, "", name)
	if kube.LoggedOut(err) {
		return err
	}
	if err != nil {
		return v.show("quarantine", "Quarantine "+name, quarantineData{Problem: err.Error()})
	}
	data := quarantineData{Q: q, Phase: phaseOf(q), Events: timeline.OfQuarantine(q)}
	slices.Reverse(data.Events)
	open := !q.Status.Phase.Over() || q.Status.Reopened != q.Spec.Reopened
	switch {
	case !open:
		data.Cannot = "It is over: there is nothing to decide."
	case !v.caller.May(v.r.Context(), "update", v1alpha1.Quarantines, "", name):
		data.Cannot = "You may not decide about it: that needs the verb update on quarantines.runtime.portcullis.dev, as the role portcullis-incident-responder has it."
	default:
		if quarantine.Approvable(q) {
			data.Decide = append(data.Decide, decision{"approve-reason", "/quarantine/approve", "Approve", "The responder takes the actions that wait.", "", name})
		}
		if q.Spec.Release == nil {
			data.Decide = append(data.Decide, decision{"release-reason", "/quarantine/release", "Release", "The responder takes back what it did, and removes the isolation last.", "bad", name})
		}
	}
	return v.show("quarantine", "Quarantine of "+q.Spec.Pod.Namespace+"/"+q.Spec.Pod.Name, data)
}

func (v *visit) approve() error { return v.decide("approve", (*quarantine.Store).Approve) }
func (v *visit) release() error { return v.decide("release", (*quarantine.Store).Release) }

// decide says what a person has decided, as portcullis quarantine approve and release do: by the same store, under the name that the API server gives.
func (v *visit) decide(what string, tell func(*quarantine.Store, context.Context, string, v1alpha1.Statement) error) error {
	name, reason := v.r.PostFormValue("name"), strings.TrimSpace(v.r.PostFormValue("reason"))
	if name == "" || !isName(name) || reason == "" {
		v.problem(v.w, http.StatusBadRequest, "Give a reason that others will read.")
		return nil
	}
	who, err := v.caller.Name(v.r.Context())
	if err != nil {
		return err
	}
	err = tell(v.caller.Quarantines(), v.r.Context(), name, v1alpha1.Statement{By: who, Reason: reason})
	switch {
	case errors.Is(err, quarantine.ErrOver), errors.Is(err, quarantine.ErrNothingWaits):
		v.problem(v.w, http.StatusConflict, "Nothing was decided: "+err.Error()+".")
	case kube.Forbidden(err):
		v.problem(v.w, http.StatusForbidden, "Nothing was decided: you may not decide about quarantines. That needs the verbs get and update on quarantines.runtime.portcullis.dev.")
	case kube.NotFound(err):
		v.problem(v.w, http.StatusNotFound, "There is no quarantine "+name+" any more.")
	case err != nil:
		return err
	default:
		v.o.Logger.Info("decided about a quarantine", "decision", what, "quarantine", name, "user", who)
		http.Redirect(v.w, v.r, address("/quarantine", "name", name, "done", what), http.StatusSeeOther)
	}
	return nil
}
