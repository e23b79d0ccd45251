package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/live"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/session"
)

//go:embed assets templates
var files embed.FS

// Bounds of one request.
const (
	pageTimeout = 25 * time.Second
	maxForm     = 32 << 10
	maxPage     = 8 << 20
)

// Options of a [Site].
type Options struct {
	Cluster *kube.Cluster
	Live    *live.Source
	Cookies *session.Cookies
	Limits  *session.Limits
	// Once is the link that logs in where the console acts with a kubeconfig; nil where callers bring a token.
	Once *session.Once
	// OIDC logs in by an issuer, nil for none.
	OIDC *session.OIDC
	// Hosts are those that the console is called by, "host:port"; empty takes any. A page of somebody else whose name leads here (DNS rebinding) is
	// refused.
	Hosts  []string
	Secure bool
	Now    func() time.Time
	Logger *slog.Logger
}

// Site answers requests of browsers.
type Site struct {
	o         Options
	mux       *http.ServeMux
	templates map[string]*template.Template
	cross     *http.CrossOriginProtection
}

// New reads the templates.
func New(o Options) (*Site, error) {
	s := &Site{o: o, mux: http.NewServeMux(), templates: map[string]*template.Template{}, cross: http.NewCrossOriginProtection()}
	functions := template.FuncMap{
		"ago": func(at time.Time) string { return ago(o.Now(), at) }, "rfc": func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"short": short, "tone": tone, "millis": millis,
	}
	layout, err := template.New("layout").Funcs(functions).ParseFS(files, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	bodies, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, file := range bodies {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" {
			continue
		}
		copied, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if s.templates[name], err = copied.ParseFS(files, file); err != nil {
			return nil, err
		}
	}
	if err := s.routes(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Site) routes() error {
	assets, err := fs.ReadDir(files, "assets")
	if err != nil {
		return err
	}
	for _, asset := range assets {
		content, err := files.ReadFile("assets/" + asset.Name())
		if err != nil {
			return err
		}
		s.mux.HandleFunc("GET /assets/"+asset.Name(), serveAsset(asset.Name(), content))
	}
	s.mux.HandleFunc("GET /login", s.loginPage)
	s.mux.HandleFunc("POST /login", s.login)
	s.mux.HandleFunc("GET /login/once/{code}", s.loginOnce)
	s.mux.HandleFunc("GET /login/oidc", s.loginOIDC)
	s.mux.HandleFunc("GET /login/oidc/callback", s.callbackOIDC)
	for pattern, show := range map[string]func(*visit) error{
		"GET /{$}": (*visit).overview, "GET /decisions": (*visit).decisions, "GET /workloads": (*visit).workloads, "GET /workload": (*visit).workload,
		"GET /policies": (*visit).policies, "GET /images": (*visit).images, "GET /quarantines": (*visit).quarantines, "GET /quarantine": (*visit).quarantine,
		"GET /exceptions": (*visit).exceptions, "POST /quarantine/approve": (*visit).approve, "POST /quarantine/release": (*visit).release, "POST /logout": (*visit).logout,
	} {
		s.mux.HandleFunc(pattern, s.visited(show, false))
	}
	s.mux.HandleFunc("GET /decisions/stream", s.visited((*visit).stream, true))
	s.mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		s.problem(w, http.StatusNotFound, "There is nothing at this address.")
	})
	return nil
}

var mediaTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func serveAsset(name string, content []byte) http.HandlerFunc {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	}
}

