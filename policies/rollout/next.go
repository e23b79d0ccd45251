package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// Steps of a rollout, as [v1alpha1.Transition] names them.
const (
	StepActivated  = "activated"
	StepShadowing  = "shadowing"
	StepCanary     = "canary"
	StepStandby    = "standby"
	StepPromoted   = "promoted"
	StepSwitched   = "switched back"
	StepRolledBack = "rolled back"
	StepAborted    = "aborted"
	StepPinned     = "pinned"
)

// Limits of what a status keeps; the schema of the custom resource has the same.
const (
	maxHistory  = 20
	maxRejected = 10
	maxText     = 4096
)

// maxShed is how many requests may be shed for each that was compared, where a trial is to pass: one in ten says enough.
const maxShed = 9

// LiveFor is how long after its last heartbeat a replica counts: three of them may be lost.
const LiveFor = time.Minute

// Observation is what there is to see of a bundle.
type Observation struct {
	// Offered is what the source has: verified, loaded and tested. Nil where that is not known, or is refused.
	Offered *v1alpha1.RevisionStatus
	// Pinned is the revision that Pin names: verified and loaded. Nil where it was not found, or is refused.
	Pinned *v1alpha1.RevisionStatus
	// Returning is the previous revision where Promote names it, under blueGreen: verified and loaded again, since its
	// signer may have been taken out. Nil where it is refused.
	Returning *v1alpha1.RevisionStatus
	// Refused is a revision that is not trusted, does not load or fails its tests; nil for none.
	Refused *v1alpha1.Rejection
	// Replicas are all reports, of live and of dead replicas.
	Replicas []v1alpha1.PolicyReplica
	// Comparison adds up what they saw of the candidate: see [Tally].
	Comparison *v1alpha1.Comparison
}

// Next is the status of a bundle after an observation, with the steps that lead there. Neither argument is changed. bundle has
// the spec and the status as it was. A later call with the same observation changes nothing, until time has passed.
func Next(bundle *v1alpha1.PolicyBundle, seen Observation, now time.Time) (v1alpha1.PolicyBundleStatus, []v1alpha1.Transition) {
	m := &machine{spec: &bundle.Spec, status: clone(&bundle.Status), name: bundle.Name, seen: &seen, now: metav1.NewTime(now.UTC().Truncate(time.Second))}
	m.refuse()
	m.abort()
	switch {
	case m.spec.Pin != "":
		m.pin()
	case !m.spec.Suspend:
		m.offer()
		m.promote()
	}
	m.count()
	m.try()
	m.countReplicas()
	return m.status, m.transitions
}

// machine is one step of a rollout.
type machine struct {
	spec        *v1alpha1.PolicyBundleSpec
	status      v1alpha1.PolicyBundleStatus
	name        string
	seen        *Observation
	now         metav1.Time
	transitions []v1alpha1.Transition
}

// clone copies what the machine changes in place.
func clone(status *v1alpha1.PolicyBundleStatus) v1alpha1.PolicyBundleStatus {
	copied := *status
	copied.Active, copied.Candidate, copied.Previous = copyOf(status.Active), copyOf(status.Candidate), copyOf(status.Previous)
	copied.Rejected, copied.History = slices.Clone(status.Rejected), slices.Clone(status.History)
	copied.Conditions = slices.Clone(status.Conditions)
	return copied
}

func copyOf(r *v1alpha1.RevisionStatus) *v1alpha1.RevisionStatus {
	if r == nil {
		return nil
	}
	copied := *r
	return &copied
}

func is(r *v1alpha1.RevisionStatus, digest string) bool { return r != nil && r.Digest == digest }

func digestOf(r *v1alpha1.RevisionStatus) string {
	if r == nil {
		return ""
	}
	return r.Digest
}

// step notes a transition.
func (m *machine) step(step, from, to, reason string) {
	t := v1alpha1.Transition{From: from, To: to, Step: step, Reason: cut(reason, maxText), Time: m.now}
	m.transitions = append(m.transitions, t)
	m.status.History = append([]v1alpha1.Transition{t}, m.status.History...)
	m.status.History = m.status.History[:min(len(m.status.History), maxHistory)]
}

