package response

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What no response contains whatever the settings say: without these there is no cluster to respond in.
var (
	protectedNamespaces = []string{"kube-system", "kube-public", "kube-node-lease"}
	protectedPriorities = []string{"system-node-critical", "system-cluster-critical"}
)

// Protected says why a pod must not be contained, "" where it may be. What any of the bundles protects is protected. A selector or glob that
// cannot be read protects.
func Protected(pod *Pod, settings map[string]Settings, facts Facts) string {
	switch {
	case pod.Namespace == "":
		return "its namespace is not known"
	case pod.Namespace == facts.Own:
		return fmt.Sprintf("namespace %s is the responder's own", pod.Namespace)
	case slices.Contains(protectedNamespaces, pod.Namespace):
		return fmt.Sprintf("namespace %s is the cluster's own", pod.Namespace)
	case slices.Contains(protectedPriorities, pod.Priority):
		return fmt.Sprintf("priority class %s keeps the cluster running", pod.Priority)
	}
	for _, bundle := range slices.Sorted(maps.Keys(settings)) {
		protect := settings[bundle].Protect
		by := fmt.Sprintf("by the settings of bundle %s", cmp.Or(bundle, "(unnamed)"))
		if globbed(protect.Namespaces, pod.Namespace, true) {
			return fmt.Sprintf("namespace %s is protected %s", pod.Namespace, by)
		}
		if pod.Priority != "" && globbed(protect.PriorityClasses, pod.Priority, true) {
			return fmt.Sprintf("priority class %s is protected %s", pod.Priority, by)
		}
		if protect.PodSelector == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(protect.PodSelector)
		if err != nil || selector.Matches(labels.Set(facts.PodLabels)) {
			return "its labels are protected " + by
		}
	}
	return ""
}
