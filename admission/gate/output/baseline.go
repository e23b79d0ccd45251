package output

import (
	"io"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// NewBaseline returns a handler that writes what a run found as a baseline for later runs:
// all that denies or warns, what was known already included.
func NewBaseline(w io.Writer) gate.Handler { return &baselineHandler{w: w} }

type baselineHandler struct {
	w       io.Writer
	bundle  string
	results []gate.Result
}

func (h *baselineHandler) Start(run gate.Run) error {
	h.bundle = run.Bundle
	return nil
}

func (h *baselineHandler) Result(result gate.Result) error {
	if len(result.Findings) > 0 {
		h.results = append(h.results, gate.Result{Object: result.Object, Findings: result.Findings})
	}
	return nil
}

// Problem says nothing: a baseline cannot waive what could not be read.
func (h *baselineHandler) Problem(gate.Problem) error { return nil }

func (h *baselineHandler) Finish(gate.Summary) error {
	return writeJSON(h.w, gate.BaselineFile{
		Schema: gate.BaselineSchema, Tool: "portcullis", Bundle: h.bundle, Findings: gate.BaselineOf(h.results),
	})
}
