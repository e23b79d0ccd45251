package policies

import (
	"slices"
	"strings"
	"testing"
)

const threeProfiles = `
defaultProfile: low
namespaces: [{match: [shop], profile: high}]
profiles: [{name: low, policies: [{policy: pods/x}]}, {name: high, policies: [{policy: pods/y}]}, {name: unused, policies: [{policy: pods/z}]}]
`

func threeProfileBundle(t *testing.T, manifest string) *Bundle {
	t.Helper()
	bundle, err := Load(bundleFiles(manifest, "x.rego", regoPolicy("pods/x", "", always), "y.rego", regoPolicy("pods/y", "", always), "z.rego", regoPolicy("pods/z", "", always)))
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func TestAnEngineForRequestsHasJustTheProfilesThatTheyCanGet(t *testing.T) {
	for name, test := range map[string]struct {
		manifest, profile string
		want              []string
	}{
		"by the bundle's choice":         {threeProfiles, "", []string{"high", "low"}},
		"by a profile":                   {threeProfiles, "unused", []string{"unused"}},
		"by a profile that is not there": {threeProfiles, "other", nil},
	} {
		t.Run(name, func(t *testing.T) {
			engine, err := NewEngineFor(threeProfileBundle(t, test.manifest), test.profile)
			if err != nil {
				t.Fatal(err)
			}
			if got := engine.Profiles(); !slices.Equal(got, test.want) {
				t.Errorf("got profiles %q, want %q", got, test.want)
			}
		})
	}
}

func TestBothEnginesJudgeAlike(t *testing.T) {
	bundle := threeProfileBundle(t, threeProfiles)
	for name, profile := range map[string]string{"by namespace": "", "by a profile": "unused"} {
		t.Run(name, func(t *testing.T) {
			all, err := NewEngine(bundle)
			if err != nil {
				t.Fatal(err)
			}
			some, err := NewEngineFor(bundle, profile)
			if err != nil {
				t.Fatal(err)
			}
			r := podRequest(plainPod)
			r.Profile = profile
			wantSpoken(t, judge(t, some, r, nil), spoken(judge(t, all, r, nil))...)
		})
	}
}

// A request that would be judged by a profile that is not there must not be judged by none.
func TestAProfileThatIsNotLoadedIsAFault(t *testing.T) {
	engine, err := NewEngineFor(threeProfileBundle(t, threeProfiles), "unused")
	if err != nil {
		t.Fatal(err)
	}
	result := judge(t, engine, podRequest(plainPod), nil)
	if len(result.Faults) != 1 || !strings.Contains(result.Faults[0].Message, `profile "high"`) {
		t.Errorf("got %+v, want a fault that names the profile high", result)
	}
}
