package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of what is said to people.
const (
	// A denial's message, in runes. It ends up in events and in terminals.
	maxMessage = 8192
	// One finding within it, so that one policy cannot crowd out the others.
	maxLine = 1024
	// Findings listed for programs, in status.details.causes.
	maxCauses = 128
	// The API server cuts warnings to 256 runes once all of a request, of all webhooks,
	// exceed 4096 (KEP-1693, "Server-side changes"); then it drops the rest.
	maxWarning  = 256
	maxWarnings = 4096
	// An audit annotation's value.
	maxAnnotation = 1024
)

// denial says why a request is denied: findings first, grouped by policy, then what
// could not be judged. The code is 403 if any policy objects and 500 if none does but
// one could not be asked.
func denial(verdict admission.Verdict) *metav1.Status {
	found := denying(verdict.Findings)
	failed := deniedBy(verdict)
	code := http.StatusForbidden
	if len(found) == 0 {
		code = http.StatusInternalServerError
	}
	text := &boundedText{limit: maxMessage}
	text.add(headline(verdict, found, failed))
	for _, policy := range policiesOf(found) {
		addPolicy(text, policy, found)
	}
	for _, reason := range failed {
		text.add("\n- " + reason)
	}
	status := failure(code, text.String())
	status.Details = &metav1.StatusDetails{Causes: causes(found)}
	return status
}

