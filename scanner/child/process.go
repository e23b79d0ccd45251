package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Isolation says what a child is kept from.
type Isolation struct {
	Network bool // it has no network but an unused loopback of its own
	Files   bool // it reads and writes only its own files
	// Missing says why not, for people.
	Missing []string
}

// process is a running child.
type process struct {
	hello    Hello
	answered int

	limits   limits
	command  *exec.Cmd
	stdin    io.WriteCloser
	stdout   io.Closer
	root     string // the child's folders lie here
	folder   string // for temporary files
	input    string // for the image at hand, which is all of images that the child can read
	stderr   *tail
	answers  chan answer
	stop     chan struct{} // closed by kill: nobody listens any longer
	exited   chan struct{}
	waitOnce sync.Once
	killOnce sync.Once
	killed   string // why the parent killed it
}

// answer is a line of the child, or why there is none.
type answer struct {
	response response
	err      error
}

// startProcess starts a child with nothing of the parent's: not its environment, not its open files, not its network, a
// temporary folder of its own.
func startProcess(ctx context.Context, o *Options, temporary string) (*process, Isolation, error) {
	root, err := os.MkdirTemp(temporary, "child-")
	if err != nil {
		return nil, Isolation{}, err
	}
	c := &process{
		root: root, folder: filepath.Join(root, "tmp"), input: filepath.Join(root, "image"), stderr: &tail{}, answers: make(chan answer, 1), stop: make(chan struct{}), exited: make(chan struct{}),
		limits: limits{memory: o.Memory, file: o.MaxFile, timeout: o.Timeout},
	}
	if err := errors.Join(os.Mkdir(c.folder, 0o700), os.Mkdir(c.input, 0o700)); err != nil {
		return nil, Isolation{}, errors.Join(err, os.RemoveAll(root))
	}
	isolation, stdout, err := c.spawn(o)
	if err != nil {
		return nil, isolation, errors.Join(err, os.RemoveAll(root))
	}
	greeting := make(chan error, 1)
	go c.listen(bufio.NewReaderSize(stdout, 1<<20), greeting)
	timer := time.NewTimer(helloTimeout)
	defer timer.Stop()
	select {
	case err = <-greeting:
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = fmt.Errorf("it said nothing for %s", helloTimeout)
	}
	if err == nil && c.hello.Protocol != ProtocolVersion {
		err = fmt.Errorf("it speaks version %d of the protocol, and this program %d: use programs of one release", c.hello.Protocol, ProtocolVersion)
	}
	if err == nil {
		err = c.limits.apply(c.command.Process.Pid)
	}
	if err != nil {
		c.kill("")
		c.end()
		return nil, isolation, fmt.Errorf("%w%s", err, c.stderr.quoted())
	}
	return c, isolation, nil
}

// spawn starts the program, as isolated as the system allows.
func (c *process) spawn(o *Options) (Isolation, io.Reader, error) {
	program, err := exec.LookPath(o.Command[0])
	if err != nil {
		return Isolation{}, nil, err
	}
	if program, err = filepath.Abs(program); err != nil {
		return Isolation{}, nil, err
	}
	confine := confinement{program: program, read: append([]string{c.input}, o.Read...), write: []string{c.folder, filepath.Join(o.Directory, "analyses")}}
	var stdout io.Reader
	isolation, err := confine.start(func(attributes *syscall.SysProcAttr) error {
		command := exec.Command(program, o.Command[1:]...)
		command.Env = []string{
			"TMPDIR=" + c.folder, "HOME=" + c.folder, "PATH=", "TZ=UTC",
			// The runtime collects harder before the limit, beyond which it would die.
			fmt.Sprintf("GOMEMLIMIT=%d", o.Memory/5*4),
		}
		command.Dir, command.SysProcAttr, command.Stderr = c.folder, attributes, c.stderr
		command.WaitDelay = killGrace // for what is left of the child, should it have the pipes
		stdin, err := command.StdinPipe()
		if err != nil {
			return err
		}
		out, err := command.StdoutPipe()
		if err != nil {
			return err
		}
		if err := command.Start(); err != nil {
			return err
		}
		c.command, c.stdin, c.stdout, stdout = command, stdin, out, out
		return nil
	})
	if err != nil {
		return isolation, nil, err
	}
	if o.RequireIsolation && len(isolation.Missing) > 0 {
		c.kill("")
		go c.wait()
		return isolation, nil, fmt.Errorf("it cannot be isolated: %s", strings.Join(isolation.Missing, "; "))
	}
	return isolation, stdout, nil
}

