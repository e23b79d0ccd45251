package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/journal"
)

// decisionExplanation is one decision of a journal with the reasons for it.
type decisionExplanation struct {
	Decision *journal.Decision `json:"decision"`
	Time     time.Time         `json:"time"`
	// By are the revisions that explain, Differ those that judged then, where they are others.
	By     []string `json:"by"`
	Differ []string `json:"judgedBy,omitempty"`
	// Reasons are the findings of then, each with how it comes about.
	Reasons []reason `json:"reasons"`
	// Facts are what was known beside the request.
	Facts []string `json:"facts"`
	// Change is the smallest change that would have been admitted, nil where nothing denies or none is known.
	Change *admittingChange `json:"change,omitempty"`
}

// reason is a finding with its rule and the exceptions that were considered.
type reason struct {
	policies.Finding
	Value      json.RawMessage       `json:"value,omitempty"` // of the field
	Rule       *ruleTrace            `json:"rule,omitempty"`
	Exceptions []consideredException `json:"exceptions,omitempty"`
}

// ruleTrace is the rule that gave a finding, with what each of its lines read.
type ruleTrace struct {
	File  string     `json:"file"`
	Line  int        `json:"line"`
	Rule  string     `json:"rule"`
	Steps []ruleStep `json:"steps"`

	trace *policies.Trace
}

type ruleStep struct {
	Line  int           `json:"line"`
	Text  string        `json:"text"`
	Reads []ruleReading `json:"reads"`
}

// ruleReading is a value, as JSON, cut where it is long.
type ruleReading struct {
	Ref   string `json:"ref"`
	Path  string `json:"path,omitempty"`
	Value string `json:"value"`
}

func ruleOf(trace *policies.Trace) *ruleTrace {
	rule := &ruleTrace{File: trace.File, Line: trace.Line, Rule: trace.Rule, Steps: []ruleStep{}, trace: trace}
	for _, step := range trace.Steps {
		line := ruleStep{Line: step.Line, Text: step.Text, Reads: []ruleReading{}}
		for _, reading := range step.Reads {
			line.Reads = append(line.Reads, ruleReading(reading))
		}
		rule.Steps = append(rule.Steps, line)
	}
	return rule
}

// consideredException is an exception of the policy with what came of it.
type consideredException struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
}

// admittingChange is a change of the object.
type admittingChange struct {
	Changes []policies.Change `json:"changes"`
	// Admitted says whether the changed object is admitted: it was judged again with the same facts.
	Admitted bool `json:"admitted"`
	// Unfixed are policies that deny and know no change.
	Unfixed []string `json:"unfixed,omitempty"`
}

// explainDecision says why a decision of a journal was made.
func (p *program) explainDecision(ctx context.Context, f *explainFlags, ids []string) error {
	switch {
	case len(ids) != 1:
		return usagef("--journal is about one decision: name its id")
	case f.patch != "":
		return usagef("--patch is for manifests: leave it out, --journal shows the changes")
	case f.format != "text" && f.format != "json":
		return usagef("--format=%s: use --format=text or --format=json", f.format)
	}
	if err := checkJournal(f.journal); err != nil {
		return err
	}
	line, err := journal.Find(ctx, f.journal, ids[0])
	if err != nil {
		return usageError{err}
	}
	opened, err := journal.OpenCase(f.journal, line)
	if err != nil {
		return err
	}
	lineup, err := f.bundle.lineup(ctx)
	if err != nil {
		return err
	}
	explanation, err := explainCase(ctx, opened, lineup, f.bundle.profile)
	if err != nil {
		return err
	}
	p.code = decisionExit(line.Decision)
	if f.format == "json" {
		return writeDocument(p.stdout, explanation)
	}
	_, err = fmt.Fprint(p.stdout, explanation.text())
	return err
}

// decisionExit is the exit code of what was decided.
func decisionExit(d *journal.Decision) gate.ExitCode {
	switch d.Outcome {
	case "denied":
		return gate.ExitDenied
	case "admitted", "unmatched", "responded", "ignored":
		return gate.ExitAdmitted
	}
	return gate.ExitFault
}

