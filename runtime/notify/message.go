package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/policies/redaction"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Kind is what has happened.
type Kind string

// The kinds. Those about one quarantine come in about this order.
const (
	KindAudited          Kind = "Audited"          // what would be done was written down
	KindRefused          Kind = "Refused"          // over a limit, or protected: nothing was done
	KindAwaitingApproval Kind = "AwaitingApproval" // a person has to decide
	KindContaining       Kind = "Containing"       // actions are being taken
	KindContained        Kind = "Contained"        // all were taken
	KindTold             Kind = "Told"             // a policy asks to tell people (action notify)
	KindStepFailed       Kind = "StepFailed"       // an action was given up
	KindVerdictChanged   Kind = "VerdictChanged"   // the proof has another result than before
	KindReverted         Kind = "Reverted"         // somebody undoes what was done
	KindReleased         Kind = "Released"         // it is over
	KindUnresolved       Kind = "Unresolved"       // the pod of an event was not found
	KindBreakerOpened    Kind = "BreakerOpened"    // more is asked for than can be true: everything is only recorded for a while
	KindBreakerClosed    Kind = "BreakerClosed"    // actions are taken again
	KindEventsLost       Kind = "EventsLost"       // Falco, or what receives its events, has lost some
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{
		KindAudited, KindRefused, KindAwaitingApproval, KindContaining, KindContained, KindTold, KindStepFailed, KindVerdictChanged, KindReverted, KindReleased,
		KindUnresolved, KindBreakerOpened, KindBreakerClosed, KindEventsLost,
	}
}

// title says a kind in words, about what is named behind them.
func (k Kind) title() string {
	switch k {
	case KindAudited:
		return "Would be quarantined (audit)"
	case KindRefused:
		return "Not quarantined"
	case KindAwaitingApproval:
		return "Quarantine awaits approval"
	case KindContaining:
		return "Quarantine begins"
	case KindContained:
		return "Quarantined"
	case KindTold:
		return "Runtime alert"
	case KindStepFailed:
		return "A step of a quarantine failed"
	case KindVerdictChanged:
		return "The isolation has changed"
	case KindReverted:
		return "Somebody undoes a quarantine"
	case KindReleased:
		return "Quarantine is over"
	case KindUnresolved:
		return "An event's pod was not found"
	case KindBreakerOpened:
		return "Circuit breaker open: responses are only recorded"
	case KindBreakerClosed:
		return "Circuit breaker closed: responses act again"
	case KindEventsLost:
		return "Runtime events were lost"
	}
	return string(k)
}

// good says that it is no reason to worry: it ends or completes something.
func (k Kind) good() bool { return k == KindReleased || k == KindBreakerClosed || k == KindAudited }

// Severity is how grave something is: critical, high, medium or low, as of policies. The zero value counts as critical, so that what
// nobody has judged is not filtered away.
type Severity string

// The severities, the gravest first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// Severities are all of them, the gravest first.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low} }

// rank is 0 for the gravest, and for what is no severity.
func (s Severity) rank() int { return max(0, slices.Index(Severities(), s)) }

// normal is the severity that a text counts as.
func (s Severity) normal() Severity { return Severities()[s.rank()] }

// Pod is whom a message is about.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	Node      string `json:"node,omitempty"`
}

