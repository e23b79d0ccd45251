package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTheShortTableHasEveryFigure(t *testing.T) {
	var progress bytes.Buffer
	rows, err := Table(t.Context(), Short, &progress)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	Write(&table, rows)
	for _, want := range []string{
		"yardstick", "50 policies, nothing cached", "against CEL", "pod with findings", "profile hardened",
		"a template already judged", "unmatched", "HTTPS, 1 connections", "resident memory", "start to ready", "load of",
		"scan of an image", "peak memory", "judged again", "gate on 3 images", "again, with what both have kept",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("got a table without %q:\n%s", want, table.String())
		}
	}
	t.Log("\n" + table.String())
}

func TestARowSaysWhetherItsBudgetIsMet(t *testing.T) {
	for want, row := range map[string]Row{
		"budget 1s: met, 50 % of it":   durationRow("", 500*time.Millisecond, time.Second),
		"budget 1s: MISSED by 50 %":    durationRow("", 1500*time.Millisecond, time.Second),
		"budget 2 x: met, 75 % of it":  ratioRow("", 1.5, 2, "yardstick"),
		"":                             ratioRow("", 1.5, 0, "yardstick"),
		"budget 120 KB: MISSED by 5 %": bytesRow("", 126_000, 120_000),
	} {
		if got := row.verdict(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFiguresAreMediansOfRounds(t *testing.T) {
	f := summarise([]round{{mean: 1, bytes: 10}, {mean: 100, bytes: 30}, {mean: 3, bytes: 20}})
	if f.Mean != 3 || f.Bytes != 20 {
		t.Errorf("got mean %d and %g bytes, want 3 and 20", f.Mean, f.Bytes)
	}
	other := summarise([]round{{mean: 1}, {mean: 50}, {mean: 1}})
	if got := f.Ratio(other); got != 2 {
		t.Errorf("ratio: got %g, want 2, the median of 1, 2 and 3", got)
	}
	if got := percentile([]time.Duration{5, 1, 4, 2, 3}, 50); got != 3 {
		t.Errorf("p50: got %d, want 3", got)
	}
}
