package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	policy "github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// expiringSoon is when an exception counts as expiring, as in the webhook's metrics.
const expiringSoon = 7 * 24 * time.Hour

type exceptionsData struct {
	Problem string
	Rows    []exceptionRow
	Chart   *chart
	Pager   pager
}

type exceptionRow struct {
	Namespace, Name, Policy, Bundle, For, State, Tone, Expires, Owner, Creator, Reason string
	left                                                                               time.Duration
}

// expiryOf is when an exception ends; one whose date nobody understands is over, as for admission.
func expiryOf(e *policy.PolicyException) time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, e.Spec.Expires); err == nil {
			return at
		}
	}
	return time.Time{}
}

func (v *visit) exceptions() error {
	list, err := kube.List[policy.PolicyException](v.r.Context(), v.caller, policy.Exceptions, kube.Query{Namespace: v.namespace})
	if kube.LoggedOut(err) {
		return err
	}
	now := v.o.Now()
	rows := make([]exceptionRow, 0, len(list.Items))
	for n := range list.Items {
		rows = append(rows, newExceptionRow(&list.Items[n], now))
	}
	slices.SortFunc(rows, func(a, b exceptionRow) int {
		if a.left != b.left {
			return int(min(max(a.left-b.left, -1), 1))
		}
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	data := exceptionsData{Problem: text(err), Chart: ageing(rows)}
	data.Rows, data.Pager = cutPage(rows, "/exceptions", v.query, list.More)
	return v.show("exceptions", "Exceptions", data)
}

func newExceptionRow(e *policy.PolicyException, now time.Time) exceptionRow {
	at := expiryOf(e)
	row := exceptionRow{
		Namespace: e.Namespace, Name: e.Name, Policy: e.Spec.Policy, Bundle: e.Spec.Bundle, Expires: e.Spec.Expires, Owner: e.Spec.Owner, Reason: e.Spec.Reason,
		Creator: e.Annotations[policy.CreatorAnnotation], left: at.Sub(now), For: selected(&e.Spec.Selector),
	}
	switch {
	case at.IsZero():
		row.State, row.Tone, row.left = "not a date: it does not count", "bad", 0
	case row.left <= 0:
		row.State, row.Tone = "over since "+strings.TrimSuffix(ago(now, at), " ago"), "bad"
	case row.left <= expiringSoon:
		row.State, row.Tone = ago(now, at), "warn"
	default:
		row.State, row.Tone = ago(now, at), "good"
	}
	return row
}

func selected(s *policy.ExceptionSelector) string {
	var parts []string
	for _, one := range []struct {
		what  string
		globs []string
	}{{"namespaces", s.Namespaces}, {"kinds", s.Kinds}, {"names", s.Names}, {"containers", s.Containers}} {
		if len(one.globs) > 0 {
			parts = append(parts, one.what+" "+strings.Join(one.globs, ", "))
		}
	}
	if s.ClusterScoped {
		parts = append(parts, "objects without a namespace")
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, "; ")
}

// ageing is a chart of the time that exceptions have left, the shortest first.
func ageing(rows []exceptionRow) *chart {
	const day = 24 * time.Hour
	if len(rows) == 0 {
		return nil
	}
	shown := rows[:min(len(rows), 2*maxBars)]
	c := &chart{Title: "Days until exceptions end", Of: "Exception"}
	if len(shown) < len(rows) {
		c.Title += fmt.Sprintf(", the first %d of %d", len(shown), len(rows))
	}
	most := int64(1)
	for n := range shown {
		most = max(most, int64(shown[n].left/day))
	}
	for n := range shown {
		row := &shown[n]
		days := max(int64(row.left/day), 0)
		label := fmt.Sprintf("%d d", days)
		if row.left <= 0 {
			label = "over"
		}
		c.Rows = append(c.Rows, newBar(row.Namespace+"/"+row.Name, label, most, amount{row.Tone, max(days, 1)}))
	}
	return c
}
