package policies

import (
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

const (
	appRef    = "docker.io/library/app:1"
	appDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

const signedRule = `
deny contains {"msg": "unsigned", "path": image.path} if {
	some image in input.images
	count(image.signatures) == 0
}`

func signedApp(authorities ...string) *Facts {
	known := ImageFacts{Resolved: appDigest}
	for _, authority := range authorities {
		known.Evidence.Signatures = append(known.Evidence.Signatures, signer.Signature{Signer: signer.Signer{Authority: authority}})
	}
	return &Facts{Images: map[string]ImageFacts{appRef: known}}
}

func TestNeedsNameImagesOnlyIfEvidenceIsRead(t *testing.T) {
	for name, test := range map[string]struct {
		rules string
		want  ImageSections
	}{
		"the reference of an image":  {`deny contains image.path if { some image in input.images; image.tag == "latest" }`, ImageSections{}},
		"the normal form only":       {`deny contains "x" if { some image in input.workload.images; image.tag == "latest" }`, ImageSections{}},
		"requirements of the bundle": {`deny contains "x" if { some image in input.images; count(image.requirements) == 0 }`, ImageSections{}},
		"signatures":                 {signedRule, ImageSections{Resolved: true, Evidence: true}},
		"attestations":               {`deny contains "x" if { some image in input.images; image.attestations[_].predicate.a == 1 }`, ImageSections{Resolved: true, Evidence: true}},
		"what was rejected":          {`deny contains "x" if { some image in input.images; image.rejected[_].reason == "" }`, ImageSections{Resolved: true, Evidence: true}},
		"the scan":                   {`deny contains "x" if { some image in input.images; image.scan.state != "complete" }`, ImageSections{Resolved: true, Evidence: true, Scan: true}},
		"the configuration":          {`deny contains "x" if { some image in input.images; image.configs[_].user == "" }`, ImageSections{Resolved: true, Configs: true}},
		"the digest":                 {`deny contains "x" if { some image in input.images; image.resolved == "" }`, ImageSections{Resolved: true}},
		"replacement":                {`deny contains "x" if { some image in input.images; image.replacement }`, ImageSections{Replacement: true}},
		"evidence in a function":     {"f(image) := image.scan.state\ndeny contains \"x\" if { some image in input.images; f(image) != \"complete\" }", ImageSections{Resolved: true, Evidence: true, Scan: true}},
		"an image as a whole":        {`deny contains sprintf("%v", [image]) if { some image in input.images }`, ImageSections{Resolved: true, Configs: true, Evidence: true, Scan: true, Replacement: true}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", test.rules))
			needs := engine.Needs(podRequest(plainPod), PhaseValidate)
			if needs.Images.Sections != test.want {
				t.Errorf("got sections %+v, want %+v", needs.Images.Sections, test.want)
			}
			if got, want := len(needs.Images.Images) > 0, test.want.Any(); got != want || needs.Empty() == want {
				t.Errorf("got images %+v, empty = %v; want some = %v", needs.Images.Images, needs.Empty(), want)
			}
		})
	}
}

func TestNeedsSayAllThatGatheringTakes(t *testing.T) {
	engine := mustCompile(t, onePolicy("", signedRule+"\n"+`warn contains "new" if { some image in input.images; not image.replacement }`))
	r := podRequest(`{"kind":"Pod","metadata":{"name":"shop","ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"a","uid":"1"},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"shop-1","uid":"2","controller":true}]},
		"spec":{"serviceAccountName":"cart","imagePullSecrets":[{"name":"registry"}],"initContainers":[{"name":"i","image":"zebra"}],"containers":[{"name":"app","image":"app:1"},{"name":"b","image":"app:1"}]}}`)
	r.DryRun, r.Subject.Username = true, "system:serviceaccount:kube-system:replicaset-controller"
	needs := engine.Needs(r, PhaseValidate).Images
	var refs []string
	for _, image := range needs.Images {
		refs = append(refs, image.Ref)
	}
	if want := []string{appRef, "docker.io/library/zebra:latest"}; !reflect.DeepEqual(refs, want) {
		t.Errorf("got images %q, want each once, sorted: %q", refs, want)
	}
	if needs.Namespace != "shop" || !needs.DryRun || needs.Door != DoorAdmission || needs.Subject.Username != r.Subject.Username || needs.Trust == nil || needs.Exemptions == nil {
		t.Errorf("got %+v, want namespace, dry run, door, subject, trust and exemptions of the request", needs)
	}
	if !reflect.DeepEqual(needs.ServiceAccounts, []string{"cart"}) || !reflect.DeepEqual(needs.PullSecrets, []string{"registry"}) {
		t.Errorf("got service accounts %q and pull secrets %q, want cart and registry", needs.ServiceAccounts, needs.PullSecrets)
	}
	if want := (&OwnerReference{"apps/v1", "ReplicaSet", "shop-1", "2"}); !reflect.DeepEqual(needs.Owner, want) {
		t.Errorf("got owner %+v, want the controller %+v", needs.Owner, want)
	}
}

func TestEvidenceIsJudged(t *testing.T) {
	engine := mustCompile(t, onePolicy("", signedRule))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), signedApp()), "pods/x: unsigned")
	wantSpoken(t, judge(t, engine, podRequest(plainPod), signedApp("release")))
	// The same pod, and the signature is gone: nothing may be remembered of the first answer.
	wantSpoken(t, judge(t, engine, podRequest(plainPod), signedApp()), "pods/x: unsigned")
}

