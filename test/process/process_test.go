package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/test/process"
)

func TestAProgramThatFailsIsReportedWithTheEndOfItsLog(t *testing.T) {
	program := start(t, "echo the port is taken >&2; exit 3")
	err := program.WaitUntil(t.Context(), func(context.Context) error { return errors.New("never") })
	if err == nil || !strings.Contains(err.Error(), "the port is taken") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got error %v, want one with the exit status and the log", err)
	}
}

func TestAStoppedProgramEnds(t *testing.T) {
	program := start(t, "exec sleep 600")
	if err := program.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-program.Done():
	default:
		t.Error("the program still runs after Stop")
	}
}

func TestAProgramDiesWithTheTestThatStartedIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child that its parent died")
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	parent := exec.Command(os.Args[0], "-test.run=^TestParentOfAProgram$")
	parent.Env = append(os.Environ(), "PROCESS_TEST_PID_FILE="+pidFile)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	eventually(t, "the program started", func() bool {
		text, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(string(text))
		return pid != 0
	})
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	eventually(t, "the program ended with its parent", func() bool { return gone(pid) })
}

// TestParentOfAProgram is the process that the test above starts and kills.
func TestParentOfAProgram(t *testing.T) {
	pidFile := os.Getenv("PROCESS_TEST_PID_FILE")
	if pidFile == "" {
		t.Skip("only runs as a child of TestAProgramDiesWithTheTestThatStartedIt")
	}
	program := start(t, "exec sleep 600")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(program.PID())), 0o600); err != nil {
		t.Fatal(err)
	}
	<-program.Done()
}

func start(t *testing.T, script string) *process.Process {
	t.Helper()
	program, err := process.Start(process.Command{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", "" + script},
		LogFile: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(program.Kill)
	return program
}

// gone tells whether a process has ended; one that nobody has waited for counts as ended.
func gone(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(status), ") Z ")
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