// listen reads the child's lines until it ends.
func (c *process) listen(stdout *bufio.Reader, greeting chan<- error) {
	defer c.wait() // only now: Wait closes the pipe
	if err := readLine(stdout, &c.hello, maxRequest); err != nil {
		greeting <- fmt.Errorf("it did not greet: %w", err)
		c.kill("")
		return
	}
	greeting <- nil
	for {
		var a answer
		a.err = readLine(stdout, &a.response, maxResponse)
		select {
		case c.answers <- a:
		case <-c.stop:
			return
		}
		if a.err != nil {
			c.kill("") // what it says after nonsense is not listened to
			return
		}
	}
}

func (c *process) wait() {
	c.waitOnce.Do(func() {
		_ = c.command.Wait()
		close(c.exited)
	})
}

// ask writes a request and waits for its response.
func (c *process) ask(ctx context.Context, request Request) (Result, error) {
	timeout := time.Duration(request.Timeout) * time.Millisecond
	if request.Layout != "" {
		var err error
		if request.Layout, err = handOver(request.Layout, c.input); err != nil {
			return Result{}, fmt.Errorf("handing an image over to a child: %w", err)
		}
	}
	if err := c.limits.renew(c.command.Process.Pid, timeout); err != nil {
		c.kill("its limits could not be set: " + err.Error())
		return Result{}, c.death()
	}
	if err := writeLine(c.stdin, request, maxRequest); err != nil {
		c.kill("")
		return Result{}, c.death()
	}
	timer := time.NewTimer(timeout + killGrace)
	defer timer.Stop()
	select {
	case a := <-c.answers:
		return c.take(a, request.ID)
	case <-timer.C:
		c.kill(fmt.Sprintf("it did not end within %s", timeout))
		return Result{}, c.death()
	case <-ctx.Done():
		c.kill("nobody waited for it any longer")
		<-c.exited
		return Result{}, ctx.Err()
	}
}

// take checks an answer. A child that answers another request, or several at once, has been taken over.
func (c *process) take(a answer, id int64) (Result, error) {
	switch {
	case a.err != nil:
		if !errors.Is(a.err, io.EOF) && !errors.Is(a.err, io.ErrUnexpectedEOF) && !errors.Is(a.err, os.ErrClosed) {
			c.killed = "its answer could not be read: " + a.err.Error()
		}
		return Result{}, c.death()
	case a.response.ID != id || len(c.answers) > 0:
		c.kill("it answered what it was not asked")
		return Result{}, c.death()
	}
	c.answered++
	c.tidy()
	if a.response.Error != "" || a.response.Result == nil {
		return Result{}, errors.New(firstLine(a.response.Error))
	}
	return *a.response.Result, nil
}

// tidy removes what an image left in the temporary folder. Folders stay, empty: Trivy makes one when it needs
// it first and counts on it for the rest of the process. The child may do what it likes meanwhile, so
// nothing is followed out of the folder.
func (c *process) tidy() {
	if images, err := os.ReadDir(c.input); err == nil { // which the child cannot change
		for _, image := range images {
			_ = os.RemoveAll(filepath.Join(c.input, image.Name()))
		}
	}
	root, err := os.OpenRoot(c.folder)
	if err != nil {
		return
	}
	defer root.Close()
	for _, name := range namesIn(root, ".") {
		if info, err := root.Lstat(name); err != nil || !info.IsDir() {
			_ = root.RemoveAll(name)
			continue
		}
		for _, left := range namesIn(root, name) {
			_ = root.RemoveAll(filepath.Join(name, left))
		}
	}
}

