package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/portcullis-dev/portcullis/admission"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	reviewKind         = "AdmissionReview"
	reviewVersion      = "admission.k8s.io/v1"
	reviewVersionBeta1 = "admission.k8s.io/v1beta1"
	// A uid is a UUID of 36 characters. It is echoed, so it is not taken at any length.
	maxUIDLength = 128
)

// review is the part of an AdmissionReview (k8s.io/api/admission/v1) that is
// read. requestKind, requestResource and requestSubResource are left out: with
// matchPolicy Equivalent the API server has converted the object to the kind and
// resource beside them, and these are what policies match.
type review struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Request    *reviewRequest `json:"request"`
}

type reviewRequest struct {
	UID         string                      `json:"uid"`
	Kind        metav1.GroupVersionKind     `json:"kind"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Name        string                      `json:"name"`
	Namespace   string                      `json:"namespace"`
	Operation   string                      `json:"operation"`
	UserInfo    struct {
		Username string              `json:"username"`
		UID      string              `json:"uid"`
		Groups   []string            `json:"groups"`
		Extra    map[string][]string `json:"extra"`
	} `json:"userInfo"`
	DryRun    bool `json:"dryRun"`
	Object    span `json:"object"`
	OldObject span `json:"oldObject"`
	Options   span `json:"options"`
}

// span is where a JSON value lies in the body. Reading it checks its syntax, its
// encoding and its keys (a duplicate is an error), and copies nothing: most
// requests that reach a webhook match no policy and need no object.
type span struct{ start, end int64 }

// UnmarshalJSONFrom skips one value and remembers where it was.
func (s *span) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	value, err := decoder.ReadValue()
	if err != nil {
		return err
	}
	*s = span{}
	if value.Kind() != 'n' {
		s.end = decoder.InputOffset()
		s.start = s.end - int64(len(value))
	}
	return nil
}

// of copies the value out of the body, since the body's buffer is used again and a
// reviewer may keep what it is given. It is nil for an absent value and for null.
func (s span) of(body []byte) json.RawMessage {
	if s.end == 0 {
		return nil
	}
	return bytes.Clone(body[s.start:s.end])
}

// errNotReview says that a body is well-formed JSON but nothing to decide on.
var errNotReview = errors.New("no AdmissionReview request")

// decodeReview reads a body in one pass. Keys are case-sensitive, and a key given
// twice at any depth, invalid UTF-8 or text after the end is an error: two parsers
// that choose differently between duplicates would see two different objects.
func decodeReview(body []byte) (*review, error) {
	var decoded review
	if err := jsonv2.Unmarshal(body, &decoded); err != nil {
		return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
	}
	if err := decoded.check(); err != nil {
		return &decoded, err
	}
	return &decoded, nil
}

func (r *review) check() error {
	switch {
	case r.Kind != reviewKind:
		return fmt.Errorf("%w: kind is %q: send an %s", errNotReview, r.Kind, reviewKind)
	case r.APIVersion != reviewVersion:
		return fmt.Errorf("%w: apiVersion is %q: set admissionReviewVersions: [v1] in the webhook configuration", errNotReview, r.APIVersion)
	case r.Request == nil:
		return fmt.Errorf("%w: request is missing", errNotReview)
	case r.Request.UID == "" || len(r.Request.UID) > maxUIDLength:
		return fmt.Errorf("%w: request.uid has %d characters, 1 to %d are allowed", errNotReview, len(r.Request.UID), maxUIDLength)
	}
	return r.Request.check()
}

func (r *reviewRequest) check() error {
	switch r.Operation {
	case "CREATE", "UPDATE", "DELETE", "CONNECT":
	default:
		return fmt.Errorf("%w: request.operation is %q: CREATE, UPDATE, DELETE and CONNECT are known", errNotReview, r.Operation)
	}
	if r.Resource.Resource == "" {
		return fmt.Errorf("%w: request.resource.resource is missing", errNotReview)
	}
	return nil
}

// admission is the request as policies see it, without its objects.
func (r *reviewRequest) admission() *admission.Request {
	return &admission.Request{
		Door:        admission.DoorAdmission,
		UID:         r.UID,
		Operation:   r.Operation,
		Resource:    r.Resource,
		Kind:        r.Kind,
		SubResource: r.SubResource,
		Namespace:   r.Namespace,
		Name:        r.Name,
		DryRun:      r.DryRun,
		Subject: admission.Subject{
			Username: r.UserInfo.Username,
			UID:      r.UserInfo.UID,
			Groups:   r.UserInfo.Groups,
			Extra:    r.UserInfo.Extra,
		},
	}
}

// addObjects takes the objects out of the body.
func (r *reviewRequest) addObjects(request *admission.Request, body []byte) {
	request.Object = r.Object.of(body)
	request.OldObject = r.OldObject.of(body)
	request.Options = r.Options.of(body)
}

// salvage finds apiVersion and request.uid in a body that could not be read to its
// end, so that it can be denied by name. The API server writes both before the
// object.
func salvage(body []byte) (apiVersion, uid string) {
	decoder := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.ReadToken()
		if err != nil {
			return apiVersion, uid
		}
		depth := decoder.StackDepth()
		kind, length := decoder.StackIndex(depth)
		if kind != '{' || length%2 != 0 || token.Kind() != '"' {
			continue
		}
		switch pointer := decoder.StackPointer(); {
		case depth == 1 && pointer == "/apiVersion":
			apiVersion = token.String()
		case depth == 2 && pointer == "/request/uid" && len(token.String()) <= maxUIDLength:
			return apiVersion, token.String()
		}
	}
}
