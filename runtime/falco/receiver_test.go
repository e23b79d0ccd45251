package falco

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const secret = "a-secret-of-thirty-two-characters"

// site is a receiver that is served over TLS, as a responder has it.
type site struct {
	t         testing.TB
	authority *pki.Authority
	queue     *Queue
	refused   *DeadLetters
	metrics   *Metrics
	address   string
	server    string // the file of its certificate
}

// newSite serves until the test ends. change may change the options.
func newSite(t testing.TB, change func(*Options)) *site {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.NewAuthority(dir, "authority")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("responder")
	if err != nil {
		t.Fatal(err)
	}
	cas, err := certificate.NewAuthorities(authority.File, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, authority: authority, metrics: NewMetrics(), server: pair.CertFile}
	s.queue = openQueue(t, QueueOptions{Metrics: s.metrics})
	if s.refused, err = OpenDeadLetters(filepath.Join(dir, "refused")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.refused.Close() })
	o := Options{Queue: s.queue, ClientCAs: cas.Pool, Senders: []string{"falcosidekick"}, Refused: s.refused}
	if change != nil {
		change(&o)
	}
	receiver, err := NewReceiver(o)
	if err != nil {
		t.Fatal(err)
	}
	server := receiver.Server(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		loaded, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		return &loaded, err
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	go func() { _ = server.ServeTLS(Limit(listener, 0), "", "") }()
	t.Cleanup(func() { server.Close() })
	return s
}

// client has a certificate of the site's authority for a name, "" for none.
func (s *site) client(name string) *http.Client {
	s.t.Helper()
	if name == "" {
		return s.with()
	}
	pair, err := s.authority.Issue(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.with(pair)
}

// with is a client that shows these certificates.
func (s *site) with(pairs ...pki.Pair) *http.Client {
	s.t.Helper()
	ca, err := os.ReadFile(s.authority.File)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: pool}
	for _, pair := range pairs {
		loaded, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		if err != nil {
			s.t.Fatal(err)
		}
		// Whatever authorities a server names: a sender shows what it has.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &loaded, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// post sends an event as Falco does and gives the answer.
func (s *site) post(client *http.Client, path string, body []byte) (status int, text string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "https://"+s.address+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "falcosecurity/falco")
	return s.send(client, request)
}

func (s *site) send(client *http.Client, request *http.Request) (status int, text string) {
	s.t.Helper()
	answer, err := client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(read)
}

func (s *site) counted(reason string) float64 {
	return testutil.ToFloat64(s.metrics.refused.WithLabelValues(reason))
}

func TestAnEventIsKeptBeforeItIsAnswered(t *testing.T) {
	s := newSite(t, nil)
	node, sidekick := s.client("system:node:node-a"), s.client("falcosidekick")
	for _, send := range []struct {
		client *http.Client
		path   string
		name   string
		sender string
	}{{node, Path, "full", "node-a"}, {sidekick, "/", "falcosidekick", ""}, {sidekick, Path, "k8s-audit", ""}} {
		if status, text := s.post(send.client, send.path, sample(t, send.name)); status != http.StatusOK {
			t.Fatalf("%s: got %d %s, want 200", send.name, status, text)
		}
		waiting := s.queue.Status()
		if waiting.Lanes["urgent"].Waiting+waiting.Lanes["ordinary"].Waiting != 1 {
			t.Fatalf("%s: got %+v, want the event waiting when it is answered", send.name, waiting)
		}
		item := take(t, s.queue)
		if got := item.Message.Event; got.Sender != send.sender || got.ID != decoded(t, send.name).ID {
			t.Errorf("%s: got %+v, want the event, of the sender %q", send.name, got, send.sender)
		}
		item.Done()
	}
	if status, _ := s.post(node, Path, sample(t, "metrics-snapshot")); status != http.StatusOK {
		t.Errorf("got %d for health, want 200", status)
	}
	wantEmpty(t, s.queue)
	if got := testutil.ToFloat64(s.metrics.sensorTotals.WithLabelValues("node-a", "kernel")); got != 1234 {
		t.Errorf("got %v drops of the node that the certificate is for, want 1234", got)
	}
}

// TestNobodyElseCanSendEvents: other engines listen on plain HTTP and believe anybody who names a pod.
func TestNobodyElseCanSendEvents(t *testing.T) {
	s := newSite(t, nil)
	other, err := pki.NewAuthority(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.Issue("system:node:node-a")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client *http.Client
		status int
		reason string
		text   string
	}{
		"without a certificate":                         {s.client(""), http.StatusUnauthorized, ReasonCertificate, "set mtls, client_cert and client_key"},
		"with a certificate that somebody else signed":  {s.with(forged), http.StatusUnauthorized, ReasonCertificate, "not trusted"},
		"with a certificate of nobody who may send":     {s.client("ann"), http.StatusForbidden, ReasonSender, "add its name to the responder's senders"},
		"with a certificate of a node without its name": {s.client("system:node:"), http.StatusForbidden, ReasonSender, "for no node"},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.counted(c.reason)
			status, text := s.post(c.client, Path, sample(t, "full"))
			if status != c.status || !strings.Contains(text, c.text) {
				t.Errorf("got %d %q, want %d and %q", status, text, c.status, c.text)
			}
			if got := s.counted(c.reason); got != before+1 {
				t.Errorf("got %v refused for %s, want one more than %v", got, c.reason, before)
			}
		})
	}
	wantEmpty(t, s.queue)
	if plain, err := http.Post("http://"+s.address+Path, "application/json", bytes.NewReader(sample(t, "full"))); err == nil {
		plain.Body.Close()
		if plain.StatusCode == http.StatusOK {
			t.Error("got 200 over plain HTTP")
		}
	}
	wantEmpty(t, s.queue)
}

