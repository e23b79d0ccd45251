// Package runtime is documentation only; nobody imports it.
//
// The packages below it answer what a workload does while it runs:
//
//	response     events, settings and plans: what is to be done about what has happened. Pure.
//	isolation    which traffic remains possible to and from a pod under given network policies. Pure.
//	v1alpha1     the custom resources Quarantine, QuarantineEvidence and Incident
//	falco        events of Falco: received, kept, decoded
//	pods         finds the pod that an event is about
//	containment  carries out single actions on a cluster, and takes them back
//	guard        has the webhook asked about tokens of quarantined pods
//	evidence     captures what is known of a pod before it is gone
//	notify       tells people
//	quarantine   the controller that takes a Quarantine from step to step
//	responder    from an event to a Quarantine
package runtime
