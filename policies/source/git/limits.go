package git

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Limits bound what is received of a server and kept in memory. Zero values are the defaults.
type Limits struct {
	// References is how many bytes the list of branches and tags may have: it is sent whole, and a repository with 100,000 tags
	// has 7 MB of it.
	References int64
	// Pack is how many bytes of objects are received.
	Pack int64
	// Unpacked is how many bytes all objects of one commit may have. The files of a bundle have 64 MiB at most; around them may be
	// some that are no part of it.
	Unpacked int64
	// Objects is how many there may be.
	Objects int
	// Timeout is how long a fetch may take.
	Timeout time.Duration
}

// The defaults.
const (
	DefaultReferences = 32 << 20
	DefaultPack       = 64 << 20
	DefaultUnpacked   = 128 << 20
	DefaultObjects    = 200_000
	DefaultTimeout    = 2 * time.Minute
)

func (l Limits) filled() Limits {
	if l.References <= 0 {
		l.References = DefaultReferences
	}
	if l.Pack <= 0 {
		l.Pack = DefaultPack
	}
	if l.Unpacked <= 0 {
		l.Unpacked = DefaultUnpacked
	}
	if l.Objects <= 0 {
		l.Objects = DefaultObjects
	}
	if l.Timeout <= 0 {
		l.Timeout = DefaultTimeout
	}
	return l
}

// errCut is what a connection that ends too early means.
var errCut = errors.New("the answer was cut short: retry")

// bounded reads until a limit, beyond which it is an error and not the end.
type bounded struct {
	io.Reader
	left int64
	what string
	most int64
	// ended: there is nothing more.
	ended bool
}

func bound(r io.Reader, most int64, what string) *bounded {
	return &bounded{Reader: r, left: most, what: what, most: most}
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.exceeded()
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return n - 1, b.exceeded()
	}
	b.ended = err != nil
	return n, err
}

func (b *bounded) exceeded() error {
	return &tooMuch{what: b.what, limit: fmt.Sprintf("%d bytes", b.most)}
}

// tooMuch says that a limit was reached.
type tooMuch struct{ what, limit string }

func (t *tooMuch) Error() string {
	return fmt.Sprintf("%s has more than %s, which is the limit: keep the policies in a repository of their own, without other files", t.what, t.limit)
}