func explainCase(ctx context.Context, opened *journal.Case, lineup *admission.Lineup, profile string) (*decisionExplanation, error) {
	d := opened.Line.Decision
	explanation := &decisionExplanation{Decision: d, Time: opened.Line.Time, Facts: factLines(d, opened), Reasons: []reason{}}
	if profile != "" {
		opened.Request.Profile = profile
	}
	var traces []policies.Trace
	var exceptions []explainedException
	for n := range lineup.Members {
		ready := &lineup.Members[n].Active
		explanation.By = append(explanation.By, ready.Revision)
		for _, judge := range ready.Judges {
			engine, ok := judge.(*policies.Engine)
			if !ok {
				continue // policies written for other tools have no traces of ours
			}
			facts := opened.Facts.Gather(ctx, engine.Needs(&opened.Request, opened.Request.Phase()))
			facts.Exceptions = opened.Exceptions
			found, err := engine.Explain(ctx, &opened.Request, &facts, opened.Line.Time)
			if err != nil {
				return nil, err
			}
			traces = append(traces, found...)
			exceptions = append(exceptions, exceptionsFor(engine.Bundle(), opened)...)
		}
	}
	for n := range d.Judges {
		if revision := d.Judges[n].Revision; !slices.Contains(explanation.By, revision) && !slices.Contains(explanation.Differ, revision) {
			explanation.Differ = append(explanation.Differ, revision)
		}
	}
	for _, finding := range d.Verdict.Findings {
		explanation.Reasons = append(explanation.Reasons, reasonFor(finding, opened, traces, exceptions))
	}
	for n := range d.Verdict.Responses {
		explanation.Reasons = append(explanation.Reasons, reasonFor(d.Verdict.Responses[n].Finding(), opened, traces, exceptions))
	}
	for n := range d.Verdict.Permits {
		explanation.Reasons = append(explanation.Reasons, reasonFor(d.Verdict.Permits[n].Finding(), opened, traces, exceptions))
	}
	explanation.Change = admitting(ctx, opened, lineup)
	return explanation, nil
}

// explainedException is an exception with the bundle that could take it.
type explainedException struct {
	exception *policies.Exception
	name      string
	// refused is why the bundle does not take it, "" if it does.
	refused string
}

// exceptionsFor are those of a bundle and those of the cluster.
func exceptionsFor(bundle *policies.Bundle, opened *journal.Case) []explainedException {
	var all []explainedException
	for n := range bundle.Exceptions {
		all = append(all, explainedException{exception: &bundle.Exceptions[n], name: bundle.Exceptions[n].Name})
	}
	for n := range opened.Exceptions {
		e := &opened.Exceptions[n]
		all = append(all, explainedException{e, e.Grant.Namespace + "/" + e.Name, bundle.RefusesException(e)})
	}
	return all
}

func reasonFor(finding policies.Finding, opened *journal.Case, traces []policies.Trace, exceptions []explainedException) reason {
	r := reason{Finding: finding}
	if finding.Path != "" {
		value, _ := manifest.Get(opened.Request.Object, finding.Path) // it may be that there is none
		r.Value = value
	}
	for n := range traces {
		trace := &traces[n]
		if trace.Policy == finding.Policy && trace.Path == finding.Path && trace.Effect == finding.Effect && strings.HasPrefix(finding.Message, trace.Message) {
			r.Rule = ruleOf(trace)
			break
		}
	}
	for _, one := range exceptions {
		if one.exception.Policy == finding.Policy {
			r.Exceptions = append(r.Exceptions, consideredException{one.name, one.outcome(&finding, opened.Line.Time)})
		}
	}
	return r
}

// outcome says what came of an exception for a finding of its policy.
func (e *explainedException) outcome(finding *policies.Finding, at time.Time) string {
	switch {
	case finding.ExceptedBy == e.name:
		return "it waives the finding, until " + e.exception.Expires
	case e.refused != "":
		return "not taken: " + e.refused
	case !at.Before(e.exception.ExpiresAt()):
		return "expired on " + e.exception.Expires
	case finding.ExceptedBy != "":
		return "not needed: " + finding.ExceptedBy + " waives the finding"
	}
	return "it does not cover this finding: its selector is about other objects"
}

