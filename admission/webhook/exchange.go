package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// encoding writes Kubernetes' types as their tags mean it, the same bytes for the same
// verdict. What is no text in a bundle's messages must not keep a denial from being sent.
var encoding = jsonv2.JoinOptions(
	jsonv1.OmitEmptyWithLegacySemantics(true),
	jsonv2.Deterministic(true),
	jsontext.AllowInvalidUTF8(true),
)

// exchange is one request on its way to one answer.
type exchange struct {
	handler *Handler
	writer  http.ResponseWriter
	started time.Time
	door    door
	uid     string
	version string // of the answer, reviewVersion if empty
	written bool
	ctx     context.Context //nolint:containedctx // of the request, with its span where it is traced
	span    trace.Span      // nil where it is not

	// Where decisions are recorded:
	id       string // "" where they are not
	traceID  string
	request  *admission.Request
	recorded bool
}

// refuse answers a caller that is not served: with an HTTP error, since it has not
// shown that it speaks AdmissionReview at all.
func (e *exchange) refuse(refused *refusal) {
	e.count(outcomeRefused)
	// Whoever reaches the port can cause these lines, so they must not be one each.
	if skipped, ok := e.handler.refusals.allow(e.started); ok {
		e.handler.logger.Warn("refused a caller", "code", refused.code, "reason", refused.message, "skipped", skipped)
	}
	if refused.code == http.StatusMethodNotAllowed {
		e.writer.Header().Set("Allow", http.MethodPost)
	}
	e.writeStatus(refused.code, refused.message)
}

// reject denies a request that cannot be read; decoded is what could be. Without a
// uid there is nothing to deny and an HTTP error has to do.
func (e *exchange) reject(body []byte, decoded *review, cause error) {
	code := http.StatusBadRequest
	message := "this request cannot be judged: " + cause.Error()
	if errors.Is(cause, errTooLarge) {
		code = http.StatusRequestEntityTooLarge
		message = fmt.Sprintf("this request cannot be judged: it is larger than %d bytes: make the object smaller, or raise the webhook's --max-body", e.handler.options.MaxBody)
	}
	if errors.Is(cause, errOverloaded) {
		code, message = http.StatusTooManyRequests, overloadMessage
	}
	version, uid := "", ""
	if decoded == nil {
		version, uid = salvage(body)
	} else if version = decoded.APIVersion; decoded.Request != nil && len(decoded.Request.UID) <= maxUIDLength {
		uid = decoded.Request.UID
	}
	message = clean(message, maxMessage)
	outcome := outcomeRejected
	if code == http.StatusTooManyRequests {
		outcome = outcomeShed
	}
	e.count(outcome)
	e.handler.logger.Warn("rejected an unreadable request", "uid", uid, "code", code, "reason", message)
	if e.id != "" {
		e.recordUnjudged(outcome, unread(uid, decoded), message)
	}
	if uid == "" || version != reviewVersion && version != reviewVersionBeta1 {
		e.writeStatus(code, message)
		return
	}
	e.uid, e.version = uid, version
	e.deny(retryable(failure(code, message)))
}

// shed denies for want of room. Clients that understand 429 try again by themselves.
func (e *exchange) shed(request *admission.Request, cause error) {
	e.count(outcomeShed)
	e.handler.logger.Warn("shed a request", "reason", cause.Error(), "uid", request.UID, "user", request.Subject.Username,
		"resource", request.Resource.Resource, "operation", request.Operation)
	message := overloadMessage
	if errors.Is(cause, errShareUsed) {
		message = shareMessage
	}
	e.recordUnjudged(outcomeShed, request, message)
	e.deny(retryable(failure(http.StatusTooManyRequests, message)))
}

const overloadMessage = "the policy webhook is overloaded and has not judged this request: try again, and add replicas if it happens often"

const shareMessage = "the policy webhook has as many requests of this user or of this service account's namespace under way as one may have, and has not judged this one: try again, with fewer requests at once or smaller objects"

// retryable tells clients when to try again, where that helps.
func retryable(status *metav1.Status) *metav1.Status {
	if status.Code == http.StatusTooManyRequests {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	}
	return status
}

// answer writes a verdict.
func (e *exchange) answer(request *admission.Request, verdict admission.Verdict) {
	response := &admissionv1.AdmissionResponse{
		Allowed:          verdict.Admitted,
		Warnings:         warnings(verdict),
		AuditAnnotations: auditAnnotations(verdict),
	}
	if e.id != "" {
		response.AuditAnnotations["decision"] = e.id
	}
	if e.traceID != "" {
		response.AuditAnnotations["trace"] = e.traceID
	}
	if !verdict.Admitted {
		response.Result = denial(verdict)
		response.Result.Message += e.reference()
	} else if e.door == doorMutate && len(verdict.Patch) > 0 {
		patchType := admissionv1.PatchTypeJSONPatch
		response.Patch, response.PatchType = verdict.Patch, &patchType
	}
	outcome := outcomeOf(verdict)
	e.count(outcome)
	e.handler.metrics.verdict(e.door, verdict)
	e.tell(verdict)
	e.log(request, verdict, outcome)
	e.record(outcome, request, verdict, "")
	e.write(response)
}

func outcomeOf(verdict admission.Verdict) outcome {
	switch {
	case verdict.Admitted:
		return outcomeAdmitted
	case verdict.Denied():
		return outcomeDenied
	default:
		return outcomeFault
	}
}

