package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	admissionv1 "k8s.io/api/admission/v1"
)

// reviewer answers with its functions; a nil one denies, and Matches says yes.
type reviewer struct {
	review, mutate func(context.Context, admission.Request) admission.Verdict
	matches        func(*admission.Request) bool
}

func (r reviewer) Review(ctx context.Context, request admission.Request) admission.Verdict {
	if r.review == nil {
		return admission.Verdict{}
	}
	return r.review(ctx, request)
}

func (r reviewer) Mutate(ctx context.Context, request admission.Request) admission.Verdict {
	if r.mutate == nil {
		return admission.Verdict{}
	}
	return r.mutate(ctx, request)
}

func (r reviewer) Matches(request *admission.Request) bool {
	return r.matches == nil || r.matches(request)
}

// admits is a reviewer that admits everything and remembers what it was asked.
func admits(seen *[]admission.Request) reviewer {
	var mu sync.Mutex
	judge := func(_ context.Context, request admission.Request) admission.Verdict {
		mu.Lock()
		defer mu.Unlock()
		if seen != nil {
			*seen = append(*seen, request)
		}
		return admission.Verdict{Admitted: true, Bundle: "library@1"}
	}
	return reviewer{review: judge, mutate: judge}
}

func verdicts(verdict admission.Verdict) reviewer {
	judge := func(context.Context, admission.Request) admission.Verdict { return verdict }
	return reviewer{review: judge, mutate: judge}
}

func newHandler(t testing.TB, reviewer Reviewer, change ...func(*Options)) *Handler {
	t.Helper()
	options := Options{Reviewer: reviewer, Callers: &Callers{Mode: CallerOpen}}
	for _, change := range change {
		change(&options)
	}
	handler, err := NewHandler(options)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002"

// body is an AdmissionReview with fields added to its request.
func body(fields string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"` + uid + `",` +
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},` +
		`"name":"web","namespace":"shop","operation":"CREATE","userInfo":{"username":"alice","uid":"1","groups":["system:authenticated"],"extra":{"scopes":["a","b"]}}` +
		fields + `}}`
}

func post(path, body string) *http.Request {
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	return request
}

// answer is what came back: either a response or an HTTP error.
func answer(t testing.TB, handler http.Handler, request *http.Request) (int, *admissionv1.AdmissionReview) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		return recorder.Code, nil
	}
	return recorder.Code, decodeAnswer(t, recorder.Body.Bytes())
}

func decodeAnswer(t testing.TB, content []byte) *admissionv1.AdmissionReview {
	t.Helper()
	var review admissionv1.AdmissionReview
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&review); err != nil {
		t.Fatalf("the answer is no AdmissionReview: %v: %s", err, content)
	}
	if review.Response == nil || review.Kind != "AdmissionReview" {
		t.Fatalf("the answer is %s, want an AdmissionReview with a response", content)
	}
	return &review
}

