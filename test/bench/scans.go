package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

// Budgets of programs about images.
const (
	budgetScan     = 1.1 // of trivy
	budgetGate     = 0.6 // of trivy and cosign one after the other
	budgetGateWarm = 0.1
)

// The tasks of the comparisons.
const (
	nameOurs  = "portcullis"
	namePeers = "peers"
)

// programsOnImages compares the programs that look into images with those that pipelines run without Portcullis.
// Cold is without anything kept of an image; the vulnerability database is in place for both, since nobody has it
// fetched for each image.
func programsOnImages(ctx context.Context, size Size, dir string, progress io.Writer) (rows []Row, err error) {
	s, err := newSite(ctx, size, dir, progress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, part := range []struct {
		name    string
		measure func(context.Context) ([]Row, error)
	}{{"scans", s.scanRows}, {"the gate", s.gateRows}} {
		fmt.Fprintf(progress, "measuring %s…\n", part.name)
		more, err := part.measure(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// workDir is where the scanner keeps databases, layers and analyses.
func (s *site) workDir() string { return filepath.Join(s.dir, "work") }

// scanner scans an image with the program of Portcullis.
func (s *site) scanner(reference string) invocation {
	return invocation{filepath.Join(s.dir, "portcullis-scanner"), append([]string{
		"scan", "--output=json", "--work-dir=" + s.workDir(), "--database=" + s.database(), "--java-database=",
	}, append(s.registryFlags(), reference)...), s.home(), nil}
}

// scan scans and counts the vulnerabilities. The scan has to be complete.
func (s *site) scan(ctx context.Context, reference string) (spent, int, error) {
	needed, output, err := s.scanner(reference).run(ctx)
	if err != nil {
		return spent{}, 0, err
	}
	var result struct{ Report scanner.Report }
	if err := json.Unmarshal(output, &result); err != nil {
		return spent{}, 0, fmt.Errorf("reading the scan of %s: %w", reference, err)
	}
	if result.Report.State != scanner.StateComplete {
		return spent{}, 0, fmt.Errorf("scanning %s: got %s %q, want %s", reference, result.Report.State, result.Report.Reasons, scanner.StateComplete)
	}
	return needed, len(result.Report.Vulnerabilities), nil
}

// trivyScan scans with trivy and counts the vulnerabilities.
func (s *site) trivyScan(ctx context.Context, reference string) (spent, int, error) {
	needed, output, err := s.trivy(reference).run(ctx)
	if err != nil {
		return spent{}, 0, err
	}
	var report struct {
		Results []struct {
			Vulnerabilities []struct{ VulnerabilityID string }
		}
	}
	if err := json.Unmarshal(output, &report); err != nil {
		return spent{}, 0, fmt.Errorf("reading trivy's report of %s: %w", reference, err)
	}
	n := 0
	for _, result := range report.Results {
		n += len(result.Vulnerabilities)
	}
	return needed, n, nil
}

// scanRows compare scans of the large image and of the small one, and the scan after an update of the database.
func (s *site) scanRows(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, image := range []struct {
		what, reference string
		budget          float64
	}{
		{"scan of an image with " + s.largeText, s.large, budgetScan},
		{"scan of an image with a few files, which is two programs' start", s.small, 0},
	} {
		more, err := s.compareScans(ctx, image.what, image.reference, image.budget)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	rejudged, err := s.rejudgedRow(ctx)
	if err != nil {
		return nil, err
	}
	return append(rows, rejudged...), nil
}

// compareScans compares a scan without anything kept, and another one with what the first has kept. Both programs have
// to find as much.
func (s *site) compareScans(ctx context.Context, what, reference string, budget float64) ([]Row, error) {
	_, found, err := s.scan(ctx, reference)
	if err != nil {
		return nil, err
	}
	if found == 0 {
		return nil, fmt.Errorf("scanning %s: nothing was found in it", reference)
	}
	tasks := []task{{nameOurs, nil, same(found, func(ctx context.Context) (spent, int, error) { return s.scan(ctx, reference) })}}
	if s.peers != nil {
		tasks = append(tasks, task{namePeers, nil, same(found, func(ctx context.Context) (spent, int, error) { return s.trivyScan(ctx, reference) })})
	}
	warm, err := turns(ctx, s.size.Scans, tasks...)
	if err != nil {
		return nil, err
	}
	for i, prepare := range []func() error{func() error { return forget(s.workDir()) }, s.forgetTrivy} {
		if i < len(tasks) {
			tasks[i].prepare = prepare
		}
	}
	cold, err := turns(ctx, s.size.Scans, tasks...)
	if err != nil {
		return nil, err
	}
	rows := []Row{
		comparedRow(fmt.Sprintf("%s, %d vulnerabilities", what, found), cold, "trivy", budget),
		comparedRow("  again, with what the first scan has kept", warm, "trivy", 0),
	}
	memory, err := s.memoryRow(ctx, reference)
	return append(rows, memory), err
}

// same demands that a scan finds as much as another one.
func same(want int, scan func(context.Context) (spent, int, error)) func(context.Context) (spent, error) {
	return func(ctx context.Context) (spent, error) {
		needed, got, err := scan(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("got %d vulnerabilities, want %d as in the first scan", got, want)
		}
		return needed, err
	}
}

// comparedRow compares a program with its peers, and says what the time beyond the budget went into.
func comparedRow(what string, figures map[string]*Figures, peer string, budget float64) Row {
	ours := figures[nameOurs]
	theirs, compared := figures[namePeers]
	if !compared {
		return Row{What: what, Got: fmt.Sprintf("%5.0f ms, CPU %.0f ms", millis(ours.Mean), millis(ours.CPU))}
	}
	row := ratioRow(what, ours.Ratio(theirs), budget, peer)
	row.Got += fmt.Sprintf(", %.0f and %.0f ms, CPU %.0f and %.0f ms", millis(ours.Mean), millis(theirs.Mean), millis(ours.CPU), millis(theirs.CPU))
	if row.Of > 1 {
		row.Note = fmt.Sprintf("by time it is beyond the budget by %.0f ms; of processor time, which other programs on the machine disturb less, it needs %.2f x %s",
			millis(ours.Mean)-budget*millis(theirs.Mean), float64(ours.CPU)/float64(theirs.CPU), peer)
	}
	return row
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// memoryRow is the memory of a scan without anything kept.
func (s *site) memoryRow(ctx context.Context, reference string) (Row, error) {
	row := Row{What: "  peak memory, of the scanner's child and the program"}
	if err := forget(s.workDir()); err != nil {
		return row, err
	}
	ours, err := s.scanner(reference).peaks(ctx)
	if errors.Is(err, errNoProc) {
		row.Got = err.Error()
		return row, nil
	}
	if err != nil {
		return row, err
	}
	row.Got = "  " + megabytes(ours)
	if s.peers == nil {
		return row, nil
	}
	if err := s.forgetTrivy(); err != nil {
		return row, err
	}
	theirs, err := s.trivy(reference).peaks(ctx)
	row.Got += ", trivy " + megabytes(theirs)
	return row, err
}

// rejudgedRow updates the database and scans again. Meanwhile the layers are overwritten: a scan that read one would
// not be complete.
func (s *site) rejudgedRow(ctx context.Context) ([]Row, error) {
	_, before, err := s.scan(ctx, s.large)
	if err != nil {
		return nil, err
	}
	layers, err := overwriteLayers(filepath.Join(s.workDir(), "layers", "blobs", "sha256"))
	if err != nil {
		return nil, err
	}
	update := trivytest.Advisory{Source: "debian 12", Package: "libsample1", ID: "CVE-2026-30001", Fixed: "1.1-2", Severity: "LOW", Title: "news"}
	if err := s.makeDatabase(databaseMade.Add(6*time.Hour), update); err != nil {
		return nil, err
	}
	s.server.Forget()
	first, after, err := s.scan(ctx, s.large)
	if err != nil {
		return nil, fmt.Errorf("judging an image again: %w", err)
	}
	if after != before+1 {
		return nil, fmt.Errorf("judging an image again: got %d vulnerabilities, want the %d from before and a new one", after, before)
	}
	asked := s.layersAsked()
	rows := []Row{{
		What: "  judged again after an update of the database: layers read", Got: fmt.Sprintf("%5d of %d, %.0f ms with the update", asked, layers, millis(first.wall)),
		Budget: "0", Of: above(asked),
	}}
	if err := forget(s.workDir()); err != nil { // the layers are no good any longer
		return nil, err
	}
	return rows, nil
}

// above is how much of a budget of nothing is used: above 1 if anything is.
func above(n int) float64 {
	if n == 0 {
		return 0
	}
	return 1 + float64(n)
}

// overwriteLayers replaces what is in the layers of a store, and leaves their sizes. Configurations, which are JSON,
// are left as they are.
func overwriteLayers(folder string) (int, error) {
	n := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || json.Valid(content) {
			return err
		}
		n++
		return os.WriteFile(path, bytes.Repeat([]byte{0xff}, len(content)), 0o600)
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("there are no layers in %s", folder)
	}
	return n, err
}
