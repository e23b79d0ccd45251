package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// bundleWatch follows the folder of the bundle. A changed bundle that compiles
// replaces the active one between two requests; one that does not is logged and
// the last good one stays.
type bundleWatch struct {
	flags    *flags
	reviewer *admission.Reviewer
	watched  []policies.Read // what the informers follow
	// accepts says why this process cannot judge by a bundle.
	accepts func(*policies.Bundle) error
	logger  *slog.Logger
	// seen is the digest of what was looked at last, good or bad.
	seen string
}

func newBundleWatch(f *flags, reviewer *admission.Reviewer, accepts func(*policies.Bundle) error, logger *slog.Logger) *bundleWatch {
	bundle := reviewer.Engine().Bundle()
	return &bundleWatch{flags: f, reviewer: reviewer, watched: reads(bundle), accepts: accepts, logger: logger, seen: bundle.Digest}
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
			w.look()
		}
	}
}

// look activates the bundle if it has changed and is good.
func (w *bundleWatch) look() {
	files := os.DirFS(w.flags.bundle)
	digest, err := policies.Digest(files, builtIn())
	if err != nil {
		// A folder that is being replaced may be gone for a moment: look again later.
		w.logger.Warn("looking for a new bundle failed; the last good one stays", "error", err)
		return
	}
	if digest == w.seen {
		return
	}
	w.seen = digest
	if err := w.activate(files); err != nil {
		w.logger.Error("the new bundle is refused; the last good one stays", "digest", digest, "active", w.reviewer.Engine().Bundle().Revision(), "error", err)
	}
}

func (w *bundleWatch) activate(files fs.FS) error {
	engine, err := compileBundle(files, w.flags.profile)
	if err != nil {
		return err
	}
	bundle, active := engine.Bundle(), w.reviewer.Engine().Bundle()
	if err := w.accepts(bundle); err != nil {
		return err
	}
	if bundle.Manifest.Name == active.Manifest.Name && bundle.Manifest.Serial < active.Manifest.Serial {
		return fmt.Errorf("its serial is %d, that of the active one %d: a serial never decreases", bundle.Manifest.Serial, active.Manifest.Serial)
	}
	for _, read := range reads(bundle) {
		if !slices.Contains(w.watched, read) {
			return fmt.Errorf("its policies read %s of group %q, which this process does not follow yet: restart the webhook", read.Resource, read.Group)
		}
	}
	if !slices.EqualFunc(engine.Interests(w.flags.profile), w.reviewer.Interests(), sameInterest) {
		w.logger.Warn("the new bundle is about other requests than the old one: apply the output of --print-config again")
	}
	w.reviewer.Activate(engine)
	w.logger.Info("activated a new bundle", "bundle", bundle.Revision(), "before", active.Revision())
	return nil
}

func sameInterest(a, b policies.Interest) bool {
	return a.Group == b.Group && a.Resource == b.Resource && a.Operation == b.Operation &&
		a.Validates == b.Validates && a.Mutates == b.Mutates && a.FailClosed == b.FailClosed &&
		slices.Equal(a.Namespaces, b.Namespaces)
}
