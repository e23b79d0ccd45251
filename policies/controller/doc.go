// Package controller keeps the bundles of a cluster: it fetches what their sources have, verifies, loads and tests it, stores it in
// the cluster, and rolls it out. It is called by nobody and calls nobody: it reads PolicyBundles and PolicyReplicas, and writes the status
// of the former, which webhooks follow.
//
// Several replicas elect one by a Lease; the others answer the push endpoint, which leaves a note in the status. All that was decided
// is in the status, written only over the status it was decided from: whoever goes on with it, after a restart or another election,
// goes on from there, and two that both think they lead cannot contradict each other.
//
// It is written with client-go's informers and leader election, and without controller-runtime: there is one kind to reconcile,
// with one loop for each object, since a source is looked at by its own clock; a work queue with shared workers would have one
// slow Git server hold up the rollback of another bundle's canary.
package controller
