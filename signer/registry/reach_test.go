package registry_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// Bypass 30: whoever names an image chooses what is connected to.
func TestBypass30RegistriesInsideAreNotConnectedTo(t *testing.T) {
	server := start(t, registrytest.Referrers)
	_, port, err := net.SplitHostPort(server.Host())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{server.Host(), "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "169.254.169.254", "10.96.0.1", "[fe80::1]:443"} {
		t.Run(host, func(t *testing.T) {
			client := newClient(t, registry.Options{PlainHTTP: []string{host}, Cluster: []string{"10.96.0.0/12"}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := client.Resolve(ctx, registry.Repository{Registry: host, Path: "acme/app"}, "v1")
			wantKind(t, err, registry.Forbidden)
		})
	}
	if got := server.Requests(); len(got) != 0 {
		t.Errorf("the registry was asked %v, want nothing", got)
	}
}

// The name stays the same and the address changes: what is checked is the address of the
// connection, so a name that resolves to a loopback address is refused though it was public before.
func TestBypass30WhatANameResolvesToIsCheckedWhenConnecting(t *testing.T) {
	server := start(t, registrytest.TLS)
	_, port, err := net.SplitHostPort(server.Host())
	if err != nil {
		t.Fatal(err)
	}
	options := server.Options()
	options.Allow = []string{server.Host()}
	client := newClient(t, options)
	_, err = client.Resolve(t.Context(), registry.Repository{Registry: "localhost:" + port, Path: "acme/app"}, "v1")
	wantKind(t, err, registry.Forbidden)
	options.Allow = []string{"localhost:" + port}
	_, err = newClient(t, options).Resolve(t.Context(), registry.Repository{Registry: "localhost:" + port, Path: "acme/app"}, "v1")
	wantKind(t, err, registry.NotFound)
}

func TestBypass30RedirectsAndTokenServersInsideAreNotConnectedTo(t *testing.T) {
	inside := start(t, registrytest.Referrers)
	server := start(t, registrytest.Referrers)
	options := server.Options()
	options.PlainHTTP = append(options.PlainHTTP, inside.Host(), "169.254.169.254")
	p := push(t, newClient(t, options), server.Repository("acme/app"))
	t.Run("redirects", func(t *testing.T) {
		server.Inject(registrytest.On("/blobs/", registrytest.Redirect(inside.URL()+"/secret")))
		_, err := newClient(t, options).Blob(t.Context(), p.repository, p.blob.Digest, limit)
		wantKind(t, err, registry.Forbidden)
	})
	for _, realm := range []string{inside.URL() + "/token", "http://169.254.169.254/latest/meta-data", "https://[::1]/token", "https://127.1/token"} {
		t.Run(realm, func(t *testing.T) {
			server.Inject(registrytest.Challenge(realm))
			_, err := newClient(t, options).Resolve(t.Context(), p.repository, "v1")
			if kind := registry.KindOf(err); kind != registry.Forbidden && kind != registry.Malformed {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
	if got := inside.Requests(); len(got) != 0 {
		t.Errorf("the server inside was asked %v, want nothing", got)
	}
}

// proxy answers every request itself and remembers the headers.
type proxy struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.Handler
	seen   []*http.Request
}

func newProxy(t *testing.T, answer http.HandlerFunc) *proxy {
	p := &proxy{answer: answer}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r)
		p.mu.Unlock()
		p.answer.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// through has all requests go to the proxy, in plain HTTP so that it sees them.
func (p *proxy) through(t *testing.T, o registry.Options, hosts ...string) registry.Options {
	at, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.Proxy = http.ProxyURL(at)
	o.PlainHTTP = append(o.PlainHTTP, hosts...)
	return o
}

// Bypass 29 (CVE-2025-27403): a registry whose name begins like a known one gets nothing.
func TestBypass29CredentialsGoToTheExactHost(t *testing.T) {
	basic := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	docker, err := registry.ParseDockerConfig([]byte(`{"auths":{"evil.azurecr.io":{"username":"u","password":"p"},"https://index.docker.io/v1/":{"username":"u","password":"p"},"ghcr.io":{"username":"u","password":"p"}}}`), registry.DockerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := registry.ParsePullSecret("kubernetes.io/dockerconfigjson", []byte(`{"auths":{"*.azurecr.io":{"username":"u","password":"p"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"evil.azurecr.io": true, "evil.azurecr.io.attacker.com": false, "evil.azurecr.io:8443": false, "a.evil.azurecr.io": false,
		"azurecr.io": false, "ghcr.io.evil.com": false, "xghcr.io": false, "ghcr.io": true, "docker.io.evil.com": false,
	} {
		t.Run(host, func(t *testing.T) {
			proxy := newProxy(t, basic)
			client := newClient(t, proxy.through(t, registry.Options{Credentials: registry.Chain{docker, secret}}, host))
			_, err := client.Resolve(t.Context(), registry.Repository{Registry: host, Path: "acme/app"}, "v1")
			wantKind(t, err, registry.Unauthorized)
			if !strings.Contains(err.Error(), host) {
				t.Errorf("the message %q does not name %s", err, host)
			}
			got := false
			for _, r := range proxy.requests() {
				got = got || r.Header.Get("Authorization") != ""
			}
			if got != want {
				t.Errorf("credentials were sent: got %t, want %t", got, want)
			}
		})
	}
}

// Bypass 31: nothing is sent to whom no credentials are for, least of all a token of the cluster.
func TestBypass31NobodyGetsATokenThatIsNotForThem(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		options := server.Options()
		options.Credentials = registry.Static{"ghcr.io": {Username: "u", Password: "p"}}
		client := newClient(t, options)
		for _, operation := range operations {
			_ = operation(t.Context(), client, pushed{repository: server.Repository("acme/app"), image: registry.Descriptor{Digest: registry.DigestOf(nil)}, blob: registry.Descriptor{Digest: registry.DigestOf(nil)}})
		}
		if len(server.Requests()) == 0 {
			t.Fatal("nothing was asked")
		}
		for _, r := range server.Requests() {
			if got := r.Header.Get("Authorization"); got != "" {
				t.Errorf("%s %s was sent with Authorization %q", r.Method, r.Path, got)
			}
		}
	})
}

func TestAuthorizationIsDroppedWhenRedirectedToAnotherHost(t *testing.T) {
	storage := start(t, registrytest.Referrers)
	server := start(t, registrytest.Basic)
	options := server.Options()
	options.Allow = append(options.Allow, storage.Host())
	options.PlainHTTP = append(options.PlainHTTP, storage.Host())
	client := newClient(t, options)
	p := push(t, client, server.Repository("acme/app"))
	if _, err := client.PushBlob(t.Context(), storage.Repository("acme/app"), p.content); err != nil {
		t.Fatal(err)
	}
	storage.Forget()
	server.Inject(registrytest.On("/blobs/", registrytest.Redirect(storage.URL()+"/v2/acme/app/blobs/"+p.blob.Digest)))
	content, err := client.Blob(t.Context(), p.repository, p.blob.Digest, limit)
	if err != nil || string(content) != string(p.content) {
		t.Fatalf("got %q, %v, want %q", content, err, p.content)
	}
	requests := storage.Requests()
	if len(requests) != 1 || requests[0].Header.Get("Authorization") != "" {
		t.Errorf("the storage was asked %+v, want once and without Authorization", requests)
	}
}

func TestTheNextPageOfAListIsAtTheSameHost(t *testing.T) {
	other := start(t, registrytest.Referrers)
	server := start(t, registrytest.Basic)
	options := server.Options()
	options.Allow = append(options.Allow, other.Host())
	options.PlainHTTP = append(options.PlainHTTP, other.Host())
	client := newClient(t, options)
	p := push(t, client, server.Repository("acme/app"))
	server.Inject(registrytest.On("/referrers/", registrytest.Pages(other.URL()+"/v2/acme/app/referrers/"+p.image.Digest)))
	_, err := client.Referrers(t.Context(), p.repository, p.image.Digest)
	wantKind(t, err, registry.Forbidden)
	if got := other.Requests(); len(got) != 0 {
		t.Errorf("the other host was asked %+v, want nothing", got)
	}
}

func TestContentIsUploadedToTheSameHost(t *testing.T) {
	other := start(t, registrytest.Referrers)
	server := start(t, registrytest.Basic)
	options := server.Options()
	options.Allow = append(options.Allow, other.Host())
	options.PlainHTTP = append(options.PlainHTTP, other.Host())
	server.Inject(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", other.URL()+"/v2/acme/app/blobs/uploads/1")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	_, err := newClient(t, options).PushBlob(t.Context(), server.Repository("acme/app"), []byte("x"))
	wantKind(t, err, registry.Forbidden)
	if got := other.Requests(); len(got) != 0 {
		t.Errorf("the other host was asked %+v, want nothing", got)
	}
}

// Whom a token server's address is believed: it comes from whoever answers as the registry.
func TestCredentialsGoToTokenServersOfTheRegistryOnly(t *testing.T) {
	for name, test := range map[string]struct {
		registry, realm string
		realms          map[string][]string
		want            bool
	}{
		"its own host":                          {"registry.example.com", "http://registry.example.com/token", nil, true},
		"another host of its domain":            {"registry.example.com", "http://auth.example.com/token", nil, true},
		"Docker Hub's":                          {"docker.io", "http://auth.docker.io/token", nil, true},
		"GitLab's":                              {"registry.gitlab.com", "http://gitlab.com/jwt/auth", nil, true},
		"a configured one":                      {"registry.example.com", "http://login.example.net/token", map[string][]string{"registry.example.com": {"login.example.net"}}, true},
		"one that is configured for another":    {"registry.example.org", "http://login.example.net/token", map[string][]string{"registry.example.com": {"login.example.net"}}, false},
		"anybody's":                             {"registry.example.com", "http://attacker.net/token", nil, false},
		"one of the same public suffix":         {"acme.co.uk", "http://attacker.co.uk/token", nil, false},
		"another port of its host":              {"registry.example.com", "http://registry.example.com:8080/token", nil, false},
		"Docker Hub's for somebody else":        {"registry.example.com", "http://auth.docker.io/token", nil, false},
		"one whose name ends as the registry's": {"registry.example.com", "http://evilexample.com/token", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := newProxy(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case !strings.HasPrefix(r.URL.Path, "/v2/"):
					_, _ = w.Write([]byte(`{"token":"t"}`))
				case r.Header.Get("Authorization") != "Bearer t":
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+test.realm+`",service="s"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					_, _ = w.Write([]byte(`{"schemaVersion":2,"layers":[]}`))
				}
			})
			realm, err := url.Parse(test.realm)
			if err != nil {
				t.Fatal(err)
			}
			options := proxy.through(t, registry.Options{Credentials: registry.Static{test.registry: {Username: "u", Password: "p"}}, Realms: test.realms}, test.registry, realm.Host)
			repository := registry.Repository{Registry: test.registry, Path: "acme/app"}
			_, err = newClient(t, options).Resolve(t.Context(), repository, "v1")
			if test.want && err != nil {
				t.Fatal(err)
			}
			if !test.want {
				wantKind(t, err, registry.Forbidden)
			}
			sent := false
			for _, r := range proxy.requests() {
				if name, _, ok := r.BasicAuth(); ok && name == "u" {
					sent = true
				}
			}
			if sent != test.want {
				t.Errorf("credentials were sent: got %t, want %t", sent, test.want)
			}
			// Without credentials there is nothing to lose, and public images need a token, too.
			options.Credentials = nil
			if _, err = newClient(t, options).Resolve(t.Context(), repository, "v1"); err != nil {
				t.Errorf("without credentials: %v", err)
			}
		})
	}
}

func TestATokenServerWithoutTLSIsNotAsked(t *testing.T) {
	server := start(t, registrytest.Referrers, registrytest.Challenge("http://auth.example.com/token"))
	options := server.Options()
	options.Credentials = nil
	_, err := newClient(t, options).Resolve(t.Context(), server.Repository("acme/app"), "v1")
	wantKind(t, err, registry.Forbidden)
}
