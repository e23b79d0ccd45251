// Package timeline puts what is known of one workload into one order: what was decided about it, what its images hold, which secrets it has, what it
// did, and what was done about it. It is pure: what it is given is what the caller may see.
package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/scans"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scan "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secret "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// GateAnnotation is where a pipeline may note what the gate said of a manifest, for people: "admitted 2026-11-29T10:00:00Z run 4711". Whoever may
// write the object may write it; it decides nothing.
const GateAnnotation = "policy.portcullis.dev/gate"

// maxEvents bounds a timeline; the oldest go first.
const maxEvents = 500

// Source is where an event comes from.
type Source string

// The sources.
const (
	SourceCluster    Source = "cluster"
	SourceGate       Source = "gate"
	SourceAdmission  Source = "admission"
	SourceImage      Source = "image"
	SourceSecret     Source = "secret"
	SourceRuntime    Source = "runtime"
	SourceQuarantine Source = "quarantine"
)

// Tone is how an event is shown; in words, too.
type Tone string

// The tones.
const (
	ToneGood Tone = "good"
	ToneNote Tone = "note"
	ToneWarn Tone = "warn"
	ToneBad  Tone = "bad"
)

// Event is one entry.
type Event struct {
	Time   time.Time
	Source Source
	Tone   Tone
	Title  string
	Text   string
	// Link is a page of the console, "" for none.
	Link string
}

// Facts are what is known.
type Facts struct {
	Kind      string
	Meta      metav1.ObjectMeta
	Pods      []corev1.Pod
	Scans     []scan.ImageScan
	Secrets   []secret.VaultSecret
	Incidents []v1alpha1.Incident
	// Quarantines of pods of the workload.
	Quarantines []v1alpha1.Quarantine
	Decisions   []decisions.Entry
	Events      []corev1.Event
	// QuarantineLink is the page of one.
	QuarantineLink func(name string) string
}

// Of is the timeline, the oldest first.
func Of(f Facts) []Event {
	t := &line{}
	t.workload(&f)
	for n := range f.Pods {
		t.pod(&f.Pods[n])
	}
	for n := range f.Scans {
		t.scan(&f.Scans[n])
	}
	for n := range f.Secrets {
		t.secret(&f.Secrets[n])
	}
	for n := range f.Incidents {
		t.incident(&f.Incidents[n])
	}
	for n := range f.Quarantines {
		t.quarantine(&f.Quarantines[n], f.QuarantineLink)
	}
	for n := range f.Decisions {
		t.decision(&f.Decisions[n])
	}
	for n := range f.Events {
		t.event(&f.Events[n])
	}
	t.sort()
	if extra := len(t.events) - maxEvents; extra > 0 {
		t.events = t.events[extra:]
	}
	return t.events
}

// line collects events.
type line struct{ events []Event }

func (t *line) sort() {
	slices.SortStableFunc(t.events, func(a, b Event) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(string(a.Source), string(b.Source)), strings.Compare(a.Title, b.Title))
	})
}

func (t *line) add(at time.Time, source Source, tone Tone, title, text string) *Event {
	if at.IsZero() {
		return &Event{}
	}
	t.events = append(t.events, Event{Time: at.UTC(), Source: source, Tone: tone, Title: title, Text: text})
	return &t.events[len(t.events)-1]
}

func (t *line) workload(f *Facts) {
	t.add(f.Meta.CreationTimestamp.Time, SourceCluster, ToneNote, f.Kind+" created", f.Meta.Name)
	if said := f.Meta.Annotations[GateAnnotation]; said != "" {
		at := f.Meta.CreationTimestamp.Time
		for word := range strings.FieldsSeq(said) {
			if parsed, err := time.Parse(time.RFC3339, word); err == nil {
				at = parsed
				break
			}
		}
		t.add(at, SourceGate, ToneNote, "The gate, as an annotation says", said)
	}
}

func (t *line) pod(pod *corev1.Pod) {
	t.add(pod.CreationTimestamp.Time, SourceCluster, ToneNote, "Pod created", pod.Name)
	if pod.DeletionTimestamp != nil {
		t.add(pod.DeletionTimestamp.Time, SourceCluster, ToneNote, "Pod being deleted", pod.Name)
	}
}

func (t *line) scan(s *scan.ImageScan) {
	image := s.Spec.Digest[:min(len(s.Spec.Digest), len("sha256:")+12)]
	if len(s.Spec.Repositories) > 0 {
		image = s.Spec.Repositories[0] + "@" + image
	}
	t.add(s.Spec.RequestedAt.Time, SourceImage, ToneNote, "Scan asked for", image+by(s.Spec.RequestedBy))
	if s.Status.FinishedAt == nil {
		return
	}
	if s.Status.Phase == scan.PhaseFailed {
		t.add(s.Status.FinishedAt.Time, SourceImage, ToneWarn, "Scan failed", image+": "+strings.Join(s.Status.Reasons, "; "))
		return
	}
	tone, text := ToneNote, image
	if summary, err := scans.Read(s.Status.Statement); err == nil {
		text += ": " + Counts(summary)
		tone = ToneGood
		if summary.BySeverity["critical"] > 0 {
			tone = ToneBad
		} else if summary.BySeverity["high"] > 0 {
			tone = ToneWarn
		}
	} else if len(s.Status.Statement) == 0 {
		text += ": the signed scan is attached in the registry"
	}
	t.add(s.Status.FinishedAt.Time, SourceImage, tone, "Scan finished: "+cmp.Or(s.Status.State, "state unknown"), text)
}

