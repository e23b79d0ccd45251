package policies

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"
)

// FuzzLoad looks for a bundle whose loading, compiling or judging panics: bundles come from
// registries and Git, and a hostile one must be refused, not take the process with it.
func FuzzLoad(f *testing.F) {
	manifest := string(bundleFiles("policies: [{policy: pods/x}]\n")["bundle.yaml"].Data)
	exception := exceptionFile("e", "{namespaces: [shop]}", "2026-03-02")
	f.Add(manifest, regoPolicy("pods/x", parameterSchema, `deny contains input.parameters.text if input.object.kind`), "a: 1", exception)
	f.Add(manifest, notPrivileged, "[1, 2]", "")
	f.Add(manifest, perContainer, "", exception)
	f.Add("a: &a [*a]", "package portcullis.lib.x", "a: &a {<<: *a}", "---\n---\n")
	f.Add(manifest+"profiles: [{name: a, extends: a}]\nnamespaces: [{match: ['[']}]\n", "package a", "\x00", "\xff")
	library, err := filepath.Glob("library/*/*/policy.rego")
	if err != nil || len(library) == 0 {
		f.Fatalf("got %d policies of the library and %v, want some", len(library), err)
	}
	for n := 0; n < len(library); n += 10 {
		module, err := os.ReadFile(library[n])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(manifest, string(module), "", "")
	}
	f.Fuzz(func(t *testing.T, manifest, module, data, exception string) {
		files := fstest.MapFS{
			"bundle.yaml": {Data: []byte(manifest)}, "x.rego": {Data: []byte(module)},
			"data/a.yaml": {Data: []byte(data)}, "exceptions/e.yaml": {Data: []byte(exception)},
		}
		for _, optional := range []string{"data/a.yaml", "exceptions/e.yaml"} {
			if len(files[optional].Data) == 0 {
				delete(files, optional)
			}
		}
		started := time.Now()
		defer func() {
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("it took %v, want an answer in seconds", took)
			}
		}()
		bundle, err := Load(files)
		if err != nil {
			return
		}
		if len(bundle.Manifest.Profiles) == 0 { // try the policy even where the manifest does not name it
			bundle.Manifest.Policies = nil
			for id := range bundle.Policies {
				bundle.Manifest.Policies = append(bundle.Manifest.Policies, Instance{Policy: id, Name: id})
			}
		}
		engine, err := NewEngine(bundle)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r := podRequest(plainPod)
		for _, phase := range []Phase{PhaseMutate, PhaseValidate} {
			engine.Needs(r, phase)
			engine.Evaluate(ctx, r, &Facts{Namespace: &Namespace{Name: "shop"}}, noon, phase)
		}
	})
}
