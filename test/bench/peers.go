package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/portcullis-dev/portcullis/test/programs"
)

// Variables that name a trivy and a cosign to compare with, instead of building them.
const (
	TrivyVariable  = "PORTCULLIS_BENCH_TRIVY"
	CosignVariable = "PORTCULLIS_BENCH_COSIGN"
)

// cacheVariable names the folder that built programs are kept in, as for the control plane of the tests,
// instead of portcullis-test in the user's cache folder.
const cacheVariable = "PORTCULLIS_TEST_CACHE"

// Peers are the programs that a pipeline without Portcullis runs.
type Peers struct{ Trivy, Cosign string }

// peer is a program of a module that go.mod has for its library.
type peer struct {
	name, module, path, variable string
}

// The programs. What they are compared with is built from the same modules.
var (
	trivyPeer  = peer{"trivy", "github.com/aquasecurity/trivy", "cmd/trivy", TrivyVariable}
	cosignPeer = peer{"cosign", "github.com/sigstore/cosign/v2", "cmd/cosign", CosignVariable}
)

// NewPeers finds the programs, or builds them in the versions of go.mod: once for each version, which takes
// some minutes each and is told on progress.
func NewPeers(ctx context.Context, progress io.Writer) (*Peers, error) {
	trivy, err := trivyPeer.program(ctx, progress)
	if err != nil {
		return nil, err
	}
	cosign, err := cosignPeer.program(ctx, progress)
	if err != nil {
		return nil, err
	}
	return &Peers{Trivy: trivy, Cosign: cosign}, nil
}

// program is the path of the program.
func (p peer) program(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv(p.variable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("using the %s named by %s: %w", p.name, p.variable, err)
		}
		return filepath.Abs(path)
	}
	version, err := p.version(ctx)
	if err != nil {
		return "", err
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	// The caller's experiments, which some versions name after a space, are not those of the build.
	goVersion, _, _ := strings.Cut(runtime.Version(), " ")
	goVersion, _, _ = strings.Cut(goVersion, "-X:")
	path := filepath.Join(cache, strings.Join([]string{p.name, version, goVersion, runtime.GOOS, runtime.GOARCH}, "-"))
	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		return "", fmt.Errorf("waiting for another build of %s: %w", p.name, err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, p.build(ctx, version, path, progress)
}

// version is that of the module in go.mod.
func (p peer) version(ctx context.Context) (string, error) {
	root, err := programs.Checkout(ctx)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", p.module)
	command.Dir = root
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("looking for the version of %s in go.mod: %w%s", p.module, err, stderrOf(err))
	}
	return strings.TrimSpace(string(output)), nil
}

func stderrOf(err error) string {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return "\n" + string(exit.Stderr)
	}
	return ""
}

func cacheFolder() (string, error) {
	cache := os.Getenv(cacheVariable)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding a place for programs to compare with: %w; set %s to a folder", err, cacheVariable)
		}
		cache = filepath.Join(user, "portcullis-test")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("making a place for programs to compare with: %w; set %s to a folder", err, cacheVariable)
	}
	return cache, nil
}

// build builds the program in a module of its own, so that it has the dependencies that its maintainers chose,
// and moves it to its place when it is whole.
func (p peer) build(ctx context.Context, version, path string, progress io.Writer) error {
	fmt.Fprintf(progress, "Building %s %s to compare with: once, some minutes on two cores; set %s to a built one to do without …\n", p.name, version, p.variable)
	started := time.Now()
	stop := p.heartbeat(progress, started)
	defer stop()
	module, err := os.MkdirTemp("", "portcullis-"+p.name+"-")
	if err != nil {
		return fmt.Errorf("making a module for %s: %w", p.name, err)
	}
	defer os.RemoveAll(module)
	unfinished := path + ".unfinished"
	for _, args := range [][]string{
		{"mod", "init", "example.com/peer"},
		{"get", p.module + "@" + version},
		// Two at a time fit into the memory of the small machines that CI has.
		{"build", "-mod=mod", "-p", "2", "-buildvcs=false", "-ldflags=-s -w", "-o", unfinished, p.module + "/" + p.path},
	} {
		command := exec.CommandContext(ctx, "go", args...)
		command.Dir = module
		// Trivy needs the experiment. With it for both, they share what is compiled, also with the scanner.
		command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOEXPERIMENT=jsonv2")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s %s: %w\n%s", p.name, version, err, output)
		}
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("keeping %s: %w", p.name, err)
	}
	fmt.Fprintf(progress, "Built %s in %s.\n", path, time.Since(started).Round(time.Second))
	return nil
}

// heartbeat says every half minute that the build still runs.
func (p peer) heartbeat(progress io.Writer, started time.Time) (stop func()) {
	ticker, done := time.NewTicker(30*time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(progress, "… still building %s after %s\n", p.name, time.Since(started).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}
