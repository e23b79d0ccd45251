// Package admissionpolicy writes policies of a bundle as ValidatingAdmissionPolicies and their bindings, by which an API
// server judges in its own process, in the Common Expression Language and without a webhook (KEP-3488,
// admissionregistration.k8s.io/v1).
//
// They are a floor below the webhook: what they refuse the webhook refuses too, and they still do where it is not asked or
// does not answer. So what cannot be said exactly is said more mildly, and [Export] lists it, as the few updates of which it is not so: policies
// that nobody has written in CEL, exceptions for single containers, exceptions that end (an expression has no clock),
// exceptions that somebody may yet grant in the cluster.
//
// What a policy finds is written by hand beside its rules ([policies.CEL]). All else is derived: what it is about from its
// metadata, its parameters, matches, enforcement and fail mode from the bundle, and which namespaces have which profile.
package admissionpolicy
