// Package judging is what the programs that act by policies have in common: a bundle of --bundle, or those of the cluster, with the facts that
// it reads, kept up to date.
package judging

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/revision"
)

// followWait is how long the kinds that a new bundle reads are waited for. Without them its policies fault.
const followWait = 20 * time.Second

// Options say how what is asked is judged.
type Options struct {
	Bundle *BundleFlags
	Images *Images
	// Compiled is shared with others of the process that follow the bundles of the cluster; nil with none.
	Compiled *cluster.Compiled
	// Door is where the program asks policies.
	Door admission.Door
	// NoOwners says why evidence has nobody to be about.
	NoOwners string
	// MaxFactBytes is memory for the objects of each kind that policies read.
	MaxFactBytes int
	// Installed is told of each lineup that judges from now on; nil for nobody.
	Installed func(*admission.Lineup)
	// Notes say what is wrong with a lineup though it judges; nil for nothing.
	Notes func(*admission.Lineup) []string
	// Register adds metrics.
	Register func(...prometheus.Collector)
	Log      *slog.Logger
}

// Judging is what judges, and what keeps it up to date.
type Judging struct {
	// Reviewer answers.
	Reviewer *admission.Reviewer

	options Options
	facts   *informer.Facts
	log     *slog.Logger
	active  *revision.Revision // nil where the cluster names the bundles
	watch   *cluster.Watch     // nil where it does not
}

// New loads the bundle, unless the cluster names those that there are. Nothing is asked of the API server yet.
func New(ctx context.Context, config *rest.Config, options Options) (*Judging, error) {
	f, images, log := options.Bundle, options.Images, options.Log
	j := &Judging{options: options, log: log}
	lineup := &admission.Lineup{}
	var err error
	if j.active, err = f.load(ctx, images); err != nil {
		return nil, err
	}
	if j.active != nil {
		if err := images.accepts(j.active.Bundle); err != nil {
			return nil, usage.New(err)
		}
		lineup.Members = []admission.Member{{Active: j.active.Ready}}
	}
	if j.facts, err = informer.New(config, informer.Options{Reads: readsOf(lineup, options.Door), MaxBytes: options.MaxFactBytes, Logger: log}); err != nil {
		return nil, err
	}
	all, err := images.facts(j.facts, options.NoOwners, options.Register, log)
	if err != nil {
		return nil, err
	}
	j.Reviewer = admission.NewLineupReviewer(&admission.Lineup{}, all, time.Now)
	j.Reviewer.Pin(f.profile)
	j.install(lineup)
	if f.fromCluster() {
		j.watch, err = cluster.New(config, cluster.Options{
			Verifier: images.bundleVerifier(), Included: []policies.Included{builtIn()}, Compiled: options.Compiled, Accepts: images.accepts,
			Directory: f.cache, Logger: log,
			Install: func(lineup *admission.Lineup) {
				j.follow(ctx, readsOf(lineup, options.Door))
				j.install(lineup)
			},
		})
		if err != nil {
			return nil, usage.Correct("--bundle-cache", err)
		}
	}
	return j, nil
}

// install makes a lineup judge.
func (j *Judging) install(lineup *admission.Lineup) {
	j.Reviewer.Install(lineup)
	if j.options.Installed != nil {
		j.options.Installed(lineup)
	}
	for _, note := range j.lineupNotes(lineup) {
		j.log.Warn(note)
	}
}

func (j *Judging) lineupNotes(lineup *admission.Lineup) []string {
	if j.options.Notes == nil {
		return nil
	}
	return j.options.Notes(lineup)
}

// follow has the facts of kinds that policies read known before somebody judges by them.
func (j *Judging) follow(ctx context.Context, reads []policies.Read) {
	ctx, cancel := context.WithTimeout(ctx, followWait)
	defer cancel()
	if err := j.facts.Follow(ctx, reads); err != nil && ctx.Err() == nil {
		j.log.Warn("policies of a new bundle read what is not known yet, and will fail until it is", "error", err)
	}
}

// Tasks are what runs beside the judging.
func (j *Judging) Tasks() []func(context.Context) {
	tasks := []func(context.Context){j.facts.Run}
	if j.watch != nil {
		tasks = append(tasks, j.watch.Run)
	}
	if j.options.Bundle.fromFolder() && j.options.Bundle.interval > 0 {
		tasks = append(tasks, j.look)
	}
	return tasks
}

// Check says why nothing can be judged yet.
func (j *Judging) Check() error {
	if j.watch != nil {
		if err := j.watch.Check(); err != nil {
			return err
		}
	}
	return j.facts.Check()
}

// Notes say what is wrong though requests are judged.
func (j *Judging) Notes() []string {
	var notes []string
	for _, reason := range j.facts.Availability() {
		if reason != "" {
			notes = append(notes, reason+": policies that read it fault")
		}
	}
	notes = append(notes, j.lineupNotes(j.Reviewer.Lineup())...)
	if j.watch != nil {
		notes = append(notes, j.watch.Notes()...)
	}
	return notes
}

// look activates the folder's bundle whenever it has changed and is good, until the context ends.
func (j *Judging) look(ctx context.Context) {
	ticker := time.NewTicker(j.options.Bundle.interval)
	defer ticker.Stop()
	seen := j.active.Digest // of what was looked at last, good or bad
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		tree, err := archive.Read(os.DirFS(j.options.Bundle.bundle))
		if err != nil {
			// A folder that is being replaced may be gone for a moment: look again later.
			j.log.Warn("looking for a new bundle failed; the last good one stays", "error", err)
			continue
		}
		if tree.Digest() == seen {
			continue
		}
		seen = tree.Digest()
		if err := j.activate(ctx, tree); err != nil {
			j.log.Error("the new bundle is refused; the last good one stays", "active", j.active.Revision, "error", err)
		}
	}
}

func (j *Judging) activate(ctx context.Context, tree *archive.Tree) error {
	next, err := j.options.Bundle.compile(tree)
	if err != nil {
		return err
	}
	if err := j.options.Images.accepts(next.Bundle); err != nil {
		return err
	}
	manifest, active := next.Bundle.Manifest, j.active.Bundle.Manifest
	if manifest.Name == active.Name && manifest.Serial < active.Serial {
		return fmt.Errorf("its serial is %d, that of the active one %d: a serial never decreases", manifest.Serial, active.Serial)
	}
	lineup := &admission.Lineup{Members: []admission.Member{{Active: next.Ready}}}
	j.follow(ctx, readsOf(lineup, j.options.Door))
	j.install(lineup)
	before := j.active.Revision
	j.active = next
	j.log.Info("activated a new bundle", "bundle", next.Revision, "before", before)
	return nil
}
