package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what the cgroup of a container counts, in bytes.
type Memory struct {
	// Limit is that of the container. Peak is the most that was ever charged to it: its own memory, and pages of files, which the kernel
	// takes back before it kills.
	Limit, Peak int64
	// Resident is the most of its first process's own pages and of files mapped by it (VmHWM).
	Resident int64
	// Anonymous is its own memory now, which nothing but its end gives back.
	Anonymous int64
	// Kills are those for want of memory.
	Kills int64
}

// Memory measures a container that runs, as a pod's status names it (containerd://ID).
func (n *Node) Memory(ctx context.Context, containerID string) (Memory, error) {
	pid, err := n.PID(ctx, containerID)
	if err != nil {
		return Memory{}, err
	}
	folder, second, err := memoryCgroup(pid)
	if err != nil {
		return Memory{}, err
	}
	// cgroups(7); the kernel's admin-guide/cgroup-v1/memory and admin-guide/cgroup-v2.
	limit, peak, anonymous, kills := "memory.limit_in_bytes", "memory.max_usage_in_bytes", "total_rss", "memory.oom_control"
	if second {
		limit, peak, anonymous, kills = "memory.max", "memory.peak", "anon", "memory.events"
	}
	var m Memory
	var problems [5]error
	m.Limit, problems[0] = number(filepath.Join(folder, limit))
	m.Peak, problems[1] = number(filepath.Join(folder, peak))
	m.Anonymous, problems[2] = field(filepath.Join(folder, "memory.stat"), anonymous)
	m.Kills, problems[3] = field(filepath.Join(folder, kills), "oom_kill")
	m.Resident, problems[4] = field(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
	m.Resident *= 1024
	if err := errors.Join(problems[:]...); err != nil {
		return m, fmt.Errorf("measuring the memory of %s: %w", containerID, err)
	}
	return m, nil
}

// memoryCgroup is the folder of the cgroup that counts the memory of a process, and whether it is one of version 2.
func memoryCgroup(pid int) (folder string, second bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", false, fmt.Errorf("looking for a cgroup: %w", err)
	}
	const root = "/sys/fs/cgroup"
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if fields[1] == "memory" {
			return filepath.Join(root, "memory", fields[2]), false, nil
		}
		if fields[0] == "0" {
			folder = filepath.Join(root, fields[2]) // unless version 1 counts
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "memory.max")); err != nil {
		return "", false, fmt.Errorf("looking for the cgroup that counts the memory of process %d: %w", pid, err)
	}
	return folder, true, nil
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// field is the number after a name in a file of lines.
func field(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
		if fields := strings.Fields(scanner.Text()); len(fields) > 1 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
