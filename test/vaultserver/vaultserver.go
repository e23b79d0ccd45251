// Package vaultserver runs a real Vault for tests: the program of test/vault, built once, behind TLS on loopback, with one key share.
package vaultserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/portcullis-dev/portcullis/test/binary"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
)

// BinaryVariable names a binary to use instead of building one.
const BinaryVariable = "PORTCULLIS_VAULT"

var program = binary.Program{Title: "Vault", Module: "vault", Variable: BinaryVariable, Duration: "about five minutes"}

// Binary returns the path of the binary of test/vault, built if it has to be.
func Binary(ctx context.Context, progress io.Writer) (string, error) {
	return program.Path(ctx, progress)
}

// readyTimeout is how long it may take to answer after it was started.
const readyTimeout = time.Minute

// Options say how it runs.
type Options struct {
	// Dir holds its files: certificates, log, and the storage. It must be given.
	Dir string
	// Level is that of its log: warn for none.
	Level string
}

// Server is a Vault that runs, initialised and unsealed.
type Server struct {
	options   Options
	path      string
	listen    string
	authority *pki.Authority
	serving   pki.Pair
	running   *process.Process // nil while it is stopped
	rootToken string
	unsealKey string
	client    *api.Client
}

// Start starts, initialises and unseals one. Its storage is a folder, so that it survives [Server.Kill].
func Start(ctx context.Context, options Options) (*Server, error) {
	if options.Dir == "" {
		return nil, errors.New("starting Vault: Options.Dir is empty; give it a folder such as t.TempDir()")
	}
	s := &Server{options: options}
	var err error
	if s.path, err = Binary(ctx, os.Stderr); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, err
	}
	if s.authority, err = pki.NewAuthority(options.Dir, "vault"); err != nil {
		return nil, err
	}
	if s.serving, err = s.authority.Issue("vault-server", "127.0.0.1", "localhost"); err != nil {
		return nil, err
	}
	port, err := cluster.FreePort()
	if err != nil {
		return nil, err
	}
	s.listen = fmt.Sprintf("127.0.0.1:%d", port)
	if s.client, err = s.NewClient(""); err != nil {
		return nil, err
	}
	if err := s.launch(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.initialise(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// NewClient is a client that shows a token, and nothing of the VAULT_… variables of whoever runs the tests. It tries nothing twice.
func (s *Server) NewClient(token string) (*api.Client, error) {
	config := api.DefaultConfig()
	config.Address, config.AgentAddress, config.MaxRetries = s.Address(), "", 0
	if err := config.ConfigureTLS(&api.TLSConfig{CACert: s.authority.File}); err != nil {
		return nil, err
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	client.SetToken(token)
	client.ClearNamespace()
	return client, nil
}

func (s *Server) launch(ctx context.Context) error {
	level := s.options.Level
	if level == "" {
		level = "warn"
	}
	running, err := process.Start(process.Command{
		Name: "Vault", Path: s.path, LogFile: filepath.Join(s.options.Dir, "vault.log"),
		Args: []string{"-listen=" + s.listen, "-tls-cert=" + s.serving.CertFile, "-tls-key=" + s.serving.KeyFile, "-storage=" + filepath.Join(s.options.Dir, "storage"), "-log-level=" + level},
	})
	if err != nil {
		return err
	}
	s.running = running
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return running.WaitUntil(ctx, func(ctx context.Context) error {
		_, err := s.client.Sys().SealStatusWithContext(ctx)
		return err
	})
}

func (s *Server) initialise(ctx context.Context) error {
	made, err := s.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialising Vault: %w", err)
	}
	s.rootToken, s.unsealKey = made.RootToken, made.Keys[0]
	s.client.SetToken(s.rootToken)
	return s.Unseal(ctx)
}

// Address is its URL.
func (s *Server) Address() string { return "https://" + s.listen }

// CA is the certificate of the authority that its own is of, as PEM.
func (s *Server) CA() []byte {
	held, err := os.ReadFile(s.authority.File)
	if err != nil {
		panic(err) // Start has written it
	}
	return held
}

// Authority is that of its certificate: it issues those of clients as well, for the auth method cert.
func (s *Server) Authority() *pki.Authority { return s.authority }

// RootToken may do everything.
func (s *Server) RootToken() string { return s.rootToken }

// Client shows the root token.
func (s *Server) Client() *api.Client { return s.client }

// LogFile is where it writes its log.
func (s *Server) LogFile() string { return filepath.Join(s.options.Dir, "vault.log") }

// Seal seals it: it forgets its keys and answers nothing.
func (s *Server) Seal(ctx context.Context) error {
	if err := s.client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing Vault: %w", err)
	}
	return nil
}

// Unseal unseals it, and waits until it answers.
func (s *Server) Unseal(ctx context.Context) error {
	if _, err := s.client.Sys().UnsealWithContext(ctx, s.unsealKey); err != nil {
		return fmt.Errorf("unsealing Vault: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return s.running.WaitUntil(ctx, func(ctx context.Context) error {
		health, err := s.client.Sys().HealthWithContext(ctx)
		if err == nil && (health.Sealed || health.Standby) {
			err = errors.New("it is sealed, or not active yet")
		}
		if err == nil { // leases are there when they have been restored
			_, err = s.client.Logical().ReadWithContext(ctx, "sys/mounts")
		}
		return err
	})
}

// Kill ends it as a crash does. [Server.Restart] brings it back.
func (s *Server) Kill() {
	if s.running != nil {
		s.running.Kill()
		s.running = nil
	}
}

// Restart kills it and starts it on the same storage and port, unsealed.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	if err := s.launch(ctx); err != nil {
		return err
	}
	return s.Unseal(ctx)
}