func TestACertificateSaysWhichNodeItIsFor(t *testing.T) {
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, c := range map[string]struct {
		common string
		uris   []*url.URL
		want   string
	}{
		"as kubelets have it":               {"system:node:node-a", nil, "node-a"},
		"by a URI":                          {"falco", []*url.URL{uri("spiffe://cluster.local/node/node-a")}, "node-a"},
		"by both":                           {"system:node:node-a", []*url.URL{uri("spiffe://cluster.local/node/node-a")}, "node-a"},
		"by other URIs, too":                {"", []*url.URL{uri("spiffe://cluster.local/ns/falco/sa/falco"), uri("spiffe://cluster.local/node/node-a")}, "node-a"},
		"for two nodes":                     {"system:node:node-a", []*url.URL{uri("spiffe://cluster.local/node/node-b")}, ""},
		"for two nodes by URIs":             {"", []*url.URL{uri("spiffe://c/node/node-a"), uri("spiffe://c/node/node-b")}, ""},
		"for somebody":                      {"ann", nil, ""},
		"for a node without a name":         {"system:node:", nil, ""},
		"by a URI of another kind":          {"", []*url.URL{uri("https://cluster.local/node/node-a")}, ""},
		"by a URI with more behind":         {"", []*url.URL{uri("spiffe://cluster.local/node/node-a/pod")}, ""},
		"with the words somewhere else":     {"ann system:node:node-a", nil, ""},
		"for nobody":                        {"", nil, ""},
		"by a URI without the node's name":  {"", []*url.URL{uri("spiffe://cluster.local/node/")}, ""},
		"by a URI, and a name without node": {"system:node:", []*url.URL{uri("spiffe://cluster.local/node/node-a")}, "node-a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ClientNode(&x509.Certificate{Subject: pkix.Name{CommonName: c.common}, URIs: c.uris}); got != c.want {
				t.Errorf("got the node %q, want %q", got, c.want)
			}
		})
	}
}