func headline(verdict admission.Verdict, found []policies.Finding, failed []string) string {
	bundle := verdict.Bundle
	if bundle == "" {
		bundle = "no bundle"
	}
	if verdict.Profile != "" {
		bundle += ", profile " + verdict.Profile
	}
	switch {
	case len(found) > 0:
		return fmt.Sprintf("%s it (%s):", count(len(policiesOf(found)), "policy denies", "policies deny"), clean(bundle, maxAnnotation))
	case len(failed) > 0:
		return fmt.Sprintf("the request could not be judged (%s) and is denied for safety:", clean(bundle, maxAnnotation))
	default:
		return fmt.Sprintf("the request is denied without a finding (%s): report this, it is a mistake of the webhook", clean(bundle, maxAnnotation))
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// addPolicy writes a policy's findings below its name and, once, how to mend them
// where all have the same remedy.
func addPolicy(text *boundedText, policy string, found []policies.Finding) {
	first := true
	remedy := ""
	for _, finding := range found {
		if name(finding) != policy {
			continue
		}
		if first {
			text.add(fmt.Sprintf("\n- %s (%s)", clean(policy, maxLine), finding.Severity))
			remedy, first = finding.Remediation, false
		}
		if finding.Remediation != remedy {
			addRemedy(text, remedy)
			remedy = finding.Remediation
		}
		text.add("\n    " + sentence(finding))
	}
	addRemedy(text, remedy)
}

func addRemedy(text *boundedText, remedy string) {
	if remedy != "" {
		text.add("\n    To mend it: " + clean(remedy, maxLine))
	}
}

// sentence is a finding's path and message in one line.
func sentence(finding policies.Finding) string {
	if finding.Path == "" {
		return clean(finding.Message, maxLine)
	}
	return clean(finding.Path+": "+finding.Message, maxLine)
}

// name is what a finding's policy is called: its id, and the instance where that is
// something else, and its bundle where several judge.
func name(finding policies.Finding) string {
	if finding.Instance == "" || finding.Instance == finding.Policy {
		return of(finding.Bundle, finding.Policy)
	}
	return of(finding.Bundle, finding.Policy+" as "+finding.Instance)
}

// of names the bundle of a policy where several judge.
func of(bundle, policy string) string {
	if bundle == "" {
		return policy
	}
	return policy + " of bundle " + bundle
}

// policiesOf names each policy once, in the order of the findings.
func policiesOf(findings []policies.Finding) []string {
	var names []string
	for _, finding := range findings {
		if policy := name(finding); !slices.Contains(names, policy) {
			names = append(names, policy)
		}
	}
	return names
}

// deniedBy are the faults and undecided policies that deny.
func deniedBy(verdict admission.Verdict) []string {
	var reasons []string
	for _, fault := range collapse(verdict.Faults, admission.FaultDenies) {
		reasons = append(reasons, describe(fault))
	}
	for _, undecided := range verdict.Undecided {
		if admission.UndecidedCounts(undecided) {
			reasons = append(reasons, clean(fmt.Sprintf("%s: undecided: %s%s", of(undecided.Bundle, undecided.Policy), prefix(undecided.Path), undecided.Reason), maxLine))
		}
	}
	return reasons
}

// collapse are the faults of one weight, with those that say the same as one. Their policies have the names for people.
func collapse(faults []policies.Fault, keep func(policies.Fault) bool) []policies.Fault {
	var kept []policies.Fault
	for _, fault := range faults {
		if keep(fault) {
			if fault.Policy != "" {
				fault.Policy, fault.Bundle = of(fault.Bundle, fault.Policy), ""
			}
			kept = append(kept, fault)
		}
	}
	return policies.CollapseFaults(kept)
}

func describe(fault policies.Fault) string {
	policy := fault.Policy
	if policy == "" {
		policy = "all policies"
	}
	return clean(fmt.Sprintf("%s: %s: %s", of(fault.Bundle, policy), fault.Kind, fault.Message), maxLine)
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// causes lists the findings for programs. kubectl prints the message instead.
func causes(findings []policies.Finding) []metav1.StatusCause {
	causes := make([]metav1.StatusCause, 0, min(len(findings), maxCauses))
	for _, finding := range findings[:min(len(findings), maxCauses)] {
		causes = append(causes, metav1.StatusCause{
			Type:    metav1.CauseType(clean(name(finding), maxLine)),
			Field:   clean(finding.Path, maxLine),
			Message: clean(finding.Message, maxLine),
		})
	}
	return causes
}

// warnings are the findings that only warn and the failures that do not deny, each
// within the API server's limits.
func warnings(verdict admission.Verdict) []string {
	var texts []string
	for _, finding := range verdict.Findings {
		if admission.Warns(finding) {
			texts = append(texts, warning(name(finding)+": "+sentence(finding), finding.Remediation))
		}
	}
	warns := func(fault policies.Fault) bool {
		return !admission.FaultDenies(fault) && fault.Enforcement <= policies.EnforceWarn
	}
	for _, fault := range collapse(verdict.Faults, warns) {
		texts = append(texts, clean("not judged: "+describe(fault), maxWarning))
	}
	for _, undecided := range verdict.Undecided {
		if undecided.Enforcement == policies.EnforceWarn {
			texts = append(texts, clean(fmt.Sprintf("%s: undecided: %s%s", of(undecided.Bundle, undecided.Policy), prefix(undecided.Path), undecided.Reason), maxWarning))
		}
	}
	return boundWarnings(texts)
}

// warning adds the remedy where both fit.
func warning(text, remedy string) string {
	if whole := text + ": " + remedy; remedy != "" && utf8.RuneCountInString(whole) <= maxWarning {
		return clean(whole, maxWarning)
	}
	return clean(text, maxWarning)
}

// boundWarnings keeps what fits and says how many did not.
func boundWarnings(texts []string) []string {
	const room = maxWarnings - maxWarning // for the last one
	total := 0
	for i, text := range texts {
		total += utf8.RuneCountInString(text)
		if total > room {
			return append(texts[:i:i], fmt.Sprintf("and %d more warnings: see them all with portcullis gate", len(texts)-i))
		}
	}
	return texts
}

// auditAnnotations are for the API server's audit log, which puts the webhook's name
// and a slash before each key.
func auditAnnotations(verdict admission.Verdict) map[string]string {
	annotations := map[string]string{
		"verdict": string(outcomeOf(verdict)),
		"bundle":  clean(verdict.Bundle, maxAnnotation),
	}
	add := func(key string, values []string) {
		if len(values) > 0 {
			annotations[key] = clean(strings.Join(values, ","), maxAnnotation)
		}
	}
	if verdict.Profile != "" {
		add("profile", []string{verdict.Profile})
	}
	var recorded []policies.Finding
	var exceptions, excepted []string
	for _, finding := range verdict.Findings {
		if finding.ExceptedBy == "" {
			recorded = append(recorded, finding)
			continue
		}
		exceptions = addOnce(exceptions, finding.ExceptedBy)
		excepted = addOnce(excepted, name(finding)+" by "+finding.ExceptedBy)
	}
	add("policies", policiesOf(recorded))
	add("exceptions", exceptions)
	add("excepted", excepted)
	var faults []string
	for _, fault := range verdict.Faults {
		faults = append(faults, describe(fault))
	}
	add("faults", faults)
	return annotations
}

func addOnce(values []string, value string) []string {
	if slices.Contains(values, value) {
		return values
	}
	return append(values, value)
}

// clean makes text safe for a header, a terminal and a log line, and cuts it at a
// whole rune with an ellipsis. Warnings with control characters are dropped by the
// API server without a word.
func clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

// boundedText collects lines up to a limit and counts those left out.
type boundedText struct {
	builder strings.Builder
	limit   int
	runes   int
	left    int
}

// room for the sentence that says how much was left out.
const roomForRest = 128

func (t *boundedText) add(line string) {
	runes := utf8.RuneCountInString(line)
	if t.left > 0 || t.runes+runes > t.limit-roomForRest {
		t.left++
		return
	}
	t.runes += runes
	t.builder.WriteString(line)
}

func (t *boundedText) String() string {
	if t.left > 0 {
		return t.builder.String() + fmt.Sprintf("\n… and %d more lines: see them all with portcullis gate", t.left)
	}
	return t.builder.String()
}
