package vault

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Token is what a login gave. Expires is zero for one that does not end. Value is the caller's own copy.
type Token struct {
	Value     secrets.Value
	Accessor  string
	Expires   time.Time
	Renewable bool
}

// Client is an identity at a Vault. It may be used by any number of goroutines.
type Client struct {
	pool      *Pool
	conn      *connection
	namespace string
	auth      *v1alpha1.VaultAuth
	private   bool

	mu      sync.Mutex
	current *session // nil before the first login and after a token has ended
	flight  *flight  // the login or renewal that is under way
	begun   bool     // it had a token once: a private client has no second one
	closed  bool     // it was revoked or forgotten
	failure error    // of the last login, until then
	until   time.Time
	guessed time.Time // when a new login was last tried because a token could not be looked up
}

// flight is a login or renewal that all who need it wait for. err is read after done is closed.
type flight struct {
	done chan struct{}
	s    *session
	err  error
}

// session is one token.
type session struct {
	conn *connection

	mu        sync.Mutex
	token     Token
	renewAt   time.Time // zero for never
	renewable bool

	checking sync.Mutex
	good     time.Time // when it was last found to be one, though something was refused
}

// text is the token; not ok where it has been dropped.
func (s *session) text() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.token.Value.Reveal()), s.token.Value.Len() > 0
}

// drop clears the token, and closes connections that were opened with its certificate.
func (s *session) drop(of *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token.Value.Clear()
	if s.conn != of {
		s.conn.transport.CloseIdleConnections()
	}
}

// due says whether it has to be renewed or replaced, and usable whether it has not ended by its age.
func (s *session) due(now time.Time) (due, usable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.renewAt.IsZero() && !now.Before(s.renewAt), s.token.Expires.IsZero() || now.Before(s.token.Expires)
}

// later puts off what could not be done while the token is still good: by a quarter of what is left of it, at most ten seconds.
func (s *session) later(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewAt = now.Add(min(max(s.token.Expires.Sub(now)/4, 100*time.Millisecond), 10*time.Second))
}

// Identity names it for people and logs: "connection/namespace/auth".
func (c *Client) Identity() string { return c.conn.name + "/" + c.namespace + "/" + c.auth.Name }

// identity tells states of objects apart, too.
func (c *Client) identity() string {
	return c.conn.key + "/" + c.namespace + "/" + keyOf(c.auth.Name, string(c.auth.UID), c.auth.Generation)
}

