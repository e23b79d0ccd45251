package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// maxProgramOutput is far above a credential.
const maxProgramOutput = 1 << 20

// errOutput says that a program wrote more than maxProgramOutput.
var errOutput = errors.New("its answer is too large")

// runProgram runs a credential helper or provider and returns what it wrote. It is
// killed when the time is up or when it writes too much.
func runProgram(ctx context.Context, timeout time.Duration, program string, arguments, environment []string, stdin []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Stdin = bytes.NewReader(stdin)
	command.Env = environment
	var stdout, stderr boundedBuffer
	command.Stdout, command.Stderr = &stdout, &stderr
	// A child that it leaves behind keeps the pipes open, and us no longer than this.
	command.WaitDelay = time.Second
	err := command.Run()
	switch {
	case stdout.full:
		return nil, errOutput
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it did not answer within %s", timeout)
	case err != nil:
		if message := strings.TrimSpace(stderr.String()); message != "" {
			return stdout.Bytes(), fmt.Errorf("%w: %s", err, printable(message))
		}
		return stdout.Bytes(), err
	}
	return stdout.Bytes(), nil
}

// boundedBuffer fails when it is full, which ends the program that writes to it. It holds
// the buffer as a field: bytes.Buffer's ReadFrom would go round Write.
type boundedBuffer struct {
	buffer bytes.Buffer
	full   bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.buffer.Len()+len(p) > maxProgramOutput {
		b.full = true
		return 0, errOutput
	}
	return b.buffer.Write(p)
}

func (b *boundedBuffer) Bytes() []byte  { return b.buffer.Bytes() }
func (b *boundedBuffer) String() string { return b.buffer.String() }