func TestPredicatesAreReadAsTheyWereSigned(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `
deny contains sprintf("%s by %s", [builder, a.authority]) if {
	some image in input.images
	some a in image.attestations
	a.predicateType == "https://slsa.dev/provenance/v1"
	builder := a.predicate.runDetails.builder.id
}`))
	facts := signedApp()
	known := facts.Images[appRef]
	known.Evidence.Attestations = []signer.Attestation{
		{Signer: signer.Signer{Authority: "ci"}, PredicateType: "https://slsa.dev/provenance/v1", Predicate: []byte(`{"runDetails":{"builder":{"id":"b1"}},"rest":[1,2]}`)},
		{Signer: signer.Signer{Authority: "ci"}, PredicateType: "https://slsa.dev/provenance/v1"},
		{Signer: signer.Signer{Authority: "ci"}, PredicateType: "https://spdx.dev/Document", Predicate: []byte(`{"runDetails":{"builder":{"id":"b2"}}}`)},
	}
	facts.Images[appRef] = known
	wantSpoken(t, judge(t, engine, podRequest(plainPod), facts), "pods/x: b1 by ci")
	known.Evidence.Attestations[0].Predicate = []byte(`{"runDetails":`)
	wantSpoken(t, judge(t, engine, podRequest(plainPod), facts), "pods/x fault: unreadable input")
}

func TestWhatIsNotKnownOfAnImageIsNeverTakenForNothing(t *testing.T) {
	const unsignedIsFine = `deny contains "signed" if { some image in input.images; count(image.signatures) > 0 }`
	for name, test := range map[string]struct {
		facts *Facts
		want  string
	}{
		"nothing was gathered":     {&Facts{}, "nobody asked a registry"},
		"the registry did not say": {&Facts{Images: map[string]ImageFacts{appRef: {Unknown: ImageUnknown{Evidence: "the signatures of app: the registry answers 503"}}}}, "answers 503"},
		"the tag was not resolved": {&Facts{Images: map[string]ImageFacts{appRef: {Unknown: ImageUnknown{Resolved: "the digest of app: timeout"}}}}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", unsignedIsFine))
			live := judge(t, engine, podRequest(plainPod), test.facts)
			if len(live.Faults) != 1 || live.Faults[0].Kind != FaultFacts || !strings.Contains(live.Faults[0].Message, test.want) {
				t.Errorf("got %+v, want one fault for want of facts that says %q", live, test.want)
			}
			r := podRequest(plainPod)
			r.Door = DoorGate
			gate := judge(t, engine, r, test.facts)
			if len(gate.Undecided) != 1 || gate.Undecided[0].Path != "spec.containers[0].image" || !strings.Contains(gate.Undecided[0].Reason, test.want) {
				t.Errorf("got %+v, want one undecided policy at the image that says %q", gate, test.want)
			}
		})
	}
	t.Run("a part that is not read may be unknown", func(t *testing.T) {
		engine := mustCompile(t, onePolicy("", unsignedIsFine))
		facts := signedApp()
		known := facts.Images[appRef]
		known.Unknown.Configs, known.Unknown.Scan = "why", "why"
		facts.Images[appRef] = known
		wantSpoken(t, judge(t, engine, podRequest(plainPod), facts))
	})
}

