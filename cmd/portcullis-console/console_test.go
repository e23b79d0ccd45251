package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

var allPages = []string{"/", "/decisions", "/workloads", "/policies", "/images", "/quarantines", "/exceptions", "/workload?kind=Deployment&in=shop&name=web", "/workload?kind=Deployment&in=bank&name=web", "/quarantine?name=q-bank"}

func TestEverybodySeesWhatTheyMay(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := w.open(t)
	const shopOnly = "/?namespace=shop"
	for name, test := range map[string]struct {
		user, path string
		sees, not  []string
	}{
		"a responder sees the cluster":               {"ann", "/", []string{"Quarantine of bank/web-1-abcde waits for an approval", "denied", "Policies that deny most", "bundles in order", "legacy-bank", "denies 9 requests"}, nil},
		"a responder sees decisions with users":      {"ann", "/decisions", []string{"bank/web-1-", "shop/web-1-", "replicaset-controller"}, nil},
		"a viewer of shop sees its decisions":        {"vic", "/decisions", []string{"shop/web-1-", "user-"}, []string{"bank/", "replicaset-controller"}},
		"a viewer of shop sees no other's decisions": {"vic", "/decisions?namespace=bank", []string{"you may not see decisions about bank"}, []string{"bank/web"}},
		"a viewer of shop sees its workloads":        {"vic", "/workloads?namespace=shop", []string{"Deployment web"}, []string{"bank"}},
		"a viewer of shop sees no other's workloads": {"vic", "/workloads?namespace=bank", []string{"You may not list deployments.apps in bank"}, []string{"Deployment web"}},
		"a viewer of shop sees not all workloads":    {"vic", "/workloads", []string{"You may not list deployments.apps"}, []string{"Deployment web"}},
		"a viewer of shop sees its timeline":         {"vic", "/workload?kind=Deployment&in=shop&name=web", []string{"Event FailedCreate", "Secret synced from Vault", "web-db from Vault, by VaultSecret web-db", "Pod created", "You may not list quarantines.runtime.portcullis.dev"}, []string{"Falco:"}},
		"a responder sees all of the timeline":       {"ann", "/workload?kind=Deployment&in=shop&name=web", []string{"Falco: Terminal shell in container", "Incident: admission remembers to deny", "8 vulnerabilities (1 critical, 2 high, 3 medium, 2 low)", "The gate, as an annotation says", "Quarantine planned", "Secret synced from Vault"}, []string{"You may not"}},
		"a viewer of shop sees no other's timeline":  {"vic", "/workload?kind=Deployment&in=bank&name=web", []string{"You may not get deployments.apps in bank"}, []string{"Event FailedCreate"}},
		"a viewer of shop sees its exceptions":       {"vic", "/exceptions?namespace=shop", []string{"shop/legacy-shop", "over since", "Days until exceptions end"}, []string{"legacy-bank"}},
		"a viewer of shop sees no quarantines":       {"vic", "/quarantines", []string{"You may not list quarantines"}, []string{"web-1-abcde"}},
		"a viewer of shop sees no single quarantine": {"vic", "/quarantine?name=q-shop", []string{"You may not get quarantines"}, []string{"Terminal shell"}},
		"a viewer of shop has an overview":           {"vic", shopOnly, []string{"legacy-shop", "You may not list policybundles", "You may not list quarantines"}, []string{"bank"}},
		"somebody without rights is told so":         {"bob", "/", []string{"What you do not see here", "You may not list", "Ask for the verb list"}, []string{"web-1-abcde", "legacy-"}},
		"somebody without rights sees no decisions":  {"bob", "/decisions", []string{"No decision yet that you may see"}, []string{"web-1-"}},
		"who may look but not decide has no buttons": {"cleo", "/quarantine?name=q-shop", []string{"You may not decide about it", "Terminal shell in container"}, []string{"<button>Approve", "/quarantine/approve"}},
		"who may decide has buttons":                 {"ann", "/quarantine?name=q-shop", []string{"/quarantine/approve", "/quarantine/release"}, nil},
		"shadow differences":                         {"ann", "/policies?q=privileged", []string{"9 new denials", "pods/run-as-root", "serial 42", "pods/privileged", "baseline"}, nil},
		"evidence of images":                         {"ann", "/images", []string{"ghcr.io/acme/web", "8 vulnerabilities", "CVE-2026-1000"}, nil},
		"a page that is not there":                   {"ann", "/nothing", []string{"There is nothing at this address"}, nil},
		"a namespace that is none":                   {"ann", "/workloads?namespace=%3Cscript%3E", []string{"That is no namespace"}, nil},
		"a workload that is none":                    {"ann", "/workload?kind=Secret&in=shop&name=web-db", []string{"There is no such workload"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			one := &console{t: t, base: c.base, output: c.output}
			one.browser = one.client()
			one.login(w.token(t, test.user))
			_, body := one.get(w.real(test.path))
			for _, text := range test.sees {
				if !strings.Contains(body, text) {
					t.Errorf("%q is not on the page:\n%s", text, body)
				}
			}
			for _, text := range test.not {
				if strings.Contains(body, text) {
					t.Errorf("%q is on the page:\n%s", text, body)
				}
			}
		})
	}
	for _, user := range []string{"ann", "vic", "bob", "cleo"} {
		if strings.Contains(c.output.String(), w.token(t, user)) {
			t.Errorf("the token of %s is in the log: %s", user, c.output)
		}
	}
}

