package gate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/policies"
)

// Explanation is one object's verdict with the reasons for it.
type Explanation struct {
	Result
	// Traces say how the findings came about, in no particular order.
	Traces []policies.Trace
	// Original is the object as it was read, Fixed the object after the smallest changes
	// that make the denials go away; nil where nothing denies.
	Original, Fixed json.RawMessage
	// Unfixed are the denials for which no change is known.
	Unfixed []Finding
	// Locate finds the place of a field in the user's files.
	Locate func(path string) Location
	// Value gives the JSON value of a field, "" where there is none.
	Value func(path string) string
}

// Explain judges everything that was loaded, as Run does, and says why.
func (g *Gate) Explain(ctx context.Context, loaded source.Loaded, visit func(Explanation) error) error {
	j := g.begin(ctx, loaded.Documents)
	for i := range loaded.Documents {
		explanation, err := j.explain(ctx, i)
		if err != nil {
			return err
		}
		if err := visit(explanation); err != nil {
			return err
		}
	}
	return nil
}

func (j *judging) explain(ctx context.Context, i int) (Explanation, error) {
	document := &j.documents[i]
	result, patched := j.judge(ctx, i)
	explanation := Explanation{
		Result: result, Original: document.JSON, Locate: document.Locate,
		Value: func(path string) string { return valueAt(document.JSON, path) },
	}
	request, err := j.request(document, j.mapping)
	if err != nil {
		return explanation, nil // the result holds the fault
	}
	if patched != nil {
		request.Object = patched
	}
	for _, judge := range j.lineup(document).Judges(&request) {
		engine, ok := judge.(*policies.Engine)
		if !ok {
			continue // policies for other tools leave no trace
		}
		gathered := j.facts(i).Gather(ctx, engine.Needs(&request, policies.PhaseValidate))
		traces, err := engine.Explain(ctx, &request, &gathered, j.Now())
		if err != nil {
			return explanation, err
		}
		explanation.Traces = append(explanation.Traces, traces...)
	}
	return explanation, explanation.fix(document)
}

// fix applies the changes of all denials to the object as it was read.
func (e *Explanation) fix(document *source.Document) error {
	var changes []patch.Change
	for _, finding := range e.Findings {
		if finding.Weight() != Denies {
			continue
		}
		if len(finding.Fix) == 0 {
			e.Unfixed = append(e.Unfixed, finding)
		}
		for _, change := range finding.Fix {
			changes = append(changes, patch.Change{Op: change.Op, Path: change.Path, Value: change.Value})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	fixed, err := patch.ApplyChanges(document.JSON, changes)
	if err != nil {
		return fmt.Errorf("changing %s: %w: change it by hand as the remediation says", e.Object, err)
	}
	e.Fixed = fixed
	return nil
}

// Operations are the changes from Original to Fixed as RFC 6902 operations.
func (e *Explanation) Operations() (json.RawMessage, error) {
	if e.Fixed == nil {
		return nil, nil
	}
	return diff(e.Original, e.Fixed)
}

// valueAt is the JSON value of a field, "" where there is none.
func valueAt(object []byte, path string) string {
	value, _ := manifest.Get(object, path)
	return string(value)
}
