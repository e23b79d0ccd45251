package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"
)

// Authority is a file of certificates in PEM that TLS connections are verified with,
// besides the system's.
type Authority struct {
	// Host is the only one they are trusted for, "" for all.
	Host string
	File string
	// PEM is what the file would hold, in place of it.
	PEM []byte
	// Only trusts nobody else for the host: neither the system's authorities nor those for all hosts.
	Only bool
}

// transports are the one that is shared by all hosts and those of hosts with
// authorities of their own.
type transports struct {
	guard  *guard
	shared *http.Transport
	own    map[string]*http.Transport
}

func newTransports(options Options, guard *guard) (*transports, error) {
	byHost := map[string][]Authority{}
	var problems []error
	for _, authority := range options.Authorities {
		host := ""
		if authority.Host != "" {
			canonical, err := optionHost("registry-ca", authority.Host)
			problems = append(problems, err)
			host = withPort(canonical, "443")
		}
		byHost[host] = append(byHost[host], authority)
	}
	t := &transports{guard: guard, own: map[string]*http.Transport{}}
	for host, own := range byHost {
		if !slices.ContainsFunc(own, func(a Authority) bool { return a.Only }) {
			own = append(slices.Clone(own), byHost[""]...)
		}
		pool, err := authorities(own)
		problems = append(problems, err)
		t.own[host] = newTransport(options, guard, pool)
	}
	t.shared = t.own[""]
	if t.shared == nil {
		t.shared = newTransport(options, guard, nil)
	}
	delete(t.own, "")
	return t, errors.Join(problems...)
}

// authorities are the system's, unless some are to be the only ones, and those given.
func authorities(given []Authority) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !slices.ContainsFunc(given, func(a Authority) bool { return a.Only }) {
		if system, err := x509.SystemCertPool(); err == nil {
			pool = system
		}
	}
	for _, authority := range given {
		if len(authority.PEM) > 0 {
			if !pool.AppendCertsFromPEM(authority.PEM) {
				return nil, errors.New("reading certificate authorities: there is no certificate in PEM: correct the caBundle")
			}
			continue
		}
		content, err := os.ReadFile(authority.File)
		if err != nil {
			return nil, fmt.Errorf("reading certificate authorities: %w: correct --registry-ca", err)
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("reading certificate authorities: %s holds no certificate in PEM: correct --registry-ca", authority.File)
		}
	}
	return pool, nil
}

func newTransport(options Options, guard *guard, pool *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:     guard.dial,
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		Proxy: func(request *http.Request) (*url.URL, error) {
			proxy, err := options.Proxy(request)
			if err != nil || proxy == nil {
				return nil, err
			}
			guard.proxies.Store(addressOf(proxy), true)
			return proxy, guard.checkProxied(addressOf(request.URL))
		},
		// Bytes are hashed as they came, and what a server compresses it could make explode.
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// roundTrip sends a request with the transport of its host.
func (t *transports) roundTrip(request *http.Request) (*http.Response, error) {
	if own := t.own[addressOf(request.URL)]; own != nil {
		return own.RoundTrip(request)
	}
	return t.shared.RoundTrip(request)
}

// addressOf is "host:port".
func addressOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return withPort(u.Host, "")
	case u.Scheme == "http":
		return withPort(u.Host, "80")
	case u.Scheme == "socks5" || u.Scheme == "socks5h":
		return withPort(u.Host, "1080")
	}
	return withPort(u.Host, "443")
}
