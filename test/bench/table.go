package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Size says how much is measured.
type Size struct {
	Rounds, Calls int           // of the reviews
	Load          time.Duration // of each load over HTTPS, each of LoadRounds
	LoadRounds    int
	Connections   int // of the concurrent load
	Memory        time.Duration
	Concurrent    int // requests at once while memory is watched
	Starts        int
	Policies      int // loaded at once
	Loads         int // of bundles, and of replays

	Turns     int           // with and without a revision on trial
	Turn      time.Duration // of each
	Decisions int           // of a journal, judged again

	Peers             bool // whether trivy and cosign are built and compared with
	Scans, Gates      int  // rounds
	Images            int  // judged at once by the gate
	Packages, Modules int  // of Debian and of Node.js in an image

	Audited int // objects of a cluster

	Incidents int // pods that are isolated, one after the other

	Synced           int           // VaultSecrets
	Created, Rotated int           // of them, one after the other
	FirstMinute      time.Duration // of a program that has just started
}

// The sizes: Full takes about a quarter of an hour, building trivy and cosign the first time not counted, and Short a minute, most of it for
// building programs.
var (
	Full = Size{
		Rounds: 40, Calls: 300, Load: 2 * time.Second, LoadRounds: 4, Connections: 64,
		Memory: 15 * time.Second, Concurrent: 200, Starts: 5, Policies: 1000, Loads: 5,
		Turns: 15, Turn: time.Second, Decisions: 2000,
		Peers: true, Scans: 7, Gates: 3, Images: 20, Packages: 150, Modules: 300,
		Audited: 100_000, Incidents: 100,
		Synced: 5000, Created: 200, Rotated: 100, FirstMinute: time.Minute,
	}
	Short = Size{
		Rounds: 2, Calls: 20, Load: 100 * time.Millisecond, LoadRounds: 1, Connections: 8,
		Memory: 200 * time.Millisecond, Concurrent: 20, Starts: 1, Policies: 200, Loads: 1,
		Turns: 1, Turn: 100 * time.Millisecond, Decisions: 20,
		Scans: 1, Gates: 1, Images: 3, Packages: 6, Modules: 10,
		Audited: 500, Incidents: 3,
		Synced: 50, Created: 10, Rotated: 5, FirstMinute: 3 * time.Second,
	}
)

// Row is one figure beside its budget.
type Row struct {
	What   string
	Got    string
	Budget string  // "" where there is none
	Of     float64 // how much of the budget is used: above 1 it is missed
	Note   string
}

// part is some of the rows.
type part struct {
	name    string
	measure func(context.Context, Size, string) ([]Row, error)
}

// parts are all rows, in their order.
func parts(progress io.Writer) []part {
	return []part{
		{"reviews", reviewRows},
		{"lineups", lineupRows},
		{"throughput", throughputRows},
		{"swaps", swapRows},
		{"trials", trialRows},
		{"gatekeeper", foreignRows},
		{"journal", journalRows},
		{"start and memory", programRows},
		{"load", loadRows},
		{"revisions", storedRows},
		{"audit", auditRows},
		{"evidence", evidenceRows},
		{"events", eventRows},
		{"responses", respondRows},
		{"secrets", secretRows},
		{"programs on images", func(ctx context.Context, size Size, dir string) ([]Row, error) {
			return programsOnImages(ctx, size, dir, progress)
		}},
	}
}

