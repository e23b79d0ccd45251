package http_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/http"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
)

func newKey(t testing.TB) (*cosign.Key, v1alpha1.Verification) {
	t.Helper()
	key := cosigntest.NewKey(t)
	return key, v1alpha1.Verification{Authorities: []signer.Authority{cosigntest.Authority(t, "release", "**", key)}}
}

// site is a web server with files. ServeContent gives it validators as of RFC 9110.
type site struct {
	testing.TB
	*httptest.Server
	// tagged has entity tags, else there is a time only.
	tagged bool

	mu       sync.Mutex
	files    map[string][]byte
	times    map[string]time.Time
	handlers map[string]nethttp.HandlerFunc
	asked    []*nethttp.Request
	statuses []int
}

func newSite(t testing.TB, start func(*httptest.Server)) *site {
	s := &site{TB: t, tagged: true, files: map[string][]byte{}, times: map[string]time.Time{}, handlers: map[string]nethttp.HandlerFunc{}}
	s.Server = httptest.NewUnstartedServer(nethttp.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func secure(s *httptest.Server) { s.StartTLS() }

func (s *site) serve(w nethttp.ResponseWriter, r *nethttp.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	content, known := s.files[r.URL.Path]
	handler, modified := s.handlers[r.URL.Path], s.times[r.URL.Path]
	s.mu.Unlock()
	if handler != nil {
		handler(w, r)
		return
	}
	if !known {
		nethttp.NotFound(w, r)
		return
	}
	if s.tagged {
		w.Header().Set("ETag", fmt.Sprintf(`"%d-%d"`, len(content), modified.Unix()))
	}
	recorder := &status{ResponseWriter: w, code: nethttp.StatusOK}
	nethttp.ServeContent(recorder, r, "", modified, bytes.NewReader(content))
	s.mu.Lock()
	s.statuses = append(s.statuses, recorder.code)
	s.mu.Unlock()
}

type status struct {
	nethttp.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// put makes a new state of a file.
func (s *site) put(path string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
	s.times[path] = time.Unix(1_700_000_000+int64(len(s.times)+len(s.asked))*60+int64(len(content)), 0)
}

func (s *site) handle(path string, handler nethttp.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[path] = handler
}

// since are the statuses of answers since the last call.
func (s *site) since() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	statuses := s.statuses
	s.statuses = nil
	return statuses
}

func (s *site) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func (s *site) host() string { return s.Listener.Addr().String() }

// source reads a path of the site.
func (s *site) source(path string, change ...func(*v1alpha1.HTTPSource, *http.Options)) *http.Source {
	s.Helper()
	at := v1alpha1.HTTPSource{URL: s.URL + path}
	if s.TLS != nil {
		at.CABundle = s.authority()
	}
	options := http.Options{Allow: []string{s.host()}}
	for _, c := range change {
		c(&at, &options)
	}
	made, err := http.New(at, options)
	if err != nil {
		s.Fatal(err)
	}
	return made
}

const (
	tarballPath   = "/bundles/acme.tar.gz"
	signaturePath = tarballPath + ".sigstore.json"
)

func TestASignedTarballIsFetchedOnceAndVerifiedAgain(t *testing.T) {
	for name, tagged := range map[string]bool{"by entity tags": true, "by time": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, secure)
			s.tagged = tagged
			key, verification := newKey(t)
			sign := func(content []byte) []byte {
				bundle, err := cosign.SignBlob(content, key)
				if err != nil {
					t.Fatal(err)
				}
				return bundle
			}
			first, second := sourcetest.Pack(t, sourcetest.NewTree(t, 1)), sourcetest.Pack(t, sourcetest.NewTree(t, 20))
			at, verifier := s.source(tarballPath), source.NewVerifier(source.VerifierOptions{})
			fetch := func(last string, serial int, statuses ...int) *source.Revision {
				t.Helper()
				revision, err := at.Fetch(t.Context(), last)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.since(); !slices.Equal(got, statuses) {
					t.Errorf("got answers %v, want %v", got, statuses)
				}
				if revision.Tree.Digest() != sourcetest.NewTree(t, serial).Digest() {
					t.Errorf("got %s, want the files of serial %d", revision.Tree.Digest(), serial)
				}
				return sourcetest.Stored(t, revision)
			}
			unchanged := func(last string, statuses ...int) {
				t.Helper()
				if _, err := at.Fetch(t.Context(), last); !errors.Is(err, source.ErrUnchanged) {
					t.Errorf("got %v, want ErrUnchanged", err)
				}
				if got := s.since(); !slices.Equal(got, statuses) {
					t.Errorf("got answers %v, want %v", got, statuses)
				}
			}
			refused := func(revision *source.Revision, cause source.Cause) {
				t.Helper()
				var e *source.VerificationError
				if _, err := verifier.Verify(t.Context(), revision, verification); !errors.As(err, &e) || e.Cause != cause {
					t.Errorf("got %v, want %q", err, cause)
				}
			}

			s.put(tarballPath, first)
			unsigned := fetch("", 1, 200)
			refused(unsigned, source.Unsigned)
			unchanged(unsigned.Version, 304)

			s.put(signaturePath, sign(first)) // later than the tarball
			signed := fetch(unsigned.Version, 1, 304, 200, 200)
			if signers, err := verifier.Verify(t.Context(), signed, verification); err != nil || len(signers) != 1 {
				t.Errorf("got %v, %v, want that it is signed", signers, err)
			}
			unchanged(signed.Version, 304, 304)

			s.put(tarballPath, second) // before its signature
			early := fetch(signed.Version, 20, 200, 304, 200)
			refused(early, source.Mismatched)
			s.put(signaturePath, sign(second))
			late := fetch(early.Version, 20, 304, 200, 200)
			if _, err := verifier.Verify(t.Context(), late, verification); err != nil {
				t.Error(err)
			}
			s.put(tarballPath, second) // the same content as of another time
			unchanged(late.Version, 200, 304)
			unchanged(`{"tarball":{"digest":"`+digestIn(late.Version)+`"},"signature":{"digest":"`+digestIn(late.Version[strings.Index(late.Version, "signature"):])+`"}}`, 200, 200)
			fetch("no version of ours", 20, 200, 200)
		})
	}
}

