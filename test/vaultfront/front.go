// Package vaultfront stands between a client and a real Vault, over TLS of its own, and has requests fail as they do in the field: with the
// answers that Vault gives, with those of proxies, with half of one, with none.
//
// What it does not fail it passes on, so that a test has the truth of a Vault and the fault that it wants at once.
package vaultfront

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// Fault says what happens to requests. One with neither Do nor Change lets them pass: Times of them, before the faults that come after it.
type Fault struct {
	// Method and Path (a prefix, without /v1/) choose them; any for "". Times is how often, 0 for until it is cleared.
	Method, Path string
	Times        int
	// Do answers in Vault's place.
	Do http.HandlerFunc
	// Change changes Vault's own answer.
	Change func(*http.Response) error
}

// Request is one that came.
type Request struct {
	Time         time.Time
	Method, Path string
	Namespace    string // X-Vault-Namespace
	Token        string // the SHA-256 of X-Vault-Token, "" for none
}

// Front is a Front.
type Front struct {
	authority *pki.Authority
	proxy     *httputil.ReverseProxy
	address   string

	mu          sync.Mutex
	faults      []*Fault
	requests    []Request
	certificate tls.Certificate
	server      *http.Server          // nil while it is down
	connections map[net.Conn]struct{} // those that are there
}

// New makes one that listens on loopback, with files in dir, before a Vault with an address and an authority (PEM).
func New(dir, upstream string, ca []byte) (*Front, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	f := &Front{connections: map[net.Conn]struct{}{}}
	if f.authority, err = pki.NewAuthority(dir, "front"); err != nil {
		return nil, err
	}
	if err := f.ServeGoodCertificate(); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	f.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64},
		ModifyResponse: f.change,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.address = listener.Addr().String()
	f.serve(listener)
	return f, nil
}

func (f *Front) serve(listener net.Listener) {
	server := &http.Server{
		Handler: http.HandlerFunc(f.handle), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second,
		ConnState: f.keep,
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			return context.WithValue(ctx, connected{}, connection)
		},
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			pair := f.certificate
			return &pair, nil
		}},
	}
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() { _ = server.ServeTLS(listener, "", "") }()
}

// keep knows the connections that are there.
func (f *Front) keep(connection net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch state {
	case http.StateNew:
		f.connections[connection] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(f.connections, connection)
	}
}

// Address is its URL.
func (f *Front) Address() string { return "https://" + f.address }

// CA is the certificate of its authority, PEM.
func (f *Front) CA() []byte {
	held, err := os.ReadFile(f.authority.File)
	if err != nil {
		panic(err) // New has written it
	}
	return held
}

// Close ends it.
func (f *Front) Close() error { return f.Down() }

// Down closes the port: connections are refused until Up.
func (f *Front) Down() error {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.mu.Unlock()
	if server == nil {
		return nil
	}
	return server.Close()
}

// Up listens on the same port again, if it does not.
func (f *Front) Up(ctx context.Context) error {
	f.mu.Lock()
	up := f.server != nil
	f.mu.Unlock()
	if up {
		return nil
	}
	for {
		listener, err := net.Listen("tcp", f.address)
		if err == nil {
			f.serve(listener)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("listening on %s again: %w", f.address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ServeGoodCertificate shows one that clients can verify.
func (f *Front) ServeGoodCertificate() error {
	return f.show(f.authority, time.Now().Add(time.Hour), "127.0.0.1")
}

// ServeExpiredCertificate shows one that ended a minute ago.
func (f *Front) ServeExpiredCertificate() error {
	return f.show(f.authority, time.Now().Add(-time.Minute), "127.0.0.1")
}

// ServeCertificateForAnotherName shows one of the right authority for a name that is not its own.
func (f *Front) ServeCertificateForAnotherName() error {
	return f.show(f.authority, time.Now().Add(time.Hour), "elsewhere.example.com")
}

// ServeCertificateOfAnotherAuthority shows one that nobody knows; dir holds its files.
func (f *Front) ServeCertificateOfAnotherAuthority(dir string) error {
	other, err := pki.NewAuthority(dir, "other")
	if err != nil {
		return err
	}
	return f.show(other, time.Now().Add(time.Hour), "127.0.0.1")
}

// show has new connections see a certificate, and ends those that are there.
func (f *Front) show(authority *pki.Authority, until time.Time, name string) error {
	pair, err := authority.Serving(name, until)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.certificate = pair
	ended := slices.Collect(maps.Keys(f.connections))
	f.mu.Unlock()
	for _, connection := range ended {
		_ = connection.Close() // it may have ended by itself
	}
	return nil
}

// Fail has requests fail, after those faults that were there before.
func (f *Front) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal takes all faults away.
func (f *Front) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Requests are all that came, in order.
func (f *Front) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// Count is how many came with a method ("" for any) and a path that begins so.
func (f *Front) Count(method, prefix string) int { return len(f.times(method, prefix)) }

// Most is the greatest number of them that came within any span of time so long: what a client's limit of its rate is held to.
func (f *Front) Most(method, prefix string, within time.Duration) int {
	times, most, first := f.times(method, prefix), 0, 0
	for last := range times {
		for times[last].Sub(times[first]) >= within {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func (f *Front) times(method, prefix string) []time.Time {
	var times []time.Time
	for _, r := range f.Requests() {
		if (method == "" || r.Method == method) && strings.HasPrefix(r.Path, prefix) {
			times = append(times, r.Time)
		}
	}
	return times
}

// Forget drops what was recorded.
func (f *Front) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = nil
}

// changing is the key of a request's fault in its context, connected that of its connection.
type (
	changing  struct{}
	connected struct{}
)

func (f *Front) handle(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	f.mu.Lock()
	request := Request{Time: time.Now(), Method: r.Method, Path: path, Namespace: r.Header.Get("X-Vault-Namespace")}
	if token := r.Header.Get("X-Vault-Token"); token != "" {
		sum := sha256.Sum256([]byte(token))
		request.Token = hex.EncodeToString(sum[:])
	}
	f.requests = append(f.requests, request)
	fault := f.take(r.Method, path)
	f.mu.Unlock()
	switch {
	case fault == nil || fault.Do == nil && fault.Change == nil:
		f.proxy.ServeHTTP(w, r)
	case fault.Do != nil:
		fault.Do(w, r)
	default:
		f.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), changing{}, fault)))
	}
}

// take finds the fault of a request and counts it. The lock is held.
func (f *Front) take(method, path string) *Fault {
	for n, fault := range f.faults {
		if fault.Method != "" && fault.Method != method || !strings.HasPrefix(path, fault.Path) {
			continue
		}
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.faults = slices.Delete(slices.Clone(f.faults), n, n+1)
			}
		}
		return fault
	}
	return nil
}

