package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// provenanceName is the file of the provenance, in the folder of an image.
const provenanceName = "provenance.json"

// The predicate of https://slsa.dev/spec/v1.0/provenance, as far as a build by hand or in CI knows it.
type (
	provenance struct {
		BuildDefinition buildDefinition `json:"buildDefinition"`
		RunDetails      runDetails      `json:"runDetails"`
	}
	buildDefinition struct {
		BuildType            string         `json:"buildType"`
		ExternalParameters   map[string]any `json:"externalParameters"`
		InternalParameters   map[string]any `json:"internalParameters"`
		ResolvedDependencies []resource     `json:"resolvedDependencies"`
	}
	runDetails struct {
		Builder    builder    `json:"builder"`
		Metadata   metadata   `json:"metadata"`
		Byproducts []resource `json:"byproducts,omitempty"`
	}
	builder struct {
		ID string `json:"id"`
	}
	metadata struct {
		InvocationID string `json:"invocationId,omitempty"`
		StartedOn    string `json:"startedOn"`
	}
	resource struct {
		Name   string            `json:"name,omitempty"`
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest"`
	}
)

const (
	buildType = "https://portcullis.dev/build/images/v1"
	sourceURI = "git+https://github.com/portcullis-dev/portcullis"
	// localBuilder is who builds outside CI: nobody whom one could hold to it.
	localBuilder = "https://portcullis.dev/build/local"
)

// newProvenance says what the images of a program were built from. The time is that of the commit, so that building again gives the
// same statement; the builder is the workflow of GitHub's where one runs.
func newProvenance(m *multi) ([]byte, error) {
	sums, err := os.ReadFile(filepath.Join(m.from.dir, "go.sum"))
	if err != nil {
		return nil, fmt.Errorf("reading what the provenance names: %w", err)
	}
	platforms := make([]string, 0, len(m.programs))
	var files []resource
	for _, one := range m.programs {
		platform := one.platform.OS + "/" + one.platform.Architecture
		platforms = append(platforms, platform)
		files = append(files, resource{Name: m.program + " for " + platform, Digest: map[string]string{"sha256": one.digest}})
	}
	commit := resource{URI: sourceURI + "@" + m.from.commit, Digest: map[string]string{"gitCommit": m.from.commit}}
	p := provenance{
		BuildDefinition: buildDefinition{
			BuildType: buildType,
			ExternalParameters: map[string]any{
				"program": m.program, "version": m.version, "platforms": platforms, "source": sourceURI, "dirty": m.from.dirty,
			},
			InternalParameters:   map[string]any{"go": m.from.goVersion, "cgo": false},
			ResolvedDependencies: []resource{commit, {Name: "go.sum", Digest: map[string]string{"sha256": sha256Of(sums)}}},
		},
		RunDetails: runDetails{Builder: builder{ID: localBuilder}, Metadata: metadata{StartedOn: m.from.time.Format(time.RFC3339)}, Byproducts: files},
	}
	// https://docs.github.com/actions/reference/variables-reference
	if workflow := os.Getenv("GITHUB_WORKFLOW_REF"); workflow != "" {
		p.RunDetails.Builder.ID = os.Getenv("GITHUB_SERVER_URL") + "/" + workflow
		p.RunDetails.Metadata.InvocationID = os.Getenv("GITHUB_RUN_ID")
	}
	out, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the provenance of %s: %w", m.program, err)
	}
	return append(out, '\n'), nil
}