// admitting finds the changes of all denials and judges the changed object with the same facts.
func admitting(ctx context.Context, opened *journal.Case, lineup *admission.Lineup) *admittingChange {
	d := opened.Line.Decision
	change := &admittingChange{}
	var edits []patch.Change
	for _, finding := range d.Verdict.Findings {
		if !admission.Denies(finding) {
			continue
		}
		if len(finding.Fix) == 0 && !slices.Contains(change.Unfixed, finding.Policy) {
			change.Unfixed = append(change.Unfixed, finding.Policy)
		}
		for _, step := range finding.Fix {
			change.Changes = append(change.Changes, step)
			edits = append(edits, patch.Change{Op: step.Op, Path: step.Path, Value: step.Value})
		}
	}
	if len(edits) == 0 {
		if len(change.Unfixed) == 0 {
			return nil
		}
		return change
	}
	fixed, err := patch.ApplyChanges(opened.Request.Object, edits)
	if err != nil {
		return change
	}
	request := opened.Request
	request.Object = fixed
	dated := &admission.Lineup{Members: lineup.Members, Exceptions: opened.Exceptions}
	reviewer := admission.NewLineupReviewer(dated, opened.Facts, func() time.Time { return opened.Line.Time })
	change.Admitted = reviewer.Review(ctx, request).Admitted
	return change
}

// factLines say what was known, one line for each thing.
func factLines(d *journal.Decision, opened *journal.Case) []string {
	lines := []string{}
	add := func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for n := range d.Judges {
		facts := &d.Judges[n].Facts
		if known := facts.Namespace; known != nil {
			add("namespace %s: %s", known.Name, namespaceLine(known, opened))
		}
		for _, read := range facts.Reads {
			add("%s", readLine(read, opened))
		}
		if facts.Images != nil {
			for _, ref := range slices.Sorted(maps.Keys(facts.Images.Images)) {
				add("%s", imageLine(ref, facts.Images, opened))
			}
		}
		if facts.Exceptions != "" {
			add("exceptions of the cluster: %d", len(opened.Exceptions))
		}
	}
	return lines
}

func namespaceLine(fact *journal.NamespaceFact, opened *journal.Case) string {
	gathered := opened.Facts.Gather(context.Background(), policies.Needs{Namespace: fact.Name})
	if gathered.Namespace == nil {
		return "not known, " + gathered.NamespaceMissing
	}
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(gathered.Namespace.Labels)) {
		labels = append(labels, key+"="+gathered.Namespace.Labels[key])
	}
	if len(labels) == 0 {
		return "no labels"
	}
	return strings.Join(labels, ", ")
}

func readLine(fact journal.ReadFact, opened *journal.Case) string {
	what, where := fact.Resource, "the cluster"
	if fact.Group != "" {
		what += "." + fact.Group
	}
	if fact.Namespace != "" {
		where = "namespace " + fact.Namespace
	}
	read := policies.Read{Group: fact.Group, Resource: fact.Resource, Namespace: fact.Namespace}
	gathered := opened.Facts.Gather(context.Background(), policies.Needs{Reads: []policies.Read{read}})
	line := fmt.Sprintf("%s in %s: %s", what, where, counted(len(gathered.Cluster), "object"))
	if partial := gathered.Partial[read]; partial != "" {
		line += ", some may be missing: " + partial
	}
	return line
}

func imageLine(ref string, facts *journal.ImageFacts, opened *journal.Case) string {
	known, err := opened.Image(facts.Images[ref])
	if err != nil {
		return fmt.Sprintf("image %s: %s", ref, err)
	}
	var parts []string
	if known.Resolved != "" {
		parts = append(parts, known.Resolved)
	}
	for _, section := range facts.Sections {
		switch section {
		case "configs":
			parts = append(parts, counted(len(known.Configs), "configuration"))
		case "evidence":
			parts = append(parts, signersOf(known), counted(len(known.Evidence.Attestations), "attestation"))
		case "scan":
			parts = append(parts, fmt.Sprintf("scan %s %s", known.Scan.State, known.Scan.FinishedAt))
		}
	}
	for _, reason := range []string{known.Unknown.Resolved, known.Unknown.Configs, known.Unknown.Evidence, known.Unknown.Scan, known.Unknown.Replacement} {
		if reason != "" {
			parts = append(parts, "not known: "+reason)
		}
	}
	return fmt.Sprintf("image %s: %s", ref, strings.TrimSpace(strings.Join(parts, ", ")))
}

func signersOf(known *policies.ImageFacts) string {
	var names []string
	for _, signature := range known.Evidence.Signatures {
		names = append(names, signature.Authority)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return "no signature that counts"
	}
	return "signed by " + strings.Join(names, " and ")
}