func TestTheTokenIsInNoPageAndCookiesAreSealed(t *testing.T) {
	w := theWorld(t)
	pair, err := w.control.ServingCertificate("console.example.com")
	if err != nil {
		t.Fatal(err)
	}
	c := w.open(t, "--tls-cert="+pair.CertFile, "--tls-key="+pair.KeyFile)
	token := w.token(t, "ann")
	c.browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+"/login", strings.NewReader(url.Values{"token": {token}}.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", c.base)
	response, err := c.browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	for _, cookie := range response.Cookies() {
		if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || !strings.HasPrefix(cookie.Name, "__Host-") {
			t.Errorf("the cookie is %s", cookie)
		}
		if strings.Contains(cookie.String(), token) {
			t.Errorf("the token is in the cookie %s", cookie.Name)
		}
	}
	for _, page := range append(allPages, "/login", "/assets/app.js") {
		response, err := c.browser.Get(c.base + w.real(page))
		if err != nil {
			t.Fatal(err)
		}
		header := response.Header
		code, body := read(t, response)
		if strings.Contains(body, token) || strings.Contains(fmt.Sprint(header), token) {
			t.Errorf("the token is in %s", page)
		}
		if code >= 500 {
			t.Errorf("%s: %d %s", page, code, body)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Strict-Transport-Security": "max-age=", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-",
		} {
			if !strings.HasPrefix(header.Get(name), want) {
				t.Errorf("%s has %s: %q, want %q", page, name, header.Get(name), want)
			}
		}
		if strings.Contains(header.Get("Content-Security-Policy"), "unsafe") || strings.Contains(body, "<style") || strings.Contains(body, " style=") {
			t.Errorf("%s allows or has inline styles or scripts", page)
		}
	}
	if strings.Contains(c.output.String(), token) {
		t.Errorf("the token is in the log: %s", c.output)
	}
}

func TestFormsOfOthersDoNothing(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := w.open(t)
	c.login(w.token(t, "ann"))
	form := url.Values{"name": {w.real("q-shop")}, "reason": {"because"}, "csrf": {c.csrf()}}
	send := func(change func(*http.Request)) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+"/quarantine/approve", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", c.base)
		change(request)
		response, err := c.browser.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		code, _ := read(t, response)
		return code
	}
	for name, change := range map[string]func(*http.Request){
		"another origin":                    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") },
		"no origin":                         func(r *http.Request) { r.Header.Del("Origin") },
		"an origin that is hidden":          func(r *http.Request) { r.Header.Set("Origin", "null") },
		"another site, as the browser says": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another name for this machine":     func(r *http.Request) { r.Host = "evil.example.com"; r.Header.Set("Origin", "http://evil.example.com") },
	} {
		if code := send(change); code != http.StatusForbidden && code != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d, want 403 or 421", name, code)
		}
	}
	form.Set("csrf", "guessed")
	if code := send(func(*http.Request) {}); code != http.StatusForbidden {
		t.Errorf("without the form's token: %d, want 403", code)
	}
	if q := w.quarantine(t, w.real("q-shop")); nested(q, "spec", "approval", "by") != "" {
		t.Errorf("it was approved: %v", q.Object["spec"])
	}
}

func nested(object *unstructured.Unstructured, path ...string) string {
	text, _, _ := unstructured.NestedString(object.Object, path...)
	return text
}

