package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/conftest/parse"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bundleFlags say which policies judge.
type bundleFlags struct {
	// ref is a directory or the name of a bundle elsewhere, "" for the built-in library.
	ref, profile string
	elsewhere    *bundlesource.Flags
}

// register adds the flags. registries are those that the command has anyway, nil for none.
func (f *bundleFlags) register(command *cobra.Command, registries *registryflags.Flags) {
	f.registerBundle(command.Flags(), registries)
	command.Flags().StringVar(&f.profile, "profile", "", "judge by this `profile` of the bundle (of the library: baseline, restricted, hardened) instead of the one it assigns to each namespace")
}

func (f *bundleFlags) registerBundle(flags *pflag.FlagSet, registries *registryflags.Flags) {
	flags.StringVar(&f.ref, "bundle", "", "policy `bundle` (default: the built-in library): "+bundlesource.Forms)
	f.registerElsewhere(flags, registries)
}

// registerElsewhere adds the flags about bundles that are elsewhere, for commands that are given them by argument.
func (f *bundleFlags) registerElsewhere(flags *pflag.FlagSet, registries *registryflags.Flags) {
	f.elsewhere = &bundlesource.Flags{Registries: registries}
	f.elsewhere.Register(flags)
	if registries == nil {
		f.elsewhere.RegisterRegistries(flags)
	}
}

// other are the flags for another bundle, which the same people must have signed.
func (f *bundleFlags) other(ref string) *bundleFlags {
	return &bundleFlags{ref: ref, profile: f.profile, elsewhere: f.elsewhere}
}

// opened is a bundle's files.
type opened struct {
	files fs.FS
	// tree are the same files, nil for a directory and the library.
	tree *archive.Tree
	// from is where it was fetched and who has signed it, nil for one that was not.
	from *bundlesource.Fetched
}

// open finds the files of the bundle.
func (f *bundleFlags) open(ctx context.Context) (*opened, error) {
	if f.ref == "" {
		return &opened{files: library.FS()}, nil
	}
	if _, cluster := bundlesource.InCluster(f.ref); cluster {
		return f.openCluster(ctx)
	}
	if !bundlesource.Remote(f.ref) {
		return openLocal(f.ref)
	}
	fetched, err := f.elsewhere.Fetch(ctx, f.ref)
	if err != nil {
		return nil, err
	}
	return &opened{files: fetched.Tree.FS(), tree: fetched.Tree, from: fetched}, nil
}

// openLocal opens a directory. It is read as a tree, so that its digest is that of the same files elsewhere.
func openLocal(dir string) (*opened, error) {
	files, err := openDirectory(dir)
	if err != nil {
		return nil, err
	}
	tree, err := archive.Read(files)
	if err != nil {
		return nil, fmt.Errorf("opening the bundle %s: %w", dir, err)
	}
	return &opened{files: tree.FS(), tree: tree}, nil
}

// openDirectory is a directory with a bundle.
func openDirectory(dir string) (fs.FS, error) {
	if named, err := os.Stat(dir); err == nil && !named.IsDir() {
		return nil, usagef("opening the bundle: %s is a file: name the directory that holds bundle.yaml", dir)
	}
	info, err := os.Stat(filepath.Join(dir, "bundle.yaml"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("opening the bundle: there is no %s: name the directory that holds bundle.yaml; portcullis bundle init begins one", filepath.Join(dir, "bundle.yaml"))
	case err != nil:
		return nil, fmt.Errorf("opening the bundle: %w: make it readable", err)
	case !info.Mode().IsRegular():
		return nil, usagef("opening the bundle: %s is no file", filepath.Join(dir, "bundle.yaml"))
	}
	return os.DirFS(dir), nil
}

// builtIn is the library for bundles that build on it: include: library.
func builtIn() policies.Included { return policies.Included{Name: "library", Files: library.FS()} }

// revisionOptions are those of all commands.
func revisionOptions() revision.Options {
	return revision.Options{Included: []policies.Included{builtIn()}, Reader: parse.File}
}

// nextBundle is the next step where a bundle cannot be loaded.
const nextBundle = "mend the bundle; docs/policies.md says what it may hold"

func (f *bundleFlags) load(ctx context.Context) (*policies.Bundle, error) {
	opened, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return opened.load()
}

func (o *opened) load() (*policies.Bundle, error) {
	bundle, err := policies.Load(o.files, builtIn())
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, nextBundle)
	}
	return bundle, nil
}

// loadingGC is how much the heap grows, in percent, before it is collected while policies are compiled. Little of what
// that makes is garbage yet: with Go's default of 100, marking it again and again is a third of the processor time of a
// short run. At 400 a run with the whole library takes 15 MB more.
const loadingGC = 400

// collectLess collects garbage less often until what it gives is called.
func collectLess() (restore func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(loadingGC)
	return func() { debug.SetGCPercent(before) }
}

// revision compiles what objects are judged by: a run of the gate is short, and compiling most of it.
func (f *bundleFlags) revision(ctx context.Context) (*revision.Revision, error) {
	defer collectLess()()
	opened, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return f.compile(opened)
}

func (f *bundleFlags) compile(opened *opened) (*revision.Revision, error) {
	bundle, err := opened.load()
	if err != nil {
		return nil, err
	}
	if f.profile != "" && !slices.Contains(bundle.Profiles(), f.profile) {
		return nil, usagef("the bundle has no profile %q: use one of %s", f.profile, strings.Join(bundle.Profiles(), ", "))
	}
	options := revisionOptions()
	options.Profile = f.profile
	var compiled *revision.Revision
	if opened.tree != nil {
		compiled, err = revision.Of(opened.tree, bundle, options)
	} else {
		compiled, err = revision.Compile(bundle, opened.files, options)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, nextBundle)
	}
	return compiled, nil
}

// lineup is what objects are judged by: one bundle, or those of a cluster together.
func (f *bundleFlags) lineup(ctx context.Context) (*admission.Lineup, error) {
	if name, cluster := bundlesource.InCluster(f.ref); cluster {
		return f.clusterLineup(ctx, name)
	}
	compiled, err := f.revision(ctx)
	if err != nil {
		return nil, err
	}
	return &admission.Lineup{Members: []admission.Member{{Active: compiled.Ready}}}, nil
}

// readsImages says whether some policy of a lineup reads evidence about images.
func readsImages(lineup *admission.Lineup) bool {
	for _, member := range lineup.Members {
		for _, ready := range []*admission.Ready{&member.Active, member.Candidate} {
			if ready == nil {
				continue
			}
			for _, judge := range ready.Judges {
				if engine, ok := judge.(*policies.Engine); ok && engine.ReadsImages() {
					return true
				}
			}
		}
	}
	return false
}
