package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/test/pki"
)

// webhook is the running portcullis-webhook, asked as an API server asks it.
type webhook struct {
	url      string
	client   *http.Client
	registry string // where the images of the cases are
}

// newWebhook shows the client certificate that the webhook asks for, and trusts the
// authority that signed the webhook's own.
func newWebhook(address, registry, caFile string, client pki.Pair) (*webhook, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("reading %s: it holds no certificate", caFile)
	}
	certificate, err := tls.LoadX509KeyPair(client.CertFile, client.KeyFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}}
	return &webhook{url: "https://" + address, registry: registry, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}}, nil
}

// judge does what the API server does with a request: the mutating webhook, its
// patch, then the validating webhook on what came out.
func (w *webhook) judge(ctx context.Context, c demoCase) (answer, error) {
	request, err := createRequest(c, w.registry)
	if err != nil {
		return answer{}, err
	}
	mutated, err := w.review(ctx, "/mutate", request)
	if err != nil {
		return answer{}, err
	}
	var got answer
	if len(mutated.Patch) > 0 {
		if got.patched, err = changes(mutated.Patch); err != nil {
			return answer{}, err
		}
		patch, err := jsonpatch.DecodePatch(mutated.Patch)
		if err != nil {
			return answer{}, fmt.Errorf("reading the patch of %s: %w", c.file, err)
		}
		if request.Object.Raw, err = patch.Apply(request.Object.Raw); err != nil {
			return answer{}, fmt.Errorf("patching %s: %w", c.file, err)
		}
	}
	validated, err := w.review(ctx, "/validate", request)
	if err != nil {
		return answer{}, err
	}
	got.admitted = mutated.Allowed && validated.Allowed
	got.addCauses(validated.Result)
	return got, nil
}

// addCauses reads the findings that a denial lists for programs.
func (a *answer) addCauses(status *metav1.Status) {
	if status == nil || status.Details == nil {
		return
	}
	for _, cause := range status.Details.Causes {
		a.add(reason{string(cause.Type), cause.Field, cause.Message})
	}
}

// createRequest is what the API server would ask when somebody creates the manifest.
func createRequest(c demoCase, registry string) (*admissionv1.AdmissionRequest, error) {
	document, err := c.read(registry)
	if err != nil {
		return nil, err
	}
	create := admission.CreateRequest(admission.DoorAdmission, document, "")
	return &admissionv1.AdmissionRequest{
		UID:       uuid.NewUUID(),
		Operation: admissionv1.Create,
		Resource:  create.Resource,
		Kind:      create.Kind,
		Namespace: create.Namespace,
		Name:      create.Name,
		UserInfo:  authenticationv1.UserInfo{Username: "jane", Groups: []string{"developers", "system:authenticated"}},
		Object:    k8sruntime.RawExtension{Raw: create.Object},
	}, nil
}

func (w *webhook) review(ctx context.Context, path string, request *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	body, err := encodeReview(request)
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	post.Header.Set("Content-Type", "application/json")
	reply, err := w.client.Do(post)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s: %s", path, reply.Status, text)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(text, &review); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	if review.Response == nil || review.Response.UID != request.UID {
		return nil, fmt.Errorf("reading the answer of %s: it answers another request: %s", path, text)
	}
	return review.Response, nil
}

func encodeReview(request *admissionv1.AdmissionRequest) ([]byte, error) {
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  request,
	})
	if err != nil {
		return nil, fmt.Errorf("writing an AdmissionReview: %w", err)
	}
	return body, nil
}
