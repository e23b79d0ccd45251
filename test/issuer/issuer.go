// Package issuer is an OpenID Connect issuer for tests, over HTTPS: discovery (OpenID Connect Discovery 1.0), keys (RFC 7517), and the authorization code
// flow (OpenID Connect Core 1.0, section 3.1) with PKCE (RFC 7636). It has one client, which is public, and logs in whoever says a name: it is for what
// trusts an issuer, and goes by the book with all that such a thing may get wrong. What an issuer may do wrong itself is [Issuer.Claims], [Issuer.Forge],
// [Issuer.Nonce] and [Issuer.Stop].
//
//	own, err := issuer.Start(issuer.Options{Authority: authority, ClientID: "kubernetes", Redirect: redirect})
//	defer own.Stop()
package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// lifetime of ID tokens.
const lifetime = 10 * time.Minute

// Options of an issuer. Authority and ClientID are required.
type Options struct {
	// Authority signs its certificate, for 127.0.0.1.
	Authority *pki.Authority
	// ClientID is the client that it knows, Redirect the only address that it leads back to; "" takes any.
	ClientID, Redirect string
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Issuer is a running one.
type Issuer struct {
	// URL is its name and its address.
	URL string

	options Options
	server  *httptest.Server

	mu     sync.Mutex
	keys   []key // the last one signs
	grants map[string]grant
	claims map[string]any
	forge  bool
	nonce  string
}

type key struct {
	id      string
	private *ecdsa.PrivateKey
}

// grant is what a code stands for.
type grant struct {
	user, nonce, challenge, redirect string
	used                             bool
}

// Start starts one.
func Start(options Options) (*Issuer, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	i := &Issuer{options: options, grants: map[string]grant{}}
	if err := i.Rotate(); err != nil {
		return nil, err
	}
	certificate, err := options.Authority.Serving("127.0.0.1", time.Now().Add(24*time.Hour))
	if err != nil {
		return nil, fmt.Errorf("starting an issuer: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.jwks)
	mux.HandleFunc("GET /authorize", i.ask)
	mux.HandleFunc("POST /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	i.server = httptest.NewUnstartedServer(mux)
	i.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	i.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	i.server.StartTLS()
	i.URL = i.server.URL
	return i, nil
}

// Stop ends it: whoever asks finds nobody.
func (i *Issuer) Stop() {
	i.server.CloseClientConnections()
	i.server.Close()
}

// Claims has further ID tokens say something else; nil claims are left out.
func (i *Issuer) Claims(claims map[string]any) { i.set(func() { i.claims = claims }) }

// Forge has further ID tokens signed by a key that is not the issuer's, under the name of one that is.
func (i *Issuer) Forge(forge bool) { i.set(func() { i.forge = forge }) }

// Nonce has further ID tokens belong to another login; "" is the right one.
func (i *Issuer) Nonce(nonce string) { i.set(func() { i.nonce = nonce }) }

func (i *Issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// Rotate has further ID tokens signed by a new key. Those of the old one stay good.
func (i *Issuer) Rotate() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making an issuer's key: %w", err)
	}
	i.set(func() { i.keys = append(i.keys, key{strconv.Itoa(len(i.keys) + 1), private}) })
	return nil
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{oidc.ES256},
		"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"}, "scopes_supported": []string{oidc.ScopeOpenID},
	})
}

func (i *Issuer) jwks(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	server := &oidctest.Server{Algorithms: []string{oidc.ES256}}
	for _, k := range i.keys {
		server.PublicKeys = append(server.PublicKeys, oidctest.PublicKey{PublicKey: k.private.Public(), KeyID: k.id, Algorithm: oidc.ES256})
	}
	i.mu.Unlock()
	server.SetIssuer(i.URL)
	server.ServeHTTP(w, r)
}

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>Issuer</title><body><h1>Issuer</h1>
<form method="post" action="/authorize"><input type="hidden" name="query" value="{{.}}"><label>User <input id="user" name="user" autofocus required></label> <button>Continue</button></form></body></html>`))

// ask is the page on which somebody says who they are.
func (i *Issuer) ask(w http.ResponseWriter, r *http.Request) {
	if err := i.check(r.URL.Query()); err != "" {
		http.Error(w, err, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, r.URL.RawQuery) // the reader is gone
}

// check is of an authentication request (OpenID Connect Core 1.0, section 3.1.2.2).
func (i *Issuer) check(query url.Values) string {
	switch {
	case query.Get("client_id") != i.options.ClientID:
		return "unauthorized_client"
	case i.options.Redirect != "" && query.Get("redirect_uri") != i.options.Redirect:
		return "the redirect_uri is not one of the client"
	case query.Get("response_type") != "code":
		return "unsupported_response_type"
	case !slices.Contains(strings.Fields(query.Get("scope")), oidc.ScopeOpenID):
		return "invalid_scope"
	case query.Get("code_challenge_method") != "S256" || query.Get("code_challenge") == "":
		return "PKCE with S256 is required"
	}
	return ""
}

// authorize leads back with a code.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.PostFormValue("query"))
	if err != nil || i.check(query) != "" {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	back, err := url.Parse(query.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	back.RawQuery = url.Values{"state": {query.Get("state")}, "code": {i.grant(r.PostFormValue("user"), query)}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

// Grant logs a user in for the authentication request of an address, without a browser, and gives the code.
func (i *Issuer) Grant(user, address string) (string, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("logging in at the issuer: %w", err)
	}
	if problem := i.check(parsed.Query()); problem != "" {
		return "", fmt.Errorf("logging in at the issuer: it says %s", problem)
	}
	return i.grant(user, parsed.Query()), nil
}

func (i *Issuer) grant(user string, query url.Values) string {
	code := rand.Text()
	i.set(func() {
		i.grants[code] = grant{user: user, nonce: query.Get("nonce"), challenge: query.Get("code_challenge"), redirect: query.Get("redirect_uri")}
	})
	return code
}

// token gives an ID token for a code, once (RFC 6749, section 4.1.2), to who knows the verifier.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	given, known := i.grants[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !known || given.used || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("client_id") != i.options.ClientID || r.PostFormValue("redirect_uri") != given.redirect ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != given.challenge {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	given.used = true
	i.grants[r.PostFormValue("code")] = given
	token, err := i.sign(given)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "id_token": token})
}

func (i *Issuer) sign(given grant) (string, error) {
	now, signing := i.options.Now(), i.keys[len(i.keys)-1]
	claims := map[string]any{"iss": i.URL, "aud": i.options.ClientID, "sub": given.user, "nonce": given.nonce, "iat": now.Unix(), "exp": now.Add(lifetime).Unix()}
	if i.nonce != "" {
		claims["nonce"] = i.nonce
	}
	maps.Copy(claims, i.claims)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	private := signing.private
	if i.forge {
		if private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return "", err
		}
	}
	return oidctest.SignIDToken(private, signing.id, oidc.ES256, string(text)), nil
}

func answer(w http.ResponseWriter, code int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the reader is gone
}
