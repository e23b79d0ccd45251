package gate

import (
	"encoding/json"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
)

// Handler receives a run as it unfolds. Each output format is one implementation.
// The calls never overlap and come in the same order for the same input: Start
// once, then Result and Problem as often as there is something to say, then Finish
// once. An error ends the run.
type Handler interface {
	Start(Run) error
	Result(Result) error
	Problem(Problem) error
	Finish(Summary) error
}

// Run says what is about to be done.
type Run struct {
	Version                  string // of portcullis
	Bundle                   string // name, serial and digest of the bundle that judges
	BundleName, BundleDigest string // the same apart, the digest whole
	Profile                  string
	Context                  string // where cluster facts come from, "" for the documents of the run only
	Rules                    []Rule // the policies of the bundle, sorted by ID
	Skipped                  []Skip // as in the Summary, for those who read the beginning only
	// Baseline names where the known findings come from, "" where none are known.
	Baseline string
	Started  time.Time
}

// Rule is the documentation of one policy, from its metadata.
type Rule struct {
	ID          string
	Title       string
	Description string
	Severity    string
	Remediation string
	Links       []string
	Controls    map[string][]string
}

// Location is where in the user's files something is.
type Location = source.Location

// Object names what was judged.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// String is "Kind namespace/name".
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Outcome is what became of one object.
type Outcome string

// The outcomes, worst first.
const (
	Denied    Outcome = "denied"
	Faulty    Outcome = "fault"
	Undecided Outcome = "undecided"
	Warned    Outcome = "warned"
	Admitted  Outcome = "admitted"
)

// Result is one judged object.
type Result struct {
	Object   Object   `json:"object"`
	Location Location `json:"location"`
	Outcome  Outcome  `json:"outcome"`
	Profile  string   `json:"profile,omitempty"`
	// Matched counts the policies that were evaluated.
	Matched   int               `json:"matched"`
	Findings  []Finding         `json:"findings,omitempty"`
	Undecided []UndecidedPolicy `json:"undecided,omitempty"`
	Faults    []policies.Fault  `json:"faults,omitempty"`
	// Patch is what the patch rules changed before the object was validated, as
	// RFC 6902 operations; nil where nothing changed.
	Patch json.RawMessage `json:"patch,omitempty"`
	// Image is the image that was judged without a manifest, nil for objects of manifests.
	Image *source.Image `json:"image,omitempty"`
	// refused is true when the verdict does not admit, for whatever reason.
	refused bool
}

// Effect is what a finding means in this run.
type Effect string

// The effects of findings, strictest first.
const (
	Denies   Effect = "deny"
	Warns    Effect = "warn"
	Records  Effect = "audit"
	Excepted Effect = "excepted"
	Known    Effect = "known" // it would deny or warn, and the baseline has it
)

// Finding is a finding and where it points to.
type Finding struct {
	policies.Finding
	Location Location
	// Fingerprint is the same for the same finding in another run.
	Fingerprint string
	// Known is true when the baseline has the finding.
	Known bool
}

// Weight says what the finding means, by the same rules as the verdict.
func (f Finding) Weight() Effect {
	switch {
	case f.ExceptedBy != "":
		return Excepted
	case f.Known:
		return Known
	}
	return f.unwaived()
}

// unwaived is what the finding means in a run without baseline; exceptions aside.
func (f Finding) unwaived() Effect {
	switch {
	case admission.Denies(f.Finding):
		return Denies
	case admission.Warns(f.Finding):
		return Warns
	}
	return Records
}

// UndecidedPolicy is a policy that could not be decided, and where it points to.
type UndecidedPolicy struct {
	policies.Undecided
	Location Location
}

// Enforced says whether not knowing matters: a policy that only warns or records
// never stops a run.
func (u UndecidedPolicy) Enforced() bool { return admission.UndecidedCounts(u.Undecided) }

// Problem is input that was not judged because it could not be read.
type Problem = source.Problem

// Skip is a file that was passed over, and why.
type Skip = source.Skip

// SplitSkips tells what looks like a manifest, and so went undecided, from the rest.
func SplitSkips(skips []Skip) (manifests, others []Skip) {
	for _, skip := range skips {
		if skip.Manifest {
			manifests = append(manifests, skip)
		} else {
			others = append(others, skip)
		}
	}
	return manifests, others
}

