package cluster

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

// BinaryVariable names a control plane binary to use instead of building one.
const BinaryVariable = "PORTCULLIS_CONTROLPLANE"

// CacheVariable names the folder that built binaries are kept in, instead of
// portcullis-test in the user's cache folder.
const CacheVariable = "PORTCULLIS_TEST_CACHE"

// Binary returns the path of the control plane binary of test/controlplane. It is
// built once for each state of its sources, which takes five to ten minutes and
// is told on progress; whoever else wants it meanwhile waits.
func Binary(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("using the control plane binary named by %s: %w", BinaryVariable, err)
		}
		return path, nil
	}
	sources, err := sourceDir()
	if err != nil {
		return "", err
	}
	digest, err := sourceDigest(sources)
	if err != nil {
		return "", fmt.Errorf("looking for a built control plane: %w", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "controlplane-"+digest)

	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		return "", fmt.Errorf("waiting for another build of the control plane: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, build(ctx, sources, path, progress)
}

// sourceDir finds test/controlplane in the checkout that the working directory is in.
func sourceDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for test/controlplane: %w", err)
	}
	for {
		sources := filepath.Join(dir, "test", "controlplane")
		if _, err := os.Stat(filepath.Join(sources, "go.mod")); err == nil {
			return sources, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("looking for test/controlplane: not in a checkout of Portcullis; change into one, or set " + BinaryVariable + " to a built control plane")
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
	// Version names the caller's experiments after a space; the build has none.
	version, _, _ := strings.Cut(runtime.Version(), " ")
	fmt.Fprintln(hash, version, runtime.GOOS, runtime.GOARCH)
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

func cacheDir() (string, error) {
	cache := os.Getenv(CacheVariable)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding a place for the control plane binary: %w; set %s to a folder", err, CacheVariable)
		}
		cache = filepath.Join(user, "portcullis-test")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("making a place for the control plane binary: %w; set %s to a folder", err, CacheVariable)
	}
	return cache, nil
}

// build compiles the control plane beside its final path and moves it there when
// it is whole.
func build(ctx context.Context, sources, path string, progress io.Writer) error {
	fmt.Fprintln(progress, "Building the Kubernetes control plane for the tests: once, five to ten minutes on two cores …")
	started := time.Now()
	stop := heartbeat(progress, started)
	defer stop()

	unfinished := path + ".unfinished"
	// Linking needs over a gigabyte and so does compiling the largest packages: two at
	// a time fit on the small machines that CI has.
	command := exec.CommandContext(ctx, "go", "build", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", unfinished, "./server")
	command.Dir = sources
	// Whatever experiments the caller builds with, the control plane is built without:
	// otherwise each set of them would compile Kubernetes anew.
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the control plane in %s: %w\n%s", sources, err, output)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("keeping the control plane binary: %w", err)
	}
	fmt.Fprintf(progress, "Built %s in %s.\n", path, time.Since(started).Round(time.Second))
	return nil
}

// heartbeat says every half minute that the build still runs.
func heartbeat(progress io.Writer, started time.Time) (stop func()) {
	ticker, done := time.NewTicker(30*time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(progress, "… still building the control plane after %s\n", time.Since(started).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}
