package main

import (
	"os"
	"runtime/debug"
)

// gcPercentServing is what the heap may grow by between two collections, in percent. Little garbage is made while nothing changes, and about 70 MB are
// in use with 5,000 objects: Go's default of 100 would have the program touch its budget of 150 MB and more.
const gcPercentServing = 50

// endLoading gives back what compiling policies has left. GOGC in the environment wins.
func endLoading() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercentServing)
	}
	debug.FreeOSMemory()
}