// Object is another object that it is about: the owner, the Quarantine.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// Details are what a message says. Kind is required; what else is empty is left out.
type Details struct {
	Kind Kind `json:"kind"`
	// Time is when it happened. Tell the same thing again with the same time: its ID follows from what it says.
	Time     time.Time `json:"time"`
	Severity Severity  `json:"severity"`
	// Reason says it in a sentence or two, for people.
	Reason string `json:"reason,omitempty"`
	// Next is what they can do.
	Next string `json:"next,omitempty"`

	Quarantine *Object `json:"quarantine,omitempty"`
	Pod        *Pod    `json:"pod,omitempty"`
	Owner      *Object `json:"owner,omitempty"`
	// Policies are the ids of those that asked; Rule, Priority and Output are those of the event.
	Policies []string `json:"policies,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	Priority string   `json:"priority,omitempty"`
	Output   string   `json:"output,omitempty"`
	// Actions are those of the plan, Verdict and Residual the proof.
	Actions  []string `json:"actions,omitempty"`
	Verdict  string   `json:"verdict,omitempty"`
	Residual []string `json:"residual,omitempty"`
	// Until is when it ends by itself: a quarantine, the pause of the circuit breaker.
	Until time.Time `json:"until,omitzero"`
}

// Limits of what a message holds: it is for people, and receivers refuse what is large.
const (
	maxText  = 1500 // runes of a text
	maxList  = 20   // items of a list
	maxWord  = 253  // runes of a name: the longest that objects may have
	ellipsis = "…"
)

// Message is something to tell. It can only be made by [NewMessage]; the zero value says nothing and is not sent.
type Message struct {
	details Details
	id      string
}

// NewMessage redacts and bounds what there is to say.
func NewMessage(d Details) Message {
	d.Severity = d.Severity.normal()
	for _, text := range []*string{&d.Reason, &d.Next, &d.Output} {
		*text = safe(*text, maxText)
	}
	for _, word := range []*string{&d.Rule, &d.Priority, &d.Verdict} {
		*word = safe(*word, maxWord)
	}
	d.Policies, d.Actions, d.Residual = cleanList(d.Policies), cleanList(d.Actions), cleanList(d.Residual)
	if d.Pod != nil {
		pod := *d.Pod
		for _, word := range []*string{&pod.Namespace, &pod.Name, &pod.UID, &pod.Node} {
			*word = cut(clean(*word), maxWord)
		}
		d.Pod = &pod
	}
	d.Quarantine, d.Owner = d.Quarantine.clean(), d.Owner.clean()
	m := Message{details: d}
	written, err := json.Marshal(d)
	if err != nil {
		written = fmt.Appendf(nil, "%+v", d) // a time out of range; the message is told all the same
	}
	sum := sha256.Sum256(written)
	m.id = hex.EncodeToString(sum[:16])
	return m
}

func (o *Object) clean() *Object {
	if o == nil {
		return nil
	}
	cleaned := *o
	for _, word := range []*string{&cleaned.APIVersion, &cleaned.Kind, &cleaned.Namespace, &cleaned.Name, &cleaned.UID} {
		*word = cut(clean(*word), maxWord)
	}
	return &cleaned
}

func cleanList(list []string) []string {
	var cleaned []string
	for n, text := range list {
		if n == maxList {
			return append(cleaned, fmt.Sprintf("%s and %d more", ellipsis, len(list)-n))
		}
		cleaned = append(cleaned, safe(text, maxText))
	}
	return cleaned
}

// safe is a text without control characters and credentials, cut. It is cleaned first: what does not show could hide the
// name of a credential; and cut last: half a credential is not recognised.
func safe(text string, most int) string {
	return cut((&redaction.Redactor{}).Text(clean(text)), most)
}

// clean makes one line of valid UTF-8 of a text, without control characters and what hides text or turns it round.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}

func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + ellipsis
	}
	return text
}

// Details are what it says, redacted. The lists are shared: nobody may change them.
func (m Message) Details() Details { return m.details }

// ID is the same for the same message, whoever makes it: 32 hexadecimal digits.
func (m Message) ID() string { return m.id }

// Page says that a person has to look now.
func (m Message) Page() bool {
	switch m.details.Kind {
	case KindBreakerOpened:
		return true
	case KindAwaitingApproval, KindStepFailed, KindVerdictChanged, KindReverted, KindEventsLost:
		return m.details.Severity == Critical
	}
	return false
}

// subject names what it is about: messages with one subject reach a receiver in their order.
func (m Message) subject() string {
	switch d := m.details; {
	case d.Quarantine != nil:
		return "quarantines/" + d.Quarantine.Name
	case d.Pod != nil:
		return "pods/" + d.Pod.Namespace + "/" + d.Pod.Name
	case d.Kind == KindBreakerOpened, d.Kind == KindBreakerClosed:
		return "breaker"
	default:
		return "responder"
	}
}

// Title is one line: "Quarantined: pod shop/web-7d9f: Isolated".
func (m Message) Title() string {
	d, title := m.details, m.details.Kind.title()
	switch {
	case d.Pod != nil:
		title += ": pod " + d.Pod.Namespace + "/" + d.Pod.Name
	case d.Quarantine != nil:
		title += ": " + d.Quarantine.Name
	}
	if d.Verdict != "" {
		title += ": " + d.Verdict
	}
	return title
}

// fact is a named part of a message.
type fact struct{ name, value string }

// facts are the parts that have something to say, for receivers that show them one by one.
func (m Message) facts() []fact {
	d := m.details
	var all []fact
	add := func(name, value string) {
		if value != "" {
			all = append(all, fact{name, value})
		}
	}
	add("severity", string(d.Severity))
	if d.Pod != nil {
		add("pod", d.Pod.Namespace+"/"+d.Pod.Name)
		add("node", d.Pod.Node)
	}
	if d.Owner != nil {
		add("owner", d.Owner.Kind+" "+d.Owner.Name)
	}
	add("policy", strings.Join(d.Policies, ", "))
	add("rule", d.Rule)
	add("priority", d.Priority)
	add("output", d.Output)
	add("actions", strings.Join(d.Actions, ", "))
	add("verdict", d.Verdict)
	add("what remains", strings.Join(d.Residual, "; "))
	if d.Quarantine != nil {
		add("quarantine", d.Quarantine.Name)
	}
	if !d.Until.IsZero() {
		add("until", d.Until.UTC().Format(time.RFC3339))
	}
	return all
}

// About makes a message about a quarantine; reason says what has happened, in a sentence or two. What else it says is in the
// object: give the object as it is then.
func About(kind Kind, q *v1alpha1.Quarantine, at time.Time, reason string) Message {
	d := Details{
		Kind: kind, Time: at, Severity: severityOf(q), Reason: reason, Next: nextOf(kind, q),
		Quarantine: &Object{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Quarantine", Name: q.Name, UID: string(q.UID)},
		Pod:        &Pod{Namespace: q.Spec.Pod.Namespace, Name: q.Spec.Pod.Name, UID: q.Spec.Pod.UID, Node: q.Spec.Pod.Node},
		Verdict:    q.Status.Verdict, Residual: q.Status.Residual, Until: untilOf(q),
	}
	if o := q.Spec.Owner; o != nil {
		d.Owner = &Object{APIVersion: strings.TrimPrefix(o.Group+"/"+o.Version, "/"), Kind: o.Kind, Namespace: q.Spec.Pod.Namespace, Name: o.Name, UID: o.UID}
	}
	for n := range q.Spec.Triggers {
		trigger := &q.Spec.Triggers[n]
		if !slices.Contains(d.Policies, trigger.Policy) {
			d.Policies = append(d.Policies, trigger.Policy)
		}
		if n == len(q.Spec.Triggers)-1 { // the last one is why there is something to tell
			d.Rule, d.Priority, d.Output = trigger.Rule, trigger.Priority.String(), trigger.Output
		}
	}
	for _, planned := range q.Spec.Actions {
		d.Actions = append(d.Actions, string(planned.Action))
	}
	return NewMessage(d)
}

// severityOf is the gravest severity of what asked for it.
func severityOf(q *v1alpha1.Quarantine) Severity {
	gravest := Low
	for _, trigger := range q.Spec.Triggers {
		if s := Severity(trigger.Severity).normal(); s.rank() < gravest.rank() {
			gravest = s
		}
	}
	if len(q.Spec.Triggers) == 0 {
		return Critical
	}
	return gravest
}

func untilOf(q *v1alpha1.Quarantine) time.Time {
	if q.Status.Admitted == nil || q.Spec.TTL.Duration <= 0 || q.Status.Phase.Over() {
		return time.Time{}
	}
	return q.Status.Admitted.Add(q.Spec.TTL.Duration)
}

func nextOf(kind Kind, q *v1alpha1.Quarantine) string {
	switch kind {
	case KindAwaitingApproval:
		return fmt.Sprintf("portcullis quarantine approve %s --reason …, or release it", q.Name)
	case KindContaining, KindContained, KindVerdictChanged, KindStepFailed, KindReverted:
		return fmt.Sprintf("portcullis quarantine show %s; when it is settled: portcullis quarantine release %s --reason …", q.Name, q.Name)
	case KindAudited, KindRefused:
		return "portcullis quarantine show " + q.Name
	}
	return ""
}

// eventType is that of Kubernetes' Events.
func (m Message) eventType() string {
	if m.details.Kind.good() {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}
