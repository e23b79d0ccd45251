// Package gatekeeper runs policies written for Gatekeeper as they are: ConstraintTemplates with Rego of either version,
// Constraints, Config, SyncSets, mutators, ExpansionTemplates and gator's suites.
//
// [Load] compiles a folder of them once. The [Engine] then judges requests as Gatekeeper does (v3.23): it matches
// constraints before any Rego runs, gives templates input.review, input.parameters and data.inventory, and applies
// mutators until nothing changes. It differs where Gatekeeper would let something pass in silence: a constraint that
// cannot be evaluated, an inventory that is not complete and a namespace that is not known are faults, and what cannot be
// run at all is refused when the folder is loaded, by name: templates with nothing but CEL, and external data.
//
// A template's identity is "gatekeeper/" and its kind in lower case; a finding's instance is the constraint's name.
package gatekeeper