func TestWhatIsNoEventIsRefusedAndKept(t *testing.T) {
	s := newSite(t, nil)
	client := s.client("system:node:node-a")
	request := func(method, path, contentType, encoding string, body io.Reader) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.address+path, body)
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		return r
	}
	const plain = "application/json"
	good := func() io.Reader { return bytes.NewReader(sample(t, "full")) }
	huge := strings.Repeat(" ", MaxBody+1)
	for name, c := range map[string]struct {
		request *http.Request
		status  int
		reason  string
	}{
		"another method":                      {request(http.MethodGet, Path, "", "", nil), http.StatusMethodNotAllowed, ReasonMethod},
		"PUT":                                 {request(http.MethodPut, Path, plain, "", good()), http.StatusMethodNotAllowed, ReasonMethod},
		"another path":                        {request(http.MethodPost, "/v1/other", plain, "", good()), http.StatusNotFound, ReasonPath},
		"text, as without json_output":        {request(http.MethodPost, Path, "text/plain", "", good()), http.StatusUnsupportedMediaType, ReasonContentType},
		"another character set":               {request(http.MethodPost, Path, plain+"; charset=latin1", "", good()), http.StatusUnsupportedMediaType, ReasonContentType},
		"a compressed body":                   {request(http.MethodPost, Path, plain, "gzip", good()), http.StatusUnsupportedMediaType, ReasonContentType},
		"more bytes than are read":            {request(http.MethodPost, Path, plain, "", strings.NewReader(huge)), http.StatusRequestEntityTooLarge, ReasonTooLarge},
		"more bytes, without saying so":       {request(http.MethodPost, Path, plain, "", io.MultiReader(strings.NewReader(huge))), http.StatusRequestEntityTooLarge, ReasonTooLarge},
		"no JSON":                             {request(http.MethodPost, Path, plain, "", strings.NewReader("password=hunter2-hunter2 "+strings.Repeat("y", 5000))), http.StatusBadRequest, ReasonSyntax},
		"bytes that are no UTF-8":             {request(http.MethodPost, Path, plain, "", strings.NewReader("{\"rule\":\"\xff\"}")), http.StatusBadRequest, ReasonEncoding},
		"nothing":                             {request(http.MethodPost, Path, plain, "", nil), http.StatusBadRequest, ReasonSyntax},
		"an event without a type is an event": {request(http.MethodPost, Path, "", "", good()), http.StatusOK, ""},
		"JSON with a character set":           {request(http.MethodPost, Path, plain+"; charset=UTF-8", "", good()), http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.counted(c.reason)
			status, text := s.send(client, c.request)
			if status != c.status {
				t.Fatalf("got %d %q, want %d", status, text, c.status)
			}
			if c.reason == "" {
				return
			}
			if got := s.counted(c.reason); got != before+1 || text == "" {
				t.Errorf("got %v refused for %s and the answer %q, want one more than %v and a reason", got, c.reason, text, before)
			}
		})
	}
	take(t, s.queue).Done()
	wantEmpty(t, s.queue)
	letters, err := os.ReadFile(s.refused.path)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]DeadLetter{}
	for line := range strings.Lines(string(letters)) {
		var letter DeadLetter
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			t.Fatal(err)
		}
		kept[letter.Reason] = letter
		if letter.Sender != "system:node:node-a" || len(letter.Body) > maxExcerpt+10 || letter.Error == "" || letter.Remote == "" {
			t.Errorf("got %+v, want who sent it, why it was refused and an excerpt", letter)
		}
	}
	if len(kept) != 3 || kept[ReasonEncoding].Body == "" || kept[ReasonTooLarge].Bytes != MaxBody {
		t.Errorf("got %d reasons among the refused, want syntax, encoding and too_large", len(kept))
	}
	if strings.Contains(string(letters), "hunter2") {
		t.Error("got a password among the refused")
	}
}

func TestTheSecretPath(t *testing.T) {
	s := newSite(t, func(o *Options) { o.ClientCAs, o.SecretPath = nil, secret })
	client := s.client("")
	for path, want := range map[string]int{
		"/" + secret + Path: http.StatusOK, "/" + secret: http.StatusOK, "/" + secret + "/": http.StatusOK,
		"/": http.StatusNotFound, Path: http.StatusNotFound, "/" + secret + "x" + Path: http.StatusNotFound, "/" + secret[1:] + Path: http.StatusNotFound,
		"/" + secret + "/other": http.StatusNotFound,
	} {
		if status, text := s.post(client, path, sample(t, "full")); status != want {
			t.Errorf("%s: got %d %q, want %d", path, status, text, want)
		}
	}
	if item := take(t, s.queue); item.Message.Event.Sender != "" {
		t.Errorf("got the sender %q, want none: a secret speaks for no node", item.Message.Event.Sender)
	}
}

