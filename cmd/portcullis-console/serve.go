package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/live"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/session"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/web"
)

// Bounds of connections.
const (
	readTimeout    = 15 * time.Second
	writeTimeout   = time.Minute // a stream moves it on
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	drainGrace     = 5 * time.Second
)

// serve answers browsers until ctx ends.
func (f *flags) serve(ctx context.Context, stdout io.Writer, logger *slog.Logger) error {
	if err := f.check(); err != nil {
		return err
	}
	reached, err := f.cluster()
	if err != nil {
		return err
	}
	source, err := f.source()
	if err != nil {
		return err
	}
	tlsConfig, err := f.tls(ctx, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listening for browsers: %w: choose another address with --listen", err)
	}
	defer listener.Close() // where something below fails: serving closes it, too
	secure := tlsConfig != nil
	cookies := session.NewCookies(secure, f.sessionLifetime, time.Now)
	options := web.Options{
		Cluster: reached, Live: source, Cookies: cookies, Limits: session.NewLimits(time.Now), Hosts: f.allowed(listener.Addr(), secure), Secure: secure, Now: time.Now, Logger: logger,
	}
	if options.OIDC, err = f.oidc(cookies); err != nil {
		return err
	}
	base := address(listener.Addr(), secure)
	if f.kubeconfig != "" {
		options.Once = session.NewOnce(time.Now)
		fmt.Fprintf(stdout, "Open %s/login/once/%s (it works once, within %s).\n", base, options.Once.Code(), session.OnceLifetime)
	} else {
		fmt.Fprintf(stdout, "Serving the console at %s\n", base)
	}
	site, err := web.New(options)
	if err != nil {
		return fmt.Errorf("reading the pages: %w", err)
	}
	return serveUntil(ctx, site, listener, tlsConfig, logger)
}

func serveUntil(ctx context.Context, site http.Handler, listener net.Listener, tlsConfig *tls.Config, logger *slog.Logger) error {
	base, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	server := &http.Server{
		Handler: site, TLSConfig: tlsConfig, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return base },
	}
	ended := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	logger.Info("serving", "address", listener.Addr().String(), "tls", tlsConfig != nil)
	select {
	case err := <-ended:
		return fmt.Errorf("serving browsers: %w", err)
	case <-ctx.Done():
	}
	endStreams()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close()
	}
	return nil
}

// address is where people find the console.
func address(at net.Addr, secure bool) string {
	if secure {
		return "https://" + at.String()
	}
	return "http://" + at.String()
}

// allowed are the hosts that browsers may call the console by; nil is any.
func (f *flags) allowed(at net.Addr, secure bool) []string {
	if len(f.hosts) > 0 {
		return f.hosts
	}
	if secure && f.kubeconfig == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return []string{at.String()}
	}
	return []string{at.String(), "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
}

// cluster is how the API server is reached. Nothing of the console's own service account is sent to it.
func (f *flags) cluster() (*kube.Cluster, error) {
	if f.kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("reading the kubeconfig %s: %w: correct --kubeconfig", f.kubeconfig, err)
		}
		return kube.NewOwn(config)
	}
	if f.apiServer != "" {
		config := &rest.Config{Host: f.apiServer}
		if f.apiServerCA != "" {
			if _, err := pool(f.apiServerCA); err != nil {
				return nil, fmt.Errorf("%w: correct --api-server-ca", err)
			}
			config.CAFile = f.apiServerCA
		}
		return kube.New(config)
	}
	host, port, inside := inCluster()
	if !inside {
		return nil, usage.Errorf("there is no cluster to show: give --kubeconfig, or --api-server where people bring tokens")
	}
	authorities := cmp.Or(f.apiServerCA, mountedCA)
	if _, err := pool(authorities); err != nil {
		return nil, fmt.Errorf("%w: mount the ConfigMap kube-root-ca.crt and name its ca.crt by --api-server-ca", err)
	}
	return kube.New(&rest.Config{Host: "https://" + net.JoinHostPort(host, port), TLSClientConfig: rest.TLSClientConfig{CAFile: authorities}})
}

// mountedCA is where Kubernetes mounts the authorities of its API server, beside a token that is not read.
const mountedCA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

// inCluster is where Kubernetes says that its API server is, to each container.
func inCluster() (host, port string, inside bool) {
	host, port = os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	return host, port, host != "" && port != ""
}

// pool reads authorities.
func pool(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("reading authorities: %s holds no certificate in PEM", file)
	}
	return authorities, nil
}

// source is where decisions come from. The file is read at each new connection: authorities change.
func (f *flags) source() (*live.Source, error) {
	service, err := f.service()
	if err != nil {
		return nil, err
	}
	if f.webhookCA == "" {
		return live.New(service, nil, nil), nil
	}
	if _, err := pool(f.webhookCA); err != nil {
		return nil, fmt.Errorf("%w: correct --webhook-ca", err)
	}
	return live.New(service, f.webhookURLs, func() (*x509.CertPool, error) { return pool(f.webhookCA) }), nil
}

// tls serves the certificate of the files, nil for none.
func (f *flags) tls(ctx context.Context, logger *slog.Logger) (*tls.Config, error) {
	if f.tlsCert == "" {
		return nil, nil
	}
	files, err := certificate.NewFiles(f.tlsCert, f.tlsKey, nil, logger)
	if err != nil {
		return nil, usage.Correct("--tls-cert and --tls-key", err)
	}
	go files.Run(ctx)
	return &tls.Config{GetCertificate: files.GetCertificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// oidc is the issuer, nil for none.
func (f *flags) oidc(cookies *session.Cookies) (*session.OIDC, error) {
	if f.oidcIssuer == "" {
		return nil, nil
	}
	options := session.OIDCOptions{Issuer: f.oidcIssuer, ClientID: f.oidcClient, RedirectURL: f.oidcRedirect, Scopes: f.oidcScopes}
	if f.oidcSecret != "" {
		content, err := os.ReadFile(f.oidcSecret)
		if err != nil {
			return nil, fmt.Errorf("reading the client's secret: %w: correct --oidc-client-secret-file", err)
		}
		options.ClientSecret = strings.TrimSpace(string(content))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if f.oidcCA != "" {
		authorities, err := pool(f.oidcCA)
		if err != nil {
			return nil, fmt.Errorf("%w: correct --oidc-ca", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	}
	options.Client = &http.Client{Transport: transport, Timeout: readTimeout}
	return session.NewOIDC(options, cookies), nil
}
