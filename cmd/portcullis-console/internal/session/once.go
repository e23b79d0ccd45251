package session

import (
	"crypto/hmac"
	"crypto/rand"
	"sync"
	"time"
)

// OnceLifetime is how long the link may wait for its one use.
const OnceLifetime = 10 * time.Minute

// Once is the code of a link that logs in once.
type Once struct {
	mu      sync.Mutex
	code    string
	expires time.Time
	now     func() time.Time
}

// NewOnce makes a code.
func NewOnce(now func() time.Time) *Once {
	return &Once{code: rand.Text(), expires: now().Add(OnceLifetime), now: now}
}

// Code is what the link ends with.
func (o *Once) Code() string { return o.code }

// Use says whether a code is the one, and was not used before.
func (o *Once) Use(code string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.code == "" || !o.now().Before(o.expires) || !hmac.Equal([]byte(o.code), []byte(code)) {
		return false
	}
	o.code = ""
	return true
}
