package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of sessions.
const (
	DefaultLifetime = 8 * time.Hour
	// A browser takes cookies of 4096 bytes, name and attributes included (RFC 6265, section 6.1).
	pieceSize = 3600
	maxPieces = 4
	// MaxToken is the longest token that fits.
	MaxToken = 10 << 10
	// rememberedFor is how long a browser knows that there was a session.
	rememberedFor = 24 * time.Hour
	// maxEnded is how many sessions are remembered as ended before their time.
	maxEnded = 10_000
)

// ErrTooLong is of a token that fits into no cookie.
var ErrTooLong = fmt.Errorf("the token is longer than %d bytes: use one with fewer groups or claims", MaxToken)

// Cookies opens and ends sessions.
type Cookies struct {
	sealer   sealer
	csrf     [32]byte
	secure   bool
	lifetime time.Duration
	now      func() time.Time

	mu    sync.Mutex
	ended map[string]time.Time // id -> when it would have expired
}

// NewCookies makes sessions that last at most a lifetime. secure says that the console is reached by TLS: only a loopback address goes without.
func NewCookies(secure bool, lifetime time.Duration, now func() time.Time) *Cookies {
	c := &Cookies{sealer: newSealer(), secure: secure, lifetime: lifetime, now: now, ended: map[string]time.Time{}}
	_, _ = rand.Read(c.csrf[:]) // it never fails (crypto/rand)
	return c
}

// name of the nth cookie. A browser takes one with the prefix __Host- from this host by TLS only, and never from a sibling domain (RFC 6265bis, section 4.1.3.2).
func (c *Cookies) name(n int) string {
	name := fmt.Sprintf("portcullis-%d", n)
	if c.secure {
		return "__Host-" + name
	}
	return name
}

// wasName is of the cookie that outlives a session and says nothing but when that was to end, so that people can be told why they have to log in again.
func (c *Cookies) wasName() string {
	if c.secure {
		return "__Host-portcullis-until"
	}
	return "portcullis-until"
}

// Over says whether the browser had a session, and whether its time has passed; if it has not, another process had begun it.
func (c *Cookies) Over(r *http.Request) (was, expired bool) {
	cookie, err := r.Cookie(c.wasName())
	if err != nil {
		return false, false
	}
	until, err := strconv.ParseInt(cookie.Value, 10, 64)
	return err == nil, err == nil && c.now().Unix() >= until
}

func (c *Cookies) cookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteStrictMode, MaxAge: maxAge}
}

// Begin logs somebody in until the token expires or the lifetime is over, whichever is first; zero is a token that does not say.
func (c *Cookies) Begin(w http.ResponseWriter, name, token string, tokenExpires time.Time) (*Session, error) {
	if len(token) > MaxToken {
		return nil, ErrTooLong
	}
	now := c.now()
	s := &Session{ID: rand.Text(), Name: name, Token: token, Expires: now.Add(c.lifetime)}
	if !tokenExpires.IsZero() && tokenExpires.Before(s.Expires) {
		s.Expires = tokenExpires
	}
	if !now.Before(s.Expires) {
		return nil, errors.New("the token has expired: get a new one")
	}
	c.mu.Lock()
	sealed, err := c.sealer.seal("session", s)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	// Not before the session: who comes with no cookie would not be told why.
	age := int((s.Expires.Sub(now) + time.Second - 1) / time.Second)
	for n := range maxPieces {
		piece := sealed[:min(pieceSize, len(sealed))]
		sealed = sealed[len(piece):]
		if piece == "" {
			http.SetCookie(w, c.cookie(c.name(n), "", -1))
			continue
		}
		http.SetCookie(w, c.cookie(c.name(n), piece, age))
	}
	if sealed != "" {
		return nil, ErrTooLong
	}
	http.SetCookie(w, c.cookie(c.wasName(), strconv.FormatInt(s.Expires.Unix(), 10), age+int(rememberedFor/time.Second)))
	return s, nil
}

// Of is the session of a request, nil for none.
func (c *Cookies) Of(r *http.Request) *Session {
	var sealed strings.Builder
	for n := range maxPieces {
		cookie, err := r.Cookie(c.name(n))
		if err != nil || cookie.Value == "" {
			break
		}
		sealed.WriteString(cookie.Value)
	}
	if sealed.Len() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var s Session
	if c.sealer.open("session", sealed.String(), &s) != nil || !c.now().Before(s.Expires) {
		return nil
	}
	if _, ended := c.ended[s.ID]; ended {
		return nil
	}
	return &s
}

// End logs out: the browser forgets the session, and whoever has copied the cookies has nothing.
func (c *Cookies) End(w http.ResponseWriter, s *Session) {
	for n := range maxPieces {
		http.SetCookie(w, c.cookie(c.name(n), "", -1))
	}
	http.SetCookie(w, c.cookie(c.wasName(), "", -1))
	if s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.ended) >= maxEnded {
		for id, expires := range c.ended {
			if !now.Before(expires) {
				delete(c.ended, id)
			}
		}
		if len(c.ended) >= maxEnded { // so many people log out of one process only if something is wrong: all sessions end
			c.sealer, c.ended = newSealer(), map[string]time.Time{}
		}
	}
	c.ended[s.ID] = s.Expires
}

// CSRF is the token that forms of a session carry.
func (c *Cookies) CSRF(s *Session) string {
	mac := hmac.New(sha256.New, c.csrf[:])
	mac.Write([]byte(s.ID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// CheckCSRF says whether a form is one that this session was given.
func (c *Cookies) CheckCSRF(s *Session, token string) bool {
	return hmac.Equal([]byte(c.CSRF(s)), []byte(token))
}
