package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// maxBody bounds an answer, 8 MiB: a secret of Kubernetes holds one.
const maxBody = 8 << 20

// maxTimeout is the longest that one request may take.
const maxTimeout = time.Minute

// CheckConnection says what is wrong with a VaultConnection: an address that is not https (http is taken on loopback only), or more
// than scheme, host and port; roots that are no certificates; a timeout over a minute. The error is of the reason Misconfigured.
func CheckConnection(spec *v1alpha1.VaultConnectionSpec) error {
	_, _, err := parse(spec)
	return err
}

func parse(spec *v1alpha1.VaultConnectionSpec) (*url.URL, *x509.CertPool, error) {
	address, err := url.Parse(spec.Address)
	if err != nil || address.Host == "" {
		return nil, nil, misconfigured("spec.address is no URL: write https://HOST:PORT")
	}
	switch {
	case address.Scheme == "http" && loopback(address.Hostname()):
	case address.Scheme != "https":
		return nil, nil, misconfigured("spec.address is not https: tokens and secrets would cross the network in the clear")
	}
	if strings.Trim(address.Path, "/") != "" || address.RawQuery != "" || address.Fragment != "" || address.User != nil {
		return nil, nil, misconfigured("spec.address holds more than scheme, host and port: write https://HOST:PORT")
	}
	if strings.ContainsAny(spec.VaultNamespace, "\r\n\x00") {
		return nil, nil, misconfigured("spec.vaultNamespace holds control characters")
	}
	if spec.Timeout != nil && (spec.Timeout.Duration < 0 || spec.Timeout.Duration > maxTimeout) {
		return nil, nil, misconfigured("spec.timeout is over %s: a request that takes longer has failed", maxTimeout)
	}
	if spec.CABundle == "" {
		return address, nil, nil // those of the system
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(spec.CABundle)) {
		return nil, nil, misconfigured("spec.caBundle holds no certificate: give the authority of Vault's certificate as PEM")
	}
	return address, roots, nil
}

func misconfigured(format string, args ...any) error {
	return &secrets.Error{Reason: secrets.Misconfigured, Message: fmt.Sprintf(format, args...)}
}

func loopback(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}

// connection is a Vault as it is reached: one for each state of a VaultConnection.
type connection struct {
	name, key, scheme, host, namespace, agent string

	timeout   time.Duration
	bucket    *rate.Limiter
	transport *http.Transport
	client    *http.Client
}

func newConnection(object *v1alpha1.VaultConnection, agent string) (*connection, error) {
	object = object.Defaulted()
	address, roots, err := parse(&object.Spec)
	if err != nil {
		return nil, err
	}
	c := &connection{
		name: object.Name, key: keyOf(object.Name, string(object.UID), object.Generation), scheme: address.Scheme, host: address.Host, namespace: object.Spec.VaultNamespace, agent: agent,
		timeout: object.Spec.Timeout.Duration, bucket: rate.NewLimiter(rate.Limit(object.Spec.RequestsPerSecond), int(object.Spec.Burst)),
	}
	c.transport = newTransport(roots, object.Spec.TLSServerName, nil)
	c.client = newHTTPClient(c.transport)
	return c, nil
}

// certified is the connection with a client certificate, which is shown in each handshake.
func (c *connection) certified(certificate *tls.Certificate) *connection {
	other := *c
	other.transport = newTransport(c.transport.TLSClientConfig.RootCAs, c.transport.TLSClientConfig.ServerName, certificate)
	other.client = newHTTPClient(other.transport)
	return &other
}

func newTransport(roots *x509.CertPool, serverName string, certificate *tls.Certificate) *http.Transport {
	config := &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	return &http.Transport{
		// Nothing of the environment counts but a proxy, which cannot read what crosses it.
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConns: 16, MaxIdleConnsPerHost: 16, MaxConnsPerHost: 64,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func newHTTPClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: bounded{transport},
		// A redirect would carry the token to whoever answers: a standby that redirects is to be reached by its load balancer, or forwards.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts answers that are too large.
type bounded struct {
	http.RoundTripper
}

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := tracing.RoundTrip("vault", b.RoundTripper, request)
	if err == nil {
		response.Body = &boundedBody{response.Body, maxBody}
	}
	return response, err
}

var errTooLarge = errors.New("the answer is too large")

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
