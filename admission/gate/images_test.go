package gate

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/signer"
)

const imageDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// imageEngine has a policy about signatures, one about pods with signatures, and one about pods.
func imageEngine(t testing.TB) *policies.Engine {
	t.Helper()
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		"bundle.yaml": `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: test
serial: 1
defaultProfile: signed
profiles:
- name: signed
  policies:
  - policy: images/signed
  - policy: pods/privileged
  - policy: pods/signed-root
- name: bare
  policies:
  - policy: pods/privileged
`,
		"signed.rego": metadata("Signed", "high", "workload: any", "") + `package portcullis.images.signed
deny contains {"msg": sprintf("nobody signed %s", [image.ref]), "path": image.path, "details": {"image": image.ref, "digest": image.resolved}} if {
	some image in input.images
	count(image.signatures) == 0
}`,
		"privileged.rego": testBundle["pods/privileged.rego"],
		"root.rego": metadata("Root", "high", "workload: any", "") + `package portcullis.pods.signed_root
deny contains "root needs a signature" if {
	input.workload.hostPID
	some image in input.images
	count(image.signatures) == 0
}`,
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// askedImages knows that images of ghcr.io are signed and counts how often it was asked.
type askedImages struct {
	mu    sync.Mutex
	asked map[string]int
}

func (a *askedImages) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[string]int{}
	}
	images := map[string]policies.ImageFacts{}
	for _, image := range needs.Images.Images {
		a.asked[image.Ref]++
		known := policies.ImageFacts{Resolved: imageDigest}
		if image.Registry == "ghcr.io" {
			known.Evidence.Signatures = []signer.Signature{{Signer: signer.Signer{Authority: "release"}}}
		}
		images[image.Ref] = known
	}
	return policies.Facts{Images: images}
}

// imagesOf are images without manifests.
func imagesOf(t *testing.T, refs ...string) source.Loaded {
	t.Helper()
	var loaded source.Loaded
	for _, ref := range refs {
		document, err := source.FromImage(source.Image{Argument: ref, Ref: ref})
		if err != nil {
			t.Fatal(err)
		}
		loaded.Documents = append(loaded.Documents, document)
	}
	return loaded
}

func TestImagesWithoutManifest(t *testing.T) {
	asked := &askedImages{}
	r, code := run(t, &Gate{Engine: imageEngine(t), Images: asked}, imagesOf(t, "ghcr.io/acme/app:1", "docker.io/library/nginx:1"))
	if code != ExitDenied || r.results[0].Outcome != Admitted || r.results[1].Outcome != Denied {
		t.Fatalf("got %s with %+v, want the first image admitted and the second denied", code, r.results)
	}
	denied := r.results[1]
	if got := denied.Object.String(); got != "Image docker.io/library/nginx:1" {
		t.Errorf("got the object %q, want the image", got)
	}
	if denied.Location != (Location{File: "docker.io/library/nginx:1"}) || denied.Image.Digest != imageDigest || denied.Matched != 1 {
		t.Errorf("got %+v at %v, matched %d, want the argument's place, the digest and one policy", denied.Image, denied.Location, denied.Matched)
	}
}

func TestImagesThatNoPolicyJudgesAreUndecided(t *testing.T) {
	asked := &askedImages{}
	r, code := run(t, &Gate{Engine: imageEngine(t), Images: asked, Profile: "bare"}, imagesOf(t, "ghcr.io/acme/app:1"))
	if code != ExitUndecided || !strings.Contains(r.results[0].Undecided[0].Reason, "no policy of profile bare judges images") {
		t.Errorf("got %s with %+v, want undecided for the want of a policy", code, r.results[0])
	}
	if len(asked.asked) != 0 {
		t.Errorf("got %v asked about, want nothing: no policy reads evidence", asked.asked)
	}
}

func TestEachImageOfARunIsLookedAtOnce(t *testing.T) {
	asked := &askedImages{}
	pods := strings.ReplaceAll(goodPod, "nginx", "ghcr.io/acme/app:1") + strings.ReplaceAll(warned, "nginx", "ghcr.io/acme/app:1") + goodPod
	var steps []int
	g := &Gate{Engine: imageEngine(t), Images: asked, ImageProgress: func(done, total int) { steps = append(steps, done*10+total) }}
	_, code := judge(t, g, pods)
	want := map[string]int{"ghcr.io/acme/app:1": 1, "docker.io/library/nginx:latest": 1}
	if code != ExitDenied || !maps.Equal(asked.asked, want) {
		t.Errorf("got %s after asking about %v, want denied after %v", code, asked.asked, want)
	}
	if !slices.Equal(steps, []int{12, 22}) {
		t.Errorf("got the progress %v, want 1 and 2 of 2", steps)
	}
}

