package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// alertsPath is where Alertmanager takes alerts. The shape of what is posted there is that of postableAlerts in
// https://github.com/prometheus/alertmanager/blob/v0.28.0/api/v2/openapi.yaml.
const alertsPath = "/api/v2/alerts"

// How long an alert lasts that nothing ends: long enough to be seen, and to be told once.
const (
	briefAlert = time.Hour
	longAlert  = 24 * time.Hour // where a quarantine has no end of its own, that of its settings by default
)

// maxFired is of how many subjects is known what fires.
const maxFired = 1000

// Alertmanager is a receiver that posts alerts to one Alertmanager. One alert stands for one state of a quarantine; it fires
// until that ends, by a message or by its time. Nothing has to be posted again in between.
type Alertmanager struct {
	name   string
	poster *poster
	labels map[string]string
	// fired are the severities with which alerts fire, by subject and alert. It is a memory, not a record: of what a
	// process before this one has posted it knows nothing, and then resolves whatever may fire.
	fired map[string]map[string]Severity
}

// postableAlert is one alert. Label names match [a-zA-Z_][a-zA-Z0-9_]*, and its labels tell it apart.
type postableAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    *time.Time        `json:"startsAt,omitempty"`
	EndsAt      *time.Time        `json:"endsAt,omitempty"`
}

// Names of alerts.
const (
	alertQuarantine = "PortcullisQuarantine"
	alertIncomplete = "PortcullisQuarantineIncomplete" // the proof says that traffic remains possible, or cannot tell
	alertApproval   = "PortcullisQuarantineAwaitsApproval"
	alertFailed     = "PortcullisQuarantineStepFailed"
	alertReverted   = "PortcullisQuarantineReverted"
	alertRefused    = "PortcullisQuarantineRefused"
	alertAudited    = "PortcullisQuarantineAudited"
	alertTold       = "PortcullisRuntimeAlert"
	alertUnresolved = "PortcullisEventUnresolved"
	alertBreaker    = "PortcullisCircuitBreakerOpen"
	alertLost       = "PortcullisEventsLost"
)

// quarantineAlerts are those that end with a quarantine.
func quarantineAlerts() []string {
	return []string{alertQuarantine, alertIncomplete, alertApproval, alertFailed, alertReverted}
}

// alertPlan is what a message does to alerts, by name.
type alertPlan struct {
	fire, resolve []string
	brief         bool
}

func planAlerts(d *Details) alertPlan {
	switch d.Kind {
	case KindContaining:
		return alertPlan{fire: []string{alertQuarantine}, resolve: []string{alertApproval}}
	case KindContained, KindVerdictChanged:
		if d.Verdict == "Isolated" || d.Verdict == "" {
			return alertPlan{fire: []string{alertQuarantine}, resolve: []string{alertIncomplete, alertApproval}}
		}
		return alertPlan{fire: []string{alertQuarantine, alertIncomplete}, resolve: []string{alertApproval}}
	case KindReleased:
		return alertPlan{resolve: quarantineAlerts()}
	case KindAwaitingApproval:
		return alertPlan{fire: []string{alertApproval}}
	case KindStepFailed:
		return alertPlan{fire: []string{alertFailed}}
	case KindReverted:
		return alertPlan{fire: []string{alertReverted}, brief: true}
	case KindRefused:
		return alertPlan{fire: []string{alertRefused}, resolve: []string{alertApproval}, brief: true}
	case KindAudited:
		return alertPlan{fire: []string{alertAudited}, brief: true}
	case KindUnresolved:
		return alertPlan{fire: []string{alertUnresolved}, brief: true}
	case KindBreakerOpened:
		return alertPlan{fire: []string{alertBreaker}}
	case KindBreakerClosed:
		return alertPlan{resolve: []string{alertBreaker}}
	case KindEventsLost:
		return alertPlan{fire: []string{alertLost}, brief: true}
	default:
		return alertPlan{fire: []string{alertTold}, brief: true}
	}
}

// Name implements [Receiver].
func (a *Alertmanager) Name() string { return a.name }