func (w *world) quarantine(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	q, err := w.admin.Resource(v1alpha1.Quarantines).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestWhoMayDecides(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := w.open(t)
	c.login(w.token(t, "cleo"))
	code, body := c.post("/quarantine/approve", url.Values{"name": {w.real("q-shop")}, "reason": {"I want to"}, "csrf": {c.csrf()}})
	if code != http.StatusForbidden || !strings.Contains(body, "you may not decide about quarantines") {
		t.Errorf("without the right: %d %s, want 403 and why", code, body)
	}
	if by := nested(w.quarantine(t, w.real("q-shop")), "spec", "approval", "by"); by != "" {
		t.Fatalf("it was approved by %s", by)
	}
	c.browser = c.client()
	c.login(w.token(t, "ann"))
	if code, body := c.post("/quarantine/approve", url.Values{"name": {w.real("q-shop")}, "reason": {"  "}, "csrf": {c.csrf()}}); code != http.StatusBadRequest || !strings.Contains(body, "Give a reason") {
		t.Errorf("without a reason: %d %s", code, body)
	}
	if code, body = c.post("/quarantine/approve", url.Values{"name": {w.real("q-shop")}, "reason": {"Confirmed with the owner of shop"}, "csrf": {c.csrf()}}); code != http.StatusOK || !strings.Contains(body, "It is approved") {
		t.Errorf("approving: %d %s", code, body)
	}
	if code, body = c.post("/quarantine/release", url.Values{"name": {w.real("q-bank")}, "reason": {"A test of ours"}, "csrf": {c.csrf()}}); code != http.StatusOK || !strings.Contains(body, "It is being released") {
		t.Errorf("releasing: %d %s", code, body)
	}
	if q := w.quarantine(t, w.real("q-shop")); nested(q, "spec", "approval", "by") != "ann" || nested(q, "spec", "approval", "reason") != "Confirmed with the owner of shop" {
		t.Errorf("the approval is %v, want one by ann", q.Object["spec"])
	}
	if q := w.quarantine(t, w.real("q-bank")); nested(q, "spec", "release", "by") != "ann" {
		t.Errorf("the release is %v, want one by ann", q.Object["spec"])
	}
	if code, body = c.post("/quarantine/release", url.Values{"name": {"q-none"}, "reason": {"x"}, "csrf": {c.csrf()}}); code != http.StatusNotFound {
		t.Errorf("one that is not there: %d %s", code, body)
	}
}

func TestSessionsEnd(t *testing.T) {
	w := theWorld(t)
	c := w.open(t)
	if code, body := c.post("/login", url.Values{"token": {"not-one-of-this-cluster"}}); code != http.StatusUnauthorized || !strings.Contains(body, "does not take this token") {
		t.Errorf("a wrong token: %d %s", code, body)
	}
	if code, body := c.get("/"); code != http.StatusOK || !strings.Contains(body, "A bearer token of this cluster") {
		t.Errorf("without a session: %d %s, want the login", code, body)
	}
	c.login(w.token(t, "vic"))
	csrf := c.csrf()
	address, err := url.Parse(c.base)
	if err != nil {
		t.Fatal(err)
	}
	copied := c.browser.Jar.Cookies(address)
	if code, body := c.post("/logout", url.Values{"csrf": {csrf}}); code != http.StatusOK || !strings.Contains(body, "A bearer token") {
		t.Errorf("logging out: %d %s", code, body)
	}
	// Whoever has copied the cookies before has nothing.
	thief := c.client()
	thief.Jar.SetCookies(address, copied)
	response, err := thief.Get(c.base + "/exceptions?namespace=shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, body := read(t, response); !strings.Contains(body, "A bearer token") {
		t.Errorf("a session that was ended goes on: %s", body)
	}
	// Those of another process are of no use.
	other := w.open(t)
	if address, err = url.Parse(other.base); err != nil {
		t.Fatal(err)
	}
	other.browser.Jar.SetCookies(address, copied)
	if _, body := other.get("/"); !strings.Contains(body, "A bearer token") {
		t.Errorf("a session of another console goes on: %s", body)
	}
}

func TestAKubeconfigIsForWhoeverHasTheLink(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	kubeconfig, err := w.control.Kubeconfig("vic")
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, "--kubeconfig="+kubeconfig, "--webhook-ca="+w.authority.File, "--webhook-url="+w.webhook.URL)
	link := c.base
	c.base = c.base[:strings.Index(c.base, "/login/once/")]
	if _, body := c.get("/"); !strings.Contains(body, "acts with a kubeconfig on this machine") || strings.Contains(body, "textarea") {
		t.Errorf("without the link: %s", body)
	}
	if code, _ := c.post("/login", url.Values{"token": {w.token(t, "ann")}}); code != http.StatusForbidden {
		t.Errorf("a token where there is a kubeconfig: %d, want 403", code)
	}
	for n, want := range []int{http.StatusOK, http.StatusForbidden} {
		whose := c.browser
		if n > 0 {
			whose = c.client()
		}
		response, err := whose.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		if code, body := read(t, response); code != want {
			t.Errorf("use %d of the link: %d %s, want %d", n+1, code, body, want)
		}
	}
	if _, body := c.get("/decisions"); !strings.Contains(body, "shop/web-1-") || !strings.Contains(body, ">vic<") {
		t.Errorf("decisions with the kubeconfig's token: %s", body)
	}
	if strings.Contains(c.output.String(), w.token(t, "vic")) {
		t.Error("the token is in the log")
	}
}

