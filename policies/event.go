package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// OperationEvent is the operation of a request that is no change of the cluster: something was seen at run time.
// Its object is the pod that it is about, absent where it is about none.
const OperationEvent = "EVENT"

// EventMatching says what events a policy is about. All fields that are given must match; lists are alternatives.
type EventMatching struct {
	// Sources are those of Falco: syscall, k8s_audit …; any for none.
	Sources []string `json:"sources,omitempty"`
	// Priority is the mildest one, debug for none: "warning" matches warning and graver.
	Priority *response.Priority `json:"priority,omitempty"`
	// Rules are globs of names of rules, Tags are tags of which the event has at least one. An event that one of the two lists
	// matches will do: rules are renamed, and tags are added.
	Rules []string `json:"rules,omitempty"`
	Tags  []string `json:"tags,omitempty"`

	rules globs
}

func (m *EventMatching) compile() (err error) {
	if slices.Contains(m.Sources, "") || slices.Contains(m.Tags, "") {
		return fmt.Errorf("events: an empty source or tag matches nothing: leave it out")
	}
	if m.rules, err = compileGlobs(m.Rules); err != nil {
		return fmt.Errorf("events: rules: %w", err)
	}
	return nil
}

func (m *EventMatching) matches(e *response.Event) bool {
	if e == nil || len(m.Sources) > 0 && !slices.Contains(m.Sources, e.Source) || m.Priority != nil && e.Priority > *m.Priority {
		return false
	}
	if len(m.Rules) == 0 && len(m.Tags) == 0 {
		return true
	}
	return m.rules.match(e.Rule) || slices.ContainsFunc(m.Tags, func(tag string) bool { return slices.Contains(e.Tags, tag) })
}

// Response is one action that a policy asks for.
type Response struct {
	response.Ask `json:",inline"`
	Title        string `json:"title"`
	// Enforcement is what the bundle makes of it here: deny takes the action, warn waits for a person, audit only records.
	Enforcement Enforcement `json:"enforcement"`
	Remediation string      `json:"remediation,omitempty"`
	// ExceptedBy names the exception that waives it, and ExceptedUntil says until when, as in a Finding.
	ExceptedBy    string `json:"exceptedBy,omitempty"`
	ExceptedUntil string `json:"exceptedUntil,omitempty"`
}

// Finding says of a response what a finding of the policy would, with the action before the message.
func (r *Response) Finding() Finding {
	return Finding{
		Policy: r.Policy, Instance: r.Instance, Bundle: r.Bundle, Title: r.Title, Severity: r.Severity, Effect: EffectRespond, Enforcement: r.Enforcement,
		Message: string(r.Action) + ": " + r.Message, Remediation: r.Remediation, ExceptedBy: r.ExceptedBy, ExceptedUntil: r.ExceptedUntil,
	}
}

// modes are what an enforcement means for an action.
var modes = map[Enforcement]response.Mode{
	EnforceDeny: response.ModeEnforce, EnforceWarn: response.ModeApprove, EnforceAudit: response.ModeAudit,
}

// ruleResponse is an action as Rego gives it.
type ruleResponse struct {
	Action     string              `json:"action"`
	Msg        string              `json:"msg"`
	Parameters response.Parameters `json:"parameters"`
}

// checkResponse says what is wrong with the response section.
func (m *Manifest) checkResponse() []error {
	settings := m.Response
	if settings == nil {
		return nil
	}
	var problems []error
	if err := settings.Check(); err != nil {
		problems = append(problems, fmt.Errorf("response: %w", err))
	}
	globs := map[string][]string{"protect.namespaces": settings.Protect.Namespaces, "protect.priorityClasses": settings.Protect.PriorityClasses}
	for n, one := range settings.Namespaces {
		globs[fmt.Sprintf("namespaces[%d].match", n)] = one.Match
	}
	for _, name := range sortedKeys(globs) {
		if _, err := compileGlobs(globs[name]); err != nil {
			problems = append(problems, fmt.Errorf("response: %s: %w", name, err))
		}
	}
	return problems
}

// maxResponses bounds what is taken from one policy.
const maxResponses = 30

// decodeResponses turns the set that a respond rule gave into responses. One that is wrong is an error, and costs the others
// nothing.
func decodeResponses(i *instance, term *ast.Term, clock time.Time) ([]Response, []error) {
	elements, err := setElements(term)
	if err != nil {
		return nil, []error{err}
	}
	var problems []error
	if len(elements) > maxResponses {
		problems = append(problems, fmt.Errorf("the policy asks for %d actions, more than the %d that are taken", len(elements), maxResponses))
		elements = elements[:maxResponses]
	}
	var responses []Response
	for _, element := range elements {
		one, err := decodeResponse(i, element, clock)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		responses = append(responses, one)
	}
	return responses, problems
}

