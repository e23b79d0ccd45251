package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// smallBlob is what is uploaded without asking whether it is there already.
const smallBlob = 64 << 10

// PushBlob uploads a blob.
func (c *Client) PushBlob(ctx context.Context, repository Repository, content []byte) (Descriptor, error) {
	digest := DigestOf(content)
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	if err := c.upload(ctx, repository, digest, int64(len(content)), open); err != nil {
		return Descriptor{}, err
	}
	return Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: int64(len(content))}, nil
}

// upload sends a blob in one piece (distribution specification, "POST then PUT").
func (c *Client) upload(ctx context.Context, repository Repository, digest string, size int64, open func() (io.ReadCloser, error)) error {
	what := fmt.Sprintf("pushing the blob %s to %s", digest, repository)
	at, err := origin(repository)
	if err != nil {
		return invalid(repository, what, err)
	}
	nothing := func(*http.Response) error { return nil }
	if size > smallBlob {
		head := &request{what: what, method: http.MethodHead, place: at, path: "blobs/" + digest, redirects: true, push: true}
		if err := c.exchange(ctx, head, nothing); KindOf(err) != NotFound {
			return err
		}
	}
	start := &request{what: what, method: http.MethodPost, place: at, path: "blobs/uploads/", push: true, contentType: "application/octet-stream"}
	start.body = func() (io.ReadCloser, error) { return http.NoBody, nil }
	put := &request{what: what, method: http.MethodPut, place: at, push: true, contentType: "application/octet-stream", body: open, size: size}
	err = c.exchange(ctx, start, func(response *http.Response) error {
		put.url, err = c.uploadAddress(start, response.Header.Get("Location"))
		return err
	})
	if err != nil {
		return err
	}
	query := put.url.Query()
	query.Set("digest", digest)
	put.url.RawQuery = query.Encode()
	return c.exchange(ctx, put, nothing)
}

// uploadAddress is where to send the content: at the registry, since the credentials go there.
// A registry behind a proxy may think that it is spoken to without TLS.
func (c *Client) uploadAddress(r *request, location string) (*url.URL, error) {
	from, err := c.target(r)
	if err != nil {
		return nil, err
	}
	to, err := from.Parse(location)
	if err != nil || location == "" || to.User != nil {
		return nil, r.fault(Malformed, fmt.Errorf("%s is no address to upload to", printable(location)))
	}
	if to.Host != from.Host {
		fault := r.fault(Forbidden, fmt.Errorf("not uploading to %s: it is another host", to.Host))
		fault.hint = "see that the registry knows its own address"
		return nil, fault
	}
	to.Scheme = from.Scheme
	return to, nil
}

// PushManifest uploads a manifest under a tag or its digest.
func (c *Client) PushManifest(ctx context.Context, repository Repository, reference, mediaType string, raw []byte) (Descriptor, error) {
	descriptor, _, err := c.pushManifest(ctx, repository, reference, mediaType, raw)
	return descriptor, err
}

func (c *Client) pushManifest(ctx context.Context, repository Repository, reference, mediaType string, raw []byte) (Descriptor, http.Header, error) {
	what := fmt.Sprintf("pushing the manifest %s to %s", reference, repository)
	at, err := origin(repository)
	if err == nil && checkTag(reference) != nil {
		err = verify(reference, raw)
	}
	if err != nil {
		return Descriptor{}, nil, invalid(repository, what, err)
	}
	digest := DigestOf(raw)
	if checkTag(reference) != nil {
		digest = reference
	}
	manifest, err := newManifest(digest, raw)
	if err != nil {
		return Descriptor{}, nil, invalid(repository, what, err)
	}
	if manifest.MediaType != mediaType {
		return Descriptor{}, nil, invalid(repository, what, fmt.Errorf("it says that it is %s and not %s", manifest.MediaType, mediaType))
	}
	r := &request{what: what, method: http.MethodPut, place: at, path: "manifests/" + reference, push: true, contentType: mediaType, size: int64(len(raw))}
	r.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	var header http.Header
	err = c.exchange(ctx, r, func(response *http.Response) error {
		header = response.Header
		return nil
	})
	return manifest.Descriptor, header, err
}

