// Package source brings revisions of bundles from where they are kept, each with the proof of who has signed it, and
// verifies that proof.
//
// A [Source] fetches a [Revision]: a directory (package directory), a Git repository (git), an artifact in a registry (oci),
// or a tarball over HTTP (http). [Verifier.Verify] needs nothing but the revision: no network, no cache, no program. So
// whoever loads a revision later, from where it was stored ([Encode], [Decode]), verifies it again just as well.
//
// What is verified is what is used. The files of a revision are bound to what was signed: a commit by its tree objects, an
// artifact by the layer that its manifest names, a tarball by its own bytes.
//
// A signature binds neither repository nor branch: that the right bundle was signed, and none that is older, is for name
// and serial in bundle.yaml to say, which are among the files.
package source
