package policies

import (
	"encoding/json"
	"strings"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/secrets"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Door says at which door a request is judged.
type Door string

// The doors. All evaluate the same bundle; they differ in how facts are gathered.
const (
	DoorGate      Door = "gate"
	DoorAdmission Door = "admission"
	DoorAudit     Door = "audit"
	DoorResponder Door = "responder" // events at run time
	DoorSecrets   Door = "secrets"   // secrets of Vault, before they are read and before they are written
)

// Request is one change of a cluster to be judged, whatever the door. It has the
// shape of the request of an AdmissionReview v1 (k8s.io/api/admission/v1).
type Request struct {
	Door        Door
	UID         string
	Operation   string // CREATE, UPDATE, DELETE, CONNECT; EVENT at the responder, SYNC and PUSH of secrets
	Resource    metav1.GroupVersionResource
	Kind        metav1.GroupVersionKind
	SubResource string
	Namespace   string
	Name        string // empty for generateName and deletecollection
	DryRun      bool
	Subject     Subject
	// Object, OldObject and Options are raw JSON, nil when absent (DELETE has no
	// Object, CREATE no OldObject). They are never modified.
	Object, OldObject, Options json.RawMessage
	// Profile overrides the profile that the bundle assigns to the namespace, "" for
	// no override.
	Profile string
	// Event is what was seen, for the operation EVENT only.
	Event *response.Event
	// Sync is what is to be read from Vault or written to it, for the operations SYNC and PUSH only.
	Sync *secrets.Sync
	// Redacted are the paths of values that a journal has replaced: "object.data", "oldObject.stringData".
	// A policy that can read one is undecided.
	Redacted []string

	forms *forms // see Share
}

// Scope is the namespace whose rules apply: that of the request or, for a Namespace, its own name; "" for other
// objects without a namespace.
func (r *Request) Scope() string { return r.namespace() }

// Phase is the one in which a request is answered: that of an event, of a sync, or the validation of a change.
func (r *Request) Phase() Phase {
	if r.Operation == OperationEvent {
		return PhaseRespond
	}
	if syncResources[r.Operation] != "" {
		return PhaseSync
	}
	return PhaseValidate
}

// Subject is who asks.
type Subject struct {
	Username string
	UID      string
	Groups   []string
	Extra    map[string][]string
}

// serviceAccountPrefix starts the user name of every service account
// (k8s.io/apiserver/pkg/authentication/serviceaccount).
const serviceAccountPrefix = "system:serviceaccount:"

// ServiceAccount splits the user name of a service account; ok is false for
// everybody else.
func (s Subject) ServiceAccount() (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(s.Username, serviceAccountPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// resource is the plural with its subresource: "pods/exec".
func (r *Request) resource() string {
	if r.SubResource == "" {
		return r.Resource.Resource
	}
	return r.Resource.Resource + "/" + r.SubResource
}

// namespace is the namespace whose rules apply. For a Namespace object that is
// the namespace itself, which the API server names only on some requests
// (k8s.io/apiserver's namespace matcher makes the same choice).
// Where the request has no name the object's counts, and where that has still to be made up
// what it will be like: else nobody's rules would be asked about it.
func (r *Request) namespace() string {
	if r.Resource.Group != "" || r.Resource.Resource != "namespaces" {
		return r.Namespace
	}
	if r.Name != "" {
		return r.Name
	}
	for _, raw := range [][]byte{r.Object, r.OldObject} {
		metadata, err := readMetadata(raw)
		switch {
		case err != nil: // a fault for whoever reads the object
		case metadata.Name != "":
			return metadata.Name
		case metadata.GenerateName != "":
			return metadata.GenerateName + generatedSuffix
		}
	}
	return r.Namespace
}

// generatedSuffix stands for the five letters and digits that the API server appends to
// generateName (k8s.io/apiserver/pkg/storage/names).
const generatedSuffix = "xxxxx"

// createsNamespace says whether the request creates a Namespace, which is then not to be
// found in the cluster.
func (r *Request) createsNamespace() bool {
	return r.Resource.Group == "" && r.resource() == "namespaces" && r.Operation == "CREATE"
}
