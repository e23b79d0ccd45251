package child

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// shop is a registry with a repository.
type shop struct {
	*registrytest.Server
	client     *registry.Client
	repository registry.Repository
}

func newShop(t *testing.T) *shop {
	t.Helper()
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	return &shop{Server: server, client: client, repository: server.Repository("acme/shop")}
}

// push gives the digest.
func (s *shop) push(t *testing.T, image v1.Image) string {
	t.Helper()
	d, err := s.client.PushImage(t.Context(), s.repository, "latest", image)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

func (s *shop) manifest(t *testing.T, digest string) registry.Manifest {
	t.Helper()
	m, err := s.client.Manifest(t.Context(), s.repository, digest)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// blobs counts the blobs that were asked for.
func (s *shop) blobs() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == "GET" && strings.Contains(r.Path, "/blobs/") {
			n++
		}
	}
	return n
}

func randomImage(t *testing.T, layers int64) v1.Image {
	t.Helper()
	image, err := random.Image(2048, layers)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func newStore(t *testing.T, limits Limits) *Store {
	t.Helper()
	store, err := NewStore(t.TempDir(), limits)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestAPulledImageIsAWholeLayout(t *testing.T) {
	shop := newShop(t)
	digest := shop.push(t, randomImage(t, 5))
	folder, release, err := newStore(t, Limits{}).Pull(t.Context(), shop.client, shop.repository, shop.manifest(t, digest))
	if err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	release()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the layout is still there after its release: %v", err)
	}
}

func TestImagesThatShareALayerPullItOnce(t *testing.T) {
	shop := newShop(t)
	base := randomImage(t, 2)
	var manifests []registry.Manifest
	for range 6 {
		top, err := random.Layer(512, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		image, err := mutate.AppendLayers(base, top)
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, shop.manifest(t, shop.push(t, image)))
	}
	shop.Forget()
	store := newStore(t, Limits{})
	var all sync.WaitGroup
	for _, m := range manifests {
		all.Go(func() {
			_, release, err := store.Pull(t.Context(), shop.client, shop.repository, m)
			if err != nil {
				t.Error(err)
				return
			}
			release()
		})
	}
	all.Wait()
	// Six configurations, six layers of their own, two shared ones.
	if got := shop.blobs(); got != 14 {
		t.Errorf("%d blobs were asked for, want 14", got)
	}
}

func TestOldLayersAreRemovedAndScansKeepTheirs(t *testing.T) {
	shop := newShop(t)
	store := newStore(t, Limits{Kept: 1})
	folder, release, err := store.Pull(t.Context(), shop.client, shop.repository, shop.manifest(t, shop.push(t, randomImage(t, 2))))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	kept, err := os.ReadDir(store.blobs())
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 0 {
		t.Errorf("%d layers are kept where one byte may be", len(kept))
	}
	if used, err := os.ReadDir(filepath.Join(folder, "blobs", "sha256")); err != nil || len(used) != 4 {
		t.Errorf("the layout has %d blobs (%v), want 4", len(used), err)
	}
}

func TestWhatKilledProcessesLeftIsRemovedAndWhatOthersWorkOnIsNot(t *testing.T) {
	store := newStore(t, Limits{})
	for name, age := range map[string]time.Duration{"old": leftoverAge + time.Hour, "new": time.Minute} {
		path := filepath.Join(store.images(), name)
		then := time.Now().Add(-age)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewStore(store.directory, Limits{}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(store.images())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[0].Name() != "new" {
		t.Errorf("left are %v, want the new one", left)
	}
}

// raw pushes a manifest as it is.
func (s *shop) raw(t *testing.T, mediaType string, manifest any) registry.Manifest {
	t.Helper()
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return registry.Manifest{Raw: raw, Descriptor: registry.Descriptor{MediaType: mediaType, Digest: "sha256:" + strings.Repeat("0", 64)}}
}

func TestManifestsThatAreRefused(t *testing.T) {
	shop := newShop(t)
	config := descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: "sha256:" + strings.Repeat("1", 64), Size: 2}
	layer := func(size int64) descriptor {
		return descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: "sha256:" + strings.Repeat("2", 64), Size: size}
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	for name, c := range map[string]struct {
		manifest any
		reason   string
	}{
		"an artifact that is no image":          {manifest{Config: descriptor{MediaType: "application/vnd.oci.empty.v1+json"}}, "is no image"},
		"a manifest of schema 1":                {map[string]any{"fsLayers": []any{}}, "schema 1"},
		"a list":                                {[]int{}, "no JSON of an image"},
		"too many layers":                       {manifest{Config: config, Layers: slices.Repeat([]descriptor{layer(1)}, 5)}, "5 layers"},
		"a layer that is too large":             {manifest{Config: config, Layers: []descriptor{layer(101)}}, "101 bytes"},
		"layers that are too large together":    {manifest{Config: config, Layers: []descriptor{layer(100), layer(100)}}, "more than the 150 bytes"},
		"a size below zero":                     {manifest{Config: config, Layers: []descriptor{layer(-1)}}, "-1 bytes"},
		"a configuration that is too large":     {manifest{Config: descriptor{MediaType: config.MediaType, Digest: config.Digest, Size: 1 << 30}}, "configuration has"},
		"a digest that leads out of the folder": {manifest{Config: config, Layers: []descriptor{{Digest: "sha256:../../../etc/passwd", Size: 1}}}, "no SHA-256 digest"},
		"a digest of another algorithm":         {manifest{Config: config, Layers: []descriptor{{Digest: "md5:" + strings.Repeat("2", 32), Size: 1}}}, "no SHA-256 digest"},
		"a layer that the registry has not":     {manifest{Config: config}, "has not the layer"},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, Limits{Layers: 4, Layer: 100, Image: 150})
			_, _, err := store.Pull(t.Context(), shop.client, shop.repository, shop.raw(t, manifestType, c.manifest))
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.reason) {
				t.Errorf("got %v, want a refusal with %q", err, c.reason)
			}
			if left, _ := filepath.Glob(filepath.Join(store.directory, "*", "*", "*")); len(left) != 0 {
				t.Errorf("it left %q behind", left)
			}
		})
	}
}

