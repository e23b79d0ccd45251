package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/directory"
	"github.com/portcullis-dev/portcullis/policies/source/git"
	"github.com/portcullis-dev/portcullis/policies/source/http"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// opener opens sources, with the credentials of Secrets in one namespace.
type opener struct {
	kube      kubernetes.Interface
	namespace string
	registry  registry.Options
}

// open opens a source for one look: so that credentials are those of now.
func (o *opener) open(ctx context.Context, s *v1alpha1.Source) (source.Source, error) {
	switch {
	case s.Git != nil:
		secret, err := o.secret(ctx, s.Git.SecretRef)
		if err != nil {
			return nil, err
		}
		return git.New(*s.Git, git.Options{Allow: o.registry.Allow, Cluster: o.registry.Cluster, PlainHTTP: o.registry.PlainHTTP, Credentials: git.Credentials{
			Username: string(secret["username"]), Password: string(secret["password"]), BearerToken: string(secret["bearerToken"]),
			Identity: secret["identity"], KnownHosts: string(secret["known_hosts"]),
		}})
	case s.OCI != nil:
		credentials, err := o.pullSecret(ctx, s.OCI.SecretRef)
		if err != nil {
			return nil, err
		}
		return oci.New(*s.OCI, oci.Options{Registry: o.registry, Credentials: credentials})
	case s.HTTP != nil:
		secret, err := o.secret(ctx, s.HTTP.SecretRef)
		if err != nil {
			return nil, err
		}
		return http.New(*s.HTTP, http.Options{Allow: o.registry.Allow, Cluster: o.registry.Cluster, PlainHTTP: o.registry.PlainHTTP, Credentials: http.Credentials{
			Username: string(secret["username"]), Password: string(secret["password"]), BearerToken: string(secret["bearerToken"]),
		}})
	case s.Directory != nil:
		return directory.New(*s.Directory, directory.Options{})
	}
	return nil, fmt.Errorf("reading the source: there is none: give git, oci, http or directory")
}

// secret is the data of a Secret, nil where none is named.
func (o *opener) secret(ctx context.Context, name string) (map[string][]byte, error) {
	found, err := o.get(ctx, name)
	if err != nil || found == nil {
		return nil, err
	}
	return found.Data, nil
}

func (o *opener) pullSecret(ctx context.Context, name string) (registry.Credentials, error) {
	found, err := o.get(ctx, name)
	if err != nil || found == nil {
		return nil, err
	}
	key := corev1.DockerConfigJsonKey
	if found.Type == corev1.SecretTypeDockercfg {
		key = corev1.DockerConfigKey
	}
	config, err := registry.ParsePullSecret(string(found.Type), found.Data[key])
	if err != nil {
		return nil, fmt.Errorf("reading the Secret %s/%s: %w", o.namespace, name, err)
	}
	return config, nil
}

func (o *opener) get(ctx context.Context, name string) (*corev1.Secret, error) {
	if name == "" {
		return nil, nil
	}
	found, err := o.kube.CoreV1().Secrets(o.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the Secret %s/%s: %w: create it, or correct its name", o.namespace, name, err)
	}
	return found, nil
}
