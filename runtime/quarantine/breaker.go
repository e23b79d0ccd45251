package quarantine

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// breakerEvery is the time between two looks whether the circuit breaker has closed.
const breakerEvery = 15 * time.Second

// openBreaker tells people that the breaker is open. What says the same at the same time is one message, however many plans meet it.
func (c *Controller) openBreaker(q *v1alpha1.Quarantine, since time.Time) {
	until := since.Add(q.Spec.Settings.Times().BreakerPause)
	c.mu.Lock()
	c.breakerUntil = until
	c.mu.Unlock()
	c.o.Metrics.breaker(true)
	c.o.Notifier.Notify(notify.NewMessage(notify.Details{
		Kind: notify.KindBreakerOpened, Time: since, Severity: notify.Critical,
		Reason: "more responses were asked for than can be true: they are only recorded until the breaker closes",
		Next:   fmt.Sprintf("portcullis quarantine list shows what asks; delete the Lease %s/%s to act again at once", c.o.Namespace, c.ledger.name),
		Until:  until,
	}))
}

// closeBreaker tells people that the breaker has closed, once its time is over.
func (c *Controller) closeBreaker() {
	c.mu.Lock()
	until := c.breakerUntil
	closes := !until.IsZero() && !c.o.Now().Before(until)
	if closes {
		c.breakerUntil = time.Time{}
	}
	c.mu.Unlock()
	if !closes {
		return
	}
	c.o.Metrics.breaker(false)
	c.o.Notifier.Notify(notify.NewMessage(notify.Details{
		Kind: notify.KindBreakerClosed, Time: until, Severity: notify.High, Reason: "responses act again",
		Next: "portcullis quarantine list shows what was only recorded meanwhile",
	}))
}

// watchBreaker looks whether the breaker has closed until the context ends.
func (c *Controller) watchBreaker(ctx context.Context) {
	for pause(ctx, breakerEvery) {
		c.closeBreaker()
	}
}
