package session

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/test/issuer"
	"github.com/portcullis-dev/portcullis/test/pki"
)

const redirect = "https://console.example.com/login/oidc/callback"

// newIssuer starts one, and a client that knows its authority.
func newIssuer(t *testing.T, at *clock) (*issuer.Issuer, *http.Client) {
	t.Helper()
	authority, err := pki.NewAuthority(t.TempDir(), "issuer-ca")
	if err != nil {
		t.Fatal(err)
	}
	i, err := issuer.Start(issuer.Options{Authority: authority, ClientID: "kubernetes", Redirect: redirect, Now: at.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	content, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(content)
	return i, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func TestALoginByAnIssuer(t *testing.T) {
	const nothere = "did not begin here"
	for name, test := range map[string]struct {
		// wrong is what the issuer does wrong, change is done to what it sends back, wait passes before.
		wrong  func(*issuer.Issuer)
		change func(url.Values)
		wait   time.Duration
		says   string
	}{
		"succeeds":                         {},
		"after a change of keys":           {wrong: func(i *issuer.Issuer) { _ = i.Rotate() }},
		"with another state":               {change: func(q url.Values) { q.Set("state", "guessed") }, says: nothere},
		"without a state":                  {change: func(q url.Values) { q.Del("state") }, says: nothere},
		"with a code that it never gave":   {change: func(q url.Values) { q.Set("code", "guessed") }, says: "did not take the code"},
		"without a code":                   {change: func(q url.Values) { q.Del("code") }, says: "did not take the code"},
		"that was refused":                 {change: func(q url.Values) { q.Set("error", "access_denied") }, says: "access_denied"},
		"that took too long":               {wait: oidcLifetime, says: "took too long"},
		"for another client":               {wrong: claim("aud", "somebody"), says: `expected audience "kubernetes"`},
		"of another issuer":                {wrong: claim("iss", "https://evil.example.com"), says: "issued by a different provider"},
		"of another login":                 {wrong: func(i *issuer.Issuer) { i.Nonce("replayed") }, says: nothere},
		"without a nonce":                  {wrong: claim("nonce", nil), says: nothere},
		"with a token that has expired":    {wrong: claim("exp", 1), says: "had expired when it came"},
		"with a token that never expires":  {wrong: claim("exp", nil), says: "had expired when it came"},
		"signed by somebody else":          {wrong: func(i *issuer.Issuer) { i.Forge(true) }, says: "failed to verify"},
		"by an issuer that went meanwhile": {wrong: (*issuer.Issuer).Stop, says: "the issuer does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			at := newClock()
			i, client := newIssuer(t, at)
			cookies := NewCookies(true, time.Hour, at.now)
			o := NewOIDC(OIDCOptions{Issuer: i.URL, ClientID: "kubernetes", RedirectURL: redirect, Client: client}, cookies)
			answer := httptest.NewRecorder()
			to, err := o.Start(answer, httptest.NewRequest(http.MethodGet, "/login/oidc", nil))
			if err != nil {
				t.Fatal(err)
			}
			code, err := i.Grant("ann", to)
			if err != nil {
				t.Fatal(err)
			}
			asked, err := url.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			state := asked.Query().Get("state")
			if !strings.HasPrefix(to, i.URL+"/authorize?") || asked.Query().Get("scope") != "openid" {
				t.Fatalf("it leads to %s", to)
			}
			cookie := answer.Result().Cookies()[0]
			if cookie.SameSite != http.SameSiteLaxMode || !cookie.HttpOnly || !cookie.Secure || strings.Contains(cookie.Value, state) {
				t.Errorf("the cookie is %s", cookie)
			}
			if test.wrong != nil {
				test.wrong(i)
			}
			back := url.Values{"state": {state}, "code": {code}}
			if test.change != nil {
				test.change(back)
			}
			at.at = at.at.Add(test.wait)
			finish := func() (string, time.Time, error) {
				request := httptest.NewRequest(http.MethodGet, "/login/oidc/callback?"+back.Encode(), nil)
				request.AddCookie(cookie)
				return o.Finish(httptest.NewRecorder(), request)
			}
			token, expires, err := finish()
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) || token != "" {
					t.Errorf("got %q, %v, want %q", token, err, test.says)
				}
				return
			}
			if err != nil || !expires.Equal(at.at.Add(10*time.Minute)) || strings.Count(token, ".") != 2 {
				t.Errorf("got %q until %s, %v", token, expires, err)
			}
			// Whoever has copied address and cookie comes too late.
			if token, _, err := finish(); err == nil || !strings.Contains(err.Error(), "did not take the code") || token != "" {
				t.Errorf("the same code once more: got %q, %v", token, err)
			}
		})
	}
}

// claim has the issuer say something else.
func claim(name string, value any) func(*issuer.Issuer) {
	return func(i *issuer.Issuer) { i.Claims(map[string]any{name: value}) }
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
