package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
)

// ResponderOptions are the flags of a portcullis-responder.
type ResponderOptions struct {
	// Path is the program, Env is added to its environment. Dir is where [Build] put it, where Path is "".
	Path, Dir string
	Env       []string
	// Name is what the log and errors call this replica.
	Name string
	// Bundle is a folder, "" for the built-in library. Profile is one of the bundle's, "" for its own choice.
	Bundle, Profile string
	// Listen and Probes are addresses, HOST:PORT.
	Listen, Probes string
	// Serving is the certificate of the responder, ClientCAFile signs those of senders.
	Serving      pki.Pair
	ClientCAFile string
	// Kubeconfig is how it reaches the API server, Namespace its own, Spool the folder of its events.
	Kubeconfig, Namespace, Spool string
	// Args are further flags.
	Args []string
	// LogFile receives its log.
	LogFile string
}

// Responder is one replica.
type Responder struct {
	options ResponderOptions
	running *process.Process // nil while it is stopped
}

// StartResponder starts a replica and waits until it deals with events.
func StartResponder(ctx context.Context, options ResponderOptions) (*Responder, error) {
	r := &Responder{options: options}
	return r, r.Start(ctx)
}

// Start starts a replica that is stopped and waits until it deals with events.
func (r *Responder) Start(ctx context.Context) error {
	if r.options.Path == "" {
		r.options.Path = filepath.Join(r.options.Dir, "portcullis-responder")
	}
	var err error
	r.running, err = process.Start(process.Command{Name: r.options.Name, Path: r.options.Path, Args: r.options.flags(), Env: r.options.Env, LogFile: r.options.LogFile})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	return r.running.WaitUntil(ctx, func(ctx context.Context) error { return r.acts(ctx, client) })
}

// acts asks once; the error says what events wait for.
func (r *Responder) acts(ctx context.Context, client *http.Client) error {
	text, err := get(ctx, client, "http://"+r.options.Probes+"/readyz")
	if err == nil && strings.Contains(text, "events are kept and wait") {
		err = errors.New(text)
	}
	return err
}

// Metrics are those of the replica, as text.
func (r *Responder) Metrics(ctx context.Context) (string, error) {
	return get(ctx, http.DefaultClient, "http://"+r.options.Probes+"/metrics")
}

// EventsURL is where events are posted.
func (r *Responder) EventsURL() string { return "https://" + r.options.Listen + "/v1/falco" }

// Stop ends it as Kubernetes does: SIGTERM and patience.
func (r *Responder) Stop() error {
	if r.running == nil {
		return nil
	}
	defer func() { r.running = nil }()
	return r.running.Stop()
}

// Kill ends it as a crash does.
func (r *Responder) Kill() {
	if r.running != nil {
		r.running.Kill()
		r.running = nil
	}
}

// PID is the process's id.
func (r *Responder) PID() int { return r.running.PID() }

func (o ResponderOptions) flags() []string {
	flags := append([]string{"serve"}, bundleFlags(o.Bundle, o.Profile)...)
	flags = append(flags,
		"--listen="+o.Listen,
		"--probes="+o.Probes,
		"--tls-cert="+o.Serving.CertFile,
		"--tls-key="+o.Serving.KeyFile,
		"--client-ca="+o.ClientCAFile,
		"--kubeconfig="+o.Kubeconfig,
		"--namespace="+o.Namespace,
		"--name="+o.Name,
		"--spool="+o.Spool,
		"--drain-delay=100ms",
		"--drain-grace=8s")
	return append(flags, o.Args...)
}

// get reads what a URL answers with 200.
func get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return string(text), err
}

// FalcoEvent is an event as Falco's http_output posts it.
type FalcoEvent struct {
	Hostname string         `json:"hostname"`
	Output   string         `json:"output"`
	Priority string         `json:"priority"`
	Rule     string         `json:"rule"`
	Source   string         `json:"source"`
	Tags     []string       `json:"tags"`
	Time     time.Time      `json:"time"`
	Fields   map[string]any `json:"output_fields"`
}

// Post sends an event and returns the status and the text of the answer.
func (e FalcoEvent) Post(ctx context.Context, client *http.Client, url string) (int, string, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return 0, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return response.StatusCode, string(text), err
}
