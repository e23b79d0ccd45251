//go:build race

package programs

// Raced says that the calling binary has the race detector in it. With it a program takes ten times as long to start.
const Raced = true
