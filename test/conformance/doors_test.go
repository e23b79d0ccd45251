package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/policies"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// collector is a gate handler that keeps the policies that denied, by file.
type collector struct {
	denied   map[string][]string
	problems []string
}

func (c *collector) Start(gate.Run) error      { return nil }
func (c *collector) Finish(gate.Summary) error { return nil }

func (c *collector) Problem(p gate.Problem) error {
	c.problems = append(c.problems, p.Location.String()+": "+p.Message)
	return nil
}

func (c *collector) Result(r gate.Result) error {
	var ids []string
	for _, f := range r.Findings {
		if f.Weight() == gate.Denies {
			ids = append(ids, f.Policy)
		}
	}
	slices.Sort(ids)
	c.denied[r.Location.File] = slices.Compact(ids)
	return nil
}

// policyID finds the ids of policies in the message of a denial.
var policyID = regexp.MustCompile(`\bpods/[a-z-]+\b`)

func TestEveryFixtureGetsTheSameVerdictAtTheGateInReviewAndOverHTTP(t *testing.T) {
	reviewer, _ := pssReviewer(t)
	all := fixtures(t)
	var paths []string
	root := fixtureRoot(t)
	for _, f := range all {
		paths = append(paths, filepath.Join(root, f.file))
	}
	loaded, err := source.Load(context.Background(), paths, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	atGate := &collector{denied: map[string][]string{}}
	g := &gate.Gate{Engine: reviewer.Lineup().Members[0].Active.Judges[0].(*policies.Engine), Namespace: "test", Now: time.Now}
	if _, err := g.Run(context.Background(), loaded, atGate); err != nil {
		t.Fatal(err)
	}
	for _, problem := range atGate.problems {
		t.Error(problem)
	}
	handler := reviewHandler(t, reviewer)
	server := httptest.NewServer(handler)
	defer server.Close()
	for _, f := range all {
		want := []string{}
		for _, finding := range reviewer.Review(context.Background(), podRequest(admission.DoorAdmission, f.raw)).Findings {
			want = append(want, finding.Policy)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if got := atGate.denied[filepath.Join(root, f.file)]; !slices.Equal(got, want) {
			t.Errorf("%s: the gate denies by %v, the reviewer by %v", f.file, got, want)
		}
		allowed, named := post(t, server, handler, f.raw)
		if allowed != (len(want) == 0) || !slices.Equal(named, want) {
			t.Errorf("%s: over HTTP allowed %v, denied by %v; the reviewer denies by %v", f.file, allowed, named, want)
		}
	}
}

func reviewHandler(t *testing.T, reviewer webhook.Reviewer) *webhook.Handler {
	t.Helper()
	handler, err := webhook.NewHandler(webhook.Options{
		Reviewer: reviewer,
		Callers:  &webhook.Callers{Mode: webhook.CallerOpen},
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// post sends a pod as the API server would and gives the answer with the policies
// it names. The answer must be the very bytes that "portcullis review" writes.
func post(t *testing.T, server *httptest.Server, handler *webhook.Handler, pod []byte) (allowed bool, named []string) {
	t.Helper()
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       types.UID("0b0dbe9c-7c4e-4d9f-9f1b-1d6a8a3c2f10"),
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: "test", Name: "test", Operation: admissionv1.Create,
			UserInfo: authenticationv1.UserInfo{Username: "developer"},
			Object:   runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(server.URL+webhook.ValidatePath+"?timeout=10s", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := handler.Answer(context.Background(), webhook.ValidatePath, body)
	if err != nil || !bytes.Equal(recorded, answer) {
		t.Errorf("review answers\n%s\n(%v), HTTP\n%s", recorded, err, answer)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil || review.Response == nil {
		t.Fatalf("reading the answer: %v, status %s", err, response.Status)
	}
	if result := review.Response.Result; result != nil {
		for _, id := range policyID.FindAllString(result.Message, -1) {
			if !strings.HasSuffix(id, "-") {
				named = append(named, id)
			}
		}
	}
	slices.Sort(named)
	return review.Response.Allowed, slices.Compact(named)
}
