package certificate

import (
	"context"
	"time"
)

// reloadUntil looks at watched files every DefaultPoll until the context ends. What
// cannot be used is complained of once, not at each look.
func reloadUntil(ctx context.Context, reload func() error, complain func(message string)) {
	ticker := time.NewTicker(DefaultPoll)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		message := ""
		if err := reload(); err != nil {
			message = err.Error()
		}
		if message != "" && message != last {
			complain(message)
		}
		last = message
	}
}
