package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Endpoint is a web server that messages are posted to. Secrets are named, never written down: in files, which are read for each
// message, so that they can be changed, or in variables of the environment.
type Endpoint struct {
	// URL is its address, with https unless PlainHTTP is set. Give it by URLFile or URLEnv where it holds a secret, as those of chats do.
	URL     string `json:"url,omitempty"`
	URLFile string `json:"urlFile,omitempty"`
	URLEnv  string `json:"urlEnv,omitempty"`
	// TokenFile or TokenEnv hold a bearer token.
	TokenFile string `json:"tokenFile,omitempty"`
	TokenEnv  string `json:"tokenEnv,omitempty"`
	// Username with PasswordFile or PasswordEnv is for basic authentication.
	Username     string `json:"username,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	PasswordEnv  string `json:"passwordEnv,omitempty"`
	// CAFile holds the authorities in PEM that its certificate may come from, instead of the system's.
	CAFile string `json:"caFile,omitempty"`
	// CertFile and KeyFile are a client certificate in PEM.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// PlainHTTP allows http. What messages say is then open to whoever is on the way.
	PlainHTTP bool `json:"plainHTTP,omitempty"`
}

// Bounds of what receivers answer.
const (
	maxAnswer     = 64 << 10 // bytes that are read, so that the connection can be used again
	maxComplaint  = 200      // runes of an answer that are shown
	maxSecretFile = 1 << 20
)

// secret is a text that lies elsewhere.
type secret struct {
	what, file, value string
}

// read gives the text. A file is read anew each time.
func (s secret) read() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	content, err := readFile(s.file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", s.what, err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "", fmt.Errorf("reading %s: %s is empty", s.what, s.file)
	}
	return text, nil
}

// readFile reads a small file.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(content) > maxSecretFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxSecretFile)
	}
	return content, err
}

// poster posts to one endpoint.
type poster struct {
	endpoint             Endpoint
	url, token, password secret
	client               *http.Client
}

// newPoster checks an endpoint. Secrets in files are read once, so that a mistake is told at the start.
func newPoster(e Endpoint, environment func(string) (string, bool)) (*poster, error) {
	p := &poster{endpoint: e}
	var problems []error
	for _, from := range []struct {
		into              *secret
		what              string
		value, file, name string // plain, in a file, in the environment
	}{
		{&p.url, "url", e.URL, e.URLFile, e.URLEnv}, {&p.token, "token", "", e.TokenFile, e.TokenEnv}, {&p.password, "password", "", e.PasswordFile, e.PasswordEnv},
	} {
		held, err := heldBy(from.what, from.value, from.file, from.name, environment)
		problems = append(problems, err)
		*from.into = held
	}
	hasToken, hasPassword := e.TokenFile+e.TokenEnv != "", e.PasswordFile+e.PasswordEnv != ""
	if e.URL+e.URLFile+e.URLEnv == "" {
		problems = append(problems, errors.New("there is no url: give url, urlFile or urlEnv"))
	}
	if hasPassword != (e.Username != "") {
		problems = append(problems, errors.New("username and a password belong together: give both, or none"))
	}
	if hasToken && hasPassword {
		problems = append(problems, errors.New("a token and a password contradict each other: leave one out"))
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		problems = append(problems, errors.New("certFile and keyFile belong together: give both, or none"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if _, err := p.address(); err != nil {
		return nil, err
	}
	var err error
	p.client, err = newClient(e)
	return p, err
}

// heldBy is a text that is given in one of three ways.
func heldBy(what, value, file, variable string, environment func(string) (string, bool)) (secret, error) {
	given := 0
	for _, way := range []string{value, file, variable} {
		if way != "" {
			given++
		}
	}
	if given > 1 {
		return secret{}, fmt.Errorf("%s is given in several ways: leave all but one out", what)
	}
	held := secret{what: what, file: file, value: value}
	if variable != "" {
		text, ok := environment(variable)
		if !ok || text == "" {
			return secret{}, fmt.Errorf("reading %s: the variable %s is not set: set it, or use %sFile", what, variable, what)
		}
		held.value = text
	}
	_, err := held.read()
	return held, err
}

// address is where to post to now. Its errors do not show it: it may hold a secret.
func (p *poster) address() (*url.URL, error) {
	text, err := p.url.read()
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(text)
	switch {
	case err != nil, address.Host == "", address.Scheme != "http" && address.Scheme != "https":
		return nil, errors.New("url is no address: give https://HOST/PATH")
	case address.Scheme == "http" && !p.endpoint.PlainHTTP:
		return nil, fmt.Errorf("url is not encrypted: use https for %s, or allow it with plainHTTP: true", address.Host)
	case address.User != nil:
		return nil, errors.New("url has a user: use username with passwordFile or passwordEnv")
	}
	return address, nil
}

// newClient makes a client for an endpoint. It follows no redirect: what it sends, and how it shows who it is, is for this address.
func newClient(e Endpoint) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.ResponseHeaderTimeout = sendTimeout
	transport.MaxResponseHeaderBytes = maxAnswer
	if e.CAFile != "" {
		content, err := readFile(e.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading caFile: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("reading caFile: %s holds no certificate in PEM", e.CAFile)
		}
	}
	if e.CertFile != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile) // anew for each connection: certificates are renewed
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, fmt.Errorf("reading certFile and keyFile: %w", err)
		}
		transport.TLSClientConfig.GetClientCertificate = load
	}
	return &http.Client{Transport: transport, Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// post sends a body below the endpoint's address.
func (p *poster) post(ctx context.Context, path string, header http.Header, body []byte) error {
	address, err := p.address()
	if err != nil {
		return err
	}
	if path != "" {
		address = address.JoinPath(path)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("url is no address: give https://HOST/PATH")
	}
	request.Header = header
	request.Header.Set("User-Agent", "portcullis-responder")
	if err := p.authorise(request); err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return fmt.Errorf("posting to %s: %w", address.Host, withoutAddress(err))
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // what it says is for people only
	return accepted(response, answer, address.Host)
}

func (p *poster) authorise(request *http.Request) error {
	token, err := p.token.read()
	if err != nil {
		return err
	}
	password, err := p.password.read()
	if err != nil {
		return err
	}
	switch {
	case token != "":
		request.Header.Set("Authorization", "Bearer "+token)
	case p.endpoint.Username != "":
		request.SetBasicAuth(p.endpoint.Username, password)
	}
	return nil
}

// withoutAddress is what went wrong without the address, which may hold a secret.
func withoutAddress(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// accepted says whether a receiver has taken a message. What it will never take is refused; that it does not know us, or has moved, can be
// mended, and it is asked again.
func accepted(response *http.Response, answer []byte, host string) error {
	complaint := safe(string(answer), maxComplaint)
	if complaint != "" {
		complaint = ": " + complaint
	}
	switch code := response.StatusCode; {
	case code/100 == 2:
		return nil
	case code/100 == 3:
		return fmt.Errorf("posting to %s: it redirects (%s), which is not followed: give the address where it is", host, response.Status)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return fmt.Errorf("posting to %s: it says %s%s: %w", host, response.Status, complaint, ErrRefused)
	default:
		err := fmt.Errorf("posting to %s: it says %s%s", host, response.Status, complaint)
		if after := retryAfter(response.Header.Get("Retry-After"), time.Now()); after > 0 {
			return &RetryError{After: after, Err: err}
		}
		return err
	}
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, section 10.2.3); 0 where it says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

func (p *poster) close() { p.client.CloseIdleConnections() }
