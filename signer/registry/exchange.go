package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies/tracing"
)

const (
	// maxRedirects: registries redirect blobs to their storage, once; some twice.
	maxRedirects = 3
	// maxRounds bounds signing in for one request: one round without, and one for each credential.
	maxRounds = 6
	// maxErrorBody is how much of an error's body is read.
	maxErrorBody = 8 << 10
	// maxDrain is how much of a body is read to use the connection again.
	maxDrain = 16 << 10
	// progress is how many bytes have to arrive in one [Options.RequestTimeout].
	progress = 64 << 10

	userAgent = "portcullis"
)

// request is one step of the protocol, which can be sent more than once.
type request struct {
	// what it is for, as a gerund phrase.
	what   string
	method string
	place  place
	// path is what follows /v2/NAME/; url is the whole address instead, at the place's host.
	path string
	url  *url.URL
	// accept and contentType are headers.
	accept, contentType string
	// body is sent anew with each attempt; size is its length.
	body func() (io.ReadCloser, error)
	size int64
	// push asks for a token that may write, remove for one that may delete.
	push, remove bool
	// redirects are followed.
	redirects bool
	// streamed bodies are read by the caller, for as long as they make progress.
	streamed bool
}

// repeatable says whether sending it twice does what sending it once does.
func (r *request) repeatable() bool {
	return r.method == http.MethodGet || r.method == http.MethodHead || r.method == http.MethodDelete ||
		r.method == http.MethodPut && r.url == nil
}

func (r *request) fault(kind Kind, err error) *Error {
	return &Error{Kind: kind, Host: r.place.host, What: r.what, Err: err}
}

// exchange sends a request until there is an answer with a status of 2xx, and has it
// read. What is temporary is tried again while there is time for it.
func (c *Client) exchange(ctx context.Context, r *request, read func(*http.Response) error) error {
	for attempt := 1; ; attempt++ {
		if err := c.gate.wait(ctx, r.place.host, r.what); err != nil {
			return err
		}
		err := c.attempt(ctx, r, read)
		fault, ok := errors.AsType[*Error](err)
		if !ok || !fault.transient || attempt >= c.options.Attempts || ctx.Err() != nil {
			return err
		}
		if fault.Kind == RateLimited {
			// The token server can be the one that has enough.
			if c.gate.wait(ctx, fault.Host, r.what) != nil {
				return err
			}
			continue
		}
		wait := c.backoff(attempt)
		if !r.repeatable() || !fits(ctx, wait) {
			return err
		}
		if c.options.Sleep(ctx, wait) != nil {
			return err
		}
	}
}

// backoff doubles from 100 ms, each time between half of it and all of it.
func (c *Client) backoff(attempt int) time.Duration {
	full := min(100*time.Millisecond<<(attempt-1), 5*time.Second)
	return full/2 + time.Duration(c.options.Jitter()*float64(full/2))
}

// attempt sends a request and has the answer read, in the time of one request.
func (c *Client) attempt(parent context.Context, r *request, read func(*http.Response) error) error {
	ctx, patience := c.patience(parent)
	response, err := c.signedIn(ctx, r)
	if err != nil {
		err = patience.explain(parent, r, err)
		patience.stop()
		return err
	}
	response.Body = &patientBody{ReadCloser: response.Body, patience: patience, stream: r.streamed, explain: func(err error) error { return patience.explain(parent, r, err) }}
	if err := checkEncoding(r, response); err != nil {
		response.Body.Close()
		return err
	}
	if r.streamed {
		return read(response)
	}
	defer drain(response.Body)
	return read(response)
}

// signedIn sends a request with what is known, and again for each way of signing in that
// the registry asks for, until the answer has a status of 2xx.
func (c *Client) signedIn(ctx context.Context, r *request) (*http.Response, error) {
	authorization, err := c.session.known(ctx, r)
	if err != nil {
		return nil, err
	}
	for range maxRounds {
		response, err := c.follow(ctx, r, authorization)
		if err != nil {
			return nil, err
		}
		if response.StatusCode/100 == 2 {
			c.session.confirm(r, authorization)
			return response, nil
		}
		fault := c.refusal(r, response)
		drain(response.Body)
		if !another(response, authorization) {
			return nil, fault
		}
		if authorization, err = c.session.acquire(ctx, r, response, authorization, fault); err != nil {
			return nil, err
		}
	}
	return nil, r.fault(Unauthorized, errors.New("the registry asks to sign in again and again"))
}

