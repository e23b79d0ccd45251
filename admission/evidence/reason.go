package evidence

import (
	"errors"
	"fmt"

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