// Counts says what a scan found.
func Counts(s *scans.Summary) string {
	if s.Total == 0 {
		return "no known vulnerability"
	}
	var parts []string
	for _, severity := range scans.Severities {
		if count := s.BySeverity[severity]; count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count, severity))
		}
	}
	return fmt.Sprintf("%d vulnerabilities (%s), %d with a fix", s.Total, strings.Join(parts, ", "), s.Fixable)
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func (t *line) secret(v *secret.VaultSecret) {
	name := v.Name
	if v.Status.Destination != nil {
		name = v.Status.Destination.Name + " (VaultSecret " + v.Name + ")"
	}
	if v.Status.LastSync != nil {
		text := name
		if v.Status.Version != "" {
			text += ", version " + v.Status.Version
		}
		t.add(v.Status.LastSync.Time, SourceSecret, ToneGood, "Secret synced from Vault", text)
	}
	if lease := v.Status.Lease; lease != nil {
		t.add(lease.Issued.Time, SourceSecret, ToneNote, "Credentials issued", name+", until "+lease.Expires.UTC().Format(time.RFC3339))
	}
	for _, condition := range v.Status.Conditions {
		if condition.Status == metav1.ConditionFalse {
			t.add(condition.LastTransitionTime.Time, SourceSecret, ToneWarn, "Secret not "+condition.Type+": "+condition.Reason, name+": "+condition.Message)
		}
	}
	for _, restart := range v.Status.Restarts {
		if restart.Since != nil {
			t.add(restart.Since.Time, SourceSecret, ToneNote, "Restart for a changed secret: "+restart.State, restart.Kind+" "+restart.Name+" for "+name+" "+restart.Message)
		}
	}
}

func (t *line) incident(i *v1alpha1.Incident) {
	tone := ToneWarn
	if i.Spec.Effect == "deny" {
		tone = ToneBad
	}
	t.add(i.CreationTimestamp.Time, SourceRuntime, tone, "Incident: admission remembers to "+i.Spec.Effect, i.Spec.Reason+" ("+i.Spec.Policy+"), until "+i.Spec.Expires.UTC().Format(time.RFC3339))
}

func (t *line) quarantine(q *v1alpha1.Quarantine, link func(string) string) {
	linked := func(e *Event) {
		if link != nil {
			e.Link = link(q.Name)
		}
	}
	for n := range q.Spec.Triggers {
		trigger := &q.Spec.Triggers[n]
		linked(t.add(trigger.Time.Time, SourceRuntime, ToneBad, "Falco: "+trigger.Rule, cmp.Or(trigger.Output, trigger.Message)))
	}
	pod := q.Spec.Pod.Name
	linked(t.add(q.CreationTimestamp.Time, SourceQuarantine, ToneWarn, "Quarantine planned", pod+", mode "+string(q.Spec.Mode)))
	if q.Spec.Approval != nil {
		linked(t.add(q.Spec.Approval.Time.Time, SourceQuarantine, ToneNote, "Approved by "+q.Spec.Approval.By, q.Spec.Approval.Reason))
	}
	for n := range q.Status.Steps {
		step := &q.Status.Steps[n]
		at := step.Finished
		if at == nil {
			at = step.Started
		}
		if at == nil {
			continue
		}
		tone := ToneNote
		if step.State == v1alpha1.StepFailed {
			tone = ToneBad
		}
		linked(t.add(at.Time, SourceQuarantine, tone, "Step "+step.Name+": "+string(step.State), step.Result))
	}
	if q.Status.Contained != nil {
		linked(t.add(q.Status.Contained.Time, SourceQuarantine, ToneGood, "Contained: "+cmp.Or(q.Status.Verdict, "no verdict"), q.Status.Reason))
	}
	for _, revoked := range q.Status.Revoked {
		linked(t.add(revoked.Time.Time, SourceSecret, ToneNote, "Secret of the quarantined pod: "+revoked.State, revoked.Namespace+"/"+revoked.Name+" "+revoked.Message))
	}
	if q.Spec.Release != nil {
		linked(t.add(q.Spec.Release.Time.Time, SourceQuarantine, ToneNote, "Released by "+q.Spec.Release.By, q.Spec.Release.Reason))
	}
	if q.Status.Ended != nil {
		linked(t.add(q.Status.Ended.Time, SourceQuarantine, ToneNote, "Quarantine over: "+string(q.Status.Phase), q.Status.Reason))
	}
}

func (t *line) decision(d *decisions.Entry) {
	tone := ToneNote
	switch d.Verdict {
	case "denied", "fault", "shed", "rejected":
		tone = ToneBad
	case "admitted":
		tone = ToneGood
	}
	var said []string
	for _, reason := range d.Reasons {
		said = append(said, reason.Effect+" "+reason.Policy+": "+reason.Message)
	}
	if len(said) > 0 && tone == ToneGood {
		tone = ToneWarn
	}
	t.add(d.Time, SourceAdmission, tone, d.Operation+" "+d.Kind+" "+d.Name+" "+d.Verdict, strings.Join(said, "\n"))
}

func (t *line) event(e *corev1.Event) {
	at := e.LastTimestamp.Time
	if at.IsZero() && e.Series != nil {
		at = e.Series.LastObservedTime.Time
	}
	if at.IsZero() {
		at = e.EventTime.Time
	}
	if at.IsZero() {
		at = e.CreationTimestamp.Time
	}
	tone := ToneNote
	if e.Type == corev1.EventTypeWarning {
		tone = ToneWarn
	}
	text := e.Message
	if e.Count > 1 {
		text += fmt.Sprintf(" (%d times)", e.Count)
	}
	t.add(at, SourceCluster, tone, "Event "+e.Reason+": "+e.InvolvedObject.Kind+" "+e.InvolvedObject.Name, text)
}

// OfQuarantine is what happened in one, the oldest first.
func OfQuarantine(q *v1alpha1.Quarantine) []Event {
	t := &line{}
	t.quarantine(q, nil)
	t.sort()
	return t.events
}
