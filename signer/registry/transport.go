package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Authority is a file of certificates in PEM that TLS connections are verified with,
// besides the system's.
type Authority struct {
	// Host is the only one they are trusted for, "" for all.
	Host string
	File string
}

// transports are the one that is shared by all hosts and those of hosts with
// authorities of their own.
type transports struct {
	guard  *guard
	shared *http.Transport
	own    map[string]*http.Transport
}

func newTransports(options Options, guard *guard) (*transports, error) {
	files := map[string][]string{}
	var problems []error
	for _, authority := range options.Authorities {
		host := ""
		if authority.Host != "" {
			canonical, err := optionHost("registry-ca", authority.Host)
			problems = append(problems, err)
			host = withPort(canonical, "443")
		}
		files[host] = append(files[host], authority.File)
	}
	t := &transports{guard: guard, own: map[string]*http.Transport{}}
	for host, own := range files {
		pool, err := authorities(append(own, files[""]...))
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

// authorities are the system's and those of some files.
func authorities(files []string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading certificate authorities: %w: correct --registry-ca", err)
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("reading certificate authorities: %s holds no certificate in PEM: correct --registry-ca", file)
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
