package library_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/sample"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

const imageDigest = "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

// predicatePolicies are those that read what others wrote into predicates.
var predicatePolicies = []string{"images/provenance", "images/sbom", "images/base-images", "images/licences"}

// knownOf gives every image the same facts.
type knownOf policies.ImageFacts

func (k knownOf) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	facts := policies.Facts{Namespace: &policies.Namespace{Name: "sample"}, Images: map[string]policies.ImageFacts{}}
	for _, image := range needs.Images.Images {
		facts.Images[image.Ref] = policies.ImageFacts(k)
	}
	return facts
}

func only(t testing.TB, id string, parameters map[string]any) *policies.Engine {
	t.Helper()
	bundle, err := load(t).Only(id, parameters)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// podOf is a request for a pod with a number of containers, each with an image of its own.
func podOf(t testing.TB, containers int) admission.Request {
	t.Helper()
	var pod strings.Builder
	pod.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec:\n  containers:\n")
	for n := range containers {
		fmt.Fprintf(&pod, "  - {name: c%d, image: \"ghcr.io/acme/app%d:1\"}\n", n, n)
	}
	documents, err := manifest.Read("pod.yaml", strings.NewReader(pod.String()), manifest.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return admission.CreateRequest(admission.DoorAdmission, &documents[0], "sample")
}

func review(engine *policies.Engine, request admission.Request, known policies.ImageFacts) admission.Verdict {
	known.Resolved, known.Evidence.Digest = imageDigest, imageDigest
	return admission.NewReviewer(engine, knownOf(known), sampleClock).Review(context.Background(), request)
}

// sampleClock is the clock of samples.
func sampleClock() time.Time { return sample.Now }

// attested is an image with one predicate under every type that policies read.
func attested(predicate json.RawMessage) policies.ImageFacts {
	known := policies.ImageFacts{}
	for _, kind := range []string{"https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1", "https://spdx.dev/Document", "https://cyclonedx.org/bom"} {
		known.Evidence.Attestations = append(known.Evidence.Attestations, signer.Attestation{
			Signer: signer.Signer{Authority: "release"}, PredicateType: kind, Predicate: predicate,
		})
	}
	return known
}

func TestPredicatesOfAnyShapeAreNoFaultAndNoEvidence(t *testing.T) {
	for _, id := range predicatePolicies {
		engine := only(t, id, nil)
		for name, predicate := range map[string]string{
			"none":                              ``,
			"null":                              `null`,
			"a text":                            `"x"`,
			"true":                              `true`,
			"an empty list":                     `[]`,
			"an empty object":                   `{}`,
			"texts for objects":                 `{"builder":"b","runDetails":"r","buildDefinition":"d","invocation":"i","materials":"m","components":"c","packages":"p","Data":"d"}`,
			"numbers for objects":               `{"builder":1,"runDetails":2,"buildDefinition":3,"invocation":4,"materials":5,"components":6,"packages":7,"Data":8}`,
			"lists of what is no object":        `{"materials":[1,"a",null,[]],"components":[1,"a",null,[]],"packages":[1,"a",null,[]],"buildDefinition":{"resolvedDependencies":[1,"a",null,[]],"externalParameters":[1]}}`,
			"addresses that are none":           `{"materials":[{"uri":5},{"uri":null},{"uri":["git+x"]},{"uri":"pkg:docker/%"},{"uri":"pkg:oci/x?repository_url=%zz"}],"invocation":{"configSource":{"uri":{"a":1}}}}`,
			"addresses that are none, in v1":    `{"buildDefinition":{"externalParameters":{"workflow":[1],"source":{"uri":5},"configSource":7},"resolvedDependencies":[{"uri":"pkg:docker/%zz@%"},{"uri":"git+%"}]}}`,
			"nothing but names of other things": `{"builder":{"id":"https://github.com/actions/runner/github-hosted\n"},"invocation":{"configSource":{"uri":"\u0000"}}}`,
		} {
			t.Run(id+" "+name, func(t *testing.T) {
				verdict := review(engine, podOf(t, 1), attested(json.RawMessage(predicate)))
				if len(verdict.Faults) > 0 || verdict.Admitted || len(verdict.Findings) == 0 {
					t.Errorf("got admitted = %v, findings %+v, faults %+v; want a denial by a finding", verdict.Admitted, verdict.Findings, verdict.Faults)
				}
			})
		}
	}
}

func FuzzPredicates(f *testing.F) {
	for _, predicate := range []string{
		`{"runDetails":{"builder":{"id":"b"}},"buildDefinition":{"externalParameters":{"workflow":{"repository":"https://github.com/acme/app"}},"resolvedDependencies":[{"uri":"pkg:docker/debian@12","digest":{"sha256":"aa"}}]}}`,
		`{"builder":{"id":"b"},"invocation":{"configSource":{"uri":"git+https://github.com/acme/app@refs/heads/main"}},"materials":[{"uri":"pkg:oci/x?repository_url=a%2Fb"}]}`,
		`{"components":[{"name":"a","licenses":[{"license":{"id":"MIT"}},{"expression":"(MIT OR X)"}],"components":[{"name":"b"}]}]}`,
		`{"packages":[{"name":"a","licenseConcluded":"MIT AND X","licenseDeclared":"NOASSERTION"}]}`,
		`{"Data":{"packages":[{"name":1}]}}`, `5`, `null`,
	} {
		f.Add([]byte(predicate))
	}
	var engines []*policies.Engine
	for _, id := range predicatePolicies {
		engines = append(engines, only(f, id, nil))
	}
	f.Fuzz(func(t *testing.T, predicate []byte) {
		if !json.Valid(predicate) {
			t.Skip("signers of statements are only believed if the statement is JSON")
		}
		for i, engine := range engines {
			// JSON that the decoder refuses, such as repeated names, is an unreadable input: a fault that denies.
			verdict := review(engine, podOf(t, 1), attested(predicate))
			if slices.ContainsFunc(verdict.Faults, func(fault policies.Fault) bool { return fault.Kind != policies.FaultInput }) {
				t.Errorf("%s: got faults %+v of the predicate %s, want none", predicatePolicies[i], verdict.Faults, predicate)
			}
		}
	})
}

// scanOf is a complete scan with a number of vulnerabilities of all severities, some of them excused.
func scanOf(vulnerabilities int) scanner.Report {
	report := scanner.Report{State: scanner.StateComplete, FinishedAt: "2025-12-31T12:00:00Z", Database: scanner.Database{UpdatedAt: "2025-12-31T00:00:00Z"}}
	severities := []string{"critical", "high", "medium", "low", "unknown"}
	for n := range vulnerabilities {
		vulnerability := scanner.Vulnerability{
			ID: fmt.Sprintf("CVE-2025-%05d", n), Package: fmt.Sprintf("package%d", n%300), PURL: fmt.Sprintf("pkg:deb/debian/package%d@1.%d", n%300, n), Version: "1",
			Fixed: "2", Status: "fixed", Severity: severities[n%5], Score: int64(n % 100), Class: "os", Title: strings.Repeat("t", 60), Link: strings.Repeat("l", 60),
		}
		if n%7 == 0 {
			vulnerability.VEX = &scanner.Statement{Status: "not_affected"}
		}
		report.Vulnerabilities = append(report.Vulnerabilities, vulnerability)
	}
	return report
}

func TestThousandsOfVulnerabilitiesAreSummedUpForEachImage(t *testing.T) {
	verdict := review(only(t, "images/vulnerabilities", nil), podOf(t, 3), policies.ImageFacts{Scan: scanOf(3000)})
	if len(verdict.Faults) > 0 {
		t.Fatalf("got faults %+v", verdict.Faults)
	}
	each, more := map[string]int{}, map[string]int{}
	for _, finding := range verdict.Findings {
		if finding.Details == nil {
			t.Errorf("got the finding %q without details: the engine cut the list, not the policy", finding.Message)
			continue
		}
		image, _ := finding.Details["image"].(string)
		each[image]++
		if _, ok := finding.Details["vulnerability"]; !ok {
			more[image]++
		}
		if severity, ok := finding.Details["severity"]; ok && severity != "critical" {
			t.Errorf("got %q spelled out while critical ones are not", finding.Message)
		}
	}
	for n := range 3 {
		image := fmt.Sprintf("ghcr.io/acme/app%d:1", n)
		if each[image] != 31 || more[image] != 1 {
			t.Errorf("got %d findings about %s, %d of them sums; want 30 and one sum", each[image], image, more[image])
		}
	}
}

// catalogue is CISA's catalogue in the form and about the size that it is published in.
func catalogue() []byte {
	var entries []string
	for n := range 1500 {
		entries = append(entries, fmt.Sprintf(`{"cveID":"CVE-2025-%05d","vendorProject":"v","product":"p","vulnerabilityName":"n","dateAdded":"2025-01-01","shortDescription":"%s","requiredAction":"a","dueDate":"2025-02-01","knownRansomwareCampaignUse":"Unknown","notes":"%s","cwes":["CWE-1"]}`,
			n*2, strings.Repeat("d", 300), strings.Repeat("n", 200)))
	}
	return []byte(`{"title":"CISA Catalog of Known Exploited Vulnerabilities","catalogVersion":"2025.01.01","dateReleased":"2025-01-01T00:00:00Z","count":1500,"vulnerabilities":[` + strings.Join(entries, ",") + `]}`)
}

// withCatalogue is a bundle of images/known-exploited with the catalogue as its data.
func withCatalogue(t testing.TB) *policies.Engine {
	t.Helper()
	bundle, err := policies.Load(fstest.MapFS{
		"bundle.yaml":               {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: x\nserial: 1\ninclude: library\ndefaultProfile: x\nprofiles: [{name: x, policies: [{policy: images/known-exploited}]}]\n")},
		"data/known_exploited.json": {Data: catalogue()},
	}, policies.Included{Name: "library", Files: library.FS()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func TestTheCatalogueOfExploitedVulnerabilitiesIsTakenAsItIsPublished(t *testing.T) {
	verdict := review(withCatalogue(t), podOf(t, 1), policies.ImageFacts{Scan: scanOf(4)})
	var got []any
	for _, finding := range verdict.Findings {
		got = append(got, finding.Details["vulnerability"])
	}
	// The first one has a VEX statement, the others but one are not in the catalogue.
	if len(verdict.Faults) > 0 || len(got) != 1 || got[0] != "CVE-2025-00002" {
		t.Errorf("got findings about %v and faults %+v, want CVE-2025-00002 alone", got, verdict.Faults)
	}
}

// A list that cannot be read is not an empty one: it would let in what it is there to keep out.
func TestListsThatCannotBeReadDeny(t *testing.T) {
	for name, test := range map[string]struct{ file, content, policy string }{
		"a list of incidents that is a text":           {"data/incidents.yaml", "digests: sha256:ab", "images/incidents"},
		"exploited vulnerabilities by bare identifier": {"data/known_exploited.json", `{"vulnerabilities": ["CVE-2025-00002"]}`, "images/known-exploited"},
		"exploited vulnerabilities by another name":    {"data/known_exploited.json", `{"vulnerabilities": [{"cveID": "CVE-2025-00001"}, {"id": "CVE-2025-00002"}]}`, "images/known-exploited"},
	} {
		t.Run(name, func(t *testing.T) {
			whole, err := policies.Load(fstest.MapFS{
				"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: a\nserial: 1\ninclude: library\n")},
				test.file:     {Data: []byte(test.content)},
			}, policies.Included{Name: "library", Files: library.FS()})
			if err != nil {
				t.Fatal(err)
			}
			bundle, err := whole.Only(test.policy, nil)
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.NewEngine(bundle)
			if err != nil {
				t.Fatal(err)
			}
			if verdict := review(engine, podOf(t, 1), policies.ImageFacts{Resolved: imageDigest, Scan: scanOf(4)}); verdict.Admitted {
				t.Errorf("got it admitted with %+v, want a denial", verdict.Findings)
			}
		})
	}
}

func BenchmarkImageExploitedCatalogue(b *testing.B) {
	engine, request, known := withCatalogue(b), podOf(b, 1), policies.ImageFacts{Scan: scanOf(100)}
	b.ReportAllocs()
	for b.Loop() {
		if verdict := review(engine, request, known); len(verdict.Faults) > 0 {
			b.Fatal(verdict.Faults)
		}
	}
}

func BenchmarkImageVulnerabilities(b *testing.B) {
	for _, size := range []int{0, 100, 2000, 20_000} {
		for _, id := range []string{"images/vulnerabilities", "images/known-exploited"} {
			b.Run(fmt.Sprintf("%s/%d", id, size), func(b *testing.B) {
				engine, request, known := only(b, id, nil), podOf(b, 1), policies.ImageFacts{Scan: scanOf(size)}
				b.ReportAllocs()
				for b.Loop() {
					if verdict := review(engine, request, known); len(verdict.Faults) > 0 {
						b.Fatal(verdict.Faults)
					}
				}
			})
		}
	}
}

func BenchmarkImageLicences(b *testing.B) {
	var components []string
	for n := range 2000 {
		components = append(components, fmt.Sprintf(`{"type":"library","name":"c%d","version":"1","purl":"pkg:npm/c%d@1","hashes":[{"alg":"SHA-256","content":"aa"}],"licenses":[{"license":{"id":"MIT-%d"}}]}`, n, n, n%40))
	}
	known := attested(json.RawMessage(`{"components":[` + strings.Join(components, ",") + `]}`))
	known.Evidence.Attestations = known.Evidence.Attestations[3:]
	for _, id := range []string{"images/licences", "images/sbom"} {
		b.Run(id, func(b *testing.B) {
			engine, request := only(b, id, nil), podOf(b, 1)
			b.ReportAllocs()
			for b.Loop() {
				if verdict := review(engine, request, known); !verdict.Admitted {
					b.Fatal(verdict.Findings, verdict.Faults)
				}
			}
		})
	}
}
