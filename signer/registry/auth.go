package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/publicsuffix"
)

const (
	// maxToken is above the tokens of all clouds; those of Azure have a few KiB.
	maxToken = 256 << 10
	// shortestToken is what a token is good for where its server does not say
	// (https://distribution.github.io/distribution/spec/auth/token/).
	shortestToken = 60 * time.Second
	// longestToken bounds what a server says.
	longestToken = 12 * time.Hour
	// maxEntries of remembered sign-ins; the oldest knowledge goes when there are more.
	maxEntries = 4096
)

// knownRealms are token servers of public registries at another domain.
var knownRealms = map[string][]string{
	hub:                   {"auth.docker.io"},
	"registry.gitlab.com": {"gitlab.com"},
}

// newRealms checks [Options.Realms] and adds the known ones.
func newRealms(configured map[string][]string) (map[string][]string, error) {
	realms := map[string][]string{}
	for registry, hosts := range knownRealms {
		realms[registry] = slices.Clone(hosts)
	}
	var problems []error
	for registry, hosts := range configured {
		from, err := canonicalHost(registry)
		problems = append(problems, wrap(err, "reading the registry of the token servers %q", hosts))
		for _, text := range hosts {
			to, err := canonicalHost(text)
			problems = append(problems, wrap(err, "reading the token server %q of %s", text, registry))
			realms[from] = append(realms[from], to)
		}
	}
	return realms, errors.Join(problems...)
}

// session signs in with one source of credentials, and remembers how that went.
type session struct {
	core        *core
	realms      map[string][]string
	credentials Credentials

	mu         sync.Mutex
	entries    map[string]*entry
	challenges map[string]challenge
}

// entry is how to sign in for one host, repository and scope.
type entry struct {
	// turn is held by whoever signs in; the others wait for the outcome.
	turn chan struct{}
	// index is that of the credential in use.
	index         int
	authorization string
	expires       time.Time
	// confirmed is the last header with which a request succeeded. It is not held up by who signs in.
	confirmed atomic.Pointer[string]
}

func newSession(c *core, realms map[string][]string, credentials Credentials) *session {
	return &session{core: c, realms: realms, credentials: credentials, entries: map[string]*entry{}, challenges: map[string]challenge{}}
}

// scope is what is asked of a token server (distribution, "Token Scope Documentation").
// It is made here and not taken from the challenge.
func (r *request) scope() string {
	actions := "pull"
	if r.push {
		actions = "pull,push"
	}
	if r.remove {
		actions = "delete,pull,push"
	}
	return "repository:" + r.place.path + ":" + actions
}

func (s *session) entry(r *request) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.place.host + " " + r.scope()
	e := s.entries[key]
	if e == nil {
		if len(s.entries) >= maxEntries {
			clear(s.entries)
		}
		e = &entry{turn: make(chan struct{}, 1)}
		s.entries[key] = e
	}
	return e
}

func (s *session) challenge(host string) (challenge, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.challenges[host]
	return c, ok
}

// known is the Authorization header for a request without having been asked: a
// remembered one or, at a host that asked before, a new one.
func (s *session) known(ctx context.Context, r *request) (string, error) {
	c, ok := s.challenge(r.place.host)
	if !ok {
		return "", nil
	}
	authorization, err := s.signIn(ctx, r, c, "", nil)
	if KindOf(err) == Unauthorized {
		return "", nil
	}
	return authorization, err
}

// another says whether a refused request may succeed if it is signed in otherwise.
func another(response *http.Response, authorization string) bool {
	return response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden && authorization != ""
}

// acquire signs in as the answer demands, with the next credential if one was refused.
func (s *session) acquire(ctx context.Context, r *request, response *http.Response, rejected string, fault *Error) (string, error) {
	c, ok := parseChallenges(response.Header.Values("WWW-Authenticate"))
	if ok {
		s.mu.Lock()
		if len(s.challenges) >= maxEntries {
			clear(s.challenges)
		}
		s.challenges[r.place.host] = c
		s.mu.Unlock()
	} else if c, ok = s.challenge(r.place.host); !ok {
		return "", fault
	}
	return s.signIn(ctx, r, c, rejected, fault)
}

