package webhook

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// service is a real server on loopback.
type service struct {
	url, probes string
	server      *Server
	own         *certificate.SelfSigned
	stop        context.CancelFunc
	ended       chan error
}

// serve starts a server that ends with the test.
func serve(t testing.TB, handler *Handler, change ...func(*Server)) *service {
	t.Helper()
	own, err := certificate.NewSelfSigned(certificate.Options{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	s := &service{own: own, ended: make(chan error, 1), server: &Server{
		Handler: handler, Certificate: own.GetCertificate, DrainGrace: 10 * time.Second, Logger: logger,
		Probes: NewProbes(http.NotFoundHandler(), Check{Name: "certificate", Check: own.Check}),
	}}
	for _, change := range change {
		change(s.server)
	}
	reviews, probes := listen(t), listen(t)
	s.url, s.probes = "https://"+reviews.Addr().String(), "http://"+probes.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- s.server.Serve(ctx, reviews, probes) }()
	t.Cleanup(func() {
		stop()
		s.wait(t)
	})
	return s
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// wait gives the server's error, again and again.
func (s *service) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the server did not end")
		return nil
	}
}

func (s *service) client(t testing.TB, change ...func(*tls.Config)) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.own.CABundle()) {
		t.Fatal("the CA bundle holds no certificate")
	}
	config := &tls.Config{RootCAs: pool}
	for _, change := range change {
		change(config)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func send(t testing.TB, client *http.Client, url, body string) (*http.Response, string) {
	t.Helper()
	response, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(content)
}

// authority signs client certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	certificate, key := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "client-ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return &authority{certificate, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) client(t testing.TB, name string, usage x509.ExtKeyUsage, until time.Time) func(*tls.Config) {
	t.Helper()
	certificate, key := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{usage}}, a)
	return func(config *tls.Config) {
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}}
	}
}

func sign(t testing.TB, template *x509.Certificate, issuer *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// TestBypass45_OnlyTheAPIServerIsAnswered: whoever reaches the port and shows no
// certificate learns how to get one, and nothing else.
func TestBypass45_OnlyTheAPIServerIsAnswered(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	inAnHour := time.Now().Add(time.Hour)
	none := func(*tls.Config) {}
	for name, test := range map[string]struct {
		client func(*tls.Config)
		names  []string
		want   int
		says   string
	}{
		"no certificate":                  {none, nil, 401, "kubeconfig"},
		"another authority's certificate": {theirs.client(t, "kube-apiserver", x509.ExtKeyUsageClientAuth, inAnHour), nil, 401, "not trusted"},
		"a server's certificate":          {ours.client(t, "kube-apiserver", x509.ExtKeyUsageServerAuth, inAnHour), nil, 401, "not trusted"},
		"an expired certificate":          {ours.client(t, "kube-apiserver", x509.ExtKeyUsageClientAuth, time.Now().Add(-time.Minute)), nil, 401, "not trusted"},
		"a name that may not call":        {ours.client(t, "kubelet", x509.ExtKeyUsageClientAuth, inAnHour), []string{"kube-apiserver"}, 403, "kubelet"},
		"a name that may":                 {ours.client(t, "kube-apiserver", x509.ExtKeyUsageClientAuth, inAnHour), []string{"kube-apiserver"}, 200, "allowed"},
		"any name where none is demanded": {ours.client(t, "anyone", x509.ExtKeyUsageClientAuth, inAnHour), nil, 200, "allowed"},
		"TLS 1.2 with the right certificate": {func(c *tls.Config) {
			ours.client(t, "a", x509.ExtKeyUsageClientAuth, inAnHour)(c)
			c.MaxVersion = tls.VersionTLS12
		}, nil, 200, "allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []admission.Request
			handler := newHandler(t, admits(&seen), func(o *Options) {
				o.Callers = &Callers{CAs: ours.pool, Names: test.names}
			})
			// One pool for all calls, as the file that is watched gives.
			pool := ours.pool()
			handler.callers.CAs = func() *x509.CertPool { return pool }
			service := serve(t, handler)
			client := service.client(t, test.client)
			for range 2 { // the second time from memory
				response, body := send(t, client, service.url+ValidatePath, body(""))
				if response.StatusCode != test.want || !strings.Contains(body, test.says) {
					t.Errorf("HTTP %d: %s, want %d and %q", response.StatusCode, body, test.want, test.says)
				}
			}
			if test.want != 200 && len(seen) > 0 {
				t.Error("the reviewer was asked")
			}
		})
	}
}