// log writes a line for each denial and each fault: who wanted to do what to which
// object, and which policies objected; nothing of the object itself.
func (e *exchange) log(request *admission.Request, verdict admission.Verdict, outcome outcome) {
	if outcome == outcomeAdmitted && len(verdict.Faults) == 0 {
		return
	}
	level := slog.LevelInfo
	if len(verdict.Faults) > 0 {
		level = slog.LevelError
	}
	faults := make([]string, 0, len(verdict.Faults))
	for _, fault := range verdict.Faults {
		faults = append(faults, clean(fmt.Sprintf("%s: %s: %s", fault.Policy, fault.Kind, fault.Message), maxAnnotation))
	}
	logger := e.handler.logger
	if e.id != "" {
		logger = logger.With("decision", e.id)
	}
	logger.Log(e.ctx, level, "reviewed",
		"verdict", string(outcome), "webhook", string(e.door), "uid", request.UID,
		"operation", request.Operation, "group", request.Resource.Group, "resource", request.Resource.Resource,
		"subresource", request.SubResource, "namespace", request.Namespace, "name", request.Name,
		"user", request.Subject.Username, "dryRun", request.DryRun,
		"policies", policiesOf(denying(verdict.Findings)), "faults", faults,
		"bundle", verdict.Bundle, "profile", verdict.Profile,
		"milliseconds", time.Since(e.started).Milliseconds())
}

// rescue turns a panic of the handler itself into a denial.
func (e *exchange) rescue() {
	cause := recover()
	if cause == nil {
		return
	}
	e.handler.logger.Error("webhook panicked", "uid", e.uid, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	e.count(outcomeFault)
	if e.written {
		return
	}
	const message = "the policy webhook panicked: report it with the line of its log that has this request's uid"
	e.recordUnjudged(outcomeFault, e.known(), message)
	if e.uid == "" {
		e.writeStatus(http.StatusInternalServerError, message)
		return
	}
	e.deny(failure(http.StatusInternalServerError, message))
}

// known is what is known of the request.
func (e *exchange) known() *admission.Request {
	if e.request == nil {
		return unread(e.uid, nil)
	}
	return e.request
}

// admitUnmatched answers what no policy is about, without encoding anything.
func (e *exchange) admitUnmatched(request *admission.Request) {
	e.count(outcomeUnmatched)
	e.recordUnjudged(outcomeUnmatched, request, "")
	answer := make([]byte, 0, 192)
	answer = append(answer, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":`...)
	answer, err := jsontext.AppendQuote(answer, e.uid)
	if err != nil { // the decoder has refused what is no text
		panic(err)
	}
	e.writeBody(http.StatusOK, append(answer, `,"allowed":true}}`...))
}

func (e *exchange) deny(status *metav1.Status) {
	e.write(&admissionv1.AdmissionResponse{Result: status})
}

func (e *exchange) write(response *admissionv1.AdmissionResponse) {
	response.UID = types.UID(e.uid)
	answer := struct {
		Kind       string                         `json:"kind"`
		APIVersion string                         `json:"apiVersion"`
		Response   *admissionv1.AdmissionResponse `json:"response"`
	}{reviewKind, reviewVersion, response}
	if e.version != "" {
		answer.APIVersion = e.version
	}
	body, err := jsonv2.Marshal(answer, encoding)
	if err != nil {
		panic(err) // recovered into a denial that has only constants to encode
	}
	e.writeBody(http.StatusOK, body)
}

// writeStatus answers with an HTTP error in the form Kubernetes clients read.
func (e *exchange) writeStatus(code int, message string) {
	status := failure(code, message)
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, err := jsonv2.Marshal(status, encoding)
	if err != nil {
		body = []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure"}`)
	}
	e.writeBody(code, body)
}

func (e *exchange) writeBody(code int, body []byte) {
	e.written = true
	header := e.writer.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	e.writer.WriteHeader(code)
	_, _ = e.writer.Write(body) // the caller is gone, and with it whom to tell
}

func (e *exchange) count(outcome outcome) {
	e.ended(outcome)
	e.handler.metrics.observe(e.door, outcome, time.Since(e.started), e.traceID)
}

var reasons = map[int]metav1.StatusReason{
	http.StatusBadRequest:            metav1.StatusReasonBadRequest,
	http.StatusUnauthorized:          metav1.StatusReasonUnauthorized,
	http.StatusForbidden:             metav1.StatusReasonForbidden,
	http.StatusNotFound:              metav1.StatusReasonNotFound,
	http.StatusMethodNotAllowed:      metav1.StatusReasonMethodNotAllowed,
	http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
	http.StatusUnsupportedMediaType:  metav1.StatusReasonUnsupportedMediaType,
	http.StatusTooManyRequests:       metav1.StatusReasonTooManyRequests,
	http.StatusInternalServerError:   metav1.StatusReasonInternalError,
}

func failure(code int, message string) *metav1.Status {
	return &metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Reason: reasons[code], Message: message}
}

// denying are the findings because of which a request is denied.
func denying(findings []policies.Finding) []policies.Finding {
	var denying []policies.Finding
	for _, finding := range findings {
		if admission.Denies(finding) {
			denying = append(denying, finding)
		}
	}
	return denying
}
