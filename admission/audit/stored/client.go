package stored

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/audit"
)

// DefaultLimit is how many objects a page has: what kubectl asks for, too.
const DefaultLimit = 500

// requestTimeout is for a page, an object, or what is served: a watch has none.
const requestTimeout = time.Minute

// Restarts of the list of a kind whose pages have expired (410): after that there is a gap.
const maxRestarts = 3

// The client limits itself: an audit has time, and whoever is admitted has not.
const auditQPS, auditBurst = 20, 40

// Options of [New].
type Options struct {
	// Limit is how many objects a page has, DefaultLimit for 0.
	Limit int
	// Owns says whose objects are given: those of a scope, which is a namespace, or, for what has none, ClusterScope of the
	// resource. Nil gives all. It may change its mind between two lists.
	Owns func(scope string) bool
}

// ClusterScope is the scope of the objects of a kind that is in no namespace, "cluster:nodes". A Namespace is in its own.
func ClusterScope(groupResource string) string { return "cluster:" + groupResource }

// ScopeOf is the scope of an object.
func ScopeOf(r audit.Reference) string {
	if namespace := r.Scope(); namespace != "" {
		return namespace
	}
	return ClusterScope(r.GroupResource())
}

// Client reads what one API server stores.
type Client struct {
	rest      rest.Interface
	discovery discovery.DiscoveryInterfaceWithContext
	options   Options
}

// New makes a Client. Nothing is asked yet.
func New(config *rest.Config, options Options) (*Client, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = auditQPS, auditBurst
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	// The client for discovery alone has a deadline of half a minute, which would end each watch.
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	made, err := discovery.NewDiscoveryClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	options.Limit = cmp.Or(options.Limit, DefaultLimit)
	if options.Owns == nil {
		options.Owns = func(string) bool { return true }
	}
	return &Client{rest: made.RESTClient(), discovery: made, options: options}, nil
}

// List gives the objects of a kind, of one namespace or of all for "", to yield, page by page, and the resourceVersion from
// which their changes follow. An error that is a gap means that no further objects of the kind can be given.
//
// Where pages expire (410) the list begins again: what was given already is given again, in its newest state, so that nothing is
// missing; whoever counts does so by UID.
func (c *Client) List(ctx context.Context, kind Kind, namespace string, yield func(audit.Object) error) (resourceVersion string, err error) {
	for restart := 0; ; restart++ {
		resourceVersion, err = c.list(ctx, kind, namespace, yield)
		if !Expired(err) || restart == maxRestarts || ctx.Err() != nil {
			return resourceVersion, err
		}
	}
}

