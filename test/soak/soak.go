// Package soak has a whole installation work while everything around it and in it fails, one thing after another.
//
// A real control plane runs the chart (test/installation) with all components but the scanner, whose Trivy takes longer to build
// than the soak to run; beside it are a registry, a real Vault and a Git server, each of which can be slow, gone or silent. Load
// goes on all the time, and each kind of it has an oracle that knows the right answer without asking Portcullis:
//
//   - pods and Deployments, good and bad ones, some created and some as dry runs: a bad one that is admitted is a wrong allow;
//   - images of the registry, signed and unsigned, each digest new: an unsigned one that is admitted is a wrong allow;
//   - decisions: each id that the API server's audit log has from a webhook must be in some replica's journal, whose chain holds;
//   - events of Falco: each that was acknowledged ends in one Quarantine with one Incident, contained, or released where somebody asked;
//   - secrets: what rotates in Vault arrives, no Secret is ever emptied or goes back to an earlier value, and Vault's leases and the
//     VaultLeases are the same ones;
//   - bundles: each revision that is pushed becomes active.
//
// A good request that is refused has to say that something failed, and is a failure itself while nothing does. After each fault everything has to work again within
// [Options.Bound]; at the end nothing may be stuck.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a soak. Dir is required.
type Options struct {
	// Dir receives all that is written.
	Dir string
	// Programs is a folder of built programs; they are built into Dir where it is empty.
	Programs string
	// Duration is how long faults go on, a minute if 0. Starting, and settling at the end, come on top.
	Duration time.Duration
	// Shortest and Longest are how long a fault lasts that lasts, 5 s and 10 s if 0.
	Shortest, Longest time.Duration
	// Bound is how long anything may take to work again after a fault, two minutes if 0. Time in which the API server itself does not answer
	// does not count, up to as much again.
	Bound time.Duration
	// Seed is that of the order of faults and of whom they hit.
	Seed uint64
	// Only are the names of the only faults, all if empty.
	Only []string
	// Output is told what happens while it does; nobody if nil.
	Output io.Writer
}