// checkEncoding refuses answers in a content coding: nobody asked for one, and the
// digest is that of the content without it.
func checkEncoding(r *request, response *http.Response) error {
	coding := response.Header.Get("Content-Encoding")
	if coding == "" || coding == "identity" {
		return nil
	}
	return r.fault(Malformed, fmt.Errorf("the answer is compressed (%s), which was not asked for", printable(coding)))
}

// follow sends a request and follows its redirects, if it may.
func (c *Client) follow(ctx context.Context, r *request, authorization string) (*http.Response, error) {
	target, err := c.target(r)
	if err != nil {
		return nil, err
	}
	home := addressOf(target)
	for hop := 0; ; hop++ {
		response, err := c.send(ctx, r, target, authorization)
		if err != nil {
			return nil, err
		}
		switch response.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return response, nil
		}
		if !r.redirects {
			return response, nil
		}
		location := response.Header.Get("Location")
		drain(response.Body)
		if hop == maxRedirects {
			return nil, r.fault(TooMany, fmt.Errorf("the answer is the %dth redirect in a row", hop+1))
		}
		if target, err = c.redirect(r, target, location); err != nil {
			return nil, err
		}
		if addressOf(target) != home {
			authorization = ""
		}
	}
}

// redirect is where a redirect leads to.
func (c *core) redirect(r *request, from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || to.Host == "" || to.User != nil {
		return nil, r.fault(Malformed, fmt.Errorf("%s is no address to redirect to", printable(location)))
	}
	if err := checkHostname(strings.ToLower(to.Hostname())); err != nil {
		return nil, r.fault(Malformed, fmt.Errorf("redirecting: %w", err))
	}
	if !c.speaks(to) {
		fault := r.fault(Forbidden, fmt.Errorf("not following the redirect to %s: it is not https", to.Host))
		fault.Host, fault.hint = to.Host, withoutTLS(to.Host)
		return nil, fault
	}
	return to, nil
}

// speaks says whether a URL is https, or http at a host for which that is allowed.
func (c *core) speaks(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	host, err := canonicalHost(u.Host)
	return err == nil && u.Scheme == "http" && c.plain[host]
}

func (c *core) target(r *request) (*url.URL, error) {
	if r.url != nil {
		return r.url, nil
	}
	return url.Parse(c.base(r.place.host) + "/v2/" + r.place.path + "/" + r.path)
}

// send is one HTTP request.
func (c *core) send(ctx context.Context, r *request, target *url.URL, authorization string) (*http.Response, error) {
	out := (&http.Request{
		Method: r.method, URL: target, Host: target.Host, Header: http.Header{"User-Agent": {userAgent}},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.accept != "" {
		out.Header.Set("Accept", r.accept)
	}
	if authorization != "" {
		out.Header.Set("Authorization", authorization)
	}
	if r.body != nil {
		body, err := r.body()
		if err != nil {
			return nil, err
		}
		out.Body, out.ContentLength = body, r.size
		out.Header.Set("Content-Type", r.contentType)
	}
	return c.trace(out)
}

// trace sends and reports.
func (c *core) trace(request *http.Request) (*http.Response, error) {
	start := c.options.Now()
	response, err := tracing.RoundTrip("registry", &Transport{c.transports}, request)
	if c.options.Trace != nil {
		bare := url.URL{Scheme: request.URL.Scheme, Host: request.URL.Host, Path: request.URL.Path}
		report := Trace{Method: request.Method, URL: bare.String(), Authorized: request.Header.Get("Authorization") != "", Duration: c.options.Now().Sub(start)}
		if response != nil {
			report.Status = response.StatusCode
		}
		c.options.Trace(report)
	}
	return response, err
}

// refusal is the fault that a response with another status than 2xx stands for.
func (c *core) refusal(r *request, response *http.Response) *Error {
	codes, message := errorBody(response)
	fault := r.fault(Malformed, fmt.Errorf("%s answered %s%s", r.place.host, status(response), message))
	fault.codes, fault.status = codes, response.StatusCode
	wait, said := retryAfter(response.Header, c.options.Now())
	switch code := response.StatusCode; {
	case code == http.StatusNotFound:
		fault.Kind = NotFound
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		fault.Kind = Unauthorized
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable && said:
		if !said {
			wait = time.Second
		}
		fault.Kind, fault.RetryAfter, fault.transient = RateLimited, wait, true
		c.gate.close(r.place.host, wait)
	case code >= 500:
		fault.Kind, fault.transient = Unreachable, code != http.StatusNotImplemented
	case code/100 == 3:
		fault.Kind = Forbidden
		fault.Err = fmt.Errorf("%s answered with a redirect, and only those of blobs are followed", r.place.host)
		fault.hint = "name the registry that it leads to instead"
	}
	return fault
}

func status(response *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode)))
}

