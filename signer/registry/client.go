package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Limits where [Options] says nothing else.
const (
	// DefaultMaxManifest is what the distribution specification asks registries to
	// accept at least ("Pushing Manifests": 4 megabytes), and most accept at most.
	DefaultMaxManifest = 4 << 20
	// DefaultMaxReferrers is far above what a signed and scanned image has: a dozen.
	DefaultMaxReferrers = 50
	// DefaultMaxPages bounds pagination that brings nothing new.
	DefaultMaxPages = 10
	// DefaultRequestTimeout is below the 10 s that an admission webhook has by default.
	DefaultRequestTimeout = 8 * time.Second
	// DefaultAttempts is how often a request is sent at most.
	DefaultAttempts = 4
	// DefaultMaxLayers is above the 127 layers that container runtimes can mount.
	DefaultMaxLayers = 512
	// DefaultMaxLayer and DefaultMaxImage are the compressed sizes of a layer and of all.
	DefaultMaxLayer = 4 << 30
	DefaultMaxImage = 8 << 30
	// DefaultMaxUncompressed is the size of all layers of an image, unpacked.
	DefaultMaxUncompressed = 32 << 30
)

// Options of a [Client]. The zero value reads public registries without credentials.
// Hosts are written "registry.example.com" or "registry.example.com:5000"; Docker Hub is
// "docker.io". The port is 443 where none is given.
type Options struct {
	// Credentials is where credentials come from, nil for none.
	Credentials Credentials
	// Allow are hosts that may be at private, loopback or cluster addresses, and networks
	// ("10.1.0.0/16") that may be connected to whatever they are. Everything else must be
	// public, since whoever can create a pod chooses the names of images and so what this
	// program connects to. Link-local addresses, where clouds keep their metadata, are
	// only ever allowed as networks.
	Allow []string
	// Cluster are the networks of pods, services and nodes, refused even if they are public.
	Cluster []string
	// PlainHTTP are hosts that are spoken to without TLS.
	PlainHTTP []string
	// Authorities are certificate authorities besides the system's.
	Authorities []Authority
	// Mirrors are hosts, or "host/path/prefix", to read from before a registry, by registry.
	Mirrors map[string][]string
	// Realms are hosts of token servers, by registry, that may be sent its credentials.
	// A token server at the registry's own host, at another host of its registrable
	// domain, or known to be that of a public registry needs no mention.
	Realms map[string][]string

	// MaxManifest, MaxReferrers and MaxPages are the limits of what is read; see the Default constants.
	MaxManifest  int64
	MaxReferrers int
	MaxPages     int
	// MaxLayers, MaxLayer, MaxImage and MaxUncompressed are the limits of [Client.Image], bytes but for the first.
	MaxLayers       int
	MaxLayer        int64
	MaxImage        int64
	MaxUncompressed int64
	// RequestTimeout is how long one request may take with its answer. A blob that is
	// streamed may take longer, but not stand still for so long.
	RequestTimeout time.Duration
	// Attempts is how often a request is sent at most.
	Attempts int

	// Proxy is [http.ProxyFromEnvironment] where it is nil.
	Proxy func(*http.Request) (*url.URL, error)
	// Trace, if set, is told of every HTTP request after its answer's header came, from several goroutines.
	Trace func(Trace)
	// Now, Sleep and Jitter (0 to 1) are the clock, the waiting and the chance, for tests.
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
	Jitter func() float64
}

// Trace is one HTTP request.
type Trace struct {
	Method string
	// URL without its query, which can hold signatures of storage services.
	URL string
	// Status is 0 where no answer came.
	Status int
	// Authorized says whether an Authorization header was sent.
	Authorized bool
	Duration   time.Duration
}

// Client speaks to registries. It is for use by several goroutines.
type Client struct {
	*core
	session *session
}

// core is what clients with different credentials share.
type core struct {
	options    Options
	transports *transports
	gate       *gate
	missing    *missing
	plain      map[string]bool
	mirrors    map[string][]place
}

