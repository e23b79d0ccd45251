package destination

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// place is one object.
type place struct{ kind, namespace, name string }

func (p place) String() string { return fmt.Sprintf("%s %s/%s", p.kind, p.namespace, p.name) }

func (p place) resource() string {
	if p.kind == v1alpha1.KindConfigMap {
		return "configmaps"
	}
	return "secrets"
}

// gerunds are what is being done with a verb of RBAC.
var gerunds = map[string]string{"get": "reading", "create": "creating", "patch": "writing", "delete": "deleting", "watch": "watching"}

// failed is what the API server said, as an error with a reason. Its own words are left out: a webhook that refuses a Secret may put
// what is in it into them.
func failed(verb string, at place, err error) error {
	e := &secrets.Error{Reason: secrets.ClusterFailed, Doing: fmt.Sprintf("%s the %s", gerunds[verb], at), Cause: err}
	status := apierrors.APIStatus(nil)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Message = "the API server did not answer in time: it is tried again"
	case !errors.As(err, &status):
		e.Message = "the API server is not reached: " + withoutURL(err)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		e.Message = fmt.Sprintf("the namespace %s is being deleted", at.namespace)
	case apierrors.IsForbidden(err) && strings.Contains(status.Status().Message, "exceeded quota"):
		e.Reason, e.Message = secrets.ClusterForbidden, fmt.Sprintf("a ResourceQuota of the namespace %s is used up: raise it", at.namespace)
	case apierrors.IsForbidden(err) && !strings.Contains(status.Status().Message, "cannot "+verb+" resource"):
		e.Reason, e.Message = secrets.ClusterForbidden, fmt.Sprintf("admission refuses to %s it: look for the policy or webhook that does, for example with a Secret of that name and kubectl create --dry-run=server", verb)
	case apierrors.IsForbidden(err):
		e.Reason, e.Message = secrets.ClusterForbidden, missingRole(verb, at)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		e.Reason, e.Message = secrets.Unfit, "the API server refuses it as invalid"+fields(status)+": correct the type, the keys or the templates of the destination"
	default:
		e.Message = fmt.Sprintf("the API server answers %q: it is tried again", apierrors.ReasonForError(err))
	}
	if code := 0; errors.As(err, &status) {
		code = int(status.Status().Code)
		e.Status = code
	}
	return e
}

// missingRole names the rule that is missing, and what prints it. RBAC cannot limit a create to names.
func missingRole(verb string, at place) string {
	rule := fmt.Sprintf("%s %s %q", verb, at.resource(), at.name)
	if verb == "create" {
		rule = fmt.Sprintf("create %s (for %q)", at.resource(), at.name)
	}
	return fmt.Sprintf("portcullis-secrets may not %s in the namespace %s: apply the Role that `portcullis-secrets roles --namespace %s` prints", rule, at.namespace, at.namespace)
}

// fields are those that are invalid: names only. A key is a name.
func fields(status apierrors.APIStatus) string {
	details := status.Status().Details
	if details == nil || len(details.Causes) == 0 {
		return ""
	}
	var names []string
	for _, cause := range details.Causes {
		if cause.Type != metav1.CauseTypeUnexpectedServerResponse && cause.Field != "" && !slices.Contains(names, cause.Field) {
			names = append(names, cause.Field)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func withoutURL(err error) string {
	if request := (*url.Error)(nil); errors.As(err, &request) {
		return request.Err.Error()
	}
	return "no connection"
}

func notOurs(at place, message string, arguments ...any) error {
	return &secrets.Error{Reason: secrets.NotOurs, Doing: fmt.Sprintf("writing the %s", at), Message: fmt.Sprintf(message, arguments...)}
}

func misconfigured(at place, message string, arguments ...any) error {
	return &secrets.Error{Reason: secrets.Misconfigured, Doing: fmt.Sprintf("writing the %s", at), Message: fmt.Sprintf(message, arguments...)}
}
