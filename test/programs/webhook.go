package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
)

// readyTimeout bounds the start of a webhook, which takes about a second.
const readyTimeout = time.Minute

// WebhookOptions are the flags of a portcullis-webhook.
type WebhookOptions struct {
	// Dir is where [Build] put the program.
	Dir string
	// Name is what the log and errors call this replica.
	Name string
	// Bundle is a folder, "" for the built-in library. Profile is one of the bundle's, ""
	// for its own choice.
	Bundle, Profile string
	// Listen and Probes are addresses, HOST:PORT.
	Listen, Probes string
	// Serving is the certificate of the webhook.
	Serving pki.Pair
	// ClientCAFile and ClientName say whose certificate callers have to show.
	ClientCAFile, ClientName string
	// Kubeconfig is how it reads namespaces and other facts; "" for no cluster.
	Kubeconfig string
	// Args are further flags.
	Args []string
	// LogFile receives its log.
	LogFile string
}

// Webhook is one replica.
type Webhook struct {
	options WebhookOptions
	running *process.Process // nil while it is stopped
}

// StartWebhook starts a replica and waits until it says that it is ready.
func StartWebhook(ctx context.Context, options WebhookOptions) (*Webhook, error) {
	w := &Webhook{options: options}
	return w, w.Start(ctx)
}

// ReadyURL is where it says that it is ready.
func (w *Webhook) ReadyURL() string { return "http://" + w.options.Probes + "/readyz" }

// Start starts a replica that is stopped and waits until it says that it is ready.
func (w *Webhook) Start(ctx context.Context) error {
	var err error
	w.running, err = process.Start(process.Command{
		Name:    w.options.Name,
		Path:    filepath.Join(w.options.Dir, "portcullis-webhook"),
		Args:    w.options.flags(),
		LogFile: w.options.LogFile,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	return w.running.WaitUntil(ctx, func(ctx context.Context) error { return Probe(ctx, client, w.ReadyURL()) })
}

// Stop ends it as Kubernetes does: SIGTERM and patience.
func (w *Webhook) Stop() error {
	if w.running == nil {
		return nil
	}
	defer func() { w.running = nil }()
	return w.running.Stop()
}

// Kill ends it as a crash does.
func (w *Webhook) Kill() {
	w.running.Kill()
	w.running = nil
}

// PID is the process's id.
func (w *Webhook) PID() int { return w.running.PID() }

// Probe asks once; the error says what is answered instead of 200.
func Probe(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(response.Body, 2000))
		return errors.Join(fmt.Errorf("%s: %s", response.Status, text), err)
	}
	return nil
}

// run runs a program to its end and returns its standard output.
func run(ctx context.Context, path string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("running %s %s: %w\n%s", filepath.Base(path), strings.Join(args, " "), err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// Drain times that fit a test: whoever stands in front asks for readiness many times a
// second, and no request takes long.
const drainFlags = "--drain-delay=500ms --drain-grace=8s"

func (o WebhookOptions) flags() []string {
	flags := append(bundleFlags(o.Bundle, o.Profile),
		"--listen="+o.Listen,
		"--probes="+o.Probes,
		"--tls-cert="+o.Serving.CertFile,
		"--tls-key="+o.Serving.KeyFile,
		"--client-ca="+o.ClientCAFile,
		"--client-name="+o.ClientName)
	flags = append(flags, strings.Fields(drainFlags)...)
	flags = append(flags, o.Args...)
	if o.Kubeconfig == "" {
		return append(flags, "--no-cluster")
	}
	return append(flags, "--kubeconfig="+o.Kubeconfig)
}

func bundleFlags(bundle, profile string) []string {
	var flags []string
	if bundle != "" {
		flags = append(flags, "--bundle="+bundle)
	}
	if profile != "" {
		flags = append(flags, "--profile="+profile)
	}
	return flags
}
