//go:build !linux

package process

import "syscall"

// dieWithParent does nothing where the kernel offers nothing: there a program
// outlives a test that is killed, and is stopped by one that ends.
func dieWithParent() *syscall.SysProcAttr { return nil }
