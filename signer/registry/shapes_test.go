package registry_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func eachShape(t *testing.T, test func(t *testing.T, shape registrytest.Shape)) {
	for _, shape := range registrytest.Shapes() {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel() // each has a registry of its own
			test(t, shape)
		})
	}
}

func TestWhatIsPushedIsRead(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		client := newClient(t, server.Options())
		p := push(t, client, server.Repository("acme/app"))
		journey(t, client, p)
	})
}

// journey reads everything about a pushed image, changes its referrers and reads again.
func journey(t *testing.T, client *registry.Client, p pushed) {
	t.Helper()
	ctx := t.Context()
	byTag, err := client.Resolve(ctx, p.repository, "v1")
	if err != nil || byTag.Digest != p.image.Digest || registry.DigestOf(byTag.Raw) != p.image.Digest {
		t.Fatalf("resolving got %s, %v, want %s", byTag.Digest, err, p.image.Digest)
	}
	byDigest, err := client.Manifest(ctx, p.repository, p.image.Digest)
	if err != nil || !bytes.Equal(byDigest.Raw, byTag.Raw) {
		t.Fatalf("by digest got %q, %v, want %q", byDigest.Raw, err, byTag.Raw)
	}
	wantReferrers(t, client, p, p.referrer.Digest)
	content, err := client.Blob(ctx, p.repository, p.blob.Digest, limit)
	if err != nil || !bytes.Equal(content, p.content) {
		t.Errorf("got the blob %q, %v, want %q", content, err, p.content)
	}
	image, err := client.Image(ctx, p.repository, p.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	second := attach(t, client, p, "two")
	wantReferrers(t, client, p, p.referrer.Digest, second.Digest)
	if err := client.RemoveReferrer(ctx, p.repository, p.image.Digest, p.referrer.Digest); err != nil {
		t.Fatal(err)
	}
	wantReferrers(t, client, p, second.Digest)
	_, err = client.Manifest(ctx, p.repository, p.referrer.Digest)
	wantKind(t, err, registry.NotFound)
}

func wantReferrers(t *testing.T, client *registry.Client, p pushed, want ...string) {
	t.Helper()
	list, err := client.Referrers(t.Context(), p.repository, p.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.Digest)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got the referrers %q, want %q", got, want)
	}
}

func TestNothingIsAnEmptyListAndAMissingTagIsNotFound(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		client := newClient(t, server.Options())
		p := push(t, client, server.Repository("acme/app"))
		for name, repository := range map[string]registry.Repository{"a digest without referrers": p.repository, "a repository that does not exist": server.Repository("acme/none")} {
			list, err := client.Referrers(t.Context(), repository, registry.DigestOf([]byte("nothing")))
			if err != nil || len(list) != 0 {
				t.Errorf("%s: got %v, %v, want an empty list", name, list, err)
			}
		}
		_, err := client.Resolve(t.Context(), p.repository, "v2")
		wantKind(t, err, registry.NotFound)
		_, err = client.Blob(t.Context(), p.repository, registry.DigestOf([]byte("nothing")), limit)
		wantKind(t, err, registry.NotFound)
	})
}

// A cold verification of a legacy-free image: the tag, its referrers, one of them, its blob.
func TestColdReadsTakeTheProtocolsMinimumOfRequests(t *testing.T) {
	least := map[registrytest.Shape][]string{
		registrytest.Referrers: {"GET /v2/acme/app/manifests/v1 200", "GET /v2/acme/app/referrers/sha256:… 200", "GET /v2/acme/app/manifests/sha256:… 200", "GET /v2/acme/app/blobs/sha256:… 200"},
		registrytest.Fallback:  {"GET /v2/acme/app/manifests/v1 200", "GET /v2/acme/app/referrers/sha256:… 404", "GET /v2/acme/app/manifests/sha256-… 200", "GET /v2/acme/app/manifests/sha256:… 200", "GET /v2/acme/app/blobs/sha256:… 200"},
	}
	least[registrytest.TLS] = least[registrytest.Referrers]
	least[registrytest.Basic] = append([]string{"GET /v2/acme/app/manifests/v1 401"}, least[registrytest.Referrers]...)
	least[registrytest.Bearer] = append([]string{"GET /v2/acme/app/manifests/v1 401", "GET /token 200"}, least[registrytest.Referrers]...)
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
		server.Forget()
		cold(t, newClient(t, server.Options()), p)
		if got := shorten(asked(server)); !slices.Equal(got, least[shape]) {
			t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(least[shape], "\n"))
		}
	})
}

