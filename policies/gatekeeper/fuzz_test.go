package gatekeeper

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

// FuzzLoad loads whatever a file may hold, and judges a pod by what it holds: nothing panics, and the same file says the
// same twice.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		templateOf("Always", alwaysRego) + "---\n" + constraintOf("Always", "c", "{match: {kinds: [{kinds: [Pod]}], name: 'w*', labelSelector: {matchLabels: {app: web}}}}"),
		schemaTemplate + "---\n" + constraintOf("Labelled", "c", "{parameters: {labels: [a]}}"),
		syncConfigMaps + "---\n" + templateOf("Once", lookupRego) + "---\n" + constraintOf("Once", "c", "{}"),
		mutatorOf("Assign", "m", "{"+pods+"location: 'spec.containers[name: *].args', parameters: {assign: {value: [a]}}}"),
		mutatorOf("ModifySet", "m", "{"+pods+"location: spec.list, parameters: {operation: merge, values: {fromList: [x]}}}"),
		mutatorOf("AssignImage", "m", "{"+pods+"location: 'spec.containers[name: web].image', parameters: {assignTag: ':v2'}}"),
		mutatorOf("AssignMetadata", "m", "{location: metadata.labels.a, parameters: {assign: {value: b}}}"),
		expansionOf("x", "A", "B"),
		"apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config}\nspec: {match: [{processes: ['*'], excludedNamespaces: ['a*']}]}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := Load(fstest.MapFS{"a.yaml": {Data: content}}, Options{})
		if err != nil {
			return
		}
		e.Interests("")
		r := requestFor(t, pod)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for _, phase := range []policies.Phase{policies.PhaseValidate, policies.PhaseMutate} {
			e.Needs(r, phase)
			first := e.Evaluate(ctx, r, noFacts(), noon, phase)
			second := e.Evaluate(ctx, r, noFacts(), noon, phase)
			if ctx.Err() == nil && said(first) != said(second) {
				t.Errorf("got %q, then %q", said(first), said(second))
			}
		}
	})
}
