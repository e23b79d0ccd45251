package policies

import (
	"slices"
	"testing"
	"time"
)

// resources are those of interests, each once.
func resources(interests []Interest) []string {
	var all []string
	for _, interest := range interests {
		if !slices.Contains(all, interest.Resource) {
			all = append(all, interest.Resource)
		}
	}
	return all
}

func TestWhatAnotherRevisionTouches(t *testing.T) {
	const rule = `deny contains {"msg": "no"} if input.object.x`
	files := func(more ...string) []string {
		return append([]string{
			"policies/a.rego", regoPolicy("test/a", "match: {resources: [{group: '', resources: [configmaps]}]}", rule),
			"policies/b.rego", regoPolicy("test/b", "match: {resources: [{group: '', resources: [services]}]}", rule),
		}, more...)
	}
	const both = "policies: [{policy: test/a}, {policy: test/b}]"
	engine := func(manifest string, more ...string) *Engine {
		return mustCompile(t, bundleFiles(manifest, files(more...)...))
	}
	before := engine(both)
	for name, test := range map[string]struct {
		after *Engine
		want  []string
	}{
		"the same again":               {engine(both), nil},
		"another enforcement":          {engine("policies: [{policy: test/a, enforcement: warn}, {policy: test/b}]"), []string{"configmaps"}},
		"a policy less":                {engine("policies: [{policy: test/b}]"), []string{"configmaps"}},
		"other rules":                  {engine(both, "policies/b.rego", regoPolicy("test/b", "match: {resources: [{group: '', resources: [services]}]}", `deny contains {"msg": "never"} if input.object.y`)), []string{"services"}},
		"a comment":                    {engine(both, "policies/b.rego", regoPolicy("test/b", "match: {resources: [{group: '', resources: [services]}]}", "# Why not?\n"+rule)), nil},
		"data, which all may read":     {engine(both, "data/x.json", `{"x": 1}`), []string{"configmaps", "services"}},
		"another match, in namespaces": {engine("policies: [{policy: test/a, match: {namespaces: [shop]}}, {policy: test/b}]"), []string{"configmaps"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := resources(test.after.AuditedSince(before)); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if got := resources(before.AuditedSince(nil)); !slices.Equal(got, []string{"configmaps", "services"}) {
		t.Errorf("after nothing got %v, want all", got)
	}
}

func TestTheNextRamp(t *testing.T) {
	e := mustCompile(t, bundleFiles("policies: [{policy: test/a, ramp: {auditUntil: 2027-01-01, warnUntil: 2027-02-01}}]",
		"policies/a.rego", regoPolicy("test/a", "match: {workload: pods}", `deny contains {"msg": "no"} if input.object.x`)))
	day := func(text string) time.Time { at, _ := ParseMoment(text); return at }
	for now, want := range map[string]time.Time{"2026-12-01": day("2027-01-01"), "2027-01-01": day("2027-02-01"), "2027-02-01": {}} {
		if got := e.NextRamp(day(now)); !got.Equal(want) {
			t.Errorf("on %s got %s, want %s", now, got, want)
		}
	}
}