func TestAReceiverThatBelievesAnybodyIsNotMade(t *testing.T) {
	q := openQueue(t, QueueOptions{})
	pool := func() *x509.CertPool { return x509.NewCertPool() }
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"without a queue":                      {Options{SecretPath: secret}, "no queue"},
		"without certificates and without one": {Options{Queue: q}, "anybody could send"},
		"with both":                            {Options{Queue: q, ClientCAs: pool, SecretPath: secret}, "choose one"},
		"with a short secret":                  {Options{Queue: q, SecretPath: "short"}, "at least 32"},
		"with a secret that cannot be sent":    {Options{Queue: q, SecretPath: secret + "/%"}, "other characters"},
	} {
		if _, err := NewReceiver(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	r, err := NewReceiver(Options{Queue: q, ClientCAs: func() *x509.CertPool { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.senders.verify([]*x509.Certificate{{Raw: []byte("x")}}); err == nil {
		t.Error("got a certificate verified while there is no CA")
	}
}

// TestCertificatesReload: connections last for weeks, certificates do not.
func TestCertificatesReload(t *testing.T) {
	now := time.Now()
	authority := func() *pki.Authority {
		made, err := pki.NewAuthority(t.TempDir(), "senders")
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	first, second := authority(), authority()
	file := filepath.Join(t.TempDir(), "ca.crt")
	trust := func(a *pki.Authority) {
		content, err := os.ReadFile(a.File)
		if err == nil {
			err = os.WriteFile(file, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	trust(second)
	cas, err := certificate.NewAuthorities(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(o *Options) { o.ClientCAs, o.Now = cas.Pool, func() time.Time { return now } })
	pair, err := first.Issue("system:node:node-a")
	if err != nil {
		t.Fatal(err)
	}
	client := s.with(pair) // with one connection
	for _, step := range []struct {
		what  string
		trust *pki.Authority
		later time.Duration
		want  int
	}{
		{"before its CA is trusted", second, 0, http.StatusUnauthorized},
		{"when its CA is trusted", first, 0, http.StatusOK},
		{"again", first, time.Hour, http.StatusOK},
		{"when the certificate has expired", first, 48 * time.Hour, http.StatusUnauthorized},
		{"before", first, -48 * time.Hour, http.StatusOK},
		{"when its CA is gone", second, 0, http.StatusUnauthorized},
	} {
		trust(step.trust)
		if err := cas.Reload(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(step.later)
		if status, text := s.post(client, Path, sample(t, "full")); status != step.want {
			t.Errorf("%s: got %d %q, want %d", step.what, status, text, step.want)
		}
	}
}

func TestABodyThatDoesNotArriveIsNotWaitedForForever(t *testing.T) {
	q := openQueue(t, QueueOptions{})
	r, err := NewReceiver(Options{Queue: q, SecretPath: secret})
	if err != nil {
		t.Fatal(err)
	}
	server := r.Server(nil)
	if server.ReadHeaderTimeout <= 0 || server.ReadTimeout <= 0 || server.WriteTimeout <= 0 || server.IdleTimeout <= 0 || server.MaxHeaderBytes <= 0 {
		t.Errorf("got %+v, want every time and size limited", server)
	}
	server.ReadTimeout = 20 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", secret)
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestTimeout {
		t.Errorf("got %s, want 408", answer.Status)
	}
	wantEmpty(t, q)
}

func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := Limit(inner, 1)
	defer listener.Close()
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- connection
		}
	}()
	for range 2 {
		connection, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Error("got a second connection accepted, want it to wait")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	(<-accepted).Close()
}

// TestOneAddressLeavesConnectionsToOthers, so that whoever reaches the port cannot keep sensors out.
func TestOneAddressLeavesConnectionsToOthers(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := Limit(inner, 8)
	defer listener.Close()
	accepted := make(chan net.Conn, 8)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- connection
		}
	}()
	dial := func(from string) net.Conn {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		connection, err := dialer.DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		return connection
	}
	for range 2 {
		dial("127.0.0.1")
	}
	first := <-accepted
	<-accepted
	for range 10 {
		late := dial("127.0.0.1")
		if err := late.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := late.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v from a connection beyond the share, want it closed", err)
		}
	}
	dial("127.0.0.2")
	if got := (<-accepted).RemoteAddr().String(); !strings.HasPrefix(got, "127.0.0.2:") {
		t.Errorf("got a connection of %s, want one of the other address", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // closing twice gives one place back
	dial("127.0.0.1")
	<-accepted
	if got := listener.(*shared).open; got[netip.MustParseAddr("127.0.0.1")] != 2 {
		t.Errorf("got %v open, want 2 of the first address", got)
	}
}

// TestWhoMayNotSendKeepsNoConnection has refused senders begin anew for each request.
func TestWhoMayNotSendKeepsNoConnection(t *testing.T) {
	s := newSite(t, nil)
	for name, client := range map[string]*http.Client{"a stranger": s.client(""), "a sender of no node": s.client("somebody")} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.address+Path, strings.NewReader(event("")))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if !answer.Close || answer.StatusCode < 400 {
			t.Errorf("%s: got status %d and a connection that is kept, want it refused and closed", name, answer.StatusCode)
		}
	}
}

func TestWhatCannotBeKeptIsAnsweredSo(t *testing.T) {
	q := openQueue(t, QueueOptions{MaxWaiting: 2})
	r, err := NewReceiver(Options{Queue: q, SecretPath: secret})
	if err != nil {
		t.Fatal(err)
	}
	send := func(p response.Priority, number int) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodPost, "/"+secret, bytes.NewReader(numbered(t, p, number).Raw))
		r.ServeHTTP(w, request)
		return w
	}
	if w := send(response.Debug, 1); w.Code != http.StatusOK {
		t.Fatalf("got %d, want 200", w.Code)
	}
	if w := send(response.Debug, 2); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "low priority") {
		t.Errorf("got %d %q, want 503 and why", w.Code, w.Body)
	}
	if w := send(response.Critical, 3); w.Code != http.StatusOK {
		t.Errorf("got %d for a critical event, want 200", w.Code)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if w := send(response.Critical, 4); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "ending") {
		t.Errorf("got %d %q, want 503 and why", w.Code, w.Body)
	}
}

func TestASizeThatIsOnlyClaimedCostsNothing(t *testing.T) {
	r, err := NewReceiver(Options{Queue: openQueue(t, QueueOptions{}), SecretPath: secret})
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/"+secret, strings.NewReader("{}"))
	request.ContentLength = 1 << 50
	w := httptest.NewRecorder()
	r.ServeHTTP(w, request)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %q, want 413", w.Code, w.Body)
	}
}

