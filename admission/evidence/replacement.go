package evidence

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/signer/registry"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Owners reads an object as it is in the cluster now; nil without error means that it is not there.
type Owners interface {
	Owner(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (json.RawMessage, error)
}

// controllers are the kinds whose pods the cluster's own controllers make, with the service account of each
// (k8s.io/kubernetes/cmd/kube-controller-manager; the ClusterRoleBindings system:controller:…).
var controllers = map[schema.GroupKind]struct {
	resource       schema.GroupVersionResource
	serviceAccount string
}{
	{Group: "apps", Kind: "ReplicaSet"}:        {schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, "replicaset-controller"},
	{Group: "apps", Kind: "StatefulSet"}:       {schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, "statefulset-controller"},
	{Group: "apps", Kind: "DaemonSet"}:         {schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, "daemon-set-controller"},
	{Group: "batch", Kind: "Job"}:              {schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, "job-controller"},
	{Group: "", Kind: "ReplicationController"}: {schema.GroupVersionResource{Version: "v1", Resource: "replicationcontrollers"}, "replication-controller"},
}

// sharedIdentity is who all controllers are where --use-service-account-credentials is off.
const sharedIdentity = "system:kube-controller-manager"

// replacement is what can be said of all images of a pod: those of its controller's template, or why they are not known.
type replacement struct {
	template []workload.Image
	unknown  string
}

// ownerTemplate is a controller's own UID and the images of its template.
type ownerTemplate struct {
	uid    string
	images []workload.Image
}

// replacement looks the pod's controller up. What the pod says of it is the client's word: it counts only from the controller
// that makes the pods of such an object, for an object that is in the cluster under this UID.
func (g *gathering) replacement(ctx context.Context) replacement {
	owner := g.needs.Owner
	if owner == nil {
		return replacement{}
	}
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	kind := schema.GroupKind{Group: group.Group, Kind: owner.Kind}
	controller, ok := controllers[kind]
	if err != nil || !ok || !isController(g.needs.Subject.Username, controller.serviceAccount) {
		return replacement{}
	}
	what := fmt.Sprintf("whether the pod replaces an admitted one of %s %s/%s", owner.Kind, g.needs.Namespace, owner.Name)
	if g.options.Owners == nil {
		return replacement{unknown: what + ": " + g.options.NoOwners}
	}
	found, err := g.owner(ctx, controller.resource, kind, owner.Name)
	switch {
	case err != nil:
		return replacement{unknown: reason(what, "the API server", err)}
	case owner.UID == "" || found.uid != owner.UID:
		return replacement{}
	}
	return replacement{template: found.images}
}

func isController(username, serviceAccount string) bool {
	return username == "system:serviceaccount:kube-system:"+serviceAccount || username == sharedIdentity
}

// owner reads a controller and its template. Pods that come at the same moment share one look; it is never remembered.
func (g *gathering) owner(ctx context.Context, resource schema.GroupVersionResource, kind schema.GroupKind, name string) (ownerTemplate, error) {
	k := key{repository: registry.Repository{Registry: "the API server", Path: g.needs.Namespace}, subject: resource.String() + "/" + name}
	return g.owners.find(ctx, k, never, func(ctx context.Context, _ bool) (answer[ownerTemplate], error) {
		raw, err := g.options.Owners.Owner(ctx, resource, g.needs.Namespace, name)
		if err != nil || raw == nil {
			return answer[ownerTemplate]{}, err
		}
		template, err := readTemplate(raw, metav1.GroupVersionKind{Group: kind.Group, Version: resource.Version, Kind: kind.Kind})
		return answer[ownerTemplate]{value: template}, err
	})
}

func readTemplate(raw json.RawMessage, kind metav1.GroupVersionKind) (ownerTemplate, error) {
	var object struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return ownerTemplate{}, fmt.Errorf("reading it: %w", err)
	}
	workloads, err := workload.Extract(kind, raw)
	if err != nil {
		return ownerTemplate{}, fmt.Errorf("reading its template: %w", err)
	}
	template := ownerTemplate{uid: object.Metadata.UID}
	for _, w := range workloads {
		template.images = append(template.images, w.Images...)
	}
	return template, nil
}

// of says whether an image of the pod is that of the same container in the template. A digest that the pod has and the template
// leaves open was pinned at this door.
func (r replacement) of(image workload.Image) (bool, string) {
	for _, known := range r.template {
		if known.Container == image.Container && known.Volume == image.Volume && sameImage(known, image) {
			return true, r.unknown
		}
	}
	return false, r.unknown
}

func sameImage(template, pod workload.Image) bool {
	return template.Registry == pod.Registry && template.Repository == pod.Repository && template.Tag == pod.Tag &&
		(template.Digest == pod.Digest || template.Digest == "")
}