// A registry may send other bytes than the manifest names.
func TestBytesOfAnotherDigestAreNotKept(t *testing.T) {
	shop := newShop(t)
	m := shop.manifest(t, shop.push(t, randomImage(t, 1)))
	shop.Inject(registrytest.On("/blobs/", registrytest.Flipped()))
	store := newStore(t, Limits{})
	if _, _, err := store.Pull(t.Context(), shop.client, shop.repository, m); err == nil || registry.KindOf(err) != registry.Mismatch {
		t.Errorf("got %v, want a mismatch", err)
	}
	if kept, _ := os.ReadDir(store.blobs()); len(kept) != 0 {
		t.Errorf("%d blobs are kept, want none", len(kept))
	}
}

func newScanner(t *testing.T, change ...func(*Options)) *Scanner {
	t.Helper()
	pool := newPool(t, change...)
	store, err := NewStore(pool.options.Directory, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &Scanner{Pool: pool, Store: store}
}

func TestAnIndexIsScannedForEachPlatform(t *testing.T) {
	shop := newShop(t)
	amd64, arm64, windows, attestation := randomImage(t, 1), randomImage(t, 1), randomImage(t, 1), randomImage(t, 1)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: windows, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "windows", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}, Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}},
	)
	pushed, err := shop.client.PushIndex(t.Context(), shop.repository, "latest", index)
	if err != nil {
		t.Fatal(err)
	}
	digests := func(images ...v1.Image) (list []string) {
		for _, image := range images {
			hash, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, hash.String())
		}
		return list
	}
	for name, c := range map[string]struct {
		platforms []string
		want      []string
		leftOut   []string
	}{
		"all for Linux": {want: digests(amd64, arm64)},
		"one":           {platforms: []string{"linux/arm64"}, want: digests(arm64), leftOut: []string{"linux/amd64"}},
		"each by name":  {platforms: []string{"linux/arm64", "linux/amd64"}, want: digests(amd64, arm64)},
	} {
		t.Run(name, func(t *testing.T) {
			scan, err := newScanner(t).Scan(t.Context(), Job{Source: shop.client, Repository: shop.repository, Digest: pushed.Digest, Platforms: c.platforms})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, image := range scan.Images {
				got = append(got, image.Digest)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if !slices.Equal(scan.LeftOut, c.leftOut) {
				t.Errorf("got %q left out, want %q", scan.LeftOut, c.leftOut)
			}
		})
	}
	t.Run("one that is not there", func(t *testing.T) {
		scan, err := newScanner(t).Scan(t.Context(), Job{Source: shop.client, Repository: shop.repository, Digest: pushed.Digest, Platforms: []string{"linux/s390x"}})
		const want = "linux/s390x: the index has linux/amd64, linux/arm64: choose one of these"
		if none := (*PlatformError)(nil); !errors.As(err, &none) || none.Error() != want {
			t.Errorf("got %+v and %v, want no scan and %q", scan, err, want)
		}
	})
}

