package conftest

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

// Document is what a file holds, in the shape that Conftest gives it.
type Document struct {
	// Path is the file, as findings name it.
	Path string
	// Contents are JSON values: map[string]any, []any, string, bool, nil, json.Number or float64.
	Contents any
}

// Checked is what the policies say of one document.
type Checked struct {
	Path     string             `json:"path"`
	Findings []policies.Finding `json:"findings,omitempty"`
	// Faults are rules that failed. A document with one is not clean.
	Faults []policies.Fault `json:"faults,omitempty"`
	// Rules are how many were asked.
	Rules int `json:"rules"`
}

// combinedPath is the path of what Conftest combines.
const combinedPath = "Combined"

// Check judges documents, one after the other in the order given or, combined, all of them as one input: a list of objects
// with path and contents, sorted by path. A list at the top of a document stands for so many documents. now is the clock
// of the policies.
//
// The error is of ctx; what is wrong with a document is a fault of it.
func (e *Engine) Check(ctx context.Context, documents []Document, combine bool, now time.Time) ([]Checked, error) {
	documents = split(documents)
	if combine || e.settings.Combine {
		documents = []Document{combined(documents)}
	}
	results := make([]Checked, 0, len(documents))
	for _, document := range documents {
		results = append(results, e.checkOne(ctx, document, now))
		if err := ctx.Err(); err != nil {
			return results, fmt.Errorf("checking %s: %w", document.Path, err)
		}
	}
	return results, nil
}

func (e *Engine) checkOne(ctx context.Context, document Document, now time.Time) Checked {
	input, err := inputOf(document.Contents)
	v, openErr := e.on(ctx, input, now, fileOf(document.Path))
	switch {
	case openErr != nil:
		v = &evaluation{engine: e}
		v.all(policies.FaultError, openErr.Error())
	case err != nil:
		v.all(policies.FaultInput, err.Error())
	default:
		v.judge(ctx)
	}
	v.result.Sort()
	return Checked{Path: document.Path, Findings: v.result.Findings, Faults: v.result.Faults, Rules: v.result.Matched}
}

// inputOf goes by way of JSON, so that limits and numbers are those of requests.
func inputOf(contents any) (*ast.Term, error) {
	raw, err := json.Marshal(contents)
	if err != nil {
		return nil, fmt.Errorf("encoding the document: %w", err)
	}
	return policies.RawValue(raw)
}

// fileOf is data.conftest.file.
func fileOf(path string) map[string]any {
	if path == combinedPath {
		path = ""
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		absolute = path
	}
	return map[string]any{"name": filepath.Base(absolute), "dir": filepath.Dir(absolute)}
}

// split makes as many documents of one as there are in the list at its top.
func split(documents []Document) []Document {
	var parts []Document
	for _, document := range documents {
		list, ok := document.Contents.([]any)
		if !ok {
			parts = append(parts, document)
			continue
		}
		for _, one := range list {
			parts = append(parts, Document{document.Path, one})
		}
	}
	return parts
}

// combined is the input of --combine.
func combined(documents []Document) Document {
	ordered := slices.Clone(documents)
	slices.SortStableFunc(ordered, func(a, b Document) int { return strings.Compare(a.Path, b.Path) })
	all := make([]any, 0, len(ordered))
	for _, document := range ordered {
		all = append(all, map[string]any{"path": document.Path, "contents": document.Contents})
	}
	return Document{combinedPath, all}
}

// Combines, Parser and Ignore are what conftest.toml says of the files to check; "" where it says nothing.
func (e *Engine) Combines() bool { return e.settings.Combine }

// Parser is the format that conftest.toml gives all files, "" for that of their names.
func (e *Engine) Parser() string { return e.settings.Parser }

// Ignore is the regular expression of conftest.toml for paths that are left out, "" for none.
func (e *Engine) Ignore() string { return e.settings.Ignore }
