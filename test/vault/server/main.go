// Command server is a real Vault for the tests of Portcullis: one process, one key share, TLS. It is never shipped.
//
// It starts uninitialised on a new storage and sealed on one that is not: whoever starts it initialises and unseals it by its API.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	log "github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/testhelpers/corehelpers"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8200", "`ADDRESS` to serve on")
	certificate := flag.String("tls-cert", "", "`FILE` with the certificate; it is read anew for each connection")
	key := flag.String("tls-key", "", "`FILE` with its key")
	storage := flag.String("storage", "", "`DIR` to keep everything in; none keeps it in memory")
	level := flag.String("log-level", "warn", "trace, debug, info, warn or error")
	flag.Parse()
	if err := serve(*listen, *certificate, *key, *storage, *level); err != nil {
		fmt.Fprintln(os.Stderr, "vault for tests:", err)
		os.Exit(1)
	}
}

func serve(listen, certificate, key, storage, level string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := log.New(&log.LoggerOptions{Name: "vault", Level: log.LevelFromString(level), Output: os.Stderr})
	core, err := newCore(storage, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core: core, ListenerConfig: &configutil.Listener{}, DisablePrintableCheck: true,
		}),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequestClientCert, // the auth method cert verifies it
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				pair, err := tls.LoadX509KeyPair(certificate, key)
				return &pair, err
			},
		},
		ErrorLog: logger.StandardLogger(nil),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ServeTLS(listener, "", ""); err != http.ErrServerClosed {
		return err
	}
	return core.Shutdown()
}

// newCore is a Vault with what the tests use of it. leased-kv gives leases that can be renewed, for secrets with a ttl, without
// a database behind it.
func newCore(storage string, logger log.Logger) (*vault.Core, error) {
	backend, err := newPhysical(storage, logger)
	if err != nil {
		return nil, err
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical: backend, DisableMlock: true, DisableCache: true, Logger: logger,
		BuiltinRegistry: corehelpers.NewMockBuiltinRegistry(), // nil panics at the first mount
		LogicalBackends: map[string]logical.Factory{
			"kv": kv.Factory, "pki": pki.Factory, "transit": transit.Factory, "leased-kv": vault.LeasedPassthroughBackendFactory,
		},
		CredentialBackends: map[string]logical.Factory{
			"approle": approle.Factory, "cert": cert.Factory, "jwt": jwt.Factory, "kubernetes": kubernetes.Factory,
		},
	})
}

func newPhysical(storage string, logger log.Logger) (physical.Backend, error) {
	if storage == "" {
		return inmem.NewInmem(nil, logger)
	}
	return file.NewFileBackend(map[string]string{"path": storage}, logger)
}
