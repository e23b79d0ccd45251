package web

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/session"
)

type loginData struct {
	Problem string
	Own     bool
	OIDC    bool
	Issuer  string
}

func (s *Site) loginPage(w http.ResponseWriter, r *http.Request) {
	if s.o.Cookies.Of(r) != nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.showLogin(w, http.StatusOK, overs[r.URL.Query().Get("over")])
}

func (s *Site) showLogin(w http.ResponseWriter, code int, problem string) {
	data := loginData{Problem: problem, Own: s.o.Once != nil, OIDC: s.o.OIDC != nil}
	if data.OIDC {
		data.Issuer = s.o.OIDC.Issuer()
	}
	if s.render(w, code, "login", page{Title: "Log in", Path: "/login", Data: data}) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// login takes a token that is pasted. The API server says whose it is.
func (s *Site) login(w http.ResponseWriter, r *http.Request) {
	if s.o.Once != nil {
		s.showLogin(w, http.StatusForbidden, "")
		return
	}
	leave, ok := s.o.Limits.Enter("address "+client(r), false)
	if !ok {
		s.showLogin(w, http.StatusTooManyRequests, "There were many attempts from your address: wait a moment.")
		return
	}
	defer leave()
	token := strings.TrimSpace(r.PostFormValue("token"))
	token = strings.TrimPrefix(token, "Bearer ")
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		s.showLogin(w, http.StatusBadRequest, "That is no bearer token: paste all of it, on one line.")
		return
	}
	s.begin(w, r, token, session.ExpiryOf(token))
}

// begin opens a session with a token that the API server takes.
func (s *Site) begin(w http.ResponseWriter, r *http.Request, token string, expires time.Time) {
	caller, err := s.o.Cluster.As(token)
	var name string
	if err == nil {
		name, err = caller.Name(r.Context())
	}
	if errors.Is(err, kube.ErrLoggedOut) {
		s.showLogin(w, http.StatusUnauthorized, "The API server does not take this token: it has expired, or is of another cluster.")
		return
	}
	if err != nil {
		s.o.Logger.Warn("a login failed", "error", err)
		s.showLogin(w, http.StatusBadGateway, "The API server could not be asked who you are: try again.")
		return
	}
	begun, err := s.o.Cookies.Begin(w, name, token, expires)
	if err != nil {
		s.showLogin(w, http.StatusBadRequest, "You could not be logged in: "+err.Error()+".")
		return
	}
	s.o.Logger.Info("logged in", "user", name, "session", begun)
	// A page and no redirect: a browser that comes from the issuer's site sends a SameSite=Strict cookie only with what a page of ours asks for.
	w.Header().Set("Refresh", "0; url=/")
	if s.render(w, http.StatusOK, "problem", page{Title: "Logged in", Data: "You are logged in."}) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// loginOnce takes the link that the console has printed.
func (s *Site) loginOnce(w http.ResponseWriter, r *http.Request) {
	leave, ok := s.o.Limits.Enter("address "+client(r), false)
	if !ok {
		s.showLogin(w, http.StatusTooManyRequests, "There were many attempts: wait a moment.")
		return
	}
	defer leave()
	if s.o.Once == nil || !s.o.Once.Use(r.PathValue("code")) {
		s.showLogin(w, http.StatusForbidden, "This link was used already, has expired, or is not of this console.")
		return
	}
	s.begin(w, r, "", time.Time{})
}

func (v *visit) logout() error {
	v.o.Cookies.End(v.w, v.session)
	http.Redirect(v.w, v.r, "/login", http.StatusSeeOther)
	return nil
}

// loginOIDC leads to the issuer.
func (s *Site) loginOIDC(w http.ResponseWriter, r *http.Request) {
	leave, ok := s.o.Limits.Enter("address "+client(r), false)
	if !ok || s.o.OIDC == nil {
		s.showLogin(w, http.StatusForbidden, "")
		return
	}
	defer leave()
	address, err := s.o.OIDC.Start(w, r)
	if err != nil {
		s.o.Logger.Warn("a login by the issuer could not begin", "error", err)
		s.showLogin(w, http.StatusBadGateway, "The issuer does not answer: try again, or log in with a token.")
		return
	}
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// callbackOIDC takes what the issuer sends back.
func (s *Site) callbackOIDC(w http.ResponseWriter, r *http.Request) {
	leave, ok := s.o.Limits.Enter("address "+client(r), false)
	if !ok || s.o.OIDC == nil {
		s.showLogin(w, http.StatusForbidden, "")
		return
	}
	defer leave()
	token, expires, err := s.o.OIDC.Finish(w, r)
	if err != nil {
		s.o.Logger.Warn("a login by the issuer failed", "error", err)
		s.showLogin(w, http.StatusForbidden, "You are not logged in: "+err.Error()+".")
		return
	}
	s.begin(w, r, token, expires)
}
