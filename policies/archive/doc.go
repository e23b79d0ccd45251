// Package archive holds the files of a bundle: a [Tree] of names and contents, within limits, whatever they were
// packed in.
//
// A tree has one digest, the same for a directory, a Git commit, an OCI artifact and a tarball with the same files. What
// differs between those and means nothing is no part of it: times, modes, owners, the order of files, empty folders, and
// hidden files, whose names or folders start with a dot (.git, .manifest, .signatures.json).
//
// Links and devices are refused wherever a tree is read, and so is every name that could mean another place than it
// says: "../x", "a/../b", "a//b", backslashes and control characters.
package archive
