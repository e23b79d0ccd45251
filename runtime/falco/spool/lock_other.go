//go:build !unix

package spool

import (
	"fmt"
	"os"
)

// lock opens the lock without taking it: there is no way to that is released by itself when a process dies.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the log: %w: name a folder that can be written to", err)
	}
	return f, nil
}
