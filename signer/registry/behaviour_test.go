package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// Bypass 11 (CVE-2022-47633): the tag is resolved once, and what follows goes by that digest.
func TestBypass11ATagThatMovesChangesNothing(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		client := newClient(t, server.Options())
		p := push(t, client, server.Repository("acme/app"))
		image, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		other, err := client.PushImage(t.Context(), p.repository, "v2", image)
		if err != nil {
			t.Fatal(err)
		}
		server.Inject(registrytest.Rename("/manifests/v1", "/manifests/v2"))
		first, err := client.Resolve(t.Context(), p.repository, "v1")
		if err != nil || first.Digest != p.image.Digest {
			t.Fatalf("got %s, %v, want %s", first.Digest, err, p.image.Digest)
		}
		again, err := client.Manifest(t.Context(), p.repository, first.Digest)
		if err != nil || again.Digest != first.Digest {
			t.Errorf("got %s, %v, want %s", again.Digest, err, first.Digest)
		}
		moved, err := client.Resolve(t.Context(), p.repository, "v1")
		if err != nil || moved.Digest != other.Digest {
			t.Errorf("resolved again got %s, %v, want %s: the test does not move the tag", moved.Digest, err, other.Digest)
		}
	})
}

// Bypass 12 (CVE-2023-47630).
func TestBypass12TheDigestIsThatOfTheBytes(t *testing.T) {
	lie := registry.DigestOf([]byte("lie"))
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		client := newClient(t, server.Options())
		p := push(t, client, server.Repository("acme/app"))
		server.Inject(registrytest.LyingDigest(lie))
		manifest, err := client.Resolve(t.Context(), p.repository, "v1")
		if err != nil || manifest.Digest != p.image.Digest {
			t.Errorf("got %s, %v, want %s", manifest.Digest, err, p.image.Digest)
		}
		// The registry gives the right manifest for the wrong digest that it named.
		server.Inject(rewrite("/manifests/"+lie, "/manifests/v1"))
		_, err = client.Manifest(t.Context(), p.repository, lie)
		wantKind(t, err, registry.Mismatch)
	})
}

func rewrite(from, to string) registrytest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.URL.Path = strings.Replace(r.URL.Path, from, to, 1)
			next.ServeHTTP(w, r)
		})
	}
}

func TestALimitIsWaitedForIfThereIsTime(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header string
		want   time.Duration
	}{
		"seconds":                       {http.StatusTooManyRequests, "7", 7 * time.Second},
		"a date":                        {http.StatusTooManyRequests, "Fri, 02 Jan 2026 03:04:35 GMT", 30 * time.Second},
		"nothing is a second":           {http.StatusTooManyRequests, "", time.Second},
		"a service that is unavailable": {http.StatusServiceUnavailable, "5", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			eachShape(t, func(t *testing.T, shape registrytest.Shape) {
				server := start(t, shape)
				p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
				clock := newClock()
				server.Inject(registrytest.On("/v2/", registrytest.Times(1, registrytest.Status(test.status, test.header))))
				if _, err := newClient(t, clock.on(server.Options())).Resolve(t.Context(), p.repository, "v1"); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(clock.slept, []time.Duration{test.want}) {
					t.Errorf("waited %v, want %v", clock.slept, test.want)
				}
			})
		})
	}
}

func TestALimitThatDoesNotFitIsAFaultAtOnceForAll(t *testing.T) {
	server := start(t, registrytest.Referrers)
	p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
	clock := newClock()
	client := newClient(t, clock.on(server.Options()))
	server.Inject(registrytest.Status(http.StatusTooManyRequests, "3600"))
	server.Forget()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 30 {
		_, err := client.Resolve(ctx, p.repository, "v1")
		wantKind(t, err, registry.RateLimited)
		if got := registry.RetryAfter(err); got != time.Hour {
			t.Errorf("got to retry after %s, want an hour", got)
		}
		if !strings.Contains(err.Error(), "retry in 3600 s") {
			t.Errorf("the message %q does not say when to retry", err)
		}
	}
	if got := len(server.Requests()); got != 1 {
		t.Errorf("the registry was asked %d times, want once", got)
	}
	if len(clock.slept) != 0 {
		t.Errorf("waited %v, want not at all", clock.slept)
	}
	clock.advance(time.Hour)
	server.Inject()
	if _, err := client.Resolve(ctx, p.repository, "v1"); err != nil {
		t.Errorf("after an hour: %v", err)
	}
}

