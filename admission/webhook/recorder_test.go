package webhook

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// kept is a Recorder that keeps decisions, and calls a function for each.
type kept struct {
	mu        sync.Mutex
	decisions []admission.Decision
	call      func()
}

func (k *kept) Record(_ context.Context, decision *admission.Decision) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.decisions = append(k.decisions, *decision)
	if k.call != nil {
		k.call()
	}
}

// only is the one decision that there is.
func (k *kept) only(t *testing.T) admission.Decision {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.decisions) != 1 {
		t.Fatalf("%d decisions were recorded, want 1: %+v", len(k.decisions), k.decisions)
	}
	return k.decisions[0]
}

func recordedBy(recorder Recorder) func(*Options) {
	return func(o *Options) { o.Recorder = recorder }
}

func TestEveryAnswerIsRecordedOnce(t *testing.T) {
	denies := admission.Verdict{Bundle: "acme@1", Findings: []policies.Finding{{Policy: "pods/privileged", Effect: policies.EffectDeny, Message: "no"}}}
	over := make(chan struct{})
	defer close(over)
	hangs := reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		<-over
		return admission.Verdict{Admitted: true}
	}}
	panics := reviewer{review: func(context.Context, admission.Request) admission.Verdict { panic("a mistake") }}
	matchPanics := reviewer{matches: func(*admission.Request) bool { panic("a mistake") }}
	pod := body(`,"object":{"kind":"Pod"}`)
	type want struct {
		outcome, uid, resource, object string
		mutation                       bool
		reason                         string
	}
	for name, test := range map[string]struct {
		reviewer Reviewer
		path     string
		body     string
		options  func(*Options)
		want     want
	}{
		"an admitted request":               {admits(nil), ValidatePath, pod, nil, want{outcome: "admitted", uid: uid, resource: "pods", object: `{"kind":"Pod"}`}},
		"a mutation":                        {admits(nil), MutatePath, pod, nil, want{outcome: "admitted", uid: uid, resource: "pods", object: `{"kind":"Pod"}`, mutation: true}},
		"a denial":                          {verdicts(denies), ValidatePath, pod, nil, want{outcome: "denied", uid: uid, resource: "pods", object: `{"kind":"Pod"}`}},
		"a verdict of nobody":               {verdicts(admission.Verdict{}), ValidatePath, pod, nil, want{outcome: "fault", uid: uid, resource: "pods", object: `{"kind":"Pod"}`}},
		"a request no policy is about":      {reviewer{matches: func(*admission.Request) bool { return false }}, ValidatePath, pod, nil, want{outcome: "unmatched", uid: uid, resource: "pods"}},
		"a reviewer that panics":            {panics, ValidatePath, pod, nil, want{outcome: "fault", uid: uid, resource: "pods", object: `{"kind":"Pod"}`}},
		"a webhook that panics":             {matchPanics, ValidatePath, pod, nil, want{outcome: "fault", uid: uid, resource: "pods", reason: "panicked"}},
		"a reviewer beyond its deadline":    {hangs, ValidatePath + "?timeout=20ms", pod, nil, want{outcome: "fault", uid: uid, resource: "pods", object: `{"kind":"Pod"}`}},
		"a body cut short":                  {admits(nil), ValidatePath, pod[:len(pod)-3], nil, want{outcome: "rejected", uid: uid, reason: "cannot be judged"}},
		"a body that is no JSON":            {admits(nil), ValidatePath, "no", nil, want{outcome: "rejected", reason: "cannot be judged"}},
		"a body that is too large":          {admits(nil), ValidatePath, pod, func(o *Options) { o.MaxBody = 200 }, want{outcome: "rejected", uid: uid, reason: "larger than 200 bytes"}},
		"an operation that does not exist":  {admits(nil), ValidatePath, strings.Replace(pod, "CREATE", "EAT", 1), nil, want{outcome: "rejected", uid: uid, resource: "pods", reason: "EAT"}},
		"a review of a version of tomorrow": {admits(nil), ValidatePath, strings.Replace(pod, "io/v1", "io/v3", 1), nil, want{outcome: "rejected", uid: uid, resource: "pods", reason: "v3"}},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := &kept{}
			options := []func(*Options){recordedBy(recorder)}
			if test.options != nil {
				options = append(options, test.options)
			}
			handler := newHandler(t, test.reviewer, options...)
			written := httptest.NewRecorder()
			handler.ServeHTTP(written, post(test.path, test.body))
			decision := recorder.only(t)
			got := want{decision.Outcome, decision.Request.UID, decision.Request.Resource.Resource, string(decision.Request.Object), decision.Mutation, decision.Reason}
			if !strings.Contains(got.reason, test.want.reason) || test.want.reason == "" && got.reason != "" {
				t.Errorf("the reason is %q, want %q in it", got.reason, test.want.reason)
			}
			got.reason = test.want.reason
			if got != test.want {
				t.Errorf("recorded %+v, want %+v", got, test.want)
			}
			if decision.ID == "" || decision.Time.IsZero() || decision.Duration <= 0 {
				t.Errorf("recorded id %q, time %s, duration %s: want all of them", decision.ID, decision.Time, decision.Duration)
			}
			if admitted := decision.Verdict.Admitted; admitted != strings.Contains(written.Body.String(), `"allowed":true`) {
				t.Errorf("recorded admitted %v, and the answer is %s", admitted, written.Body)
			}
		})
	}
}