func decodeResponse(i *instance, term *ast.Term, clock time.Time) (Response, error) {
	var given ruleResponse
	if err := decodeTerm(term, &given); err != nil {
		return Response{}, fmt.Errorf("a response is not {action, msg, parameters}: %w", err)
	}
	action, err := response.ParseAction(given.Action)
	if err != nil {
		return Response{}, err
	}
	if given.Msg == "" {
		return Response{}, fmt.Errorf("the response %s has no msg", action)
	}
	if err := given.Parameters.Check(action); err != nil {
		return Response{}, fmt.Errorf("the parameters of %s: %w", action, err)
	}
	made := Response{
		Ask: response.Ask{
			Policy: i.policy.ID, Severity: i.policy.Severity, Message: Shorten(given.Msg), Action: action, Parameters: given.Parameters,
		},
		Title: i.policy.Title, Enforcement: i.enforcementAt(clock), Remediation: i.policy.Remediation,
	}
	if i.Name != i.policy.ID {
		made.Instance = i.Name
	}
	made.Mode = modes[made.Enforcement]
	return made, nil
}

// respond takes the responses that an instance's rule gave into the result.
func (j *judgement) respond(i *planned, term *ast.Term, waive func(*Finding)) {
	responses, problems := decodeResponses(i.instance, term, j.clock)
	for _, err := range problems {
		j.fault(i.instance, FaultError, err.Error())
	}
	for n := range responses {
		covered := newFinding(i.instance, EffectRespond)
		waive(&covered)
		responses[n].ExceptedBy, responses[n].ExceptedUntil = covered.ExceptedBy, covered.ExceptedUntil
		responses[n].Message += covered.Message // that an exception has ended
	}
	j.result.Responses = append(j.result.Responses, responses...)
}

func compareResponses(a, b Response) int {
	place := func(r Response) int { return slices.Index(response.Actions(), r.Action) }
	if c := place(a) - place(b); c != 0 {
		return c
	}
	for _, pair := range [][2]string{{a.Bundle, b.Bundle}, {a.Policy, b.Policy}, {a.Instance, b.Instance}, {a.Message, b.Message}} {
		if c := strings.Compare(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return 0
}

// eventShape is input.event.
type eventShape struct {
	Rule      string           `json:"rule"`
	Priority  string           `json:"priority"`
	Level     int              `json:"level"`
	Source    string           `json:"source"`
	Time      string           `json:"time"`
	Output    string           `json:"output"`
	Tags      []string         `json:"tags"`
	Fields    any              `json:"fields"`
	Hostname  string           `json:"hostname"`
	Host      bool             `json:"host"`
	Container containerShape   `json:"container"`
	Pod       *eventPodShape   `json:"pod,omitempty"`
	Owner     *eventOwnerShape `json:"owner,omitempty"`
	Recent    []recentShape    `json:"recent"`
	Window    int64            `json:"window"`
}

type containerShape struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Image  string `json:"image"`
	Digest string `json:"digest"`
}

type eventPodShape struct {
	Namespace      string `json:"namespace"`
	Name           string `json:"name"`
	UID            string `json:"uid"`
	Node           string `json:"node"`
	ServiceAccount string `json:"serviceAccount"`
	Created        string `json:"created"`
	HostNetwork    bool   `json:"hostNetwork"`
	HostPID        bool   `json:"hostPID"`
	Static         bool   `json:"static"`
	Privileged     bool   `json:"privileged"`
	PriorityClass  string `json:"priorityClass"`
	ResolvedBy     string `json:"resolvedBy"`
}

type eventOwnerShape struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	UID     string `json:"uid"`
	Desired int64  `json:"desired"`
	Ready   int64  `json:"ready"`
}

type recentShape struct {
	Rule     string `json:"rule"`
	Priority string `json:"priority"`
	Level    int    `json:"level"`
	Count    int64  `json:"count"`
	First    string `json:"first"`
	Last     string `json:"last"`
}

// newEventShape is an event as policies see it; nil for none. Fields are converted only if they are read.
func newEventShape(e *response.Event, reads *readSet) (*eventShape, error) {
	if e == nil {
		return nil, nil
	}
	shape := &eventShape{
		Rule: e.Rule, Priority: e.Priority.String(), Level: int(e.Priority), Source: e.Source, Time: moment(e.Time),
		Output: e.Output, Tags: e.Tags, Hostname: e.Hostname, Host: e.Host, Container: containerShape(e.Container), Window: e.Window,
	}
	if pod := e.Pod; pod != nil {
		shape.Pod = &eventPodShape{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Node: pod.Node, ServiceAccount: pod.ServiceAccount, Created: moment(pod.Created),
			HostNetwork: pod.HostNetwork, HostPID: pod.HostPID, Static: pod.Static, Privileged: pod.Privileged, PriorityClass: pod.Priority, ResolvedBy: pod.ResolvedBy,
		}
	}
	if owner := e.Owner; owner != nil {
		shape.Owner = &eventOwnerShape{owner.Group, owner.Version, owner.Kind, owner.Name, owner.UID, owner.Desired, owner.Ready}
	}
	for _, recent := range e.Recent {
		shape.Recent = append(shape.Recent, recentShape{recent.Rule, recent.Priority.String(), int(recent.Priority), recent.Count, moment(recent.First), moment(recent.Last)})
	}
	if reads.field("fields") != nil {
		fields := map[string]any(e.Fields)
		if fields == nil {
			fields = map[string]any{}
		}
		value, err := ast.InterfaceToValue(fields)
		if err != nil {
			return nil, fmt.Errorf("reading the fields of the event: %w", err)
		}
		shape.Fields = ast.NewTerm(value)
	}
	return shape, nil
}

// moment is a time as policies see it, "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
