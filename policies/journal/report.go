package journal

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
)

// ReplaySchemaID names the published schema of a report, docs/replay.schema.json.
const ReplaySchemaID = "https://portcullis.dev/schemas/replay-v1.json"

// Report says what would become of the decisions of a journal.
type Report struct {
	Schema string `json:"$schema"`
	// Before is what the decisions are compared with: revisions, or RecordedVerdicts; After what they were judged by.
	Before string `json:"before"`
	After  string `json:"after"`
	// Since and Until are when the first and the last of the decisions was made, nil without any.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Allows is the smallest share of plain admissions that the journal kept, 1 for all: what would be newly denied among
	// those that it left out is not counted.
	Allows float64 `json:"allows"`
	// Counts are those of all decisions.
	Counts
	// Unjudged counts the requests that nobody judged then: shed, or unreadable. They are not among the decisions.
	Unjudged   int               `json:"unjudged"`
	Policies   []PolicyReport    `json:"policies"`
	Namespaces []NamespaceReport `json:"namespaces"`
	// Timeline has the counts of equal spans of time, oldest first; spans without a decision are there, too.
	Timeline []Span `json:"timeline"`
	// Changes are the decisions that change, in the order of the journal, as far as maxChanges; Omitted counts the others.
	Changes []Change `json:"changes"`
	Omitted int      `json:"omitted"`
}

// RecordedVerdicts stands in Report.Before where decisions are compared with what was answered then.
const RecordedVerdicts = "the verdicts of the journal"

// Counts are numbers of decisions. All but Unchanged add up to what changes.
type Counts struct {
	Decisions     int `json:"decisions"`
	NewlyDenied   int `json:"newlyDenied"`
	NewlyAdmitted int `json:"newlyAdmitted"`
	Changed       int `json:"changed"`
	NotReplayable int `json:"notReplayable"`
	Unchanged     int `json:"unchanged"`
}

func (c *Counts) add(effect Effect) {
	c.Decisions++
	switch effect {
	case EffectNewlyDenied:
		c.NewlyDenied++
	case EffectNewlyAdmitted:
		c.NewlyAdmitted++
	case EffectChanged:
		c.Changed++
	case EffectNotReplayable:
		c.NotReplayable++
	default:
		c.Unchanged++
	}
}

// PolicyCounts are numbers of decisions as far as one policy goes.
type PolicyCounts struct {
	// NewDenials are those that it refuses and did not refuse, LiftedDenials the other way round; whether another policy
	// refuses them anyway does not matter.
	NewDenials    int `json:"newDenials"`
	LiftedDenials int `json:"liftedDenials"`
	// Changed are those of which it says something else without that.
	Changed       int `json:"changed"`
	NotReplayable int `json:"notReplayable"`
}

func (c *PolicyCounts) add(change *PolicyChange) {
	switch {
	case change.open():
		c.NotReplayable++
	case change.After.objects() && !change.Before.objects():
		c.NewDenials++
	case change.Before.objects() && !change.After.objects():
		c.LiftedDenials++
	default:
		c.Changed++
	}
}

func (c PolicyCounts) total() int {
	return c.NewDenials + c.LiftedDenials + c.Changed + c.NotReplayable
}

// PolicyReport is one policy that says something else.
type PolicyReport struct {
	// Policy is the policy, with its bundle before it where several judge; "" for what is no single policy's.
	Policy string `json:"policy"`
	PolicyCounts
	// Namespaces are where, those with the most first; "" for objects without one.
	Namespaces []PolicyNamespace `json:"namespaces"`
	// Reasons are why decisions are not replayable, the most frequent first, as far as maxReasons.
	Reasons []Reason `json:"reasons,omitempty"`
	// Samples are some of its decisions, in the order of the journal.
	Samples []Sample `json:"samples"`
}

// PolicyNamespace is what a policy does in a namespace.
type PolicyNamespace struct {
	Namespace string `json:"namespace"`
	PolicyCounts
}

// Reason is a reason with how often it was met.
type Reason struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Sample is a decision of which a policy says something else.
type Sample struct {
	Change int    `json:"change"` // index in Report.Changes, -1 for one that was omitted
	ID     string `json:"id"`
	Object string `json:"object"`
	PolicyChange
}

