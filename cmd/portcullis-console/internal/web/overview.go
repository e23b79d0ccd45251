package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	policy "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scan "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secret "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

type overviewData struct {
	Tiles                            []tile
	Broken                           []broken
	Columns                          *columns
	Denying, Posture                 *chart
	DecisionsProblem, PostureProblem string
	Problems                         []string
}

type tile struct{ Value, Label, Note, Tone, Link string }

// broken is something that needs somebody. Tone is bad or warn.
type broken struct{ Tone, Title, Text, Link string }

// maxBroken bounds what is named; the pages have all.
const maxBroken = 50

// report is the part that is read of a PolicyReport and of a Report.
type report struct {
	metav1.ObjectMeta `json:"metadata"`
	Summary           struct {
		Pass  int64 `json:"pass"`
		Fail  int64 `json:"fail"`
		Warn  int64 `json:"warn"`
		Error int64 `json:"error"`
		Skip  int64 `json:"skip"`
	} `json:"summary"`
}

func (v *visit) overview() error {
	var o overviewGathered
	ctx := v.r.Context()
	if err := together(
		func() (err error) {
			o.decided, _, err = v.o.Live.Recent(ctx, v.caller, v.namespace, recentLimit)
			o.decidedErr = err
			return err
		},
		func() error { return fill(&o.bundles, v, kube.Query{}, policy.Bundles) },
		func() error { return fill(&o.replicas, v, kube.Query{}, policy.Replicas) },
		func() error { return fill(&o.glasses, v, kube.Query{}, policy.BreakGlasses) },
		func() error { return fill(&o.quarantines, v, kube.Query{}, v1alpha1.Quarantines) },
		func() error { return fill(&o.scans, v, kube.Query{}, scan.Resource) },
		func() error { return fill(&o.secrets, v, kube.Query{Namespace: v.namespace}, secret.VaultSecrets) },
		func() error { return fill(&o.exceptions, v, kube.Query{Namespace: v.namespace}, policy.Exceptions) },
		func() error {
			err := fill(&o.reports, v, kube.Query{Namespace: v.namespace}, openReports)
			if kube.NotInstalled(o.reports.err) {
				return fill(&o.reports, v, kube.Query{Namespace: v.namespace}, policyReports)
			}
			return err
		},
	); err != nil {
		return err
	}
	return v.show("overview", "Overview", o.data(v.namespace, v.o.Now()))
}

// read is one list, or why there is none.
type read[T any] struct {
	kube.Listed[T]
	err error
}

// fill reads a list; only that nobody is logged in is returned.
func fill[T any](into *read[T], v *visit, query kube.Query, resource schema.GroupVersionResource) error {
	into.Listed, into.err = kube.List[T](v.r.Context(), v.caller, resource, query)
	return into.err
}

type overviewGathered struct {
	decided     []decisions.Entry
	decidedErr  error
	bundles     read[policy.PolicyBundle]
	replicas    read[policy.PolicyReplica]
	glasses     read[policy.BreakGlass]
	quarantines read[v1alpha1.Quarantine]
	scans       read[scan.ImageScan]
	secrets     read[secret.VaultSecret]
	exceptions  read[policy.PolicyException]
	reports     read[report]
}

// data is what the page shows; it asks nobody.
func (o *overviewGathered) data(namespace string, now time.Time) overviewData {
	var d overviewData
	if namespace != "" {
		o.quarantines.Items = slices.DeleteFunc(o.quarantines.Items, func(q v1alpha1.Quarantine) bool { return q.Spec.Pod.Namespace != namespace })
	}
	o.decisionsOf(&d, namespace, now)
	o.quarantinesOf(&d, namespace)
	o.exceptionsOf(&d, namespace, now)
	o.bundlesOf(&d, now)
	o.scansOf(&d)
	o.secretsOf(&d)
	o.postureOf(&d, namespace)
	for n := range o.glasses.Items {
		if glass := &o.glasses.Items[n]; now.Before(glass.Spec.Until.Time) {
			d.broken("bad", "Break-glass is open until "+glass.Spec.Until.UTC().Format("15:04 UTC"), "opened by "+glass.Spec.OpenedBy+": "+glass.Spec.Reason, "")
		}
	}
	slices.SortStableFunc(d.Broken, func(a, b broken) int { return cmp.Compare(a.Tone, b.Tone) }) // bad, warn
	if extra := len(d.Broken) - maxBroken; extra > 0 {
		d.Broken = append(d.Broken[:maxBroken], broken{"warn", fmt.Sprintf("and %d more", extra), "", ""})
	}
	for _, err := range []error{o.quarantines.err, o.exceptions.err, o.bundles.err, o.scans.err, o.secrets.err} {
		if err != nil {
			d.Problems = append(d.Problems, err.Error())
		}
	}
	return d
}

