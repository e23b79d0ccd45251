package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// The resources that actions are about.
var (
	pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	nodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	networkPolicies = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	daemonSets      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	autoscalers     = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
)

// actor writes as whom fields are managed.
const actor = "portcullis-responder"

// pod reads the pod of a quarantine. It is [ErrGone] if there is none, or another one of its name: a
// StatefulSet gives the name again at once.
func (c *Cluster) pod(ctx context.Context, q *v1alpha1.Quarantine) (*corev1.Pod, error) {
	object, err := c.get(ctx, pods, q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Spec.Pod.UID)
	if err != nil {
		return nil, err
	}
	return podOf(object)
}

func podOf(object *unstructured.Unstructured) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pod); err != nil {
		return nil, fmt.Errorf("decoding pod %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return &pod, nil
}

// get reads an object that must have a UID, if one is given. It is [ErrGone] where it has another one.
func (c *Cluster) get(ctx context.Context, resource schema.GroupVersionResource, namespace, name, uid string) (*unstructured.Unstructured, error) {
	object, err := c.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading %s %s: %w", resource.Resource, place(namespace, name), ErrGone)
	case err != nil:
		return nil, fmt.Errorf("reading %s %s: %w", resource.Resource, place(namespace, name), err)
	case uid != "" && string(object.GetUID()) != uid:
		return nil, fmt.Errorf("reading %s %s: it is another one of the name (UID %s, not %s): %w", resource.Resource, place(namespace, name), object.GetUID(), uid, ErrGone)
	}
	return object, nil
}

// place is a namespace and a name as people write them.
func place(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"` // null where there is none, which remove does not look at
}

// pointer is a JSON pointer (RFC 6901) of keys.
func pointer(keys ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var path strings.Builder
	for _, key := range keys {
		path.WriteString("/" + escape.Replace(key))
	}
	return path.String()
}

// attempts is how often a change is made anew because somebody else was faster. Nodes and pods are written by few.
const attempts = 8

// change patches an object by what is wanted of it as it is now. The patch tests UID and resourceVersion, so that it is about
// that object as it was seen, or fails; then it is made anew. Nothing wanted is nothing sent. It says whether something was changed.
func (c *Cluster) change(ctx context.Context, resource schema.GroupVersionResource, namespace, name, uid string, want func(*unstructured.Unstructured) ([]operation, error)) (bool, error) {
	var last error
	for range attempts {
		object, err := c.get(ctx, resource, namespace, name, uid)
		if err != nil {
			return false, err
		}
		operations, err := want(object)
		if err != nil || len(operations) == 0 {
			return false, err
		}
		err = c.patch(ctx, resource, object, operations)
		if err == nil {
			return true, nil
		}
		if last = err; !outrun(err) {
			break
		}
	}
	return false, fmt.Errorf("changing %s %s: %w", resource.Resource, place(namespace, name), last)
}

// patch sends operations for an object as it was seen.
func (c *Cluster) patch(ctx context.Context, resource schema.GroupVersionResource, seen *unstructured.Unstructured, operations []operation) error {
	guarded := append([]operation{
		{Op: "test", Path: "/metadata/uid", Value: seen.GetUID()},
		{Op: "test", Path: "/metadata/resourceVersion", Value: seen.GetResourceVersion()},
	}, operations...)
	raw, err := json.Marshal(guarded)
	if err != nil {
		return err
	}
	_, err = c.client.Resource(resource).Namespace(seen.GetNamespace()).Patch(ctx, seen.GetName(), k8stypes.JSONPatchType, raw, metav1.PatchOptions{FieldManager: actor})
	return err
}

// outrun says that an object was changed by somebody else meanwhile. Where a test of a JSON patch fails, the API server answers 422 with the words of
// a request that it does not understand (k8s.io/apimachinery/pkg/api/errors.NewGenericServerResponse); an object that is not valid has others.
func outrun(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsInvalid(err) && strings.Contains(err.Error(), "the server rejected our request due to an error in our request")
}

// changePod is change of the pod of a quarantine.
func (c *Cluster) changePod(ctx context.Context, q *v1alpha1.Quarantine, want func(*corev1.Pod) ([]operation, error)) (bool, error) {
	return c.change(ctx, pods, q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Spec.Pod.UID, func(object *unstructured.Unstructured) ([]operation, error) {
		pod, err := podOf(object)
		if err != nil {
			return nil, err
		}
		return want(pod)
	})
}

// setMap are the operations that make labels or annotations (key) from what they are to what they are to be. Both may be nil.
func setMap(key string, is, want map[string]string) []operation {
	if len(is) == 0 {
		if len(want) == 0 {
			return nil
		}
		return []operation{{Op: "add", Path: pointer("metadata", key), Value: want}}
	}
	var operations []operation
	for _, name := range sortedKeys(is) {
		if _, keep := want[name]; !keep {
			operations = append(operations, operation{Op: "remove", Path: pointer("metadata", key, name)})
		}
	}
	for _, name := range sortedKeys(want) {
		if value, ok := is[name]; !ok || value != want[name] {
			operations = append(operations, operation{Op: "add", Path: pointer("metadata", key, name), Value: want[name]})
		}
	}
	return operations
}

// precondition is what the API server is asked of a pod.
func precondition(pod *corev1.Pod) string {
	return fmt.Sprintf("pod %s/%s has UID %s and resourceVersion as read (%s)", pod.Namespace, pod.Name, pod.UID, pod.ResourceVersion)
}

// gone says whether an error is that of an object that is not there any more.
func gone(err error) bool { return errors.Is(err, ErrGone) || apierrors.IsNotFound(err) }
