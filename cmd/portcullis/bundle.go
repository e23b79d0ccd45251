package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bundleFlags say which policies judge.
type bundleFlags struct{ dir, profile string }

func (f *bundleFlags) register(command *cobra.Command) {
	f.registerBundle(command.Flags())
	command.Flags().StringVar(&f.profile, "profile", "", "judge by this `profile` of the bundle (of the library: baseline, restricted, hardened) instead of the one it assigns to each namespace")
}

func (f *bundleFlags) registerBundle(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "bundle", "", "`directory` of the policy bundle (default: the built-in library)")
}

// files is the bundle's file system.
func (f *bundleFlags) files() (fs.FS, error) {
	if f.dir == "" {
		return library.FS(), nil
	}
	if named, err := os.Stat(f.dir); err == nil && !named.IsDir() {
		return nil, usagef("opening the bundle: %s is a file: name the directory that holds bundle.yaml, or leave --bundle out to use the built-in library", f.dir)
	}
	info, err := os.Stat(filepath.Join(f.dir, "bundle.yaml"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("opening the bundle: there is no %s: name the directory that holds bundle.yaml, or leave --bundle out to use the built-in library", filepath.Join(f.dir, "bundle.yaml"))
	case err != nil:
		return nil, fmt.Errorf("opening the bundle: %w: make it readable", err)
	case !info.Mode().IsRegular():
		return nil, usagef("opening the bundle: %s is no file", filepath.Join(f.dir, "bundle.yaml"))
	}
	return os.DirFS(f.dir), nil
}

// builtIn is the library for bundles that build on it: include: library.
func builtIn() policies.Included { return policies.Included{Name: "library", Files: library.FS()} }

func (f *bundleFlags) load() (*policies.Bundle, error) {
	files, err := f.files()
	if err != nil {
		return nil, err
	}
	bundle, err := policies.Load(files, builtIn())
	if err != nil {
		return nil, fmt.Errorf("%w: mend the bundle; docs/policies.md says what it may hold", err)
	}
	return bundle, nil
}

// loadingGC is how much the heap grows, in percent, before it is collected while policies are compiled. Little of what
// that makes is garbage yet: with Go's default of 100, marking it again and again is a third of the processor time of a
// short run. At 400 a run with the whole library takes 15 MB more.
const loadingGC = 400

// engine compiles all of the bundle.
func (f *bundleFlags) engine() (*policies.Engine, error) { return f.compile(policies.NewEngine) }

// judge compiles what objects are judged by: a run of the gate is short, and compiling most of it.
func (f *bundleFlags) judge() (*policies.Engine, error) {
	return f.compile(func(bundle *policies.Bundle) (*policies.Engine, error) {
		return policies.NewEngineFor(bundle, f.profile)
	})
}

func (f *bundleFlags) compile(compile func(*policies.Bundle) (*policies.Engine, error)) (*policies.Engine, error) {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(loadingGC))
	}
	bundle, err := f.load()
	if err != nil {
		return nil, err
	}
	if f.profile != "" && !slices.Contains(bundle.Profiles(), f.profile) {
		return nil, usagef("the bundle has no profile %q: use one of %s", f.profile, strings.Join(bundle.Profiles(), ", "))
	}
	engine, err := compile(bundle)
	if err != nil {
		return nil, fmt.Errorf("%w: mend the bundle; docs/policies.md says what it may hold", err)
	}
	return engine, nil
}
