package halfload

import (
	"testing"
	"time"
)

func TestBothWebhooksAreAskedAndOneCompares(t *testing.T) {
	trial, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := trial.Turn(200 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	result := trial.Result()
	if result.Off.P50 <= 0 || result.On.P99 < result.On.P50 || result.PerSecond <= 0 || result.Compared+result.Shed == 0 {
		t.Errorf("got %+v, want latencies and comparisons", result)
	}
	if compared, shed := trial.alone.shadow.Counts(); compared+shed > 0 {
		t.Errorf("got %d comparisons with nothing on trial, want none", compared+shed)
	}
}

func TestTheResultIsTheMedianOfTurns(t *testing.T) {
	trial := &Trial{}
	for _, p99 := range []time.Duration{10, 1000, 20} {
		trial.off.p50, trial.off.p99 = append(trial.off.p50, 1), append(trial.off.p99, p99)
		trial.on.p50, trial.on.p99 = append(trial.on.p50, 1), append(trial.on.p99, 2*p99)
	}
	if got := (Result{Off: trial.off.medians(), On: trial.on.medians()}); got.Off.P99 != 20 || got.More() != 1 {
		t.Errorf("got p99 %d and %g more, want 20 and 1", got.Off.P99, got.More())
	}
}
