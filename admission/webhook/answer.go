package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Answer gives the answer to one recorded AdmissionReview without a connection, byte
// for byte what ServeHTTP would write. path is ValidatePath or MutatePath. An answer
// that is not an AdmissionReview is an error with the handler's reason.
func (h *Handler) Answer(ctx context.Context, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("answering a recorded review: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer := &recorded{header: http.Header{}, code: http.StatusOK}
	h.ServeHTTP(answer, request)
	if answer.code != http.StatusOK {
		return nil, fmt.Errorf("answering a recorded review: %s", reason(answer.body.Bytes()))
	}
	return answer.body.Bytes(), nil
}

// recorded is a ResponseWriter that keeps what is written.
type recorded struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(code int)        { r.code = code }
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }

// reason is the message of a Status, or the body as it is.
func reason(body []byte) string {
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return status.Message
	}
	return string(bytes.TrimSpace(body))
}