func (c *Client) list(ctx context.Context, kind Kind, namespace string, yield func(audit.Object) error) (resourceVersion string, err error) {
	next := ""
	for {
		request := c.rest.Get().AbsPath(kind.path(namespace)).Param("limit", strconv.Itoa(c.options.Limit)).Timeout(requestTimeout)
		if next != "" {
			request = request.Param("continue", next)
		}
		body, err := request.Do(ctx).Raw()
		if err != nil {
			return "", err
		}
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []jsontext.Value `json:"items"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return "", fmt.Errorf("reading a page of %s: %w", kind.GroupResource(), err)
		}
		if resourceVersion == "" {
			resourceVersion = page.Metadata.ResourceVersion // of the first page: what follows it is not missed
		}
		for n, item := range page.Items {
			object, err := kind.object(item)
			if err != nil {
				return "", err
			}
			page.Items[n] = nil
			if !c.options.Owns(ScopeOf(object.Reference)) {
				continue
			}
			if err := yield(object); err != nil {
				return "", &yieldError{err}
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return resourceVersion, nil
		}
	}
}

// yieldError is of whoever takes the objects, and no gap.
type yieldError struct{ error }

func (e *yieldError) Unwrap() error { return e.error }

// GapOf is why a kind could not be listed, nil where err is of somebody else: the context, or the taker.
func GapOf(ctx context.Context, kind Kind, err error) *audit.Gap {
	if ofTaker := (*yieldError)(nil); err == nil || ctx.Err() != nil || errors.As(err, &ofTaker) {
		return nil
	}
	reason := fmt.Sprintf("listing it fails: %v: it is tried again with the next audit", err)
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		reason = "the API server refuses to list it: grant get, list and watch on " + kind.GroupResource()
	}
	return &audit.Gap{What: kind.GroupResource(), Reason: reason}
}

// Source is an [audit.Source] of some kinds, in some namespaces or in all for none.
func (c *Client) Source(kinds []Kind, namespaces ...string) audit.Source {
	return source{c, kinds, namespaces}
}

type source struct {
	client     *Client
	kinds      []Kind
	namespaces []string
}

// Objects implements [audit.Source]. An object is given once, also where a list begins again.
func (s source) Objects(ctx context.Context, yield func(audit.Object) error) error {
	var gaps []audit.Gap
	namespaces := s.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, kind := range s.kinds {
		given := map[audit.Reference]struct{}{}
		once := func(object audit.Object) error {
			if _, again := given[object.Reference]; again {
				return nil
			}
			given[object.Reference] = struct{}{}
			return yield(object)
		}
		for _, namespace := range namespaces {
			if namespace != "" && !kind.Namespaced {
				continue
			}
			_, err := s.client.List(ctx, kind, namespace, once)
			gap := GapOf(ctx, kind, err)
			if gap == nil && err != nil {
				return err
			}
			if gap != nil {
				gaps = append(gaps, *gap)
				break
			}
		}
	}
	if len(gaps) > 0 {
		return &audit.IncompleteError{Gaps: gaps}
	}
	return nil
}

// Get is one object as it is now; ok is false where there is none.
func (c *Client) Get(ctx context.Context, kind Kind, namespace, name string) (object audit.Object, ok bool, err error) {
	body, err := c.rest.Get().AbsPath(kind.path(namespace) + "/" + name).Timeout(requestTimeout).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return object, false, nil
	}
	if err != nil {
		return object, false, fmt.Errorf("reading %s %s/%s: %w", kind.GroupResource(), namespace, name, err)
	}
	object, err = kind.object(body)
	return object, err == nil, err
}

// Event is what became of one object: it is as it is, or gone.
type Event struct {
	Object audit.Object
	Gone   bool
}

// errExpired says that what happened since a resourceVersion is not known any more.
var errExpired = errors.New("the API server does not know any more what has changed")

// Watch gives what happens to the objects of a kind after a resourceVersion, until the stream ends, which API servers do every
// few minutes. It returns the resourceVersion to go on from; [Expired] says of the error that all must be listed again.
func (c *Client) Watch(ctx context.Context, kind Kind, resourceVersion string, yield func(Event) error) (string, error) {
	stream, err := c.rest.Get().AbsPath(kind.path("")).
		Param("watch", "true").Param("allowWatchBookmarks", "true").Param("resourceVersion", resourceVersion).Stream(ctx)
	if err != nil {
		return resourceVersion, err
	}
	defer func() { _ = stream.Close() }()
	decoder := jsontext.NewDecoder(stream)
	for {
		var event struct {
			Type   string         `json:"type"`
			Object jsontext.Value `json:"object"`
		}
		if err := json.UnmarshalDecode(decoder, &event); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			return resourceVersion, err
		}
		var head struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
			} `json:"metadata"`
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(event.Object, &head); err != nil {
			return resourceVersion, fmt.Errorf("reading a change of %s: %w", kind.GroupResource(), err)
		}
		switch {
		case event.Type == "ERROR" && head.Code == http.StatusGone:
			return resourceVersion, errExpired
		case event.Type == "ERROR":
			return resourceVersion, fmt.Errorf("watching %s: %s", kind.GroupResource(), head.Message)
		}
		resourceVersion = cmp.Or(head.Metadata.ResourceVersion, resourceVersion)
		if event.Type == "BOOKMARK" {
			continue
		}
		object, err := kind.object(event.Object)
		if err != nil {
			return resourceVersion, err
		}
		if !c.options.Owns(ScopeOf(object.Reference)) {
			continue
		}
		if err := yield(Event{Object: object, Gone: event.Type == "DELETED"}); err != nil {
			return resourceVersion, err
		}
	}
}

// Expired says of an error of Watch that the kind has to be listed again.
func Expired(err error) bool {
	status := apierrors.APIStatus(nil)
	return errors.Is(err, errExpired) || errors.As(err, &status) && status.Status().Code == http.StatusGone
}

// Denied says of an error that rights are missing.
func Denied(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err)
}