func (f *Front) change(response *http.Response) error {
	fault, ok := response.Request.Context().Value(changing{}).(*Fault)
	if !ok {
		return nil
	}
	return fault.Change(response)
}

// Answer answers with a status and a body of JSON.
func Answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Forbidden is what Vault answers to a token whose policies do not allow a request.
func Forbidden() http.HandlerFunc {
	return Answer(http.StatusForbidden, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
}

// Unknown is what Vault answers to a token that it does not know, or no longer.
func Unknown() http.HandlerFunc {
	return Answer(http.StatusForbidden, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`)
}

// Sealed is what a sealed Vault answers.
func Sealed() http.HandlerFunc {
	return Answer(http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`)
}

// Limited is what a quota of Vault's answers.
func Limited(seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		path := strings.TrimPrefix(r.URL.Path, "/v1/")
		body, err := json.Marshal(map[string][]string{"errors": {fmt.Sprintf("request path %q: rate limit quota exceeded", path)}})
		if err != nil {
			panic(err) // strings are always encoded
		}
		Answer(http.StatusTooManyRequests, string(body))(w, r)
	}
}

// Page is what a proxy answers.
func Page(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><body>"+http.StatusText(status)+"</body></html>")
	}
}

// Redirect sends the client elsewhere.
func Redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

// Hang answers when release is closed, and never where the client has gone before.
func Hang(release <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // a client that has gone must not read an answer on its way out
		}
		Answer(http.StatusInternalServerError, `{"errors":["late"]}`)(w, r)
	}
}

// Late passes on Vault's own answer when release is closed: what was asked for has been done, and the client may have gone.
func Late(release <-chan struct{}) func(*http.Response) error {
	return func(response *http.Response) error {
		select {
		case <-release:
		case <-response.Request.Context().Done():
		}
		return nil
	}
}

// Reset breaks the connection without a word, by a TCP reset: with everything that goes on in it.
func Reset() http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		if connection, ok := r.Context().Value(connected{}).(*tls.Conn); ok {
			if tcp, ok := connection.NetConn().(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // closing it then resets it
				_ = tcp.Close()
			}
		}
		panic(http.ErrAbortHandler)
	}
}

// Half passes on half of Vault's answer, under the length of the whole, and breaks off.
func Half(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	response.Body.Close()
	response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
	response.Header.Set("Content-Length", fmt.Sprint(len(body)))
	response.ContentLength = -1 // has the proxy send each piece at once
	return nil
}

// broken ends an answer before its end: the proxy then aborts it.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Garbage answers with something that is no JSON though it says so.
func Garbage() http.HandlerFunc { return Answer(http.StatusOK, `{"data":`+"\x00\xff") }

// Huge answers without an end.
func Huge() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":{"a":"`)
		filling := bytes.Repeat([]byte("a"), 1<<20)
		for range 64 {
			if _, err := w.Write(filling); err != nil || r.Context().Err() != nil {
				return
			}
		}
	}
}
