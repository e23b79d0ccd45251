package registry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// operations are all ways to read, as errors.
var operations = map[string]func(context.Context, *registry.Client, pushed) error{
	"resolve": func(ctx context.Context, c *registry.Client, p pushed) error {
		_, err := c.Resolve(ctx, p.repository, "v1")
		return err
	},
	"manifest": func(ctx context.Context, c *registry.Client, p pushed) error {
		_, err := c.Manifest(ctx, p.repository, p.image.Digest)
		return err
	},
	"referrers": func(ctx context.Context, c *registry.Client, p pushed) error {
		_, err := c.Referrers(ctx, p.repository, p.image.Digest)
		return err
	},
	"blob": func(ctx context.Context, c *registry.Client, p pushed) error {
		_, err := c.Blob(ctx, p.repository, p.blob.Digest, limit)
		return err
	},
	"stream": func(ctx context.Context, c *registry.Client, p pushed) error {
		stream, err := c.OpenBlob(ctx, p.repository, p.blob.Digest, limit)
		if err != nil {
			return err
		}
		defer stream.Close()
		_, err = io.Copy(io.Discard, stream)
		return err
	},
}

// Bypasses 12 and 26, and what facts of registries say besides: each fault is typed, and found within limits.
func TestFaultsAreTypedAndBounded(t *testing.T) {
	other := registry.DigestOf([]byte("another"))
	bomb := registrytest.GzipBomb(indexType)
	tests := []struct {
		name  string
		fault func() registrytest.Fault
		want  map[string]registry.Kind
	}{
		{"a header that lies about the digest is not looked at",
			func() registrytest.Fault { return registrytest.LyingDigest(other) },
			map[string]registry.Kind{"resolve": "", "manifest": "", "referrers": "", "blob": "", "stream": ""}},
		{"another body under a digest is a mismatch, and that of a tag has the digest of its bytes",
			func() registrytest.Fault { return registrytest.Body([]byte(`{"schemaVersion":2,"layers":[]}`)) },
			map[string]registry.Kind{"resolve": "", "manifest": registry.Mismatch, "blob": registry.Mismatch, "stream": registry.Mismatch}},
		{"one flipped bit is a mismatch",
			registrytest.Flipped,
			map[string]registry.Kind{"manifest": registry.Mismatch, "blob": registry.Mismatch, "stream": registry.Mismatch, "resolve": registry.Malformed, "referrers": registry.Malformed}},
		{"an empty body is a mismatch",
			func() registrytest.Fault { return registrytest.Body(nil) },
			map[string]registry.Kind{"manifest": registry.Mismatch, "blob": registry.Mismatch, "stream": registry.Mismatch, "resolve": registry.Malformed, "referrers": registry.Malformed}},
		{"an endless body is too large, and an endless list too long",
			func() registrytest.Fault { return registrytest.Endless(indexType) },
			map[string]registry.Kind{"resolve": registry.TooLarge, "manifest": registry.TooLarge, "referrers": registry.TooMany, "blob": registry.TooLarge, "stream": registry.TooLarge}},
		{"a million referrers are too many",
			func() registrytest.Fault { return registrytest.ManyReferrers(1_000_000) },
			map[string]registry.Kind{"referrers": registry.TooMany}},
		{"one referrer more than the limit is too many",
			func() registrytest.Fault { return registrytest.ManyReferrers(registry.DefaultMaxReferrers + 1) },
			map[string]registry.Kind{"referrers": registry.TooMany}},
		{"as many referrers as the limit are read",
			func() registrytest.Fault { return registrytest.ManyReferrers(registry.DefaultMaxReferrers) },
			map[string]registry.Kind{"referrers": ""}},
		{"a gzip bomb is not unpacked",
			func() registrytest.Fault { return bomb },
			map[string]registry.Kind{"resolve": registry.Malformed, "manifest": registry.Malformed, "referrers": registry.Malformed, "blob": registry.Malformed, "stream": registry.Malformed}},
		{"an answer that is slow in coming is given up",
			func() registrytest.Fault { return registrytest.Slow(time.Minute) },
			map[string]registry.Kind{"resolve": registry.Timeout, "manifest": registry.Timeout, "referrers": registry.Timeout, "blob": registry.Timeout, "stream": registry.Timeout}},
		{"a body that drips is given up",
			func() registrytest.Fault { return registrytest.Drip(time.Second) },
			map[string]registry.Kind{"resolve": registry.Timeout, "manifest": registry.Timeout, "referrers": registry.Timeout, "blob": registry.Timeout, "stream": registry.Timeout}},
		{"a server that always fails is unreachable",
			func() registrytest.Fault { return registrytest.Status(http.StatusInternalServerError, "") },
			map[string]registry.Kind{"resolve": registry.Unreachable, "manifest": registry.Unreachable, "referrers": registry.Unreachable, "blob": registry.Unreachable, "stream": registry.Unreachable}},
		{"a server that always breaks off is unreachable",
			registrytest.Reset,
			map[string]registry.Kind{"resolve": registry.Unreachable, "manifest": registry.Unreachable, "referrers": registry.Unreachable, "blob": registry.Unreachable, "stream": registry.Unreachable}},
		{"a server that breaks off in the middle is unreachable",
			registrytest.Truncated,
			map[string]registry.Kind{"resolve": registry.Unreachable, "manifest": registry.Unreachable, "referrers": registry.Unreachable, "blob": registry.Unreachable, "stream": registry.Unreachable}},
		{"a limit for longer than there is time is rate limited",
			func() registrytest.Fault { return registrytest.Status(http.StatusTooManyRequests, "3600") },
			map[string]registry.Kind{"resolve": registry.RateLimited, "manifest": registry.RateLimited, "referrers": registry.RateLimited, "blob": registry.RateLimited, "stream": registry.RateLimited}},
		{"endless pages are too many",
			func() registrytest.Fault { return registrytest.On("/referrers/", registrytest.Pages("")) },
			map[string]registry.Kind{"referrers": registry.TooMany}},
		{"a next page elsewhere is not fetched",
			func() registrytest.Fault {
				return registrytest.On("/referrers/", registrytest.Pages("http://169.254.169.254/latest"))
			},
			map[string]registry.Kind{"referrers": registry.Forbidden}},
		{"redirects in circles are too many, and those of manifests not followed",
			func() registrytest.Fault { return registrytest.Redirect("/v2/acme/app/blobs/" + other) },
			map[string]registry.Kind{"resolve": registry.Forbidden, "manifest": registry.Forbidden, "blob": registry.TooMany, "stream": registry.TooMany}},
		{"a redirect to the metadata service is not followed",
			func() registrytest.Fault { return registrytest.Redirect("https://169.254.169.254/latest/meta-data") },
			map[string]registry.Kind{"resolve": registry.Forbidden, "manifest": registry.Forbidden, "blob": registry.Forbidden, "stream": registry.Forbidden}},
		{"a redirect to a host without TLS is not followed",
			func() registrytest.Fault { return registrytest.Redirect("http://198.51.100.7/blob") },
			map[string]registry.Kind{"blob": registry.Forbidden, "stream": registry.Forbidden}},
		{"a redirect to nowhere is malformed",
			func() registrytest.Fault { return registrytest.Redirect("https://user:password@example.com/") },
			map[string]registry.Kind{"blob": registry.Malformed, "stream": registry.Malformed}},
	}
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		options := newClock().on(server.Options())
		options.RequestTimeout = 30 * time.Second
		p := push(t, newClient(t, options), server.Repository("acme/app"))
		for _, test := range tests {
			for operation, want := range test.want {
				t.Run(test.name+"/"+operation, func(t *testing.T) {
					options := options
					if want == registry.Timeout {
						options.RequestTimeout = 200 * time.Millisecond
					}
					client := newClient(t, options)
					server.Inject(registrytest.On("/v2/", test.fault()))
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					began := time.Now()
					err := operations[operation](ctx, client, p)
					if took := time.Since(began); took > 5*time.Second {
						t.Errorf("it took %s", took)
					}
					if want == "" && err != nil {
						t.Fatalf("got %v, want no fault", err)
					}
					if want != "" {
						wantKind(t, err, want)
						if !strings.Contains(fmt.Sprint(err), "; ") {
							t.Errorf("the message %q does not end with the next step", err)
						}
					}
				})
			}
		}
	})
}
