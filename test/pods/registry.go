// Package pods prepares what a real node needs to run Portcullis as its chart has it: images as charts/images builds and signs
// them, in a real registry that both the node and its pods reach.
package pods

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/process"
)

// registryTimeout bounds the start of a registry, which takes a moment.
const registryTimeout = 30 * time.Second

// Registry is Docker's registry, as Debian's package docker-registry has it (distribution 2.8), over TLS.
type Registry struct {
	// Host is what references name: HOST:PORT.
	Host string
	// CAFile is the authority of its certificate.
	CAFile  string
	roots   *x509.CertPool
	running *process.Process
}

// RegistryUnavailable is why no registry can be started here, nil if one can.
func RegistryUnavailable() error {
	if _, err := exec.LookPath("docker-registry"); err != nil {
		return fmt.Errorf("docker-registry is not installed: install the package docker-registry")
	}
	return nil
}

const registryConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
http:
  addr: %s
  tls: {certificate: %q, key: %q}
`

// StartRegistry starts a registry that keeps its data in a folder, on an address of this machine such as [cluster.NodeAddress], with a
// certificate of the cluster's authority, and waits until it answers.
func StartRegistry(ctx context.Context, control *cluster.Cluster, dir, address string) (*Registry, error) {
	r, err := startRegistry(ctx, control, dir, address)
	if err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	return r, nil
}

func startRegistry(ctx context.Context, control *cluster.Cluster, dir, address string) (*Registry, error) {
	if err := RegistryUnavailable(); err != nil {
		return nil, err
	}
	port, err := cluster.FreePort()
	if err != nil {
		return nil, err
	}
	r := &Registry{Host: net.JoinHostPort(address, strconv.Itoa(port)), CAFile: control.CAFile, roots: x509.NewCertPool()}
	pair, err := control.ServingCertificate("registry", address)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, err
	}
	r.roots.AppendCertsFromPEM(authority)
	config := filepath.Join(dir, "registry.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, registryConfig, filepath.Join(dir, "data"), r.Host, pair.CertFile, pair.KeyFile), 0o600); err != nil {
		return nil, err
	}
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, err
	}
	r.running, err = process.Start(process.Command{Name: "docker-registry", Path: program, Args: []string{"serve", config}, LogFile: filepath.Join(dir, "registry.log")})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	if err := r.running.WaitUntil(ctx, r.answers); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

func (r *Registry) answers(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.Host+"/v2/", nil)
	if err != nil {
		return err
	}
	response, err := r.transport().RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (r *Registry) transport() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
}

// Remote has go-containerregistry trust the registry.
func (r *Registry) Remote() remote.Option { return remote.WithTransport(r.transport()) }

// Client reads and writes what is attached to images of the registry.
func (r *Registry) Client() (*registry.Client, error) {
	return registry.New(registry.Options{Allow: []string{r.Host}, Authorities: []registry.Authority{{File: r.CAFile}}})
}

// Stop ends it. What was pushed stays in its folder.
func (r *Registry) Stop() { r.running.Kill() }