func (d *overviewData) broken(tone, title, text, link string) {
	d.Broken = append(d.Broken, broken{tone, title, text, link})
}

func (o *overviewGathered) decisionsOf(d *overviewData, namespace string, now time.Time) {
	if o.decidedErr != nil {
		d.DecisionsProblem = o.decidedErr.Error()
		return
	}
	denied, byPolicy := 0, map[string]int64{}
	for n := range o.decided {
		if o.decided[n].Verdict == "denied" {
			denied++
		}
		for _, reason := range o.decided[n].Reasons {
			if reason.Effect == "deny" {
				byPolicy[reason.Policy]++
			}
		}
	}
	d.Tiles = append(d.Tiles, tile{strconv.Itoa(denied), "denied", fmt.Sprintf("of the last %d decisions", len(o.decided)), "note", address("/decisions", "namespace", namespace, "verdict", "denied")})
	d.Columns = overTime(o.decided, now)
	if len(byPolicy) > 0 {
		d.Denying = top("Policies that deny most", "Policy", byPolicy)
	}
}

// maxBars is how many bars a chart has.
const maxBars = 12

// top is a chart of the largest counts.
func top(title, of string, counts map[string]int64) *chart {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	names = names[:min(len(names), maxBars)]
	c := &chart{Title: title, Of: of}
	for _, name := range names {
		c.Rows = append(c.Rows, newBar(name, strconv.FormatInt(counts[name], 10), counts[names[0]], amount{"bad", counts[name]}))
	}
	return c
}

func (o *overviewGathered) quarantinesOf(d *overviewData, namespace string) {
	if o.quarantines.err != nil {
		return
	}
	inForce, waiting, tone := 0, 0, "good"
	for n := range o.quarantines.Items {
		q := &o.quarantines.Items[n]
		page := address("/quarantine", "name", q.Name, "namespace", namespace)
		pod := q.Spec.Pod.Namespace + "/" + q.Spec.Pod.Name
		switch {
		case q.Status.Phase == v1alpha1.PhaseAwaitingApproval:
			waiting++
			d.broken("warn", "Quarantine of "+pod+" waits for an approval", triggerOf(q), page)
		case q.Status.Phase.InForce():
			inForce++
			if q.Status.Verdict == "Residual" || q.Status.Verdict == "Unenforceable" {
				d.broken("bad", "Quarantine of "+pod+" is not isolated: "+q.Status.Verdict, triggerOf(q), page)
			}
		}
	}
	if waiting > 0 || inForce > 0 {
		tone = "warn"
	}
	d.Tiles = append(d.Tiles, tile{strconv.Itoa(inForce), "quarantined", fmt.Sprintf("%d wait for an approval", waiting), tone, address("/quarantines", "namespace", namespace)})
}

func triggerOf(q *v1alpha1.Quarantine) string {
	if len(q.Spec.Triggers) == 0 {
		return ""
	}
	return q.Spec.Triggers[0].Message
}

func (o *overviewGathered) exceptionsOf(d *overviewData, namespace string, now time.Time) {
	if o.exceptions.err != nil {
		return
	}
	soon, expired := 0, 0
	for n := range o.exceptions.Items {
		e := &o.exceptions.Items[n]
		switch left := expiryOf(e).Sub(now); {
		case left <= 0:
			expired++
		case left <= expiringSoon:
			soon++
			d.broken("warn", "Exception "+e.Namespace+"/"+e.Name+" expires "+ago(now, expiryOf(e)), e.Spec.Policy+", owner "+e.Spec.Owner, address("/exceptions", "namespace", namespace))
		}
	}
	tone := "good"
	if soon+expired > 0 {
		tone = "warn"
	}
	d.Tiles = append(d.Tiles, tile{strconv.Itoa(len(o.exceptions.Items)), "exceptions", fmt.Sprintf("%d end within 7 days, %d are over", soon, expired), tone, address("/exceptions", "namespace", namespace)})
}

// replicaSilent is after what time a replica of the webhook that does not report is one to look at.
const replicaSilent = 5 * time.Minute

