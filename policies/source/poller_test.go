package source_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies/source"
)

func TestTheScheduleBacksOffAndSpreads(t *testing.T) {
	const minute = time.Minute
	for name, c := range map[string]struct {
		schedule source.Schedule
		jitter   float64
		failures int
		want     time.Duration
	}{
		"nothing said":                   {source.Schedule{}, 0.5, 0, 5 * minute},
		"an interval":                    {source.Schedule{Interval: minute}, 0.5, 0, minute},
		"an interval that is too short":  {source.Schedule{Interval: time.Millisecond}, 0.5, 0, 10 * time.Second},
		"an interval that is negative":   {source.Schedule{Interval: -minute}, 0.5, 0, 10 * time.Second},
		"a tenth less":                   {source.Schedule{Interval: minute}, 0, 0, 54 * time.Second},
		"a tenth more":                   {source.Schedule{Interval: minute}, 1, 0, 66 * time.Second},
		"one failure":                    {source.Schedule{Interval: minute}, 0.5, 1, minute},
		"two failures":                   {source.Schedule{Interval: minute}, 0.5, 2, 2 * minute},
		"three failures":                 {source.Schedule{Interval: minute}, 0.5, 3, 4 * minute},
		"five failures":                  {source.Schedule{Interval: minute}, 0.5, 5, 16 * minute},
		"so many that it would overflow": {source.Schedule{Interval: minute}, 0.5, 1 << 40, 16 * minute},
		"many failures and chance":       {source.Schedule{Interval: minute}, 1, 100, 16*minute + 96*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c.schedule.Jitter = func() float64 { return c.jitter }
			if got := c.schedule.Next(c.failures); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// clock hands out the times that somebody waits for, to be fired by hand.
type clock struct{ waits chan wait }

type wait struct {
	d    time.Duration
	fire chan time.Time
}

func (c clock) after(d time.Duration) <-chan time.Time {
	fire := make(chan time.Time, 1)
	c.waits <- wait{d, fire}
	return fire
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened")
		panic("unreachable")
	}
}

func TestAPollerLooksWhenItIsTimeAndWhenItIsCalled(t *testing.T) {
	c := clock{make(chan wait)}
	poller := source.NewPoller(source.PollerOptions{Schedule: source.Schedule{Interval: time.Minute, Jitter: func() float64 { return 0.5 }}, After: c.after})
	ctx, cancel := context.WithCancel(t.Context())
	results, looked, ended := make(chan error), make(chan int), make(chan struct{})
	go func() {
		defer close(ended)
		count := 0
		poller.Run(ctx, func(context.Context) error {
			count++
			looked <- count
			return <-results
		})
	}()
	step := 0
	look := func(result error, want time.Duration) (due, gap wait) {
		t.Helper()
		step++
		if got := receive(t, looked); got != step {
			t.Fatalf("got look %d, want %d", got, step)
		}
		results <- result
		due, gap = receive(t, c.waits), receive(t, c.waits)
		if due.d != want || gap.d != time.Second {
			t.Fatalf("look %d: got waits of %s and %s, want %s and 1s", step, due.d, gap.d, want)
		}
		return due, gap
	}
	broken := errors.New("broken")

	due, gap := look(nil, time.Minute)
	gap.fire <- time.Time{}
	due.fire <- time.Time{}
	due, gap = look(source.ErrUnchanged, time.Minute)
	due.fire <- time.Time{}
	gap.fire <- time.Time{}
	_, gap = look(broken, time.Minute)
	poller.Nudge() // before the gap is over: it is remembered
	poller.Nudge() // and counted once
	gap.fire <- time.Time{}
	due, gap = look(broken, 2*time.Minute)
	gap.fire <- time.Time{}
	due.fire <- time.Time{}
	_, gap = look(broken, 4*time.Minute)
	gap.fire <- time.Time{}
	poller.Nudge()
	_, gap = look(nil, time.Minute) // well again
	gap.fire <- time.Time{}
	cancel()
	receive(t, ended)
}
