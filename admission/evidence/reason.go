package evidence

import (
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// reason says for people why something is not known: what, kind of fault and host, and the next step. It stands
// behind "cannot know".
func reason(what string, host string, err error) string {
	var fault *registry.Error
	var defect *crash
	switch {
	case errors.Is(err, errOutOfTime):
		return fmt.Sprintf("%s: %s has not answered within the time of this request; it goes on being looked at: retry in a few seconds, and raise timeoutSeconds of the webhook if it happens again", what, host)
	case errors.Is(err, errTooManyFlights):
		return what + ": too many images are being looked at: retry in a few seconds"
	case errors.Is(err, errClosed):
		return what + ": this replica is shutting down: retry"
	case errors.As(err, &defect):
		return fmt.Sprintf("%s: looking at it failed (%v): report this to the maintainers of Portcullis", what, defect)
	case errors.As(err, &fault):
		return fmt.Sprintf("%s (%s, %s): %v", what, fault.Kind, fault.Host, fault)
	}
	return fmt.Sprintf("%s: %v", what, err)
}

// closer says for how long a repository's host has asked to be left alone ([registry.Client] does).
type closer interface {
	Closed(repository registry.Repository) time.Duration
}

// reason is that of a fault of a registry. What is still under way because the registry wants everybody to wait is said to be.
func (g *gathering) reason(what string, repository registry.Repository, err error) string {
	if limiter, ok := g.options.Registry.(closer); ok && errors.Is(err, errOutOfTime) {
		if left := limiter.Closed(repository); left > 0 {
			err = &registry.Error{Kind: registry.RateLimited, Host: repository.Registry, What: "waiting until it may be asked again", RetryAfter: left}
		}
	}
	return reason(what, repository.Registry, err)
}
