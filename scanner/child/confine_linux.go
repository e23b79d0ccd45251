package child

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confinement is what a child may reach.
type confinement struct {
	program     string
	read, write []string
}

// start starts a child by calling spawn with the attributes that isolate most. It prefers a child in user and network
// namespaces of its own, which needs no privilege where the system allows user namespaces (user_namespaces(7)), then a network namespace alone,
// which a privileged parent may make, then neither.
//
// The files are confined by Landlock (landlock(7)), whose rules belong to a thread and are inherited by what it
// starts: a thread is confined, starts the child, and ends. That way the child needs no helper program, and
// never runs without.
func (c confinement) start(spawn func(*syscall.SysProcAttr) error) (Isolation, error) {
	type outcome struct {
		isolation Isolation
		err       error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var o outcome
		if err := c.confineThread(); err != nil {
			o.isolation.Missing = append(o.isolation.Missing, "files: "+err.Error())
		} else {
			o.isolation.Files = true
		}
		o.err = c.spawnWithoutNetwork(spawn, &o.isolation)
		done <- o
	}()
	o := <-done
	return o.isolation, o.err
}

func (c confinement) spawnWithoutNetwork(spawn func(*syscall.SysProcAttr) error, isolation *Isolation) error {
	var refused error
	for _, attributes := range []*syscall.SysProcAttr{
		// Another user ID than 0 inside, so that the program has no capabilities even in its own namespace. In a process
		// namespace of its own it sends no signals outside, and what it started dies with it (pid_namespaces(7)).
		{Setpgid: true, Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getegid(), Size: 1}}},
		{Setpgid: true, Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID},
	} {
		err := spawn(attributes)
		if err == nil {
			isolation.Network = true
			return nil
		}
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EACCES) {
			return err
		}
		refused = err
	}
	isolation.Missing = append(isolation.Missing, fmt.Sprintf("network: the system allows no network namespace (%v): allow user namespaces, or keep the scanner from the network otherwise", refused))
	return spawn(&syscall.SysProcAttr{Setpgid: true})
}

// The rights of Landlock's first version that let look at files, and all that the parent names. Later versions
// add rights to what they restrict.
const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockWrite = landlockRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	landlockFirst = landlockWrite | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
)

// systemFiles are what a program needs to start: libraries, zone information, what the runtime reads of the machine. Writing to
// /proc is how the parent's thread maps user IDs; the processes that show there are out of reach for the child
// by Landlock's own rule for ptrace(2).
var systemFiles = []struct {
	path   string
	access uint64
}{
	{"/lib", landlockRead | unix.LANDLOCK_ACCESS_FS_EXECUTE},
	{"/lib64", landlockRead | unix.LANDLOCK_ACCESS_FS_EXECUTE},
	{"/usr/lib", landlockRead | unix.LANDLOCK_ACCESS_FS_EXECUTE},
	{"/usr/lib64", landlockRead | unix.LANDLOCK_ACCESS_FS_EXECUTE},
	{"/etc/ld.so.cache", unix.LANDLOCK_ACCESS_FS_READ_FILE},
	{"/proc", landlockRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE},
	{"/sys", landlockRead},
	{"/dev/null", unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE},
	{"/dev/urandom", unix.LANDLOCK_ACCESS_FS_READ_FILE},
}

// confineThread restricts this thread, and whatever it starts, to the files of a child.
func (c confinement) confineThread() error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("the kernel has no Landlock (%w)", errno)
	}
	handled := uint64(landlockFirst)
	writable := uint64(landlockWrite)
	if version >= 2 {
		handled |= unix.LANDLOCK_ACCESS_FS_REFER
		writable |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		handled |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
		writable |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attributes := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	size := unsafe.Sizeof(attributes.Handled_access_fs)
	if version >= 4 { // no TCP, where there is no network namespace either
		attributes.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attributes.Handled_access_net)
	}
	if version >= 6 { // no signals and no abstract sockets to processes outside
		attributes.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size += unsafe.Sizeof(attributes.Scoped)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), size, 0)
	if errno != 0 {
		return fmt.Errorf("making Landlock rules: %w", errno)
	}
	defer unix.Close(int(fd))
	for _, file := range systemFiles {
		if err := allow(int(fd), file.path, file.access); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := allow(int(fd), c.program, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_EXECUTE); err != nil {
		return err
	}
	for _, path := range c.read {
		if err := allow(int(fd), path, landlockRead); err != nil {
			return err
		}
	}
	for _, path := range c.write {
		if err := allow(int(fd), path, writable); err != nil {
			return err
		}
	}
	// Without it an unprivileged thread may not restrict itself; and the child can gain nothing by a set-user-ID program.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("applying Landlock rules: %w", errno)
	}
	return nil
}

// allow adds a rule for a file, or for all below a folder.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("allowing %s: %w", path, err)
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("allowing %s: %w", path, errno)
	}
	return nil
}

// limits are the resources of a child (getrlimit(2)). The parent sets them before the child has seen any image, so
// that nothing in the child has to be trusted with it.
type limits struct {
	memory, file int64
	timeout      time.Duration
}

// virtual is address space that takes no memory: the runtime's reservations, the mapped database, the program.
const virtual = 16 << 30

func (l limits) apply(pid int) error {
	for _, limit := range []struct {
		name     string
		resource int
		value    uint64
	}{
		// The writable private memory; RLIMIT_AS counts reservations and mapped files, too, and is only the outer wall.
		{"memory", unix.RLIMIT_DATA, uint64(l.memory)},
		{"address space", unix.RLIMIT_AS, uint64(l.memory) + virtual},
		{"file size", unix.RLIMIT_FSIZE, uint64(l.file)},
		{"open files", unix.RLIMIT_NOFILE, 4096},
		{"core dumps", unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Prlimit(pid, limit.resource, &unix.Rlimit{Cur: limit.value, Max: limit.value}, nil); err != nil {
			return fmt.Errorf("limiting its %s: %w", limit.name, err)
		}
	}
	return nil
}

// renew gives the child processor time for one image: the wall time on each processor.
func (l limits) renew(pid int, timeout time.Duration) error {
	used, err := processorTime(pid)
	if err != nil {
		return err
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_CPU, nil, &now); err != nil {
		return fmt.Errorf("reading its processor time: %w", err)
	}
	now.Cur = min(uint64((used+timeout*time.Duration(runtime.NumCPU())).Seconds())+1, now.Max)
	if err := unix.Prlimit(pid, unix.RLIMIT_CPU, &now, nil); err != nil {
		return fmt.Errorf("limiting its processor time: %w", err)
	}
	return nil
}

// processorTime is what a process has used (proc_pid_stat(5), fields 14 and 15, in hundredths of a second).
func processorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading its processor time: %w", err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, errors.New("reading its processor time: /proc has none")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// killGroup kills a child and what it started. Children lead a group of their own.
func killGroup(pid int) {
	_ = unix.Kill(-pid, unix.SIGKILL)
	_ = unix.Kill(pid, unix.SIGKILL)
}