// text is the explanation for people.
func (e *decisionExplanation) text() string {
	var b strings.Builder
	d := e.Decision
	object := d.Request.Resource
	if d.Request.SubResource != "" {
		object += "/" + d.Request.SubResource
	}
	fmt.Fprintf(&b, "%s %s %s", output.Plain(d.Request.Operation), output.Plain(object), output.Plain(d.Request.Name))
	if d.Request.Namespace != "" {
		fmt.Fprintf(&b, " in %s", output.Plain(d.Request.Namespace))
	}
	by := d.Request.User.Username
	if s := d.Request.Sync; s != nil {
		by = fmt.Sprintf("%s (%s of %s/%s)", s.Connection.Name, s.Vault.Engine, s.Vault.Mount, s.Vault.Path)
	}
	if e := d.Request.Event; e != nil {
		by = fmt.Sprintf("%s (%s, %s)", e.Rule, e.Priority, e.Source)
	}
	fmt.Fprintf(&b, " by %s: %s\n", output.Plain(by), output.Plain(d.Outcome))
	fmt.Fprintf(&b, "  decision %s at %s, in %d µs\n", output.Plain(d.ID), e.Time.UTC().Format(time.RFC3339), d.Duration)
	if d.Reason != "" {
		fmt.Fprintf(&b, "  %s\n", output.Plain(d.Reason))
	}
	fmt.Fprintf(&b, "  explained by %s\n", output.Plain(strings.Join(e.By, ", ")))
	if len(e.Differ) > 0 {
		fmt.Fprintf(&b, "  judged by %s, which may have other rules: name that revision with --bundle\n", output.Plain(strings.Join(e.Differ, ", ")))
	}
	for n := range e.Reasons {
		e.Reasons[n].text(&b)
	}
	for _, fault := range d.Verdict.Faults {
		fmt.Fprintf(&b, "\n  fault %s: %s: %s\n", output.Plain(fault.Policy), fault.Kind, output.Plain(fault.Message))
	}
	for _, open := range d.Verdict.Undecided {
		fmt.Fprintf(&b, "\n  undecided %s: %s\n", output.Plain(open.Policy), output.Plain(open.Reason))
	}
	if len(e.Facts) > 0 {
		b.WriteString("\n  known beside the request\n")
		for _, line := range e.Facts {
			fmt.Fprintf(&b, "    %s\n", output.Plain(line))
		}
	}
	if len(d.Redacted) > 0 {
		fmt.Fprintf(&b, "\n  not kept, because it is secret: %s\n", output.Plain(strings.Join(d.Redacted, ", ")))
	}
	e.Change.text(&b)
	return b.String()
}

func (r *reason) text(b *strings.Builder) {
	word := "records"
	switch {
	case r.Effect == policies.EffectRespond && r.ExceptedBy == "" && r.Enforcement == policies.EnforceDeny:
		word = "asks"
	case r.Effect == policies.EffectRespond && r.ExceptedBy == "" && r.Enforcement == policies.EnforceWarn:
		word = "proposes"
	case r.Effect == policies.EffectAllowSync && r.Enforcement == policies.EnforceDeny:
		word = "permits"
	case r.ExceptedBy != "":
		word = "waived"
	case admission.Denies(r.Finding):
		word = "denies"
	case admission.Warns(r.Finding):
		word = "warns"
	}
	fmt.Fprintf(b, "\n  %s %s (%s): %s\n", word, output.Plain(r.Policy), output.Plain(r.Severity), output.Plain(r.Message))
	if r.Path != "" {
		fmt.Fprintf(b, "    field   %s = %s\n", output.Plain(r.Path), shown(string(r.Value)))
	}
	if r.Rule != nil {
		explainTrace(b, r.Rule.trace)
	}
	for _, considered := range r.Exceptions {
		fmt.Fprintf(b, "    exception %s: %s\n", output.Plain(considered.Name), output.Plain(considered.Outcome))
	}
	if r.Remediation != "" {
		fmt.Fprintf(b, "    mend    %s\n", output.Plain(r.Remediation))
	}
}

func (c *admittingChange) text(b *strings.Builder) {
	if c == nil {
		return
	}
	if len(c.Changes) > 0 {
		b.WriteString("\n  the smallest change that is known\n")
		for _, change := range c.Changes {
			fmt.Fprintf(b, "    %s\n", output.Plain(changeText(change)))
		}
	}
	switch {
	case c.Admitted:
		b.WriteString("    judged again with it and the same facts: admitted\n")
	case len(c.Unfixed) > 0:
		fmt.Fprintf(b, "\n  no change is known for %s: mend it as they say\n", output.Plain(strings.Join(c.Unfixed, ", ")))
	default:
		b.WriteString("    judged again with it and the same facts: still not admitted\n")
	}
}
