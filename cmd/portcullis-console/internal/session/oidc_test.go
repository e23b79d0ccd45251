package session

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// issuer is an OpenID Connect issuer with one client and one user, by the book: it checks the code and the verifier of PKCE.
type issuer struct {
	t         *testing.T
	server    *httptest.Server
	key       *rsa.PrivateKey
	at        *clock
	challenge string
	claims    map[string]any // that are other than they ought to be
}

func newIssuer(t *testing.T, at *clock) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key, at: at, claims: map[string]any{}}
	i.server = httptest.NewTLSServer(i)
	t.Cleanup(i.server.Close)
	return i
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// token signs claims by RS256 (RFC 7518, section 3.3).
func (i *issuer) token(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	signed := encode([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// ServeHTTP implements [http.Handler]. A code is the nonce that it was given for.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["RS256"]}`, i.server.URL, i.server.URL+"/authorize", i.server.URL+"/token", i.server.URL+"/keys")
	case "/keys":
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","alg":"RS256","use":"sig","kid":"1","n":%q,"e":%q}]}`, encode(i.key.N.Bytes()), encode(big.NewInt(int64(i.key.E)).Bytes()))
	case "/token":
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if encode(sum[:]) != i.challenge || r.PostFormValue("code") == "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		claims := map[string]any{"iss": i.server.URL, "aud": "kubernetes", "sub": "ann", "nonce": r.PostFormValue("code"), "iat": i.at.now().Unix(), "exp": i.at.now().Add(10 * time.Minute).Unix()}
		maps.Copy(claims, i.claims)
		fmt.Fprintf(w, `{"access_token":"a","token_type":"Bearer","id_token":%q}`, i.token(claims))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestALoginByAnIssuer(t *testing.T) {
	for name, test := range map[string]struct {
		claims map[string]any
		// change is done to what the issuer sends back, wait passes before.
		change func(url.Values)
		wait   time.Duration
		says   string
	}{
		"succeeds":                       {},
		"with another state":             {change: func(q url.Values) { q.Set("state", "guessed") }, says: "did not begin here"},
		"with a code that it never gave": {change: func(q url.Values) { q.Del("code") }, says: "did not take the code"},
		"that was refused":               {change: func(q url.Values) { q.Set("error", "access_denied") }, says: "access_denied"},
		"that took too long":             {wait: oidcLifetime, says: "took too long"},
		"for another client":             {claims: map[string]any{"aud": "somebody"}, says: "verifying the ID token"},
		"of another issuer":              {claims: map[string]any{"iss": "https://evil.example.com"}, says: "verifying the ID token"},
		"of another login":               {claims: map[string]any{"nonce": "replayed"}, says: "did not begin here"},
		"with a token that has expired":  {claims: map[string]any{"exp": 1}, says: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			at := newClock()
			i := newIssuer(t, at)
			i.claims = test.claims
			cookies := NewCookies(true, time.Hour, at.now)
			o := NewOIDC(OIDCOptions{Issuer: i.server.URL, ClientID: "kubernetes", RedirectURL: "https://console.example.com/login/oidc/callback", Client: i.server.Client()}, cookies)
			answer := httptest.NewRecorder()
			to, err := o.Start(answer, httptest.NewRequest(http.MethodGet, "/login/oidc", nil))
			if err != nil {
				t.Fatal(err)
			}
			asked, err := url.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			query := asked.Query()
			if !strings.HasPrefix(to, i.server.URL+"/authorize?") || query.Get("code_challenge_method") != "S256" || query.Get("response_type") != "code" || query.Get("scope") != "openid" {
				t.Fatalf("it leads to %s", to)
			}
			cookie := answer.Result().Cookies()[0]
			if cookie.SameSite != http.SameSiteLaxMode || !cookie.HttpOnly || !cookie.Secure || strings.Contains(cookie.Value, query.Get("state")) {
				t.Errorf("the cookie is %s", cookie)
			}
			i.challenge = query.Get("code_challenge")
			back := url.Values{"state": {query.Get("state")}, "code": {query.Get("nonce")}}
			if test.change != nil {
				test.change(back)
			}
			at.at = at.at.Add(test.wait)
			request := httptest.NewRequest(http.MethodGet, "/login/oidc/callback?"+back.Encode(), nil)
			request.AddCookie(cookie)
			token, expires, err := o.Finish(httptest.NewRecorder(), request)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) || token != "" {
					t.Errorf("got %q, %v, want %q", token, err, test.says)
				}
				return
			}
			if err != nil || !expires.Equal(at.at.Add(10*time.Minute)) || strings.Count(token, ".") != 2 {
				t.Errorf("got %q until %s, %v", token, expires, err)
			}
		})
	}
}

func TestALoginThatBeganNowhere(t *testing.T) {
	at := newClock()
	o := NewOIDC(OIDCOptions{Issuer: "https://127.0.0.1:1"}, NewCookies(true, time.Hour, at.now))
	request := httptest.NewRequest(http.MethodGet, "/login/oidc/callback?state=&code=x", nil)
	if _, _, err := o.Finish(httptest.NewRecorder(), request); err == nil {
		t.Error("without a cookie: no error")
	}
	request.AddCookie(&http.Cookie{Name: o.cookieName(), Value: "x"})
	if _, _, err := o.Finish(httptest.NewRecorder(), request); err == nil {
		t.Error("with a cookie of nobody: no error")
	}
	if _, err := o.Start(httptest.NewRecorder(), request); err == nil || !strings.Contains(err.Error(), "asking the issuer") {
		t.Errorf("an issuer that does not answer: %v", err)
	}
}
