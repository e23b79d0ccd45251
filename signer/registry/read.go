package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
)

// acceptManifests are the kinds of manifests that are read.
var acceptManifests = strings.Join([]string{mediaTypeIndex, mediaTypeManifest, mediaTypeDockerList, mediaTypeDockerManifest, mediaTypeArtifact}, ", ")

// Resolve fetches the manifest of a tag. Its digest is computed from the bytes received
// (CVE-2023-47630): what the registry says in a header is not looked at.
func (c *Client) Resolve(ctx context.Context, repository Repository, tag string) (Manifest, error) {
	what := fmt.Sprintf("fetching the manifest of %s:%s", repository, tag)
	if err := checkTag(tag); err != nil {
		return Manifest{}, invalid(repository, what, err)
	}
	return fromPlaces(c, repository, what, func(at place) (Manifest, error) {
		raw, _, err := c.manifest(ctx, at, what, "manifests/"+tag, acceptManifests)
		if err != nil {
			return Manifest{}, err
		}
		return c.describe(at, what, DigestOf(raw), raw)
	})
}

// Manifest fetches a manifest or index by digest and refuses other bytes.
func (c *Client) Manifest(ctx context.Context, repository Repository, digest string) (Manifest, error) {
	what := fmt.Sprintf("fetching the manifest of %s@%s", repository, digest)
	if err := checkDigest(digest); err != nil {
		return Manifest{}, invalid(repository, what, err)
	}
	return fromPlaces(c, repository, what, func(at place) (Manifest, error) {
		raw, _, err := c.manifest(ctx, at, what, "manifests/"+digest, acceptManifests)
		if err != nil {
			return Manifest{}, err
		}
		if err := verify(digest, raw); err != nil {
			return Manifest{}, &Error{Kind: Mismatch, Host: at.host, What: what, Err: err}
		}
		return c.describe(at, what, digest, raw)
	})
}

func (c *Client) describe(at place, what, digest string, raw []byte) (Manifest, error) {
	manifest, err := newManifest(digest, raw)
	if err != nil {
		return Manifest{}, &Error{Kind: Malformed, Host: at.host, What: what, Err: err}
	}
	return manifest, nil
}

// manifest reads a body of the size of a manifest.
func (c *Client) manifest(ctx context.Context, at place, what, path, accept string) (raw []byte, header http.Header, err error) {
	r := &request{what: what, method: http.MethodGet, place: at, path: path, accept: accept}
	err = c.exchange(ctx, r, func(response *http.Response) error {
		header = response.Header
		raw, err = r.readAll(response, c.options.MaxManifest)
		return err
	})
	return raw, header, err
}

// Blob fetches a blob of at most limit bytes, as it is stored: nothing is decompressed.
func (c *Client) Blob(ctx context.Context, repository Repository, digest string, limit int64) ([]byte, error) {
	what := fmt.Sprintf("fetching the blob %s of %s", digest, repository)
	if err := checkDigest(digest); err != nil {
		return nil, invalid(repository, what, err)
	}
	return fromPlaces(c, repository, what, func(at place) (content []byte, err error) {
		r := &request{what: what, method: http.MethodGet, place: at, path: "blobs/" + digest, redirects: true}
		err = c.exchange(ctx, r, func(response *http.Response) error {
			content, err = r.readAll(response, limit)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := verify(digest, content); err != nil {
			return nil, r.fault(Mismatch, err)
		}
		return content, nil
	})
}

// OpenBlob streams a blob of at most limit bytes, as it is stored. The last Read returns a
// fault in place of [io.EOF] if the bytes do not have the digest: nothing that was read is to be used before.
func (c *Client) OpenBlob(ctx context.Context, repository Repository, digest string, limit int64) (io.ReadCloser, error) {
	what := fmt.Sprintf("fetching the blob %s of %s", digest, repository)
	if err := checkDigest(digest); err != nil {
		return nil, invalid(repository, what, err)
	}
	return fromPlaces(c, repository, what, func(at place) (stream io.ReadCloser, err error) {
		r := &request{what: what, method: http.MethodGet, place: at, path: "blobs/" + digest, redirects: true, streamed: true}
		err = c.exchange(ctx, r, func(response *http.Response) error {
			if response.ContentLength > limit {
				response.Body.Close()
				return r.fault(TooLarge, fmt.Errorf("it has %d bytes, and the limit is %d", response.ContentLength, limit))
			}
			stream, err = newChecked(response.Body, digest, limit, r.fault)
			return err
		})
		return stream, err
	})
}

// invalid is a fault of what was asked for.
func invalid(repository Repository, what string, err error) *Error {
	return &Error{Kind: Malformed, Host: repository.Registry, What: what, Err: err, hint: "correct the reference"}
}

// fromPlaces reads from the mirrors of a repository and then from its registry: the
// first that answers. The fault is the registry's own.
func fromPlaces[T any](c *Client, repository Repository, what string, read func(place) (T, error)) (T, error) {
	var content T
	places, err := c.places(repository)
	if err != nil {
		return content, invalid(repository, what, err)
	}
	for _, at := range places {
		if content, err = read(at); err == nil {
			return content, nil
		}
	}
	return content, err
}

// checked is a stream whose end is an error unless the bytes have the digest.
type checked struct {
	io.ReadCloser
	hash   hash.Hash
	digest string
	want   string
	left   int64
	fault  func(Kind, error) *Error
	ended  error
}

func newChecked(stream io.ReadCloser, digest string, limit int64, fault func(Kind, error) *Error) (*checked, error) {
	h, want, err := hashFor(digest)
	if err != nil {
		return nil, err
	}
	return &checked{ReadCloser: stream, hash: h, digest: digest, want: want, left: limit, fault: fault}, nil
}

func (s *checked) Read(p []byte) (int, error) {
	if s.ended != nil {
		return 0, s.ended
	}
	n, err := s.ReadCloser.Read(p)
	if s.left -= int64(n); s.left < 0 {
		s.ended = s.fault(TooLarge, errors.New("it has more bytes than the limit"))
		return 0, s.ended
	}
	s.hash.Write(p[:n])
	if err == io.EOF {
		if got := hex.EncodeToString(s.hash.Sum(nil)); got != s.want {
			err = s.fault(Mismatch, &differs{want: s.digest, got: strings.TrimSuffix(s.digest, s.want) + got})
		}
	}
	s.ended = err
	return n, err
}