// digestIn is the first digest in a version.
func digestIn(version string) string {
	at := strings.Index(version, "sha256:")
	return version[at : at+len("sha256:")+64]
}

func TestServersThatFailAreNotBelieved(t *testing.T) {
	good := sourcetest.Pack(t, sourcetest.NewTree(t, 1))
	serve := func(change func(nethttp.ResponseWriter, *nethttp.Request)) nethttp.HandlerFunc { return change }
	for name, c := range map[string]struct {
		path    string
		handler nethttp.HandlerFunc
		want    string
	}{
		"a pull that is cut short": {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
			_ = nethttp.NewResponseController(w).Flush()
			panic(nethttp.ErrAbortHandler)
		}), "the answer was cut short: retry"},
		"a pull that is cut short without a length": {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { _, _ = w.Write(good[:len(good)/2]) }), "the archive is cut short"},
		"a body without end": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}), "it has more than 22937600 bytes, which is the limit"},
		"a signature without end":      {signaturePath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { _, _ = w.Write(make([]byte, 1<<20)) }), "it has more than 262144 bytes"},
		"an answer that does not come": {tarballPath, serve(func(_ nethttp.ResponseWriter, r *nethttp.Request) { <-r.Context().Done() }), "the server did not finish its answer in 1s"},
		"nothing in it":                {tarballPath, serve(func(nethttp.ResponseWriter, *nethttp.Request) {}), "the answer is empty"},
		"a page for people": {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			fmt.Fprint(w, strings.Repeat("<p>Sign in</p>", 90))
		}), "it is no tar archive"},
		"no such file":                                     {tarballPath, nethttp.NotFound, "answered 404 Not Found: check the URL, or put the bundle there"},
		"a server that wants a password":                   {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(401) }), "answered 401 Unauthorized: put username and password"},
		"a server that wants a password for the signature": {signaturePath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(403) }), "answered 403 Forbidden"},
		"a server that has enough":                         {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(429) }), "look less often"},
		"a server that is broken":                          {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(500) }), "answered 500 Internal Server Error: look at 127.0.0.1:"},
		"a broken answer for the signature":                {signaturePath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(502) }), "answered 502"},
		"a part that nobody asked for":                     {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(206); _, _ = w.Write(good) }), "answered 206"},
		"unchanged, never having been fetched":             {tarballPath, serve(func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(304) }), "answered 304"},
		"redirects in a circle": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, tarballPath, nethttp.StatusFound)
		}), "the 4th redirect in a row"},
		"a redirect to http": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "http://"+r.Host+"/x", nethttp.StatusFound)
		}), "it is not https as before"},
		"a redirect to a file": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "file:///etc/passwd", nethttp.StatusFound)
		}), "leads to no address"},
		"a redirect with a password": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			w.Header().Set("Location", "https://a:b@"+r.Host+"/")
			w.WriteHeader(nethttp.StatusFound)
		}), "leads to no address"},
		"a redirect to the metadata of a cloud": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "https://169.254.169.254/x", nethttp.StatusFound)
		}), "where clouds keep their metadata"},
		"a redirect to a private address": {tarballPath, serve(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "https://10.1.2.3/x", nethttp.StatusFound)
		}), "it is a private address; if 10.1.2.3:443 is to be used, give --allow-registry"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, secure)
			s.put(tarballPath, good)
			s.handle(c.path, c.handler)
			at := s.source(tarballPath, func(_ *v1alpha1.HTTPSource, o *http.Options) { o.Timeout = 10 * time.Second })
			if strings.Contains(c.want, "in 1s") {
				at = s.source(tarballPath, func(_ *v1alpha1.HTTPSource, o *http.Options) { o.Timeout = time.Second })
			}
			revision, err := at.Fetch(t.Context(), "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want an error with %q", revision, err, c.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "fetching "+s.URL+"/") {
				t.Errorf("got %v, want what was fetched in front", err)
			}
		})
	}
}

