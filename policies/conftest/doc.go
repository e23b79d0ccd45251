// Package conftest runs policies that were written for Conftest (https://www.conftest.dev) as they are: the rules deny,
// warn and violation, with and without a suffix (deny_run_as_root), of package main or of the packages that conftest.toml
// names.
//
// There are two uses. As a judge of admission an [Engine] is asked about the objects that requests create or update: input
// is the object. As the engine of "portcullis conftest test" it checks documents that [parse] has read from files.
//
// # What is as Conftest has it
//
// Rego v1 unless conftest.toml says rego-version = "v0"; rules that give a set or a list of texts, or of objects with msg;
// exceptions by the rule exception; data of files below the data folders, each at its folder's path; the shape of input for
// each format; data.conftest.file for files; a list at the top of a document is so many documents.
//
// # What is stricter
//
// Policies run in the sandbox of a bundle's own: no http.send, no environment, no files. What Conftest passes over
// silently is an error at load or a fault here: a rule that gives a truth value instead of messages, an element that is
// neither text nor object, an unknown key of conftest.toml, a folder whose policies have no rule to ask.
//
// Rules of semantics were read off Conftest 0.71.1, policy/engine.go and output/result.go.
package conftest
