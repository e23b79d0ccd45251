package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// silent is standard input where nothing comes; it interrupts the program that waits.
type silent struct {
	interrupt context.CancelFunc
	end       <-chan struct{}
}

func (s silent) Read([]byte) (int, error) {
	s.interrupt()
	<-s.end
	return 0, io.EOF
}

func TestSignalEndsARunThatWaitsForInput(t *testing.T) {
	for name, args := range map[string][]string{
		"manifests on standard input":     {"gate", "-"},
		"a review on standard input":      {"review", "-"},
		"what to explain, standard input": {"explain", "-"},
		"a pipe that nobody ever opens":   {"gate", "PIPE"},
		"a report that nobody ever reads": {"gate", "POD", "--output", "PIPE"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pipe, pod := filepath.Join(dir, "pipe"), filepath.Join(dir, "pod.yaml")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(pod, []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"), 0o600); err != nil {
				t.Fatal(err)
			}
			replace := strings.NewReplacer("PIPE", pipe, "POD", pod)
			piped := false
			for i := range args {
				piped = piped || args[i] == "PIPE"
				args[i] = replace.Replace(args[i])
			}
			ctx, interrupt := context.WithCancel(t.Context())
			end := make(chan struct{})
			defer close(end)
			if piped {
				interrupt() // at the latest when it opens the pipe
			}
			defer interrupt()
			var stderr strings.Builder
			got := runInterruptibly(ctx, time.Millisecond, invocation{args: args}, silent{interrupt, end}, io.Discard, &stderr)
			if got != int(gate.ExitFault) {
				t.Errorf("got exit code %d, want %d; it said %s", got, gate.ExitFault, stderr.String())
			}
		})
	}
}