func TestTemporaryFaultsAreTriedAgain(t *testing.T) {
	for name, fault := range map[string]func() registrytest.Fault{
		"a server's fault":         func() registrytest.Fault { return registrytest.Status(http.StatusBadGateway, "") },
		"a connection that breaks": registrytest.Reset,
		"a body that is cut":       registrytest.Truncated,
		"a service without a hint": func() registrytest.Fault { return registrytest.Status(http.StatusServiceUnavailable, "") },
	} {
		t.Run(name, func(t *testing.T) {
			eachShape(t, func(t *testing.T, shape registrytest.Shape) {
				server := start(t, shape)
				clock := newClock()
				p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
				server.Inject(registrytest.On("/v2/", registrytest.Times(2, fault())))
				if _, err := newClient(t, clock.on(server.Options())).Resolve(t.Context(), p.repository, "v1"); err != nil {
					t.Fatal(err)
				}
				if len(clock.slept) > 2 || slices.ContainsFunc(clock.slept, func(d time.Duration) bool { return d <= 0 || d > time.Second }) {
					t.Errorf("waited %v, want at most two short waits", clock.slept)
				}
			})
		})
	}
}

func TestWhatIsNotRepeatableIsSentOnce(t *testing.T) {
	server := start(t, registrytest.Referrers)
	clock := newClock()
	client := newClient(t, clock.on(server.Options()))
	server.Inject(registrytest.On("/uploads/", registrytest.Status(http.StatusBadGateway, "")))
	_, err := client.PushBlob(t.Context(), server.Repository("acme/app"), []byte("x"))
	wantKind(t, err, registry.Unreachable)
	if got := len(server.Requests()); got != 1 {
		t.Errorf("sent %d requests, want one", got)
	}
}

func TestTheTimeOfTheCallerIsKept(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape, registrytest.Slow(time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := newClient(t, server.Options()).Resolve(ctx, server.Repository("acme/app"), "v1")
		wantKind(t, err, registry.Timeout)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that the deadline is its cause", err)
		}
	})
}

func TestOneTokenIsFetchedForAllWhoAskAtOnce(t *testing.T) {
	server := start(t, registrytest.Bearer)
	p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
	server.Forget()
	clock := newClock()
	client := newClient(t, clock.on(server.Options()))
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if _, err := client.Resolve(t.Context(), p.repository, "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	tokens := func() (n int) {
		for _, r := range server.Requests() {
			if r.Path == "/token" {
				n++
			}
		}
		return n
	}
	if got := tokens(); got != 1 {
		t.Errorf("fetched %d tokens, want one", got)
	}
	clock.advance(time.Hour)
	if _, err := client.Resolve(t.Context(), p.repository, "v1"); err != nil {
		t.Fatal(err)
	}
	if got := tokens(); got != 2 {
		t.Errorf("after it expired fetched %d tokens in all, want two", got)
	}
}

// several gives credentials one after the other.
type several []registry.Credential

func (s several) Credentials(context.Context, registry.Repository) ([]registry.Credential, error) {
	return s, nil
}

func TestCredentialsAreTriedOneAfterTheOther(t *testing.T) {
	good := registry.Credential{Username: registrytest.Username, Password: registrytest.Password}
	wrong := registry.Credential{Username: "bob", Password: "old"}
	for _, shape := range []registrytest.Shape{registrytest.Basic, registrytest.Bearer} {
		t.Run(string(shape), func(t *testing.T) {
			server := start(t, shape)
			client := newClient(t, server.Options())
			p := push(t, client, server.Repository("acme/app"))
			for name, test := range map[string]struct {
				credentials several
				want        registry.Kind
			}{
				"the second is right": {several{wrong, good}, ""},
				"the third is right":  {several{wrong, {Username: "carol"}, good}, ""},
				"none is right":       {several{wrong, {Username: "carol"}}, registry.Unauthorized},
				"there are none":      {nil, registry.Unauthorized},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := client.WithCredentials(test.credentials).Resolve(t.Context(), p.repository, "v1")
					if registry.KindOf(err) != test.want {
						t.Errorf("got %v, want kind %q", err, test.want)
					}
					if err != nil && !strings.Contains(err.Error(), server.Host()) {
						t.Errorf("the message %q does not name the host", err)
					}
				})
			}
			if _, err := client.Resolve(t.Context(), p.repository, "v1"); err != nil {
				t.Errorf("the credentials of others changed those of the client: %v", err)
			}
		})
	}
}

