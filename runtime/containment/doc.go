// Package containment carries out single actions on a cluster, and takes them back. One action is one file.
//
// Each action has three parts. Prepare only reads: it says what will be changed, so that it can be written down first, with what was there
// before. Do takes the action, and Undo takes it back at release. Both are idempotent, so that whoever resumes after a crash does them
// again.
//
// A pod is known by its UID alone: one that was made anew under the same name is another pod, and is never touched. Every patch tests UID and
// resourceVersion; every deletion has the UID as its precondition. What belongs to somebody else (a NetworkPolicy of the same name, a node
// that was cordoned before, labels that the pod has) is left as it is.
//
// # Rights
//
//	annotate, label, detach   pods: get, patch
//	isolate                   pods: get, patch; networkpolicies: get, list, create, patch, delete; and those of a proof
//	restrict                  pods: get; networkpolicies: list, patch; and those of a proof
//	condemn                   incidents: get, list, create, patch, delete
//	revoke                    pods: get; owners: get; quarantines: get, patch
//	cordon                    nodes: get, patch
//	suspend                   pods: get; jobs, cronjobs: get, patch
//	scale                     pods: get; owners: get; the subresource scale of deployments, replicasets, statefulsets, replicationcontrollers (and of
//	                          other kinds that are to be scaled): get, update; horizontalpodautoscalers: list
//	evict                     pods: get; pods/eviction: create
//	delete                    pods: get, delete
//	a proof                   pods, namespaces, and all of isolation.Resources: list
//	Setup                     daemonsets: list; clusternetworkpolicies, adminnetworkpolicies, ciliumclusterwidenetworkpolicies,
//	                          globalnetworkpolicies: get, create, patch
//
// A release deletes pods, too: those that were replaced.
package containment
