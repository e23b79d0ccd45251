package pods

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Annotations of mirror pods, which stand for static pods of a kubelet (k8s.io/kubernetes/pkg/kubelet/types). The hash is the UID by which the
// container runtime, and so Falco, knows the pod.
const (
	mirrorAnnotation = "kubernetes.io/config.mirror"
	hashAnnotation   = "kubernetes.io/config.hash"
)

// maxFormer bounds the container ids that are kept of a pod beside those in its status: a container that restarts in a loop has a
// new one every few minutes.
const maxFormer = 16

// record is what the index keeps of a pod. It is never changed, only replaced.
type record struct {
	pod     response.Pod
	version string // resourceVersion
	labels  map[string]string
	owner   *metav1.OwnerReference // its controller, nil for none
	alias   string                 // the static pod's own UID, "" for others
	// containers are those of the specification, with the ids that they have and had.
	containers []container
	// deleted is when the index heard that it is gone, zero while it is there.
	deleted time.Time
}

// container is one container of a pod.
type container struct {
	name, image, digest string
	ids                 []string // without scheme, the latest first
}

// project keeps of a pod what finding it takes.
func project(pod *corev1.Pod) *record {
	r := &record{
		pod: response.Pod{
			Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Node: pod.Spec.NodeName,
			ServiceAccount: pod.Spec.ServiceAccountName, Created: pod.CreationTimestamp.Time.UTC(),
			HostNetwork: pod.Spec.HostNetwork, HostPID: pod.Spec.HostPID, Priority: pod.Spec.PriorityClassName,
			Privileged: privileged(&pod.Spec),
		},
		version: pod.ResourceVersion,
		labels:  pod.Labels,
		owner:   metav1.GetControllerOf(pod),
	}
	if _, r.pod.Static = pod.Annotations[mirrorAnnotation]; r.pod.Static {
		r.alias = pod.Annotations[hashAnnotation]
	}
	r.add(pod.Status.ContainerStatuses, imagesOf(pod.Spec.Containers))
	r.add(pod.Status.InitContainerStatuses, imagesOf(pod.Spec.InitContainers))
	ephemeral := map[string]string{}
	for n := range pod.Spec.EphemeralContainers {
		ephemeral[pod.Spec.EphemeralContainers[n].Name] = pod.Spec.EphemeralContainers[n].Image
	}
	r.add(pod.Status.EphemeralContainerStatuses, ephemeral)
	return r
}

func imagesOf(containers []corev1.Container) map[string]string {
	images := make(map[string]string, len(containers))
	for n := range containers {
		images[containers[n].Name] = containers[n].Image
	}
	return images
}

// privileged says whether some container of any list is.
func privileged(spec *corev1.PodSpec) bool {
	is := func(context *corev1.SecurityContext) bool {
		return context != nil && context.Privileged != nil && *context.Privileged
	}
	some := func(c corev1.Container) bool { return is(c.SecurityContext) }
	return slices.ContainsFunc(spec.Containers, some) || slices.ContainsFunc(spec.InitContainers, some) ||
		slices.ContainsFunc(spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return is(c.SecurityContext) })
}

func (r *record) add(statuses []corev1.ContainerStatus, images map[string]string) {
	for n := range statuses {
		status := &statuses[n]
		one := container{name: status.Name, image: images[status.Name], digest: digestOf(status.ImageID)}
		if one.digest == "" {
			one.digest = digestOf(one.image)
		}
		ids := []string{status.ContainerID}
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if state.Terminated != nil {
				ids = append(ids, state.Terminated.ContainerID)
			}
		}
		for _, id := range ids {
			if id = bareID(id); id != "" && !slices.Contains(one.ids, id) {
				one.ids = append(one.ids, id)
			}
		}
		r.containers = append(r.containers, one)
	}
}

// inherit takes over the ids that containers had before, so that late events of a container that has restarted since are found.
func (r *record) inherit(before *record) {
	for n := range r.containers {
		now := &r.containers[n]
		for m := range before.containers {
			if before.containers[m].name != now.name {
				continue
			}
			for _, id := range before.containers[m].ids {
				if len(now.ids) < maxFormer && !slices.Contains(now.ids, id) {
					now.ids = append(now.ids, id)
				}
			}
		}
	}
}

// bareID is a container id without the runtime's scheme ("containerd://").
func bareID(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		return bare
	}
	return id
}

// digestOf is the digest of a manifest in a reference or in status.imageID, "" where there is none. "sha256:…" alone is the id of
// the image's configuration, which no registry knows it by, or what docker-pullable:// has before it.
func digestOf(reference string) string {
	_, digest, ok := strings.Cut(reference, "@")
	if !ok || !isDigest(digest) {
		return ""
	}
	return digest
}

func isDigest(text string) bool {
	const hexDigits = 64
	hash, ok := strings.CutPrefix(text, "sha256:")
	return ok && len(hash) == hexDigits && strings.Trim(hash, "0123456789abcdef") == ""
}

// images are the digests that the pod runs, sorted, each once.
func (r *record) images() []string {
	var digests []string
	for n := range r.containers {
		if digest := r.containers[n].digest; digest != "" {
			digests = append(digests, digest)
		}
	}
	slices.Sort(digests)
	return slices.Compact(digests)
}

// existedAt says whether the pod was there at a time. Since creationTimestamp is cut to seconds, a pod that had the name before may
// have lived within the pod's first one: firstSecond says so.
func (r *record) existedAt(at time.Time) (existed, firstSecond bool) {
	if at.Before(r.pod.Created) || !r.deleted.IsZero() && at.After(r.deleted) {
		return false, false
	}
	return true, at.Before(r.pod.Created.Add(time.Second))
}
