package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/portcullis-dev/portcullis/test/programs"
)

// Budgets of an audit of 100,000 objects, on two processors.
const (
	budgetAudited     = 100_000
	budgetAudit       = 60 * time.Second
	budgetProcessors  = 2
	budgetAuditMemory = 300 << 20
)

// auditRows audit a cluster that is made up, all of it in memory, in a program of its own: its memory is that of an audit and of nothing
// else. What the API server takes to send the objects is not in it.
func auditRows(ctx context.Context, size Size, dir string) ([]Row, error) {
	root, err := programs.Checkout(ctx)
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "auditload")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./test/bench/auditload")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building auditload: %w\n%s", err, output)
	}
	output, err := exec.CommandContext(ctx, program, "-objects="+strconv.Itoa(size.Audited)).Output()
	if err != nil {
		return nil, fmt.Errorf("auditing: %w%s", err, stderrOf(err))
	}
	var got struct {
		Objects, Policies, Findings, Faults int
		Seconds, ProcessorSeconds           float64
		PeakBytes                           float64
	}
	if err := json.Unmarshal(output, &got); err != nil {
		return nil, fmt.Errorf("reading the figures of an audit: %w", err)
	}
	if got.Objects != size.Audited || got.Findings == 0 || got.Faults != 0 {
		return nil, fmt.Errorf("auditing: got %d objects with %d findings and %d faults, want %d, some and none", got.Objects, got.Findings, got.Faults, size.Audited)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	share := float64(size.Audited) / budgetAudited
	wall := durationRow(fmt.Sprintf("audit of %d objects by %d policies", got.Objects, got.Policies), seconds(got.Seconds), seconds(budgetAudit.Seconds()*share))
	wall.Got += fmt.Sprintf(", CPU %.1f s, %.0f objects a second", got.ProcessorSeconds, float64(got.Objects)/got.Seconds)
	if allowed := budgetProcessors * budgetAudit.Seconds() * share; wall.Of > 1 && got.ProcessorSeconds <= allowed {
		wall.Note = fmt.Sprintf("its processor time is %.0f %% of what %d processors have in that time: others had them (%d here)", 100*got.ProcessorSeconds/allowed, budgetProcessors, runtime.GOMAXPROCS(0))
	}
	return []Row{wall, bytesRow("    most resident memory, with the policies", got.PeakBytes, budgetAuditMemory)}, nil
}