func TestTheParentsClockCounts(t *testing.T) {
	shop := newShop(t)
	digest := shop.push(t, randomImage(t, 1))
	s := newScanner(t, func(o *Options) { o.Now = func() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 5, time.UTC) } })
	scan, err := s.Scan(t.Context(), Job{Source: shop.client, Repository: shop.repository, Digest: digest, Database: Database{Digest: "sha256:d"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := scan.Report; got.StartedAt != "2026-11-28T12:00:00Z" || got.FinishedAt != "2026-11-28T12:00:00Z" || got.Scanner != testTool || got.Database.Digest != "sha256:d" {
		t.Errorf("got %+v, want the parent's time, tool and database", got)
	}
}

func TestAnImageThatKillsTheChildIsAnError(t *testing.T) {
	shop := newShop(t)
	digest := shop.push(t, randomImage(t, 1))
	s := newScanner(t)
	// The test's child does what the image's name says.
	scan, err := s.Scan(t.Context(), Job{Source: renamed{shop.client, shop.repository}, Repository: registry.Repository{Registry: "exit ", Path: "x"}, Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	if scan.Report.State != scanner.StateError || !strings.Contains(scan.Report.Reasons[0], "crashed") {
		t.Errorf("got state %s with %q, want error and that it crashed", scan.Report.State, scan.Report.Reasons)
	}
	if _, err := scanner.NewPredicate(scan.Report, scanner.Invocation{}); err != nil {
		t.Errorf("the report cannot be attested: %v", err)
	}
}

// renamed reads one repository whatever it is called.
type renamed struct {
	Source
	repository registry.Repository
}

func (r renamed) Manifest(ctx context.Context, _ registry.Repository, digest string) (registry.Manifest, error) {
	return r.Source.Manifest(ctx, r.repository, digest)
}

func (r renamed) OpenBlob(ctx context.Context, _ registry.Repository, digest string, most int64) (io.ReadCloser, error) {
	return r.Source.OpenBlob(ctx, r.repository, digest, most)
}

// A scanner that finds nothing must never start.
func TestNothingIsScannedBeforeAKnownBadImageWasFlagged(t *testing.T) {
	shop := newShop(t)
	digest := shop.push(t, randomImage(t, 1))
	s := newScanner(t, func(o *Options) { o.Command = append(o.Command, "blind") })
	for range 2 {
		scan, err := s.Scan(t.Context(), Job{Source: shop.client, Repository: shop.repository, Digest: digest, Database: Database{Directory: "/db"}})
		if err == nil || !strings.Contains(err.Error(), "the canary was not found") {
			t.Errorf("got %+v, %v, want that the canary was not found", scan, err)
		}
	}
}

func TestARegistryThatIsDownIsNoReport(t *testing.T) {
	shop := newShop(t)
	digest := shop.push(t, randomImage(t, 1))
	shop.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if scan, err := newScanner(t).Scan(ctx, Job{Source: shop.client, Repository: shop.repository, Digest: digest}); err == nil {
		t.Errorf("got %+v, want an error: trying again may help", scan)
	}
}