func (o *overviewGathered) bundlesOf(d *overviewData, now time.Time) {
	for n := range o.replicas.Items {
		r := &o.replicas.Items[n]
		for _, bundle := range r.Status.Bundles {
			if bundle.Error != "" && now.Sub(r.Status.Heartbeat.Time) < replicaSilent {
				d.broken("bad", "Replica "+r.Name+" does not have "+bundle.Name, bundle.Error, "/policies")
			}
		}
	}
	if o.bundles.err != nil {
		return
	}
	ready := 0
	for n := range o.bundles.Items {
		b := &o.bundles.Items[n]
		good := true
		for _, condition := range b.Status.Conditions {
			if condition.Status == metav1.ConditionFalse {
				good = false
				d.broken("bad", "Bundle "+b.Name+" is not "+condition.Type, condition.Message, "/policies")
			}
		}
		if c := b.Status.Comparison; c != nil && c.NewDenials > 0 {
			d.broken("warn", fmt.Sprintf("The candidate of bundle %s denies %d requests that are admitted now", b.Name, c.NewDenials), "", "/policies")
		}
		if good {
			ready++
		}
	}
	tone := "good"
	if ready < len(o.bundles.Items) {
		tone = "bad"
	}
	d.Tiles = append(d.Tiles, tile{fmt.Sprintf("%d/%d", ready, len(o.bundles.Items)), "bundles in order", "fetched, accepted and ready", tone, "/policies"})
}

func (o *overviewGathered) scansOf(d *overviewData) {
	if o.scans.err != nil {
		return
	}
	failed := 0
	for n := range o.scans.Items {
		if o.scans.Items[n].Status.Phase == scan.PhaseFailed {
			failed++
		}
	}
	tone := "good"
	if failed > 0 {
		tone = "warn"
		d.broken("warn", fmt.Sprintf("%d scans of images failed", failed), "they are tried again", "/images")
	}
	d.Tiles = append(d.Tiles, tile{strconv.Itoa(len(o.scans.Items)), "images scanned", fmt.Sprintf("%d failed", failed), tone, "/images"})
}

func (o *overviewGathered) secretsOf(d *overviewData) {
	for n := range o.secrets.Items {
		s := &o.secrets.Items[n]
		if s.Status.Failures > 0 {
			message := ""
			for _, condition := range s.Status.Conditions {
				if condition.Status == metav1.ConditionFalse {
					message = condition.Message
				}
			}
			d.broken("warn", fmt.Sprintf("VaultSecret %s/%s has failed %d times in a row", s.Namespace, s.Name, s.Status.Failures), message, "")
		}
	}
}

func (o *overviewGathered) postureOf(d *overviewData, namespace string) {
	if o.reports.err != nil {
		d.PostureProblem = o.reports.err.Error()
		if kube.NotInstalled(o.reports.err) {
			d.PostureProblem = "This cluster has no reports: the controller's audit writes PolicyReports or OpenReports where their definitions are installed."
		}
		return
	}
	type counts struct{ pass, warn, fail, other int64 }
	by := map[string]*counts{}
	var failing, most int64
	for n := range o.reports.Items {
		r := &o.reports.Items[n]
		if by[r.Namespace] == nil {
			by[r.Namespace] = &counts{}
		}
		c := by[r.Namespace]
		c.pass, c.warn, c.fail, c.other = c.pass+max(r.Summary.Pass, 0), c.warn+max(r.Summary.Warn, 0), c.fail+max(r.Summary.Fail, 0), c.other+max(r.Summary.Error, 0)+max(r.Summary.Skip, 0)
	}
	for _, c := range by {
		failing += c.fail
		most = max(most, c.pass+c.warn+c.fail+c.other)
	}
	names := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		return cmp.Or(cmp.Compare(by[b].fail, by[a].fail), cmp.Compare(by[b].warn, by[a].warn), cmp.Compare(a, b))
	})
	left := len(names) - maxBars
	names = names[:min(len(names), maxBars)]
	if len(names) == 0 {
		d.PostureProblem = "There is no report yet that you may see."
		return
	}
	d.Posture = &chart{Title: "Results of the audit by namespace, those that fail most first", Of: "Namespace"}
	for _, name := range names {
		c := by[name]
		d.Posture.Rows = append(d.Posture.Rows, newBar(name, fmt.Sprintf("%d fail, %d warn, %d pass", c.fail, c.warn, c.pass), most, amount{"bad", c.fail}, amount{"warn", c.warn}, amount{"good", c.pass}, amount{"note", c.other}))
	}
	if left > 0 {
		d.Posture.Title += fmt.Sprintf(" (%d more namespaces are not shown)", left)
	}
	tone := "good"
	if failing > 0 {
		tone = "bad"
	}
	d.Tiles = append(d.Tiles, tile{strconv.FormatInt(failing, 10), "findings that fail", "in what runs now", tone, address("/", "namespace", namespace) + "#posture"})
}
