package timeline

import (
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	secret "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Digests are those that pods run ("sha256:…"), sorted.
func Digests(pods []corev1.Pod) []string {
	digests := map[string]bool{}
	for n := range pods {
		for _, statuses := range [][]corev1.ContainerStatus{pods[n].Status.InitContainerStatuses, pods[n].Status.ContainerStatuses, pods[n].Status.EphemeralContainerStatuses} {
			for _, status := range statuses {
				addDigest(digests, status.ImageID)
			}
		}
		for _, containers := range [][]corev1.Container{pods[n].Spec.InitContainers, pods[n].Spec.Containers} {
			for n := range containers {
				addDigest(digests, containers[n].Image)
			}
		}
	}
	return slices.Sorted(maps.Keys(digests))
}

func addDigest(into map[string]bool, image string) {
	if at := strings.LastIndex(image, "sha256:"); at >= 0 && len(image)-at == len("sha256:")+64 {
		into[image[at:]] = true
	}
}

// SecretsOf are the names of the Secrets that a pod's specification refers to, sorted. No value is looked at.
func SecretsOf(spec *corev1.PodSpec) []string {
	names := map[string]bool{}
	for n := range spec.Volumes {
		volume := &spec.Volumes[n]
		if volume.Secret != nil {
			names[volume.Secret.SecretName] = true
		}
		if volume.Projected != nil {
			for _, source := range volume.Projected.Sources {
				if source.Secret != nil {
					names[source.Secret.Name] = true
				}
			}
		}
	}
	for _, reference := range spec.ImagePullSecrets {
		names[reference.Name] = true
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for n := range containers {
			for _, from := range containers[n].EnvFrom {
				if from.SecretRef != nil {
					names[from.SecretRef.Name] = true
				}
			}
			for _, variable := range containers[n].Env {
				if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
					names[variable.ValueFrom.SecretKeyRef.Name] = true
				}
			}
		}
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// Writes says whether a VaultSecret writes one of some Secrets.
func Writes(v *secret.VaultSecret, names []string) bool {
	name := v.Spec.Destination.Name
	if v.Status.Destination != nil {
		name = v.Status.Destination.Name
	}
	if name == "" {
		name = v.Name
	}
	return slices.Contains(names, name)
}

// Workload is what a timeline is about.
type Workload struct{ Namespace, Kind, Name string }

// OfQuarantine says whether a quarantine is about the workload: its pods, or itself.
func (w Workload) OfQuarantine(q *v1alpha1.Quarantine, pods []string) bool {
	if q.Spec.Pod.Namespace != w.Namespace {
		return false
	}
	if w.Kind == "Pod" && q.Spec.Pod.Name == w.Name || slices.Contains(pods, q.Spec.Pod.Name) {
		return true
	}
	for owner := q.Spec.Owner; owner != nil; owner = owner.Direct {
		if owner.Kind == w.Kind && owner.Name == w.Name {
			return true
		}
	}
	return false
}

// OfIncident says whether admission remembers something about the workload: by its controller, service accounts or digests.
func (w Workload) OfIncident(i *v1alpha1.Incident, digests, accounts []string) bool {
	if len(i.Spec.Namespaces) > 0 && !slices.ContainsFunc(i.Spec.Namespaces, func(glob string) bool {
		matched, err := path.Match(glob, w.Namespace)
		return err == nil && matched
	}) {
		return false
	}
	switch {
	case i.Spec.Owner != nil:
		return i.Spec.Owner.Namespace == w.Namespace && i.Spec.Owner.Kind == w.Kind && i.Spec.Owner.Name == w.Name
	case i.Spec.ServiceAccount != nil:
		return i.Spec.ServiceAccount.Namespace == w.Namespace && slices.Contains(accounts, i.Spec.ServiceAccount.Name)
	}
	return slices.Contains(digests, i.Spec.Digest)
}