// Table measures everything, or only the parts that are named. Progress goes to progress.
func Table(ctx context.Context, size Size, progress io.Writer, only ...string) ([]Row, error) {
	all := parts(progress)
	for _, name := range only {
		if !slices.ContainsFunc(all, func(p part) bool { return p.name == name }) {
			return nil, fmt.Errorf("measuring: there is no part %q: name one that is said to be measured without", name)
		}
	}
	dir, err := os.MkdirTemp("", "portcullis-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	var rows []Row
	for _, part := range all {
		if len(only) > 0 && !slices.Contains(only, part.name) {
			continue
		}
		fmt.Fprintf(progress, "measuring %s…\n", part.name)
		measured, err := part.measure(ctx, size, dir)
		if err != nil {
			return nil, fmt.Errorf("measuring %s: %w", part.name, err)
		}
		rows = append(rows, measured...)
	}
	return rows, nil
}

// The contenders of the reviews.
const (
	nameYardstick      = "yardstick"
	nameFifty          = "fifty"
	nameFiftyCEL       = "fifty in CEL"
	nameTen            = "ten"
	nameTenCEL         = "ten in CEL"
	nameFindings       = "fifty with findings"
	nameFindingsCEL    = "fifty with findings in CEL"
	nameHardened       = "hardened"
	nameTemplate       = "same template"
	nameHardenedSame   = "hardened, same template"
	nameUnmatched      = "unmatched"
	nameUnmatchedStick = "unmatched yardstick"
	nameLease          = "lease"
	nameLeaseStick     = "lease yardstick"
	budgetP99          = time.Millisecond
	budgetBytes        = 120_000
	budgetTemplate     = 2.0
	budgetUnmatched    = 1.1
	budgetResident     = 120 << 20
	budgetReady        = time.Second
	budgetLoad         = 1500 * time.Millisecond
)

// entrant is a webhook in a comparison: how to make it, what it is sent, what it answers.
type entrant struct {
	name     string
	make     func() (http.Handler, error)
	bodies   *Template
	admitted bool
}

// compare makes the webhooks of one comparison and no others: what lies in memory costs
// the garbage collector time, and a webhook holds one bundle.
func compare(size Size, entrants ...entrant) (map[string]*Figures, error) {
	var contenders []Contender
	for _, e := range entrants {
		handler, err := e.make()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		caller, err := NewCaller(handler, e.bodies, e.admitted)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		contenders = append(contenders, Contender{e.name, caller.Call})
	}
	runtime.GC()
	return Compare(size.Rounds, size.Calls, contenders...), nil
}

// once makes one webhook for several entrants.
func once(handler http.Handler, err error) func() (http.Handler, error) {
	return func() (http.Handler, error) { return handler, err }
}

func stick() (http.Handler, error) { return Yardstick(), nil }

func reviewRows(_ context.Context, size Size, _ string) ([]Row, error) {
	var rows []Row
	for _, part := range []func(Size) ([]Row, error){fiftyRows, tenRows, findingRows, templateRows, hardenedRows} {
		more, err := part(size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func fiftyRows(size Size) ([]Row, error) {
	f, err := compare(size,
		entrant{nameYardstick, stick, AllDifferent(Pod()), true},
		entrant{nameFifty, func() (http.Handler, error) { return Portcullis(Fifty) }, AllDifferent(Pod()), true},
		entrant{nameFiftyCEL, func() (http.Handler, error) { return CEL(Fifty) }, AllDifferent(Pod()), true})
	if err != nil {
		return nil, err
	}
	p99 := durationRow("  p99", f[nameFifty].P99, budgetP99)
	if p99.Of > 1 {
		p99.Note = fmt.Sprintf("the mean is %.0f µs and the processor time %.0f µs: what is beyond is waiting, for other programs or for the collector (the yardstick's p99 is %.1f and CEL's %.1f times its mean)",
			micros(f[nameFifty].Mean), micros(f[nameFifty].CPU), tail(f[nameYardstick]), tail(f[nameFiftyCEL]))
	}
	return []Row{
		figuresRow("a webhook that only decodes and answers (yardstick)", f[nameYardstick], f[nameYardstick]),
		figuresRow("50 policies, nothing cached", f[nameFifty], f[nameYardstick]),
		figuresRow("  the same in CEL", f[nameFiftyCEL], f[nameYardstick]),
		ratioRow("  50 policies against CEL", f[nameFifty].Ratio(f[nameFiftyCEL]), 1, "CEL"),
		p99,
		bytesRow("  allocated", f[nameFifty].Bytes, budgetBytes),
	}, nil
}

func tail(f *Figures) float64 { return float64(f.P99) / float64(f.Mean) }

func tenRows(size Size) ([]Row, error) {
	f, err := compare(size,
		entrant{nameYardstick, stick, AllDifferent(Pod()), true},
		entrant{nameTen, func() (http.Handler, error) { return Portcullis(Ten) }, AllDifferent(Pod()), true},
		entrant{nameTenCEL, func() (http.Handler, error) { return CEL(Ten) }, AllDifferent(Pod()), true})
	if err != nil {
		return nil, err
	}
	return []Row{
		figuresRow("10 policies, nothing cached", f[nameTen], f[nameYardstick]),
		figuresRow("  the same in CEL", f[nameTenCEL], f[nameYardstick]),
		ratioRow("  10 policies against CEL", f[nameTen].Ratio(f[nameTenCEL]), 1, "CEL"),
	}, nil
}

func findingRows(size Size) ([]Row, error) {
	f, err := compare(size,
		entrant{nameYardstick, stick, AllDifferent(BadPod()), true},
		entrant{nameFindings, func() (http.Handler, error) { return Portcullis(Fifty) }, AllDifferent(BadPod()), false},
		entrant{nameFindingsCEL, func() (http.Handler, error) { return CEL(Fifty) }, AllDifferent(BadPod()), false})
	if err != nil {
		return nil, err
	}
	return []Row{
		figuresRow("50 policies, a pod with findings: message, path and fix of each", f[nameFindings], f[nameYardstick]),
		figuresRow("  the same in CEL, which says only which failed", f[nameFindingsCEL], f[nameYardstick]),
	}, nil
}

func templateRows(size Size) ([]Row, error) {
	fifty := once(Portcullis(Fifty))
	f, err := compare(size,
		entrant{nameYardstick, stick, SameTemplate(Pod()), true},
		entrant{nameTemplate, fifty, SameTemplate(Pod()), true},
		entrant{nameUnmatched, fifty, Unmatched(), true})
	if err != nil {
		return nil, err
	}
	row := ratioRow("50 policies, a template already judged", f[nameTemplate].Ratio(f[nameYardstick]), budgetTemplate, nameYardstick)
	if row.Of > 1 {
		row.Note = fmt.Sprintf("%.0f of %.0f µs are for reading the review and answering (as for an unmatched one); the rest reads the pod once more for what tells it from others, hashes that, and hands the review to a goroutine that a deadline can leave behind",
			micros(f[nameUnmatched].Mean), micros(f[nameTemplate].Mean))
	}
	return []Row{row}, nil
}

func hardenedRows(size Size) ([]Row, error) {
	engine, err := NewHardenedEngine()
	if err != nil {
		return nil, err
	}
	handler, err := NewHandler(engine)
	hardened := once(handler, err)
	f, err := compare(size,
		entrant{nameYardstick, stick, AllDifferent(Pod()), true},
		entrant{nameHardened, hardened, AllDifferent(Pod()), true},
		entrant{nameHardenedSame, hardened, SameTemplate(Pod()), true},
		entrant{nameUnmatched, hardened, Unmatched(), true},
		entrant{nameUnmatchedStick, stick, Unmatched(), true},
		entrant{nameLease, hardened, Lease(), true},
		entrant{nameLeaseStick, stick, Lease(), true})
	if err != nil {
		return nil, err
	}
	return []Row{
		figuresRow("all of profile hardened, nothing cached", f[nameHardened], f[nameYardstick]),
		ratioRow("  a template already judged", f[nameHardenedSame].Ratio(f[nameYardstick]), 0, nameYardstick),
		ratioRow("unmatched, 6 KB", f[nameUnmatched].Ratio(f[nameUnmatchedStick]), budgetUnmatched, nameYardstick),
		ratioRow("unmatched, a Lease", f[nameLease].Ratio(f[nameLeaseStick]), budgetUnmatched, nameYardstick),
	}, nil
}

func figuresRow(what string, f, yardstick *Figures) Row {
	return Row{What: what, Got: fmt.Sprintf("%5.0f µs (%.2f x yardstick), p99 %.0f µs, CPU %.0f µs, %.0f KB, %.0f allocs",
		micros(f.Mean), f.Ratio(yardstick), micros(f.P99), micros(f.CPU), f.Bytes/1000, f.Allocs)}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func ratioRow(what string, ratio, budget float64, base string) Row {
	row := Row{What: what, Got: fmt.Sprintf("%5.2f x %s", ratio, base)}
	if budget > 0 {
		row.Budget, row.Of = fmt.Sprintf("%g x", budget), ratio/budget
	}
	return row
}

func durationRow(what string, got, budget time.Duration) Row {
	return Row{What: what, Got: fmt.Sprintf("%5.0f ms", got.Seconds()*1000), Budget: budget.String(), Of: float64(got) / float64(budget)}.inMicros(got)
}

// inMicros writes short times in full.
func (r Row) inMicros(got time.Duration) Row {
	if got < 10*time.Millisecond {
		r.Got = fmt.Sprintf("%5.0f µs", micros(got))
	}
	return r
}

func bytesRow(what string, got, budget float64) Row {
	return Row{What: what, Got: fmt.Sprintf("%5.0f KB", got/1000), Budget: fmt.Sprintf("%.0f KB", budget/1000), Of: got / budget}
}

// throughputRows compare over HTTPS, client and server on the same processors.
func throughputRows(ctx context.Context, size Size, dir string) ([]Row, error) {
	fifty, err := Portcullis(Fifty)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, connections := range []int{1, size.Connections} {
		loads := []struct {
			name    string
			handler http.Handler
			bodies  *Template
			results []Throughput
		}{
			{name: "the yardstick", handler: Yardstick(), bodies: AllDifferent(Pod())},
			{name: "50 policies, nothing cached", handler: fifty, bodies: AllDifferent(Pod())},
			{name: "50 policies, templates already judged", handler: fifty, bodies: SameTemplate(Pod())},
		}
		services := make([]*Load, len(loads))
		for i := range loads {
			folder := filepath.Join(dir, fmt.Sprintf("https-%d-%d", connections, i))
			if err := os.Mkdir(folder, 0o700); err != nil {
				return nil, err
			}
			service, err := Serve(loads[i].handler, folder)
			if err != nil {
				return nil, err
			}
			defer service.Close()
			if services[i], err = NewLoad(service.URL, service.roots, nil, connections, loads[i].bodies, true); err != nil {
				return nil, err
			}
			defer services[i].Close()
			if _, err := services[i].Run(ctx, size.Load/4); err != nil { // handshakes
				return nil, err
			}
		}
		for n := range size.LoadRounds {
			for i := range loads {
				at := (i + n) % len(loads)
				result, err := services[at].Run(ctx, size.Load)
				if err != nil {
					return nil, err
				}
				loads[at].results = append(loads[at].results, result)
			}
		}
		for i := range loads {
			rows = append(rows, throughputRow(fmt.Sprintf("HTTPS, %d connections: %s", connections, loads[i].name), loads[i].results, loads[0].results))
		}
	}
	return rows, nil
}

func throughputRow(what string, results, yardstick []Throughput) Row {
	perSecond := func(t Throughput) float64 { return t.PerSecond }
	return Row{What: what, Got: fmt.Sprintf("%5.0f/s (%.0f %% of the yardstick), p50 %.2f ms, p99 %.2f ms",
		median(results, perSecond), 100*median(results, perSecond)/median(yardstick, perSecond),
		median(results, func(t Throughput) time.Duration { return t.P50 }).Seconds()*1000,
		median(results, func(t Throughput) time.Duration { return t.P99 }).Seconds()*1000)}
}

// programRows watch the real program.
func programRows(ctx context.Context, size Size, dir string) ([]Row, error) {
	program, err := NewProgram(ctx, dir)
	if err != nil {
		return nil, err
	}
	var starts []time.Duration
	for range size.Starts {
		running, took, err := program.Start(ctx)
		if err != nil {
			return nil, err
		}
		starts = append(starts, took)
		if err := running.Stop(); err != nil {
			return nil, err
		}
	}
	rows := []Row{durationRow("start to ready, the built-in library", median(starts, func(d time.Duration) time.Duration { return d }), budgetReady)}
	resident, err := residentRow(ctx, program, size)
	return append(rows, resident), err
}

func residentRow(ctx context.Context, program *Program, size Size) (row Row, err error) {
	running, _, err := program.Start(ctx)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	load, err := program.Load(size.Concurrent, AllDifferent(Pod()), true)
	if err != nil {
		return row, err
	}
	defer load.Close()
	idle, _, err := Resident(running.PID())
	if errors.Is(err, errNoProc) {
		return Row{What: "resident memory", Got: err.Error()}, nil
	}
	if err != nil {
		return row, err
	}
	throughput, err := load.Run(ctx, size.Memory)
	if err != nil {
		return row, err
	}
	_, most, err := Resident(running.PID())
	row = Row{
		What: fmt.Sprintf("resident memory at %d concurrent requests, the built-in library", size.Concurrent),
		Got: fmt.Sprintf("%5.0f MB at most, %.0f MB idle, %.0f requests/s, p99 %.0f ms",
			float64(most)/(1<<20), float64(idle)/(1<<20), throughput.PerSecond, throughput.P99.Seconds()*1000),
		Budget: fmt.Sprintf("%d MB", budgetResident>>20), Of: float64(most) / budgetResident,
	}
	if row.Of > 1 {
		row.Note = fmt.Sprintf("%d MB of it are pages of the program's file, about a quarter of them what verifies images, which the kernel can drop; the budget is for 50 policies, and the library has three times as many",
			fileResident(running.PID())>>20)
	}
	return row, err
}

func loadRows(_ context.Context, size Size, _ string) ([]Row, error) {
	files, err := Thousand(size.Policies)
	if err != nil {
		return nil, err
	}
	var totals, used []time.Duration
	for range size.Loads {
		total, cpu, err := LoadBundle(files)
		if err != nil {
			return nil, err
		}
		totals, used = append(totals, total), append(used, cpu)
	}
	identity := func(d time.Duration) time.Duration { return d }
	row := durationRow(fmt.Sprintf("load of %d policies, the library's among them", size.Policies), median(totals, identity), budgetLoad)
	row.Got += fmt.Sprintf(", CPU %.0f ms", median(used, identity).Seconds()*1000)
	return []Row{row}, nil
}

// Write prints the table.
func Write(w io.Writer, rows []Row) {
	what := 0
	got := 0
	for _, row := range rows {
		what, got = max(what, len([]rune(row.What))), max(got, len([]rune(row.Got)))
	}
	fmt.Fprintf(w, "%s, %s/%s, %d processors. Medians of short rounds in turns; what else ran on the machine is in them.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	for _, row := range rows {
		line := fmt.Sprintf("%s  %s  %s", pad(row.What, what), pad(row.Got, got), row.verdict())
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		if row.Note != "" {
			fmt.Fprintln(w, "    "+row.Note)
		}
	}
}

func pad(s string, width int) string { return s + strings.Repeat(" ", width-len([]rune(s))) }

func (r Row) verdict() string {
	switch {
	case r.Budget == "":
		return ""
	case r.Of <= 1:
		return fmt.Sprintf("budget %s: met, %.0f %% of it", r.Budget, 100*r.Of)
	}
	return fmt.Sprintf("budget %s: MISSED by %.0f %%", r.Budget, 100*(r.Of-1))
}
