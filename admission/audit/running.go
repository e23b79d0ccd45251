package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Running is what a pod runs that has not ended.
type Running struct {
	// Images are those of its containers and volumes that a node has pulled and whose digests are known, each once.
	Images []Image
	// Since is when the pod was made.
	Since time.Time
}

// Image is an image that runs.
type Image struct {
	Repository registry.Repository
	// Digest is that of the pod's reference or, of a tag, what the node says that it pulled: "sha256:…".
	Digest string
}

// maxRepository is how long the name of a repository may be in an ImageScan, as in its schema.
const maxRepository = 512

// podContainer is one of a pod's specification, or of its status.
type podContainer struct {
	Name         string `json:"name"`
	Image        string `json:"image"`
	ImageID      string `json:"imageID"`
	VolumeMounts []struct {
		Name string `json:"name"`
	} `json:"volumeMounts"`
}

// runningOf is nil for what is no pod, and for one that has ended.
func runningOf(r Reference, raw []byte) *Running {
	if r.GroupResource() != "pods" {
		return nil
	}
	var pod struct {
		Metadata struct {
			CreationTimestamp time.Time `json:"creationTimestamp"`
		} `json:"metadata"`
		Spec struct {
			Containers          []podContainer `json:"containers"`
			InitContainers      []podContainer `json:"initContainers"`
			EphemeralContainers []podContainer `json:"ephemeralContainers"`
			Volumes             []struct {
				Name  string `json:"name"`
				Image struct {
					Reference string `json:"reference"`
				} `json:"image"`
			} `json:"volumes"`
		} `json:"spec"`
		Status struct {
			Phase                      string         `json:"phase"`
			ContainerStatuses          []podContainer `json:"containerStatuses"`
			InitContainerStatuses      []podContainer `json:"initContainerStatuses"`
			EphemeralContainerStatuses []podContainer `json:"ephemeralContainerStatuses"`
		} `json:"status"`
	}
	if json.Unmarshal(raw, &pod) != nil || pod.Status.Phase == "Succeeded" || pod.Status.Phase == "Failed" {
		return nil
	}
	running := &Running{Since: pod.Metadata.CreationTimestamp}
	statuses := slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses)
	mounted := map[string]bool{}
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers, pod.Spec.EphemeralContainers) {
		// Names are unique among all containers of a pod.
		n := slices.IndexFunc(statuses, func(s podContainer) bool { return s.Name == c.Name })
		if n < 0 || statuses[n].ImageID == "" {
			continue // what no node has pulled is a name that anybody can write: nothing is read for it
		}
		running.add(c.Image, statuses[n].ImageID)
		for _, mount := range c.VolumeMounts {
			mounted[mount.Name] = true
		}
	}
	for _, volume := range pod.Spec.Volumes {
		// The status does not tell of volumes, but the kubelet makes no container before it has pulled the images that it mounts
		// (KEP-4639). Of a tag nobody says what was pulled.
		if mounted[volume.Name] {
			running.add(volume.Image.Reference, volume.Image.Reference)
		}
	}
	if len(running.Images) == 0 {
		return nil
	}
	return running
}

// add adds an image, unless its digest is not known. pulled is what the node says that it has pulled, never "".
func (r *Running) add(text, pulled string) {
	wanted, err := workload.ParseImage(text)
	if err != nil {
		return
	}
	// "docker.io/library/nginx@sha256:…" of containerd and CRI-O, "docker-pullable://nginx@sha256:…" of dockershim. Without a
	// repository it is the digest of the configuration, of an image that came from no registry.
	got, err := workload.ParseImage(strings.TrimPrefix(pulled, "docker-pullable://"))
	if err != nil || got.Digest == "" {
		return
	}
	image := Image{Repository: registry.Repository{Registry: wanted.Registry, Path: wanted.Repository}, Digest: wanted.Digest}
	switch {
	case image.Digest == "":
		image.Digest = got.Digest
	case image.Digest != got.Digest && (wanted.Registry != got.Registry || wanted.Repository != got.Repository):
		// The node may say the digest of the manifest where the reference has that of the index. Another repository's image, however,
		// is what ran before the pod was changed: of this one nobody knows that its node may pull it.
		return
	}
	if strings.HasPrefix(image.Digest, "sha256:") && len(image.Repository.String()) <= maxRepository && !slices.Contains(r.Images, image) {
		r.Images = append(r.Images, image)
	}
}

// Use is how an image is used.
type Use struct {
	// Repository is one of those that pods name.
	Repository registry.Repository
	// Since is when the newest pod was made that runs it, Pods how many do.
	Since time.Time
	Pods  int
}

// Running are the images that run, by digest.
func (l *Ledger) Running() map[string]Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	uses := map[string]Use{}
	for _, p := range l.scopes {
		for _, e := range p.entries {
			running := e.result.Running
			if running == nil {
				continue
			}
			for _, image := range running.Images {
				use := uses[image.Digest]
				use.Pods++
				if use.Pods == 1 || running.Since.After(use.Since) {
					use.Repository, use.Since = image.Repository, running.Since
				}
				uses[image.Digest] = use
			}
		}
	}
	return uses
}

// Using are the pods that run an image of some digests, and what they belong to, owners first.
func (l *Ledger) Using(digests []string) []Reference {
	wanted := map[string]bool{}
	for _, digest := range digests {
		wanted[digest] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Reference
	for _, p := range l.scopes {
		owners := map[string]bool{}
		for _, e := range p.entries {
			if e.result.Running == nil || !slices.ContainsFunc(e.result.Running.Images, func(i Image) bool { return wanted[i.Digest] }) {
				continue
			}
			found = append(found, e.result.Object)
			if owner := e.result.Owner; owner != nil {
				owners[owner.UID] = true
			}
		}
		for range maxOwners {
			if len(owners) == 0 {
				break
			}
			above := map[string]bool{}
			for _, e := range p.entries {
				if e.result.Object.UID == "" || !owners[e.result.Object.UID] {
					continue
				}
				found = append(found, e.result.Object)
				if owner := e.result.Owner; owner != nil {
					above[owner.UID] = true
				}
			}
			owners = above
		}
	}
	slices.SortFunc(found, CompareOrder)
	return slices.Compact(found)
}

// internRunning shares the texts of images. l.mu is held.
func (l *Ledger) internRunning(r *Running) {
	if r == nil {
		return
	}
	for n := range r.Images {
		image := &r.Images[n]
		for _, text := range []*string{&image.Repository.Registry, &image.Repository.Path, &image.Digest} {
			*text = l.text(*text)
		}
	}
}
