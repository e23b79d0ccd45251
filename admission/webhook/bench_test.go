package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	admissionv1 "k8s.io/api/admission/v1"
)

// pod6KB is a review of a pod of about 6 KB, as the facts of peers were measured with.
func pod6KB() string {
	var containers []string
	for i := range 4 {
		var env []string
		for j := range 20 {
			env = append(env, fmt.Sprintf(`{"name":"SETTING_%d","value":"the value of this setting %d"}`, j, j))
		}
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"registry.example/team/app-%d:1.2.3","env":[%s],"resources":{"limits":{"cpu":"100m","memory":"128Mi"}}}`, i, i, strings.Join(env, ",")))
	}
	return body(`,"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[` + strings.Join(containers, ",") + `]}},"oldObject":null,"dryRun":false`)
}

// yardstick is a webhook that only decodes and answers, as most are written.
func yardstick() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(content, &review); err != nil || review.Request == nil {
			http.Error(w, "no AdmissionReview", http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(review)
	})
}

// nobody is a Recorder that keeps nothing: what is left is what asking it costs.
type nobody struct{}

func (nobody) Record(context.Context, *admission.Decision) {}

// BenchmarkHandler measures what the handler adds to a review, beside the yardstick:
// without a network, and over HTTPS on one connection. Unmatched must be within a tenth of
// the yardstick.
func BenchmarkHandler(b *testing.B) {
	unmatched := newHandler(b, reviewer{matches: func(*admission.Request) bool { return false }})
	matched := newHandler(b, admits(nil))
	recorded := newHandler(b, admits(nil), recordedBy(nobody{}))
	for _, bench := range []struct {
		name    string
		handler http.Handler
	}{{"yardstick", yardstick()}, {"unmatched", unmatched}, {"matched", matched}, {"recorded", recorded}} {
		b.Run(bench.name, func(b *testing.B) {
			content := []byte(pod6KB())
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				request := httptest.NewRequest(http.MethodPost, ValidatePath+"?timeout=10s", bytes.NewReader(content))
				request.Header.Set("Content-Type", "application/json")
				recorder := httptest.NewRecorder()
				bench.handler.ServeHTTP(recorder, request)
				if recorder.Code != http.StatusOK {
					b.Fatalf("HTTP %d: %s", recorder.Code, recorder.Body)
				}
			}
		})
	}
}

func BenchmarkHTTPS(b *testing.B) {
	unmatched := newHandler(b, reviewer{matches: func(*admission.Request) bool { return false }})
	matched := newHandler(b, admits(nil))
	for _, bench := range []struct {
		name    string
		handler *Handler
		plain   http.Handler
	}{{"yardstick", unmatched, yardstick()}, {"unmatched", unmatched, nil}, {"matched", matched, nil}} {
		b.Run(bench.name, func(b *testing.B) {
			url, client := "", (*http.Client)(nil)
			if bench.plain != nil {
				server := httptest.NewUnstartedServer(bench.plain)
				server.EnableHTTP2 = true
				server.StartTLS()
				b.Cleanup(server.Close)
				url, client = server.URL, server.Client()
			} else {
				service := serve(b, bench.handler)
				url, client = service.url, service.client(b)
			}
			content := pod6KB()
			b.ReportAllocs()
			for b.Loop() {
				response, err := client.Post(url+ValidatePath+"?timeout=10s", "application/json", strings.NewReader(content))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, response.Body); err != nil {
					b.Fatal(err)
				}
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					b.Fatalf("HTTP %d", response.StatusCode)
				}
			}
		})
	}
}
