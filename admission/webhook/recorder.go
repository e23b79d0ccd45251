package webhook

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/portcullis-dev/portcullis/admission"
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
	e.call = r
	e.id = uuid.NewString()
	e.trace = traceOf(r.Header.Get("Traceparent"))
}

// traceOf is the trace id in a traceparent header of version 00 or later (W3C Trace Context, section 3.2), "" for one
// that is malformed or all zero, which the specification has ignored.
func traceOf(header string) string {
	const version, traceID, parentID = 2, 32, 16
	parts := strings.Split(header, "-")
	if len(parts) < 4 || len(parts[0]) != version || len(parts[1]) != traceID || len(parts[2]) != parentID || parts[0] == "ff" {
		return ""
	}
	for _, part := range parts[:4] {
		if _, err := hex.DecodeString(part); err != nil || strings.ToLower(part) != part {
			return ""
		}
	}
	if strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" || parts[0] == "00" && len(parts) != 4 {
		return ""
	}
	return parts[1]
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
	e.handler.options.Recorder.Record(e.call.Context(), &admission.Decision{
		ID: e.id, Trace: e.trace, Time: e.started, Duration: time.Since(e.started),
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
