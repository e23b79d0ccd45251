package gate

import (
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// Existing reports objects that exist and that somebody else judges, one by one, as a run reports those of manifests: to the
// same handlers, with the same outcomes, fingerprints, baselines and exit codes. It is for one goroutine.
type Existing struct {
	gate    *Gate
	handler Handler
	summary Summary
	started time.Time
	// gaps counts what could not be looked at and counts.
	gaps int
}

// Judged is one object that was judged.
type Judged struct {
	Object  Object
	Verdict admission.Verdict
	// Raw is the object, which fingerprints are made with.
	Raw []byte
	// Locate says where a field of it is; the empty path is the object itself.
	Locate func(path string) Location
}

// Existing begins a report. Lineup, Profile, Cluster, Baseline and Version are for its head.
func (g *Gate) Existing(handler Handler) (*Existing, error) {
	if err := handler.Start(g.describe()); err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	return &Existing{
		gate: g, handler: handler, started: g.Now(),
		summary: Summary{Outcomes: map[Outcome]int{}, Effects: map[Effect]int{}, Severities: map[string]int{}},
	}, nil
}

// Add reports one object.
func (e *Existing) Add(judged Judged) error {
	result := Result{
		Object: judged.Object, Location: judged.Locate(""),
		Profile: judged.Verdict.Profile, Matched: judged.Verdict.Matched, Faults: judged.Verdict.Faults, refused: !judged.Verdict.Admitted,
	}
	for _, found := range judged.Verdict.Findings {
		finding := Finding{Finding: found, Location: judged.Locate(found.Path)}
		finding.Fingerprint = fingerprint(finding, result.Object, judged.Raw)
		result.Findings = append(result.Findings, finding)
	}
	for _, open := range judged.Verdict.Undecided {
		result.Undecided = append(result.Undecided, UndecidedPolicy{open, judged.Locate(open.Path)})
	}
	result.Outcome = outcome(result)
	e.gate.Baseline.mark(&result)
	e.summary.add(result, e.started)
	return e.tell(result)
}

// Gap reports what could not be looked at: undecided, unless it is only to be noted. It is no object and is not counted as one.
func (e *Existing) Gap(what, reason string, noted bool) error {
	open := policies.Undecided{Reason: reason}
	if noted {
		open.Enforcement = policies.EnforceAudit
	} else {
		e.gaps++
	}
	at := Location{File: what}
	result := Result{Object: Object{Kind: "Resource", Name: what}, Location: at, Undecided: []UndecidedPolicy{{open, at}}}
	result.Outcome = outcome(result)
	return e.tell(result)
}

// Problem reports what could not be read.
func (e *Existing) Problem(problem Problem) error {
	e.summary.Problems++
	if err := e.handler.Problem(problem); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// Skipped notes what was passed over.
func (e *Existing) Skipped(skips []Skip) { e.summary.Skipped = skips }

func (e *Existing) tell(result Result) error {
	if err := e.handler.Result(result); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// Finish ends the report. audit is what else there is to say, for those who read JSON.
func (e *Existing) Finish(audit any) (ExitCode, error) {
	code := e.summary.exit(e.gate.FailOnWarn)
	if e.gaps > 0 {
		code = Worst(code, ExitUndecided)
		if e.summary.Objects == 0 && e.summary.Problems == 0 {
			code = ExitUndecided // there was something to judge, and nobody might look at it
		}
	}
	e.summary.Exit, e.summary.Gone, e.summary.Finished, e.summary.Audit = code, e.gate.Baseline.gone(), e.gate.Now(), audit
	if err := e.handler.Finish(e.summary); err != nil {
		return ExitFault, fmt.Errorf("writing the report: %w", err)
	}
	return code, nil
}
