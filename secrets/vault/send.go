package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
)

// behindTries is how often a request is sent that a node cannot answer yet (412): replication takes milliseconds.
const behindTries = 4

// send sends one request and reads its answer, within the connection's rate and timeout. token is nil for a request without one. words says
// whether what Vault says of a failure may be passed on.
//
// It is net/http and not the client of Vault's Go module: that one reads VAULT_TOKEN, VAULT_NAMESPACE, VAULT_HEADERS and VAULT_CACERT from
// the environment whenever one is made, and fails where they make no sense (api.NewClient of v1.23.0).
func (p *Pool) send(ctx context.Context, c *connection, token *session, call secrets.Call, words bool) (read *answer, err error) {
	operation := operationOf(call)
	began := p.clock.Now()
	defer func() { p.metrics.asked(c.name, operation, secrets.ReasonOf(err), p.clock.Since(began)) }()
	for try := 1; ; try++ {
		asked := p.clock.Now()
		if err := c.bucket.Wait(ctx); err != nil {
			return nil, &secrets.Error{
				Reason: secrets.Slow, Doing: doingOf(call), Cause: contextOf(err),
				Message: "it had to wait too long for its turn: many objects ask this Vault; raise requestsPerSecond of the VaultConnection, or refresh less often",
			}
		}
		p.metrics.waited(c.name, p.clock.Since(asked))
		read, err = c.once(ctx, token, call, words)
		if secrets.ReasonOf(err) != secrets.Behind || try == behindTries {
			return read, err
		}
		wait := time.Duration(try)*20*time.Millisecond + rand.N(20*time.Millisecond)
		select {
		case <-p.clock.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (c *connection) once(ctx context.Context, token *session, call secrets.Call, words bool) (*answer, error) {
	doing := doingOf(call)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := c.request(ctx, token, call)
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, unanswered(doing, err, c.timeout)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	defer clear(body)
	if err != nil {
		return nil, broken(doing, err, c.timeout)
	}
	if response.StatusCode >= 300 {
		return nil, refused(doing, response, body, words)
	}
	return decode(doing, response, body)
}

// request is a call as Vault's HTTP API has it.
func (c *connection) request(ctx context.Context, token *session, call secrets.Call) (*http.Request, error) {
	if !plain(call.Path) {
		return nil, &secrets.Error{Reason: secrets.Misconfigured, Doing: doingOf(call), Message: "the path has empty segments, or . or .. as one: it would be another path at Vault"}
	}
	address := url.URL{Scheme: c.scheme, Host: c.host, Path: "/v1/" + call.Path}
	query, method := url.Values{}, call.Method
	maps.Copy(query, call.Query)
	if method == "LIST" { // a method of its own that proxies do not know; list=true is the same
		method = http.MethodGet
		query.Set("list", "true")
	}
	address.RawQuery = query.Encode()
	var body io.Reader
	if call.Body != nil {
		written, err := json.Marshal(call.Body)
		if err != nil { // whose text may quote a value
			return nil, &secrets.Error{Reason: secrets.Misconfigured, Doing: doingOf(call), Message: "the request cannot be written as JSON"}
		}
		body = bytes.NewReader(written)
	}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return nil, &secrets.Error{Reason: secrets.Misconfigured, Doing: doingOf(call), Message: "the request makes no sense as one of HTTP"}
	}
	request.Header.Set("X-Vault-Request", "true") // which browsers and naive proxies do not send: agents and proxies of Vault may require it
	if c.agent != "" {
		request.Header.Set("User-Agent", c.agent)
	}
	if c.namespace != "" {
		request.Header.Set("X-Vault-Namespace", c.namespace)
	}
	if body != nil {
		header := "application/json"
		if method == http.MethodPatch {
			header = "application/merge-patch+json"
		}
		request.Header.Set("Content-Type", header)
	}
	if token != nil {
		text, ok := token.text()
		if !ok {
			return nil, &secrets.Error{Reason: secrets.Forbidden, Doing: doingOf(call), Message: "the token has been given up", Cause: errInvalidToken}
		}
		request.Header.Set("X-Vault-Token", text)
	}
	return request, nil
}

// plain says whether a path means at Vault what it says: no segment is empty or climbs.
func plain(path string) bool {
	for segment := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// doingOf says what a call does, for people. Paths of single leases and tokens are in bodies and never in a path here.
func doingOf(call secrets.Call) string {
	switch call.Method {
	case http.MethodGet:
		return "reading " + call.Path
	case "LIST":
		return "listing " + call.Path
	case http.MethodDelete:
		return "deleting " + call.Path
	}
	if strings.HasSuffix(call.Path, "/login") {
		return "logging in at " + call.Path
	}
	return "writing to " + call.Path
}

// operationOf is what metrics count a call as.
func operationOf(call secrets.Call) string {
	switch {
	case strings.HasSuffix(call.Path, "/login"):
		return "login"
	case strings.HasPrefix(call.Path, "sys/leases/"):
		return "lease"
	case strings.HasPrefix(call.Path, "auth/token/"):
		return "token"
	case strings.HasPrefix(call.Path, "sys/"):
		return "system"
	case call.Method == http.MethodGet, call.Method == "LIST":
		return "read"
	}
	return "write"
}

// speaks says whether Vault's words about a call may be passed on: neither request nor answer holds a value. Reads of secrets do, and a
// Vault, or a proxy before it, could quote one in a refusal.
func speaks(call secrets.Call) bool {
	return call.Body == nil && (call.Method == "LIST" || call.Method == http.MethodDelete || call.Method == http.MethodGet && strings.HasPrefix(call.Path, "sys/"))
}