func shorten(all []string) []string {
	for i, line := range all {
		for _, kind := range []string{"sha256:", "sha256-"} {
			if before, after, ok := strings.Cut(line, kind); ok {
				_, status, _ := strings.Cut(after, "…")
				all[i] = before + kind + "…" + status
			}
		}
	}
	return all
}

func cold(t testing.TB, client *registry.Client, p pushed) {
	t.Helper()
	manifest, err := client.Resolve(t.Context(), p.repository, "v1")
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.Referrers(t.Context(), p.repository, manifest.Digest)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v, want one referrer", list, err)
	}
	if _, err = client.Manifest(t.Context(), p.repository, list[0].Digest); err != nil {
		t.Fatal(err)
	}
	if _, err = client.Blob(t.Context(), p.repository, p.blob.Digest, limit); err != nil {
		t.Fatal(err)
	}
}

func TestThatTheReferrersAPIIsMissingIsRememberedForAWhile(t *testing.T) {
	server := start(t, registrytest.Fallback)
	clock := newClock()
	client := newClient(t, clock.on(server.Options()))
	p := push(t, client, server.Repository("acme/app"))
	count := func() (n int) {
		for _, r := range server.Requests() {
			if strings.Contains(r.Path, "/referrers/") {
				n++
			}
		}
		return n
	}
	wantReferrers(t, client, p, p.referrer.Digest)
	wantReferrers(t, client, p, p.referrer.Digest)
	if got := count(); got != 1 {
		t.Errorf("asked the API %d times, want once", got)
	}
	clock.advance(10 * time.Minute)
	wantReferrers(t, client, p, p.referrer.Digest)
	if got := count(); got != 2 {
		t.Errorf("after ten minutes asked the API %d times in all, want twice", got)
	}
}

func TestARepositoryThatDoesNotExistYetSaysNothingAboutTheAPI(t *testing.T) {
	server := start(t, registrytest.Referrers)
	reader := newClient(t, server.Options())
	list, err := reader.Referrers(t.Context(), server.Repository("acme/app"), registry.DigestOf(nil))
	if err != nil || len(list) != 0 {
		t.Fatalf("got %v, %v, want an empty list", list, err)
	}
	p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
	wantReferrers(t, reader, p, p.referrer.Digest)
}

func TestAnIndexIsPushedWithItsImages(t *testing.T) {
	server := start(t, registrytest.Referrers)
	client := newClient(t, server.Options())
	index, err := random.Index(512, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	repository := server.Repository("acme/app")
	pushed, err := client.PushIndex(t.Context(), repository, "multi", mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index}))
	if err != nil {
		t.Fatal(err)
	}
	outer, err := client.Manifest(t.Context(), repository, pushed.Digest)
	if err != nil || !outer.IsIndex() {
		t.Fatalf("got %+v, %v, want an index", outer.Descriptor, err)
	}
	children, err := outer.Children()
	if err != nil || len(children) != 1 {
		t.Fatalf("got %v, %v, want one child", children, err)
	}
	inner, err := client.Manifest(t.Context(), repository, children[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	images, err := inner.Children()
	if err != nil || len(images) != 3 {
		t.Fatalf("got %v, %v, want three images", images, err)
	}
	if _, err := client.Image(t.Context(), repository, images[2].Digest); err != nil {
		t.Error(err)
	}
	_, err = client.Image(t.Context(), repository, pushed.Digest)
	wantKind(t, err, registry.Malformed)
}

func TestABlobIsStreamedAsItIsStored(t *testing.T) {
	eachShape(t, func(t *testing.T, shape registrytest.Shape) {
		server := start(t, shape)
		client := newClient(t, server.Options())
		content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		descriptor, err := client.PushBlob(t.Context(), server.Repository("acme/app"), content)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := client.OpenBlob(t.Context(), server.Repository("acme/app"), descriptor.Digest, limit)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		got, err := io.ReadAll(stream)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(content))
		}
	})
}
