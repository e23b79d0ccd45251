package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/test/browser"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/issuer"
	"github.com/portcullis-dev/portcullis/test/pki"
)

// oidcClient is the client that API server and console share, as the audience of ID tokens.
const oidcClient = "kubernetes"

// trust writes an AuthenticationConfiguration (KEP-3331) by which an API server takes ID tokens of an issuer.
func trust(own *issuer.Issuer, authority *pki.Authority) (string, error) {
	certificate, err := os.ReadFile(authority.File)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer":        map[string]any{"url": own.URL, "audiences": []string{oidcClient}, "certificateAuthority": string(certificate)},
			"claimMappings": map[string]any{"username": map[string]any{"claim": "sub", "prefix": ""}},
		}},
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(worldDir, "authentication.yaml")
	return file, os.WriteFile(file, text, 0o600)
}

// openOIDC starts a console by TLS that logs in by an issuer. Its site is another one than the issuer's, as it is for users: localhost, not 127.0.0.1.
func (w *world) openOIDC(t *testing.T, url string, authority *pki.Authority) *console {
	t.Helper()
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := w.control.ServingCertificate("console.example.com")
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("https://localhost:%d", port)
	c := w.open(t, fmt.Sprintf("--listen=127.0.0.1:%d", port), "--tls-cert="+pair.CertFile, "--tls-key="+pair.KeyFile,
		"--oidc-issuer="+url, "--oidc-client-id="+oidcClient, "--oidc-ca="+authority.File, "--oidc-redirect="+base+callbackPath)
	c.base = base
	return c
}

// toIssuer goes from the console's login to the page of the issuer, as a person does.
func toIssuer(t *testing.T, b *browser.Browser, c *console) {
	t.Helper()
	visit(t, b, c.base+"/login")
	evaluate(t, b, `document.querySelector("a.button").focus()`, nil)
	if err := b.Loading(t.Context(), func() error { return b.Press(t.Context(), "Enter") }); err != nil {
		t.Fatal(err)
	}
	arrive(t, b, "Issuer")
}