// confirm remembers that a request succeeded.
func (s *session) confirm(r *request, authorization string) {
	if authorization == "" {
		return
	}
	s.entry(r).confirmed.Store(&authorization)
}

// signIn is one Authorization header for all who ask for the same at the same time.
func (s *session) signIn(ctx context.Context, r *request, c challenge, rejected string, fault *Error) (string, error) {
	e := s.entry(r)
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if e.authorization != "" && e.authorization != rejected && s.core.options.Now().Before(e.expires) {
		return e.authorization, nil
	}
	// What worked before has expired, and is renewed; what never worked gives way to the next.
	first := 0
	if confirmed := e.confirmed.Swap(nil); rejected != "" && e.authorization == rejected && (confirmed == nil || *confirmed != rejected) {
		first = e.index + 1
	}
	e.index, e.authorization = 0, ""
	candidates, err := s.candidates(ctx, r, c)
	if err != nil {
		return "", err
	}
	refused := fault
	for i := first; i < len(candidates); i++ {
		authorization, expires, err := s.authorize(ctx, r, c, candidates[i])
		if err == nil {
			e.index, e.authorization, e.expires = i, authorization, expires
			return authorization, nil
		}
		one, ok := errors.AsType[*Error](err)
		if !ok || one.Kind != Unauthorized {
			return "", err
		}
		refused = one
	}
	if refused == nil {
		refused = r.fault(Unauthorized, fmt.Errorf("%s asks to sign in", r.place.host))
	}
	if refused.hint == "" && len(candidates) > 0 && candidates[0] != (Credential{}) {
		refused.hint = fmt.Sprintf("the credentials for %s were refused: renew them, or give them the right to this repository", r.place.host)
	}
	return "", refused
}

// candidates are the credentials to try. Without any, a token may be had anonymously.
func (s *session) candidates(ctx context.Context, r *request, c challenge) ([]Credential, error) {
	var candidates []Credential
	if s.credentials != nil {
		found, err := s.credentials.Credentials(ctx, r.place.repository())
		if err != nil && len(found) == 0 {
			fault := r.fault(Unauthorized, fmt.Errorf("looking up credentials for %s: %w", r.place.host, err))
			fault.hint = "see that the credential helper or provider works"
			if ctx.Err() == nil {
				return nil, fault
			}
			return nil, err
		}
		candidates = found
	}
	if len(candidates) == 0 && c.bearer {
		candidates = []Credential{{}}
	}
	return candidates, nil
}

