package response

import (
	"fmt"
	"slices"
)

// direct is the controller that a pod itself names, nil where none does.
func (o *Owner) direct() *Owner {
	if o != nil && o.Direct != nil {
		return o.Direct
	}
	return o
}

// is says whether an owner is of a kind, whatever the version.
func (o *Owner) is(group, kind string) bool { return o != nil && o.Group == group && o.Kind == kind }

// Detachable says whether the labels of a pod may be taken off, by the controller that the pod itself names, nil for none, and why: a controller
// lets go of a pod whose labels no longer match, and makes another one.
func Detachable(controller *Owner, s Settings) (bool, string) {
	switch {
	case controller == nil:
		return true, "no controller stands above the pod; its labels are put back at release"
	case controller.is("apps", "ReplicaSet"), controller.is("", "ReplicationController"), controller.is("batch", "Job"):
		return true, fmt.Sprintf("%s %s lets it go and replaces it", controller.Kind, controller.Name)
	case controller.is("apps", "StatefulSet"):
		return false, fmt.Sprintf("StatefulSet %s cannot replace a pod while one of its name exists, so it keeps its labels", controller.Name)
	case controller.is("apps", "DaemonSet"):
		if s.DetachDaemonSets {
			return true, fmt.Sprintf("DaemonSet %s starts another one on the same node, as detachDaemonSets allows", controller.Name)
		}
		return false, fmt.Sprintf("DaemonSet %s would start another one on the same node, so it keeps its labels; allow it by detachDaemonSets", controller.Name)
	case slices.Contains(s.DetachKinds, controller.Group+"/"+controller.Kind):
		return true, fmt.Sprintf("%s %s replaces it, as detachKinds says", controller.Kind, controller.Name)
	default:
		return false, fmt.Sprintf("what %s/%s does about a pod without labels is not known, so it keeps them; allow it by detachKinds", controller.Group, controller.Kind)
	}
}