// Summary counts a whole run.
type Summary struct {
	Objects    int             `json:"objects"`
	Outcomes   map[Outcome]int `json:"outcomes"`
	Effects    map[Effect]int  `json:"findings"`
	Severities map[string]int  `json:"severities"` // of findings that deny or warn
	Undecided  int             `json:"undecided"`  // policies not decided, of all objects
	Faults     int             `json:"faults"`
	Problems   int             `json:"problems"`
	// Gone counts the findings of the baseline that did not occur again.
	Gone int `json:"gone,omitempty"`
	// Expiring are exceptions that waived something and will not for much longer, and when each ends.
	Expiring map[string]string `json:"expiring,omitempty"`
	Skipped  []Skip            `json:"skipped,omitempty"`
	Exit     ExitCode          `json:"exitCode"`
	Finished time.Time         `json:"-"`
	// Audit is what an audit says beyond its results, nil for manifests. Only the json format has it.
	Audit any `json:"audit,omitempty"`
}

// outcome says what an object's findings, faults and open questions amount to.
// Admitted of the verdict is not trusted alone: a verdict that does not admit is
// never reported as admitted, whatever its findings say, unless a denial that is known explains it.
func outcome(result Result) Outcome {
	var warned, explained bool
	for _, finding := range result.Findings {
		switch finding.Weight() {
		case Denies:
			return Denied
		case Warns:
			warned = true
		case Known:
			explained = explained || finding.unwaived() == Denies
		}
	}
	undecided, faulty := false, false
	for _, fault := range result.Faults {
		switch {
		case !admission.FaultDenies(fault):
			warned = true
		case fault.Kind == policies.FaultFacts:
			undecided = true
		default:
			faulty = true
		}
	}
	for _, open := range result.Undecided {
		undecided = undecided || open.Enforced()
	}
	switch {
	case faulty:
		return Faulty
	case undecided:
		return Undecided
	case result.refused && !explained:
		return Faulty
	case warned:
		return Warned
	}
	return Admitted
}

// add counts one object's result.
func (s *Summary) add(result Result, now time.Time) {
	s.Objects++
	s.Outcomes[result.Outcome]++
	s.Undecided += len(result.Undecided)
	s.Faults += len(result.Faults)
	for _, finding := range result.Findings {
		weight := finding.Weight()
		s.Effects[weight]++
		if weight == Excepted && endsSoon(finding.ExceptedUntil, now) {
			if s.Expiring == nil {
				s.Expiring = map[string]string{}
			}
			s.Expiring[finding.ExceptedBy] = finding.ExceptedUntil
		}
		if weight == Denies || weight == Warns {
			s.Severities[finding.Severity]++
		}
	}
}

// expiringSoon is how long before its end an exception is mentioned: time for a review and a release.
const expiringSoon = 14 * 24 * time.Hour

func endsSoon(until string, now time.Time) bool {
	end, err := policies.ParseMoment(until)
	return err == nil && end.Sub(now) <= expiringSoon
}

// exit is the code of the run so far.
func (s *Summary) exit(failOnWarn bool) ExitCode {
	var codes []ExitCode
	if s.Objects == 0 && s.Problems == 0 {
		codes = append(codes, ExitUsage)
	}
	if s.Outcomes[Denied] > 0 {
		codes = append(codes, ExitDenied)
	}
	if s.Outcomes[Faulty] > 0 || s.Problems > 0 {
		codes = append(codes, ExitFault)
	}
	if s.Outcomes[Undecided] > 0 {
		codes = append(codes, ExitUndecided)
	}
	if failOnWarn && (s.Outcomes[Warned] > 0 || s.Effects[Warns] > 0) {
		codes = append(codes, ExitWarned)
	}
	return Worst(codes...)
}

// Exit is the code of a run in which this is the worst outcome.
func (o Outcome) Exit() ExitCode {
	switch o {
	case Denied:
		return ExitDenied
	case Undecided:
		return ExitUndecided
	case Admitted, Warned:
		return ExitAdmitted
	}
	return ExitFault
}
