// Package constraints is the set of Gatekeeper's policies that its engine is measured with, and plain OPA beside it.
package constraints

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/policies"
)

// Originals is where Gatekeeper's own files lie in the checkout.
const Originals = "policies/gatekeeper/testdata/gatekeeper"

// folders of the originals whose templates are about pods, or can be asked about them.
var folders = []string{
	"psp-all-violations/psp-templates", "psp-all-violations/psp-constraints",
	"agilebank/templates", "agilebank/constraints", "agilebank/remediation",
}

// aboutServices is the one template of these that looks up services.
const aboutServices = "K8sUniqueServiceSelector"

// Set are templates with one constraint each, all of which match [Pod] and find nothing.
type Set struct {
	// Files are the folder that the engine loads.
	Files fs.FS
	// Kinds names the templates, without their copies; Copies is how often each is there.
	Kinds  []string
	Copies int

	templates   []template
	constraints map[string]constraint // by kind
}

// template is what of a ConstraintTemplate is judged by.
type template struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		CRD struct {
			Spec struct {
				Names struct {
					Kind string `json:"kind"`
				} `json:"names"`
			} `json:"spec"`
		} `json:"crd"`
		Targets []struct {
			Rego string   `json:"rego"`
			Libs []string `json:"libs"`
		} `json:"targets"`
	} `json:"spec"`
}

func (t *template) kind() string { return t.Spec.CRD.Spec.Names.Kind }

// constraint is what of a constraint is judged by.
type constraint struct {
	Kind string `json:"kind"`
	Spec struct {
		Parameters json.RawMessage `json:"parameters"`
	} `json:"spec"`
}

// New makes a set of the originals. Each template is there so many times, under names of its own, so that the set has the
// size of what others have measured.
func New(originals fs.FS, copies int) (*Set, error) {
	files := fstest.MapFS{}
	s := &Set{Files: files, Copies: copies, constraints: map[string]constraint{}}
	for _, folder := range folders {
		entries, err := fs.ReadDir(originals, folder)
		if err != nil {
			return nil, fmt.Errorf("reading Gatekeeper's policies: %w", err)
		}
		for _, entry := range entries {
			content, err := fs.ReadFile(originals, path.Join(folder, entry.Name()))
			if err != nil {
				return nil, fmt.Errorf("reading Gatekeeper's policies: %w", err)
			}
			if err := s.add(files, content); err != nil {
				return nil, fmt.Errorf("%s/%s: %w", folder, entry.Name(), err)
			}
		}
	}
	if len(s.Kinds) == 0 || len(s.templates) != len(s.constraints) {
		return nil, fmt.Errorf("reading Gatekeeper's policies: %d templates have %d constraints, want one each", len(s.templates), len(s.constraints))
	}
	return s, nil
}

// add takes in one document, which is a template or a constraint.
func (s *Set) add(files fstest.MapFS, content []byte) error {
	raw, err := yaml.YAMLToJSON(content)
	if err != nil {
		return err
	}
	var header constraint
	if err := json.Unmarshal(raw, &header); err != nil {
		return err
	}
	kind, original := header.Kind, template{}
	if kind == "ConstraintTemplate" {
		if err := json.Unmarshal(raw, &original); err != nil {
			return err
		}
		kind = original.kind()
	}
	if kind == aboutServices {
		return nil
	}
	if original.kind() != "" {
		s.Kinds = append(s.Kinds, kind)
	}
	// The demo's constraint about labels is for namespaces: here it is asked about pods.
	text := strings.ReplaceAll(string(raw), `"kinds":["Namespace"]`, `"kinds":["Pod"]`)
	for n := range s.Copies {
		renamed := rename(text, kind, n)
		files[fmt.Sprintf("%s-%d-%s.yaml", strings.ToLower(kind), n, strings.ToLower(header.Kind))] = &fstest.MapFile{Data: []byte(renamed)}
		if err := s.keep([]byte(renamed), original.kind() != ""); err != nil {
			return err
		}
	}
	return nil
}