func TestUnreadableRequestsAreNeverAdmitted(t *testing.T) {
	good := body("")
	post := func(body string) *http.Request { return post(ValidatePath, body) }
	typed := func(contentType string) *http.Request {
		request := post(good)
		request.Header.Set("Content-Type", contentType)
		return request
	}
	encoded := post(good)
	encoded.Header.Set("Content-Encoding", "gzip")
	for name, test := range map[string]struct {
		request *http.Request
		code    int    // of HTTP
		denied  int    // status.code of a denial, for HTTP 200
		says    string // in the message
	}{
		"another path":                        {httptest.NewRequest("POST", "/", strings.NewReader(good)), 404, 0, "/validate"},
		"a GET":                               {httptest.NewRequest("GET", ValidatePath, nil), 405, 0, "POST"},
		"a PUT":                               {httptest.NewRequest("PUT", ValidatePath, strings.NewReader(good)), 405, 0, "POST"},
		"no content type":                     {httptest.NewRequest("POST", ValidatePath, strings.NewReader(good)), 415, 0, "application/json"},
		"YAML":                                {typed("application/yaml"), 415, 0, "application/json"},
		"JSON patch":                          {typed("application/json-patch+json"), 415, 0, "application/json"},
		"another charset":                     {typed("application/json; charset=utf-16"), 415, 0, "application/json"},
		"compressed":                          {encoded, 415, 0, "as it is"},
		"an empty body":                       {post(""), 400, 0, "AdmissionReview"},
		"no JSON":                             {post("kind: AdmissionReview"), 400, 0, "AdmissionReview"},
		"an array":                            {post("[]"), 400, 0, "AdmissionReview"},
		"null":                                {post("null"), 400, 0, "kind"},
		"another kind":                        {post(`{"kind":"Pod","apiVersion":"v1"}`), 400, 0, "kind"},
		"no version":                          {post(strings.Replace(good, "admission.k8s.io/v1", "", 1)), 400, 0, "admissionReviewVersions"},
		"v1beta1":                             {post(strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1)), 200, 400, "admissionReviewVersions"},
		"no request":                          {post(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`), 400, 0, "request is missing"},
		"a null request":                      {post(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`), 400, 0, "request is missing"},
		"only a response":                     {post(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"` + uid + `","allowed":true}}`), 400, 0, "request is missing"},
		"no uid":                              {post(strings.Replace(good, uid, "", 1)), 400, 0, "request.uid"},
		"a uid that is no string":             {post(strings.Replace(good, `"`+uid+`"`, "7", 1)), 400, 0, "uid"},
		"a huge uid":                          {post(strings.Replace(good, uid, strings.Repeat("u", 1000), 1)), 400, 0, "request.uid"},
		"an unknown operation":                {post(strings.Replace(good, "CREATE", "create", 1)), 200, 400, "operation"},
		"no resource":                         {post(strings.Replace(good, `"resource":"pods"`, `"resource":""`, 1)), 200, 400, "resource"},
		"a key in another case":               {post(strings.Replace(good, `"operation"`, `"Operation"`, 1)), 200, 400, "operation"},
		"a duplicate key of the review":       {post(strings.Replace(good, `"apiVersion"`, `"kind":"AdmissionReview","apiVersion"`, 1)), 400, 0, "duplicate"},
		"a duplicate key of the request":      {post(body(`,"operation":"DELETE"`)), 200, 400, "duplicate"},
		"a duplicate key in the object":       {post(body(`,"object":{"spec":{"hostNetwork":true,"hostNetwork":false}}`)), 200, 400, "duplicate"},
		"a duplicate key deep in a list":      {post(body(`,"object":{"a":[[{"b":{"c":1,"c":1}}]]}`)), 200, 400, "duplicate"},
		"a duplicate key, once escaped":       {post(body(`,"object":{"hostNetwork":true,"host\u004eetwork":false}`)), 200, 400, "duplicate"},
		"a duplicate object":                  {post(body(`,"object":{},"object":{}`)), 200, 400, "duplicate"},
		"a duplicate key in the old object":   {post(body(`,"oldObject":{"a":1,"a":2}`)), 200, 400, "duplicate"},
		"a duplicate key in the options":      {post(body(`,"options":{"a":1,"a":2}`)), 200, 400, "duplicate"},
		"a duplicate key nobody reads":        {post(body(`,"requestKind":{"group":"","group":"a"}`)), 200, 400, "duplicate"},
		"text after the end":                  {post(good + "{}"), 200, 400, "after"},
		"a second review":                     {post(good + good), 200, 400, "after"},
		"a body that ends early":              {post(good[:len(good)-3]), 200, 400, "EOF"},
		"invalid UTF-8":                       {post(body(`,"object":{"a":"` + "\xff" + `"}`)), 200, 400, "UTF-8"},
		"a number that JSON does not know":    {post(body(`,"object":{"a":NaN}`)), 200, 400, "invalid"},
		"JSON nested deeper than it may be":   {post(body(`,"object":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000))), 200, 400, "depth"},
		"a dry run that is no truth value":    {post(body(`,"dryRun":"false"`)), 200, 400, "dryRun"},
		"a body larger than allowed":          {post(body(`,"object":{"a":"` + strings.Repeat("a", 70<<10) + `"}`)), 200, 413, "--max-body"},
		"a body larger than allowed, no uid":  {post(strings.Repeat(" ", 70<<10) + good), 413, 0, "--max-body"},
		"a body of unknown length, too large": {chunked(body(`,"object":{"a":"` + strings.Repeat("a", 70<<10) + `"}`)), 200, 413, "--max-body"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			handler := newHandler(t, reviewer{matches: func(*admission.Request) bool { asked = true; return false }}, func(o *Options) { o.MaxBody = 64 << 10 })
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, test.request)
			if recorder.Code != test.code {
				t.Fatalf("HTTP %d (%s), want %d", recorder.Code, recorder.Body, test.code)
			}
			if !strings.Contains(recorder.Body.String(), test.says) {
				t.Errorf("the answer %s does not say %q", recorder.Body, test.says)
			}
			if asked {
				t.Error("the reviewer was asked")
			}
			if test.denied == 0 {
				return
			}
			review := decodeAnswer(t, recorder.Body.Bytes())
			if response := review.Response; response.Allowed || string(response.UID) != uid || int(response.Result.Code) != test.denied {
				t.Errorf("got allowed %v, uid %q, code %d, want false, %q, %d", response.Allowed, response.UID, response.Result.Code, uid, test.denied)
			}
		})
	}
}

func chunked(body string) *http.Request {
	request := post(ValidatePath, body)
	request.ContentLength = -1
	request.Body = io.NopCloser(strings.NewReader(body))
	return request
}

