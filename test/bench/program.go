package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// Program starts the real portcullis-webhook, built from this checkout, with the
// built-in library.
type Program struct {
	options programs.WebhookOptions
	client  pki.Pair
	ca      string
}

// NewProgram builds the program into a folder.
func NewProgram(ctx context.Context, dir string) (*Program, error) {
	if err := programs.Build(ctx, dir, "portcullis-webhook"); err != nil {
		return nil, err
	}
	authority, err := pki.NewAuthority(dir, "ca")
	if err != nil {
		return nil, err
	}
	serving, err := authority.Issue("portcullis-webhook")
	if err != nil {
		return nil, err
	}
	client, err := authority.Issue("kube-apiserver")
	if err != nil {
		return nil, err
	}
	p := &Program{client: client, ca: authority.File}
	p.options = programs.WebhookOptions{
		Dir: dir, Name: "webhook", Profile: "restricted", Serving: serving,
		ClientCAFile: authority.File, ClientName: "kube-apiserver", LogFile: filepath.Join(dir, "webhook.log"),
	}
	return p, nil
}

// Start starts it and says how long it took until it was ready.
func (p *Program) Start(ctx context.Context) (*programs.Webhook, time.Duration, error) {
	var err error
	for _, address := range []*string{&p.options.Listen, &p.options.Probes} {
		if *address, err = freeAddress(); err != nil {
			return nil, 0, err
		}
	}
	start := time.Now()
	running, err := programs.StartWebhook(ctx, p.options)
	return running, time.Since(start), err
}

// Load prepares connections to it.
func (p *Program) Load(connections int, bodies *Template, admitted bool) (*Load, error) {
	roots, err := readRoots(p.ca)
	if err != nil {
		return nil, err
	}
	return NewLoad("https://"+p.options.Listen+"/validate?timeout=10s", roots, &p.client, connections, bodies, admitted)
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// errNoProc says that the kernel does not tell about processes as Linux does.
var errNoProc = errors.New("resident memory is read from /proc, which only Linux has")

// fileResident is how much of a process's resident memory is its program's file (proc_pid_status(5), RssFile), 0
// where nobody says.
func fileResident(pid int) uint64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "RssFile:" {
			kilobytes, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return kilobytes << 10
		}
	}
	return 0
}

// Resident is a process's resident memory in bytes: now, and the most it ever was
// (proc_pid_status(5), VmRSS and VmHWM).
func Resident(pid int) (now, most uint64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, errNoProc
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if (name != "VmRSS" && name != "VmHWM") || len(fields) == 0 {
			continue
		}
		kilobytes, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading /proc: %w", err)
		}
		if name == "VmRSS" {
			now = kilobytes << 10
		} else {
			most = kilobytes << 10
		}
	}
	return now, most, lines.Err()
}