// PushReferrer uploads a manifest whose subject is a digest of the repository. Where the
// registry has no referrers API, it is entered in the list under the fallback tag
// (distribution specification, "Pushing Manifests with Subject").
func (c *Client) PushReferrer(ctx context.Context, repository Repository, subjectDigest, mediaType string, raw []byte) (Descriptor, error) {
	what := fmt.Sprintf("attaching to %s@%s", repository, subjectDigest)
	var fields manifestFields
	if err := json.Unmarshal(raw, &fields); err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	if fields.Subject == nil || fields.Subject.Digest != subjectDigest {
		return Descriptor{}, invalid(repository, what, errors.New("the subject of the manifest is another"))
	}
	pushed, header, err := c.pushManifest(ctx, repository, DigestOf(raw), mediaType, raw)
	if err != nil {
		return Descriptor{}, err
	}
	at, err := origin(repository)
	if err != nil {
		return Descriptor{}, invalid(repository, what, err)
	}
	if header.Get("OCI-Subject") == subjectDigest {
		c.missing.set(at, false)
		return pushed, nil
	}
	// Without the header the API may still be there, before the header was invented.
	if !c.missing.at(at) {
		list, found, err := c.referrersAPI(ctx, at, what, subjectDigest)
		if err != nil && KindOf(err) != TooMany {
			return Descriptor{}, err
		}
		if found && slices.ContainsFunc(list, func(d Descriptor) bool { return d.Digest == pushed.Digest }) || KindOf(err) == TooMany {
			return pushed, nil
		}
	}
	return pushed, c.editFallback(ctx, repository, at, subjectDigest, pushed.Digest, &pushed)
}

// RemoveReferrer deletes a manifest whose subject is a digest of the repository, and its
// entry in the list under the fallback tag. Many registries forbid to delete: the entry
// is gone then where there is a list, and the fault is for the caller to bear.
func (c *Client) RemoveReferrer(ctx context.Context, repository Repository, subjectDigest, digest string) error {
	what := fmt.Sprintf("removing the referrer %s of %s@%s", digest, repository, subjectDigest)
	at, err := origin(repository)
	if err == nil {
		err = errors.Join(checkDigest(digest), checkDigest(subjectDigest))
	}
	if err != nil {
		return invalid(repository, what, err)
	}
	if err := c.editFallback(ctx, repository, at, subjectDigest, digest, nil); err != nil {
		return err
	}
	r := &request{what: what, method: http.MethodDelete, place: at, path: "manifests/" + digest, push: true, remove: true}
	return c.exchange(ctx, r, func(*http.Response) error { return nil })
}

// editFallback replaces or, with a nil entry, removes an entry of the list under the
// fallback tag. The protocol cannot compare and swap: after writing, the list is read
// again, and if somebody else wrote at the same time, it is done again.
func (c *Client) editFallback(ctx context.Context, repository Repository, at place, subjectDigest, digest string, entry *Descriptor) error {
	what := fmt.Sprintf("updating the list of referrers %s:%s", repository, FallbackTag(subjectDigest))
	for attempt := 1; ; attempt++ {
		list, err := c.fallback(ctx, at, what, subjectDigest)
		if err != nil {
			return err
		}
		present := slices.ContainsFunc(list, func(d Descriptor) bool { return d.Digest == digest })
		if present == (entry != nil) {
			return nil
		}
		if attempt > c.options.Attempts {
			return &Error{Kind: Unreachable, Host: at.host, What: what, Err: errors.New("others keep changing it at the same time"), hint: "try again later"}
		}
		if attempt > 1 {
			if err := c.options.Sleep(ctx, c.backoff(attempt)); err != nil {
				return &Error{Kind: Timeout, Host: at.host, What: what, Err: err}
			}
		}
		list = slices.DeleteFunc(list, func(d Descriptor) bool { return d.Digest == digest })
		if entry != nil {
			list = append(list, *entry)
		}
		raw, err := newIndex(list)
		if err != nil {
			return invalid(repository, what, err)
		}
		if _, err := c.PushManifest(ctx, repository, FallbackTag(subjectDigest), mediaTypeIndex, raw); err != nil {
			return err
		}
	}
}

func newIndex(list []Descriptor) ([]byte, error) {
	index := struct {
		SchemaVersion int                `json:"schemaVersion"`
		MediaType     string             `json:"mediaType"`
		Manifests     []descriptorFields `json:"manifests"`
	}{SchemaVersion: 2, MediaType: mediaTypeIndex, Manifests: []descriptorFields{}}
	for _, d := range list {
		fields := descriptorFields{MediaType: d.MediaType, ArtifactType: d.ArtifactType, Digest: d.Digest, Size: d.Size, Annotations: d.Annotations}
		if d.Platform != "" {
			platform, err := v1.ParsePlatform(d.Platform)
			if err != nil {
				return nil, err
			}
			fields.Platform = platform
		}
		index.Manifests = append(index.Manifests, fields)
	}
	return json.Marshal(index)
}
