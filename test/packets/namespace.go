package packets

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Namespace is a network namespace. It lasts until Close, or as long as anything runs in it.
type Namespace struct{ file *os.File }

// ownNamespace is the network namespace of the thread that asks.
const ownNamespace = "/proc/thread-self/ns/net"

// newNamespace makes an empty network namespace.
func newNamespace() (*Namespace, error) {
	var namespace *Namespace
	err := onThread(func() error {
		if err := unshare(); err != nil {
			return err
		}
		var err error
		namespace, err = OpenNamespace(ownNamespace)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return namespace, nil
}

// OpenNamespace opens the one that a file stands for: /run/netns/NAME, /proc/PID/ns/net.
func OpenNamespace(path string) (*Namespace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a network namespace: %w", err)
	}
	return &Namespace{file: file}, nil
}

// NamespaceOf opens the one that a process of this machine is in: that of a pod, for one of its containers.
func NamespaceOf(pid int) (*Namespace, error) {
	return OpenNamespace(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// Close lets go of it.
func (n *Namespace) Close() error { return n.file.Close() }

// path is a name of it for other programs of this machine.
func (n *Namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Do calls f within the namespace: sockets that it opens, and programs that it starts,
// belong there. A socket stays there when f is done.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := enter(n.file.Fd()); err != nil {
			return fmt.Errorf("entering a network namespace: %w", err)
		}
		return f()
	})
}

// onThread calls f on a thread of its own, which ends with it: a thread that changed its
// namespace must serve nobody else.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, which is what ends the thread
		done <- f()
	}()
	return <-done
}

// run starts a program in the namespace with input, and returns what it printed.
func (n *Namespace) run(ctx context.Context, input, program string, args ...string) (string, error) {
	var output bytes.Buffer
	err := n.Do(func() error {
		command := exec.CommandContext(ctx, program, args...)
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &output, &output
		return command.Run()
	})
	if err != nil {
		return "", fmt.Errorf("running %s %s: %w\n%s\n%s", program, strings.Join(args, " "), err, output.String(), input)
	}
	return output.String(), nil
}

// Apply puts rules into force, at once and in place of earlier ones (nft(8)).
func (n *Namespace) Apply(ctx context.Context, rules string) error {
	_, err := n.run(ctx, rules, "nft", "--file", "-")
	return err
}

// Ruleset is what is in force, with the number of packets that each rule met.
func (n *Namespace) Ruleset(ctx context.Context) (string, error) {
	return n.run(ctx, "", "nft", "list", "ruleset")
}
