package main

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/live"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/session"
)

// flags are those of serve.
type flags struct {
	kubeconfig, apiServer, apiServerCA               string
	listen                                           string
	tlsCert, tlsKey                                  string
	hosts                                            []string
	webhook, webhookCA                               string
	webhookURLs                                      []string
	sessionLifetime                                  time.Duration
	oidcIssuer, oidcClient, oidcSecret, oidcRedirect string
	oidcCA                                           string
	oidcScopes                                       []string
	logLevel                                         slog.Level
}

// defaultListen is where the console is on a workstation.
const defaultListen = "127.0.0.1:8444"

func (f *flags) register(set *pflag.FlagSet) {
	set.SortFlags = false
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "act as this kubeconfig `file` says, for one person on this machine; by default everybody brings a token")
	set.StringVar(&f.apiServer, "api-server", "", "https `URL` of the API server, outside a cluster; with --api-server-ca")
	set.StringVar(&f.apiServerCA, "api-server-ca", "", "PEM `file` of the authorities of the API server's certificate; in a cluster by default that of the service account")
	set.StringVar(&f.listen, "listen", defaultListen, "`address` for browsers; anything but a loopback address needs --tls-cert")
	set.StringVar(&f.tlsCert, "tls-cert", "", "serving certificate `file`, watched for changes; with --tls-key")
	set.StringVar(&f.tlsKey, "tls-key", "", "serving key `file`, watched for changes")
	set.StringSliceVar(&f.hosts, "host", nil, "`names` by which browsers call the console, with the port unless it is 443; by default any with TLS, and without those of loopback")
	set.StringVar(&f.webhook, "webhook-service", defaultNamespace+"/portcullis-webhook", "Service of the webhook: `namespace/name[:port]`; the port is that of its EndpointSlices by default")
	set.StringVar(&f.webhookCA, "webhook-ca", "", "PEM `file` of the authorities of the webhook's certificate, read anew when it changes; without it decisions are not shown live")
	set.StringSliceVar(&f.webhookURLs, "webhook-url", nil, "https `URLs` of replicas of the webhook, instead of what its EndpointSlices say: where a port is forwarded")
	set.DurationVar(&f.sessionLifetime, "session-lifetime", session.DefaultLifetime, "longest `time` of a session; a token that expires earlier ends it earlier")
	set.StringVar(&f.oidcIssuer, "oidc-issuer", "", "https `URL` of an OpenID Connect issuer whose ID tokens the API server takes")
	set.StringVar(&f.oidcClient, "oidc-client-id", "", "`id` of the client that the API server takes as audience")
	set.StringVar(&f.oidcSecret, "oidc-client-secret-file", "", "`file` with the client's secret; none for a public client")
	set.StringVar(&f.oidcRedirect, "oidc-redirect", "", "`URL` of the console's /login/oidc/callback as the issuer knows it")
	set.StringVar(&f.oidcCA, "oidc-ca", "", "PEM `file` of the authorities of the issuer's certificate, instead of the system's")
	set.StringSliceVar(&f.oidcScopes, "oidc-scope", nil, "further `scopes` beside openid, as email or groups")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
}

// check finds flags that contradict each other, before anything is read.
func (f *flags) check() error {
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return usage.Errorf("--listen is %q: give host:port or :port", f.listen)
	}
	local := isLoopback(host)
	_, _, inside := inCluster()
	switch {
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usage.Errorf("--tls-cert and --tls-key belong together: give both or neither")
	case f.tlsCert == "" && !local:
		return usage.Errorf("--listen is %s, and tokens must not cross a network in the open: give --tls-cert and --tls-key, or a loopback address such as %s", f.listen, defaultListen)
	case f.kubeconfig != "" && !local:
		return usage.Errorf("--kubeconfig is for one person on this machine, and --listen is %s: listen on a loopback address such as %s", f.listen, defaultListen)
	case f.kubeconfig != "" && f.apiServer != "":
		return usage.Errorf("--kubeconfig and --api-server contradict each other: leave one out")
	case f.kubeconfig != "" && f.oidcIssuer != "":
		return usage.Errorf("with --kubeconfig nobody logs in: leave out --oidc-issuer")
	case f.apiServerCA != "" && f.apiServer == "" && (f.kubeconfig != "" || !inside):
		return usage.Errorf("--api-server-ca is for --api-server, or for the API server of the cluster that it runs in: give --api-server, too")
	case f.apiServer != "" && !isHTTPS(f.apiServer):
		return usage.Errorf("--api-server is %q: give an https URL", f.apiServer)
	case f.sessionLifetime < time.Minute || f.sessionLifetime > 7*24*time.Hour:
		return usage.Errorf("--session-lifetime is %s: give a time from 1m to 168h", f.sessionLifetime)
	case len(f.webhookURLs) > 0 && f.webhookCA == "":
		return usage.Errorf("tokens are sent to nobody who is not known: give --webhook-ca for --webhook-url")
	}
	for _, one := range f.webhookURLs {
		if !isHTTPS(one) {
			return usage.Errorf("--webhook-url is %q: give an https URL", one)
		}
	}
	if _, err := f.service(); err != nil {
		return err
	}
	return f.checkOIDC()
}

func (f *flags) checkOIDC() error {
	switch {
	case f.oidcIssuer == "" && (f.oidcClient != "" || f.oidcSecret != "" || f.oidcRedirect != "" || f.oidcCA != "" || len(f.oidcScopes) > 0):
		return usage.Errorf("there is no issuer to log in by: give --oidc-issuer")
	case f.oidcIssuer == "":
		return nil
	case !isHTTPS(f.oidcIssuer):
		return usage.Errorf("--oidc-issuer is %q: give an https URL", f.oidcIssuer)
	case f.oidcClient == "":
		return usage.Errorf("the issuer must know who asks: give --oidc-client-id")
	}
	redirect, err := url.Parse(f.oidcRedirect)
	if err != nil || redirect.Path != callbackPath || redirect.Host == "" || redirect.Scheme != "https" && !(redirect.Scheme == "http" && isLoopback(redirect.Hostname())) {
		return usage.Errorf("--oidc-redirect is %q: give the https URL of this console that ends with %s", f.oidcRedirect, callbackPath)
	}
	return nil
}

// callbackPath is where the issuer leads back to.
const callbackPath = "/login/oidc/callback"

func isHTTPS(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && parsed.Scheme == "https" && parsed.Host != "" && parsed.User == nil && parsed.RawQuery == "" && parsed.Fragment == ""
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// service is that of the webhook.
func (f *flags) service() (live.Service, error) {
	where, portText, hasPort := strings.Cut(f.webhook, ":")
	namespace, name, ok := strings.Cut(where, "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return live.Service{}, usage.Errorf("--webhook-service is %q: give namespace/name or namespace/name:port", f.webhook)
	}
	if err := program.CheckNamespace("--webhook-service", namespace); err != nil {
		return live.Service{}, err
	}
	service := live.Service{Namespace: namespace, Name: name}
	if hasPort {
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return live.Service{}, usage.Errorf("--webhook-service is %q: the port is no number from 1 to 65535", f.webhook)
		}
		service.Port = int32(port)
	}
	return service, nil
}