// Send implements [Receiver].
func (a *Alertmanager) Send(ctx context.Context, m Message) error {
	plan := planAlerts(&m.details)
	alerts := a.alerts(m, plan)
	if len(alerts) == 0 {
		return nil
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return fmt.Errorf("writing alerts: %w: %w", err, ErrRefused)
	}
	if err := a.poster.post(ctx, alertsPath, http.Header{"Content-Type": {"application/json"}}, body); err != nil {
		return err
	}
	a.remember(m, plan)
	return nil
}

// alerts are what a message posts: those that fire, those that it ends, and those that fire with another severity, which is a label.
func (a *Alertmanager) alerts(m Message, plan alertPlan) []postableAlert {
	d := m.details
	known := a.fired[m.subject()]
	var alerts []postableAlert
	for _, name := range plan.fire {
		starts, ends := d.Time.UTC(), d.Time.UTC().Add(lasts(&d, plan.brief))
		alerts = append(alerts, postableAlert{Labels: a.labelsOf(name, m, d.Severity), Annotations: annotations(m), StartsAt: &starts, EndsAt: &ends})
		if before, ok := known[name]; ok && before != d.Severity {
			alerts = append(alerts, a.resolved(name, m, before))
		}
	}
	for _, name := range plan.resolve {
		if before, ok := known[name]; ok {
			alerts = append(alerts, a.resolved(name, m, before))
		}
		if known == nil && d.Kind.good() {
			// Whoever posted it is gone. Severities only rise while a quarantine lasts.
			for _, severity := range Severities()[d.Severity.rank():] {
				alerts = append(alerts, a.resolved(name, m, severity))
			}
		}
	}
	return alerts
}

// lasts is how long an alert fires that is not ended before.
func lasts(d *Details, brief bool) time.Duration {
	switch {
	case brief:
		return briefAlert
	case d.Until.After(d.Time):
		return d.Until.Sub(d.Time)
	case d.Kind == KindBreakerOpened:
		return briefAlert
	}
	return longAlert
}

func (a *Alertmanager) resolved(name string, m Message, severity Severity) postableAlert {
	ends := m.details.Time.UTC()
	return postableAlert{Labels: a.labelsOf(name, m, severity), EndsAt: &ends}
}

// labelsOf tell an alert apart: they hold nothing that changes while it fires. An empty label is none
// (https://prometheus.io/docs/concepts/data_model/).
func (a *Alertmanager) labelsOf(name string, m Message, severity Severity) map[string]string {
	d := m.details
	labels := map[string]string{}
	for key, value := range a.labels {
		labels[key] = value
	}
	labels["alertname"], labels["severity"] = name, string(severity)
	if d.Quarantine != nil {
		labels["quarantine"] = d.Quarantine.Name
	}
	if d.Pod != nil {
		labels["namespace"], labels["pod"] = d.Pod.Namespace, d.Pod.Name
	}
	if name == alertUnresolved {
		labels["rule"] = d.Rule
	}
	for key, value := range labels {
		if value == "" {
			delete(labels, key)
		}
	}
	return labels
}

func annotations(m Message) map[string]string {
	d := m.details
	all := map[string]string{"summary": m.Title(), "description": d.Reason, "next": d.Next}
	for _, f := range m.facts() {
		all[strings.ReplaceAll(f.name, " ", "_")] = f.value
	}
	for key, value := range all {
		if value == "" {
			delete(all, key)
		}
	}
	return all
}

// remember notes what fires now.
func (a *Alertmanager) remember(m Message, plan alertPlan) {
	subject := m.subject()
	if m.details.Kind == KindReleased {
		delete(a.fired, subject)
		return
	}
	if len(a.fired) >= maxFired && a.fired[subject] == nil {
		clear(a.fired)
	}
	if a.fired[subject] == nil {
		a.fired[subject] = map[string]Severity{}
	}
	for _, name := range plan.resolve {
		delete(a.fired[subject], name)
	}
	for _, name := range plan.fire {
		if slices.Contains(quarantineAlerts(), name) || name == alertBreaker {
			a.fired[subject][name] = m.details.Severity
		}
	}
}

// Close ends idle connections.
func (a *Alertmanager) Close() { a.poster.close() }
