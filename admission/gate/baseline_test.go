package gate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
)

// TestBaselineWaivesDenialsOnly: what a baseline knows admits, unless something else does not.
func TestBaselineWaivesDenialsOnly(t *testing.T) {
	denial := Finding{Fingerprint: "a", Finding: policies.Finding{Effect: policies.EffectDeny}}
	fault := policies.Fault{Kind: policies.FaultError}
	for name, test := range map[string]struct {
		result Result
		want   Outcome
	}{
		"a known denial":                       {Result{Findings: []Finding{denial}}, Admitted},
		"a known denial beside a fault":        {Result{Findings: []Finding{denial}, Faults: []policies.Fault{fault}}, Faulty},
		"a known denial beside missing facts":  {Result{Findings: []Finding{denial}, Faults: []policies.Fault{{Kind: policies.FaultFacts}}}, Undecided},
		"a known denial beside an open policy": {Result{Findings: []Finding{denial}, Undecided: []UndecidedPolicy{{}}}, Undecided},
		"more denials than are known":          {Result{Findings: []Finding{denial, denial}}, Denied},
		"a refusal that no finding explains":   {Result{}, Faulty},
	} {
		t.Run(name, func(t *testing.T) {
			b := &Baseline{left: map[allowance]int{{"a", Denies}: 1}}
			test.result.refused = true
			b.mark(&test.result)
			if got := test.result.Outcome; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestOverflowIsNotKnownByAnotherNumber: a policy's 101st finding and all after it are one
// ("and 12 more"); were it the same whatever the number, a baseline would hide new ones.
func TestOverflowIsNotKnownByAnotherNumber(t *testing.T) {
	print := func(message string) string {
		return fingerprint(Finding{Finding: policies.Finding{Policy: "images/vulnerabilities", Message: message}}, Object{Kind: "Pod", Name: "a"}, nil)
	}
	more := func(message, image, digest string) string {
		finding := Finding{Finding: policies.Finding{Policy: "images/vulnerabilities", Message: message, Details: map[string]any{"image": image, "digest": digest}}}
		return fingerprint(finding, Object{Kind: "Pod", Name: "a"}, nil)
	}
	twelve := more("image ghcr.io/acme/app:1 has 12 more", "ghcr.io/acme/app:1", "sha256:1")
	if twelve == more("image ghcr.io/acme/app:1 has 13 more", "ghcr.io/acme/app:1", "sha256:1") {
		t.Error("got the same fingerprint for 12 and 13 more vulnerabilities, want others")
	}
	if twelve != more("image ghcr.io/acme/app:2 has 12 more", "ghcr.io/acme/app:2", "sha256:2") {
		t.Error("got another fingerprint for another build, want the same")
	}
	if print("and 12 more findings of this policy") == print("and 13 more findings of this policy") {
		t.Error("got the same fingerprint for 12 and 13 more findings, want others")
	}
}

func TestStablePath(t *testing.T) {
	const object = `{"spec":{"containers":[{"name":"app","env":[{"name":"A"}]},{"image":"x"}],"list":[1]}}`
	for path, want := range map[string]string{
		"":                             "",
		"spec.containers[0].image":     ".spec.containers[name=app].image",
		"spec.containers[0].env[0]":    ".spec.containers[name=app].env[name=A]",
		"spec.containers[1].image":     ".spec.containers[].image",
		"spec.containers[7].image":     ".spec.containers[].image",
		"spec.list[0]":                 ".spec.list[]",
		"metadata.labels[example.com]": ".metadata.labels.example.com",
		"a..b":                         "a..b",
	} {
		if got := stablePath([]byte(object), path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestImageDetails(t *testing.T) {
	finding := func(details map[string]any) Finding {
		return Finding{Finding: policies.Finding{Details: details}}
	}
	if _, ok := finding(map[string]any{"vulnerability": "CVE-1"}).Image(); ok {
		t.Error("got a finding about an image, want none where no image is named")
	}
	for name, test := range map[string]struct {
		score any
		want  int
	}{
		"as policies give it":  {json.Number("98"), 98},
		"as a report gives it": {98.0, 98},
		"no whole tenths":      {json.Number("9.8"), 0},
		"above the scale":      {json.Number("101"), 0},
		"below it":             {-1, 0},
		"no number":            {"98", 0},
		"absent":               {nil, 0},
	} {
		details, _ := finding(map[string]any{"image": "nginx", "score": test.score}).Image()
		if details.Score != test.want {
			t.Errorf("%s: got the score %d, want %d", name, details.Score, test.want)
		}
	}
	for purl, want := range map[string]string{
		"pkg:deb/debian/openssl@3.0.1?distro=debian-12": "pkg:deb/debian/openssl",
		"pkg:npm/%40acme/lodash@4.17.20":                "pkg:npm/%40acme/lodash",
		"pkg:npm/%40acme/lodash":                        "pkg:npm/%40acme/lodash",
		"pkg:golang/golang.org/x/text@v0.3.6#unicode":   "pkg:golang/golang.org/x/text",
		"": "lodash",
	} {
		if got := (ImageDetails{PURL: purl, Package: "lodash"}).Subject(); got != want {
			t.Errorf("%q: got %s, want %s", purl, got, want)
		}
	}
	for image, want := range map[string]string{
		"nginx":              "docker.io/library/nginx",
		"ghcr.io/acme/app:1": "ghcr.io/acme/app",
		"ghcr.io/acme/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "ghcr.io/acme/app",
		"not an image": "not an image",
	} {
		if got := (ImageDetails{Image: image}).Repository(); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

func FuzzReadBaseline(f *testing.F) {
	f.Add([]byte(`{"$schema":"` + BaselineSchema + `","tool":"portcullis","bundle":"b","findings":[{"fingerprint":"a","count":2,"effect":"deny","policy":"p","subject":"s","message":"m"}]}`))
	f.Add([]byte(`{"$schema":"` + ReportSchema + `","results":[{"findings":[{"fingerprint":"a","effect":"deny"},{"fingerprint":"b","effect":"known","wouldBe":"warn"},{"effect":"excepted"}]}],"verdict":"denied"}`))
	f.Add([]byte(`{"$schema":"` + ReportSchema + `","results":[{"findings":[{"effect":"deny"}]}],"verdict":"denied"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ReadBaseline("known.json", strings.NewReader(string(raw)))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "reading the baseline known.json: ") || !strings.Contains(err.Error(), "--write-baseline") {
				t.Errorf("got %q, want an error that names the file and the next step", err)
			}
			return
		}
		for known, n := range b.left {
			if n < 1 || known.fingerprint == "" || known.effect != Denies && known.effect != Warns {
				t.Errorf("got %d of %v, want nothing but denials and warnings with fingerprints", n, known)
			}
		}
	})
}

// TestWeightOfKnown: the baseline is asked after exceptions, and never about what is only recorded.
func TestWeightOfKnown(t *testing.T) {
	for name, test := range map[string]struct {
		finding Finding
		want    Effect
	}{
		"a denial":        {Finding{Known: true, Finding: policies.Finding{Effect: policies.EffectDeny}}, Known},
		"an excepted one": {Finding{Known: true, Finding: policies.Finding{Effect: policies.EffectDeny, ExceptedBy: "x"}}, Excepted},
	} {
		if got := test.finding.Weight(); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