// reject notes what was not activated: once, however often it is offered.
func (m *machine) reject(r v1alpha1.Rejection) {
	r.Reason, r.Origin, r.Time = cut(r.Reason, maxText), cut(r.Origin, maxText), m.now
	if slices.ContainsFunc(m.status.Rejected, func(old v1alpha1.Rejection) bool { return old.Digest == r.Digest && old.Reason == r.Reason }) {
		return
	}
	m.status.Rejected = append([]v1alpha1.Rejection{r}, m.status.Rejected...)
	m.status.Rejected = m.status.Rejected[:min(len(m.status.Rejected), maxRejected)]
}

// refuse drops a candidate that is not trusted any more. What is active stays: to judge by the last good revision is safer
// than to judge by none.
func (m *machine) refuse() {
	refused := m.seen.Refused
	if refused == nil {
		return
	}
	m.reject(*refused)
	if refused.Digest != "" && is(m.status.Candidate, refused.Digest) {
		m.end(StepAborted, refused.Reason) // it may be tried again once it is trusted
	}
}

// pin makes the named revision active, whatever the source has.
func (m *machine) pin() {
	if m.status.Candidate != nil && !is(m.status.Candidate, m.spec.Pin) {
		m.end(StepAborted, "the bundle is pinned to "+m.spec.Pin)
	}
	if is(m.status.Active, m.spec.Pin) {
		if m.status.Candidate != nil {
			m.end(StepAborted, "the bundle is pinned to "+m.spec.Pin)
		}
		return
	}
	if is(m.seen.Pinned, m.spec.Pin) {
		m.activate(m.seen.Pinned, StepPinned, "pin names it")
	}
}

// offer takes what the source has, if it is something new that may follow what is active.
func (m *machine) offer() {
	offered, s := m.seen.Offered, &m.status
	if offered == nil {
		return
	}
	if s.Dropped != "" && offered.Digest != s.Dropped {
		s.Dropped = "" // the source has changed
		if s.Phase == v1alpha1.PhaseRolledBack {
			s.Phase = v1alpha1.PhaseActive
		}
	}
	switch {
	case is(s.Active, offered.Digest):
		s.Active = renewed(s.Active, offered)
		if s.Candidate != nil {
			m.end(StepAborted, "the source has the active revision again")
		}
	case is(s.Candidate, offered.Digest):
		s.Candidate = renewed(s.Candidate, offered)
	case offered.Digest == s.Dropped:
		// not again
	case m.spec.Rollout.Strategy == v1alpha1.StrategyBlueGreen && is(s.Previous, offered.Digest):
		// it is loaded, and promoted when somebody says so
	default:
		if reason := Follows(s, offered); reason != "" {
			m.reject(v1alpha1.Rejection{Digest: offered.Digest, Origin: offered.Origin, Reason: reason})
			return
		}
		m.take(offered)
	}
}

// renewed has origin and signers of the same files as they were found last.
func renewed(old, found *v1alpha1.RevisionStatus) *v1alpha1.RevisionStatus {
	copied := *found
	copied.Since = old.Since
	return &copied
}

// Follows says why a revision may not follow what was active, "" if it may. A signature binds neither repository nor branch, so
// that a signed revision of last year would do: the serial, which is signed, never decreases, and names one revision.
func Follows(status *v1alpha1.PolicyBundleStatus, r *v1alpha1.RevisionStatus) string {
	switch {
	case r.Serial < status.MaxSerial:
		return fmt.Sprintf("its serial is %d, and %d was active: raise the serial in bundle.yaml, or pin %s to go back", r.Serial, status.MaxSerial, r.Digest)
	case r.Serial == status.MaxSerial && status.MaxSerialDigest != "" && r.Digest != status.MaxSerialDigest:
		return fmt.Sprintf("its serial is %d, which other files had (%s): raise the serial in bundle.yaml", r.Serial, status.MaxSerialDigest)
	}
	return ""
}