func TestTheRefusedAreBounded(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDeadLetters(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.limit = 2000
	now := time.Now()
	for n := range 200 {
		now = now.Add(time.Second)
		if err := d.Add(DeadLetter{Time: now, Reason: ReasonSyntax, Error: fmt.Sprint(n)}, []byte(strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %v, %v, want two files", entries, err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Size() > 2000 || info.Mode().Perm() != 0o600 {
			t.Errorf("got %s of %d bytes, mode %s, want 2000 at most, for the owner only", info.Name(), info.Size(), info.Mode())
		}
	}
	for range 3 * maxPerSecond {
		if err := d.Add(DeadLetter{Time: now.Add(time.Hour), Reason: "flood"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	content := func() string {
		var all []byte
		for _, name := range []string{"refused.jsonl.1", "refused.jsonl"} {
			read, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, read...)
		}
		return string(all)
	}
	if got := strings.Count(content(), `"flood"`); got == 0 || got > maxPerSecond {
		t.Errorf("got %d in one second, want %d at most", got, maxPerSecond)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(DeadLetter{}, nil); err == nil {
		t.Error("got no error after closing")
	}
	// Another process appends.
	if d, err = OpenDeadLetters(dir); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Add(DeadLetter{Reason: "later"}, nil); err != nil || !strings.Contains(content(), `"later"`) {
		t.Errorf("got %v, want the later one there, too", err)
	}
}

// FuzzReceiver posts anything to a receiver: it answers, and keeps what it has answered with 200.
func FuzzReceiver(f *testing.F) {
	f.Add("POST", "/"+secret+Path, "application/json", []byte(event("")))
	f.Add("GET", "/", "", []byte{})
	f.Add("POST", "//"+secret, "application/json; charset=\"", []byte("{"))
	q := openQueue(f, QueueOptions{})
	r, err := NewReceiver(Options{Queue: q, SecretPath: secret, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, contentType string, body []byte) {
		w := httptest.NewRecorder()
		request := (&http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: -1}).WithContext(context.Background())
		r.ServeHTTP(w, request)
		if w.Code == http.StatusOK && method != http.MethodPost || w.Code != http.StatusOK && w.Body.Len() == 0 {
			t.Fatalf("got %d %q for %s %q", w.Code, w.Body, method, path)
		}
		for q.Status().Lanes["urgent"].Waiting+q.Status().Lanes["ordinary"].Waiting > 0 {
			take(t, q).Done()
		}
	})
}
