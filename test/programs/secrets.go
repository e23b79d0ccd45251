package programs

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"github.com/portcullis-dev/portcullis/test/process"
)

// SecretsOptions are the flags of a portcullis-secrets.
type SecretsOptions struct {
	// Path is the program, Env is added to its environment. Dir is where [Build] put it, where Path is "".
	Path, Dir string
	Env       []string
	// Name is what the log and errors call this replica.
	Name string
	// Bundle is a folder, "" for the built-in library. Profile is one of the bundle's, "" for its own choice.
	Bundle, Profile string
	// Probes is an address, HOST:PORT.
	Probes string
	// Kubeconfig is how it reaches the API server, Namespace its own.
	Kubeconfig, Namespace string
	// Args are further flags.
	Args []string
	// LogFile receives its log.
	LogFile string
}

// Secrets is one replica.
type Secrets struct {
	options SecretsOptions
	running *process.Process // nil while it is stopped
}

// StartSecrets starts a replica and waits until it is ready: it acts where it leads.
func StartSecrets(ctx context.Context, options SecretsOptions) (*Secrets, error) {
	s := &Secrets{options: options}
	return s, s.Start(ctx)
}

// Start starts a replica that is stopped and waits until it is ready.
func (s *Secrets) Start(ctx context.Context) error {
	if s.options.Path == "" {
		s.options.Path = filepath.Join(s.options.Dir, "portcullis-secrets")
	}
	var err error
	s.running, err = process.Start(process.Command{Name: s.options.Name, Path: s.options.Path, Args: s.options.flags(), Env: s.options.Env, LogFile: s.options.LogFile})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	return s.running.WaitUntil(ctx, func(ctx context.Context) error {
		_, err := get(ctx, client, "http://"+s.options.Probes+"/readyz")
		return err
	})
}

// Metrics are those of the replica, as text.
func (s *Secrets) Metrics(ctx context.Context) (string, error) {
	return get(ctx, http.DefaultClient, "http://"+s.options.Probes+"/metrics")
}

// Stop ends it as Kubernetes does: SIGTERM and patience.
func (s *Secrets) Stop() error {
	if s.running == nil {
		return nil
	}
	defer func() { s.running = nil }()
	return s.running.Stop()
}

// Kill ends it as a crash does.
func (s *Secrets) Kill() {
	if s.running != nil {
		s.running.Kill()
		s.running = nil
	}
}

// PID is the process's id.
func (s *Secrets) PID() int { return s.running.PID() }

func (o SecretsOptions) flags() []string {
	flags := append([]string{"serve"}, bundleFlags(o.Bundle, o.Profile)...)
	flags = append(flags, "--probes="+o.Probes, "--kubeconfig="+o.Kubeconfig, "--namespace="+o.Namespace, "--name="+o.Name)
	return append(flags, o.Args...)
}