func TestShedRequestsAreRecorded(t *testing.T) {
	recorder := &kept{}
	release, running := make(chan struct{}), make(chan struct{})
	waits := reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		close(running)
		<-release
		return admission.Verdict{Admitted: true}
	}}
	handler := newHandler(t, waits, recordedBy(recorder), func(o *Options) { o.MaxRunning, o.MaxWaiting = 1, 1 })
	var group sync.WaitGroup
	group.Go(func() { handler.ServeHTTP(httptest.NewRecorder(), post(ValidatePath, body(""))) })
	<-running
	handler.ServeHTTP(httptest.NewRecorder(), post(ValidatePath+"?timeout=20ms", body("")))
	if decision := recorder.only(t); decision.Outcome != "shed" || decision.Verdict.Admitted || decision.Reason == "" {
		t.Errorf("recorded %s, admitted %v, reason %q: want it shed, with a reason", decision.Outcome, decision.Verdict.Admitted, decision.Reason)
	}
	close(release)
	group.Wait()
}

// written notes when an answer is written.
type written struct {
	*httptest.ResponseRecorder
	note func()
}

func (w written) WriteHeader(code int) { w.note(); w.ResponseRecorder.WriteHeader(code) }

func TestADecisionIsRecordedBeforeItsAnswerIsWritten(t *testing.T) {
	var order []string
	recorder := &kept{call: func() { order = append(order, "recorded") }}
	handler := newHandler(t, admits(nil), recordedBy(recorder))
	handler.ServeHTTP(written{httptest.NewRecorder(), func() { order = append(order, "answered") }}, post(ValidatePath, body("")))
	if want := []string{"recorded", "answered"}; !reflect.DeepEqual(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
}

func TestARecorderThatPanicsChangesNoAnswer(t *testing.T) {
	var log bytes.Buffer
	recorder := &kept{call: func() { panic("the disk is full") }}
	handler := newHandler(t, admits(nil), recordedBy(recorder), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	_, review := answer(t, handler, post(ValidatePath, body("")))
	if !review.Response.Allowed {
		t.Errorf("the answer is %+v, want it allowed", review.Response)
	}
	if !strings.Contains(log.String(), "the disk is full") {
		t.Errorf("the log is %q, want why a decision was not kept", &log)
	}
	if recorder.only(t); t.Failed() {
		t.Log("a recorder that panics is asked once")
	}
}

func TestAnswersNameTheirDecision(t *testing.T) {
	denies := verdicts(admission.Verdict{Bundle: "acme@1", Findings: []policies.Finding{{Policy: "pods/privileged", Effect: policies.EffectDeny, Message: "no"}}})
	for name, test := range map[string]struct {
		options []func(*Options)
		line    bool
		audit   bool
	}{
		"nobody keeps decisions":              {nil, false, false},
		"somebody keeps them":                 {[]func(*Options){recordedBy(&kept{})}, false, true},
		"they are kept where explain looks":   {[]func(*Options){recordedBy(&kept{}), func(o *Options) { o.Journal = "/var/log/portcullis" }}, true, true},
		"a journal is named and nobody is it": {[]func(*Options){func(o *Options) { o.Journal = "/var/log/portcullis" }}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			handler := newHandler(t, denies, test.options...)
			_, review := answer(t, handler, post(ValidatePath, body("")))
			id := review.Response.AuditAnnotations["decision"]
			if (id != "") != test.audit {
				t.Errorf("the audit annotation is %q, want one: %v", id, test.audit)
			}
			want := "\ndecision " + id + ": portcullis explain " + id + " --journal /var/log/portcullis"
			if got := strings.HasSuffix(review.Response.Result.Message, want); got != test.line {
				t.Errorf("the message is %q, want %q at its end: %v", review.Response.Result.Message, want, test.line)
			}
		})
	}
}

func TestTracesAreThoseOfTheSpecification(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for name, test := range map[string]struct{ header, want string }{
		"version 00":                         {"00-" + trace + "-00f067aa0ba902b7-01", trace},
		"a later version with more fields":   {"01-" + trace + "-00f067aa0ba902b7-01-what", trace},
		"version 00 with more fields":        {"00-" + trace + "-00f067aa0ba902b7-01-what", ""},
		"no header":                          {"", ""},
		"the version that is forbidden":      {"ff-" + trace + "-00f067aa0ba902b7-01", ""},
		"a trace of zeros":                   {"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", ""},
		"a parent of zeros":                  {"00-" + trace + "-0000000000000000-01", ""},
		"upper case":                         {"00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01", ""},
		"no hexadecimal digits":              {"00-" + strings.Repeat("x", 32) + "-00f067aa0ba902b7-01", ""},
		"a trace that is too short":          {"00-4bf92f-00f067aa0ba902b7-01", ""},
		"something to break a log line with": {"00-" + trace + "\n-00f067aa0ba902b7-01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := &kept{}
			request := post(ValidatePath, body(""))
			request.Header.Set("Traceparent", test.header)
			newHandler(t, admits(nil), recordedBy(recorder)).ServeHTTP(httptest.NewRecorder(), request)
			if got := recorder.only(t).Trace; got != test.want {
				t.Errorf("the trace of %q is %q, want %q", test.header, got, test.want)
			}
		})
	}
}

