// Package http brings bundles from web servers: a tarball in OPA's bundle format
// (https://www.openpolicyagent.org/docs/management-bundles#bundle-file-format), as "opa build" and "portcullis bundle build" write
// it, and beside it the Sigstore bundle that "cosign sign-blob --bundle" makes of the tarball. OPA's own .signatures.json is a
// hidden file and not looked at: what counts is the signature of the tarball.
package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// DefaultTimeout is how long a fetch may take, for what a slow line brings of the largest bundle in that time.
const DefaultTimeout = 2 * time.Minute

// signatureSuffix is behind the URL of a tarball where nothing else is said.
const signatureSuffix = ".sigstore.json"

// maxSignature is far above a Sigstore bundle with a certificate and a log entry: a few KiB.
const maxSignature = 256 << 10

// Credentials are what to sign in with: either a token, or a name and a password. They are sent to the host of the URL and
// to no other.
type Credentials struct {
	Username, Password string
	BearerToken        string
}

// Options are those of a [Source].
type Options struct {
	Credentials Credentials
	// Allow are hosts that may be at private, loopback or cluster addresses, and networks that may be connected to whatever they
	// are, as in [registry.Options]; Cluster are networks refused even if they are public.
	Allow, Cluster []string
	// PlainHTTP are hosts ("host:port") that are spoken to without TLS.
	PlainHTTP []string
	// Timeout is DefaultTimeout where it is 0.
	Timeout time.Duration
}

// Source is a tarball on a web server.
type Source struct {
	url, signature *url.URL
	options        Options
	transport      nethttp.RoundTripper
}

// New checks the options. It connects to nothing.
func New(s v1alpha1.HTTPSource, o Options) (*Source, error) {
	made, err := newSource(s, o)
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	return made, nil
}

func newSource(s v1alpha1.HTTPSource, o Options) (*Source, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	at, err := parseURL("http.url", s.URL, o)
	if err != nil {
		return nil, err
	}
	signature := *at
	signature.Path, signature.RawPath = at.Path+signatureSuffix, ""
	if s.SignatureURL != "" {
		given, err := parseURL("http.signatureURL", s.SignatureURL, o)
		if err != nil {
			return nil, err
		}
		signature = *given
	}
	if o.Credentials.BearerToken != "" && o.Credentials.Username+o.Credentials.Password != "" {
		return nil, errors.New("there are a bearerToken and a password: give one of them")
	}
	connections := registry.Options{Allow: o.Allow, Cluster: o.Cluster}
	if s.CABundle != "" {
		connections.Authorities = []registry.Authority{{PEM: []byte(s.CABundle), Only: true}}
	}
	proxy, err := source.Proxy(s.ProxyURL)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		connections.Proxy = func(*nethttp.Request) (*url.URL, error) { return proxy, nil }
	}
	transport, err := registry.NewTransport(connections)
	if err != nil {
		return nil, err
	}
	return &Source{url: at, signature: &signature, options: o, transport: transport}, nil
}

// parseURL wants https, but at hosts that were named.
func parseURL(field, text string, o Options) (*url.URL, error) {
	parsed, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is no URL: write https://HOST/PATH", field)
	case parsed.User != nil:
		return nil, fmt.Errorf("%s has a password in it, which everybody who may read the bundle sees: put username and password into the Secret", field)
	case parsed.Hostname() == "" || parsed.Path == "" || parsed.Path == "/":
		return nil, fmt.Errorf("%s names no file of a server: write https://HOST/PATH", field)
	case !speaks(parsed, o):
		return nil, fmt.Errorf("%s %s is not https: whoever is on the way could see it and change it: use https", field, bare(parsed))
	}
	parsed.Fragment, parsed.RawFragment = "", ""
	return parsed, nil
}

// speaks says whether a URL is https, or http at a host for which that is allowed.
func speaks(u *url.URL, o Options) bool {
	return u.Scheme == "https" || u.Scheme == "http" && slices.Contains(o.PlainHTTP, u.Host)
}

// bare is a URL for people: without its query, which may hold a token.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// version is by what revisions are told apart. It is written as JSON.
type version struct {
	Tarball   validator `json:"tarball"`
	Signature validator `json:"signature"`
}

// validator is what a server says of one state of a file (RFC 9110, section 8.8), and the digest of what it sent.
type validator struct {
	Digest   string `json:"digest,omitempty"`
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
}

// Fetch implements [source.Source]. The version is what the server says of tarball and signature, with their digests. Where
// both are as before nothing is transferred, if the server keeps to RFC 9110.
func (s *Source) Fetch(ctx context.Context, last string) (*source.Revision, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.Timeout, fmt.Errorf("the server did not finish its answer in %s: retry, or look at the connection", s.options.Timeout))
	defer cancel()
	var before version
	if json.Unmarshal([]byte(last), &before) != nil {
		before = version{}
	}
	tarball, err := s.get(ctx, s.url, source.MaxEncoded, before.Tarball)
	if err != nil {
		return nil, err
	}
	signature, err := s.get(ctx, s.signature, maxSignature, before.Signature)
	if missing(err) {
		signature, err = file{}, nil
	}
	if err != nil {
		return nil, err
	}
	if before.Tarball.Digest != "" && tarball.Digest == before.Tarball.Digest && signature.Digest == before.Signature.Digest {
		return nil, source.ErrUnchanged
	}
	if tarball, err = s.whole(ctx, s.url, source.MaxEncoded, tarball); err != nil {
		return nil, err
	}
	if signature, err = s.whole(ctx, s.signature, maxSignature, signature); err != nil {
		return nil, err
	}
	return s.revision(tarball, signature)
}

// whole fetches a file that is as before, and is needed since the other one is not.
func (s *Source) whole(ctx context.Context, at *url.URL, most int64, f file) (file, error) {
	if !f.unchanged {
		return f, nil
	}
	return s.get(ctx, at, most, validator{})
}

func (s *Source) revision(tarball, signature file) (*source.Revision, error) {
	tree, err := archive.Unpack(bytes.NewReader(tarball.content))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", bare(s.url), err)
	}
	written, err := json.Marshal(version{Tarball: tarball.validator, Signature: signature.validator})
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", bare(s.url), err)
	}
	return &source.Revision{
		Tree:    tree,
		Origin:  fmt.Sprintf("%s (%.19s)", bare(s.url), tarball.Digest),
		Version: string(written),
		Proof:   source.Proof{Blob: &source.BlobProof{Bundle: signature.content, Tarball: tarball.content}},
	}, nil
}

// missing says that a server has no such file.
func missing(err error) bool {
	var status *statusError
	return errors.As(err, &status) && (status.code == nethttp.StatusNotFound || status.code == nethttp.StatusGone)
}

// readable is an entity tag or a date as a header may have it (RFC 9110, section 5.5), "" for anything else: it is sent
// back.
func readable(header string) string {
	const most = 256
	if len(header) > most || strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return header
}
