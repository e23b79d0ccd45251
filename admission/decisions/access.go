package decisions

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"golang.org/x/sync/singleflight"
)

// What a reader must be allowed: a resource that no API server serves, as RBAC permits.
const (
	Group         = "policy.portcullis.dev"
	Resource      = "decisions"
	UsersResource = "users" // a subresource
	Verb          = "get"
)

// Bounds of asking the API server. What it says counts for a moment only, so that whose right is taken away sees nothing more soon.
const (
	knownFor   = 10 * time.Second
	maxKnown   = 2000 // answers that are remembered
	maxToken   = 16 << 10
	askTimeout = 5 * time.Second
	// Whose token it was is asked again without a budget for this long after the last time that it was somebody's: strangers cannot get in between.
	// Only such tokens are remembered for it, so that no stranger makes it forget one.
	goodFor       = 10 * time.Minute
	maxGoodOfUser = 16
)

var (
	errUnknown = errors.New("the bearer token is not one of this cluster, or has expired")
	errBusy    = errors.New("too many unknown tokens are being looked at, of your address or of all: try again in a second")
)

// reader is who reads.
type reader struct {
	name   string
	uid    string
	groups []string
	extra  map[string]authorizationv1.ExtraValue
	// token is a keyed hash of what they showed: who has it has this reader's rights.
	token string
}

// access asks the API server who somebody is and what they may see, and remembers the answers for a moment.
type access struct {
	client  kubernetes.Interface
	now     func() time.Time
	key     [sha256.Size]byte
	budget  *budget
	flights singleflight.Group // by token: many who show one ask once

	mu      sync.Mutex
	readers map[string]answer[*reader]
	good    map[string]answer[string] // whose tokens are somebody's
	rights  map[right]answer[bool]
}

type answer[T any] struct {
	value T
	until time.Time
}

type right struct{ token, namespace, subresource string }

func newAccess(client kubernetes.Interface, now func() time.Time) *access {
	a := &access{client: client, now: now, budget: newBudget(now), readers: map[string]answer[*reader]{}, good: map[string]answer[string]{}, rights: map[right]answer[bool]{}}
	_, _ = rand.Read(a.key[:]) // it never fails (crypto/rand)
	return a
}

// hash is a keyed hash. Looking something up by one takes no time that depends on the text that somebody guesses.
func (a *access) hash(of, text string) string {
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write([]byte(of + "\x00" + text))
	return hex.EncodeToString(mac.Sum(nil))
}

// pseudonym stands for a user's name: the same for as long as this process runs.
func (a *access) pseudonym(user string) string { return "user-" + a.hash("user", user)[:12] }

// reader says whose a token is. errUnknown is of one that nobody has, errBusy of one that cannot be asked about now, for all that come from there.
func (a *access) reader(ctx context.Context, token, from string) (*reader, error) {
	if token == "" || len(token) > maxToken {
		return nil, errUnknown
	}
	key := a.hash("token", token)
	a.mu.Lock()
	known, ok := a.readers[key]
	a.mu.Unlock()
	if ok && a.now().Before(known.until) {
		return known.value.orUnknown()
	}
	// Whoever waits for the answer may go; the others still want it.
	asking := context.WithoutCancel(ctx)
	select {
	case flight := <-a.flights.DoChan(key, func() (any, error) { return a.ask(asking, token, key, from) }):
		if flight.Err != nil {
			return nil, flight.Err
		}
		return flight.Val.(*reader).orUnknown()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *reader) orUnknown() (*reader, error) {
	if r == nil {
		return nil, errUnknown
	}
	return r, nil
}

// ask asks the API server whose a token is, nil for nobody's.
func (a *access) ask(ctx context.Context, token, key, from string) (*reader, error) {
	a.mu.Lock()
	good, ok := a.good[key]
	a.mu.Unlock()
	stranger := !ok || !a.now().Before(good.until)
	if stranger && !a.budget.take(from) {
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	review, err := a.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking the API server whose the token is: %w", withoutToken(err))
	}
	var whose *reader
	if user := review.Status.User; review.Status.Authenticated && user.Username != "" {
		whose = &reader{name: user.Username, uid: user.UID, groups: user.Groups, extra: map[string]authorizationv1.ExtraValue{}, token: key}
		for name, values := range user.Extra {
			whose.extra[name] = authorizationv1.ExtraValue(values)
		}
		if stranger {
			a.budget.refund(from)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	remember(a.readers, key, answer[*reader]{whose, a.now().Add(knownFor)}, a.now())
	a.settle(key, whose)
	return whose, nil
}

// settle notes that a token is somebody's, or nobody's. Where there is no room, or the user has many, it is none of those that are asked about without a
// budget: nobody else's goes for it.
func (a *access) settle(key string, whose *reader) {
	if whose == nil {
		delete(a.good, key)
		return
	}
	now, ofUser := a.now(), 0
	if _, known := a.good[key]; !known {
		for k, good := range a.good {
			if !now.Before(good.until) {
				delete(a.good, k)
			} else if good.value == whose.name {
				ofUser++
			}
		}
		if len(a.good) >= maxKnown || ofUser >= maxGoodOfUser {
			return
		}
	}
	a.good[key] = answer[string]{whose.name, now.Add(goodFor)}
}

// withoutToken gives an error no way to say what was sent.
func withoutToken(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return errors.New("it did not answer as it should: see that the webhook may create tokenreviews and subjectaccessreviews")
}

// may says whether a reader may get decisions, or a subresource of them, in a namespace; "" is all namespaces, and objects without one.
func (a *access) may(ctx context.Context, who *reader, namespace, subresource string) (bool, error) {
	key := right{who.token, namespace, subresource}
	a.mu.Lock()
	known, ok := a.rights[key]
	a.mu.Unlock()
	if ok && a.now().Before(known.until) {
		return known.value, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	review, err := a.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.name, UID: who.uid, Groups: who.groups, Extra: who.extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: Group, Resource: Resource, Subresource: subresource, Verb: Verb, Namespace: namespace},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking the API server what %s may see: %w", who.name, withoutToken(err))
	}
	allowed := review.Status.Allowed && !review.Status.Denied
	a.mu.Lock()
	remember(a.rights, key, answer[bool]{allowed, a.now().Add(knownFor)}, a.now())
	a.mu.Unlock()
	return allowed, nil
}

// remember keeps an answer; where there is no room, those that do not count any more go first, and then all.
func remember[K comparable, T any](known map[K]answer[T], key K, value answer[T], now time.Time) {
	if len(known) >= maxKnown {
		for k, v := range known {
			if !now.Before(v.until) {
				delete(known, k)
			}
		}
		if len(known) >= maxKnown {
			clear(known)
		}
	}
	known[key] = value
}
