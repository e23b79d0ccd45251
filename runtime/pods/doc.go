// Package pods finds the pod that a runtime event is about.
//
// An event names a pod by what the kernel knew of it: a UID, the first digits of a container's id, a name. None of these
// is believed more than it can say. In this order:
//
//  1. The UID (k8s.pod.uid) names one pod, or none: an event with a UID that is not known is about no pod that has its name by now.
//  2. A container id (container.full_id, container.id), as the kubelet reports it in the pod's status. Digits that two pods
//     share name neither.
//  3. Namespace and name, only if that pod existed at the time of the event: a pod that was created again under the
//     same name is another one.
//
// Identities that contradict each other name nobody. A sender that has proved to be a node speaks for the pods of that node only.
//
// The index watches all pods and keeps of each what it takes to find it; the object itself is fetched when a policy may read it, and kept
// while its resource version is the latest that the watch has seen. Pods that are gone are kept for some minutes, since
// events arrive late.
package pods