func TestCallersThatAreNotAnsweredAreNoDecisions(t *testing.T) {
	recorder := &kept{}
	handler := newHandler(t, admits(nil), recordedBy(recorder))
	code, _ := answer(t, handler, post("/elsewhere", body("")))
	if code != http.StatusNotFound || len(recorder.decisions) != 0 {
		t.Errorf("HTTP %d with %d decisions, want 404 with none", code, len(recorder.decisions))
	}
}

func TestWithSeveralBundlesEachIsNamed(t *testing.T) {
	verdict := admission.Verdict{
		Bundle: "acme@1, shop@2",
		Findings: []policies.Finding{
			{Policy: "pods/privileged", Bundle: "acme", Effect: policies.EffectDeny, Message: "is privileged"},
			{Policy: "shop/owner", Bundle: "shop", Effect: policies.EffectWarn, Message: "has no owner"},
			{Policy: "shop/team", Instance: "strict", Bundle: "shop", Effect: policies.EffectDeny, Message: "has no team", ExceptedBy: "shop/legacy"},
		},
		Faults: []policies.Fault{
			{Policy: "pods/limits", Bundle: "acme", Kind: policies.FaultError, Message: "broken"},
			{Policy: "pods/limits", Bundle: "shop", Kind: policies.FaultPanic, Message: "broken"},
		},
		Undecided: []policies.Undecided{{Policy: "images/signed", Bundle: "shop", Reason: "not known"}},
	}
	_, review := answer(t, newHandler(t, verdicts(verdict)), post(ValidatePath, body("")))
	for _, want := range []string{
		"- pods/privileged of bundle acme", "- pods/limits of bundle acme: evaluation error", "- pods/limits of bundle shop: panic",
		"- images/signed of bundle shop: undecided",
	} {
		if message := review.Response.Result.Message; !strings.Contains(message, want) {
			t.Errorf("the message is %q, want %q in it", message, want)
		}
	}
	if got, want := review.Response.Warnings, []string{"shop/owner of bundle shop: has no owner"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the warnings are %q, want %q", got, want)
	}
	if got, want := review.Response.AuditAnnotations["excepted"], "shop/team as strict of bundle shop by shop/legacy"; got != want {
		t.Errorf("the annotation excepted is %q, want %q", got, want)
	}
}