func TestAClientCertificateIsForgottenWithItsAuthorityAndItsTime(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	certificate, _ := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ours)
	pool, now := ours.pool(), time.Now()
	callers := &Callers{CAs: func() *x509.CertPool { return pool }, Now: func() time.Time { return now }}
	if err := callers.verify([]*x509.Certificate{certificate}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	if err := callers.verify([]*x509.Certificate{certificate}); err == nil {
		t.Error("an expired certificate that was verified before is still trusted")
	}
	now = time.Now()
	if err := callers.verify([]*x509.Certificate{certificate}); err != nil {
		t.Fatal(err)
	}
	pool = theirs.pool()
	if err := callers.verify([]*x509.Certificate{certificate}); err == nil {
		t.Error("a certificate of an authority that is no longer trusted is")
	}
}

func TestASecretPathIsTheOnlyWayIn(t *testing.T) {
	secret := strings.Repeat("s3cr3t-x", 4)
	handler := newHandler(t, admits(nil), func(o *Options) { o.Callers = &Callers{Mode: CallerSecretPath, Secret: secret} })
	service := serve(t, handler)
	for path, want := range map[string]int{
		"/" + secret + ValidatePath:               200,
		"/" + secret + MutatePath:                 200,
		"/" + secret:                              404,
		"/" + secret + "/":                        404,
		ValidatePath:                              404,
		"/" + secret[:31] + ValidatePath:          404,
		"/" + secret + "x" + ValidatePath:         404,
		"/" + strings.ToUpper(secret) + "/mutate": 404,
		"/": 404,
	} {
		if response, text := send(t, service.client(t), service.url+path, body("")); response.StatusCode != want {
			t.Errorf("POST %s: HTTP %d (%s), want %d", path, response.StatusCode, text, want)
		}
	}
}

func TestCallersThatCannotWorkAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		callers *Callers
		want    string
	}{
		"the zero value":                 {&Callers{}, "CA"},
		"a short secret":                 {&Callers{Mode: CallerSecretPath, Secret: "short"}, "32"},
		"a secret with a slash":          {&Callers{Mode: CallerSecretPath, Secret: strings.Repeat("a/", 32)}, "letters"},
		"a secret with a capital letter": {&Callers{Mode: CallerSecretPath, Secret: "A" + strings.Repeat("a", 32)}, "lower-case"},
		"certificates without authority": {&Callers{CAs: func() *x509.CertPool { return nil }}, "CA"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.callers.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestHTTP2IsSpoken(t *testing.T) {
	service := serve(t, newHandler(t, admits(nil)))
	response, _ := send(t, service.client(t), service.url+ValidatePath, body(""))
	if response.ProtoMajor != 2 || response.TLS.Version != tls.VersionTLS13 {
		t.Errorf("the protocol is %s over TLS %x, want HTTP/2 over TLS 1.3", response.Proto, response.TLS.Version)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	service := serve(t, newHandler(t, admits(nil)))
	client := service.client(t, func(config *tls.Config) { config.MaxVersion = tls.VersionTLS11 })
	if response, err := client.Get(service.url); err == nil {
		response.Body.Close()
		t.Errorf("TLS 1.1 was answered HTTP %d, want a failed handshake", response.StatusCode)
	}
}

// TestASlowClientIsCutOff sends a body and never ends it.
func TestASlowClientIsCutOff(t *testing.T) {
	var seen []admission.Request
	service := serve(t, newHandler(t, admits(&seen)), func(s *Server) { s.ReadTimeout = 100 * time.Millisecond })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(service.own.CABundle())
	connection, err := tls.Dial("tcp", strings.TrimPrefix(service.url, "https://"), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n%s", ValidatePath, body("")[:100])
	connection.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Fatalf("the connection was not ended: %v", err)
	}
	if bytes.Contains(answer, []byte(`"allowed":true`)) || len(seen) > 0 {
		t.Errorf("half a request was judged: %s", answer)
	}
}

// TestHugeBodiesCostLittle sends ten times what is allowed, with and without saying so.
func TestHugeBodiesCostLittle(t *testing.T) {
	service := serve(t, newHandler(t, admits(nil), func(o *Options) { o.MaxBody = 1 << 20 }))
	huge := body(`,"object":{"a":"` + strings.Repeat("a", 10<<20) + `"}`)
	for name, reader := range map[string]io.Reader{
		"with a length":    strings.NewReader(huge),
		"without a length": io.MultiReader(strings.NewReader(huge)),
	} {
		t.Run(name, func(t *testing.T) {
			response, err := service.client(t).Post(service.url+ValidatePath, "application/json", reader)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			content, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			review := decodeAnswer(t, content)
			if review.Response.Allowed || review.Response.Result.Code != 413 || string(review.Response.UID) != uid {
				t.Errorf("got %+v, want a denial of code 413", review.Response)
			}
		})
	}
}

func TestDrainingFinishesWhatIsUnderWay(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	handler := newHandler(t, reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		entered <- struct{}{}
		<-release
		return admission.Verdict{Admitted: true}
	}})
	service := serve(t, handler, func(s *Server) { s.DrainDelay = 300 * time.Millisecond })
	if code, text := probe(t, service.probes+"/readyz"); code != 200 {
		t.Fatalf("/readyz: HTTP %d: %s, want 200", code, text)
	}
	answers := make(chan string, 1)
	client := service.client(t)
	go func() {
		response, err := client.Post(service.url+ValidatePath, "application/json", strings.NewReader(body("")))
		if err != nil {
			answers <- err.Error()
			return
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		answers <- string(content)
	}()
	<-entered
	service.stop()
	poll(t, func() error {
		if code, text := probe(t, service.probes+"/readyz"); code != 503 || !strings.Contains(text, "draining") {
			return fmt.Errorf("/readyz: HTTP %d: %s, want 503 because of draining", code, text)
		}
		return nil
	})
	if code, _ := probe(t, service.probes+"/livez"); code != 200 {
		t.Errorf("/livez: HTTP %d while draining, want 200", code)
	}
	// Until the delay is over new requests are taken, and sent elsewhere afterwards.
	late := make(chan string, 1)
	go func() {
		response, err := client.Post(service.url+ValidatePath, "application/json", strings.NewReader(body("")))
		if err != nil {
			late <- err.Error()
			return
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		late <- string(content)
	}()
	<-entered
	close(release)
	for _, answers := range []chan string{answers, late} {
		if answer := <-answers; !strings.Contains(answer, `"allowed":true`) {
			t.Errorf("a request under way was answered %s, want its verdict", answer)
		}
	}
	if err := service.wait(t); err != nil {
		t.Errorf("draining ended with %v, want nil", err)
	}
}

func TestDrainingGivesUpAfterTheGrace(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	handler := newHandler(t, reviewer{review: func(context.Context, admission.Request) admission.Verdict {
		close(entered)
		<-release
		return admission.Verdict{Admitted: true}
	}})
	service := serve(t, handler, func(s *Server) { s.DrainGrace = 50 * time.Millisecond })
	client := service.client(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := client.Post(service.url+ValidatePath, "application/json", strings.NewReader(body(""))); err == nil {
			response.Body.Close()
		}
	}()
	<-entered
	service.stop()
	if err := service.wait(t); err == nil || !strings.Contains(err.Error(), "--drain-grace") {
		t.Errorf("draining ended with %v, want an error that says what to do", err)
	}
	close(release)
	<-done
}

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	var failure atomic.Pointer[error]
	holds := func() error {
		if err := failure.Load(); err != nil {
			return *err
		}
		return nil
	}
	notes := func() []string { return []string{"roles are not known"} }
	probes := NewProbes(http.NotFoundHandler(), Check{Name: "facts", Check: holds, Notes: notes}, Check{Name: "certificate", Check: func() error { return nil }})
	server := &http.Server{Handler: probes}
	listener := listen(t)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	url := "http://" + listener.Addr().String()
	if code, text := probe(t, url+"/readyz"); code != 200 || !strings.Contains(text, "[+] facts ok\n[!] facts: roles are not known\n[+] certificate ok\n") {
		t.Errorf("HTTP %d: %s, want 200", code, text)
	}
	err := fmt.Errorf("namespaces are not listed yet")
	failure.Store(&err)
	if code, text := probe(t, url+"/readyz"); code != 503 || strings.Contains(text, "[!]") || !strings.Contains(text, "[-] facts failed: namespaces") || !strings.Contains(text, "[+] certificate ok") {
		t.Errorf("HTTP %d: %s, want 503 with the reason", code, text)
	}
	if code, _ := probe(t, url+"/other"); code != 404 {
		t.Errorf("another path: HTTP %d, want 404", code)
	}
}

func TestMetricsCountOutcomes(t *testing.T) {
	metrics := NewMetrics()
	handler := newHandler(t, admits(nil), func(o *Options) { o.Metrics = metrics })
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics)
	service := serve(t, handler, func(s *Server) { s.Probes = NewProbes(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})) })
	client := service.client(t)
	send(t, client, service.url+ValidatePath, body(""))
	send(t, client, service.url+MutatePath, "{}")
	_, text := probe(t, service.probes+"/metrics")
	for _, want := range []string{
		`portcullis_webhook_requests_total{outcome="admitted",webhook="validate"} 1`,
		`portcullis_webhook_requests_total{outcome="rejected",webhook="mutate"} 1`,
		`portcullis_webhook_request_duration_seconds_count{webhook="validate"} 1`,
		`portcullis_webhook_reviews_running 0`,
		`portcullis_webhook_reviews_waiting 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestLogsHoldNoObject: one line a denial, that says who and what but shows nothing of
// the object, which may hold a secret.
func TestLogsHoldNoObject(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	handler := newHandler(t, reviewer{}, func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(lockedWriter{&mu, &log}, nil))
	})
	answer(t, handler, post(ValidatePath, body(`,"object":{"data":{"password":"hunter2"}}`)))
	mu.Lock()
	defer mu.Unlock()
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("the log is no single line of JSON: %v: %s", err, log.String())
	}
	if line["user"] != "alice" || line["namespace"] != "shop" || line["uid"] != uid || line["verdict"] != "fault" {
		t.Errorf("the line is %v", line)
	}
	if strings.Contains(log.String(), "hunter2") || strings.Contains(log.String(), "password") {
		t.Errorf("the log shows the object: %s", log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

// TestCertificatesRotateWhileServing moves the clock through a change of the
// authority, while clients that trust the bundle of each moment keep asking.
func TestCertificatesRotateWhileServing(t *testing.T) {
	var now atomic.Pointer[time.Time]
	begin := time.Now()
	now.Store(&begin)
	clock := func() time.Time { return *now.Load() }
	own, err := certificate.NewSelfSigned(certificate.Options{
		Names: []string{"127.0.0.1"}, AuthorityLifetime: 90 * time.Hour, LeafLifetime: 9 * time.Hour, Overlap: 6 * time.Hour, Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	service := serve(t, newHandler(t, admits(nil)), func(s *Server) { s.Certificate = own.GetCertificate })
	bundle := own.CABundle()
	var leaves []string
	for hour := range 120 {
		moment := begin.Add(time.Duration(hour) * time.Hour)
		now.Store(&moment)
		if err := own.Renew(); err != nil {
			t.Fatal(err)
		}
		// An API server has the bundle of the hour before, and that of now.
		for _, trusted := range [][]byte{bundle, own.CABundle()} {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(trusted)
			client := service.client(t, func(c *tls.Config) { c.RootCAs, c.Time = pool, clock })
			response, text := send(t, client, service.url+ValidatePath, body(""))
			if response.StatusCode != 200 {
				t.Fatalf("in hour %d: HTTP %d: %s", hour, response.StatusCode, text)
			}
			serial := response.TLS.PeerCertificates[0].SerialNumber.String()
			if !slices.Contains(leaves, serial) {
				leaves = append(leaves, serial)
			}
		}
		bundle = own.CABundle()
	}
	if len(leaves) < 15 {
		t.Errorf("%d serving certificates were seen in 120 hours, want one about every 6", len(leaves))
	}
}

func probe(t testing.TB, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func poll(t testing.TB, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // polls a condition
	}
}