// namesIn are the names in a folder of a root.
func namesIn(root *os.Root, folder string) []string {
	opened, err := root.Open(folder)
	if err != nil {
		return nil
	}
	defer opened.Close()
	names, _ := opened.Readdirnames(-1) // what cannot be listed is removed with the folder, at the end
	return names
}

// handOver makes a layout appear in a folder, by links where it is on the same disk.
func handOver(layout, folder string) (string, error) {
	to, err := os.MkdirTemp(folder, "")
	if err != nil {
		return "", err
	}
	return to, filepath.WalkDir(layout, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == layout {
			return err
		}
		relative, err := filepath.Rel(layout, path)
		if err != nil {
			return err
		}
		there := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.Mkdir(there, 0o700)
		}
		if os.Link(path, there) == nil {
			return nil
		}
		return copyFile(path, there)
	})
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, source)
	return errors.Join(err, file.Close())
}

// kill ends the child and what it started at once.
func (c *process) kill(reason string) {
	if reason != "" {
		c.killed = reason
	}
	c.killOnce.Do(func() { close(c.stop) })
	select {
	case <-c.exited: // its number may be another's by now
	default:
		killGroup(c.command.Process.Pid)
		_ = c.stdout.Close() // which a process that got away from the group may hold open
	}
}

func (c *process) dead() bool {
	select {
	case <-c.exited:
		return true
	default:
		return c.killed != ""
	}
}

// death waits for the end of the child and says why it came.
func (c *process) death() error {
	c.kill("") // it may have closed its output and live on
	<-c.exited
	output := c.stderr.String()
	reason := c.killed
	if reason == "" {
		reason = deathReason(c.command.ProcessState, output)
	}
	return &DeathError{Reason: reason, Output: output}
}

// end lets a child go and removes its folder.
func (c *process) end() {
	_ = c.stdin.Close()
	c.killOnce.Do(func() { close(c.stop) })
	timer := time.NewTimer(killGrace)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		c.kill("")
		<-c.exited
	}
	_ = os.RemoveAll(c.root)
}

// deathReason says in words for people how a process ended.
func deathReason(state *os.ProcessState, output string) string {
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case strings.Contains(output, "out of memory") || strings.Contains(output, "cannot allocate memory"):
		return "the memory that it may use was not enough: allow more, or the image is made to exhaust it"
	case strings.Contains(output, "SIGXCPU"), status.Signaled() && status.Signal() == syscall.SIGXCPU:
		return "the processor time that it may use was not enough"
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return "it was killed, as the system does when memory is short"
	}
	return "it crashed (" + state.String() + ")"
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if line == "" {
		return "it gave neither a result nor a reason"
	}
	return line
}

// tail keeps the end of what is written to it, and the beginning: a crash of Go says why before it shows its stacks.
type tail struct {
	mu         sync.Mutex
	head, text []byte
}

const maxTail = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxTail - len(t.head); room > 0 {
		t.head = append(t.head, b[:min(room, len(b))]...)
	}
	t.text = append(t.text, b...)
	if len(t.text) > 2*maxTail {
		t.text = append([]byte(nil), t.text[len(t.text)-maxTail:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.head)+len(t.text) <= maxTail || len(t.text) <= maxTail {
		return string(t.text)
	}
	return string(t.head) + "\n…\n" + string(t.text)
}

// quoted is the end of the output for an error, "" for none.
func (t *tail) quoted() string {
	text := strings.TrimSpace(t.String())
	if text == "" {
		return ""
	}
	if len(text) > 500 {
		text = "…" + text[len(text)-500:]
	}
	return ": it wrote: " + text
}
