package policies

import (
	"errors"
	"fmt"
	"time"
)

// Ramp lets the enforcement of an instance grow by itself: it is only recorded until one day, only warns until
// another, and from then on does what enforcement says. Days begin at midnight UTC.
type Ramp struct {
	// AuditUntil is the day from which on it is more than recorded, as 2027-01-31 or an RFC 3339 time.
	AuditUntil string `json:"auditUntil,omitempty"`
	// WarnUntil is the day from which on it is more than a warning.
	WarnUntil string `json:"warnUntil,omitempty"`

	auditUntil, warnUntil time.Time
}

// compile reads the days. target is the enforcement at the end.
func (r *Ramp) compile(target Enforcement) error {
	if r == nil {
		return nil
	}
	var problems []error
	for _, day := range []struct {
		field, text string
		into        *time.Time
	}{{"auditUntil", r.AuditUntil, &r.auditUntil}, {"warnUntil", r.WarnUntil, &r.warnUntil}} {
		if day.text == "" {
			continue
		}
		parsed, err := ParseMoment(day.text)
		if err != nil {
			problems = append(problems, fmt.Errorf("ramp.%s: %w", day.field, err))
		}
		*day.into = parsed
	}
	switch {
	case r.AuditUntil == "" && r.WarnUntil == "":
		problems = append(problems, errors.New("ramp: give auditUntil, warnUntil or both"))
	case r.WarnUntil != "" && r.AuditUntil != "" && !r.auditUntil.Before(r.warnUntil):
		problems = append(problems, errors.New("ramp: auditUntil is not before warnUntil: it is recorded first, then warns, then is enforced"))
	case target == EnforceAudit || target == EnforceOff || target == EnforceWarn && r.WarnUntil != "":
		problems = append(problems, fmt.Errorf("ramp: it would end in enforcement %s, which is no more than it begins with: raise enforcement, or leave the ramp out", target))
	}
	return errors.Join(problems...)
}

// compileRamps checks the ramps of all instances as they are declared. A profile that softens an instance with atMost
// softens the end of its ramp, too.
func (m *Manifest) compileRamps() []error {
	var problems []error
	check := func(where string, instances []Instance) {
		for n := range instances {
			if err := instances[n].Ramp.compile(instances[n].Enforcement); err != nil {
				problems = append(problems, fmt.Errorf("%s: policy %s: %w", where, instances[n].name(), err))
			}
		}
	}
	check("policies", m.Policies)
	for n := range m.Profiles {
		check(fmt.Sprintf("profile %q", m.Profiles[n].Name), m.Profiles[n].Policies)
	}
	return problems
}

// at is the least that the ramp softens enforcement to at a time.
func (r *Ramp) at(now time.Time) Enforcement {
	switch {
	case r == nil:
		return EnforceDeny
	case now.Before(r.auditUntil):
		return EnforceAudit
	case now.Before(r.warnUntil):
		return EnforceWarn
	}
	return EnforceDeny
}

// enforcementAt is what the bundle makes of an instance's denials at a time.
func (i *instance) enforcementAt(now time.Time) Enforcement {
	return max(i.Enforcement, i.Ramp.at(now))
}

// forecast is what a finding of a policy that will be enforced says of that, "" for others.
func (i *instance) forecast(now time.Time, effect Effect) string {
	softened := i.enforcementAt(now)
	if i.Ramp == nil || softened == i.Enforcement || effect == EffectWarn {
		return ""
	}
	from := i.Ramp.warnUntil
	if from.IsZero() {
		from = i.Ramp.auditUntil
	}
	verb := "denied"
	if i.Enforcement == EnforceWarn {
		verb = "warned of"
	}
	return fmt.Sprintf(" (%s from %s on)", verb, from.UTC().Format(time.DateOnly))
}
