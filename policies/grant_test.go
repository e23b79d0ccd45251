package policies

import (
	"strings"
	"testing"
	"time"
)

// granted is an exception of the cluster for pods/x in the namespace shop, granted there on the last of February.
func granted(t *testing.T, change func(*Exception)) Exception {
	t.Helper()
	e := Exception{
		APIVersion: APIVersion, Kind: "Exception", Name: "e", Policy: "pods/x", Reason: "It is being replaced.", Owner: "team-shop", Expires: "2026-03-31",
		Selector: ExceptionSelector{Namespaces: []string{"shop"}},
		Grant:    &Grant{Namespace: "shop", Creator: "alice", Created: noon.AddDate(0, 0, -1)},
	}
	if change != nil {
		change(&e)
	}
	made, err := NewException(e)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Row 33, CVE-2024-48921: an exception was accepted from any namespace.
func TestBypass33OnlyNamespacesThatTheBundleAllowsGrantExceptions(t *testing.T) {
	const own = "exceptionsFrom: {namespaces: [shop, team-*], maxDuration: 90d}\n"
	for name, test := range map[string]struct {
		rules   string
		change  func(*Exception)
		request func(*Request)
		waives  bool
		why     string // of RefusesException
	}{
		"one that is allowed":                             {own, nil, nil, true, ""},
		"where the bundle says nothing of them":           {"", nil, nil, false, "takes no exceptions of the cluster"},
		"from another namespace":                          {own, func(e *Exception) { e.Grant.Namespace = "dev" }, nil, false, "takes no exceptions from namespace dev"},
		"from an allowed one, about another one":          {own, func(e *Exception) { e.Grant.Namespace = "team-a" }, nil, false, ""},
		"from an allowed one, about the Namespace itself": {own, nil, func(r *Request) { r.Resource, r.Name = namespaceResource, "shop" }, false, ""},
		"from a central one, about the Namespace itself":  {"exceptionsFrom: {central: [shop], maxDuration: 90d}\n", nil, func(r *Request) { r.Resource, r.Name = namespaceResource, "shop" }, true, ""},
		"from a central one, about another one":           {"exceptionsFrom: {central: [security], maxDuration: 90d}\n", func(e *Exception) { e.Grant.Namespace = "security" }, nil, true, ""},
		"for longer than the bundle allows":               {"exceptionsFrom: {namespaces: [shop], maxDuration: 30d}\n", nil, nil, false, "longer than the 30d"},
		"for just as long as the bundle allows":           {"exceptionsFrom: {namespaces: [shop], maxDuration: 31d}\n", nil, nil, true, ""},
		"of a policy that may be excepted":                {"exceptionsFrom: {namespaces: [shop], maxDuration: 90d, policies: [pods/*]}\n", nil, nil, true, ""},
		"of a policy that may not":                        {"exceptionsFrom: {namespaces: [shop], maxDuration: 90d, policies: [rbac/*]}\n", nil, nil, false, "lets nobody except pods/x"},
		"about this bundle by name":                       {own, func(e *Exception) { e.Grant.Bundle = "test" }, nil, true, ""},
		"about another bundle":                            {own, func(e *Exception) { e.Grant.Bundle = "other" }, nil, false, `about bundle "other"`},
		"of nobody":                                       {own, func(e *Exception) { e.Grant = nil }, nil, false, "who grants it"},
		"of a policy that the bundle does not have":       {own, func(e *Exception) { e.Policy = "pods/y" }, nil, false, "no policy"},
		"for whoever created it, where that is barred":    {"exceptionsFrom: {namespaces: [shop], maxDuration: 90d, notForCreator: true}\n", nil, func(r *Request) { r.Subject.Username = "alice" }, false, ""},
		"for somebody else, where that is barred":         {"exceptionsFrom: {namespaces: [shop], maxDuration: 90d, notForCreator: true}\n", nil, func(r *Request) { r.Subject.Username = "bob" }, true, ""},
		"of an unknown creator, where that is barred":     {"exceptionsFrom: {namespaces: [shop], maxDuration: 90d, notForCreator: true}\n", func(e *Exception) { e.Grant.Creator = "" }, func(r *Request) { r.Subject.Username = "bob" }, false, "nobody has recorded that"},
		"for whoever created it, where that is fine":      {own, nil, func(r *Request) { r.Subject.Username = "alice" }, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n"+test.rules, "x.rego",
				regoPolicy("pods/x", "match: {resources: [{group: '', resources: [pods, namespaces]}]}", always)))
			e := granted(t, test.change)
			if got := engine.Bundle().RefusesException(&e); test.why == "" && got != "" || !strings.Contains(got, test.why) {
				t.Errorf("got refusal %q, want one with %q", got, test.why)
			}
			r := podRequest(plainPod)
			if test.request != nil {
				test.request(r)
			}
			result := judge(t, engine, r, &Facts{Exceptions: []Exception{e}})
			if len(result.Findings) != 1 {
				t.Fatalf("got %+v, want one finding", result)
			}
			want := ""
			if test.waives {
				want = e.Grant.Namespace + "/e"
			}
			if got := result.Findings[0].ExceptedBy; got != want {
				t.Errorf("got the finding waived by %q, want %q", got, want)
			}
		})
	}
}

