package soak

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTimeWithoutTheAPIServerDoesNotCount has it not answer for a while, or at all.
func TestTimeWithoutTheAPIServerDoesNotCount(t *testing.T) {
	for name, test := range map[string]struct {
		from, until time.Duration // when it does not answer
		hangs       bool
		want        time.Duration
	}{
		"it always answers":         {0, 0, false, time.Minute},
		"it is away for a while":    {10 * time.Second, 30 * time.Second, false, 80 * time.Second},
		"it is silent for a while":  {10 * time.Second, 30 * time.Second, true, 80 * time.Second},
		"it is away":                {0, time.Hour, false, 2 * time.Minute},
		"it is silent from the end": {50 * time.Second, time.Hour, true, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := within(t.Context(), time.Minute, func(ctx context.Context) error {
					if at := time.Since(began); at < test.from || at >= test.until {
						return nil
					}
					if test.hangs {
						<-ctx.Done()
					}
					return errors.New("away")
				})
				defer cancel()
				<-ctx.Done()
				// A question that is under way when the API server comes back takes its time.
				if took := time.Since(began); took < test.want-time.Second || took > test.want+readyTimeout {
					t.Errorf("got %s, want %s", took, test.want)
				}
				if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
					t.Errorf("got the cause %v, want that the time is over", cause)
				}
			})
		})
	}
}