func TestCredentialsGoToTheirHostOnly(t *testing.T) {
	good := sourcetest.Pack(t, sourcetest.NewTree(t, 1))
	elsewhere := newSite(t, secure)
	elsewhere.put("/x", good)
	elsewhere.put("/x.sigstore.json", []byte("{}"))
	for name, c := range map[string]struct {
		credentials http.Credentials
		want        string
	}{
		"a password": {http.Credentials{Username: "ada", Password: "secret"}, "Basic YWRhOnNlY3JldA=="},
		"a token":    {http.Credentials{BearerToken: "t0ken"}, "Bearer t0ken"},
		"nothing":    {http.Credentials{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, secure)
			s.handle(tarballPath, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				nethttp.Redirect(w, r, "/here", nethttp.StatusTemporaryRedirect)
			})
			s.handle("/here", func(w nethttp.ResponseWriter, r *nethttp.Request) {
				nethttp.Redirect(w, r, elsewhere.URL+"/x", nethttp.StatusFound)
			})
			at := s.source(tarballPath, func(a *v1alpha1.HTTPSource, o *http.Options) {
				a.SignatureURL = elsewhere.URL + "/x.sigstore.json"
				a.CABundle += elsewhere.authority()
				o.Allow = append(o.Allow, elsewhere.host())
				o.Credentials = c.credentials
			})
			if _, err := at.Fetch(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			for _, r := range s.asked {
				if got := r.Header.Get("Authorization"); got != c.want {
					t.Errorf("%s: got %q, want %q", r.URL, got, c.want)
				}
			}
			for _, r := range elsewhere.asked {
				if got := r.Header.Get("Authorization"); got != "" {
					t.Errorf("elsewhere, %s: got %q, want none", r.URL, got)
				}
			}
			if len(s.asked) != 2 || len(elsewhere.asked) < 2 {
				t.Errorf("got %d and %d requests, want 2 and 2", len(s.asked), len(elsewhere.asked))
			}
		})
	}
}

