package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/url"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// maxRedirects is one more than storage services make.
const maxRedirects = 3

// file is what a server has at a URL.
type file struct {
	validator
	content []byte
	// unchanged: it is as before, and was not transferred.
	unchanged bool
}

// statusError is an answer with another status than 200.
type statusError struct {
	code int
	host string
}

// Error ends with the next step.
func (e *statusError) Error() string {
	next := fmt.Sprintf("look at %s, then retry", e.host)
	switch {
	case e.code == nethttp.StatusUnauthorized || e.code == nethttp.StatusForbidden:
		next = "put username and password, or a bearerToken, that may read it into the Secret"
	case e.code == nethttp.StatusNotFound || e.code == nethttp.StatusGone:
		next = "check the URL, or put the bundle there"
	case e.code == nethttp.StatusTooManyRequests:
		next = "look less often"
	}
	return fmt.Sprintf("%s answered %d %s: %s", e.host, e.code, nethttp.StatusText(e.code), next)
}

// get fetches a file, unless it is as before.
func (s *Source) get(ctx context.Context, at *url.URL, most int64, before validator) (file, error) {
	found, err := s.fetch(ctx, at, most, before)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err != nil {
		return file{}, fmt.Errorf("fetching %s: %w", bare(at), err)
	}
	return found, nil
}

func (s *Source) fetch(ctx context.Context, at *url.URL, most int64, before validator) (file, error) {
	response, err := s.follow(ctx, at, before)
	if err != nil {
		return file{}, err
	}
	defer response.Body.Close()
	if response.StatusCode == nethttp.StatusNotModified && before.Digest != "" {
		return file{validator: before, unchanged: true}, nil
	}
	if response.StatusCode != nethttp.StatusOK {
		return file{}, &statusError{code: response.StatusCode, host: response.Request.URL.Host}
	}
	content, err := readAll(response, most)
	if err != nil {
		return file{}, err
	}
	return file{content: content, validator: validator{
		Digest:   registry.DigestOf(content),
		ETag:     readable(response.Header.Get("ETag")),
		Modified: readable(response.Header.Get("Last-Modified")),
	}}, nil
}

// readAll reads a body of at most so many bytes.
func readAll(response *nethttp.Response, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the answer was cut short: retry")
	case err != nil:
		return nil, err
	case int64(len(content)) > most:
		return nil, fmt.Errorf("it has more than %d bytes, which is the limit: make it smaller", most)
	case len(content) == 0:
		return nil, errors.New("the answer is empty: put the bundle there")
	}
	return content, nil
}

// follow sends a request and follows redirects: within https, and with credentials at their own host only.
func (s *Source) follow(ctx context.Context, at *url.URL, before validator) (*nethttp.Response, error) {
	for hop := 0; ; hop++ {
		response, err := s.send(ctx, at, before)
		if err != nil {
			return nil, err
		}
		switch response.StatusCode {
		case nethttp.StatusMovedPermanently, nethttp.StatusFound, nethttp.StatusSeeOther, nethttp.StatusTemporaryRedirect, nethttp.StatusPermanentRedirect:
		default:
			return response, nil
		}
		response.Body.Close()
		if hop == maxRedirects {
			return nil, fmt.Errorf("the answer is the %dth redirect in a row: name the address where the bundle is", hop+1)
		}
		to, err := at.Parse(response.Header.Get("Location"))
		if err != nil || to.Hostname() == "" || to.User != nil {
			return nil, fmt.Errorf("the redirect of %s leads to no address: name the one where the bundle is", at.Host)
		}
		if to.Scheme != at.Scheme {
			return nil, fmt.Errorf("not following the redirect to %s: it is not %s as before: name the address where the bundle is", bare(to), at.Scheme)
		}
		at = to
	}
}

// send is one request.
func (s *Source) send(ctx context.Context, at *url.URL, before validator) (*nethttp.Response, error) {
	request, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "portcullis")
	if before.ETag != "" {
		request.Header.Set("If-None-Match", before.ETag)
	} else if before.Modified != "" {
		request.Header.Set("If-Modified-Since", before.Modified)
	}
	if at.Scheme == s.url.Scheme && at.Host == s.url.Host {
		s.options.Credentials.sign(request)
	}
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return nil, broken(at.Host, err)
	}
	return response, nil
}

func (c Credentials) sign(request *nethttp.Request) {
	switch {
	case c.BearerToken != "":
		request.Header.Set("Authorization", "Bearer "+c.BearerToken)
	case c.Username != "" || c.Password != "":
		request.SetBasicAuth(c.Username, c.Password)
	}
}

// broken says what to do about an error of the network.
func broken(host string, err error) error {
	if registry.UntrustedCertificate(err) {
		return fmt.Errorf("%w: if %s has a private certificate authority, give its certificate as caBundle", err, host)
	}
	return registry.Broken("connecting to "+host, host, err)
}
