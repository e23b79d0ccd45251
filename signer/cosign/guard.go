package cosign

import "fmt"

// crash is a panic in one of the libraries that read what strangers have attached.
type crash struct{ value any }

func (c *crash) Error() string {
	return fmt.Sprintf("it is malformed: reading it failed with %q", abbreviate(fmt.Sprint(c.value)))
}

// guarded runs what parses or verifies untrusted content, in the caller's goroutine, and turns a
// panic into an error. cosign up to 3.0.4 and sigstore-go before 1.3.0 panic on malformed content
// (https://github.com/sigstore/cosign/pull/4648, https://github.com/sigstore/cosign/pull/5045); no
// recover reaches the goroutines that cosign's own functions for whole images start.
func guarded(verify func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &crash{value: value}
		}
	}()
	return verify()
}
