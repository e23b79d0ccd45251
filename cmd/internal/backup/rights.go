package backup

import (
	"bytes"
	"context"
	_ "embed" // the roles
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

//go:embed roles.yaml
var roles []byte

// Roles are the roles of those who take backups and of those who restore them, as YAML, for an installation in a namespace.
func Roles(namespace string) []byte {
	return bytes.ReplaceAll(roles, []byte("namespace: "+installation.DefaultNamespace), []byte("namespace: "+namespace))
}

// right is one thing to do in all namespaces.
type right struct {
	verb, subresource string
	kind              *Kind
}

func (r right) String() string {
	what := r.kind.Name()
	if r.subresource != "" {
		what = r.kind.Resource.Resource + "/" + r.subresource + "." + r.kind.Resource.Group
	}
	return r.verb + " " + what
}

// RightsError says what the caller may not.
type RightsError struct{ Missing []string }

func (e *RightsError) Error() string {
	return "you may not " + strings.Join(e.Missing, ", ") + ": the roles that may are printed by --print-roles; bind the one for this"
}

// mayAll is a *RightsError where something is missing.
func mayAll(ctx context.Context, client kubernetes.Interface, all []right) error {
	var missing []string
	for _, r := range all {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.verb, Group: r.kind.Resource.Group, Resource: r.kind.Resource.Resource, Subresource: r.subresource,
		}}}
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("asking what you may: %w", err)
		}
		if !answer.Status.Allowed {
			missing = append(missing, r.String())
		}
	}
	if len(missing) > 0 {
		return &RightsError{Missing: missing}
	}
	return nil
}

// servedKinds are those that the API server knows, by name.
func servedKinds(ctx context.Context, client kubernetes.Interface) (map[string]bool, error) {
	served := map[string]bool{}
	asked := map[string]bool{}
	for n := range kinds {
		version := kinds[n].Resource.GroupVersion()
		if asked[version.String()] {
			continue
		}
		asked[version.String()] = true
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list, err := client.Discovery().ServerResourcesForGroupVersion(version.String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking the cluster which kinds it knows: %w", err)
		}
		for _, resource := range list.APIResources {
			served[resource.Name+"."+version.Group] = true
		}
	}
	return served, nil
}