func TestUpdatesThatChangeNothingThatIsReadNeedNoRegistry(t *testing.T) {
	relabelled := strings.Replace(plainPod, `"name":"shop"`, `"name":"shop","labels":{"a":"b"}`, 1)
	for name, test := range map[string]struct {
		rules, now string
		needed     bool
	}{
		"a label nobody reads":     {signedRule, relabelled, false},
		"a label that is read too": {signedRule + "\n" + `warn contains "x" if { some l in input.workload.labels; l.value == "b"; input.images[_].resolved != "" }`, relabelled, true},
		"another image":            {signedRule, strings.Replace(plainPod, "app:1", "app:2", 1), true},
		"nothing":                  {signedRule, plainPod, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", test.rules))
			r := updateRequest(podRequest(test.now), plainPod)
			if got := engine.Needs(r, PhaseValidate).Images.Sections.Any(); got != test.needed {
				t.Errorf("got needed = %v, want %v", got, test.needed)
			}
			if faults := judge(t, engine, r, &Facts{}).Faults; (len(faults) > 0) != test.needed {
				t.Errorf("got faults %+v without any evidence, want some = %v", faults, test.needed)
			}
		})
	}
}

func TestRequirementsAreThoseOfTheBundlesTrust(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `
deny contains sprintf("%d", [count(image.requirements)]) if { some image in input.images }`))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), &Facts{}), "pods/x: 0")
}

func TestScansAreJudged(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `
deny contains sprintf("%s %s %d", [v.id, v.vex.status, v.score]) if {
	some image in input.images
	some v in image.scan.vulnerabilities
	v.severity == "critical"
}`))
	facts := signedApp()
	known := facts.Images[appRef]
	known.Scan = scanner.Report{State: scanner.StateComplete, Vulnerabilities: []scanner.Vulnerability{
		{ID: "CVE-1", Severity: "critical", Score: 98, VEX: &scanner.Statement{Status: "not_affected"}},
		{ID: "CVE-2", Severity: "critical", Score: 91},
		{ID: "CVE-3", Severity: "low"},
	}}
	facts.Images[appRef] = known
	wantSpoken(t, judge(t, engine, podRequest(plainPod), facts), "pods/x: CVE-1 not_affected 98")
}

func TestTrustIsCheckedWhenABundleIsLoaded(t *testing.T) {
	_, err := compileFiles(bundleFiles("trust: {authorities: [{name: a, image: [x]}]}\npolicies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", "", always)))
	wantRefusal(t, err, "image")
}

// Guards decide by the reference alone and leave what they do not know to Rego.
func TestGuardsDoNotLookPastAReference(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `
deny contains "unsigned" if {
	some image in input.images
	image.registry == "docker.io"
	count(image.signatures) == 0
}`))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), signedApp()), "pods/x: unsigned")
	elsewhere := strings.Replace(plainPod, "app:1", "ghcr.io/a/b:1", 1)
	wantSpoken(t, judge(t, engine, podRequest(elsewhere), &Facts{})) // nothing was gathered, and nothing need be
}
