package packets

import "golang.org/x/sys/unix"

// unshare takes the calling thread into a new network namespace.
func unshare() error { return unix.Unshare(unix.CLONE_NEWNET) }

// enter takes the calling thread into the network namespace that a file stands for.
func enter(file uintptr) error { return unix.Setns(int(file), unix.CLONE_NEWNET) }