// Token is the present one; the zero Token where there is none.
func (c *Client) Token() Token {
	c.mu.Lock()
	s := c.current
	c.mu.Unlock()
	if s == nil {
		return Token{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token := s.token
	token.Value = secrets.NewValue(bytes.Clone(s.token.Value.Reveal()))
	return token
}

func (c *Client) expires() time.Time {
	c.mu.Lock()
	s := c.current
	c.mu.Unlock()
	if s == nil {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token.Expires
}

// Do sends a call and gives the answer. The error is a *secrets.Error without values. With a token that has ended a shared client logs in
// once more; a private one says TokenRevoked, since its leases are gone with it.
func (c *Client) Do(ctx context.Context, call secrets.Call) (*secrets.Reply, error) {
	if call.Shared && call.Method == http.MethodGet && !c.private {
		return c.pool.share(ctx, c.conn, c.identity()+" "+call.Path+"?"+call.Query.Encode(), func(ctx context.Context) (*secrets.Reply, error) { return c.do(ctx, call) })
	}
	return c.do(ctx, call)
}

func (c *Client) do(ctx context.Context, call secrets.Call) (*secrets.Reply, error) {
	for again := false; ; again = true {
		s, err := c.session(ctx)
		if err != nil {
			return nil, err
		}
		read, err := c.pool.send(ctx, s.conn, s, call, speaks(call))
		if err == nil {
			return &secrets.Reply{
				Data: read.Data, LeaseID: read.LeaseID, LeaseDuration: time.Duration(read.LeaseDuration) * time.Second, Renewable: read.Renewable, Warnings: read.Warnings,
			}, nil
		}
		if secrets.ReasonOf(err) != secrets.Forbidden || !c.ended(ctx, s, err) {
			return nil, err
		}
		c.lose(s)
		if c.private {
			return nil, ended(doingOf(call))
		}
		if again {
			return nil, &secrets.Error{Reason: secrets.TokenRevoked, Doing: doingOf(call), Status: http.StatusForbidden, Message: "the token was revoked, and so was the new one: somebody revokes what this identity logs in for"}
		}
	}
}

// ended is the error of a token that is over.
func ended(doing string) error {
	return &secrets.Error{Reason: secrets.TokenRevoked, Doing: doing, Status: http.StatusForbidden, Message: "the token has ended, by its age or because somebody revoked it, and its leases with it"}
}

// checkedFor is how long a token that was found good though something was refused is not looked up again: where policies are wrong many
// objects are refused at once.
const checkedFor = 5 * time.Second

// ended finds out whether a token that was refused is still one. Vault says "invalid token" of one that is none. Where it does not, since the
// token may not even look itself up, a shared client tries a new login once a minute, and a private one takes it for good until its age.
func (c *Client) ended(ctx context.Context, s *session, refusal error) bool {
	if errors.Is(refusal, errInvalidToken) {
		return true
	}
	s.checking.Lock()
	defer s.checking.Unlock()
	now := c.pool.clock.Now()
	if !s.good.IsZero() && now.Sub(s.good) < checkedFor {
		return false
	}
	_, err := c.pool.send(ctx, s.conn, s, secrets.Call{Method: http.MethodGet, Path: "auth/token/lookup-self"}, false)
	if errors.Is(err, errInvalidToken) {
		return true
	}
	if secrets.ReasonOf(err) == secrets.Forbidden && !c.private {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.guessed.IsZero() || now.Sub(c.guessed) >= time.Minute {
			c.guessed = now
			return true
		}
	}
	s.good = now
	return false
}

// lose drops a token that has ended.
func (c *Client) lose(s *session) {
	c.mu.Lock()
	if c.current == s {
		c.current = nil
	}
	c.mu.Unlock()
	s.drop(c.conn)
}

// session is the present token. One that is due to be renewed is used meanwhile; all that have none wait for one login.
func (c *Client) session(ctx context.Context) (*session, error) {
	s, under, err := c.start()
	if err != nil || s != nil {
		return s, err
	}
	return c.await(ctx, under)
}

// start gives the token that can be used now, and the login or renewal that is under way where one is needed.
func (c *Client) start() (*session, *flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.pool.clock.Now()
	s := c.current
	var due, usable bool
	if s != nil {
		due, usable = s.due(now)
	}
	switch {
	case c.closed, s == nil && c.private && c.begun:
		return nil, nil, ended("using " + c.Identity())
	case s != nil && !due && usable:
		return s, nil, nil
	case s != nil && !usable && c.private:
		return nil, nil, ended("using " + c.Identity())
	case c.flight == nil && c.failure != nil && now.Before(c.until):
		if usable {
			return s, nil, nil
		}
		return nil, nil, c.failure
	}
	if c.flight == nil {
		f, present := &flight{done: make(chan struct{})}, s
		if !c.pool.spawn(func(ctx context.Context) { c.fly(ctx, f, present, usable) }) {
			return nil, nil, ended("using " + c.Identity())
		}
		c.flight = f
	}
	if !usable {
		s = nil
	}
	return s, c.flight, nil
}

func (c *Client) await(ctx context.Context, under *flight) (*session, error) {
	select {
	case <-under.done:
		return under.s, under.err
	case <-ctx.Done():
		return nil, &secrets.Error{Reason: secrets.Slow, Doing: "waiting for a login of " + c.Identity(), Message: "Vault or the API server takes long: it goes on, and is tried again", Cause: contextOf(ctx.Err())}
	}
}

// failedFor is how long a refused login is the answer to all that need one: thousands of objects would otherwise show the same refused
// credentials one after the other. What is an outage is not kept, so that everything goes on at once when it is over.
const failedFor = 5 * time.Second

// fly renews the token, or logs in. It is not the matter of who happened to need it first, so that one's context does not count.
func (c *Client) fly(ctx context.Context, f *flight, s *session, usable bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*c.conn.timeout)
	defer cancel()
	made, err := c.next(ctx, s, usable)
	now := c.pool.clock.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = nil
	if err != nil {
		if reason := secrets.ReasonOf(err); !reason.Outage() {
			c.failure, c.until = err, now.Add(failedFor)
		}
		if s != nil && usable && c.current == s && secrets.ReasonOf(err) != secrets.TokenRevoked {
			s.later(now)
			made, err = s, nil // it is good for a while yet: what is wrong with Vault the call will say
		}
	}
	switch {
	case err != nil:
		if c.private && c.current == s {
			c.current = nil
		}
	case c.closed && made != s:
		// Forgotten meanwhile: the token is one that nobody uses.
		c.pool.spawn(func(ctx context.Context) { _ = c.end(ctx, made) })
		made, err = nil, ended("using "+c.Identity())
	case made != s:
		if old := c.current; old != nil {
			old.drop(c.conn)
		}
		c.current, c.begun = made, true
	}
	f.s, f.err, c.flight = made, err, nil
	close(f.done)
}

// next is the token renewed, or a new one.
func (c *Client) next(ctx context.Context, s *session, usable bool) (*session, error) {
	if s != nil && usable {
		s.mu.Lock()
		renewable := s.renewable
		s.mu.Unlock()
		if renewable {
			err := c.renew(ctx, s)
			reason := secrets.ReasonOf(err)
			if err == nil || reason != secrets.Forbidden && reason != secrets.Refused {
				return s, err
			}
			if c.private && errors.Is(err, errInvalidToken) {
				return nil, ended("renewing the token of " + c.Identity())
			}
			if c.private {
				return s, err // it may not be renewed: it lasts until its age
			}
		} else if c.private {
			return s, nil
		}
	}
	return c.login(ctx)
}

// newSession shows a token. Of a lifetime it is renewed after two thirds.
func (c *Client) newSession(conn *connection, token Token, lifetime time.Duration) *session {
	s := &session{conn: conn, token: token, renewable: token.Renewable}
	c.lives(s, lifetime)
	return s
}

// lives notes how long a token lives from now; 0 is for ever. A private one that cannot be renewed is used until it ends.
func (c *Client) lives(s *session, lifetime time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lifetime <= 0 {
		s.token.Expires, s.renewAt = time.Time{}, time.Time{}
		return
	}
	now := c.pool.clock.Now()
	s.token.Expires = now.Add(lifetime)
	s.renewAt = secrets.RenewAt(now, s.token.Expires, secrets.DefaultRenewPercent, c.Identity())
	if c.private && !s.renewable {
		s.renewAt = s.token.Expires
	}
}

// renew renews a token.
func (c *Client) renew(ctx context.Context, s *session) error {
	read, err := c.pool.send(ctx, s.conn, s, secrets.Call{Method: http.MethodPost, Path: "auth/token/renew-self", Body: map[string]any{}}, false)
	if err != nil {
		return err
	}
	if read.Auth == nil {
		return &secrets.Error{Reason: secrets.Malformed, Doing: "renewing the token", Message: "the answer holds none"}
	}
	lifetime := time.Duration(read.Auth.LeaseDuration) * time.Second
	s.mu.Lock()
	left := s.token.Expires.Sub(c.pool.clock.Now())
	s.token.Renewable = read.Auth.Renewable
	s.renewable = read.Auth.Renewable && lifetime > left // if not, its greatest age is near: the next is by a login
	s.mu.Unlock()
	c.lives(s, lifetime)
	return nil
}

// KeepAlive renews the token if that is due, and says when to come again; zero for never. For private clients, which are not
// asked for anything else for a long time.
func (c *Client) KeepAlive(ctx context.Context) (time.Time, error) {
	s, under, err := c.start()
	if err == nil && under != nil {
		s, err = c.await(ctx, under)
	}
	if err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewAt, nil
}

// resume goes on with a token.
func (c *Client) resume(ctx context.Context, token secrets.Value) error {
	conn, err := c.shown(ctx)
	if err != nil {
		return err
	}
	s := c.newSession(conn, Token{Value: secrets.NewValue(bytes.Clone(token.Reveal()))}, 0)
	read, err := c.pool.send(ctx, conn, s, secrets.Call{Method: http.MethodGet, Path: "auth/token/lookup-self"}, false)
	if err != nil {
		s.drop(c.conn)
	}
	switch {
	case errors.Is(err, errInvalidToken):
		return ended("resuming the token of " + c.Identity())
	case err != nil:
		return err
	}
	s.token.Accessor, _ = read.Data["accessor"].(string)
	s.token.Renewable, _ = read.Data["renewable"].(bool)
	s.renewable = s.token.Renewable
	c.lives(s, secondsOf(read.Data["ttl"]))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.begun = s, true
	return nil
}

// Revoke ends the token, and with it all its leases: only for what nobody needs any more. The Client is of no use afterwards.
func (c *Client) Revoke(ctx context.Context) error {
	c.mu.Lock()
	s := c.current
	c.current, c.closed = nil, true
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return c.end(ctx, s)
}

func (c *Client) end(ctx context.Context, s *session) error {
	defer s.drop(c.conn)
	_, err := c.pool.send(ctx, s.conn, s, secrets.Call{Method: http.MethodPost, Path: "auth/token/revoke-self"}, false)
	if errors.Is(err, errInvalidToken) {
		return nil // it has ended already
	}
	return err
}

// Capabilities are what the token may at paths (sys/capabilities-self).
func (c *Client) Capabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	reply, err := c.do(ctx, secrets.Call{Method: http.MethodPost, Path: "sys/capabilities-self", Body: map[string]any{"paths": paths}})
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string, len(paths))
	for _, path := range paths {
		list, _ := reply.Data[path].([]any)
		for _, one := range list {
			if text, ok := one.(string); ok {
				found[path] = append(found[path], text)
			}
		}
	}
	return found, nil
}
