package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/gitserver"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// bundleName is the name of the bundle, of its repository and of its PolicyBundle.
const bundleName = "acme"

// tour is what the steps work with.
type tour struct {
	dir    string // everything of the tour
	work   string // the working copy of the repository
	stdout io.Writer

	control    *cluster.Cluster
	admin      kubernetes.Interface
	dynamic    dynamic.Interface
	creator    *cluster.Creator
	authority  *pki.Authority
	git        *gitserver.Server
	controller *process.Process
	webhook    *programs.Webhook
	pods       int // created so far, so that each has a name of its own
}

// start builds the programs and starts what is there before Portcullis comes: a cluster and a Git server.
func start(ctx context.Context, dir string, stdout io.Writer) (*tour, error) {
	t := &tour{dir: dir, work: filepath.Join(dir, bundleName), stdout: stdout}
	if err := t.prepare(ctx); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

func (t *tour) prepare(ctx context.Context) error {
	if err := programs.Build(ctx, filepath.Join(t.dir, "bin"), "portcullis", "portcullis-webhook", "portcullis-controller"); err != nil {
		return err
	}
	var err error
	if t.control, err = cluster.Start(ctx, cluster.Options{Dir: filepath.Join(t.dir, "cluster")}); err != nil {
		return err
	}
	if t.admin, err = t.control.Client(cluster.Admin); err != nil {
		return err
	}
	config, err := t.control.Config(cluster.Admin)
	if err != nil {
		return err
	}
	if t.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	if t.creator, err = cluster.NewCreator(config); err != nil {
		return err
	}
	for _, namespace := range []string{"portcullis-system", "shop", "pilot"} {
		if err := cluster.CreateNamespace(ctx, t.admin, namespace, nil); err != nil {
			return err
		}
	}
	return t.startGit(ctx)
}

func (t *tour) startGit(ctx context.Context) error {
	var err error
	if t.authority, err = pki.NewAuthority(t.dir, "git-ca"); err != nil {
		return err
	}
	serving, err := t.authority.Issue("git")
	if err != nil {
		return err
	}
	if t.git, err = gitserver.Start(ctx, gitserver.Options{Dir: filepath.Join(t.dir, "repositories"), Serving: serving}); err != nil {
		return err
	}
	_, err = t.git.Create(ctx, bundleName)
	return err
}

func (t *tour) stop() error {
	var problems []error
	if t.webhook != nil {
		problems = append(problems, t.webhook.Stop())
	}
	if t.controller != nil {
		problems = append(problems, t.controller.Stop())
	}
	if t.git != nil {
		problems = append(problems, t.git.Stop())
	}
	if t.control != nil {
		problems = append(problems, t.control.Stop())
	}
	return errors.Join(problems...)
}

// sh runs a command in the working copy, shows it as a user would type it, and what it says. It returns that, and the
// exit code; only a command that cannot be run at all is an error.
func (t *tour) sh(ctx context.Context, program string, args ...string) (output string, code int, err error) {
	fmt.Fprintf(t.stdout, "   $ %s\n", t.short(typed(program, args)))
	path := program
	if strings.HasPrefix(program, "portcullis") {
		path = filepath.Join(t.dir, "bin", program)
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Dir = t.dir
	if _, err := os.Stat(t.work); err == nil {
		command.Dir = t.work
	}
	command.Env = append(os.Environ(), t.environment()...)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err = command.Run()
	t.show(said.String())
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return said.String(), failed.ExitCode(), nil
	}
	return said.String(), 0, err
}

// must is sh for a command that has to succeed.
func (t *tour) must(ctx context.Context, program string, args ...string) (string, error) {
	output, code, err := t.sh(ctx, program, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d, want 0", typed(program, args), code)
	}
	return output, err
}

// environment keeps the tour from the user's own settings of git, and lets git know the server's certificate.
func (t *tour) environment() []string {
	return []string{
		"GIT_CONFIG_GLOBAL=" + filepath.Join(t.dir, "gitconfig"), "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_SSL_CAINFO=" + t.authority.File, "HOME=" + t.dir, "XDG_CACHE_HOME=" + filepath.Join(t.dir, "cache"), "NO_COLOR=1",
	}
}

// maxShown is how many lines of a command's output are shown.
const maxShown = 24

func (t *tour) show(text string) {
	lines := strings.Split(strings.TrimRight(t.short(text), "\n"), "\n")
	for n, line := range lines {
		if n == maxShown && len(lines) > maxShown+1 {
			fmt.Fprintf(t.stdout, "   … and %d more lines\n", len(lines)-n)
			break
		}
		if line != "" {
			fmt.Fprintf(t.stdout, "   %s\n", line)
		}
	}
}

// say tells what a step is about.
func (t *tour) say(format string, args ...any) {
	fmt.Fprintf(t.stdout, "   # %s\n", t.short(fmt.Sprintf(format, args...)))
}

// short leaves out of a text where on this machine the tour happens to be.
func (t *tour) short(text string) string {
	return strings.NewReplacer(t.work+"/", "", t.work, ".", t.dir+"/", "", strings.TrimSuffix(t.git.URL("x"), "/x.git"), "https://git.example.com").Replace(text)
}

func typed(program string, args []string) string {
	words := []string{program}
	for _, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'$*{}") {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// patience is how long anything that happens by itself may take.
const patience = time.Minute

// goOn says how to play with what is left running.
func (t *tour) goOn() string {
	kubeconfig, err := t.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("The repository is %s, its working copy %s.\nThe cluster: kubectl --kubeconfig %s get policybundles\nPress Ctrl-C to end it.\n", t.git.URL(bundleName), t.work, kubeconfig)
}