func TestTheRequestReachesTheReviewerAsItWasSent(t *testing.T) {
	object, old, options := `{"kind":"Pod","metadata":{"name":"web"},"n":1.50}`, `{"kind":"Pod"}`, `{"kind":"UpdateOptions"}`
	for name, test := range map[string]struct {
		body string
		want admission.Request
	}{
		"create with object": {
			body(`,"object":` + object + `,"oldObject":null,"dryRun":false,"options":` + options),
			admission.Request{Operation: "CREATE", Object: []byte(object), Options: []byte(options)},
		},
		"update with both": {
			strings.Replace(body(`,"object":`+object+`,"oldObject":`+old), "CREATE", "UPDATE", 1),
			admission.Request{Operation: "UPDATE", Object: []byte(object), OldObject: []byte(old)},
		},
		"delete without object": {
			strings.Replace(body(`,"object":null,"oldObject":`+old), "CREATE", "DELETE", 1),
			admission.Request{Operation: "DELETE", OldObject: []byte(old)},
		},
		"dry run": {
			body(`,"dryRun":true,"object":{}`),
			admission.Request{Operation: "CREATE", DryRun: true, Object: []byte(`{}`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []admission.Request
			handler := newHandler(t, admits(&seen))
			if code, review := answer(t, handler, post(ValidatePath, test.body)); code != 200 || !review.Response.Allowed {
				t.Fatalf("HTTP %d, %+v, want an admission", code, review)
			}
			got, want := seen[0], test.want
			if got.Operation != want.Operation || got.DryRun != want.DryRun || got.Door != admission.DoorAdmission || got.UID != uid ||
				got.Namespace != "shop" || got.Name != "web" || got.Resource.Resource != "pods" || got.Kind.Kind != "Pod" {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if string(got.Object) != string(want.Object) || string(got.OldObject) != string(want.OldObject) || string(got.Options) != string(want.Options) {
				t.Errorf("got %s, %s, %s, want %s, %s, %s", got.Object, got.OldObject, got.Options, want.Object, want.OldObject, want.Options)
			}
			if (got.Object == nil) != (want.Object == nil) || (got.OldObject == nil) != (want.OldObject == nil) {
				t.Error("an absent object is not nil")
			}
			if got.Subject.Username != "alice" || !slices.Equal(got.Subject.Groups, []string{"system:authenticated"}) || len(got.Subject.Extra["scopes"]) != 2 {
				t.Errorf("the subject is %+v", got.Subject)
			}
		})
	}
}

// TestObjectsOutliveTheirRequest sends another body through the same buffer: a
// reviewer may keep what it was given.
func TestObjectsOutliveTheirRequest(t *testing.T) {
	var seen []admission.Request
	handler := newHandler(t, admits(&seen))
	for i := range 20 {
		answer(t, handler, post(ValidatePath, body(fmt.Sprintf(`,"object":{"n":%d}`, i+10))))
	}
	for i, request := range seen {
		if got, want := string(request.Object), fmt.Sprintf(`{"n":%d}`, i+10); got != want {
			t.Errorf("object %d is %s, want %s", i, got, want)
		}
	}
}

// TestBypass41_EveryOperationAndSubresourceIsReviewed covers DELETE without object and a
// deletecollection, whose name is empty, among all the others.
func TestBypass41_EveryOperationAndSubresourceIsReviewed(t *testing.T) {
	for _, test := range []struct{ operation, resource, sub, name string }{
		{"CREATE", "pods", "", ""}, {"UPDATE", "pods", "", "web"}, {"DELETE", "pods", "", "web"}, {"DELETE", "pods", "", ""},
		{"CONNECT", "pods", "exec", "web"}, {"CONNECT", "pods", "attach", "web"}, {"CONNECT", "pods", "portforward", "web"}, {"CONNECT", "pods", "proxy", "web"},
		{"UPDATE", "pods", "ephemeralcontainers", "web"}, {"UPDATE", "pods", "resize", "web"}, {"UPDATE", "pods", "status", "web"},
		{"CREATE", "pods", "eviction", "web"}, {"CREATE", "pods", "binding", "web"}, {"CREATE", "serviceaccounts", "token", "web"},
		{"UPDATE", "deployments", "scale", "web"}, {"UPDATE", "namespaces", "finalize", "web"}, {"UPDATE", "namespaces", "status", "web"},
	} {
		t.Run(strings.Join([]string{test.operation, test.resource, test.sub, test.name}, " "), func(t *testing.T) {
			var seen []admission.Request
			handler := newHandler(t, admits(&seen))
			text := strings.NewReplacer("CREATE", test.operation, `"resource":"pods"`, `"resource":"`+test.resource+`"`, `"name":"web"`, `"name":"`+test.name+`","subResource":"`+test.sub+`"`).Replace(body(""))
			answer(t, handler, post(ValidatePath, text))
			if len(seen) != 1 {
				t.Fatalf("the reviewer was asked %d times, want once", len(seen))
			}
			if got := seen[0]; got.Operation != test.operation || got.Resource.Resource != test.resource || got.SubResource != test.sub || got.Name != test.name {
				t.Errorf("the reviewer saw %+v, want %+v", got, test)
			}
		})
	}
}

// TestBypass14To18_NothingOnTheObjectExcusesIt sends what other webhooks take for a
// reason not to look.
func TestBypass14To18_NothingOnTheObjectExcusesIt(t *testing.T) {
	for name, fields := range map[string]string{
		"14 a forged verification":    `,"object":{"metadata":{"annotations":{"portcullis.dev/verified":"true"}}}`,
		"15 a deletion timestamp":     `,"object":{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a"]}},"oldObject":{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}`,
		"16 a scale-down":             `,"object":{"spec":{"replicas":1}},"oldObject":{"spec":{"replicas":2}}`,
		"17 an owner":                 `,"object":{"metadata":{"ownerReferences":[{"kind":"StatefulSet","name":"a","uid":"b","controller":true}]}}`,
		"18 the same object again":    `,"object":{},"oldObject":{}`,
		"42 a change of metadata":     `,"object":{"metadata":{"labels":{"a":"b"}}},"oldObject":{"metadata":{}}`,
		"39 the namespace of Kube":    `,"object":{"metadata":{"namespace":"kube-system"}}`,
		"37 a label that asks for it": `,"object":{"metadata":{"labels":{"admission.portcullis.dev/ignore":"true"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			handler := newHandler(t, reviewer{})
			code, review := answer(t, handler, post(ValidatePath, body(fields)))
			if code != 200 || review.Response.Allowed {
				t.Errorf("HTTP %d, %+v, want the reviewer's denial", code, review)
			}
		})
	}
}

// TestBypass40_BothObjectsAreJudgedAsGiven has the reviewer see the change of a node
// as the API server sent it, not as a later read would show it.
func TestBypass40_BothObjectsAreJudgedAsGiven(t *testing.T) {
	var seen []admission.Request
	handler := newHandler(t, admits(&seen))
	answer(t, handler, post(ValidatePath, strings.Replace(body(`,"object":{"metadata":{"labels":{"a":"new"}}},"oldObject":{"metadata":{"labels":{"a":"old"}}}`), "CREATE", "UPDATE", 1)))
	if !strings.Contains(string(seen[0].Object), "new") || !strings.Contains(string(seen[0].OldObject), "old") {
		t.Errorf("the reviewer saw %s and %s", seen[0].Object, seen[0].OldObject)
	}
}

// TestBypass43_DryRunIsJudgedAlike: the verdict does not depend on it, and the
// reviewer is told, so that nothing behind it writes.
func TestBypass43_DryRunIsJudgedAlike(t *testing.T) {
	var seen []admission.Request
	judge := reviewer{review: func(_ context.Context, request admission.Request) admission.Verdict {
		seen = append(seen, request)
		return admission.Verdict{Findings: []policies.Finding{{Policy: "a/b", Effect: policies.EffectDeny, Message: "no"}}}
	}}
	handler := newHandler(t, judge)
	var answers []string
	for _, dryRun := range []string{"true", "false"} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, post(ValidatePath, body(`,"dryRun":`+dryRun)))
		answers = append(answers, recorder.Body.String())
	}
	if answers[0] != answers[1] {
		t.Errorf("a dry run is answered %s, else %s", answers[0], answers[1])
	}
	if !seen[0].DryRun || seen[1].DryRun {
		t.Errorf("the reviewer saw dry runs %v, %v, want true, false", seen[0].DryRun, seen[1].DryRun)
	}
}

func TestBypass44_AReviewerThatPanicsDenies(t *testing.T) {
	panics := func(context.Context, admission.Request) admission.Verdict { panic("out of range") }
	handler := newHandler(t, reviewer{review: panics, mutate: panics})
	for range 3 * handler.limiter.maxRunning { // a panic gives its place back
		for _, path := range []string{ValidatePath, MutatePath} {
			code, review := answer(t, handler, post(path, body("")))
			if code != 200 || review.Response.Allowed || review.Response.Result.Code != 500 || !strings.Contains(review.Response.Result.Message, "panicked") {
				t.Fatalf("HTTP %d, %+v, want a denial of code 500 that speaks of the panic", code, review)
			}
			if strings.Contains(review.Response.Result.Message, "out of range") {
				t.Errorf("the denial shows the panic: %s", review.Response.Result.Message)
			}
		}
	}
}

func TestAPanicBeforeTheReviewDenies(t *testing.T) {
	handler := newHandler(t, reviewer{matches: func(*admission.Request) bool { panic("match index") }})
	code, review := answer(t, handler, post(ValidatePath, body("")))
	if code != 200 || review.Response.Allowed || string(review.Response.UID) != uid {
		t.Errorf("HTTP %d, %+v, want a denial of this uid", code, review)
	}
}

func TestUnmatchedRequestsAreAdmittedWithoutReview(t *testing.T) {
	handler := newHandler(t, reviewer{matches: func(request *admission.Request) bool {
		if request.Object != nil {
			t.Error("the object was taken out of the body")
		}
		return request.Resource.Resource != "pods"
	}})
	code, review := answer(t, handler, post(ValidatePath, body(`,"object":{"a":"b"}`)))
	if code != 200 || !review.Response.Allowed || string(review.Response.UID) != uid {
		t.Errorf("HTTP %d, %+v, want an admission of this uid", code, review)
	}
	if got := review.APIVersion; got != "admission.k8s.io/v1" {
		t.Errorf("the version is %q", got)
	}
}

func TestAReviewerThatHangsIsDeniedInTime(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	handler := newHandler(t, reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		<-release
		return admission.Verdict{Admitted: true}
	}}, func(o *Options) { o.TimeoutMargin = 150 * time.Millisecond })
	started := time.Now()
	code, review := answer(t, handler, post(ValidatePath+"?timeout=200ms", body("")))
	if took := time.Since(started); took >= 200*time.Millisecond {
		t.Errorf("the answer took %s, want it within the caller's 200 ms", took)
	}
	if code != 200 || review.Response.Allowed || review.Response.Result.Code != 500 || !strings.Contains(review.Response.Result.Message, "deadline exceeded") {
		t.Errorf("HTTP %d, %+v, want a denial of code 500 for the deadline", code, review)
	}
}

func TestTheDeadlineIsTheCallersTimeoutLessAMargin(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"":              DefaultTimeout - DefaultTimeoutMargin,
		"?timeout=5s":   5*time.Second - DefaultTimeoutMargin,
		"?timeout=60s":  DefaultTimeoutCap - DefaultTimeoutMargin,
		"?timeout=1s":   500 * time.Millisecond,
		"?timeout=0.1s": 50 * time.Millisecond,
		"?timeout=-5s":  DefaultTimeout - DefaultTimeoutMargin,
		"?timeout=soon": DefaultTimeout - DefaultTimeoutMargin,
	} {
		t.Run("timeout "+query, func(t *testing.T) {
			var left time.Duration
			handler := newHandler(t, reviewer{review: func(ctx context.Context, _ admission.Request) admission.Verdict {
				deadline, ok := ctx.Deadline()
				if !ok {
					t.Error("the context has no deadline")
				}
				left = time.Until(deadline)
				return admission.Verdict{Admitted: true}
			}})
			answer(t, handler, post(ValidatePath+query, body("")))
			// The clock runs between the request's arrival and the review.
			if left > want || left < want-40*time.Millisecond {
				t.Errorf("the reviewer has %s, want %s", left, want)
			}
		})
	}
}

func TestOverloadIsAnsweredAtOnce(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	handler := newHandler(t, reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		entered <- struct{}{}
		<-release
		return admission.Verdict{Admitted: true}
	}}, func(o *Options) { o.MaxRunning, o.MaxWaiting = 1, 1 })
	answers := make(chan bool, 2)
	send := func() {
		_, review := answer(t, handler, post(ValidatePath, body("")))
		answers <- review.Response.Allowed
	}
	go send() // runs
	<-entered
	go send() // waits
	for handler.limiter.waitingNow() == 0 {
		time.Sleep(time.Millisecond) // polls a condition
	}
	code, review := answer(t, handler, post(ValidatePath, body("")))
	if code != 200 || review.Response.Allowed || review.Response.Result.Code != 429 || review.Response.Result.Details.RetryAfterSeconds == 0 {
		t.Errorf("HTTP %d, %+v, want a denial of code 429 that says when to retry", code, review)
	}
	close(release)
	<-entered
	for range 2 {
		if !<-answers {
			t.Error("a request that had a place was not admitted")
		}
	}
}

func TestWaitingEndsWithTheDeadline(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	handler := newHandler(t, reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		close(entered)
		<-release
		return admission.Verdict{Admitted: true}
	}}, func(o *Options) { o.MaxRunning, o.MaxWaiting = 1, 100 })
	done := make(chan struct{})
	go func() {
		answer(t, handler, post(ValidatePath, body("")))
		close(done)
	}()
	<-entered
	_, review := answer(t, handler, post(ValidatePath+"?timeout=20ms", body("")))
	if review.Response.Allowed || review.Response.Result.Code != 429 {
		t.Errorf("got %+v, want a denial of code 429", review.Response)
	}
	close(release)
	<-done
}

// TestBodiesTogetherAreBounded: a crowd of large requests is shed, by name, and not
// taken into memory.
func TestBodiesTogetherAreBounded(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	handler := newHandler(t, reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		close(entered)
		<-release
		return admission.Verdict{Admitted: true}
	}}, func(o *Options) { o.MaxBody, o.MaxBodies = 1<<20, 1<<20 })
	large := body(`,"object":{"a":"` + strings.Repeat("a", 600<<10) + `"}`)
	first := make(chan bool)
	go func() {
		_, review := answer(t, handler, post(ValidatePath, large))
		first <- review.Response.Allowed
	}()
	<-entered
	_, review := answer(t, handler, post(ValidatePath+"?timeout=20ms", large))
	if got := review.Response; got.Allowed || got.Result.Code != 429 || string(got.UID) != uid || got.Result.Details.RetryAfterSeconds == 0 {
		t.Errorf("got %+v, want a denial of code 429 that says when to retry", got)
	}
	close(release)
	if !<-first {
		t.Error("the request that had room was not admitted")
	}
	if _, review := answer(t, handler, post(MutatePath, body(""))); review == nil {
		t.Error("room was not given back")
	}
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	var throttle throttle
	now := time.Now()
	var logged, skipped int
	for i := range 1000 {
		if n, ok := throttle.allow(now.Add(time.Duration(i) * 10 * time.Millisecond)); ok {
			logged++
			skipped += n
		}
	}
	if logged != 10 || skipped != 9*99 {
		t.Errorf("of 1000 refusals in 10 s %d were logged and %d counted, want 10 and 891", logged, skipped)
	}
}

func TestMutationsCarryAPatchOfItsType(t *testing.T) {
	patch := `[{"op":"add","path":"/spec/a","value":1}]`
	for name, test := range map[string]struct {
		verdict admission.Verdict
		path    string
		want    string
	}{
		"a patch":                          {admission.Verdict{Admitted: true, Patch: []byte(patch)}, MutatePath, patch},
		"nothing to change":                {admission.Verdict{Admitted: true}, MutatePath, ""},
		"a patch of what is denied":        {admission.Verdict{Patch: []byte(patch)}, MutatePath, ""},
		"a patch from the validating door": {admission.Verdict{Admitted: true, Patch: []byte(patch)}, ValidatePath, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, review := answer(t, newHandler(t, verdicts(test.verdict)), post(test.path, body("")))
			if got := string(review.Response.Patch); got != test.want {
				t.Errorf("the patch is %s, want %s", got, test.want)
			}
			// The API server refuses one without the other.
			if (review.Response.PatchType != nil) != (test.want != "") {
				t.Errorf("the patch type is %v", review.Response.PatchType)
			}
		})
	}
}

func TestDenialsAreReadable(t *testing.T) {
	deny := func(policy, severity, path, message, remediation string) policies.Finding {
		return policies.Finding{Policy: policy, Severity: severity, Effect: policies.EffectDeny, Path: path, Message: message, Remediation: remediation}
	}
	excepted := deny("pods/host-network", "high", "spec.hostNetwork", "shares the node's network", "Remove it.")
	excepted.ExceptedBy = "ingress-nodes"
	warned := deny("pods/latest", "low", "spec.containers[0].image", "has no tag", "Use a tag.")
	warned.Enforcement = policies.EnforceWarn
	recorded := deny("pods/probes", "low", "", "has no probes", "Add some.")
	recorded.Enforcement = policies.EnforceAudit
	verdict := admission.Verdict{
		Bundle: "library@3 (sha256:0123456789ab)", Profile: "restricted",
		Findings: []policies.Finding{
			deny("pods/privileged", "critical", "spec.containers[0].securityContext.privileged", `container "a" is privileged`, "Remove securityContext.privileged, or set it to false."),
			deny("pods/privileged", "critical", "spec.initContainers[0].securityContext.privileged", `container "b" is privileged`, "Remove securityContext.privileged, or set it to false."),
			excepted,
			deny("pods/run-as-root", "high", "spec.securityContext.runAsNonRoot", "may run as\nroot", "Set runAsNonRoot."),
			warned, recorded,
		},
		Faults: []policies.Fault{{Policy: "pods/limits", Kind: policies.FaultError, Message: "division by zero"}, {Policy: "pods/slow", Kind: policies.FaultDeadline, Message: "too late", FailMode: policies.FailOpen}},
	}
	_, review := answer(t, newHandler(t, verdicts(verdict)), post(ValidatePath, body("")))
	response := review.Response
	want := `2 policies deny it (library@3 (sha256:0123456789ab), profile restricted):
- pods/privileged (critical)
    spec.containers[0].securityContext.privileged: container "a" is privileged
    spec.initContainers[0].securityContext.privileged: container "b" is privileged
    To mend it: Remove securityContext.privileged, or set it to false.
- pods/run-as-root (high)
    spec.securityContext.runAsNonRoot: may run as root
    To mend it: Set runAsNonRoot.
- pods/limits: evaluation error: division by zero`
	if response.Result.Message != want {
		t.Errorf("the message is\n%s\nwant\n%s", response.Result.Message, want)
	}
	if response.Allowed || response.Result.Code != 403 || response.Result.Reason != "Forbidden" || response.Result.Status != "Failure" {
		t.Errorf("got %+v, want a Forbidden of code 403", response.Result)
	}
	if got := len(response.Result.Details.Causes); got != 3 {
		t.Errorf("there are %d causes, want 3", got)
	}
	if want := []string{"pods/latest: spec.containers[0].image: has no tag: Use a tag.", "not judged: pods/slow: deadline exceeded: too late"}; !slices.Equal(response.Warnings, want) {
		t.Errorf("the warnings are %q, want %q", response.Warnings, want)
	}
	wantAnnotations := map[string]string{
		"verdict": "denied", "bundle": "library@3 (sha256:0123456789ab)", "profile": "restricted",
		"policies":   "pods/privileged,pods/run-as-root,pods/latest,pods/probes",
		"exceptions": "ingress-nodes",
		"excepted":   "pods/host-network by ingress-nodes",
		"faults":     "pods/limits: evaluation error: division by zero,pods/slow: deadline exceeded: too late",
	}
	for key, want := range wantAnnotations {
		if got := response.AuditAnnotations[key]; got != want {
			t.Errorf("annotation %s is %q, want %q", key, got, want)
		}
	}
	if got := len(response.AuditAnnotations); got != len(wantAnnotations) {
		t.Errorf("there are %d annotations (%v), want %d", got, response.AuditAnnotations, len(wantAnnotations))
	}
}

func TestFaultsAloneAreNoPolicysDenial(t *testing.T) {
	for name, verdict := range map[string]admission.Verdict{
		"a fault":           {Faults: []policies.Fault{{Policy: "a/b", Kind: policies.FaultFacts, Message: "namespaces are not synced"}}},
		"an undecided":      {Undecided: []policies.Undecided{{Policy: "a/b", Reason: "the image's user is not known"}}},
		"nothing at all":    {},
		"only what warns":   {Findings: []policies.Finding{{Policy: "a/b", Effect: policies.EffectWarn, Message: "hm"}}},
		"only what is past": {Findings: []policies.Finding{{Policy: "a/b", Effect: policies.EffectDeny, ExceptedBy: "e", Message: "hm"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, review := answer(t, newHandler(t, verdicts(verdict)), post(ValidatePath, body("")))
			if got := review.Response; got.Allowed || got.Result.Code != 500 || got.Result.Reason != "InternalError" || got.Result.Message == "" {
				t.Errorf("got %+v, want a denial of code 500 with a message", got.Result)
			}
		})
	}
}

func TestWarningsKeepTheAPIServersLimits(t *testing.T) {
	for name, test := range map[string]struct {
		count   int
		message string
		last    string
	}{
		"short ones":                 {3, "é is short", "short"},
		"long ones":                  {3, strings.Repeat("é", 1000), "…"},
		"more than there is room":    {1000, strings.Repeat("é", 1000), "more warnings"},
		"with a newline":             {1, "two\nlines\x00\x7f\u0085", "two lines"},
		"with what is no text":       {1, "\xff\xfe", "a/b"},
		"just as many as there fit":  {15, strings.Repeat("é", 1000), "…"},
		"one more than there can be": {16, strings.Repeat("é", 1000), "and 1 more"},
	} {
		t.Run(name, func(t *testing.T) {
			var findings []policies.Finding
			for i := range test.count {
				findings = append(findings, policies.Finding{Policy: "a/b", Effect: policies.EffectWarn, Message: fmt.Sprint(i) + test.message, Remediation: "Mend it."})
			}
			_, review := answer(t, newHandler(t, verdicts(admission.Verdict{Admitted: true, Findings: findings})), post(ValidatePath, body("")))
			total := 0
			for _, warning := range review.Response.Warnings {
				runes := utf8.RuneCountInString(warning)
				total += runes
				if runes > 256 {
					t.Errorf("a warning has %d runes, want at most 256", runes)
				}
				if !utf8.ValidString(warning) || strings.ContainsFunc(warning, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 }) {
					t.Errorf("the warning %q would be dropped by the API server", warning)
				}
			}
			if total > 4096 {
				t.Errorf("all warnings have %d runes, want at most 4096", total)
			}
			if last := review.Response.Warnings[len(review.Response.Warnings)-1]; !strings.Contains(last, test.last) {
				t.Errorf("the last warning is %q, want %q in it", last, test.last)
			}
		})
	}
}

func TestDenialsAreBounded(t *testing.T) {
	var findings []policies.Finding
	for i := range 5000 {
		findings = append(findings, policies.Finding{Policy: fmt.Sprintf("a/p%d", i/10), Effect: policies.EffectDeny,
			Path: strings.Repeat("é", 5000), Message: strings.Repeat("x", 5000), Remediation: strings.Repeat("y", 5000)})
	}
	recorder := httptest.NewRecorder()
	newHandler(t, verdicts(admission.Verdict{Findings: findings, Bundle: strings.Repeat("b", 5000)})).ServeHTTP(recorder, post(ValidatePath, body("")))
	review := decodeAnswer(t, recorder.Body.Bytes())
	if got := utf8.RuneCountInString(review.Response.Result.Message); got > maxMessage {
		t.Errorf("the message has %d runes, want at most %d", got, maxMessage)
	}
	if !strings.Contains(review.Response.Result.Message, "more lines") {
		t.Error("the message does not say that something was left out")
	}
	if got := len(review.Response.Result.Details.Causes); got != maxCauses {
		t.Errorf("there are %d causes, want %d", got, maxCauses)
	}
	if got, limit := recorder.Body.Len(), 1<<20; got > limit {
		t.Errorf("the answer has %d bytes, want at most %d", got, limit)
	}
}

// FuzzAdmissionReview sends any body. Whatever it is, the answer is an HTTP error or a
// review of the request's own uid, and nothing is admitted that a strict decoder would
// not read alike.
func FuzzAdmissionReview(f *testing.F) {
	for _, seed := range []string{
		body(""), body(`,"object":{"spec":{"containers":[{"name":"a","image":"b"}]}},"oldObject":null`), body(`,"object":{"a":1,"a":2}`),
		strings.Replace(body(""), "v1", "v1beta1", 1), body("")[:120], "", "null", "[]", `{"request":{}}`, `{"kind":"AdmissionReview"}{}`,
	} {
		f.Add([]byte(seed))
	}
	files, err := filepath.Glob("testdata/reviews/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	handler := newHandler(f, admits(nil), func(o *Options) { o.MaxBody = 1 << 20 })
	f.Fuzz(func(t *testing.T, content []byte) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, post(ValidatePath, string(content)))
		if recorder.Code != http.StatusOK {
			if recorder.Code < 400 {
				t.Fatalf("HTTP %d", recorder.Code)
			}
			return
		}
		review := decodeAnswer(t, recorder.Body.Bytes())
		if !review.Response.Allowed {
			return
		}
		var sent admissionv1.AdmissionReview
		if err := json.Unmarshal(content, &sent); err != nil || sent.Request == nil {
			t.Fatalf("admitted what encoding/json cannot read (%v): %s", err, content)
		}
		if sent.Request.UID != review.Response.UID || sent.APIVersion != "admission.k8s.io/v1" || sent.Kind != "AdmissionReview" {
			t.Fatalf("admitted uid %q of %s %s, want uid %q of admission.k8s.io/v1", review.Response.UID, sent.APIVersion, sent.Kind, sent.Request.UID)
		}
	})
}

// TestRecordedReviewsReachTheReviewer sends what an API server of each kind of request sends.
func TestRecordedReviewsReachTheReviewer(t *testing.T) {
	files, err := filepath.Glob("testdata/reviews/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no recorded reviews: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var sent admissionv1.AdmissionReview
			if err := json.Unmarshal(content, &sent); err != nil {
				t.Fatal(err)
			}
			var seen []admission.Request
			code, review := answer(t, newHandler(t, admits(&seen)), post(ValidatePath, string(content)))
			if code != 200 || !review.Response.Allowed || len(seen) != 1 {
				t.Fatalf("HTTP %d, %+v, want an admission after one review", code, review)
			}
			// The gate reads recorded reviews by another way; both must see the same.
			want := admission.FromReview(admission.DoorAdmission, sent.Request)
			if got := seen[0]; !sameRequest(got, want) {
				t.Errorf("the reviewer saw %+v, want %+v", got, want)
			}
		})
	}
}

func sameRequest(a, b admission.Request) bool {
	for _, objects := range [][2]json.RawMessage{{a.Object, b.Object}, {a.OldObject, b.OldObject}, {a.Options, b.Options}} {
		if string(objects[0]) != string(objects[1]) {
			return false
		}
	}
	a.Object, a.OldObject, a.Options = nil, nil, nil
	b.Object, b.OldObject, b.Options = nil, nil, nil
	return reflect.DeepEqual(a, b)
}