// In a pod it is told where the API server is, and needs neither a name for it nor a token.
func TestInAClusterItNeedsNoToken(t *testing.T) {
	w := theWorld(t)
	at, err := url.Parse(w.control.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", at.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", at.Port())
	c := start(t, "--api-server-ca="+w.control.CAFile)
	c.login(w.token(t, "vic"))
	if code, body := c.get("/workloads?namespace=bank"); code != http.StatusOK || !strings.Contains(body, "You may not list deployments.apps in bank") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestWithoutTheWebhookEventsAreShown(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := start(t, "--api-server="+w.control.URL, "--api-server-ca="+w.control.CAFile)
	c.login(w.token(t, "vic"))
	_, body := c.get("/decisions?namespace=shop")
	if !strings.Contains(body, "Events instead") || !strings.Contains(body, "denied the request") || !strings.Contains(body, "--webhook-ca") {
		t.Errorf("got %s", body)
	}
}

// A token goes to nobody who is not the webhook.
func TestAStrangerIsSentNoToken(t *testing.T) {
	w := theWorld(t)
	pair, err := w.authority.Issue("stranger", "somebody-else.portcullis-system.svc")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	stranger := listenTLS(t, certificate)
	c := start(t, "--api-server="+w.control.URL, "--api-server-ca="+w.control.CAFile, "--webhook-ca="+w.authority.File, "--webhook-url="+stranger.URL)
	c.login(w.token(t, "vic"))
	_, body := c.get("/decisions?namespace=shop")
	if !strings.Contains(body, "Events instead") || strings.Contains(body, "stolen") || !strings.Contains(body, "certificate is valid for") {
		t.Errorf("got %s", body)
	}
}

func TestManyPagesAtOnceAreRefused(t *testing.T) {
	w := theWorld(t)
	c := w.open(t)
	c.login(w.token(t, "bob"))
	refused := false
	for range 60 {
		code, body := c.get("/exceptions?namespace=shop")
		if refused = code == http.StatusTooManyRequests; refused {
			if !strings.Contains(body, "wait a moment") {
				t.Errorf("says %s", body)
			}
			break
		}
	}
	if !refused {
		t.Error("60 pages at once were all shown")
	}
	if code, _ := c.get("/assets/style.css"); code != http.StatusOK {
		t.Errorf("its files: %d", code)
	}
}

func TestAStreamShowsWhatComes(t *testing.T) {
	w := theWorld(t)
	c := w.open(t)
	c.login(w.token(t, "vic"))
	c.browser.Timeout = 0
	response, err := c.browser.Get(c.base + "/decisions/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("the type is %q", got)
	}
	lines := make(chan string, 100)
	go follow(response.Body, lines)
	w.ring.Add(denied("bank", "hidden-one"))
	w.ring.Add(denied("shop", "fresh-one"))
	var seen []string
	for timeout := time.After(time.Minute); ; {
		select {
		case line := <-lines:
			seen = append(seen, line)
			if strings.Contains(line, "hidden-one") {
				t.Fatalf("another namespace's decision is shown: %s", line)
			}
			if strings.Contains(line, "fresh-one") {
				return
			}
		case <-timeout:
			t.Fatalf("it did not come; what came is %q", seen)
		}
	}
}
