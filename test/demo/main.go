// Command demo shows Portcullis at work, for real and on this machine only:
//
//	go run ./test/demo            a webhook on loopback, asked with AdmissionReviews over HTTPS
//	go run ./test/demo -cluster   the same at a real Kubernetes API server, secrets of a real Vault, and what comes of a reverse shell in an admitted pod
//	go run ./test/demo -chart     the same with the chart installed and all of its components running, for kubectl and a browser
//
// Either way the gate, as a CI job would run it, judges the same files and has to
// come to the same verdicts. The demo ends by itself, with exit code 0 only if every
// verdict is the expected one; KEEP=1 leaves everything running to play with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// policies are what both doors judge by.
type policies struct {
	bundle   string
	registry string   // where the images are
	flags    []string // that let a program speak with it
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	withCluster := flag.Bool("cluster", false, "show it at a real Kubernetes API server")
	withChart := flag.Bool("chart", false, "show it there with the chart installed and everything running")
	flag.Parse()
	at := onLoopback
	switch {
	case *withChart:
		at = installed
	case *withCluster:
		at = atAPIServer
	}
	if err := run(ctx, at, keepRunning(at != onLoopback), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// keepRunning says whether to wait for Ctrl-C at the end: if KEEP says so, and if it
// says nothing where somebody at a terminal could go on with the cluster.
func keepRunning(withCluster bool) bool {
	switch os.Getenv("KEEP") {
	case "":
		return withCluster && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
	case "0", "no", "false":
		return false
	}
	return true
}

// place is where the demo shows Portcullis at work.
type place int

const (
	onLoopback  place = iota // a webhook on loopback
	atAPIServer              // a real API server, with single programs
	installed                // a real API server with the chart installed
)

// programs are those that a place needs.
func (p place) programs() []string {
	return [...][]string{
		onLoopback:  {"portcullis", "portcullis-webhook", "portcullis-scanner"},
		atAPIServer: {"portcullis", "portcullis-webhook", "portcullis-scanner", "portcullis-responder", "portcullis-secrets"},
		installed:   {"portcullis", "portcullis-webhook", "portcullis-scanner", "portcullis-responder", "portcullis-secrets", "portcullis-controller", "portcullis-console"},
	}[p]
}

// live is a door that a running webhook stands at.
type live interface {
	judge(context.Context, demoCase) (answer, error)
	// epilogue checks what comes of the admitted cases, and says so.
	epilogue(context.Context) (string, error)
	// goOn says how to play with it.
	goOn(manifests string) (string, error)
	stop() error
}

func run(ctx context.Context, at place, keep bool, stdout, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "portcullis-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	names := at.programs()
	fmt.Fprintf(progress, "Building %s …\n", strings.Join(names, ", "))
	if err := programs.Build(ctx, dir, names...); err != nil {
		return err
	}
	fmt.Fprintln(progress, "Building, signing, scanning and attesting images in a registry on loopback …")
	chain, err := newSupply(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chain.stop()) }()
	policies := policies{registry: chain.registry.Host(), flags: chain.flags()}
	if policies.bundle, err = chain.writeBundle(); err != nil {
		return err
	}
	files := filepath.Join(dir, "manifests")
	if err := writeManifests(files, policies.registry); err != nil {
		return err
	}
	name, door, err := start(ctx, at, dir, policies, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, door.stop()) }()

	outcomes, problem := judgeAll(ctx, door, gate{program: filepath.Join(dir, "portcullis"), manifests: files, policies: policies, cache: filepath.Join(dir, "cache")})
	if err := report(stdout, name, outcomes); err != nil {
		return err
	}
	if problem != nil {
		return problem
	}
	text, err := door.epilogue(ctx)
	fmt.Fprint(stdout, text)
	if err != nil {
		return err
	}
	if keep {
		return waitForInterrupt(ctx, door, files, stdout)
	}
	return nil
}

// start starts the door that is shown, and returns what it is called.
func start(ctx context.Context, at place, dir string, policies policies, progress io.Writer) (string, live, error) {
	switch at {
	case installed:
		fmt.Fprintln(progress, "Starting Vault and a Kubernetes control plane, and installing the chart with everything …")
		door, err := startInstalled(ctx, dir, policies, progress)
		return "API server", door, err
	case atAPIServer:
		fmt.Fprintln(progress, "Starting a Kubernetes control plane with the webhook in front …")
		door, err := startAPIServer(ctx, dir, policies)
		return "API server", door, err
	}
	fmt.Fprintln(progress, "Starting the webhook on loopback …")
	door, err := startLoopback(ctx, dir, policies)
	return "webhook", door, err
}

// judgeAll asks both doors about every case. The error names the cases that are not
// as expected.
func judgeAll(ctx context.Context, door live, gate gate) ([]outcome, error) {
	var outcomes []outcome
	var problems []error
	for _, c := range cases {
		o := outcome{demoCase: c}
		var liveErr, gateErr error
		o.live, liveErr = door.judge(ctx, c)
		o.gate, gateErr = gate.judge(ctx, c)
		o.problem = errors.Join(liveErr, gateErr)
		if o.problem == nil {
			o.problem = errors.Join(c.check(o.live), c.check(o.gate), same(o.live, o.gate))
		}
		if o.problem != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.file, o.problem))
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, errors.Join(problems...)
}

func waitForInterrupt(ctx context.Context, door live, files string, stdout io.Writer) error {
	text, err := door.goOn(files)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%s", text)
	<-ctx.Done()
	return nil
}

// webhookOptions are those of the demo's webhook, wherever it stands.
func webhookOptions(dir string, policies policies) (programs.WebhookOptions, error) {
	options := programs.WebhookOptions{Dir: dir, Name: "portcullis-webhook", Bundle: policies.bundle, Args: policies.flags, LogFile: filepath.Join(dir, "webhook.log")}
	for _, address := range []*string{&options.Listen, &options.Probes} {
		port, err := cluster.FreePort()
		if err != nil {
			return options, err
		}
		*address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return options, nil
}
