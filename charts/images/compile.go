package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// checkout is the state of the sources.
type checkout struct {
	dir     string
	commit  string
	version string
	// time is that of the commit: what images and layers are marked with.
	time  time.Time
	dirty bool
	// goVersion is that of the toolchain.
	goVersion string
	// sources are packages of programs that are not in cmd; tests have one that builds in a moment.
	sources map[string]string
}

// readCheckout asks git and go. SOURCE_DATE_EPOCH, where it is set, is the time, as
// https://reproducible-builds.org/specs/source-date-epoch/ has it.
func readCheckout(ctx context.Context) (checkout, error) {
	var c checkout
	module, err := output(ctx, ".", "go", "env", "GOMOD")
	if err != nil {
		return c, err
	}
	if c.dir = filepath.Dir(module); module == "" || module == os.DevNull {
		return c, errors.New("finding the sources: there is no go.mod here: start it in a checkout of Portcullis")
	}
	for _, ask := range []struct {
		to        *string
		arguments []string
	}{
		{&c.commit, []string{"git", "rev-parse", "HEAD"}},
		{&c.version, []string{"git", "describe", "--tags", "--always", "--dirty"}},
		{&c.goVersion, []string{"go", "env", "GOVERSION"}},
	} {
		if *ask.to, err = output(ctx, c.dir, ask.arguments...); err != nil {
			return c, err
		}
	}
	changes, err := output(ctx, c.dir, "git", "status", "--porcelain")
	if err != nil {
		return c, err
	}
	c.dirty = changes != ""
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		if seconds, err = output(ctx, c.dir, "git", "show", "-s", "--format=%ct", "HEAD"); err != nil {
			return c, err
		}
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return c, fmt.Errorf("SOURCE_DATE_EPOCH is %q, which is no number of seconds: correct or unset it: %w", seconds, errUsage)
	}
	c.time = time.Unix(at, 0).UTC()
	return c, nil
}

// output is what a command prints, without the last line break.
func output(ctx context.Context, dir string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	command.Dir = dir
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// compile builds a program for a platform into a folder and returns its file. It is static, since the image holds no libraries, and what
// the environment says of how to compile has no say.
func (c checkout) compile(ctx context.Context, folder, program, version string, platform v1.Platform) (string, error) {
	source := "./cmd/" + program
	if of, ok := c.sources[program]; ok {
		source = of
	}
	file := filepath.Join(folder, platform.OS+"-"+platform.Architecture, program)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X github.com/portcullis-dev/portcullis/cmd/internal/version.stamp="+version+" -X github.com/portcullis-dev/portcullis/cmd/internal/version.commit="+c.commit,
		"-o", file, source)
	command.Dir = c.dir
	for _, variable := range os.Environ() {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "GOFLAGS", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "CGO_ENABLED", "GOEXPERIMENT", "GOFIPS140":
		default:
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "GOOS="+platform.OS, "GOARCH="+platform.Architecture, "CGO_ENABLED=0", "GOEXPERIMENT="+experiment(program), "GOTOOLCHAIN=local")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s for %s/%s: %w\n%s", program, platform.OS, platform.Architecture, err, out)
	}
	return file, nil
}

// experiment is the Go experiment that a program needs: Trivy, which the scanner alone links, wants encoding/json/v2.
func experiment(program string) string {
	if program == "portcullis-scanner" {
		return "jsonv2"
	}
	return ""
}