// authorize makes the header for one credential.
func (s *session) authorize(ctx context.Context, r *request, c challenge, credential Credential) (string, time.Time, error) {
	now := s.core.options.Now()
	switch {
	case !c.bearer:
		if credential.IdentityToken != "" {
			return "", now, r.fault(Unauthorized, errors.New("the registry asks for a user name and a password, and there is only a token"))
		}
		// Passwords are read again after a while: whoever gives them may have renewed them.
		return basic(credential), now.Add(longestToken), nil
	case credential.RegistryToken != "":
		return "Bearer " + credential.RegistryToken, now.Add(shortestToken), nil
	}
	token, lasts, err := s.token(ctx, r, c, credential)
	return "Bearer " + token, now.Add(lasts), err
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// token fetches a token from the realm of a challenge.
func (s *session) token(ctx context.Context, r *request, c challenge, credential Credential) (string, time.Duration, error) {
	realm, err := s.realm(r, c, credential)
	if err != nil {
		return "", 0, err
	}
	at := &request{what: fmt.Sprintf("%s: fetching a token from %s", r.what, realm.Host), method: http.MethodGet, place: place{host: strings.TrimSuffix(realm.Host, ":443"), path: r.place.path}}
	if err := s.core.gate.wait(ctx, at.place.host, at.what); err != nil {
		return "", 0, err
	}
	authorization := ""
	query := realm.Query()
	query.Set("scope", r.scope())
	if c.service != "" {
		query.Set("service", c.service)
	}
	switch {
	case credential.IdentityToken != "":
		// RFC 6749, section 6, as in https://distribution.github.io/distribution/spec/auth/oauth/
		query.Set("grant_type", "refresh_token")
		query.Set("refresh_token", credential.IdentityToken)
		query.Set("client_id", userAgent)
		form := query.Encode()
		query = url.Values{}
		at.method, at.contentType, at.size = http.MethodPost, "application/x-www-form-urlencoded", int64(len(form))
		at.body = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(form)), nil }
	case credential != Credential{}:
		authorization = basic(credential)
	}
	realm.RawQuery = query.Encode()
	response, err := s.core.send(ctx, at, realm, authorization)
	if err != nil && ctx.Err() == nil {
		err = at.broken(err) // the token server's fault and not the registry's
	}
	if err != nil {
		return "", 0, err
	}
	defer drain(response.Body)
	if response.StatusCode != http.StatusOK {
		return "", 0, s.core.refusal(at, response)
	}
	return readToken(at, response)
}

func readToken(at *request, response *http.Response) (string, time.Duration, error) {
	raw, err := at.readAll(response, maxToken)
	if err != nil {
		return "", 0, err
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", 0, at.fault(Malformed, errors.New("the answer is not JSON"))
	}
	token := body.Token
	if token == "" {
		token = body.AccessToken
	}
	if token == "" || strings.ContainsAny(token, " \r\n\t") {
		return "", 0, at.fault(Malformed, errors.New("the answer holds no token"))
	}
	lasts := max(shortestToken, min(time.Duration(min(body.ExpiresIn, int64(longestToken/time.Second)))*time.Second, longestToken))
	return token, lasts - lasts/10, nil
}

// realm is the address of the token server. Whoever answers as the registry chooses it,
// so it must be https, and credentials are sent to the registry's own host, to hosts of its
// registrable domain, and to those that are known or configured for it; the address
// it resolves to is checked like any other. Without credentials any public host will do.
func (s *session) realm(r *request, c challenge, credential Credential) (*url.URL, error) {
	realm, err := url.Parse(c.realm)
	if err != nil || realm.Host == "" || realm.User != nil || realm.Fragment != "" {
		return nil, r.fault(Malformed, fmt.Errorf("%s is no address of a token server", printable(c.realm)))
	}
	host, err := canonicalHost(realm.Host)
	if err != nil {
		return nil, r.fault(Malformed, fmt.Errorf("the token server of %s: %w", r.place.host, err))
	}
	if !s.core.speaks(realm) {
		return nil, &Error{Kind: Forbidden, Host: host, What: r.what, Err: fmt.Errorf("not asking the token server %s: it is not https", host), hint: withoutTLS(host)}
	}
	if credential != (Credential{}) && !s.trusts(r.place.host, host) {
		return nil, &Error{
			Kind: Forbidden, Host: host, What: r.what,
			Err:  fmt.Errorf("not sending the credentials for %s to the token server %s, which is not known to be its own", r.place.host, host),
			hint: fmt.Sprintf("if it is, give --registry-realm %s=%s", r.place.host, host),
		}
	}
	return realm, nil
}

// trusts says whether credentials for a registry may be sent to a token server.
func (s *session) trusts(registry, realm string) bool {
	if registry == realm || registry == hub && realm == hubEndpoint || slices.Contains(s.realms[registry], realm) {
		return true
	}
	own, other := domain(registry), domain(realm)
	return own != "" && own == other
}

// domain is the registrable domain of a host, "" for an address and for a host with a
// port: another port is another service.
func domain(host string) string {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.Contains(host, ":") {
		return ""
	}
	registrable, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return ""
	}
	return registrable
}