func TestCredentialsThatExpiredAreLookedUpAgain(t *testing.T) {
	server := start(t, registrytest.Basic)
	p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
	renewed := several{{Username: registrytest.Username, Password: registrytest.Password}}
	client := newClient(t, server.Options()).WithCredentials(renewed)
	if _, err := client.Resolve(t.Context(), p.repository, "v1"); err != nil {
		t.Fatal(err)
	}
	// The registry forgets a password that was good, once.
	server.Inject(registrytest.Times(1, registrytest.Status(http.StatusUnauthorized, "")))
	if _, err := client.Resolve(t.Context(), p.repository, "v1"); err != nil {
		t.Error(err)
	}
	renewed[0].Password = "revoked"
	server.Inject(registrytest.Times(1, registrytest.Status(http.StatusUnauthorized, "")))
	_, err := client.Resolve(t.Context(), p.repository, "v1")
	wantKind(t, err, registry.Unauthorized)
}

func TestMirrorsAreReadFirstAndTheRegistryStaysTheLastWord(t *testing.T) {
	home, mirror := start(t, registrytest.Referrers), start(t, registrytest.Basic)
	options := home.Options()
	options.Allow = append(options.Allow, mirror.Host())
	options.PlainHTTP = append(options.PlainHTTP, mirror.Host())
	options.Credentials = mirror.Options().Credentials
	p := push(t, newClient(t, options), home.Repository("acme/app"))
	image, err := newClient(t, options).Image(t.Context(), p.repository, p.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, options).PushImage(t.Context(), mirror.Repository("copies/acme/app"), "v1", image); err != nil {
		t.Fatal(err)
	}
	options.Mirrors = map[string][]string{home.Host(): {mirror.Host() + "/copies"}}
	client := newClient(t, options)
	home.Forget()
	mirror.Forget()
	manifest, err := client.Resolve(t.Context(), p.repository, "v1")
	if err != nil || manifest.Digest != p.image.Digest || len(home.Requests()) != 0 {
		t.Fatalf("got %s, %v and %d requests to the registry, want %s from the mirror", manifest.Digest, err, len(home.Requests()), p.image.Digest)
	}
	// The mirror has no referrers of it: that is not the last word.
	wantReferrers(t, client, p, p.referrer.Digest)
	if _, err := client.Blob(t.Context(), p.repository, p.blob.Digest, limit); err != nil {
		t.Errorf("a blob that the mirror does not have: %v", err)
	}
	mirror.Inject(registrytest.Flipped())
	if manifest, err = client.Manifest(t.Context(), p.repository, p.image.Digest); err != nil || manifest.Digest != p.image.Digest {
		t.Errorf("with a mirror that changes content: got %v, want it from the registry", err)
	}
	for _, r := range home.Requests() {
		if r.Header.Get("Authorization") != "" {
			t.Error("the registry was sent the credentials of the mirror")
		}
	}
	if err := mirror.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resolve(t.Context(), p.repository, "v1"); err != nil {
		t.Errorf("with a mirror that is down: %v", err)
	}
}

func TestAPrivateCertificateAuthorityIsTrustedWhereItIsGiven(t *testing.T) {
	server := start(t, registrytest.TLS)
	options := server.Options()
	file := options.Authorities[0].File
	for name, test := range map[string]struct {
		authorities []registry.Authority
		want        registry.Kind
	}{
		"for all hosts":    {[]registry.Authority{{File: file}}, registry.NotFound},
		"for the host":     {[]registry.Authority{{Host: server.Host(), File: file}}, registry.NotFound},
		"for another host": {[]registry.Authority{{Host: "registry.example.com", File: file}}, registry.Unreachable},
		"for none":         {nil, registry.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			options.Authorities = test.authorities
			_, err := newClient(t, options).Resolve(t.Context(), server.Repository("acme/app"), "v1")
			wantKind(t, err, test.want)
			if test.want == registry.Unreachable && !strings.HasSuffix(err.Error(), "has a private certificate authority, give it with --registry-ca") {
				t.Errorf("the message %q does not say to give the certificate authority", err)
			}
		})
	}
}

