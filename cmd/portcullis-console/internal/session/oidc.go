package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Bounds of a login by an issuer.
const (
	oidcTimeout  = 10 * time.Second
	oidcLifetime = 10 * time.Minute // for the person to log in there
)

// OIDCOptions say which issuer logs in. It must be one that the API server takes ID tokens of, for the same client.
type OIDCOptions struct {
	Issuer, ClientID, ClientSecret, RedirectURL string
	Scopes                                      []string
	// Client reaches the issuer; http.DefaultClient if nil.
	Client *http.Client
}

// OIDC logs in by OpenID Connect: the authorization code flow with PKCE (RFC 7636), state and nonce. What the API server is sent is the ID token.
type OIDC struct {
	options OIDCOptions
	cookies *Cookies

	mu       sync.Mutex
	provider *oidc.Provider
}

// NewOIDC makes it. The issuer is asked when somebody logs in for the first time: the console starts without it.
func NewOIDC(options OIDCOptions, cookies *Cookies) *OIDC {
	return &OIDC{options: options, cookies: cookies}
}

// Issuer is its address.
func (o *OIDC) Issuer() string { return o.options.Issuer }

// pending is what the console must know when somebody comes back.
type pending struct {
	State, Nonce, Verifier string
	Expires                time.Time
}

func (o *OIDC) cookieName() string {
	if o.cookies.secure {
		return "__Host-portcullis-oidc"
	}
	return "portcullis-oidc"
}

func (o *OIDC) context(ctx context.Context) context.Context {
	if o.options.Client != nil {
		return oidc.ClientContext(ctx, o.options.Client)
	}
	return ctx
}

// config finds out where the issuer's endpoints are.
func (o *OIDC) config(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		// The provider keeps the context for its keys: it must outlive the request.
		provider, err := oidc.NewProvider(o.context(context.WithoutCancel(ctx)), o.options.Issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("asking the issuer %s how to log in: %w", o.options.Issuer, err)
		}
		o.provider = provider
	}
	scopes := slices.Concat([]string{oidc.ScopeOpenID}, o.options.Scopes)
	return &oauth2.Config{ClientID: o.options.ClientID, ClientSecret: o.options.ClientSecret, RedirectURL: o.options.RedirectURL, Endpoint: o.provider.Endpoint(), Scopes: scopes}, o.provider, nil
}

// Start is the address at the issuer to send somebody to.
func (o *OIDC) Start(w http.ResponseWriter, r *http.Request) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), oidcTimeout)
	defer cancel()
	config, _, err := o.config(ctx)
	if err != nil {
		return "", err
	}
	p := pending{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Expires: o.cookies.now().Add(oidcLifetime)}
	o.cookies.mu.Lock()
	sealed, err := o.cookies.sealer.seal("oidc", p)
	o.cookies.mu.Unlock()
	if err != nil {
		return "", err
	}
	cookie := o.cookies.cookie(o.cookieName(), sealed, int(oidcLifetime/time.Second))
	cookie.SameSite = http.SameSiteLaxMode // it is sent when the issuer leads back
	http.SetCookie(w, cookie)
	return config.AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)), nil
}

// errOIDC is of an answer that does not belong to a login that began here.
var errOIDC = errors.New("this login did not begin here, or took too long: begin again")

// errAway is of an issuer that was there before.
var errAway = errors.New("the issuer does not answer: try again, or log in with a token")

// Finish takes what the issuer sends back, and gives the ID token and when it expires.
func (o *OIDC) Finish(w http.ResponseWriter, r *http.Request) (token string, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), oidcTimeout)
	defer cancel()
	cookie, err := r.Cookie(o.cookieName())
	if err != nil {
		return "", time.Time{}, errOIDC
	}
	http.SetCookie(w, o.cookies.cookie(o.cookieName(), "", -1))
	var p pending
	o.cookies.mu.Lock()
	err = o.cookies.sealer.open("oidc", cookie.Value, &p)
	o.cookies.mu.Unlock()
	if err != nil || !o.cookies.now().Before(p.Expires) || !hmac.Equal([]byte(r.URL.Query().Get("state")), []byte(p.State)) {
		return "", time.Time{}, errOIDC
	}
	if said := r.URL.Query().Get("error"); said != "" {
		return "", time.Time{}, fmt.Errorf("the issuer has not logged you in: %.100q", said)
	}
	config, provider, err := o.config(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	ctx = o.context(ctx)
	answer, err := config.Exchange(ctx, r.URL.Query().Get("code"), oauth2.VerifierOption(p.Verifier))
	if err != nil {
		var refused *oauth2.RetrieveError
		if !errors.As(err, &refused) || refused.Response != nil && refused.Response.StatusCode >= http.StatusInternalServerError {
			return "", time.Time{}, errAway
		}
		return "", time.Time{}, errors.New("the issuer did not take the code that it gave: begin again")
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return "", time.Time{}, errors.New("the issuer gave no ID token: see that the client may have the scope openid")
	}
	verified, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: o.options.ClientID, Now: o.cookies.now}).Verify(ctx, raw)
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		return "", time.Time{}, errors.New("the issuer's ID token had expired when it came: begin again, and if it stays so compare the clocks of issuer and console")
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("the issuer's ID token is none to log in here with (%w): tell whoever runs the console", err)
	}
	if !hmac.Equal([]byte(verified.Nonce), []byte(p.Nonce)) {
		return "", time.Time{}, errOIDC
	}
	return raw, verified.Expiry, nil
}
