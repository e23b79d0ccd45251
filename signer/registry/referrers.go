package registry

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// relearn is how long it is remembered that a registry has no referrers API. Registries
// learn it with an upgrade, and migrate what was pushed before.
const relearn = 10 * time.Minute

// missing remembers where the referrers API is missing.
type missing struct {
	now   func() time.Time
	mu    sync.Mutex
	until map[string]time.Time
}

func (m *missing) at(p place) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now().Before(m.until[p.repository().String()])
}

func (m *missing) set(p place, missing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !missing {
		delete(m.until, p.repository().String())
		return
	}
	if len(m.until) >= maxEntries {
		clear(m.until)
	}
	m.until[p.repository().String()] = m.now().Add(relearn)
}

// Referrers lists what refers to a digest: all of it, whatever its artifact type, which
// registries and signers fill in differently. The list is that of the referrers API or, where
// the registry has none, that of the fallback tag (distribution specification, "Listing
// Referrers"); the API's is complete where there is one. More than the limit is a fault
// of kind [TooMany]: a list that is cut could hide what matters. Nothing is an empty list and no fault.
func (c *Client) Referrers(ctx context.Context, repository Repository, digest string) ([]Descriptor, error) {
	what := fmt.Sprintf("listing the referrers of %s@%s", repository, digest)
	if err := checkDigest(digest); err != nil {
		return nil, invalid(repository, what, err)
	}
	places, err := c.places(repository)
	if err != nil {
		return nil, invalid(repository, what, err)
	}
	var list []Descriptor
	for _, at := range places {
		// A mirror that copies images and not what refers to them answers with nothing.
		if list, err = c.referrersAt(ctx, at, what, digest); err == nil && len(list) > 0 {
			return list, nil
		}
	}
	return list, err
}

func (c *Client) referrersAt(ctx context.Context, at place, what, digest string) ([]Descriptor, error) {
	if !c.missing.at(at) {
		list, found, err := c.referrersAPI(ctx, at, what, digest)
		if found || err != nil {
			return list, err
		}
	}
	index, err := c.fallback(ctx, at, what, digest)
	if err != nil {
		return nil, err
	}
	return c.unique(at, what, index)
}

// referrersAPI reads the API's pages. found is false where there is no such API.
func (c *Client) referrersAPI(ctx context.Context, at place, what, digest string) (list []Descriptor, found bool, err error) {
	r := &request{what: what, method: http.MethodGet, place: at, path: "referrers/" + digest, accept: mediaTypeIndex}
	for page := 1; ; page++ {
		descriptors, next, err := c.referrersPage(ctx, r)
		if err != nil {
			if page == 1 && c.noAPI(at, err) {
				return nil, false, nil
			}
			return nil, false, err
		}
		if list, err = c.unique(at, what, append(list, descriptors...)); err != nil {
			return nil, false, err
		}
		if next == "" {
			return list, true, nil
		}
		if page == c.options.MaxPages {
			return nil, false, r.fault(TooMany, fmt.Errorf("the list has more than %d pages, which is the limit", c.options.MaxPages))
		}
		if r.url, err = c.nextPage(r, next); err != nil {
			return nil, false, err
		}
	}
}

// errNoIndex is an answer that is something else than a list of referrers.
var errNoIndex = errors.New("the answer is no image index")

func (c *Client) referrersPage(ctx context.Context, r *request) (list []Descriptor, next string, err error) {
	err = c.exchange(ctx, r, func(response *http.Response) error {
		if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != mediaTypeIndex {
			return r.fault(Malformed, errNoIndex)
		}
		raw, err := r.readAll(response, c.options.MaxManifest)
		if KindOf(err) == TooLarge {
			return r.fault(TooMany, err)
		}
		if err != nil {
			return err
		}
		next = nextLink(response.Header.Values("Link"))
		if list, err = parseIndex(raw); err != nil {
			return r.fault(listKind(err), err)
		}
		return nil
	})
	return list, next, err
}

