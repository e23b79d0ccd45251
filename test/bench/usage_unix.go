//go:build unix

package bench

import (
	"syscall"
	"time"
)

// processTime is the processor time this process has used, garbage collection included.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
