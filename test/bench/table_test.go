package bench

import (
	"bytes"
	"io"
	"net/http"
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
		"as the one bundle of a lineup", "divided among 5 bundles", "swaps of three bundles: failed requests", "a mix of two lineups",
		"longest that a swap held anybody", "by a revision that was prepared", "p99 with a revision on trial",
		"of Gatekeeper's templates", "K8sRequiredLabels", "plain OPA: prepared queries", "every decision in the journal",
		"replay of 20 decisions", "against another revision", "load of a stored revision", "audit of 500 objects", "most resident memory",
		"events of one Falco on one connection", "acknowledged, kept on disk", "events of 8 nodes at once", "Critical ones lost",
		"event to isolating patch", "scan of an image", "peak memory", "judged again", "gate on 3 images", "again, with what both have kept",
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
		"budget 0: met, 0 % of it":     noneRow("", 0, 100),
		"budget 0: MISSED by 200 %":    noneRow("", 2, 100),
	} {
		if got := row.verdict(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOnlyPartsThatThereAreAreMeasured(t *testing.T) {
	rows, err := Table(t.Context(), Short, io.Discard, "lineups")
	if err != nil || len(rows) != 4 || !strings.Contains(rows[1].What, "lineup") {
		t.Errorf("got %+v, %v, want the four rows about lineups", rows, err)
	}
	if _, err := Table(t.Context(), Short, io.Discard, "lineup"); err == nil || !strings.Contains(err.Error(), `"lineup"`) {
		t.Errorf("got %v, want an error that names the part", err)
	}
}

func TestAnswersOfTwoLineupsAreAMix(t *testing.T) {
	answer := func(words ...string) []byte { return []byte(strings.Join(words, " ")) }
	var s swapping
	for _, heard := range [][]byte{
		answer(words[0], words[0], words[0], words[0]), answer(words[1], words[1], words[1], words[1]),
		answer(words[0], words[1], words[0], words[1]), answer(words[0], words[0]), answer(),
	} {
		if err := s.hear(http.StatusOK, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.hear(http.StatusServiceUnavailable, answer(words[0], words[0], words[0], words[0])); err != nil {
		t.Fatal(err)
	}
	if s.answers.Load() != 6 || s.first.Load() != 1 || s.mixes.Load() != 1 || s.failures.Load() != 3 {
		t.Errorf("got %d answers, %d of the first lineup, %d mixes, %d failures, want 6, 1, 1, 3", s.answers.Load(), s.first.Load(), s.mixes.Load(), s.failures.Load())
	}
}

func TestAStoredRevisionThatOthersMustSignIsRefused(t *testing.T) {
	s, err := newStored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := newStored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.by = other.by
	if _, err := s.read(t.Context()); err == nil {
		t.Error("got no error for a revision signed by another key: what is measured does not verify")
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
