package main

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// demoCase is one manifest and what must become of it.
type demoCase struct {
	file, what string
	// deniedBy is one of the policies that must deny it, "" where it must be admitted.
	deniedBy string
	// patched is the path of a change that must be made to it, "" for none.
	patched string
}

var cases = []demoCase{
	{file: "privileged-pod.yaml", what: "a privileged pod", deniedBy: "pods/privileged"},
	{file: "wildcard-clusterrole.yaml", what: "a role for everything", deniedBy: "rbac/wildcard-verbs"},
	{file: "allow-all-networkpolicy.yaml", what: "a policy that allows all", deniedBy: "network/allow-all-ingress"},
	{file: "good-deployment.yaml", what: "a good deployment", patched: "/spec/template/spec/automountServiceAccountToken"},
	{file: "signed-image.yaml", what: "an image with evidence", patched: "/spec/containers/0/image"},
	{file: "unsigned-image.yaml", what: "its unsigned twin", deniedBy: "images/signed"},
	{file: "vulnerable-image.yaml", what: "its vulnerable twin", deniedBy: "images/vulnerabilities"},
}

// answer is what one door says.
type answer struct {
	admitted bool
	// policies are those that deny, sorted.
	policies []string
	// reasons are their findings, worst first.
	reasons []reason
	// patched is what was changed in the object, sorted by path.
	patched []change
}

type reason struct{ policy, path, message string }

func compareReasons(a, b reason) int {
	return cmp.Or(strings.Compare(a.policy, b.policy), strings.Compare(a.path, b.path), strings.Compare(a.message, b.message))
}

// change is a JSON pointer (RFC 6901) and the value, in JSON, that is there now.
type change struct{ path, value string }

// check says in which way an answer is not the expected one.
func (c demoCase) check(got answer) error {
	switch {
	case c.deniedBy == "" && !got.admitted:
		return fmt.Errorf("it is denied by %s, want it admitted", strings.Join(got.policies, ", "))
	case c.deniedBy != "" && got.admitted:
		return fmt.Errorf("it is admitted, want it denied by %s", c.deniedBy)
	case c.deniedBy != "" && !slices.Contains(got.policies, c.deniedBy):
		return fmt.Errorf("it is denied by %s, want %s among them", strings.Join(got.policies, ", "), c.deniedBy)
	case c.patched != "" && !got.patchedAt(c.patched):
		return fmt.Errorf("the patches are %v, want one at %s", got.patched, c.patched)
	}
	return nil
}

// same says in which way two doors differ.
func same(a, b answer) error {
	switch {
	case a.admitted != b.admitted:
		return fmt.Errorf("one admits it (%v) and the other does not (%v)", a.admitted, b.admitted)
	case !slices.Equal(a.policies, b.policies):
		return fmt.Errorf("one names %v and the other %v", a.policies, b.policies)
	case !slices.Equal(slices.SortedFunc(slices.Values(a.reasons), compareReasons), slices.SortedFunc(slices.Values(b.reasons), compareReasons)):
		return fmt.Errorf("one says %q and the other %q", a.reasons, b.reasons)
	case a.admitted && !slices.Equal(a.patched, b.patched): // nobody sees the patches of what is denied
		return fmt.Errorf("one patches %v and the other %v", a.patched, b.patched)
	}
	return nil
}

func (a answer) patchedAt(path string) bool {
	return slices.ContainsFunc(a.patched, func(c change) bool { return c.path == path })
}

// changes are those of RFC 6902 operations.
func changes(patch json.RawMessage) ([]change, error) {
	if len(patch) == 0 {
		return nil, nil
	}
	var operations []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(patch, &operations); err != nil {
		return nil, fmt.Errorf("reading a patch: %w", err)
	}
	var made []change
	for _, operation := range operations {
		if operation.Op != "test" {
			made = append(made, change{operation.Path, cmp.Or(string(operation.Value), operation.Op)})
		}
	}
	slices.SortFunc(made, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return made, nil
}

// text is the manifest with the registry that the images are in.
func (c demoCase) text(registry string) ([]byte, error) {
	text, err := manifests.ReadFile("manifests/" + c.file)
	return bytes.ReplaceAll(text, []byte("REGISTRY"), []byte(registry)), err
}

// read reads the one object of the case's manifest.
func (c demoCase) read(registry string) (*manifest.Document, error) {
	text, err := c.text(registry)
	if err != nil {
		return nil, err
	}
	documents, err := manifest.Read(c.file, bytes.NewReader(text), manifest.DefaultLimits)
	if err != nil {
		return nil, err
	}
	if len(documents) != 1 {
		return nil, fmt.Errorf("reading %s: it holds %d objects, want one", c.file, len(documents))
	}
	return &documents[0], nil
}

// writeManifests puts the manifests where the gate, and whoever plays on, finds them.
func writeManifests(dir, registry string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the demo's manifests: %w", err)
	}
	for _, c := range cases {
		text, err := c.text(registry)
		if err != nil {
			return fmt.Errorf("writing the demo's manifests: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.file), text, 0o644); err != nil {
			return fmt.Errorf("writing the demo's manifests: %w", err)
		}
	}
	return nil
}