func TestImagesThatNobodyReadsCostNothing(t *testing.T) {
	asked := &askedImages{}
	if _, code := judge(t, &Gate{Engine: imageEngine(t), Images: asked, Profile: "bare"}, goodPod); code != ExitAdmitted {
		t.Errorf("got %s, want admitted", code)
	}
	if len(asked.asked) != 0 {
		t.Errorf("got %v asked about, want nothing: no policy reads evidence", asked.asked)
	}
}

func TestUnaskedImagesAreUndecided(t *testing.T) {
	for name, images := range map[string]interface {
		Gather(context.Context, policies.Needs) policies.Facts
	}{"nobody to ask": nil, "nobody may be asked": Unasked("the images were not looked at: leave --no-images out")} {
		t.Run(name, func(t *testing.T) {
			r, code := judge(t, &Gate{Engine: imageEngine(t), Images: images}, goodPod)
			if code != ExitUndecided || r.results[0].Undecided[0].Policy != "images/signed" {
				t.Fatalf("got %s with %+v, want undecided by images/signed", code, r.results[0])
			}
			if reason := r.results[0].Undecided[0].Reason; images != nil && !strings.Contains(reason, "leave --no-images out") {
				t.Errorf("got the reason %q, want the one given", reason)
			}
		})
	}
}

// TestRefusalsAreNeverByMemoryAlone: what Images remembers may be older than a signature.
func TestRefusalsAreNeverByMemoryAlone(t *testing.T) {
	unsigned := factsFunc(func(needs policies.Needs) policies.Facts {
		images := map[string]policies.ImageFacts{}
		for _, image := range needs.Images.Images {
			images[image.Ref] = policies.ImageFacts{Resolved: imageDigest}
		}
		return policies.Facts{Images: images}
	})
	fresh := &askedImages{}
	g := &Gate{Engine: imageEngine(t), Images: unsigned, Fresh: fresh}
	r, code := run(t, g, imagesOf(t, "ghcr.io/acme/app:1", "docker.io/library/nginx:1"))
	if code != ExitDenied || r.results[0].Outcome != Admitted || r.results[1].Outcome != Denied {
		t.Errorf("got %s with %+v, want the image admitted that was signed since", code, r.results)
	}
	fresh = &askedImages{}
	if _, code := run(t, &Gate{Engine: imageEngine(t), Images: &askedImages{}, Fresh: fresh}, imagesOf(t, "ghcr.io/acme/app:1")); code != ExitAdmitted || len(fresh.asked) != 0 {
		t.Errorf("got %s after asking again about %v, want nothing asked about what is admitted", code, fresh.asked)
	}
}

// pinnedImages has the library's rule about tags in one profile with the pinning of digests and in one without.
func pinnedImages(t *testing.T) *policies.Engine {
	t.Helper()
	bundle, err := policies.Load(fstest.MapFS{"bundle.yaml": {Data: []byte(`apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: test
serial: 1
include: library
defaultProfile: pinning
profiles:
- name: pinning
  policies:
  - policy: patch/image-digest-pin
  - policy: images/pinned-pods
- name: tags
  policies:
  - policy: images/pinned-pods
`)}}, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func TestTagsOfImagesWithoutManifestArePinnedBeforeTheyAreJudged(t *testing.T) {
	engine := pinnedImages(t)
	for profile, want := range map[string]Outcome{"pinning": Admitted, "tags": Denied} {
		t.Run(profile, func(t *testing.T) {
			asked := &askedImages{}
			r, _ := run(t, &Gate{Engine: engine, Images: asked, Profile: profile}, imagesOf(t, "ghcr.io/acme/app:1"))
			if got := r.results[0]; got.Outcome != want || got.Patch != nil {
				t.Errorf("got %s with patch %s and %+v, want %s without patch", got.Outcome, got.Patch, got.Findings, want)
			}
			if n := asked.asked["ghcr.io/acme/app:1@"+imageDigest]; n != 0 {
				t.Errorf("got %d questions about the digest that is known already, want none", n)
			}
		})
	}
}
