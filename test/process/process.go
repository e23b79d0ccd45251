// Package process runs a real program for a test: its output goes to a log file,
// it is stopped by a signal and then by force, and on Linux the kernel ends it
// when the test's own process dies, however that comes about.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a program may take to end after SIGTERM before it is killed.
const stopGrace = 30 * time.Second

// Process is one running program.
type Process struct {
	name    string
	logFile string
	command *exec.Cmd
	done    chan struct{} // closed when the program has ended
	err     error         // how it ended; to be read after done
}

// Command says what to run.
type Command struct {
	// Name is what errors call the program.
	Name string
	// Path and Args are the program and its arguments; Env is added to the environment.
	Path string
	Args []string
	Env  []string
	// LogFile receives standard output and standard error, after what it already holds.
	LogFile string
}

// Start starts a program. It does not wait for it to be ready.
func Start(command Command) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(command.LogFile), 0o755); err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Name, err)
	}
	logs, err := os.OpenFile(command.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Name, err)
	}
	p := &Process{
		name:    command.Name,
		logFile: command.LogFile,
		command: exec.Command(command.Path, command.Args...),
		done:    make(chan struct{}),
	}
	p.command.Stdout, p.command.Stderr = logs, logs
	p.command.Env = append(os.Environ(), command.Env...)
	p.command.SysProcAttr = dieWithParent()

	started := make(chan error)
	go func() {
		// The kernel takes the thread that started the program for its parent
		// (prctl(2), PR_SET_PDEATHSIG): keep that thread until the program ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer logs.Close()
		if err := p.command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.command.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Name, err)
	}
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how a program ended, with the last lines of its log; nil after exit code 0.
// It may be called only after Done is closed.
func (p *Process) Err() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("running %s: %w\n%s(whole log: %s)", p.name, p.err, p.LastLines(20), p.logFile)
}

// Stop sends SIGTERM, waits, and kills a program that does not end in time, which is
// an error. The exit code of a program that ends in time does not matter.
func (p *Process) Stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopGrace):
		p.Kill()
		return fmt.Errorf("stopping %s: still running %s after SIGTERM, killed; its log is %s", p.name, stopGrace, p.logFile)
	}
}

// Kill ends the program at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // fails only where the program has already ended
	<-p.done
}

// WaitUntil polls a condition until it holds, the program ends or the context does.
// The condition's error says what is still missing.
func (p *Process) WaitUntil(ctx context.Context, condition func(context.Context) error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := condition(ctx)
		if missing == nil {
			return nil
		}
		select {
		case <-p.done:
			if err := p.Err(); err != nil {
				return err
			}
			return fmt.Errorf("running %s: it ended before it was ready\n%s", p.name, p.LastLines(20))
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w\n%s(whole log: %s)", p.name, ctx.Err(), missing, p.LastLines(20), p.logFile)
		case <-ticker.C:
		}
	}
}

// LastLines returns the end of the program's log.
func (p *Process) LastLines(n int) string {
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error() + "\n"
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n-1):], nil))
}

// Signal sends a signal, as SIGSTOP and SIGCONT for a program that hangs for a while.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil {
		return fmt.Errorf("sending %s a signal: %w", p.name, err)
	}
	return nil
}