// NamespaceReport is what becomes of the decisions of a namespace.
type NamespaceReport struct {
	Namespace string `json:"namespace"` // "" for objects without one
	Counts
}

// Span is a span of time.
type Span struct {
	Start time.Time `json:"start"`
	Counts
}

// Change is a decision that changes.
type Change struct {
	Sequence  uint64    `json:"seq"`
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Effect    Effect    `json:"effect"`
	Operation string    `json:"operation"`
	// Object is the resource with the name: "pods/exec web-1".
	Object    string         `json:"object"`
	Namespace string         `json:"namespace,omitempty"`
	User      string         `json:"user"`
	Mutation  bool           `json:"mutation,omitempty"`
	Policies  []PolicyChange `json:"policies"`
}

// Bounds of a report.
const (
	maxChanges = 10_000
	maxReasons = 5
	maxSamples = 5
	// maxSpans is what a chart shows legibly.
	maxSpans = 60
)

// reporter adds up results, in the order of the journal.
type reporter struct {
	report     Report
	policies   map[string]*policyReporter
	namespaces map[string]*Counts
	minutes    map[int64]*Counts
}

type policyReporter struct {
	report     PolicyReport
	namespaces map[string]*PolicyCounts
	reasons    map[string]int
}

func newReporter(o ReplayOptions) *reporter {
	r := &reporter{
		report:   Report{Schema: ReplaySchemaID, Before: RecordedVerdicts, After: revisionsOf(o.After), Allows: 1, Policies: []PolicyReport{}, Namespaces: []NamespaceReport{}, Timeline: []Span{}, Changes: []Change{}},
		policies: map[string]*policyReporter{}, namespaces: map[string]*Counts{}, minutes: map[int64]*Counts{},
	}
	if o.Before != nil {
		r.report.Before = revisionsOf(o.Before)
	}
	return r
}

func (r *reporter) add(result *replayed) {
	line := result.line
	switch {
	case line == nil:
		return
	case line.Kind == KindHeader:
		r.report.Allows = min(r.report.Allows, line.Header.Allows)
		return
	case result.skipped:
		r.report.Unjudged++
		return
	}
	r.span(line.Time)
	namespace := scopeOf(line.Decision)
	r.report.Counts.add(result.effect)
	counted(r.namespaces, namespace).add(result.effect)
	counted(r.minutes, line.Time.Unix()/60).add(result.effect)
	if result.effect == EffectNone {
		return
	}
	at := -1
	if len(r.report.Changes) < maxChanges {
		at = len(r.report.Changes)
		r.report.Changes = append(r.report.Changes, changeOf(result))
	} else {
		r.report.Omitted++
	}
	for n := range result.changes {
		r.policy(line, at, namespace, &result.changes[n])
	}
}

func (r *reporter) span(t time.Time) {
	if r.report.Since == nil || t.Before(*r.report.Since) {
		r.report.Since = &t
	}
	if r.report.Until == nil || t.After(*r.report.Until) {
		r.report.Until = &t
	}
}

func counted[K comparable, V any](all map[K]*V, key K) *V {
	if all[key] == nil {
		all[key] = new(V)
	}
	return all[key]
}

func (r *reporter) policy(line *Line, at int, namespace string, change *PolicyChange) {
	p := r.policies[change.Policy]
	if p == nil {
		p = &policyReporter{report: PolicyReport{Policy: change.Policy, Samples: []Sample{}}, namespaces: map[string]*PolicyCounts{}, reasons: map[string]int{}}
		r.policies[change.Policy] = p
	}
	p.report.add(change)
	counted(p.namespaces, namespace).add(change)
	if change.open() {
		p.reasons[reasonOf(change.Message)]++
	}
	if len(p.report.Samples) < maxSamples {
		p.report.Samples = append(p.report.Samples, Sample{Change: at, ID: line.Decision.ID, Object: objectOf(line.Decision), PolicyChange: *change})
	}
}

// reasonOf is what follows the mark: the rest names the object at hand.
func reasonOf(message string) string {
	if _, reason, ok := strings.Cut(message, notReplayable); ok {
		return reason
	}
	return message
}

