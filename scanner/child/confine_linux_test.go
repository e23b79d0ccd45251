package child

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Containers commonly may make no user namespaces, and privileged ones may make network namespaces.
func TestWithoutUserNamespacesItIsSaidWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		refuses uintptr // the clone flags that the system does not allow
		err     error
		network bool
		tries   int
	}{
		"all is allowed":                   {0, nil, true, 1},
		"no user namespaces":               {syscall.CLONE_NEWUSER, unix.EPERM, true, 2},
		"no user namespaces are left":      {syscall.CLONE_NEWUSER, unix.ENOSPC, true, 2},
		"no namespaces at all":             {syscall.CLONE_NEWNET, unix.EPERM, false, 3},
		"a program that cannot be started": {0, unix.ENOENT, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var isolation Isolation
			tries := 0
			err := confinement{}.spawnWithoutNetwork(func(a *syscall.SysProcAttr) error {
				tries++
				if errors.Is(c.err, unix.ENOENT) || a.Cloneflags&c.refuses != 0 {
					return fmt.Errorf("fork/exec: %w", c.err)
				}
				if !a.Setpgid {
					t.Error("the child is in the parent's process group, and gets its signals")
				}
				return nil
			}, &isolation)
			if errors.Is(c.err, unix.ENOENT) != (err != nil) {
				t.Fatalf("got %v", err)
			}
			if isolation.Network != c.network || tries != c.tries {
				t.Errorf("got network isolation %t after %d tries, want %t after %d", isolation.Network, tries, c.network, c.tries)
			}
			if told := strings.Contains(strings.Join(isolation.Missing, ""), "network"); err == nil && told == c.network {
				t.Errorf("it says that %q are missing", isolation.Missing)
			}
		})
	}
}