func TestServersThatCannotBeReachedSayWhy(t *testing.T) {
	s := newSite(t, secure)
	s.put(tarballPath, sourcetest.Pack(t, sourcetest.NewTree(t, 1)))
	plain := newSite(t, func(s *httptest.Server) { s.Start() })
	plain.put(tarballPath, sourcetest.Pack(t, sourcetest.NewTree(t, 1)))
	proxied := 0
	proxy := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		proxied++
		tunnel(w, r)
	}))
	defer proxy.Close()
	for name, c := range map[string]struct {
		at     *site
		change func(*v1alpha1.HTTPSource, *http.Options)
		want   string // "" for none
	}{
		"all is well":              {s, func(*v1alpha1.HTTPSource, *http.Options) {}, ""},
		"no certificate authority": {s, func(a *v1alpha1.HTTPSource, _ *http.Options) { a.CABundle = "" }, "has a private certificate authority, give its certificate as caBundle"},
		"an address of one's own":  {s, func(_ *v1alpha1.HTTPSource, o *http.Options) { o.Allow = nil }, "it is a loopback address"},
		"a network of the cluster": {s, func(_ *v1alpha1.HTTPSource, o *http.Options) {
			o.Allow, o.Cluster = []string{"10.0.0.0/8"}, []string{"127.0.0.0/8"}
		}, "not connecting to"},
		"no TLS":                   {plain, func(a *v1alpha1.HTTPSource, _ *http.Options) { a.URL = strings.Replace(a.URL, "http:", "https:", 1) }, "speaks no TLS here"},
		"no TLS, which is allowed": {plain, func(_ *v1alpha1.HTTPSource, o *http.Options) { o.PlainHTTP = []string{plain.host()} }, ""},
		"a proxy":                  {s, func(a *v1alpha1.HTTPSource, _ *http.Options) { a.ProxyURL = proxy.URL }, ""},
		"a port where nobody is": {s, func(a *v1alpha1.HTTPSource, o *http.Options) {
			a.URL = "https://127.0.0.1:1/x"
			o.Allow = []string{"127.0.0.1:1"}
		}, "check that 127.0.0.1:1 runs and can be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.at.source(tarballPath, c.change).Fetch(t.Context(), "")
			if c.want == "" && err != nil {
				t.Errorf("got %v, want none", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if proxied == 0 {
		t.Error("got no request at the proxy")
	}
}

// tunnel is a proxy for one connection.
func tunnel(w nethttp.ResponseWriter, r *nethttp.Request) {
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(nethttp.StatusBadGateway)
		return
	}
	w.WriteHeader(nethttp.StatusOK)
	// What the client sends right after the answer may be in the buffer already.
	from, buffered, err := nethttp.NewResponseController(w).Hijack()
	if err != nil {
		to.Close()
		return
	}
	go func() { _, _ = io.Copy(to, buffered); to.Close() }()
	_, _ = io.Copy(from, to)
	from.Close()
}

func TestSourcesThatAreNoneAreRefused(t *testing.T) {
	const good = "https://example.com/bundle.tar.gz"
	for name, c := range map[string]struct {
		source  v1alpha1.HTTPSource
		options http.Options
		want    string
	}{
		"nothing":                    {v1alpha1.HTTPSource{}, http.Options{}, "http.url names no file of a server"},
		"no URL":                     {v1alpha1.HTTPSource{URL: "https://a b"}, http.Options{}, "http.url is no URL"},
		"a host alone":               {v1alpha1.HTTPSource{URL: "https://example.com/"}, http.Options{}, "http.url names no file of a server"},
		"a file":                     {v1alpha1.HTTPSource{URL: "file:///etc/bundle"}, http.Options{}, "http.url names no file of a server"},
		"another scheme":             {v1alpha1.HTTPSource{URL: "ftp://example.com/x"}, http.Options{}, "http.url ftp://example.com/x is not https"},
		"in the clear":               {v1alpha1.HTTPSource{URL: "http://example.com/x?token=1"}, http.Options{}, "http.url http://example.com/x is not https"},
		"a password in the URL":      {v1alpha1.HTTPSource{URL: "https://ada:secret@example.com/x"}, http.Options{}, "put username and password into the Secret"},
		"a signature in the clear":   {v1alpha1.HTTPSource{URL: good, SignatureURL: "http://example.com/x"}, http.Options{}, "http.signatureURL http://example.com/x is not https"},
		"certificates that are none": {v1alpha1.HTTPSource{URL: good, Connection: v1alpha1.Connection{CABundle: "x"}}, http.Options{}, "there is no certificate in PEM: correct the caBundle"},
		"a proxy that is none":       {v1alpha1.HTTPSource{URL: good, Connection: v1alpha1.Connection{ProxyURL: "proxy:3128"}}, http.Options{}, "proxyURL has the scheme"},
		"a token and a password":     {v1alpha1.HTTPSource{URL: good}, http.Options{Credentials: http.Credentials{BearerToken: "a", Password: "b"}}, "give one of them"},
		"an allowed host of none":    {v1alpha1.HTTPSource{URL: good}, http.Options{Allow: []string{"https://x"}}, "allow-registry"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := http.New(c.source, c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "reading the source: ") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("got a secret in %v", err)
			}
		})
	}
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	s := newSite(t, secure)
	ctx, cancel := context.WithCancel(t.Context())
	s.handle(tarballPath, func(_ nethttp.ResponseWriter, r *nethttp.Request) { cancel(); <-r.Context().Done() })
	if _, err := s.source(tarballPath).Fetch(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
}

func TestQueriesAreNotShown(t *testing.T) {
	s := newSite(t, secure)
	s.put(tarballPath, sourcetest.Pack(t, sourcetest.NewTree(t, 1)))
	revision, err := s.source(tarballPath+"?token=secret").Fetch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(revision.Origin, "secret") || !strings.HasPrefix(revision.Origin, s.URL+tarballPath+" (sha256:") {
		t.Errorf("got origin %s", revision.Origin)
	}
	for _, r := range s.asked {
		if got, _ := url.ParseQuery(r.URL.RawQuery); got.Get("token") != "secret" {
			t.Errorf("got %s, want the token sent", r.URL)
		}
	}
	_, err = s.source("/nowhere?token=secret").Fetch(t.Context(), "")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the token", err)
	}
}
