// Package binary builds programs that only tests need, from Go modules of their own, once for each state of their sources, and
// keeps them in the user's cache folder.
package binary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// CacheVariable names the folder that built binaries are kept in, instead of portcullis-test in the user's cache folder.
const CacheVariable = "PORTCULLIS_TEST_CACHE"

// Program is one of them: the package server of the module in test/Module.
type Program struct {
	// Title is what people call it, Module its folder below test, Variable the environment variable that names a binary to use
	// instead, Duration how long building it takes, in words.
	Title, Module, Variable, Duration string
}

// Path returns where the binary lies. It is built if there is none of these sources; whoever else wants it meanwhile waits.
func (p Program) Path(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv(p.Variable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("using the %s binary named by %s: %w", p.Title, p.Variable, err)
		}
		return path, nil
	}
	sources, err := p.sourceDir()
	if err != nil {
		return "", err
	}
	digest, err := sourceDigest(sources)
	if err != nil {
		return "", fmt.Errorf("looking for a built %s: %w", p.Title, err)
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, p.Module+"-"+digest)

	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		return "", fmt.Errorf("waiting for another build of the %s: %w", p.Title, err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, p.build(ctx, sources, path, progress)
}

// sourceDir finds the module in the checkout that the working directory is in.
func (p Program) sourceDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for test/%s: %w", p.Module, err)
	}
	for {
		sources := filepath.Join(dir, "test", p.Module)
		if _, err := os.Stat(filepath.Join(sources, "go.mod")); err == nil {
			return sources, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("looking for test/" + p.Module + ": not in a checkout of Portcullis; change into one, or set " + p.Variable + " to a built " + p.Title)
		}
		dir = parent
	}
}

// sourceDigest is the same for two states of the sources that build the same binary.
func sourceDigest(sources string) (string, error) {
	files, err := filepath.Glob(filepath.Join(sources, "server", "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(sources, "go.mod"), filepath.Join(sources, "go.sum"))
	slices.Sort(files)
	hash := sha256.New()
	fmt.Fprintln(hash, withoutExperiments(runtime.Version()), runtime.GOOS, runtime.GOARCH)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, filepath.Base(file), len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// withoutExperiments is the version of Go that the build has, which has no experiments, of that of the caller: the linker writes them
// behind "X:", after a space or, for a released version, a hyphen.
func withoutExperiments(version string) string {
	version, _, _ = strings.Cut(version, "X:")
	return strings.TrimRight(version, " -")
}

// CacheDir is the folder that built binaries are kept in.
func CacheDir() (string, error) {
	cache := os.Getenv(CacheVariable)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding a place for built binaries: %w; set %s to a folder", err, CacheVariable)
		}
		cache = filepath.Join(user, "portcullis-test")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("making a place for built binaries: %w; set %s to a folder", err, CacheVariable)
	}
	return cache, nil
}

// build compiles the program beside its final path and moves it there when it is whole.
func (p Program) build(ctx context.Context, sources, path string, progress io.Writer) error {
	fmt.Fprintf(progress, "Building the %s for the tests: once, %s on two cores …\n", p.Title, p.Duration)
	started := time.Now()
	stop := p.heartbeat(progress, started)
	defer stop()

	unfinished := path + ".unfinished"
	// Linking needs over a gigabyte and so does compiling the largest packages: two at
	// a time fit on the small machines that CI has.
	command := exec.CommandContext(ctx, "go", "build", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", unfinished, "./server")
	command.Dir = sources
	// Whatever experiments the caller builds with, it is built without: otherwise each
	// set of them would compile everything anew.
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the %s in %s: %w\n%s", p.Title, sources, err, output)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("keeping the %s binary: %w", p.Title, err)
	}
	fmt.Fprintf(progress, "Built %s in %s.\n", path, time.Since(started).Round(time.Second))
	return nil
}

// heartbeat says every half minute that the build still runs.
func (p Program) heartbeat(progress io.Writer, started time.Time) (stop func()) {
	ticker, done := time.NewTicker(30*time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(progress, "… still building the %s after %s\n", p.Title, time.Since(started).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}
