// Package policies compiles a bundle of Rego policies once and evaluates it many
// times.
//
// A [Bundle] is a directory: bundle.yaml, Rego modules, data, exceptions. An
// [Engine] holds one compiled bundle. Judging a request takes three steps:
// [Engine.Needs] says which facts the matching policies can read, the caller
// gathers them, and [Engine.Evaluate] is pure: the same request, facts and time
// give the same [Result], byte for byte. The gate, the webhook and the audit call
// the same two functions; they differ only in how they gather.
//
// What policies look like is written down in docs/policies.md.
package policies
