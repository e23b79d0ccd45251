package webhook

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/tracing"
)

// Recorder keeps decisions.
type Recorder interface {
	// Record is called once for each AdmissionReview, before its answer is written, so that whoever has an answer finds the
	// decision recorded. The answer waits for it. It must not change the decision.
	//
	// What could not be read has a request with no more than a uid; what no policy is about, and what was shed for want of
	// room, has one without objects. Callers that are not answered at all (see [Callers]) ask for no decision.
	Record(ctx context.Context, decision *admission.Decision)
}

// identify gives the exchange an id where somebody keeps it.
func (e *exchange) identify(r *http.Request) {
	if e.handler.options.Recorder == nil {
		return
	}
	e.id = uuid.NewString()
	if header := r.Header.Get(tracing.Header); header != "" && e.handler.options.Traces == nil { // else trace says it
		if of := tracing.Parse(header); of.IsValid() {
			e.traceID = of.TraceID().String()
		}
	}
}

// record hands the decision to the recorder. One that panics loses it, and must not turn the answer into another one.
func (e *exchange) record(outcome outcome, request *admission.Request, verdict admission.Verdict, reason string) {
	if e.id == "" || e.recorded {
		return
	}
	e.recorded = true
	defer func() {
		if cause := recover(); cause != nil {
			e.handler.logger.Error("the recorder panicked: a decision is not kept", "decision", e.id, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
	}()
	e.handler.options.Recorder.Record(e.ctx, &admission.Decision{
		ID: e.id, Trace: e.traceID, Time: e.started, Duration: time.Since(e.started),
		Mutation: e.door == doorMutate, Outcome: string(outcome), Reason: reason,
		Request: *request, Verdict: verdict,
	})
}

// recordUnjudged is record for what no judge was asked about.
func (e *exchange) recordUnjudged(outcome outcome, request *admission.Request, reason string) {
	e.record(outcome, request, admission.Verdict{Admitted: outcome == outcomeUnmatched}, reason)
}

// unread is the request of a review that could not be read, as far as that is known.
func unread(uid string, decoded *review) *admission.Request {
	if decoded == nil || decoded.Request == nil {
		return &admission.Request{Door: admission.DoorAdmission, UID: uid}
	}
	return decoded.Request.admission()
}

// reference says to whoever is denied where the reasons are to be found, "" where nobody keeps them.
func (e *exchange) reference() string {
	if e.id == "" || e.handler.options.Journal == "" {
		return ""
	}
	return fmt.Sprintf("\ndecision %s: portcullis explain %s --journal %s", e.id, e.id, e.handler.options.Journal)
}