func TestAMessageNamesTheFlagThatOpensARegistry(t *testing.T) {
	server := start(t, registrytest.Referrers)
	host := server.Host()
	for name, test := range map[string]struct {
		change func(*registry.Options)
		want   string
	}{
		"one without TLS":           {func(o *registry.Options) { o.PlainHTTP = nil }, host + " speaks no TLS here; if it is to be used without, give --plain-http-registry " + host},
		"one at a loopback address": {func(o *registry.Options) { o.Allow = nil }, "it is a loopback address; if " + host + " is to be used, give --allow-registry " + host},
		"one that wants a credential": {func(*registry.Options) {
			server.Inject(registrytest.On("/v2/", registrytest.Status(http.StatusUnauthorized, "")))
		}, "; give credentials for " + host + " with --registry-config or --credential-provider-config, or in a pull secret"},
	} {
		t.Run(name, func(t *testing.T) {
			options := newClock().on(server.Options())
			test.change(&options)
			_, err := newClient(t, options).Resolve(t.Context(), server.Repository("acme/app"), "v1")
			if got := fmt.Sprint(err); !strings.HasSuffix(got, test.want) {
				t.Errorf("got %q, want it to end with %q", got, test.want)
			}
		})
	}
	t.Run("one at the address of clouds' metadata, which no flag opens", func(t *testing.T) {
		_, err := newClient(t, newClock().on(server.Options())).Resolve(t.Context(), registry.Repository{Registry: "169.254.169.254", Path: "acme/app"}, "v1")
		if got := fmt.Sprint(err); !strings.HasSuffix(got, "where clouds keep their metadata; use a registry at another address") {
			t.Errorf("got %q, want it to end with using another registry", got)
		}
	})
}

func TestAnOptionThatIsWrongNamesItsFlag(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options registry.Options
		want    string
	}{
		"an address as allowed host":   {registry.Options{Allow: []string{"http://x"}}, `reading --allow-registry "http://x": it is an address: write HOST or HOST:PORT`},
		"a path as allowed host":       {registry.Options{Allow: []string{"x/y"}}, `"x/y" is no host name: write HOST or HOST:PORT`},
		"a port that is none":          {registry.Options{Allow: []string{"x:http"}}, `"http" is no port: write HOST or HOST:PORT`},
		"an address as plain host":     {registry.Options{PlainHTTP: []string{"http://x"}}, `reading --plain-http-registry "http://x": it is an address: write HOST or HOST:PORT`},
		"no file of authorities":       {registry.Options{Authorities: []registry.Authority{{File: "nosuch.pem"}}}, "no such file or directory: correct --registry-ca"},
		"an empty file of authorities": {registry.Options{Authorities: []registry.Authority{{File: empty}}}, "empty.pem holds no certificate in PEM: correct --registry-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := registry.New(test.options); !strings.HasSuffix(fmt.Sprint(err), test.want) {
				t.Errorf("got %v, want it to end with %q", err, test.want)
			}
		})
	}
}

