//go:build race

package child

// The race detector reserves terabytes of address space.
const raceDetector = true
