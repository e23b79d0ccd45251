package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/journal"
)

// budgetReplay is how many decisions are judged again in a minute.
const budgetReplay = 100_000

// openJournal opens a journal that keeps every decision, as it is by default otherwise.
func openJournal(dir string) (*journal.Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return journal.Open(journal.Options{Dir: dir, Writer: "bench", Allows: 1, MaxTotal: 1 << 30})
}

// journalRows measure what keeping decisions costs, and how fast they are judged again.
func journalRows(ctx context.Context, size Size, dir string) ([]Row, error) {
	keeping, err := keepingRows(ctx, size, filepath.Join(dir, "kept"))
	if err != nil {
		return nil, err
	}
	replaying, err := replayRows(ctx, size, filepath.Join(dir, "replayed"))
	return append(keeping, replaying...), err
}

func keepingRows(ctx context.Context, size Size, dir string) (rows []Row, err error) {
	kept, err := openJournal(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kept.Close(ctx), os.RemoveAll(dir)) }()
	engine, err := NewEngine(Fifty)
	if err != nil {
		return nil, err
	}
	plain := once(NewHandler(engine))
	recorded := once(NewRecordedHandler(engine, kept))
	const without, with, sameWithout, sameWith = "nothing kept", "kept", "a known template", "a known template, kept"
	f, err := compare(size,
		entrant{without, plain, AllDifferent(Pod()), true},
		entrant{with, recorded, AllDifferent(Pod()), true},
		entrant{sameWithout, plain, SameTemplate(Pod()), true},
		entrant{sameWith, recorded, SameTemplate(Pod()), true})
	if err != nil {
		return nil, err
	}
	row := func(what, with, without string) Row {
		row := ratioRow(what, f[with].Ratio(f[without]), 0, "without")
		row.Got += fmt.Sprintf(", %+.0f µs, CPU %+.0f µs, %+.0f KB", micros(f[with].Mean-f[without].Mean), micros(f[with].CPU-f[without].CPU), (f[with].Bytes-f[without].Bytes)/1000)
		return row
	}
	return []Row{
		row("50 policies, nothing cached, every decision in the journal", with, without),
		row("  a template already judged", sameWith, sameWithout),
	}, nil
}

// recordDecisions has so many pods judged by the library's strictest profile, and every decision kept. No two of them run the same.
func recordDecisions(ctx context.Context, dir string, count int) (err error) {
	kept, err := openJournal(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close(ctx)) }()
	engine, err := NewHardenedEngine()
	if err != nil {
		return err
	}
	handler, err := NewRecordedHandler(engine, kept)
	if err != nil {
		return err
	}
	caller, err := NewCaller(http.Handler(handler), AllDifferent(Pod()), true)
	if err != nil {
		return err
	}
	for range count - 1 { // the caller has asked once already
		caller.Call()
	}
	return nil
}

// replayRows judge decisions again by all of the profile "hardened", against what was answered and against another revision.
func replayRows(ctx context.Context, size Size, dir string) ([]Row, error) {
	if err := recordDecisions(ctx, dir, size.Decisions); err != nil {
		return nil, err
	}
	var rows []Row
	for _, against := range []bool{false, true} {
		row, err := replayRow(ctx, size, dir, against)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func replayRow(ctx context.Context, size Size, dir string, against bool) (Row, error) {
	var walls, used []time.Duration
	for range size.Loads {
		wall, cpu, err := replayOnce(ctx, dir, size.Decisions, against)
		if err != nil {
			return Row{}, err
		}
		walls, used = append(walls, wall), append(used, cpu)
	}
	identity := func(d time.Duration) time.Duration { return d }
	perMinute := func(d time.Duration) float64 { return float64(size.Decisions) / d.Minutes() }
	got, what := perMinute(median(walls, identity)), fmt.Sprintf("replay of %d decisions by profile hardened", size.Decisions)
	if against {
		what = "  against another revision, so that each is judged twice"
	}
	each := median(used, identity) / time.Duration(size.Decisions)
	row := Row{
		What: what, Budget: fmt.Sprintf("%d a minute", budgetReplay), Of: budgetReplay / got,
		Got: fmt.Sprintf("%7.0f a minute, CPU %.0f µs each", got, micros(each)),
	}
	if row.Of > 1 {
		row.Note = fmt.Sprintf("by the time of the processors %.0f a minute are what they could do if nobody else used them", float64(runtime.GOMAXPROCS(0))*time.Minute.Seconds()/each.Seconds())
	}
	return row, nil
}

// replayOnce judges a journal again by revisions that have judged nothing yet, and wants nothing to change.
func replayOnce(ctx context.Context, dir string, count int, against bool) (wall, cpu time.Duration, err error) {
	after, err := NewHardenedEngine()
	if err != nil {
		return 0, 0, err
	}
	options := journal.ReplayOptions{After: admission.Solo(after)}
	if against {
		before, err := NewHardenedEngine()
		if err != nil {
			return 0, 0, err
		}
		options.Before = admission.Solo(before)
	}
	began, used := time.Now(), processTime()
	report, err := journal.Replay(ctx, dir, options)
	if err != nil {
		return 0, 0, err
	}
	if report.Unchanged != count {
		return 0, 0, fmt.Errorf("replaying %d decisions: got %+v, want the same policies to say the same", count, report.Counts)
	}
	return time.Since(began), processTime() - used, nil
}