func (o *Options) defaults() {
	if o.Duration == 0 {
		o.Duration = time.Minute
	}
	if o.Shortest == 0 {
		o.Shortest = 5 * time.Second
	}
	o.Longest = max(o.Longest, o.Shortest)
	if o.Bound == 0 {
		o.Bound = 2 * time.Minute
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
}

const (
	// calm is the pause between faults, for figures of calm times.
	calm = 3 * time.Second
	// aftermath is how much of it still belongs to the fault: each check held once, and connections to who has gone may be tried once more.
	aftermath = time.Second
	pollEvery = 250 * time.Millisecond
	// pushEach is after how many faults the bundle gets a new revision: it takes longer to arrive than anything else to recover.
	pushEach = 3
)

// soak is one that runs.
type soak struct {
	*scene
	options Options
	random  *rand.Rand
	report  *Report
	faulty  atomic.Bool
	// happened counts faults.
	happened int

	admissions *admissions
	images     *imageLoad
	events     *eventLoad
	secrets    *secretLoad
}

// Run runs a soak to its end. The error is one of the soak itself; what Portcullis did wrong is in the report.
func Run(ctx context.Context, options Options) (report *Report, err error) {
	options.defaults()
	s := &soak{options: options, random: rand.New(rand.NewPCG(options.Seed, 0)), report: newReport(options.Seed)}
	s.say("seed %d", options.Seed)
	s.scene, err = newScene(ctx, options)
	if s.scene != nil {
		defer func() { err = errors.Join(err, s.stop()) }()
	}
	if err != nil {
		return nil, fmt.Errorf("starting what is soaked: %w", err)
	}
	if err := s.run(ctx); err != nil {
		return s.report, fmt.Errorf("%w\n%s", err, s.Logs(15))
	}
	return s.report, nil
}

func (s *soak) say(format string, args ...any) {
	fmt.Fprintf(s.options.Output, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

func (s *soak) run(ctx context.Context) error {
	s.admissions, s.images, s.events, s.secrets = newAdmissions(s), newImageLoad(s), newEventLoad(s), newSecretLoad(s)
	if err := errors.Join(s.images.prepare(), s.secrets.prepare(ctx)); err != nil {
		return err
	}
	if err := s.untilWell(ctx, func(string, time.Duration) {}); err != nil {
		return fmt.Errorf("waiting until all works, before anything fails: %w", err)
	}
	s.say("everything works")

	unwatch := s.secrets.startWatch(ctx)
	defer unwatch()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	for _, work := range []func(context.Context){s.admissions.run, s.admissions.run, s.images.run, s.events.run, s.secrets.rotate, s.secrets.churn} {
		load.Go(func() { work(working) })
	}
	began := time.Now()
	err := s.faults(ctx, began.Add(s.options.Duration))
	s.report.Took = time.Since(began)
	stop()
	load.Wait()
	if err != nil {
		return err
	}
	s.say("settling")
	return s.settle(ctx)
}

// faults has one fault after another happen until the time is over, all of them before any comes again.
func (s *soak) faults(ctx context.Context, until time.Time) error {
	all := s.choices()
	if len(all) == 0 {
		return fmt.Errorf("choosing faults: none has a name of %q", s.options.Only)
	}
	for {
		for _, n := range s.random.Perm(len(all)) {
			if err := s.sleep(ctx, calm-aftermath); err != nil {
				return err
			}
			if !time.Now().Before(until) {
				return nil
			}
			if err := s.fault(ctx, all[n]); err != nil {
				return err
			}
		}
	}
}

func (s *soak) fault(ctx context.Context, f fault) error {
	if s.happened%pushEach == 0 {
		if err := s.pushBundle(ctx); err != nil {
			return err
		}
	}
	s.happened++
	s.faulty.Store(true)
	defer func() {
		_ = s.sleep(ctx, aftermath)
		s.faulty.Store(false)
	}()
	during := s.options.Shortest + time.Duration(s.random.Int64N(int64(s.options.Longest-s.options.Shortest)+1))
	began := time.Now()
	if err := f.happen(ctx, during); err != nil {
		return fmt.Errorf("having a fault happen (%s): %w", f.name, err)
	}
	ended := time.Now()
	if err := s.untilWell(ctx, s.report.recovered); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.report.unrecovered(f.name, err)
		s.say("%s: not well again: %v", f.name, err)
		return nil
	}
	recovery := time.Since(ended)
	s.report.fault(f.name, recovery)
	s.say("%-40s %5.1fs, well again after %5.1fs", f.name, ended.Sub(began).Seconds(), recovery.Seconds())
	return nil
}

func (s *soak) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// check is something that has to be so after each fault.
type check struct {
	name string
	is   func(context.Context) error // what is missing
}

func (s *soak) checks() []check {
	return []check{
		{"rollouts", s.rolledOut},
		{"admission", s.admissions.works},
		{"images", s.images.works},
		{"the bundle", s.bundleActive},
		{"quarantines", s.events.settled},
		{"secrets", s.secrets.settled},
	}
}

// untilWell waits until all checks hold, each at some moment after now. It tells how long each took.
func (s *soak) untilWell(ctx context.Context, tell func(check string, took time.Duration)) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var group sync.WaitGroup
	checks := s.checks()
	missing := make([]error, len(checks))
	for n, c := range checks {
		group.Go(func() {
			began := time.Now()
			if missing[n] = until(ctx, c.is); missing[n] != nil {
				missing[n] = fmt.Errorf("%s: %w", c.name, missing[n])
				return
			}
			tell(c.name, time.Since(began))
		})
	}
	group.Wait()
	return errors.Join(missing...)
}

// attempt bounds one look: an answer that never comes must not use up the time in which others would.
const attempt = 30 * time.Second

// until polls until something is so; the error says what is missing.
func until(ctx context.Context, is func(context.Context) error) error {
	look := func() error {
		ctx, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		return is(ctx)
	}
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}