// rename gives the copies after the first a kind of their own.
func rename(text, kind string, n int) string {
	if n == 0 {
		return text
	}
	other := fmt.Sprintf("%sCopy%d", kind, n)
	text = strings.ReplaceAll(text, `"`+kind+`"`, `"`+other+`"`)
	return strings.ReplaceAll(text, `"name":"`+strings.ToLower(kind)+`"`, `"name":"`+strings.ToLower(other)+`"`)
}

func (s *Set) keep(raw []byte, isTemplate bool) error {
	if !isTemplate {
		var made constraint
		err := json.Unmarshal(raw, &made)
		s.constraints[made.Kind] = made
		return err
	}
	var made template
	if err := json.Unmarshal(raw, &made); err != nil {
		return err
	}
	if len(made.Spec.Targets) != 1 || made.Spec.Targets[0].Rego == "" {
		return errors.New("want a template with Rego for one target")
	}
	s.templates = append(s.templates, made)
	return nil
}

// Size is how many constraints there are.
func (s *Set) Size() int { return len(s.constraints) }

// Pod is the request of a pod of 5.8 KB as an API server sends it, the size that Gatekeeper's own benchmark has.
func Pod() (*policies.Request, error) {
	var containers []any
	for i := range 4 {
		containers = append(containers, container(i))
	}
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": "web", "namespace": "production", "labels": map[string]any{"app": "web", "owner": "me.agilebank.demo"}},
		"spec": map[string]any{
			"containers": containers, "serviceAccountName": "web", "dnsPolicy": "ClusterFirst",
			"volumes": []any{map[string]any{"name": "kube-api-access-abcde", "projected": map[string]any{"defaultMode": 420, "sources": []any{}}}},
		},
	})
	if err != nil {
		return nil, err
	}
	return &policies.Request{
		Door: policies.DoorAdmission, UID: "1", Operation: "CREATE", Namespace: "production", Name: "web", Object: raw,
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Subject:  policies.Subject{Username: "alice", Groups: []string{"dev"}},
	}, nil
}

func container(number int) map[string]any {
	var env []any
	for n := range 9 {
		env = append(env, map[string]any{"name": fmt.Sprintf("SETTING_%02d", n), "value": fmt.Sprintf("a value of middling length, number %02d", n)})
	}
	probe := map[string]any{"httpGet": map[string]any{"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10}
	return map[string]any{
		"name": fmt.Sprintf("c%d", number), "image": fmt.Sprintf("openpolicyagent/app-%d:1.%[1]d", number), "env": env,
		"resources":              map[string]any{"limits": map[string]any{"cpu": "100m", "memory": "256Mi"}, "requests": map[string]any{"cpu": "100m", "memory": "128Mi"}},
		"livenessProbe":          probe,
		"readinessProbe":         probe,
		"securityContext":        map[string]any{"allowPrivilegeEscalation": false, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}}},
		"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
		"volumeMounts": []any{map[string]any{"name": "kube-api-access-abcde", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}},
	}
}

// modules are a template's, parsed as they are written.
func (t *template) modules() (map[string]*ast.Module, ast.Ref, error) {
	modules := map[string]*ast.Module{}
	options := ast.ParserOptions{RegoVersion: ast.RegoV0}
	main, err := ast.ParseModuleWithOpts(t.kind(), t.Spec.Targets[0].Rego, options)
	if err != nil {
		return nil, nil, err
	}
	modules["template"] = main
	for n, text := range t.Spec.Targets[0].Libs {
		lib, err := ast.ParseModuleWithOpts(fmt.Sprintf("%s, library %d", t.kind(), n), text, options)
		if err != nil {
			return nil, nil, err
		}
		modules[fmt.Sprintf("libs[%d]", n)] = lib
	}
	return modules, main.Package.Path, nil
}
