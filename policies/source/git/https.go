package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// httpSession speaks over HTTP (gitprotocol-http, "Smart Clients").
type httpSession struct {
	source *Source
	bodies []io.Closer
}

const uploadPack = "git-upload-pack"

func (h *httpSession) advertised(ctx context.Context) (io.Reader, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.source.at.String()+"/info/refs?service="+uploadPack, nil)
	if err != nil {
		return nil, err
	}
	return h.send(request, "application/x-"+uploadPack+"-advertisement")
}

func (h *httpSession) upload(ctx context.Context, body []byte) (io.Reader, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.source.at.String()+"/"+uploadPack, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
	return h.send(request, "application/x-"+uploadPack+"-result")
}

func (h *httpSession) explain(err error) error { return err }

func (h *httpSession) close() {
	for _, body := range h.bodies {
		_ = body.Close() // nothing of it is of use any more
	}
}

// send gives the body of the answer, if it is of the type that Git answers.
func (h *httpSession) send(request *http.Request, contentType string) (io.Reader, error) {
	host := h.source.at.host
	request.Header.Set("User-Agent", agent)
	request.Header.Set("Accept", contentType)
	h.source.options.Credentials.sign(request)
	response, err := h.source.transport.RoundTrip(request)
	if err != nil {
		return nil, h.source.explainConnection(err)
	}
	h.bodies = append(h.bodies, response.Body)
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return nil, movedTo(request.URL, response.Header.Get("Location"))
	case response.StatusCode != http.StatusOK:
		return nil, explainStatus(host, response.StatusCode, h.source.options.Credentials)
	}
	if got := response.Header.Get("Content-Type"); got != contentType {
		return nil, fmt.Errorf("%s answered with %.80q and not in the protocol of Git: correct git.url", host, got)
	}
	return response.Body, nil
}

// movedTo refuses to follow: credentials would go where nobody has said that they may.
func movedTo(from *url.URL, location string) error {
	to, err := from.Parse(location)
	if err != nil || to.Host == "" {
		return errors.New("the server sends elsewhere without saying where to: correct git.url")
	}
	at := url.URL{Scheme: to.Scheme, Host: to.Host, Path: strings.TrimSuffix(strings.TrimSuffix(to.Path, "/info/refs"), "/"+uploadPack)}
	return fmt.Errorf("the repository has moved to %.300s: give that as git.url", at.String())
}

// explainStatus ends with the next step.
func explainStatus(host string, code int, given Credentials) error {
	next := "look at the server, then retry"
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		next = "the username and password, or the bearerToken, in the Secret are not accepted: correct them"
		if given.Username+given.Password+given.BearerToken == "" {
			next = "put a username and password, or a bearerToken, that may read the repository into the Secret"
		}
	case code == http.StatusNotFound || code == http.StatusGone:
		next = "there is no such repository, or it is hidden from whoever has no credentials for it: correct git.url, or the Secret"
	case code == http.StatusTooManyRequests:
		next = "look less often"
	case code == http.StatusProxyAuthRequired:
		next = "the proxy asks for a password: correct proxyURL"
	}
	return fmt.Errorf("%s answered %d %s: %s", host, code, http.StatusText(code), next)
}

// sign sets the header by which the server knows the caller.
func (c Credentials) sign(request *http.Request) {
	switch {
	case c.BearerToken != "":
		request.Header.Set("Authorization", "Bearer "+c.BearerToken)
	case c.Username != "" || c.Password != "":
		request.SetBasicAuth(c.Username, c.Password)
	}
}

// explainConnection says what to do about an error of the network.
func (s *Source) explainConnection(err error) error {
	if registry.UntrustedCertificate(err) {
		return fmt.Errorf("connecting to %s: %w: if it has a certificate of a private authority, give that as caBundle", s.at.host, plain(err))
	}
	broken := registry.Broken("connecting to "+s.at.host, s.at.host, err)
	if s.proxy != nil && broken.Kind != registry.Forbidden {
		return fmt.Errorf("connecting to %s through the proxy %s: %w: correct proxyURL, or have the proxy connect there", s.at.host, s.proxy.Host, plain(err))
	}
	return broken
}

// plain is an error without the request that net/http puts around it.
func plain(err error) error {
	var around *url.Error
	if errors.As(err, &around) {
		return around.Err
	}
	return err
}
