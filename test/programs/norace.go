//go:build !race

package programs

// Raced says that the calling binary has the race detector in it: compiling the library takes five times as long.
const Raced = false
