package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// task is something that programs do, in a comparison.
type task struct {
	name string
	// prepare is not timed: it removes what an earlier run has kept.
	prepare func() error
	run     func(context.Context) (spent, error)
}

// spent is what programs needed: the time until they ended, and that of the processors with all their children.
type spent struct{ wall, cpu time.Duration }

func (s spent) plus(other spent) spent { return spent{s.wall + other.wall, s.cpu + other.cpu} }

// turns runs tasks in an order that rotates, as [Compare] does. Figures are those of one run.
func turns(ctx context.Context, rounds int, tasks ...task) (map[string]*Figures, error) {
	collected := make([][]round, len(tasks))
	for n := range rounds {
		for i := range tasks {
			at := (i + n) % len(tasks)
			needed, err := tasks[at].once(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tasks[at].name, err)
			}
			collected[at] = append(collected[at], round{mean: needed.wall, cpu: needed.cpu})
		}
	}
	figures := map[string]*Figures{}
	for i, t := range tasks {
		figures[t.name] = summarise(collected[i])
	}
	return figures, nil
}

func (t task) once(ctx context.Context) (spent, error) {
	if t.prepare != nil {
		if err := t.prepare(); err != nil {
			return spent{}, err
		}
	}
	return t.run(ctx)
}

// invocation is a program with its arguments.
type invocation struct {
	path        string
	args        []string
	home        string   // its home folder and its working directory: nobody's configuration is read
	environment []string // besides
}

func (i invocation) command(ctx context.Context) *exec.Cmd {
	command := exec.CommandContext(ctx, i.path, i.args...)
	command.Dir = i.home
	command.Env = append([]string{"HOME=" + i.home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, i.environment...)
	return command
}

// run runs it to its end, which has to be a good one, and returns what it printed.
func (i invocation) run(ctx context.Context) (spent, []byte, error) {
	command := i.command(ctx)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	start := time.Now()
	err := command.Run()
	wall := time.Since(start)
	if err != nil {
		return spent{}, nil, i.failed(err, stdout.Bytes(), stderr.Bytes())
	}
	return spent{wall, command.ProcessState.UserTime() + command.ProcessState.SystemTime()}, stdout.Bytes(), nil
}

func (i invocation) failed(err error, stdout, stderr []byte) error {
	const most = 4000
	return fmt.Errorf("running %s %s: %w\n%s%s", filepath.Base(i.path), strings.Join(i.args, " "), err, tailOf(stdout, most), tailOf(stderr, most))
}

func tailOf(text []byte, most int) []byte { return text[max(0, len(text)-most):] }

// watchInterval is how often memory is looked at. A process's peak is kept by the kernel, so that only what it
// reaches in its last moment can be missed.
const watchInterval = 2 * time.Millisecond

// peaks runs it while it watches the resident memory of the program and its children, and returns the peak of each in
// bytes, the largest first. The error is errNoProc where the kernel does not tell.
func (i invocation) peaks(ctx context.Context) ([]uint64, error) {
	command := i.command(ctx)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		return nil, i.failed(err, nil, nil)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	peaks := map[int]uint64{}
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			look(command.Process.Pid, "", peaks)
		case err := <-ended:
			if err != nil {
				return nil, i.failed(err, stdout.Bytes(), stderr.Bytes())
			}
			var sorted []uint64
			for _, peak := range peaks {
				sorted = append(sorted, peak)
			}
			if len(sorted) == 0 {
				return nil, errNoProc
			}
			slices.SortFunc(sorted, func(a, b uint64) int { return int(int64(b) - int64(a)) })
			return sorted, nil
		}
	}
}

// look notes the peak of a process and of those below it (proc_pid_status(5) and proc_tid_children(5)). A child with
// its parent's command line does not run its own program yet, and what it has in memory is its parent's.
func look(pid int, parent string, peaks map[int]uint64) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || string(line) == parent {
		return
	}
	if _, most, err := Resident(pid); err == nil && most > 0 {
		peaks[pid] = most
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return
	}
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				look(child, string(line), peaks)
			}
		}
	}
}

// megabytes writes peaks, the largest first: of a program and its children.
func megabytes(peaks []uint64) string {
	var parts []string
	for _, peak := range peaks {
		parts = append(parts, fmt.Sprintf("%d", peak>>20))
	}
	return strings.Join(parts, " + ") + " MB"
}
