// Package registrytest runs registries for tests and demonstrations: go-containerregistry's,
// in memory, over real HTTP on a loopback address, in the shapes that registries come in,
// with the faults that they and those between can have.
package registrytest