// take puts a revision on trial, or makes it active where there is nothing to compare it with.
func (m *machine) take(r *v1alpha1.RevisionStatus) {
	if m.status.Active == nil {
		m.activate(r, StepActivated, "it is the first")
		return
	}
	if phase, _ := trial(m.spec.Rollout.Strategy); phase == v1alpha1.PhaseActive {
		m.activate(r, StepActivated, "the source has it")
		return
	}
	reason := "the source has it"
	if m.status.Candidate != nil {
		reason = "the source has it in place of " + m.status.Candidate.Digest
	}
	m.status.Candidate = copyOf(r)
	m.begin(reason)
}

// trial is the phase of a candidate, and the step that begins it. PhaseActive is none.
func trial(s v1alpha1.Strategy) (v1alpha1.Phase, string) {
	switch s {
	case v1alpha1.StrategyShadow:
		return v1alpha1.PhaseShadow, StepShadowing
	case v1alpha1.StrategyCanary:
		return v1alpha1.PhaseCanary, StepCanary
	case v1alpha1.StrategyBlueGreen:
		return v1alpha1.PhaseStandby, StepStandby
	case "", v1alpha1.StrategyImmediate:
		return v1alpha1.PhaseActive, StepActivated
	}
	return v1alpha1.PhaseShadow, StepShadowing // a strategy of another version: judge by nothing that was not asked for
}

// begin begins the trial of the candidate, from nothing.
func (m *machine) begin(reason string) {
	phase, step := trial(m.spec.Rollout.Strategy)
	m.status.Phase, m.status.Candidate.Since, m.status.Comparison = phase, m.now, nil
	m.step(step, digestOf(m.status.Active), m.status.Candidate.Digest, reason)
}

// activate makes a revision judge.
func (m *machine) activate(r *v1alpha1.RevisionStatus, step, reason string) {
	s := &m.status
	from := digestOf(s.Active)
	if s.Active != nil {
		s.Previous = s.Active
	}
	s.Active, s.Candidate, s.Comparison, s.Phase = copyOf(r), nil, nil, v1alpha1.PhaseActive
	s.Active.Since = m.now
	if r.Serial > s.MaxSerial || s.MaxSerialDigest == "" {
		s.MaxSerial, s.MaxSerialDigest = r.Serial, r.Digest
	}
	if s.Dropped == r.Digest {
		s.Dropped = ""
	}
	m.step(step, from, r.Digest, reason)
}

// drop ends a trial for good: the candidate is not tried again.
func (m *machine) drop(step, reason string) {
	candidate := m.status.Candidate
	m.end(step, reason)
	m.reject(v1alpha1.Rejection{Digest: candidate.Digest, Origin: candidate.Origin, Reason: step + ": " + reason})
	m.status.Dropped, m.status.Phase = candidate.Digest, v1alpha1.PhaseRolledBack
}

// end ends a trial.
func (m *machine) end(step, reason string) {
	candidate := m.status.Candidate.Digest
	m.status.Candidate, m.status.Comparison, m.status.Phase = nil, nil, v1alpha1.PhaseActive
	m.step(step, candidate, digestOf(m.status.Active), reason)
}

// abort follows Abort.
func (m *machine) abort() {
	if digest := m.spec.Rollout.Abort; digest != "" && is(m.status.Candidate, digest) {
		m.drop(StepAborted, "abort names it")
	}
}

// promote follows Promote, once: a digest that stays in the spec has no say in later rollouts.
func (m *machine) promote() {
	digest, s := m.spec.Rollout.Promote, &m.status
	if digest == "" || digest == s.Promoted {
		if digest == "" {
			s.Promoted = ""
		}
		return
	}
	switch {
	case is(s.Active, digest):
	case is(s.Candidate, digest):
		m.activate(s.Candidate, StepPromoted, "promote names it")
	case m.spec.Rollout.Strategy == v1alpha1.StrategyBlueGreen && is(s.Previous, digest) && is(m.seen.Returning, digest):
		m.activate(s.Previous, StepSwitched, "promote names it")
	default:
		return
	}
	s.Promoted = digest
}

