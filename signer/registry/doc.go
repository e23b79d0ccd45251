// Package registry reads evidence and images from OCI registries, and writes them there,
// within bounds: every byte that arrives is counted, every digest is computed from the
// bytes, every address is checked after it was resolved, and credentials go to the exact
// host that they are for. A [Layout] is the same for a directory or an archive.
//
// The protocol is the OCI distribution specification 1.1
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md).
package registry
