// Package queue is the queue of images to scan in a cluster: custom resources, one for each digest. The webhook asks
// with [Asker], several replicas of the scanner work with [Worker]. There is no leader: a replica claims an object by
// writing its name into it, which the API server lets one of them do, and the claim expires if the replica is gone.
package queue