// errorBody reads the codes of an error response and its first message, quoted.
func errorBody(response *http.Response) (codes []string, message string) {
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	if err != nil {
		return nil, ""
	}
	var body struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return nil, ""
	}
	for _, one := range body.Errors {
		codes = append(codes, one.Code)
		if message == "" && one.Code != "" {
			message = " " + printable(strings.TrimSpace(one.Code+" "+one.Message))
		}
	}
	return codes, message
}

// drain reads what is left of a small body, for the connection to be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	body.Close()
}

// errPatience is why a request was ended.
var errPatience = errors.New("no answer in time")

// patience ends a request that takes too long.
type patience struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func (c *Client) patience(parent context.Context) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(parent)
	p := &patience{ctx: ctx, cancel: cancel, limit: c.options.RequestTimeout}
	p.timer = time.AfterFunc(p.limit, func() { cancel(errPatience) })
	return ctx, p
}

func (p *patience) stop() {
	p.timer.Stop()
	p.cancel(nil)
}

// explain makes a typed fault of whatever ended a request.
func (p *patience) explain(parent context.Context, r *request, err error) error {
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault
	}
	switch {
	case parent.Err() != nil:
		return r.fault(Timeout, parent.Err())
	case context.Cause(p.ctx) == errPatience:
		return r.fault(Timeout, fmt.Errorf("%s did not finish its answer in %s", r.place.host, p.limit))
	}
	return r.broken(err)
}

// broken is the fault that an error of the network stands for.
func (r *request) broken(err error) *Error {
	if refused, ok := errors.AsType[*refusedAddress](err); ok {
		fault := r.fault(Forbidden, refused)
		fault.Host = refused.host
		if refused.always {
			fault.hint = "use a registry at another address"
		}
		return fault
	}
	fault := r.fault(Unreachable, plainly(err))
	dns, named := errors.AsType[*net.DNSError](err)
	fault.transient = !named || dns.IsTemporary
	switch host := r.place.host; {
	case speaksNoTLS(err):
		fault.transient = false
		fault.Err = fmt.Errorf("%s speaks no TLS here", host)
		fault.hint = withoutTLS(host)
	case certificateProblem(err):
		fault.transient = false
		fault.hint = fmt.Sprintf("if %s has a private certificate authority, give it with --registry-ca", host)
	}
	return fault
}

// patientBody gives a body as much time as the request had left, or, if it is streamed,
// as it needs while it makes progress.
type patientBody struct {
	io.ReadCloser
	patience *patience
	stream   bool
	since    int
	explain  func(error) error
}

func (b *patientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.since += n; b.stream && b.since >= progress {
		b.since = 0
		b.patience.timer.Reset(b.patience.limit)
	}
	if err != nil && err != io.EOF {
		err = b.explain(err)
	}
	return n, err
}

func (b *patientBody) Close() error {
	defer b.patience.stop()
	return b.ReadCloser.Close()
}

// readAll reads a body that has at most so many bytes.
func (r *request) readAll(response *http.Response, limit int64) ([]byte, error) {
	if response.ContentLength > limit {
		return nil, r.fault(TooLarge, fmt.Errorf("it has %d bytes, and the limit is %d", response.ContentLength, limit))
	}
	var buffer bytes.Buffer
	if response.ContentLength > 0 {
		buffer.Grow(int(response.ContentLength) + bytes.MinRead)
	}
	n, err := buffer.ReadFrom(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, r.fault(TooLarge, fmt.Errorf("it has more than %d bytes, which is the limit", limit))
	}
	return buffer.Bytes(), nil
}
