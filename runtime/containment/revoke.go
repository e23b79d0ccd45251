package containment

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// revoke names the Secrets that the pod held in spec.revoke of its Quarantine: whoever keeps them takes them back and says so
// in the status. No Secret is read.
type revoke struct{ irreversible }

// maxSecrets is how many a Quarantine names, as its schema allows.
const maxSecrets = 128

func (r revoke) prepare(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Preparation, error) {
	spec, where, err := c.podSpec(ctx, q)
	if err != nil {
		return Preparation{}, err
	}
	if len(SecretsOf(spec)) == 0 {
		return Preparation{Skip: fmt.Sprintf("%s names no Secret", where)}, nil
	}
	return Preparation{Precondition: fmt.Sprintf("%s is as read", where)}, nil
}

func (r revoke) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	spec, where, err := c.podSpec(ctx, q)
	if err != nil {
		return Outcome{}, err
	}
	var secrets []v1alpha1.SecretReference
	for _, name := range SecretsOf(spec) {
		secrets = append(secrets, v1alpha1.SecretReference{Namespace: q.Spec.Pod.Namespace, Name: name})
	}
	left := max(0, len(secrets)-maxSecrets)
	secrets = secrets[:len(secrets)-left]
	_, err = c.change(ctx, v1alpha1.Quarantines, "", q.Name, string(q.UID), func(object *unstructured.Unstructured) ([]operation, error) {
		held, _, err := unstructured.NestedSlice(object.Object, "spec", "revoke")
		if err != nil {
			return nil, fmt.Errorf("reading what is to be revoked already: %w", err)
		}
		if len(secrets) == 0 || slices.EqualFunc(held, secrets, names) {
			return nil, nil
		}
		return []operation{{Op: "add", Path: "/spec/revoke", Value: secrets}}, nil
	})
	if err != nil {
		return Outcome{}, err
	}
	result := fmt.Sprintf("%d Secrets that %s names are to be revoked", len(secrets), where)
	if left > 0 {
		result += fmt.Sprintf("; %d more do not fit: revoke all of namespace %s by hand", left, q.Spec.Pod.Namespace)
	}
	// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		result += "; the token of its service account ends with the pod (delete it to end it now); credentials of a cloud that it was exchanged for live on"
	}
	return Outcome{Result: result}, nil
}

// names says whether a value of an object is a reference to a Secret.
func names(held any, secret v1alpha1.SecretReference) bool {
	fields, _ := held.(map[string]any)
	return fields["namespace"] == secret.Namespace && fields["name"] == secret.Name
}

// podSpec is that of the pod, or, where that is gone, of the template that its controller makes pods from.
func (c *Cluster) podSpec(ctx context.Context, q *v1alpha1.Quarantine) (*corev1.PodSpec, string, error) {
	pod, err := c.pod(ctx, q)
	if err == nil {
		return &pod.Spec, "the pod", nil
	}
	if !gone(err) || q.Spec.Owner == nil {
		return nil, "", err
	}
	for owner := q.Spec.Owner; owner != nil; owner = owner.Direct {
		resource, failed := c.resourceOf(owner.Group, owner.Version, owner.Kind)
		if failed != nil {
			continue
		}
		object, failed := c.get(ctx, resource, q.Spec.Pod.Namespace, owner.Name, owner.UID)
		if failed != nil {
			continue
		}
		if spec, failed := templateOf(object); failed == nil {
			return spec, fmt.Sprintf("the template of %s %s", owner.Kind, owner.Name), nil
		}
	}
	return nil, "", err
}

// templateOf is the specification of the pods that a controller makes.
func templateOf(object *unstructured.Unstructured) (*corev1.PodSpec, error) {
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		held, found, err := unstructured.NestedMap(object.Object, path...)
		if err != nil || !found {
			continue
		}
		var spec corev1.PodSpec
		if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(held, &spec); err != nil {
			return nil, err
		}
		return &spec, nil
	}
	return nil, fmt.Errorf("%s %s has no template of pods", object.GetKind(), object.GetName())
}

// SecretsOf are the names of the Secrets that a pod can read because its specification names them: in variables, volumes of any kind and for pulling
// images; sorted.
func SecretsOf(spec *corev1.PodSpec) []string {
	var names []string
	for _, pull := range spec.ImagePullSecrets {
		names = append(names, pull.Name)
	}
	variables := func(from []corev1.EnvFromSource, env []corev1.EnvVar) {
		for _, source := range from {
			if source.SecretRef != nil {
				names = append(names, source.SecretRef.Name)
			}
		}
		for _, variable := range env {
			if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
				names = append(names, variable.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		variables(container.EnvFrom, container.Env)
	}
	for _, container := range spec.EphemeralContainers {
		variables(container.EnvFrom, container.Env)
	}
	for _, volume := range spec.Volumes {
		names = append(names, secretsOfVolume(volume.VolumeSource)...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// secretsOfVolume finds whatever a source of a volume calls secretName, secretRef or nodePublishSecretRef, and projected Secrets: fourteen kinds of
// volumes have one of these (k8s.io/api/core/v1, VolumeSource).
func secretsOfVolume(source corev1.VolumeSource) []string {
	raw, err := json.Marshal(source)
	if err != nil {
		return nil
	}
	var kinds map[string]map[string]any
	if json.Unmarshal(raw, &kinds) != nil {
		return nil
	}
	var names []string
	take := func(value any) {
		switch value := value.(type) {
		case string:
			names = append(names, value)
		case map[string]any:
			if name, ok := value["name"].(string); ok {
				names = append(names, name)
			}
		}
	}
	for _, fields := range kinds {
		for name, value := range fields {
			if name == "secretName" || strings.HasSuffix(strings.ToLower(name), "secretref") {
				take(value)
			}
		}
	}
	if source.Projected != nil {
		for _, one := range source.Projected.Sources {
			if one.Secret != nil {
				names = append(names, one.Secret.Name)
			}
		}
	}
	return names
}
