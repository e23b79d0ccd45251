package library_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/sample"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

// imagesPage is the page whose files are a bundle: a file's name in a line of its own before the block.
const imagesPage = "../../docs/images.md"

var pageFile = regexp.MustCompile("(?m)^`([a-z0-9./_-]+)`:\n\n```(?:yaml|json)\n((?s:.*?))^```$")

// bundleOnPage are the files of the bundle that the page builds.
func bundleOnPage(t *testing.T) fstest.MapFS {
	t.Helper()
	page, err := os.ReadFile(imagesPage)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, match := range pageFile.FindAllSubmatch(page, -1) {
		files[string(match[1])] = &fstest.MapFile{Data: match[2]}
	}
	if len(files) != 4 {
		t.Fatalf("got %d files on the page, want bundle.yaml, a VEX document, an ignore and a list of incidents", len(files))
	}
	return files
}

func loadPage(t *testing.T, files fs.FS) *policies.Engine {
	t.Helper()
	bundle, err := policies.Load(files, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// shop is a request for a pod with an image of the page's trust.
func shop(t *testing.T) admission.Request {
	t.Helper()
	request := podOf(t, 1)
	request.Object = []byte(strings.Replace(string(request.Object), "ghcr.io/acme/app0:1", "ghcr.io/acme/shop:1.4.2@"+imageDigest, 1))
	return request
}

// evident is all that the bundle of the page asks of an image.
func evident() policies.ImageFacts {
	release := signer.Signer{Authority: "release"}
	known := policies.ImageFacts{
		Configs: []policies.ImageConfig{{Digest: imageDigest, Platform: "linux/amd64", User: "65532"}},
		Scan:    scanOf(0),
	}
	known.Evidence.Signatures = []signer.Signature{{Signer: release}}
	known.Evidence.Attestations = []signer.Attestation{
		{Signer: release, PredicateType: "https://slsa.dev/provenance/v1", Predicate: json.RawMessage(`{
			"buildDefinition": {"externalParameters": {"workflow": {"repository": "https://github.com/acme/shop"}}, "resolvedDependencies": [{"uri": "pkg:docker/gcr.io/distroless/static@nonroot"}]},
			"runDetails": {"builder": {"id": "https://github.com/actions/runner/github-hosted"}}}`)},
		{Signer: release, PredicateType: "https://spdx.dev/Document", Predicate: json.RawMessage(`{"packages": [{"name": "base-files", "licenseConcluded": "GPL-2.0-or-later"}]}`)},
	}
	return known
}

func TestTheBundleOnThePageAboutImagesAdmitsWhatHasItsEvidence(t *testing.T) {
	verdict := review(loadPage(t, bundleOnPage(t)), shop(t), evident())
	if !verdict.Admitted || len(verdict.Findings) > 0 || len(verdict.Faults) > 0 {
		t.Errorf("got admitted = %v, findings %+v, faults %+v; want neither", verdict.Admitted, verdict.Findings, verdict.Faults)
	}
}

func TestTheBundleOnThePageAboutImagesSaysWhatIsMissing(t *testing.T) {
	engine := loadPage(t, bundleOnPage(t))
	for name, test := range map[string]struct {
		change func(*policies.ImageFacts)
		want   []string
	}{
		"nothing is known of the image": {func(known *policies.ImageFacts) {
			*known = policies.ImageFacts{Scan: scanner.Report{State: scanner.StateMissing}}
		}, []string{"images/attested", "images/base-images", "images/provenance", "images/sbom", "images/scanned", "images/signed"}},
		"the signature": {func(known *policies.ImageFacts) { known.Evidence.Signatures = nil }, []string{"images/attested", "images/signed"}},
		"the provenance": {func(known *policies.ImageFacts) {
			known.Evidence.Attestations = slices.Delete(known.Evidence.Attestations, 0, 1)
		}, []string{"images/attested", "images/base-images", "images/provenance"}},
		"a number for the user":       {func(known *policies.ImageFacts) { known.Configs[0].User = "" }, []string{"images/root-user"}},
		"a fix of a vulnerability":    {func(known *policies.ImageFacts) { known.Scan = scanOf(2) }, []string{"images/vulnerabilities"}},
		"a scan that is fresh":        {func(known *policies.ImageFacts) { known.Scan.FinishedAt = "2025-12-01T00:00:00Z" }, []string{"images/scan-fresh"}},
		"a distribution with support": {func(known *policies.ImageFacts) { known.Scan.OS.EndOfLife = true }, []string{"images/end-of-life-os"}},
		"the digest, which is under incident": {func(known *policies.ImageFacts) {
			known.Configs[0].Layers = []string{"sha256:bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0bad0"}
		}, []string{"images/incidents"}},
	} {
		t.Run(name, func(t *testing.T) {
			known := evident()
			test.change(&known)
			verdict := review(engine, shop(t), known)
			got := admission.Policies(verdict.Findings)
			if !slices.Equal(got, test.want) || verdict.Admitted || len(verdict.Faults) > 0 {
				t.Errorf("got findings of %q, admitted = %v, faults %+v; want a denial with findings of %q", got, verdict.Admitted, verdict.Faults, test.want)
			}
		})
	}
}

func TestTheBundleOnThePageAboutImagesTrustsKubernetesWithItsOwnImages(t *testing.T) {
	engine := loadPage(t, bundleOnPage(t))
	for name, test := range map[string]struct {
		image     string
		signed    bool
		denied    bool
		wantFound bool
	}{
		"signed by its release process": {"registry.k8s.io/kube-proxy:v1.36.1", true, false, false},
		"signed by nobody":              {"registry.k8s.io/kube-proxy:v1.36.1", false, true, true},
		"an image of somebody else":     {"docker.io/acme/network-plugin:1", false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			request, known := podOf(t, 1), policies.ImageFacts{}
			request.Namespace = "kube-system"
			request.Object = []byte(strings.Replace(string(request.Object), "ghcr.io/acme/app0:1", test.image, 1))
			if test.signed {
				known.Evidence.Signatures = []signer.Signature{{Signer: signer.Signer{Authority: "kubernetes"}}}
			}
			verdict := review(engine, request, known)
			if verdict.Admitted == test.denied || slices.Contains(admission.Policies(verdict.Findings), "images/signed") != test.wantFound {
				t.Errorf("got admitted = %v, findings %+v, faults %+v; want denied = %v, images/signed heard = %v", verdict.Admitted, verdict.Findings, verdict.Faults, test.denied, test.wantFound)
			}
		})
	}
}

func TestTheVEXDocumentAndTheIgnoreOnThePageSpeakOfTheirVulnerabilities(t *testing.T) {
	files := bundleOnPage(t)
	exemptions, err := scanner.NewExemptions(
		map[string][]byte{"vex/shop.openvex.json": files["vex/shop.openvex.json"].Data},
		map[string][]byte{"ignores/shop.yaml": files["ignores/shop.yaml"].Data})
	if err != nil {
		t.Fatal(err)
	}
	report := scanOf(0)
	report.Vulnerabilities = []scanner.Vulnerability{
		{ID: "CVE-2025-1111", Package: "openssl", PURL: "pkg:deb/debian/openssl@3.0.15", Version: "3.0.15", Fixed: "3.0.17", Severity: "critical"},
		{ID: "CVE-2025-2222", Package: "libxml2", PURL: "pkg:deb/debian/libxml2@2.9.14", Version: "2.9.14", Fixed: "2.9.15", Severity: "high"},
	}
	known := evident()
	known.Scan = exemptions.Apply(report, "ghcr.io/acme/shop:1.4.2@"+imageDigest, imageDigest, nil, &signer.Configuration{})
	engine := loadPage(t, files)
	if verdict := review(engine, shop(t), known); !verdict.Admitted {
		t.Errorf("got findings %+v, want both vulnerabilities taken away", verdict.Findings)
	}
	known.Scan = report
	if verdict := review(engine, shop(t), known); len(verdict.Findings) != 2 || verdict.Admitted {
		t.Errorf("got findings %+v without VEX and ignore, want two that deny", verdict.Findings)
	}
}

func TestTheBundleOnThePageAboutImagesPinsTags(t *testing.T) {
	request := shop(t)
	request.Object = []byte(strings.Replace(string(request.Object), "@"+imageDigest, "", 1))
	known := evident()
	known.Resolved = imageDigest
	verdict := admission.NewReviewer(loadPage(t, bundleOnPage(t)), knownOf(known), sampleClock).Mutate(t.Context(), request)
	if len(verdict.Faults) > 0 || !strings.Contains(string(verdict.Patched), "ghcr.io/acme/shop:1.4.2@"+imageDigest) {
		t.Errorf("got the pod %s and faults %+v, want the digest in it", verdict.Patched, verdict.Faults)
	}
	if denied := review(loadPage(t, bundleOnPage(t)), request, known); !slices.Equal(admission.Policies(denied.Findings), []string{"images/pinned-pods"}) {
		t.Errorf("got findings %+v of the pod that was not patched, want images/pinned-pods alone", denied.Findings)
	}
}

func TestEveryImagePolicyIsOnThePageAboutImages(t *testing.T) {
	page, err := os.ReadFile(imagesPage)
	if err != nil {
		t.Fatal(err)
	}
	for id := range load(t).Policies {
		if strings.HasPrefix(id, "images/") && !strings.Contains(string(page), "| `"+id+"` |") {
			t.Errorf("%s is not in the table of %s: add a row", id, imagesPage)
		}
	}
}

// policiesPage is the contract; its examples about images have to be what the code takes.
const policiesPage = "../../docs/policies.md"

var pageBlock = regexp.MustCompile("(?m)^```(yaml|rego)\n((?s:.*?))^```$")

// blockWith is the only block of the contract that begins with a text, or holds it.
func blockWith(t *testing.T, text string) string {
	t.Helper()
	page, err := os.ReadFile(policiesPage)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range pageBlock.FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(match[2], text) {
			found = append(found, match[2])
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %d blocks with %q in %s, want one", len(found), text, policiesPage)
	}
	return found[0]
}

func TestTheSampleWithAnImageInTheContractIsASample(t *testing.T) {
	policy := load(t).Policies["images/scanned"]
	suite, err := sample.Load(fstest.MapFS{"images/scanned/testdata/allow/page.yaml": {Data: []byte(blockWith(t, "kind: ImageEvidence"))}}, policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := suite.Samples[0].Run(t.Context(), only(t, "images/scanned", nil)); err != nil {
		t.Error(err)
	}
}

func TestTheTrustInTheContractIsATrust(t *testing.T) {
	key := regexp.MustCompile(`(?s)-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----`).FindString(string(bundleOnPage(t)["bundle.yaml"].Data))
	block := strings.Replace(blockWith(t, "release-keyless"), "-----BEGIN PUBLIC KEY-----\n            …", key, 1)
	manifest := "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: x\nserial: 1\ninclude: library\n" + block
	loadPage(t, fstest.MapFS{"bundle.yaml": {Data: []byte(manifest)}})
}

func TestThePolicyAboutAnImageInTheContractIsAPolicy(t *testing.T) {
	metadata := "# METADATA\n# title: t\n# description: d\n# custom:\n#   severity: low\n#   match: {workload: any}\n#   remediation: r\n#   parameters: {type: object, properties: {lab: {type: string, default: lab}}}\npackage portcullis.mine.load_test\n\n"
	engine := loadPage(t, fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: x\nserial: 1\npolicies: [{policy: mine/load-test}]\n")},
		"mine.rego":   {Data: []byte(metadata + blockWith(t, "load-test/v1"))},
	})
	known := policies.ImageFacts{}
	known.Evidence.Attestations = []signer.Attestation{{Signer: signer.Signer{Authority: "lab"}, PredicateType: "https://example.com/load-test/v1", Predicate: json.RawMessage(`"x"`)}}
	if verdict := review(engine, podOf(t, 1), known); verdict.Admitted || len(verdict.Faults) > 0 {
		t.Errorf("got admitted = %v, faults %+v; want a denial", verdict.Admitted, verdict.Faults)
	}
}
