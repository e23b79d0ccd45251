package git

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Credentials are what to sign in with, and by what to know the server.
type Credentials struct {
	// Username and Password, or BearerToken, are for https.
	Username, Password string
	BearerToken        string
	// Identity is an SSH private key in PEM; Password is its passphrase if it has one.
	Identity []byte
	// KnownHosts are the keys of servers in OpenSSH's format. Without the server's key nothing is fetched over ssh.
	KnownHosts string
}

// Options are those of a [Source].
type Options struct {
	Credentials Credentials
	// Allow are hosts that may be at private, loopback or cluster addresses ("git.example.com", "10.0.0.7:22"), and networks that
	// may be connected to whatever they are, as in [registry.Options]; Cluster are networks refused even if they are public. A
	// name without a port is that of https; for ssh write "HOST:22".
	Allow, Cluster []string
	// PlainHTTP are hosts ("host:port") that are spoken to without TLS.
	PlainHTTP []string
	Limits    Limits
}

// Source is a folder of a Git repository.
type Source struct {
	wanted    v1alpha1.GitSource
	folder    string
	at        *address
	options   Options
	limits    Limits
	transport *registry.Transport
	proxy     *url.URL
	known     *knownHosts // of ssh
	identity  ssh.Signer  // of ssh
}

var _ source.Source = (*Source)(nil)

// New checks the options. It connects to nothing.
func New(s v1alpha1.GitSource, o Options) (*Source, error) {
	made, err := newSource(s, o)
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	return made, nil
}

func newSource(wanted v1alpha1.GitSource, o Options) (*Source, error) {
	at, err := parseAddress(wanted.URL, o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	if err := checkTarget(wanted); err != nil {
		return nil, err
	}
	s := &Source{wanted: wanted, at: at, options: o, limits: o.Limits.filled()}
	if s.folder, err = folder(wanted.Path); err != nil {
		return nil, err
	}
	if err := s.setCredentials(); err != nil {
		return nil, err
	}
	return s, s.setTransport()
}

// setCredentials demands those that the transport can use.
func (s *Source) setCredentials() error {
	c := s.options.Credentials
	if s.at.scheme != "ssh" {
		if c.BearerToken != "" && c.Username+c.Password != "" {
			return errors.New("there are a bearerToken and a password: give one of them")
		}
		if len(c.Identity) > 0 {
			return errors.New("there is an identity, which is for ssh, and git.url is https: give username and password, or ssh://git@HOST/PATH")
		}
		return nil
	}
	var err error
	if s.identity, err = sshKey(c); err != nil {
		return err
	}
	if strings.TrimSpace(c.KnownHosts) == "" {
		return errors.New("there is no known_hosts, so anybody could answer for the server: get its key with ssh-keyscan, compare the fingerprint with the server's, and put it into the Secret as known_hosts")
	}
	if s.known, err = parseKnownHosts(c.KnownHosts); err != nil {
		return err
	}
	if s.at.user == "" {
		s.at.user = "git"
	}
	return nil
}

func (s *Source) setTransport() error {
	connections := registry.Options{Allow: s.options.Allow, Cluster: s.options.Cluster}
	if s.wanted.CABundle != "" {
		if !x509.NewCertPool().AppendCertsFromPEM([]byte(s.wanted.CABundle)) {
			return errors.New("caBundle holds no certificate in PEM: give that of the authority, from BEGIN to END CERTIFICATE")
		}
		connections.Authorities = []registry.Authority{{PEM: []byte(s.wanted.CABundle), Only: true}}
	}
	var err error
	if s.proxy, err = source.Proxy(s.wanted.ProxyURL); err != nil {
		return err
	}
	if s.proxy != nil {
		connections.Proxy = func(*http.Request) (*url.URL, error) { return s.proxy, nil }
	}
	if s.transport, err = registry.NewTransport(connections); err != nil {
		return err
	}
	if s.at.scheme == "ssh" && s.proxy != nil && s.proxy.Scheme != "http" {
		return errors.New("proxyURL is https, which is not spoken before ssh: give an http:// proxy")
	}
	return nil
}

// Fetch implements [source.Source]. It asks for branches and tags first, and for nothing more where they lead to the commit
// that was fetched before. The version is the commit, and "+" and the annotated tag where there is one.
func (s *Source) Fetch(ctx context.Context, last string) (*source.Revision, error) {
	if s.wanted.Commit != "" && s.wanted.Commit == last {
		return nil, source.ErrUnchanged // a commit never is another one
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limits.Timeout, fmt.Errorf("the server did not finish its answer in %s: retry, or look at the connection", s.limits.Timeout))
	defer cancel()
	revision, err := s.fetch(ctx, last)
	if err == nil || errors.Is(err, source.ErrUnchanged) {
		return revision, err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("fetching %s: %w", s.origin(""), err)
}

func (s *Source) fetch(ctx context.Context, last string) (*source.Revision, error) {
	session, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer session.close()
	advertised, err := s.listReferences(ctx, session)
	if err != nil {
		return nil, err
	}
	t, err := choose(s.wanted, advertised)
	if err != nil {
		return nil, err
	}
	if t.version() == last {
		return nil, source.ErrUnchanged
	}
	found, err := s.fetchObjects(ctx, session, advertised.Capabilities, t)
	if err != nil {
		return nil, err
	}
	tree, proof, err := read(found, t, s.folder)
	if err != nil {
		return nil, err
	}
	return &source.Revision{Tree: tree, Origin: s.origin(t.commit), Version: t.version(), Proof: source.Proof{Git: proof}}, nil
}

// connect begins an exchange.
func (s *Source) connect(ctx context.Context) (session, error) {
	if s.at.scheme == "ssh" {
		session, err := s.connectSSH(ctx)
		if err != nil {
			return nil, err
		}
		return session, nil
	}
	return &httpSession{source: s}, nil
}

// origin is the source for people, as --bundle takes it.
func (s *Source) origin(commit string) string {
	origin := "git+" + s.at.String()
	if s.folder != "" {
		origin += "//" + s.folder
	}
	for _, at := range []string{commit, s.wanted.Commit, s.wanted.Tag, s.wanted.Branch} {
		if at != "" {
			return origin + "@" + at
		}
	}
	return origin
}
