package output

import (
	"encoding/json"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies"
)

// jsonHandler writes one JSON document. Results are written as they come, so a big
// run needs no memory for them.
type jsonHandler struct {
	w        *printer
	results  int
	problems []gate.Problem
}

// jsonRun is the head of the document.
type jsonRun struct {
	Schema   string `json:"$schema"`
	Tool     string `json:"tool"`
	Version  string `json:"version"`
	Bundle   string `json:"bundle"`
	Profile  string `json:"profile"`
	Context  string `json:"context,omitempty"`
	Baseline string `json:"baseline,omitempty"`
}

type jsonFinding struct {
	Bundle      string            `json:"bundle,omitempty"` // where several judge
	Policy      string            `json:"policy"`
	Instance    string            `json:"instance,omitempty"`
	Title       string            `json:"title,omitempty"`
	Severity    string            `json:"severity"`
	Effect      gate.Effect       `json:"effect"`
	Message     string            `json:"message"`
	Path        string            `json:"path,omitempty"`
	Location    gate.Location     `json:"location"`
	Remediation string            `json:"remediation,omitempty"`
	Details     map[string]any    `json:"details,omitempty"`
	Fix         []policies.Change `json:"fix,omitempty"`
	ExceptedBy  string            `json:"exceptedBy,omitempty"`
	// ExceptedUntil is when the exception ends.
	ExceptedUntil string `json:"exceptedUntil,omitempty"`
	Fingerprint   string `json:"fingerprint,omitempty"`
	// WouldBe is what a known finding would mean without the baseline.
	WouldBe gate.Effect `json:"wouldBe,omitempty"`
}

type jsonUndecided struct {
	Bundle      string               `json:"bundle,omitempty"`
	Policy      string               `json:"policy"`
	Reason      string               `json:"reason"`
	Path        string               `json:"path,omitempty"`
	Location    gate.Location        `json:"location"`
	Enforcement policies.Enforcement `json:"enforcement"`
}

// jsonResult is gate.Result with findings spelled out.
type jsonResult struct {
	gate.Result
	Findings  []jsonFinding   `json:"findings"`
	Undecided []jsonUndecided `json:"undecided"`
}

func (h *jsonHandler) Start(run gate.Run) error {
	head, err := json.Marshal(jsonRun{
		Schema: gate.ReportSchema, Tool: "portcullis", Version: run.Version,
		Bundle: run.Bundle, Profile: run.Profile, Context: run.Context, Baseline: run.Baseline,
	})
	if err != nil {
		return err
	}
	// The object stays open: the results follow one by one.
	h.w.write(escapeJSON(head[:len(head)-1]))
	h.w.printf(`,"results":[`)
	return h.w.err
}

func (h *jsonHandler) Result(result gate.Result) error {
	line, err := json.Marshal(jsonResult{Result: result, Findings: jsonFindings(result.Findings), Undecided: jsonUndecidedOf(result.Undecided)})
	if err != nil {
		return err
	}
	if h.results > 0 {
		h.w.printf(",")
	}
	h.results++
	h.w.printf("\n")
	h.w.write(escapeJSON(line))
	return h.w.err
}

func (h *jsonHandler) Problem(problem gate.Problem) error {
	h.problems = append(h.problems, problem)
	return nil
}

func (h *jsonHandler) Finish(summary gate.Summary) error {
	tail, err := json.Marshal(struct {
		Problems []gate.Problem `json:"problems"`
		Summary  gate.Summary   `json:"summary"`
		Verdict  string         `json:"verdict"`
	}{append([]gate.Problem{}, h.problems...), summary, summary.Exit.String()})
	if err != nil {
		return err
	}
	h.w.printf("\n],")
	h.w.write(escapeJSON(tail[1:]))
	h.w.printf("\n")
	return h.w.err
}

func jsonFindings(findings []gate.Finding) []jsonFinding {
	out := make([]jsonFinding, 0, len(findings))
	for _, finding := range findings {
		out = append(out, jsonFinding{
			Bundle: finding.Bundle, Policy: finding.Policy, Instance: finding.Instance, Title: finding.Title, Severity: finding.Severity,
			Effect: finding.Weight(), Message: finding.Message, Path: finding.Path, Location: finding.Location,
			Remediation: finding.Remediation, Details: finding.Details, Fix: finding.Fix, ExceptedBy: finding.ExceptedBy, ExceptedUntil: finding.ExceptedUntil,
			Fingerprint: finding.Fingerprint, WouldBe: finding.WouldBe(),
		})
	}
	return out
}

func jsonUndecidedOf(open []gate.UndecidedPolicy) []jsonUndecided {
	out := make([]jsonUndecided, 0, len(open))
	for _, u := range open {
		out = append(out, jsonUndecided{Bundle: u.Bundle, Policy: u.Policy, Reason: u.Reason, Path: u.Path, Location: u.Location, Enforcement: u.Enforcement})
	}
	return out
}
