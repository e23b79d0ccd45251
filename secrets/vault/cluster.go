package vault

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/secrets"
)

// NewCluster has identities from a cluster: service accounts and Secrets by name, nothing by list.
func NewCluster(client kubernetes.Interface) Cluster { return kubernetesCluster{client} }

type kubernetesCluster struct{ client kubernetes.Interface }

// ServiceAccountToken makes a token that is good for the audiences alone. Kubernetes gives 10 minutes at least (TokenRequest of
// authentication.k8s.io/v1).
func (k kubernetesCluster) ServiceAccountToken(ctx context.Context, namespace, name string, audiences []string, ttl time.Duration) (secrets.Value, time.Time, error) {
	seconds := int64(ttl / time.Second)
	made, err := k.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return secrets.Value{}, time.Time{}, fromCluster(err, namespace, fmt.Sprintf("making a token of service account %s/%s", namespace, name),
			fmt.Sprintf("create on serviceaccounts/token, resourceName %s", name), fmt.Sprintf("service account %s/%s", namespace, name))
	}
	return secrets.ValueOf(made.Status.Token), made.Status.ExpirationTimestamp.Time, nil
}

// SecretKey reads a key of a Secret.
func (k kubernetesCluster) SecretKey(ctx context.Context, namespace, name, key string) (secrets.Value, error) {
	found, err := k.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return secrets.Value{}, fromCluster(err, namespace, fmt.Sprintf("reading Secret %s/%s", namespace, name),
			fmt.Sprintf("get on secrets, resourceName %s", name), fmt.Sprintf("Secret %s/%s", namespace, name))
	}
	value, ok := found.Data[key]
	if !ok || len(value) == 0 {
		return secrets.Value{}, &secrets.Error{Reason: secrets.MissingReference, Doing: fmt.Sprintf("reading Secret %s/%s", namespace, name), Message: fmt.Sprintf("it has no key %q: put the credentials there", key)}
	}
	return secrets.NewValue(value), nil
}

// fromCluster says what a failure of the API server means.
func fromCluster(err error, namespace, doing, rule, what string) error {
	fault := &secrets.Error{Reason: secrets.ClusterFailed, Doing: doing, Cause: contextOf(err)}
	switch {
	case apierrors.IsNotFound(err):
		fault.Reason, fault.Message = secrets.MissingReference, what+" is not there: create it"
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		fault.Reason = secrets.ClusterForbidden
		fault.Message = fmt.Sprintf("portcullis-secrets lacks a right in namespace %s (%s): apply the Role that `portcullis-secrets roles --namespace %s` prints", namespace, rule, namespace)
	case apierrors.IsTooManyRequests(err):
		fault.Message = "the API server is asked too often"
	default: // whose text may quote what was sent
		fault.Message = "the API server could not: " + string(apierrors.ReasonForError(err))
	}
	return fault
}