// Stop ends it.
func (s *Server) Stop() error {
	if s.running == nil {
		return nil
	}
	defer func() { s.running = nil }()
	return s.running.Stop()
}

// Write writes to a path with the root token, and gives the answer, nil for none.
func (s *Server) Write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	answer, err := s.client.Logical().WriteWithContext(ctx, path, data)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return answer, nil
}

// Read reads a path with the root token.
func (s *Server) Read(ctx context.Context, path string) (*api.Secret, error) {
	answer, err := s.client.Logical().ReadWithContext(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return answer, nil
}

// WriteKV2 writes a new version of a secret of the second version of the key-value engine.
func (s *Server) WriteKV2(ctx context.Context, mount, path string, data map[string]any) error {
	_, err := s.Write(ctx, mount+"/data/"+path, map[string]any{"data": data})
	return err
}

// Policy writes an ACL policy.
func (s *Server) Policy(ctx context.Context, name, hcl string) error {
	if err := s.client.Sys().PutPolicyWithContext(ctx, name, hcl); err != nil {
		return fmt.Errorf("writing policy %s: %w", name, err)
	}
	return nil
}

// Mount mounts an engine: kv (options version 1 or 2), pki, transit, or leased-kv, whose secrets have a lease as long as their
// field ttl says ("3s"), at most maxTTL where it is not "".
func (s *Server) Mount(ctx context.Context, path, engine string, options map[string]string, maxTTL string) error {
	err := s.client.Sys().MountWithContext(ctx, path, &api.MountInput{Type: engine, Options: options, Config: api.MountConfigInput{MaxLeaseTTL: maxTTL}})
	if err != nil {
		return fmt.Errorf("mounting %s: %w", path, err)
	}
	if engine != "kv" || options["version"] != "2" {
		return nil
	}
	// The second version upgrades its storage first and refuses writes meanwhile.
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return s.running.WaitUntil(ctx, func(ctx context.Context) error {
		_, err := s.client.Logical().ReadWithContext(ctx, path+"/config")
		return err
	})
}

// EnableAuth mounts an auth method: approle, cert, jwt or kubernetes.
func (s *Server) EnableAuth(ctx context.Context, path, method string) error {
	if err := s.client.Sys().EnableAuthWithOptionsWithContext(ctx, path, &api.EnableAuthOptions{Type: method}); err != nil {
		return fmt.Errorf("enabling auth/%s: %w", path, err)
	}
	return nil
}

// ConfigureKubernetesAuth has an auth method kubernetes ask an API server whose tokens are what. reviewer is a token that may create
// TokenReviews.
func (s *Server) ConfigureKubernetesAuth(ctx context.Context, mount, apiServer string, ca []byte, reviewer string) error {
	_, err := s.Write(ctx, "auth/"+mount+"/config", map[string]any{
		"kubernetes_host": apiServer, "kubernetes_ca_cert": string(ca), "token_reviewer_jwt": reviewer, "disable_local_ca_jwt": true, "disable_iss_validation": true,
	})
	return err
}

// Raw sends a request with the root token and gives status and body, whatever they are.
func (s *Server) Raw(ctx context.Context, method, path string) (int, map[string]any, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.Address()+"/v1/"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-Vault-Token", s.rootToken)
	response, err := s.client.CloneConfig().HttpClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body := map[string]any{}
	if err := json.NewDecoder(io.LimitReader(response.Body, 8<<20)).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return response.StatusCode, nil, err
	}
	return response.StatusCode, body, nil
}
