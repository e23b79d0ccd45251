// Package cluster reads of a live cluster what judging images takes beside the images: the controllers that pods
// name, and pull secrets. Everything is read when it is asked for and nothing is kept: a template that was changed, or
// a secret that was taken away, does not count any longer.
package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/signer/registry"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Cluster reads single objects.
type Cluster struct{ client dynamic.Interface }

// New makes a reader of a cluster. Nothing is asked yet. A client that throttles itself turns a burst of pods into deadlines
// missed.
func New(client dynamic.Interface) *Cluster { return &Cluster{client: client} }

// get reads an object, nil if it is not there.
func (c *Cluster) get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := c.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w: grant the webhook's service account get on %s", err, resource.GroupResource())
	case err != nil:
		return nil, fmt.Errorf("fetching %s %s/%s: %w: retry", resource.GroupResource(), namespace, name, err)
	}
	return object, nil
}

// Owner is an object as it is now; nil if it is not there.
func (c *Cluster) Owner(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (json.RawMessage, error) {
	object, err := c.get(ctx, resource, namespace, name)
	if err != nil || object == nil {
		return nil, err
	}
	raw, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s/%s: %w", resource.GroupResource(), namespace, name, err)
	}
	return raw, nil
}

var (
	secretResource  = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	accountResource = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
)

// Pull secrets that are read for one request; more are an error. A pod has one or two.
const maxSecrets = 32

// keys are those under which pull secrets have credentials, by type (k8s.io/api/core/v1, SecretType).
var keys = map[corev1.SecretType]string{
	corev1.SecretTypeDockerConfigJson: corev1.DockerConfigJsonKey,
	corev1.SecretTypeDockercfg:        corev1.DockerConfigKey,
}

// PullSecrets are the credentials in pull secrets of a namespace: those of these names and those that these of its service
// accounts have. As for the kubelet, one that is not there, or of another type, is none.
func (c *Cluster) PullSecrets(ctx context.Context, namespace string, serviceAccounts, secrets []string) (registry.Credentials, error) {
	names := slices.Clone(secrets)
	for _, account := range serviceAccounts {
		own, err := c.secretsOf(ctx, namespace, account)
		if err != nil {
			return nil, err
		}
		for _, name := range own {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) > maxSecrets {
		return nil, fmt.Errorf("there are %d pull secrets, and at most %d are read: name fewer", len(names), maxSecrets)
	}
	var all registry.Chain
	for _, name := range names {
		secret, err := c.get(ctx, secretResource, namespace, name)
		if err != nil {
			return nil, err
		}
		credentials, err := parseSecret(secret)
		if err != nil {
			return nil, fmt.Errorf("reading the pull secret %s/%s: %w: make it anew with kubectl create secret docker-registry", namespace, name, err)
		}
		if credentials != nil {
			all = append(all, credentials)
		}
	}
	return all, nil
}

// secretsOf are the names of a service account's pull secrets.
func (c *Cluster) secretsOf(ctx context.Context, namespace, account string) ([]string, error) {
	object, err := c.get(ctx, accountResource, namespace, account)
	if err != nil || object == nil {
		return nil, err
	}
	list, _, err := unstructured.NestedSlice(object.Object, "imagePullSecrets")
	if err != nil {
		return nil, fmt.Errorf("reading the service account %s/%s: %w", namespace, account, err)
	}
	var names []string
	for _, entry := range list {
		if reference, ok := entry.(map[string]any); ok {
			if name, _ := reference["name"].(string); name != "" {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// parseSecret is nil for what is no pull secret. Its errors say nothing of what is in it.
func parseSecret(secret *unstructured.Unstructured) (registry.Credentials, error) {
	if secret == nil {
		return nil, nil
	}
	kind, _, _ := unstructured.NestedString(secret.Object, "type")
	key, ok := keys[corev1.SecretType(kind)]
	if !ok {
		return nil, nil
	}
	encoded, _, _ := unstructured.NestedString(secret.Object, "data", key)
	content, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("its %s is not base64", key)
	}
	credentials, err := registry.ParsePullSecret(kind, content)
	if err != nil {
		return nil, err
	}
	return credentials, nil
}