// count notes what the replicas saw of the candidate. Counts never go down while it is on trial, whoever is gone.
func (m *machine) count() {
	if m.status.Candidate == nil {
		m.status.Comparison = nil
		return
	}
	if seen := m.seen.Comparison; seen != nil && seen.Candidate == m.status.Candidate.Digest {
		m.status.Comparison = atLeast(seen, m.status.Comparison)
	}
}

// try judges the trial that is under way.
func (m *machine) try() {
	if m.status.Candidate == nil {
		return
	}
	phase, _ := trial(m.spec.Rollout.Strategy)
	denials, limit := m.newDenials(), m.spec.Rollout.MaxNewDenials
	if m.status.Phase == v1alpha1.PhaseCanary && denials > limit {
		m.drop(StepRolledBack, fmt.Sprintf("it newly denies %d requests, and the limit is %d%s", denials, limit, m.culprits()))
		return
	}
	switch {
	case m.spec.Suspend:
	case phase == v1alpha1.PhaseActive:
		m.activate(m.status.Candidate, StepPromoted, "the strategy is immediate now")
	case phase != m.status.Phase:
		m.begin("the strategy was changed")
	case phase != v1alpha1.PhaseStandby && m.passed():
		m.activate(m.status.Candidate, StepPromoted, fmt.Sprintf("it newly denied %d requests in %s, and the limit is %d", denials, m.spec.Rollout.Duration.Duration, limit))
	}
}

func (m *machine) newDenials() int64 {
	if m.status.Comparison == nil {
		return 0
	}
	return m.status.Comparison.NewDenials
}

// culprits are the policies with the most new denials, for people.
func (m *machine) culprits() string {
	var found []string
	for _, p := range m.status.Comparison.Policies {
		if p.NewDenials > 0 && len(found) < 3 {
			found = append(found, fmt.Sprintf("%s %d", p.Policy, p.NewDenials))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return ": " + strings.Join(found, ", ")
}

// passed says whether a trial has lasted, with few enough new denials, and everybody took part. A clock that was set back begins the
// time anew; one that was set forward makes all replicas look dead, of whom one at least must have taken part.
func (m *machine) passed() bool {
	candidate, duration := m.status.Candidate, m.spec.Rollout.Duration.Duration
	if m.now.Before(&candidate.Since) {
		candidate.Since = m.now
	}
	if duration <= 0 || m.now.Sub(candidate.Since.Time) < duration || m.newDenials() > m.spec.Rollout.MaxNewDenials {
		return false
	}
	if c := m.status.Comparison; c != nil && c.Shed > 0 && c.Compared <= c.Shed/maxShed {
		return false // next to nothing was compared: whoever floods the webhooks must not hide what would be denied
	}
	live, ready := m.replicas()
	return live > 0 && ready == live && m.reportedSince(candidate.Since.Add(duration))
}

// reportedSince says whether every replica that lives has reported since a time: what it saw until then counts, too.
func (m *machine) reportedSince(t time.Time) bool {
	for i := range m.seen.Replicas {
		if r := &m.seen.Replicas[i].Status; m.lives(r) && r.Heartbeat.Time.Before(t) {
			return false
		}
	}
	return true
}

// lives says whether a replica has reported lately.
func (m *machine) lives(r *v1alpha1.PolicyReplicaStatus) bool {
	age := m.now.Sub(r.Heartbeat.Time)
	return age <= LiveFor && age >= -LiveFor
}

// countReplicas notes who has loaded what is to be loaded.
func (m *machine) countReplicas() {
	m.status.Replicas, m.status.ReadyReplicas = m.replicas()
}

// replicas counts those that live, and those of them that have loaded exactly what is to be loaded.
func (m *machine) replicas() (live, ready int32) {
	for i := range m.seen.Replicas {
		r := &m.seen.Replicas[i].Status
		if !m.lives(r) {
			continue
		}
		live++
		for _, b := range r.Bundles {
			if b.Name == m.name && b.Error == "" && b.Active == digestOf(m.status.Active) && b.Candidate == digestOf(m.status.Candidate) {
				ready++
			}
		}
	}
	return live, ready
}

// cut keeps a text within so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}