func TestAnExceptionOfTheClusterEndsAsOneOfTheBundleDoes(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\nexceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n", "x.rego", regoPolicy("pods/x", "", always)))
	facts := &Facts{Exceptions: []Exception{granted(t, nil)}}
	ends := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]string{ends.Add(-time.Second): "shop/e", ends: "", ends.Add(time.Second): ""} {
		result := judgeAt(t, engine, podRequest(plainPod), facts, at)
		if got := result.Findings[0].ExceptedBy; got != want {
			t.Errorf("at %s: got waived by %q, want %q", at, got, want)
		}
		if lapsed := strings.HasSuffix(result.Findings[0].Message, "(exception shop/e expired on 2026-03-31)"); lapsed != (want == "") {
			t.Errorf("at %s: got message %q", at, result.Findings[0].Message)
		}
	}
}

// Row 34, GHSA-gg4x-fgg2-h9w9, across where exceptions come from.
func TestBypass34AnExceptionOfTheBundleAndOneOfTheClusterDoNotAddUp(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\nexceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n", "x.rego", regoPolicy("pods/x", "", always),
		"exceptions/e.yaml", exceptionFile("by-name", "{namespaces: [other], names: [shop]}", "2026-03-02")))
	e := granted(t, func(e *Exception) { e.Selector.Names = []string{"other"} })
	wantSpoken(t, judge(t, engine, podRequest(plainPod), &Facts{Exceptions: []Exception{e}}), "pods/x: always")
}

func TestExceptionRulesAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ rules, want string }{
		"without a longest time":     {"{namespaces: [a]}", "maxDuration"},
		"with a time that is none":   {"{namespaces: [a], maxDuration: long}", `"long"`},
		"with no time":               {"{namespaces: [a], maxDuration: 0d}", `"0d"`},
		"with a time without end":    {"{namespaces: [a], maxDuration: 99999d}", "99999d"},
		"without namespaces":         {"{maxDuration: 1d}", "name namespaces"},
		"with a glob that is broken": {"{namespaces: ['[a'], maxDuration: 1d}", "exceptionsFrom.namespaces"},
		"with an unknown field":      {"{namespaces: [a], maxDuration: 1d, everybody: true}", "everybody"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bundleFiles("policies: [{policy: pods/x}]\nexceptionsFrom: "+test.rules+"\n", "x.rego", regoPolicy("pods/x", "", always)))
			wantRefusal(t, err, test.want)
		})
	}
}

// An exception of the policy that holds creators to their names would let whoever has it pass for another one; one of the policy that
// protects the labels by which profiles are chosen would let him choose.
func TestWhatExceptionsRestOnIsNotExcepted(t *testing.T) {
	const rules = "exceptionsFrom: {namespaces: [shop], central: [security], maxDuration: 90d}\n"
	for name, test := range map[string]struct {
		id, manifest, from string
		refused            bool
	}{
		"who created an exception":               {"exceptions/creator", "", "shop", true},
		"who created one, from a central one":    {"exceptions/creator", "", "security", true},
		"labels, on which Pod Security rests":    {"namespaces/protected-labels", "podSecurityLabels: true\n", "shop", true},
		"labels, on which the profile rests":     {"namespaces/protected-labels", "profileLabel: x\n", "shop", true},
		"labels, on which nothing of this rests": {"namespaces/protected-labels", "", "shop", false},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := mustCompile(t, bundleFiles("policies: [{policy: "+test.id+"}]\n"+rules, "x.rego", regoPolicy(test.id, "", always))).Bundle()
			bundle.Manifest.PodSecurityLabels = strings.HasPrefix(test.manifest, "podSecurity")
			if strings.HasPrefix(test.manifest, "profileLabel") {
				bundle.Manifest.ProfileLabel = "x"
			}
			e := granted(t, func(e *Exception) { e.Policy, e.Grant.Namespace = test.id, test.from })
			if got := bundle.RefusesException(&e); strings.Contains(got, "guards by which rules") != test.refused || !test.refused && got != "" {
				t.Errorf("got refusal %q, want one: %v", got, test.refused)
			}
		})
	}
}

func TestAFileOfTheBundleCannotClaimToBeGranted(t *testing.T) {
	_, err := Load(bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", "", always),
		"exceptions/e.yaml", exceptionFile("e", "{namespaces: [shop]}", "2026-03-02")+"grant: {namespace: shop, created: 2026-01-01T00:00:00Z}\n"))
	wantRefusal(t, err, "grant is for exceptions of the cluster")
}