func TestTwoWhoAttachAtOnceBothGetIntoTheList(t *testing.T) {
	server := start(t, registrytest.Fallback)
	client := newClient(t, server.Options())
	p := push(t, client, server.Repository("acme/app"))
	// Somebody else replaces the list between the first writing and the reading of it.
	raw := referrer(p, registry.DigestOf([]byte("{}")), "mine")
	var once sync.Once
	server.Inject(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-") {
				once.Do(func() {
					index := []byte(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[{"mediaType":"` + manifestType + `","digest":"` + p.referrer.Digest + `","size":1}]}`)
					request, _ := http.NewRequest(http.MethodPut, r.URL.Path, strings.NewReader(string(index)))
					request.Header.Set("Content-Type", indexType)
					next.ServeHTTP(discard{http.Header{}}, request)
				})
			}
		})
	})
	mine, err := client.PushReferrer(t.Context(), p.repository, p.image.Digest, manifestType, raw)
	if err != nil {
		t.Fatal(err)
	}
	wantReferrers(t, client, p, p.referrer.Digest, mine.Digest)
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestARegistryThatForbidsToDeleteIsAFaultAndTheListIsMended(t *testing.T) {
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusForbidden, http.StatusBadRequest} {
		server := start(t, registrytest.Fallback)
		client := newClient(t, server.Options())
		p := push(t, client, server.Repository("acme/app"))
		server.Inject(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodDelete {
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		if err := client.RemoveReferrer(t.Context(), p.repository, p.image.Digest, p.referrer.Digest); err == nil {
			t.Errorf("%d: got no fault", status)
		}
		wantReferrers(t, client, p)
	}
}

// What registries without the API answer in place of 404.
func TestQuirksOfRegistriesWithoutTheAPI(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"400":                  registrytest.Status(http.StatusBadRequest, ""),
		"405":                  registrytest.Status(http.StatusMethodNotAllowed, ""),
		"406":                  registrytest.Status(http.StatusNotAcceptable, ""),
		"501":                  registrytest.Status(http.StatusNotImplemented, ""),
		"a redirect to a page": registrytest.Redirect("https://example.com/"),
		"a page for people":    registrytest.Content("text/html", []byte("<html>")),
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, registrytest.Fallback)
			client := newClient(t, server.Options())
			p := push(t, client, server.Repository("acme/app"))
			server.Inject(registrytest.On("/referrers/", fault))
			wantReferrers(t, newClient(t, server.Options()), p, p.referrer.Digest)
		})
	}
	for name, test := range map[string]struct {
		fault registrytest.Fault
		want  registry.Kind
	}{
		"403 could hide evidence": {registrytest.Status(http.StatusForbidden, ""), registry.Unauthorized},
		"500 could hide evidence": {registrytest.Status(http.StatusInternalServerError, ""), registry.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, registrytest.Fallback)
			client := newClient(t, newClock().on(server.Options()))
			p := push(t, client, server.Repository("acme/app"))
			server.Inject(registrytest.On("/referrers/", test.fault))
			_, err := newClient(t, newClock().on(server.Options())).Referrers(t.Context(), p.repository, p.image.Digest)
			wantKind(t, err, test.want)
		})
	}
}

func TestOptionsThatAreWrongAreRefusedTogether(t *testing.T) {
	_, err := registry.New(registry.Options{
		Allow: []string{"a b"}, PlainHTTP: []string{"x/y"}, Mirrors: map[string][]string{"ghcr.io": {"mirror/../x"}},
		Realms: map[string][]string{"ghcr.io": {"bad host"}},
	})
	for _, want := range []string{`"a b"`, `"x/y"`, `"mirror/../x"`, `"bad host"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	for _, options := range []registry.Options{{Cluster: []string{"x"}}, {Authorities: []registry.Authority{{File: "/does/not/exist"}}}} {
		if _, err := registry.New(options); err == nil {
			t.Errorf("%+v was taken", options)
		}
	}
}

func TestWhatIsNoReferenceIsNotAskedFor(t *testing.T) {
	server := start(t, registrytest.Referrers)
	client := newClient(t, server.Options())
	for _, err := range []error{
		second(client.Resolve(t.Context(), server.Repository("acme/../x"), "v1")),
		second(client.Resolve(t.Context(), server.Repository("acme/app"), "v1?x")),
		second(client.Manifest(t.Context(), server.Repository("acme/app"), "sha256:abc")),
		second(client.Manifest(t.Context(), server.Repository("acme/app"), "md5:d41d8cd98f00b204e9800998ecf8427e")),
		second(client.Blob(t.Context(), server.Repository("acme/app"), "../../x", limit)),
		second(client.Referrers(t.Context(), registry.Repository{Registry: "a@b", Path: "x"}, registry.DigestOf(nil))),
	} {
		wantKind(t, err, registry.Malformed)
	}
	if got := server.Requests(); len(got) != 0 {
		t.Errorf("asked %v, want nothing", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAManifestThatIsTwoThingsIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"layers and manifests":     `{"schemaVersion":2,"layers":[],"manifests":[]}`,
		"an index with a config":   `{"schemaVersion":2,"mediaType":"` + indexType + `","config":{"mediaType":"x"}}`,
		"a manifest with children": `{"schemaVersion":2,"mediaType":"` + manifestType + `","manifests":[]}`,
		"no JSON":                  `x`,
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, registrytest.Referrers)
			p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
			server.Inject(registrytest.Body([]byte(body)))
			_, err := newClient(t, server.Options()).Resolve(t.Context(), p.repository, "v1")
			wantKind(t, err, registry.Malformed)
		})
	}
}

func TestAListOfSeveralPagesIsReadWhole(t *testing.T) {
	entry := func(n int) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%064x","size":1}`, manifestType, n)
	}
	server := start(t, registrytest.Referrers)
	server.Inject(registrytest.On("/referrers/", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			list := entry(1) + "," + entry(2)
			switch r.URL.Query().Get("last") {
			case "":
				w.Header().Set("Link", `<`+r.URL.Path+`?last=2&n=2>; rel="next"`)
			default:
				list = entry(2) + "," + entry(3) // one is listed twice, since the list changed meanwhile
			}
			w.Header().Set("Content-Type", indexType+"; charset=utf-8")
			fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[%s]}`, list)
		})
	}))
	list, err := newClient(t, server.Options()).Referrers(t.Context(), server.Repository("acme/app"), registry.DigestOf(nil))
	if err != nil || len(list) != 3 {
		t.Errorf("got %v, %v, want three referrers", list, err)
	}
	server.Inject(registrytest.On("/referrers/", registrytest.Pages("")))
	server.Forget()
	_, err = newClient(t, server.Options()).Referrers(t.Context(), server.Repository("acme/app"), registry.DigestOf(nil))
	wantKind(t, err, registry.TooMany)
	if got := len(server.Requests()); got != registry.DefaultMaxPages {
		t.Errorf("read %d pages, want %d", got, registry.DefaultMaxPages)
	}
}

func TestTheNextPageIsFoundAmongOtherLinks(t *testing.T) {
	for header, want := range map[string]string{
		`</v2/x?n=1>; rel="next"`:                      "/v2/x?n=1",
		`</v2/x?n=1>;rel=next`:                         "/v2/x?n=1",
		`</first>; rel="first", </second>; rel="next"`: "/second",
		`</x>; title="a"; rel="next"`:                  "/x",
		`</x>; rel="prev"`:                             "",
		`/x; rel="next"`:                               "",
		`<`:                                            "",
		``:                                             "",
	} {
		if got := registry.NextLink(header); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
}

func TestAStreamMayTakeLongAsLongAsItMovesOn(t *testing.T) {
	t.Run("a few bytes at a time are none", func(t *testing.T) {
		t.Parallel()
		server := start(t, registrytest.Referrers)
		options := server.Options()
		p := push(t, newClient(t, options), server.Repository("acme/app"))
		server.Inject(registrytest.Drip(50 * time.Millisecond))
		options.RequestTimeout = 300 * time.Millisecond
		wantKind(t, operations["stream"](t.Context(), newClient(t, options), p), registry.Timeout)
	})
	t.Run("a large blob over a slow line", func(t *testing.T) {
		t.Parallel()
		server := start(t, registrytest.Referrers)
		options := server.Options()
		content := bytes.Repeat([]byte("0123456789abcdef"), 6<<12)
		blob, err := newClient(t, options).PushBlob(t.Context(), server.Repository("acme/app"), content)
		if err != nil {
			t.Fatal(err)
		}
		server.Inject(registrytest.Chunks(content, 64<<10, 500*time.Millisecond))
		options.RequestTimeout = 2 * time.Second
		p := pushed{repository: server.Repository("acme/app"), blob: blob}
		if err := operations["stream"](t.Context(), newClient(t, options), p); err != nil {
			t.Errorf("streamed: %v", err)
		}
		// Held in memory, it has the time of one request.
		wantKind(t, operations["blob"](t.Context(), newClient(t, options), p), registry.Timeout)
	})
}