// sayName logs in there.
func sayName(t *testing.T, b *browser.Browser, user string) {
	t.Helper()
	evaluate(t, b, `document.getElementById("user").focus()`, nil)
	if err := b.Type(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if err := b.Loading(t.Context(), func() error { return b.Press(t.Context(), "Enter") }); err != nil {
		t.Fatal(err)
	}
}

// signOut forgets all cookies.
func signOut(t *testing.T, b *browser.Browser) {
	t.Helper()
	if err := b.Do(t.Context(), "Network.clearBrowserCookies", nil, nil); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, b *browser.Browser) string {
	t.Helper()
	text, err := b.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// In a real browser, with a real API server that trusts the issuer: who has logged in there sees what RBAC gives that name, and nothing else.
func TestWhoLogsInByTheIssuerSeesWhatTheyMay(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := w.openOIDC(t, w.issuer.URL, w.issuerAuthority)
	b := launch(t)
	visit(t, b, c.base+"/login")
	var bad []string
	if evaluate(t, b, contrast, &bad); len(bad) > 0 {
		t.Errorf("hard to read: %s", strings.Join(bad, "\n"))
	}
	for _, test := range []struct {
		user, page string
		sees, not  []string
	}{
		{"vic", "/decisions", []string{"shop/web-1-", "user-"}, []string{"bank/web", "replicaset-controller"}},
		{"vic", "/workloads?namespace=bank", []string{"You may not list deployments.apps in bank"}, []string{"Deployment web"}},
		{"vic", "/quarantines", []string{"You may not list quarantines"}, []string{"web-1-abcde"}},
		{"ann", "/decisions", []string{"shop/web-1-", "bank/web-1-", "replicaset-controller"}, nil},
		{"ann", "/quarantine?name=q-shop", []string{"Terminal shell in container", "Approve"}, nil},
		{"bob", "/", []string{"What you do not see here", "You may not list"}, []string{"web-1-abcde", "legacy-"}},
		{"bob", "/decisions", []string{"No decision yet that you may see"}, []string{"web-1-"}},
		{"nobody-in-rbac", "/decisions", []string{"No decision yet that you may see"}, []string{"web-1-"}},
	} {
		var user string
		if b.Evaluate(t.Context(), `(document.querySelector("form[action='/logout']") || {textContent: ""}).textContent`, &user) != nil || !strings.Contains(user, test.user) {
			signOut(t, b)
			toIssuer(t, b, c)
			sayName(t, b, test.user)
			arrive(t, b, "Overview")
		}
		visit(t, b, c.base+w.real(test.page))
		page := text(t, b)
		for _, wanted := range append(test.sees, test.user) {
			if !strings.Contains(page, wanted) {
				t.Errorf("%s at %s: %q is not on the page:\n%s", test.user, test.page, wanted, page)
			}
		}
		for _, unwanted := range test.not {
			if strings.Contains(page, unwanted) {
				t.Errorf("%s at %s: %q is on the page:\n%s", test.user, test.page, unwanted, page)
			}
		}
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(complaints, "\n"))
	}
	if strings.Contains(c.output.String(), "eyJ") {
		t.Errorf("a token is in the log: %s", c.output)
	}
}

// With -update the login is pictured, with the name of an issuer that is not asked.
func TestTheLoginIsPictured(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	w := theWorld(t)
	c := w.openOIDC(t, "https://login.example.com", w.issuerAuthority)
	b := launch(t)
	if err := b.Look(t.Context(), 1280, 480, "light"); err != nil {
		t.Fatal(err)
	}
	visit(t, b, c.base+"/login")
	picture, err := b.Picture(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pictures, "login.png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestASessionByTheIssuerEndsWithItsToken(t *testing.T) {
	w := theWorld(t)
	c := w.openOIDC(t, w.issuer.URL, w.issuerAuthority)
	b := launch(t)
	defer w.issuer.Claims(nil)
	var expires time.Time
	// On a busy machine a token has expired before the login is through: then one that lasts longer.
	for _, lasts := range []time.Duration{6 * time.Second, 30 * time.Second, 2 * time.Minute} {
		toIssuer(t, b, c)
		expires = time.Now().Add(lasts)
		w.issuer.Claims(map[string]any{"exp": expires.Unix()})
		sayName(t, b, "vic")
		if arrive(t, b, "Overview", "Log in") == "Overview" {
			break
		}
	}
	clustertest.Until(t, "the end of the session", func() bool {
		visit(t, b, c.base+"/workloads?namespace=shop")
		var title string
		evaluate(t, b, "document.title", &title)
		return strings.HasPrefix(title, "Log in")
	})
	arrive(t, b, "Log in")
	if now := time.Now(); now.Before(expires.Truncate(time.Second)) {
		t.Errorf("it ended at %s, before the token did, at %s", now, expires)
	}
	if page := text(t, b); !strings.Contains(page, "Your session is over: its time has passed, or that of your token. Log in again.") || !strings.Contains(page, "Log in with "+w.issuer.URL) {
		t.Errorf("the page says %s", page)
	}
}

// Each thing that somebody in between, or a wrong issuer, can do ends at the login, with a reason and without a session.
func TestWhatIsNoLoginByTheIssuerIsRefused(t *testing.T) {
	w := theWorld(t)
	away, err := issuer.Start(issuer.Options{Authority: w.issuerAuthority, ClientID: oidcClient})
	if err != nil {
		t.Fatal(err)
	}
	away.Stop()
	stranger, err := issuer.Start(issuer.Options{Authority: w.issuerAuthority, ClientID: oidcClient})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Stop)
	// Consoles before the browser: they wait for connections that it keeps.
	c, ofAway, ofStranger := w.openOIDC(t, w.issuer.URL, w.issuerAuthority), w.openOIDC(t, away.URL, w.issuerAuthority), w.openOIDC(t, stranger.URL, w.issuerAuthority)
	b := launch(t)
	query := func() url.Values {
		t.Helper()
		var text string
		evaluate(t, b, `document.querySelector("input[name=query]").value`, &text)
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	change := func(name, value string) func() {
		return func() {
			values := query()
			values.Set(name, value)
			evaluate(t, b, `document.querySelector("input[name=query]").value = `+q(values.Encode()), nil)
		}
	}
	claim := func(name string, value any) func() {
		return func() { w.issuer.Claims(map[string]any{name: value}) }
	}
	refused := func(t *testing.T, says string) {
		t.Helper()
		arrive(t, b, "Log in")
		if page := text(t, b); !strings.Contains(page, "You are not logged in: "+says) {
			t.Errorf("the page says %s, want %q", page, says)
		}
		visit(t, b, c.base+"/")
		if page := text(t, b); !strings.Contains(page, "A bearer token of this cluster") {
			t.Errorf("there is a session: %s", page)
		}
	}
	for name, test := range map[string]struct {
		wrong func()
		says  string
	}{
		"a forged state":                    {change("state", "guessed"), "this login did not begin here"},
		"a forged nonce":                    {change("nonce", "guessed"), "this login did not begin here"},
		"another verifier":                  {change("code_challenge", "guessed"), "the issuer did not take the code that it gave: begin again."},
		"a token for another client":        {claim("aud", "somebody"), "the issuer's ID token is none to log in here with"},
		"a token of another issuer":         {claim("iss", "https://evil.example.com"), "the issuer's ID token is none to log in here with"},
		"a token that has expired":          {claim("exp", time.Now().Add(-time.Hour).Unix()), "the issuer's ID token had expired when it came"},
		"a token that somebody else signed": {func() { w.issuer.Forge(true) }, "the issuer's ID token is none to log in here with"},
	} {
		t.Run(name, func(t *testing.T) {
			toIssuer(t, b, c)
			test.wrong()
			defer w.issuer.Claims(nil)
			defer w.issuer.Forge(false)
			sayName(t, b, "ann")
			refused(t, test.says)
		})
	}
	t.Run("a code that is used twice", func(t *testing.T) {
		toIssuer(t, b, c)
		first := query()
		code, err := w.issuer.Grant("ann", w.issuer.URL+"/authorize?"+first.Encode())
		if err != nil {
			t.Fatal(err)
		}
		back := func(state string) string {
			return c.base + callbackPath + "?" + url.Values{"state": {state}, "code": {code}}.Encode()
		}
		visit(t, b, back(first.Get("state")))
		arrive(t, b, "Overview")
		// The address again, as of the history.
		visit(t, b, back(first.Get("state")))
		if page := text(t, b); !strings.Contains(page, "this login did not begin here, or took too long: begin again.") {
			t.Errorf("the page says %s", page)
		}
		// The code in another login.
		signOut(t, b)
		toIssuer(t, b, c)
		visit(t, b, back(query().Get("state")))
		refused(t, "the issuer did not take the code that it gave: begin again.")
	})
	t.Run("an issuer that is down", func(t *testing.T) {
		visit(t, b, ofAway.base+"/login/oidc")
		if page := text(t, b); !strings.Contains(page, "The issuer does not answer: try again, or log in with a token.") {
			t.Errorf("the page says %s", page)
		}
	})
	t.Run("an issuer that the API server does not trust", func(t *testing.T) {
		toIssuer(t, b, ofStranger)
		sayName(t, b, "ann")
		arrive(t, b, "Log in")
		if page := text(t, b); !strings.Contains(page, "The API server does not take this token") {
			t.Errorf("the page says %s", page)
		}
	})
}