// contentPolicy allows the console's own files, and nothing else: no inline script or style, no frame, no other host
// (https://www.w3.org/TR/CSP3/).
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// ServeHTTP implements [http.Handler].
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Embedder-Policy", "require-corp")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if s.o.Secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	defer func() {
		if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // a panic's value
			s.o.Logger.Error("a page panicked", "path", r.URL.Path, "panic", fmt.Sprint(cause))
			s.problem(w, http.StatusInternalServerError, "The page could not be made: see the console's log.")
		}
	}()
	if r.URL.Path == "/healthz" { // the kubelet calls it by an address, and says nothing of where it comes from
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	if len(s.o.Hosts) > 0 && !slices.Contains(s.o.Hosts, r.Host) {
		s.problem(w, http.StatusMisdirectedRequest, "The console is not called that: use the address that it printed.")
		return
	}
	// Browsers say where a request comes from; what does not is no browser, and has no cookie that somebody else could use.
	if err := s.cross.Check(r); err != nil || r.Method == http.MethodPost && r.Header.Get("Origin") == "" {
		s.problem(w, http.StatusForbidden, "The form is not one of this console: open the page here and try again.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	s.mux.ServeHTTP(w, r)
}

// visit is one page for one person.
type visit struct {
	*Site
	w       http.ResponseWriter
	r       *http.Request
	session *session.Session
	caller  *kube.Caller
	query   url.Values
	// namespace is what the page is about, "" for all that may be seen.
	namespace string
}

// visited has somebody who is logged in see a page, within their limits.
func (s *Site) visited(show func(*visit) error, stream bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		logged := s.o.Cookies.Of(r)
		if logged == nil {
			over := ""
			if was, expired := s.o.Cookies.Over(r); expired {
				over = overExpired
			} else if was {
				over = overGone
			}
			s.toLogin(w, r, over)
			return
		}
		leave, ok := s.o.Limits.Enter(logged.ID, stream)
		if !ok {
			w.Header().Set("Retry-After", "2")
			s.problem(w, http.StatusTooManyRequests, "You have asked for many pages at once: wait a moment and load this one again.")
			return
		}
		defer leave()
		if r.Method == http.MethodPost && !s.o.Cookies.CheckCSRF(logged, r.PostFormValue("csrf")) {
			s.problem(w, http.StatusForbidden, "The form is not one of this session: load the page again.")
			return
		}
		caller, err := s.o.Cluster.As(logged.Token)
		if err != nil {
			s.o.Cookies.End(w, logged)
			s.toLogin(w, r, overRefused)
			return
		}
		if !stream {
			ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		v := &visit{Site: s, w: w, r: r, session: logged, caller: caller, query: r.URL.Query()}
		if v.namespace = strings.TrimSpace(v.query.Get("namespace")); v.namespace != "" && !isName(v.namespace) {
			s.problem(w, http.StatusBadRequest, "That is no namespace: names are of lower-case letters, digits and dashes.")
			return
		}
		switch err := show(v); {
		case kube.LoggedOut(err) || errors.Is(err, kube.ErrLoggedOut):
			s.o.Cookies.End(w, logged)
			s.toLogin(w, r, overRefused)
		case err != nil:
			s.o.Logger.Warn("a page failed", "path", r.URL.Path, "error", err)
			s.problem(w, http.StatusBadGateway, "The page could not be made: "+err.Error())
		}
	}
}

func isName(text string) bool {
	return len(text) <= 253 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// Why a session is over.
const overExpired, overRefused, overGone = "expired", "refused", "gone"

// overs are said at the login, by the parameter over.
var overs = map[string]string{
	overExpired: "Your session is over: its time has passed, or that of your token. Log in again.",
	overRefused: "Your session is over: the API server does not take your token any more. Log in again.",
	overGone:    "Your session is over: the console has started anew, or another replica of it answers. Log in again.",
}

// toLogin sends people who read pages to the login, and says to programs that there is none.
func (s *Site) toLogin(w http.ResponseWriter, r *http.Request, over string) {
	if r.Method != http.MethodGet || r.URL.Path == "/decisions/stream" {
		s.problem(w, http.StatusUnauthorized, "You are not logged in, or the session is over: log in again.")
		return
	}
	to := "/login"
	if over != "" {
		to += "?over=" + over
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// show writes a page.
func (v *visit) show(body, title string, data any) error {
	p := page{Title: title, Path: v.r.URL.Path, User: v.session.Name, CSRF: v.o.Cookies.CSRF(v.session), Namespace: v.namespace, Flash: flashes[v.query.Get("done")], Data: data, Namespaces: v.namespaces()}
	if p.Path == "/workload" || p.Path == "/quarantine" {
		p.Path += "s"
	}
	for _, one := range pages {
		p.Nav = append(p.Nav, link{one.title, address(one.path, "namespace", v.namespace), one.path == p.Path})
	}
	return v.render(v.w, http.StatusOK, body, p)
}

// flashes are said after something was done, by the parameter done.
var flashes = map[string]string{
	"approve": "It is approved: the responder takes the actions now.",
	"release": "It is being released: the responder takes back what it did.",
}

func (s *Site) render(w http.ResponseWriter, code int, body string, p page) error {
	var out bytes.Buffer
	if err := s.templates[body].ExecuteTemplate(&out, "layout", p); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	if out.Len() > maxPage {
		return fmt.Errorf("the page is longer than %d bytes: choose a namespace", maxPage)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(out.Bytes()) // the reader is gone, and with it whom to tell
	return nil
}

// problem is a page that says why there is none.
func (s *Site) problem(w http.ResponseWriter, code int, text string) {
	if s.render(w, code, "problem", page{Title: http.StatusText(code), Data: text}) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// client is the address of who calls, for limits before anybody is logged in.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
