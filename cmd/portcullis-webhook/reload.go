package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/revision"
)

// bundleWatch follows the folder of the bundle. A changed bundle that compiles
// replaces the active one between two requests; one that does not is logged and
// the last good one stays.
type bundleWatch struct {
	flags    *flags
	reviewer *recent
	// follow makes the facts of kinds that policies read known; nil where none are.
	follow func(context.Context, []policies.Read) error
	// accepts says why this process cannot judge by a bundle.
	accepts func(*policies.Bundle) error
	logger  *slog.Logger
	active  *revision.Revision
	// seen is the digest of what was looked at last, good or bad.
	seen string
}

func newBundleWatch(f *flags, reviewer *recent, active *revision.Revision, follow func(context.Context, []policies.Read) error, accepts func(*policies.Bundle) error, logger *slog.Logger) *bundleWatch {
	w := &bundleWatch{flags: f, reviewer: reviewer, active: active, seen: active.Digest, follow: follow, accepts: accepts, logger: logger}
	return w
}

// run looks every interval until ctx ends.
func (w *bundleWatch) run(ctx context.Context) {
	ticker := time.NewTicker(w.flags.bundleInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.look(ctx)
		}
	}
}

// look activates the bundle if it has changed and is good.
func (w *bundleWatch) look(ctx context.Context) {
	tree, err := archive.Read(os.DirFS(w.flags.bundle))
	if err != nil {
		// A folder that is being replaced may be gone for a moment: look again later.
		w.logger.Warn("looking for a new bundle failed; the last good one stays", "error", err)
		return
	}
	if tree.Digest() == w.seen {
		return
	}
	w.seen = tree.Digest()
	if err := w.activate(ctx, tree); err != nil {
		w.logger.Error("the new bundle is refused; the last good one stays", "active", w.active.Revision, "error", err)
	}
}

func (w *bundleWatch) activate(ctx context.Context, tree *archive.Tree) error {
	next, err := compileTree(tree, w.flags.profile)
	if err != nil {
		return err
	}
	if err := w.accepts(next.Bundle); err != nil {
		return err
	}
	manifest, active := next.Bundle.Manifest, w.active.Bundle.Manifest
	if manifest.Name == active.Name && manifest.Serial < active.Serial {
		return fmt.Errorf("its serial is %d, that of the active one %d: a serial never decreases", manifest.Serial, active.Serial)
	}
	if w.follow != nil {
		if err := followFor(ctx, w.follow, cluster.ReadsOf(next)); err != nil {
			return err
		}
	}
	before := w.active.Revision
	install(w.reviewer, &admission.Lineup{Members: []admission.Member{{Active: next.Ready}}}, w.logger)
	w.active = next
	w.logger.Info("activated a new bundle", "bundle", next.Revision, "before", before)
	return nil
}

// followWait is how long the kinds that a new bundle reads are waited for.
const followWait = 20 * time.Second

func followFor(ctx context.Context, follow func(context.Context, []policies.Read) error, reads []policies.Read) error {
	ctx, cancel := context.WithTimeout(ctx, followWait)
	defer cancel()
	return follow(ctx, reads)
}

// install makes a lineup judge. The API server sends what its configuration says, whatever bundles are about.
func install(reviewer *recent, lineup *admission.Lineup, logger *slog.Logger) {
	reviewer.prepare(lineup)
	before, first := reviewer.Interests(), len(reviewer.Lineup().Members) == 0
	reviewer.Install(lineup)
	if !first && !slices.EqualFunc(before, reviewer.Interests(), sameInterest) {
		logger.Warn("the bundles are about other requests than before: apply the output of --print-config again")
	}
}

func sameInterest(a, b policies.Interest) bool {
	return a.Group == b.Group && a.Resource == b.Resource && a.Operation == b.Operation &&
		a.Validates == b.Validates && a.Mutates == b.Mutates && a.FailClosed == b.FailClosed &&
		slices.Equal(a.Namespaces, b.Namespaces)
}
