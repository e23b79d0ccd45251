package bench

import (
	"context"
	"fmt"

	"github.com/portcullis-dev/portcullis/test/bench/halfload"
)

// budgetTrial is by how much the p99 may be longer while a revision is on trial.
const budgetTrial = 1.05

// trialRows ask at half load with and without a revision on trial, in turns.
func trialRows(ctx context.Context, size Size, _ string) ([]Row, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	trial, err := halfload.New(ctx)
	if err != nil {
		return nil, err
	}
	for range size.Turns {
		if err := trial.Turn(size.Turn); err != nil {
			return nil, err
		}
	}
	result := trial.Result()
	row := ratioRow(fmt.Sprintf("half load, %.0f reviews/s: p99 with a revision on trial", result.PerSecond), 1+result.More(), budgetTrial, "without")
	row.Got += fmt.Sprintf(", %.0f and %.0f µs (p50 %.0f and %.0f µs), %d compared and %d shed", micros(result.On.P99), micros(result.Off.P99),
		micros(result.On.P50), micros(result.Off.P50), result.Compared, result.Shed)
	return []Row{row}, nil
}
