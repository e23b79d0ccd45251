// Package v1alpha1 are the custom resources by which policies reach a cluster: PolicyBundle says where a bundle comes
// from, who must have signed it and how a new revision is rolled out; PolicyRevision keeps the revisions that were
// fetched, with the proof of who signed them; PolicyReplica is what one replica of the webhook has loaded and seen;
// PolicyException is an exception that a namespace grants where the bundle lets it.
package v1alpha1