// New checks the options. All mistakes are reported together.
func New(options Options) (*Client, error) {
	fill(&options)
	c := &core{options: options, plain: map[string]bool{}, mirrors: map[string][]place{}}
	c.gate = &gate{now: options.Now, sleep: options.Sleep, until: map[string]time.Time{}}
	c.missing = &missing{now: options.Now, until: map[string]time.Time{}}
	guard, err := newGuard(options.Allow, options.Cluster)
	problems := []error{err}
	for _, text := range options.PlainHTTP {
		host, err := optionHost("plain-http-registry", text)
		problems = append(problems, err)
		c.plain[host] = true
	}
	for registry, mirrors := range options.Mirrors {
		problems = append(problems, c.addMirrors(registry, mirrors))
	}
	if err == nil {
		c.transports, err = newTransports(options, guard)
		problems = append(problems, err)
	}
	realms, err := newRealms(options.Realms)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Client{core: c, session: newSession(c, realms, options.Credentials)}, nil
}

// fill sets what was left out.
func fill(o *Options) {
	set(&o.MaxManifest, DefaultMaxManifest)
	set(&o.MaxReferrers, DefaultMaxReferrers)
	set(&o.MaxPages, DefaultMaxPages)
	set(&o.MaxLayers, DefaultMaxLayers)
	set(&o.MaxLayer, DefaultMaxLayer)
	set(&o.MaxImage, DefaultMaxImage)
	set(&o.MaxUncompressed, DefaultMaxUncompressed)
	set(&o.RequestTimeout, DefaultRequestTimeout)
	set(&o.Attempts, DefaultAttempts)
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func wrap(err error, format string, arguments ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(arguments, err)...)
}

func (c *core) addMirrors(registry string, mirrors []string) error {
	host, err := canonicalHost(registry)
	if err != nil {
		return fmt.Errorf("reading the registry of the mirrors %q: %w", mirrors, err)
	}
	for _, text := range mirrors {
		mirror, prefix, _ := strings.Cut(text, "/")
		mirror, err := canonicalHost(mirror)
		if err == nil && prefix != "" {
			err = checkPath(prefix)
		}
		if err != nil {
			return fmt.Errorf("reading the mirror %q of %s: %w", text, registry, err)
		}
		c.mirrors[host] = append(c.mirrors[host], place{host: mirror, path: prefix})
	}
	return nil
}

// WithCredentials is the same client, with its connections and limits, for other
// credentials: those of a pod's pull secrets. nil for none. Tokens are not shared between the two.
func (c *Client) WithCredentials(credentials Credentials) *Client {
	return &Client{core: c.core, session: newSession(c.core, c.session.realms, credentials)}
}

// CloseIdleConnections closes connections that are not in use, of all clients that share them.
func (c *Client) CloseIdleConnections() {
	c.transports.shared.CloseIdleConnections()
	for _, own := range c.transports.own {
		own.CloseIdleConnections()
	}
}

// place is where a repository is read or written: at its registry or at a mirror.
type place struct {
	// host is canonical, "docker.io" for Docker Hub; path is the repository's there.
	host, path string
}

func (p place) repository() Repository { return Repository{Registry: p.host, Path: p.path} }

// origin is the place of a repository at its registry.
func origin(r Repository) (place, error) {
	host, err := canonicalHost(r.Registry)
	if err == nil {
		err = checkPath(r.Path)
	}
	return place{host: host, path: r.Path}, err
}

// places are the mirrors of a repository and then the registry.
func (c *core) places(r Repository) ([]place, error) {
	last, err := origin(r)
	if err != nil {
		return nil, err
	}
	var all []place
	for _, mirror := range c.mirrors[last.host] {
		all = append(all, place{host: mirror.host, path: strings.TrimPrefix(mirror.path+"/"+r.Path, "/")})
	}
	return append(all, last), nil
}

// base is the URL of a host. Docker Hub's API is not at the name that its images have.
func (c *core) base(host string) string {
	scheme := "https://"
	if c.plain[host] {
		scheme = "http://"
	}
	if host == hub {
		host = hubEndpoint
	}
	return scheme + host
}

const (
	hub         = "docker.io"
	hubEndpoint = "registry-1.docker.io"
)
