package registry_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	limit        = 1 << 20
)

// start runs a registry until the test ends.
func start(t testing.TB, shape registrytest.Shape, faults ...registrytest.Fault) *registrytest.Server {
	t.Helper()
	server, err := registrytest.Start(shape, faults...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func newClient(t testing.TB, options registry.Options) *registry.Client {
	t.Helper()
	client, err := registry.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// pushed is an image with a referrer that has a blob.
type pushed struct {
	repository            registry.Repository
	image, referrer, blob registry.Descriptor
	content               []byte
}

// push puts an image under the tag v1 and attaches something to it.
func push(t testing.TB, client *registry.Client, repository registry.Repository) pushed {
	t.Helper()
	ctx := t.Context()
	image, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	p := pushed{repository: repository, content: []byte("evidence about " + repository.Path)}
	if p.image, err = client.PushImage(ctx, repository, "v1", image); err != nil {
		t.Fatal(err)
	}
	if p.blob, err = client.PushBlob(ctx, repository, p.content); err != nil {
		t.Fatal(err)
	}
	p.referrer = attach(t, client, p, "one")
	return p
}

// attach pushes a referrer of a pushed image.
func attach(t testing.TB, client *registry.Client, p pushed, note string) registry.Descriptor {
	t.Helper()
	empty, err := client.PushBlob(t.Context(), p.repository, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	raw := referrer(p, empty.Digest, note)
	descriptor, err := client.PushReferrer(t.Context(), p.repository, p.image.Digest, manifestType, raw)
	if err != nil {
		t.Fatal(err)
	}
	return descriptor
}

func referrer(p pushed, config, note string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/vnd.example.evidence",`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":"text/plain","digest":%q,"size":%d}],`+
		`"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"note":%q}}`,
		manifestType, config, p.blob.Digest, p.blob.Size, p.image.MediaType, p.image.Digest, p.image.Size, note)
}

// clock is a clock that waits by moving on.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	slept  []time.Duration
	before func()
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	c.now = c.now.Add(d)
	if c.before != nil {
		c.before()
	}
	return ctx.Err()
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// on sets the clock of some options.
func (c *clock) on(o registry.Options) registry.Options {
	o.Now, o.Sleep, o.Jitter = c.Now, c.Sleep, func() float64 { return 0 }
	return o
}

// asked writes requests as "GET /v2/… 200", with digests cut short.
func asked(server *registrytest.Server) []string {
	var all []string
	for _, r := range server.Requests() {
		path := r.Path
		if at := strings.Index(path, "sha256"); at >= 0 && len(path) > at+10 {
			path = path[:at+10] + "…"
		}
		all = append(all, fmt.Sprintf("%s %s %d", r.Method, path, r.Status))
	}
	return all
}

func wantKind(t *testing.T, err error, want registry.Kind) {
	t.Helper()
	if got := registry.KindOf(err); got != want || err == nil {
		t.Errorf("got the fault %v of kind %q, want kind %q", err, got, want)
	}
}