// scopeOf is the namespace whose rules applied.
func scopeOf(d *Decision) string {
	request := admission.Request{Resource: d.Request.resource(), Namespace: d.Request.Namespace, Name: d.Request.Name}
	return request.Scope()
}

// objectOf names an object for people.
func objectOf(d *Decision) string {
	resource := d.Request.Resource
	if d.Request.SubResource != "" {
		resource += "/" + d.Request.SubResource
	}
	return strings.TrimSpace(resource + " " + d.Request.Name)
}

func changeOf(result *replayed) Change {
	d := result.line.Decision
	return Change{
		Sequence: result.line.Sequence, ID: d.ID, Time: result.line.Time, Effect: result.effect,
		Operation: d.Request.Operation, Object: objectOf(d), Namespace: scopeOf(d), User: d.Request.User.Username,
		Mutation: d.Mutation, Policies: result.changes,
	}
}

func (r *reporter) finish() *Report {
	for _, p := range r.policies {
		r.report.Policies = append(r.report.Policies, p.finish())
	}
	slices.SortFunc(r.report.Policies, comparePolicies)
	for _, namespace := range slices.Sorted(maps.Keys(r.namespaces)) {
		r.report.Namespaces = append(r.report.Namespaces, NamespaceReport{namespace, *r.namespaces[namespace]})
	}
	slices.SortStableFunc(r.report.Namespaces, func(a, b NamespaceReport) int {
		return cmp.Or(b.NewlyDenied-a.NewlyDenied, b.NewlyAdmitted-a.NewlyAdmitted, b.NotReplayable-a.NotReplayable, b.Changed-a.Changed)
	})
	r.report.Timeline = append(r.report.Timeline, r.timeline()...)
	return &r.report
}

// comparePolicies puts what costs most first.
func comparePolicies(a, b PolicyReport) int {
	return cmp.Or(b.NewDenials-a.NewDenials, b.LiftedDenials-a.LiftedDenials, b.NotReplayable-a.NotReplayable, b.Changed-a.Changed, strings.Compare(a.Policy, b.Policy))
}

func (p *policyReporter) finish() PolicyReport {
	for _, namespace := range slices.Sorted(maps.Keys(p.namespaces)) {
		p.report.Namespaces = append(p.report.Namespaces, PolicyNamespace{namespace, *p.namespaces[namespace]})
	}
	slices.SortStableFunc(p.report.Namespaces, func(a, b PolicyNamespace) int {
		return cmp.Or(b.NewDenials-a.NewDenials, b.total()-a.total())
	})
	for _, reason := range slices.Sorted(maps.Keys(p.reasons)) {
		p.report.Reasons = append(p.report.Reasons, Reason{reason, p.reasons[reason]})
	}
	slices.SortStableFunc(p.report.Reasons, func(a, b Reason) int { return b.Count - a.Count })
	p.report.Reasons = p.report.Reasons[:min(len(p.report.Reasons), maxReasons)]
	return p.report
}

// spanWidths are what a span may be, so that its ends are ones that people name.
var spanWidths = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	7 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour,
}

// timeline folds minutes into at most maxSpans spans.
func (r *reporter) timeline() []Span {
	if r.report.Since == nil {
		return nil
	}
	width := spanWidths[len(spanWidths)-1]
	for _, wide := range spanWidths {
		if r.report.Until.Sub(r.report.Since.Truncate(wide)) < maxSpans*wide {
			width = wide
			break
		}
	}
	first := r.report.Since.UTC().Truncate(width)
	spans := make([]Span, min(int(r.report.Until.Sub(first)/width)+1, maxSpans))
	for n := range spans {
		spans[n].Start = first.Add(time.Duration(n) * width)
	}
	for minute, counts := range r.minutes {
		at := min(max(int(time.Unix(minute*60, 0).Sub(first)/width), 0), len(spans)-1)
		spans[at].Counts.merge(counts)
	}
	return spans
}

func (c *Counts) merge(other *Counts) {
	c.Decisions += other.Decisions
	c.NewlyDenied += other.NewlyDenied
	c.NewlyAdmitted += other.NewlyAdmitted
	c.Changed += other.Changed
	c.NotReplayable += other.NotReplayable
	c.Unchanged += other.Unchanged
}
