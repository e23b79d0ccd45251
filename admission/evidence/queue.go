package evidence

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
)

// asking is that a scan has been asked for, and when it may be done.
type asking struct {
	at    time.Time
	until time.Duration
}

// Bounds of how long one who asked for a scan is taken for having asked: a queue that loses an entry is asked again.
const (
	minAsked = 5 * time.Second
	maxAsked = time.Minute
)

// ask asks for a scan that is missing, at admission only and never on a dry run, and notes in the report when trying again
// makes sense. A queue that cannot be asked changes nothing: the scan is still missing.
func (g *gathering) ask(ctx context.Context, s subject, report *scanner.Report) {
	if report.State != scanner.StateMissing || g.options.Queue == nil || g.needs.DryRun || g.needs.Door != policies.DoorAdmission {
		return
	}
	of := func(a asking) lifetime {
		age := min(max(a.until, minAsked), maxAsked)
		return lifetime{age: age, refresh: age}
	}
	asked, err := g.asked.find(ctx, s.key(), of, func(ctx context.Context, _ bool) (answer[asking], error) {
		began := g.options.Now()
		after, err := g.options.Queue.Ask(ctx, s.repository, s.digest)
		return answer[asking]{value: asking{began, after}, fetched: began}, err
	})
	if err != nil {
		g.options.Logger.Warn("asking for a scan failed", "image", s.String(), "error", err)
		report.Reasons = append(report.Reasons[:len(report.Reasons):len(report.Reasons)], fmt.Sprintf("no scan could be asked for: %v", err))
		return
	}
	report.Queued = true
	left := asked.at.Add(asked.until).Sub(g.options.Now())
	report.RetryAfter = max(int64((left+time.Second-1)/time.Second), 1)
}