// noAPI says whether a fault means that the registry has no referrers API, and remembers
// that. The specification has 404 for it; 400, 405 and others, redirects, and pages for people
// are what older registries answer. A repository that does not exist says nothing about the API.
func (c *Client) noAPI(at place, err error) bool {
	fault, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch {
	case errors.Is(err, errNoIndex), fault.status/100 == 3:
	case fault.status == http.StatusNotFound, fault.status == http.StatusBadRequest, fault.status == http.StatusMethodNotAllowed,
		fault.status == http.StatusNotAcceptable, fault.status == http.StatusGone, fault.status == http.StatusNotImplemented:
	default:
		return false
	}
	if !slices.Contains(fault.codes, "NAME_UNKNOWN") {
		c.missing.set(at, true)
	}
	return true
}

// nextLink is the address of the next page (RFC 8288), "" on the last.
func nextLink(headers []string) string {
	for _, header := range headers {
		for link := range strings.SplitSeq(header, ",") {
			address, parameters, _ := strings.Cut(strings.TrimSpace(link), ">")
			if rel := strings.ReplaceAll(strings.ReplaceAll(parameters, `"`, ""), " ", ""); strings.HasPrefix(address, "<") && strings.Contains(rel+";", ";rel=next;") {
				return address[1:]
			}
		}
	}
	return ""
}

// nextPage stays at the registry, where the credentials are for.
func (c *core) nextPage(r *request, link string) (*url.URL, error) {
	from, err := c.target(r)
	if err != nil {
		return nil, err
	}
	to, err := from.Parse(link)
	if err != nil || to.User != nil {
		return nil, r.fault(Malformed, fmt.Errorf("%s is no address of a next page", printable(link)))
	}
	if to.Scheme != from.Scheme || addressOf(to) != addressOf(from) {
		fault := r.fault(Forbidden, fmt.Errorf("not following the list to its next page at %s: it is another host", to.Host))
		fault.hint = "see that the registry knows its own address"
		return nil, fault
	}
	return to, nil
}

// fallback reads the list under the fallback tag, nil where there is none.
func (c *Client) fallback(ctx context.Context, at place, what, digest string) ([]Descriptor, error) {
	raw, _, err := c.manifest(ctx, at, what, "manifests/"+FallbackTag(digest), mediaTypeIndex)
	switch KindOf(err) {
	case NotFound:
		return nil, nil
	case TooLarge:
		return nil, &Error{Kind: TooMany, Host: at.host, What: what, Err: err}
	}
	if err != nil {
		return nil, err
	}
	manifest, err := c.describe(at, what, "", raw)
	if err != nil {
		return nil, err
	}
	if manifest.MediaType != mediaTypeIndex {
		return nil, &Error{Kind: Malformed, Host: at.host, What: what, Err: fmt.Errorf("the tag %s is no image index", FallbackTag(digest)), hint: "remove the tag"}
	}
	list, err := parseIndex(raw)
	if err != nil {
		return nil, &Error{Kind: listKind(err), Host: at.host, What: what, Err: err}
	}
	return list, nil
}

// listKind tells a list that is too long from one that is none.
func listKind(err error) Kind {
	if errors.Is(err, errElements) {
		return TooMany
	}
	return Malformed
}

// unique leaves out what is listed twice and refuses more than the limit.
func (c *Client) unique(at place, what string, list []Descriptor) ([]Descriptor, error) {
	seen := map[string]bool{}
	list = slices.DeleteFunc(list, func(d Descriptor) bool {
		again := seen[d.Digest]
		seen[d.Digest] = true
		return again
	})
	if len(list) > c.options.MaxReferrers {
		return nil, &Error{Kind: TooMany, Host: at.host, What: what, Err: fmt.Errorf("there are more than %d referrers, which is the limit", c.options.MaxReferrers)}
	}
	return list, nil
}
