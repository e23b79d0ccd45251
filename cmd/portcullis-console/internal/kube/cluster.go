package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/quarantine"
)

// Bounds of one request to the API server.
const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 16 << 20 // bytes
)

// ErrLoggedOut is of a token that the API server does not take (any more).
var ErrLoggedOut = errors.New("the API server does not know the token: it has expired, or is not one of this cluster")

// Cluster makes callers.
type Cluster struct {
	host      string
	transport http.RoundTripper
	own       bool   // the transport has credentials of its own
	ownToken  string // that of those, if they are one
}

// New reaches a cluster without any credentials: callers bring theirs.
func New(config *rest.Config) (*Cluster, error) {
	return newCluster(rest.AnonymousClientConfig(config), false)
}

// NewOwn reaches a cluster with the credentials of the configuration, for the one person whose they are. A configuration that impersonates somebody is
// refused: the webhook, which is shown the token alone, would show what the person behind it may see.
func NewOwn(config *rest.Config) (*Cluster, error) {
	if as := config.Impersonate; as.UserName != "" || as.UID != "" || len(as.Groups) > 0 || len(as.Extra) > 0 {
		return nil, fmt.Errorf("reaching the cluster: the kubeconfig impersonates the user %q: take out as, as-uid, as-groups and as-user-extra, or choose a context of the user itself", as.UserName)
	}
	return newCluster(config, true)
}

func newCluster(config *rest.Config, own bool) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "portcullis-console"
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	c := &Cluster{host: config.Host, transport: transport, own: own}
	if own {
		c.ownToken = config.BearerToken
	}
	return c, nil
}

// Caller is one person at the cluster.
type Caller struct {
	token    string
	dynamic  dynamic.Interface
	standard kubernetes.Interface
}

// As acts with a token; "" with the credentials of [NewOwn], and by no other way.
func (c *Cluster) As(token string) (*Caller, error) {
	if token == "" && !c.own || token != "" && c.own {
		return nil, ErrLoggedOut
	}
	// No answer leads the token elsewhere.
	client := &http.Client{
		Transport: &carrier{c.transport, token}, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// Pages ask for a handful of things at once, and are limited by themselves.
	config := &rest.Config{Host: c.host, QPS: -1}
	byKind, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	standard, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	if c.own {
		token = c.ownToken
	}
	return &Caller{token: token, dynamic: byKind, standard: standard}, nil
}

// carrier sends a caller's token, and bounds answers.
type carrier struct {
	next  http.RoundTripper
	token string
}

// RoundTrip implements [http.RoundTripper].
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &bounded{response.Body, maxAnswer}
	return response, nil
}

// errAnswer is of an answer that is cut off.
var errAnswer = fmt.Errorf("the answer of the API server is longer than %d bytes: choose a namespace", maxAnswer)

// bounded is a body that ends with an error where it is too long.
type bounded struct {
	io.ReadCloser
	left int
}

// Read implements [io.Reader].
func (b *bounded) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.left -= n; b.left < 0 {
		return 0, errAnswer
	}
	return n, err
}

// Token is what the caller shows, "" where the kubeconfig's credentials are no token.
func (c *Caller) Token() string { return c.token }

// Name is what the API server calls the caller (KEP-3325).
func (c *Caller) Name(ctx context.Context) (string, error) {
	review, err := c.standard.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return "", ErrLoggedOut
	case err != nil:
		return "", fmt.Errorf("asking the API server who you are: %w", err)
	case review.Status.UserInfo.Username == "" || review.Status.UserInfo.Username == "system:anonymous":
		return "", ErrLoggedOut
	}
	return review.Status.UserInfo.Username, nil
}

// May says whether the caller may do something with a resource; what cannot be found out they may not. It is for which buttons show: the API server
// decides when they are pressed.
func (c *Caller) May(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) bool {
	review, err := c.standard.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: resource.Group, Resource: resource.Resource, Namespace: namespace, Name: name},
	}}, metav1.CreateOptions{})
	return err == nil && review.Status.Allowed && !review.Status.Denied
}

// Quarantines are those of the cluster, with the caller's rights.
func (c *Caller) Quarantines() *quarantine.Store {
	return quarantine.NewStore(c.dynamic, quarantine.StoreOptions{})
}
